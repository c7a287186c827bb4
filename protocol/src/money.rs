//! Money in integers: credits in nano-dollars, prices in pico-dollars a unit, and one rounding between the two.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of money: nano-dollars (10⁻⁹ US dollars). In JSON it is a decimal string of dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Credits(pub i64);

/// Pico-dollars in one nano-dollar.
const PICOS_PER_NANO: i128 = 1_000;

impl Credits {
    pub const ZERO: Self = Self(0);

    pub const fn from_dollars(dollars: i64) -> Self {
        Self(dollars * 1_000_000_000)
    }

    pub const fn nanos(self) -> i64 {
        self.0
    }
}

impl Add for Credits {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Credits {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Credits {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Credits {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Credits {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Credits {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::add)
    }
}

/// What one unit costs (a second of a GPU, a token): pico-dollars (10⁻¹² US dollars). In JSON it is a decimal string of dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(pub i64);

impl Price {
    /// The price of `units` whole units, exact, in pico-dollars: nothing is rounded before [`round_to_credits`].
    pub const fn of_units(self, units: u64) -> i128 {
        self.0 as i128 * units as i128
    }

    /// The price of `micros` microseconds at this price a second, in pico-dollars rounded down (the sum is rounded once more, to credits).
    pub const fn of_micros(self, micros: u64) -> i128 {
        self.0 as i128 * micros as i128 / 1_000_000
    }
}

/// The one rounding: pico-dollars to nano-dollars, half up, and never past what an `i64` holds.
pub fn round_to_credits(picos: i128) -> Credits {
    let nanos = (picos + PICOS_PER_NANO / 2).div_euclid(PICOS_PER_NANO);
    Credits(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

/// How a model is priced, chosen by its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "unit", rename_all = "snake_case")]
pub enum Pricing {
    /// The run time, at the rate of the hardware it ran on.
    Second,
    /// Tokens read and written, at the model's own prices.
    Token {
        #[schema(value_type = String, example = "0.00000015")]
        prompt: Price,
        #[schema(value_type = String, example = "0.0000006")]
        completion: Price,
    },
    /// Nothing.
    Free,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a decimal number of dollars, such as 0.00000015")]
pub struct NotAnAmount;

/// Reads `[-]digits[.digits]` as an integer with `places` decimals; more decimals than that are refused, not rounded.
fn parse_decimal(text: &str, places: u32) -> Result<i64, NotAnAmount> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let trimmed = fraction.trim_end_matches('0');
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || trimmed.len() > places as usize {
        return Err(NotAnAmount);
    }
    let scale = 10_i128.pow(places);
    let parsed = |part: &str| if part.is_empty() { Ok(0) } else { part.parse::<i128>().map_err(|_| NotAnAmount) };
    let fraction_places = u32::try_from(trimmed.len()).map_err(|_| NotAnAmount)?;
    let value = parsed(whole)?
        .checked_mul(scale)
        .and_then(|units| units.checked_add(parsed(trimmed).ok()? * 10_i128.pow(places - fraction_places)))
        .ok_or(NotAnAmount)?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| NotAnAmount)
}

/// Writes an integer with `places` decimals as the shortest decimal that reads back the same.
fn write_decimal(f: &mut fmt::Formatter<'_>, value: i64, places: usize) -> fmt::Result {
    let scale = 10_u64.pow(u32::try_from(places).expect("nine or twelve places"));
    let magnitude = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let fraction = format!("{:0places$}", magnitude % scale);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    write!(f, "{sign}{}{point}{fraction}", magnitude / scale)
}

macro_rules! decimal_text {
    ($amount:ident, $places:literal) => {
        impl fmt::Display for $amount {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_decimal(f, self.0, $places)
            }
        }

        impl FromStr for $amount {
            type Err = NotAnAmount;

            fn from_str(text: &str) -> Result<Self, NotAnAmount> {
                parse_decimal(text, $places).map(Self)
            }
        }

        impl Serialize for $amount {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $amount {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

decimal_text!(Credits, 9);
decimal_text!(Price, 12);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_million_tokens_cost_what_the_tag_says() {
        let price: Price = "0.00000015".parse().unwrap();
        assert_eq!(round_to_credits(price.of_units(1_000_000)).to_string(), "0.15");
    }

    #[test]
    fn a_second_of_an_h100_costs_its_rate() {
        let price: Price = "0.001525".parse().unwrap();
        assert_eq!(round_to_credits(price.of_micros(1_000_000)).to_string(), "0.001525");
        assert_eq!(round_to_credits(price.of_micros(500)), Credits(763));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", ".", "-", "1e3", "NaN", "0.0000000000001", "1,5", "+1", "99999999999999999999"] {
            assert_eq!(bad.parse::<Price>(), Err(NotAnAmount), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_reads_back_as_it_was_written(nanos in any::<i64>()) {
            prop_assert_eq!(Credits(nanos).to_string().parse(), Ok(Credits(nanos)));
        }
    }
}
