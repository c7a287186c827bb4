//! From what was metered to what it costs: the outcome decides whether, the price how much, and one rounding makes it credits.

use protocol::money::round_to_credits;
use protocol::prediction::CostLine;
use protocol::{Credits, Price, Pricing};

use crate::meter::Meter;
use crate::price::Hardware;

/// How a prediction ended, as far as billing cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    /// Stopped while it ran, by its caller or by its deadline.
    CanceledRunning,
    /// Canceled, aborted or out of time in the queue before the model had it.
    NeverStarted,
    FailedByModel,
    FailedByPlatform,
    RefusedByBefore,
    /// The model ended well, and the `after` hook of its version did not.
    FailedByAfter,
}

impl Ending {
    /// Law L11: what the model did is paid for when the caller got it or stopped it; nobody pays for a failure.
    pub const fn is_charged(self) -> bool {
        match self {
            Ending::Succeeded | Ending::CanceledRunning | Ending::FailedByAfter => true,
            Ending::NeverStarted | Ending::FailedByModel | Ending::FailedByPlatform | Ending::RefusedByBefore => false,
        }
    }
}

/// What a prediction costs. The amounts of the lines sum to the cost exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub cost: Credits,
    pub lines: Vec<CostLine>,
}

/// Charges what was metered. What was not used has no line.
///
/// Prices are summed in pico-dollars; the sum is rounded to nano-dollars once, half up. A line shows by how much it moved the rounded
/// sum, so that no second rounding can make the lines disagree with the cost.
pub fn charge(pricing: Pricing, hardware: &Hardware, meter: &Meter, ending: Ending) -> Charge {
    let mut bill = Bill::default();
    if !ending.is_charged() {
        return bill.charge;
    }
    match pricing {
        Pricing::Second => {
            let Hardware { per_second, .. } = *hardware;
            bill.add("run_time", seconds(meter.run_us), "second", per_second, per_second.of_micros(meter.run_us));
        }
        Pricing::Token { prompt, completion } => {
            for (name, count, price) in
                [("prompt_tokens", meter.tokens.prompt, prompt), ("completion_tokens", meter.tokens.completion, completion)]
            {
                bill.add(name, count.to_string(), "token", price, price.of_units(count));
            }
        }
        Pricing::Free => {}
    }
    bill.charge
}

impl Charge {
    /// Clamps the cost to what was held. What is given up becomes a line of its own.
    #[must_use]
    pub fn at_most(mut self, hold: Credits) -> Charge {
        let over = self.cost - hold;
        if over > Credits::ZERO {
            self.cost = hold;
            self.lines.push(CostLine {
                meter: "over_hold".to_owned(),
                quantity: "1".to_owned(),
                unit: "prediction".to_owned(),
                unit_price: (-over).to_string(),
                amount: -over,
            });
        }
        self
    }
}

#[derive(Default)]
struct Bill {
    charge: Charge,
    picos: i128,
}

impl Bill {
    fn add(&mut self, meter: &str, quantity: String, unit: &str, unit_price: Price, picos: i128) {
        if picos == 0 {
            return;
        }
        self.picos += picos;
        let sum = round_to_credits(self.picos);
        let amount = sum - self.charge.cost;
        self.charge.cost = sum;
        self.charge.lines.push(CostLine {
            meter: meter.to_owned(),
            quantity,
            unit: unit.to_owned(),
            unit_price: unit_price.to_string(),
            amount,
        });
    }
}

/// Microseconds as a decimal number of seconds.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::wire::TokenUsage;

    use super::*;
    use crate::meter::TokenCount;
    use crate::price::PriceBook;

    fn l40s() -> Hardware {
        PriceBook::default().find("gpu-l40s").unwrap().clone()
    }

    fn token_pricing() -> Pricing {
        Pricing::Token { prompt: "0.00000015".parse().unwrap(), completion: "0.0000006".parse().unwrap() }
    }

    fn metered(run_us: u64, prompt: u64, completion: u64) -> Meter {
        Meter::read(Some(run_us), run_us, TokenCount::Relayed(TokenUsage { prompt, completion }))
    }

    /// The cost of 2 s and of 8 tokens in, 43 out, by how it ended: by the second, by the token, free.
    fn costs_of(ending: Ending) -> [String; 3] {
        [Pricing::Second, token_pricing(), Pricing::Free]
            .map(|pricing| charge(pricing, &l40s(), &metered(2_000_000, 8, 43), ending).cost.to_string())
    }

    const CHARGED: [&str; 3] = ["0.00195", "0.000027", "0"];
    const NOTHING: [&str; 3] = ["0", "0", "0"];

    #[test]
    fn l11_a_success_is_charged() {
        assert_eq!(costs_of(Ending::Succeeded), CHARGED);
    }

    #[test]
    fn l11_a_run_that_was_canceled_is_charged_until_it_stopped() {
        assert_eq!(costs_of(Ending::CanceledRunning), CHARGED);
    }

    #[test]
    fn l11_a_run_whose_after_hook_failed_is_charged_for_the_models_time() {
        assert_eq!(costs_of(Ending::FailedByAfter), CHARGED);
    }

    #[test]
    fn l11_what_never_started_is_free() {
        assert_eq!(costs_of(Ending::NeverStarted), NOTHING);
    }

    #[test]
    fn l11_what_the_model_failed_is_free() {
        assert_eq!(costs_of(Ending::FailedByModel), NOTHING);
    }

    #[test]
    fn l11_what_the_platform_failed_is_free() {
        assert_eq!(costs_of(Ending::FailedByPlatform), NOTHING);
    }

    #[test]
    fn l11_what_the_before_hook_refused_is_free() {
        assert_eq!(costs_of(Ending::RefusedByBefore), NOTHING);
    }

    #[test]
    fn a_line_says_what_was_metered_at_what_price() {
        let charge = charge(Pricing::Second, &l40s(), &metered(1_250_000, 0, 0), Ending::Succeeded);
        let [line] = charge.lines.as_slice() else { panic!("one line: {charge:?}") };
        let said = (line.meter.as_str(), line.quantity.as_str(), line.unit.as_str(), line.unit_price.as_str());
        assert_eq!(said, ("run_time", "1.25", "second", "0.000975"));
        assert_eq!(line.amount, Credits(1_218_750));
    }

    #[test]
    fn tokens_of_fractions_of_a_nano_dollar_are_rounded_once_for_all() {
        let pricing = Pricing::Token { prompt: Price(400), completion: Price(400) };
        let charge = charge(pricing, &l40s(), &metered(0, 1, 1), Ending::Succeeded);
        assert_eq!(charge.cost, Credits(1), "0.8 nano-dollars, where each line alone would be rounded to nothing");
    }

    #[test]
    fn a_charge_above_the_hold_is_clamped_and_says_so() {
        let charge = charge(Pricing::Second, &l40s(), &metered(2_000_000, 0, 0), Ending::Succeeded).at_most(Credits(1_000_000));
        assert_eq!(charge.cost, Credits(1_000_000));
        assert_eq!(charge.lines.len(), 2);
        assert_eq!(charge.lines[1].amount, Credits(-950_000));
    }

    proptest! {
        #[test]
        fn lines_sum_to_the_cost_and_none_is_negative(prompt in 0..10_000_i64, completion in 0..10_000_i64, read in 0..5_000_u64, written in 0..5_000_u64) {
            let pricing = Pricing::Token { prompt: Price(prompt), completion: Price(completion) };
            let charge = charge(pricing, &l40s(), &metered(0, read, written), Ending::Succeeded);
            prop_assert_eq!(charge.lines.iter().map(|line| line.amount).sum::<Credits>(), charge.cost);
            prop_assert!(charge.lines.iter().all(|line| line.amount >= Credits::ZERO));
        }
    }
}
