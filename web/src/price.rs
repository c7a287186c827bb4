//! Price tags: amounts to two significant digits, and what they rest on.

use maud::{Markup, html};
use protocol::api::{HardwarePrice, Measured, Model};
use protocol::{Credits, Price, Pricing};
use serde::Deserialize;

use crate::api::{ApiError, Caller};
use crate::time;

/// Pico-dollars in a dollar.
const DOLLAR: i128 = 1_000_000_000_000;

/// What a second of each kind of hardware costs.
#[derive(Debug, Deserialize)]
pub(crate) struct Prices {
    pub hardware: Vec<HardwarePrice>,
}

impl Prices {
    pub async fn load(api: &Caller) -> Result<Self, ApiError> {
        api.get("/v1/prices").await
    }

    fn per_second(&self, sku: &str) -> Option<Price> {
        self.hardware.iter().find(|price| price.sku == sku).map(|price| price.per_second)
    }
}

/// `$0.000021`: pico-dollars to two significant digits, half up.
pub(crate) fn short(picos: i128) -> String {
    let sign = if picos < 0 { "-" } else { "" };
    let mut amount = picos.unsigned_abs();
    if amount == 0 {
        return "$0".to_owned();
    }
    // The unit of the second digit: whole dollars and above are never cut short of the dollar.
    let mut unit = 1_u128;
    while amount / unit >= 100 && unit < DOLLAR.unsigned_abs() {
        unit *= 10;
    }
    amount = (amount + unit / 2) / unit * unit;
    let (whole, part) = (amount / DOLLAR.unsigned_abs(), amount % DOLLAR.unsigned_abs());
    let part = format!("{part:012}");
    let part = part.trim_end_matches('0');
    let cents = if part.len() == 1 { format!("{part}0") } else { part.to_owned() };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}${}{point}{}", grouped(whole), if part.is_empty() { "" } else { &cents })
}

/// An amount with all its digits, as it stands in the ledger.
pub(crate) fn exact(amount: Credits) -> String {
    let text = amount.to_string();
    text.strip_prefix('-').map_or_else(|| format!("${text}"), |positive| format!("-${positive}"))
}

pub(crate) fn short_credits(amount: Credits) -> String {
    short(i128::from(amount.nanos()) * 1_000)
}

/// `1,822`.
pub(crate) fn grouped(count: u128) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.4K`.
pub(crate) fn count(runs: i64) -> String {
    let runs = u64::try_from(runs).unwrap_or(0);
    let scaled = |unit: u64, letter: char| {
        let tenths = runs * 10 / unit;
        if tenths >= 1_000 || tenths.is_multiple_of(10) {
            format!("{}{letter}", tenths / 10)
        } else {
            format!("{}.{}{letter}", tenths / 10, tenths % 10)
        }
    };
    match runs {
        0..1_000 => runs.to_string(),
        1_000..1_000_000 => scaled(1_000, 'K'),
        _ => scaled(1_000_000, 'M'),
    }
}

/// What stands on the tag of a card: `$0.15 / M tokens`, `$0.000021 / run`, `$0.0001 / s`, `free`.
pub(crate) fn tag(model: &Model, prices: &Prices) -> String {
    match model.pricing {
        Pricing::Free => "free".to_owned(),
        Pricing::Token { prompt, completion } => format!("{} / M tokens", million(prompt, completion)),
        Pricing::Second => match (&model.measured, prices.per_second(&model.hardware)) {
            (Some(measured), _) => format!("{} / run", short_credits(measured.cost_p50)),
            (None, Some(price)) => format!("{} / s", short(i128::from(price.0))),
            (None, None) => "by the second".to_owned(),
        },
    }
}

/// A million tokens: one price, or from the lower to the higher.
fn million(prompt: Price, completion: Price) -> String {
    let (low, high) = (prompt.min(completion), prompt.max(completion));
    if low == high {
        short(low.of_units(1_000_000))
    } else {
        format!("{}–{}", short(low.of_units(1_000_000)), short(high.of_units(1_000_000)).trim_start_matches('$'))
    }
}

/// The price at the head of a model's page: the figure, what it means, and the sample it rests on.
pub(crate) fn block(model: &Model, prices: &Prices) -> Markup {
    let measured = model.measured.as_ref();
    let (figure, meaning) = match model.pricing {
        Pricing::Free => ("free".to_owned(), "nothing is charged for a run".to_owned()),
        Pricing::Token { prompt, completion } => {
            let each = format!("{} read · {} written", short(prompt.of_units(1_000_000)), short(completion.of_units(1_000_000)));
            (
                million(prompt, completion),
                measured.map_or_else(
                    || format!("a million tokens · {each}"),
                    |m| format!("a million tokens · about {} per run", short_credits(m.cost_p50)),
                ),
            )
        }
        Pricing::Second => match (measured, prices.per_second(&model.hardware)) {
            (Some(measured), _) => (short_credits(measured.cost_p50), per_dollar(measured)),
            (None, Some(price)) => (short(i128::from(price.0)), format!("a second on {}", model.hardware)),
            (None, None) => ("by the second".to_owned(), format!("on {}", model.hardware)),
        },
    };
    html! {
        div.price {
            strong { (figure) }
            span { (meaning) }
            @match measured {
                Some(measured) => small { (sample(measured)) },
                None => small { "no warm runs measured yet" },
            }
        }
    }
}

fn per_dollar(measured: &Measured) -> String {
    let nanos = u128::try_from(measured.cost_p50.nanos()).unwrap_or(0);
    match 1_000_000_000_u128.checked_div(nanos) {
        Some(runs) if runs > 0 => format!("about, per run · {} runs per $1", grouped(runs)),
        _ => "about, per run".to_owned(),
    }
}

fn sample(measured: &Measured) -> String {
    format!(
        "p50 {} · p95 {} · n = {} warm runs",
        time::seconds(measured.predict_p50_seconds),
        time::seconds(measured.predict_p95_seconds),
        grouped(measured.runs.into())
    )
}

/// What stands beside the Run button: the measured cost, or the rate while nothing was measured.
pub(crate) fn estimate(model: &Model, prices: &Prices) -> String {
    match (model.pricing, &model.measured) {
        (Pricing::Free, _) => "free".to_owned(),
        (_, Some(measured)) => format!("costs about {}", short_credits(measured.cost_p50)),
        _ => tag(model, prices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_to_two_significant_digits() {
        let table = [
            ("0", "$0"),
            ("0.000021", "$0.000021"),
            ("0.0000215", "$0.000022"),
            ("0.00000015", "$0.00000015"),
            ("0.15", "$0.15"),
            ("0.6", "$0.60"),
            ("0.0004", "$0.0004"),
            ("0.000975", "$0.00098"),
            ("0.0995", "$0.10"),
            ("1.5", "$1.50"),
            ("9.96", "$10"),
            ("12.4", "$12"),
            ("124.5", "$125"),
            ("1234", "$1,234"),
            ("-0.15", "-$0.15"),
        ];
        for (dollars, shown) in table {
            let price: Price = dollars.parse().unwrap();
            assert_eq!(short(price.0.into()), shown, "{dollars}");
        }
    }

    #[test]
    fn a_finished_run_shows_every_digit() {
        assert_eq!(exact("0.0000215".parse().unwrap()), "$0.0000215");
        assert_eq!(exact("-2".parse().unwrap()), "-$2");
    }

    #[test]
    fn counts_are_short_and_groups_are_of_three() {
        for (runs, shown) in
            [(0, "0"), (981, "981"), (1_000, "1K"), (3_140, "3.1K"), (12_400, "12.4K"), (129_999, "129K"), (2_500_000, "2.5M")]
        {
            assert_eq!(count(runs), shown);
        }
        assert_eq!(grouped(47_619), "47,619");
        assert_eq!(grouped(999), "999");
    }

    #[test]
    fn a_million_tokens_have_one_price_or_a_range() {
        let price = |text: &str| text.parse::<Price>().unwrap();
        assert_eq!(million(price("0.00000015"), price("0.00000015")), "$0.15");
        assert_eq!(million(price("0.00000015"), price("0.0000006")), "$0.15–0.60");
    }
}
