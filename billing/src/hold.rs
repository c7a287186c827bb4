//! How much is held before a run: the most that it can cost.

use protocol::money::round_to_credits;
use protocol::{Credits, Pricing};

use crate::price::Hardware;

/// The bounds that a run is kept within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// Microseconds after which the run is stopped.
    pub run_us_max: u64,
    pub prompt_tokens_max: u64,
    pub completion_tokens_max: u64,
    /// What the caller is willing to spend, where they said it.
    pub cost_max: Option<Credits>,
}

/// Law L10: price × the run's bounds, or what the caller is willing to spend if that is less. A run within the bounds never costs more.
pub fn hold_amount(pricing: Pricing, hardware: &Hardware, limit: &RunLimit) -> Credits {
    let picos = match pricing {
        Pricing::Second => hardware.per_second.of_micros(limit.run_us_max),
        Pricing::Token { prompt, completion } => {
            prompt.of_units(limit.prompt_tokens_max) + completion.of_units(limit.completion_tokens_max)
        }
        Pricing::Free => 0,
    };
    let most = round_to_credits(picos);
    limit.cost_max.map_or(most, |cost_max| most.min(cost_max.max(Credits::ZERO)))
}

/// How many microseconds the hold pays for: a watchdog stops the run then. `None` when time is not what costs.
pub fn run_us_affordable(pricing: Pricing, hardware: &Hardware, hold: Credits) -> Option<u64> {
    let picos_per_second = i128::from(hardware.per_second.0);
    match pricing {
        Pricing::Second if picos_per_second > 0 => {
            let picos = i128::from(hold.nanos()) * 1_000;
            Some(u64::try_from(picos * 1_000_000 / picos_per_second).unwrap_or(if picos < 0 { 0 } else { u64::MAX }))
        }
        Pricing::Second | Pricing::Token { .. } | Pricing::Free => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::Price;
    use protocol::wire::TokenUsage;

    use super::*;
    use crate::charge::{Ending, charge};
    use crate::meter::{Meter, TokenCount};

    fn hardware(picos_per_second: i64) -> Hardware {
        Hardware { sku: "gpu".to_owned(), name: "GPU".to_owned(), per_second: Price(picos_per_second), active_per_second: None }
    }

    fn limit(run_us_max: u64, cost_max: Option<Credits>) -> RunLimit {
        RunLimit { run_us_max, prompt_tokens_max: 100, completion_tokens_max: 1_000, cost_max }
    }

    #[test]
    fn l10_the_hold_is_price_times_limit_or_what_the_caller_will_spend() {
        let t4 = hardware(225_000_000);
        assert_eq!(hold_amount(Pricing::Second, &t4, &limit(60_000_000, None)).to_string(), "0.0135");
        assert_eq!(hold_amount(Pricing::Second, &t4, &limit(60_000_000, Some(Credits(5_000_000)))).to_string(), "0.005");
        assert_eq!(hold_amount(Pricing::Second, &t4, &limit(60_000_000, Some(Credits::from_dollars(9)))).to_string(), "0.0135");
        let by_token = Pricing::Token { prompt: Price(150_000), completion: Price(600_000) };
        assert_eq!(hold_amount(by_token, &t4, &limit(60_000_000, None)).to_string(), "0.000615");
        assert_eq!(hold_amount(Pricing::Free, &t4, &limit(60_000_000, None)), Credits::ZERO);
    }

    #[test]
    fn l10_the_watchdog_knows_how_long_the_hold_lasts() {
        let t4 = hardware(225_000_000);
        assert_eq!(run_us_affordable(Pricing::Second, &t4, Credits(225_000)), Some(1_000_000));
        assert_eq!(run_us_affordable(Pricing::Second, &t4, Credits::ZERO), Some(0));
        assert_eq!(run_us_affordable(Pricing::Free, &t4, Credits(225_000)), None);
        assert_eq!(run_us_affordable(Pricing::Second, &hardware(0), Credits(225_000)), None);
    }

    proptest! {
        #[test]
        fn l10_a_run_within_its_limit_never_costs_more_than_its_hold(rate in 0..20_000_000_000_i64, run_us in 0..10_000_000_000_u64, spare_us in 0..1_000_000_u64) {
            let hardware = hardware(rate);
            let meter = Meter::read(Some(run_us), run_us, TokenCount::Relayed(TokenUsage::default()));
            let cost = charge(Pricing::Second, &hardware, &meter, Ending::Succeeded).cost;
            prop_assert!(cost <= hold_amount(Pricing::Second, &hardware, &limit(run_us + spare_us, None)));
        }

        #[test]
        fn l10_a_run_that_is_stopped_in_time_costs_no_more_than_its_hold(rate in 1..20_000_000_000_i64, hold in 0..1_000_000_000_000_i64) {
            let hardware = hardware(rate);
            let run_us = run_us_affordable(Pricing::Second, &hardware, Credits(hold)).unwrap();
            let meter = Meter::read(Some(run_us), run_us, TokenCount::Relayed(TokenUsage::default()));
            prop_assert!(charge(Pricing::Second, &hardware, &meter, Ending::Succeeded).cost <= Credits(hold));
        }
    }
}
