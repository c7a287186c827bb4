//! `Cancel-After`: a caller's deadline, counted from the creation of the prediction.

use std::time::Duration;

use http::HeaderMap;
use protocol::problem::InvalidField;

use crate::problem::Refused;

/// As at Replicate.
const CANCEL_AFTER_MIN: Duration = Duration::from_secs(5);
/// Longer than any run, and short enough to be added to any date.
const CANCEL_AFTER_MAX: Duration = Duration::from_hours(24 * 365);

/// Reads `30`, `30s`, `5m` and `1h30m45s`.
pub(super) fn asked_by(headers: &HeaderMap) -> Result<Option<Duration>, Refused> {
    let Some(value) = headers.get("cancel-after") else { return Ok(None) };
    let asked = value.to_str().ok().and_then(|text| duration(text.trim()));
    let refused = || {
        let description = "Cancel-After must be a time of at least 5 seconds, such as 30, 30s, 5m or 1h30m45s";
        Refused::invalid(InvalidField::new("invalid_header", "Cancel-After", description))
    };
    asked.filter(|asked| *asked >= CANCEL_AFTER_MIN).map(|asked| Some(asked.min(CANCEL_AFTER_MAX))).ok_or_else(refused)
}

/// Hours, minutes and seconds, each at most once and in this order; a bare number is seconds.
fn duration(text: &str) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut seconds: u64 = 0;
    for (unit, seconds_each) in [('h', 3_600), ('m', 60), ('s', 1)] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if rest[digits..].starts_with(unit) {
            let count: u64 = rest[..digits].parse().ok()?;
            seconds = seconds.checked_add(count.checked_mul(seconds_each)?)?;
            rest = &rest[digits + 1..];
        }
    }
    rest.is_empty().then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_documented_form_is_read() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("5m", 300), ("1h30m45s", 5_445), ("2h", 7_200), ("1h5s", 3_605)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_or_too_short_a_one_is_refused() {
        for text in ["", "s", "5x", "5s5s", "5s1m", "-5s", "1.5m", "99999999999999999999", "4", "4s", "é"] {
            let mut headers = HeaderMap::new();
            headers.insert("cancel-after", http::HeaderValue::from_bytes(text.as_bytes()).unwrap());
            assert!(asked_by(&headers).is_err(), "{text}");
        }
        assert!(asked_by(&HeaderMap::new()).unwrap().is_none());
    }
}
