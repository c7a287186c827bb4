//! Ids that sort by the time they were made: 26 characters a–z and 0–9.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::clock::{Clock, Entropy};

/// Names a prediction or a training: 48 bits of milliseconds, then 80 random bits, in lower-case Crockford base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PredictionId(Ulid);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prediction id has 26 characters from a–z and 0–9")]
pub struct NotAnId;

impl PredictionId {
    pub fn new(clock: &Clock, entropy: &Entropy) -> Self {
        let millis = u64::try_from(clock.now().millis()).unwrap_or(0);
        let mut random = [0; 16];
        random[..10].copy_from_slice(&entropy.bytes::<10>());
        Self(Ulid::from_parts(millis, u128::from_le_bytes(random)))
    }
}

impl fmt::Display for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ulid::ULID_LEN];
        let text = self.0.array_to_str(&mut text);
        text.make_ascii_lowercase();
        f.write_str(text)
    }
}

impl fmt::Debug for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PredictionId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let canonical = text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let id = Ulid::from_string(text).map_err(|_| NotAnId)?;
        // Crockford's alphabet reads `i`, `l`, `o` as digits: one id must have one spelling.
        (canonical && Self(id).to_string() == text).then_some(Self(id)).ok_or(NotAnId)
    }
}

impl TryFrom<String> for PredictionId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<PredictionId> for String {
    fn from(id: PredictionId) -> Self {
        id.to_string()
    }
}

/// A short opaque name with a prefix, for rows that are not predictions: `acc_…`, `tok_…`, `msg_…`, `fil_…`.
pub fn prefixed(prefix: &str, clock: &Clock, entropy: &Entropy) -> String {
    format!("{prefix}_{}", PredictionId::new(clock, entropy))
}

/// Tells whether a text could be one of those names, before a database is asked about it.
pub fn is_prefixed(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).is_some_and(|id| id.parse::<PredictionId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn ids_sort_by_time_and_have_one_spelling() {
        let clock = Clock::fixed(Timestamp::from_micros(1_700_000_000_000_000));
        let entropy = Entropy::seeded(7);
        let first = PredictionId::new(&clock, &entropy);
        clock.advance_millis(1);
        let second = PredictionId::new(&clock, &entropy);
        assert!(first.to_string() < second.to_string());
        let text = first.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse(), Ok(first));
        assert_eq!(text.to_uppercase().parse::<PredictionId>(), Err(NotAnId));
        assert_eq!("nope".parse::<PredictionId>(), Err(NotAnId));
        assert!(is_prefixed("acc", &prefixed("acc", &clock, &entropy)));
        assert!(!is_prefixed("acc", &prefixed("tok", &clock, &entropy)) && !is_prefixed("acc", "acc_"));
    }
}
