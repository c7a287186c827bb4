//! The ledger's nouns: where money is, the commands that move it, and what came of them.
//!
//! Money waits in three accounts of a caller or publisher (credit, held, payable) and in three of the platform.

pub(crate) mod posting;

use std::fmt;

use protocol::{Credits, PredictionId, Price, Timestamp};
use store::StoreError;

/// The most that one grant can be. Thousands of them fit a balance, so no sum of them overflows.
pub const GRANT_MAX: Credits = Credits::from_dollars(1_000_000);

/// A place where money is. The id inside is an account's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// What a caller can spend.
    Credit(String),
    /// What is set aside for a caller's running predictions.
    Held(String),
    /// What a publisher has earned.
    Payable(String),
    /// What the platform has earned.
    Fee,
    /// Where granted credit comes from; below zero by what was granted.
    Promo,
    /// Where paid credit comes from; below zero by what was paid in.
    External,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Credit(id) => write!(f, "credit:{id}"),
            Account::Held(id) => write!(f, "held:{id}"),
            Account::Payable(id) => write!(f, "payable:{id}"),
            Account::Fee => f.write_str("fee"),
            Account::Promo => f.write_str("promo"),
            Account::External => f.write_str("external"),
        }
    }
}

/// The platform's part of a capture, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRate(u16);

impl FeeRate {
    const WHOLE: i128 = 10_000;

    /// Takes 0 to 10,000; more than the whole is no rate.
    pub fn from_basis_points(basis_points: u16) -> Option<FeeRate> {
        (i128::from(basis_points) <= Self::WHOLE).then_some(FeeRate(basis_points))
    }

    /// The publisher's part: rounded down, so that the crumb goes to the platform and the two parts are the capture exactly (law L6).
    pub(crate) fn publisher_part(self, capture: Credits) -> Credits {
        let part = i128::from(capture.nanos()) * (Self::WHOLE - i128::from(self.0)) / Self::WHOLE;
        Credits(i64::try_from(part).expect("a part is not larger than the whole"))
    }
}

/// Sets money aside before a prediction runs. An amount below zero holds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub prediction: PredictionId,
    /// The account that pays.
    pub account: String,
    pub amount: Credits,
    pub at: Timestamp,
}

/// Ends a hold: captures the cost, and returns the rest in the same transaction. A cost of zero voids it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    pub prediction: PredictionId,
    /// The account that earns.
    pub publisher: String,
    /// Clamped to what was held.
    pub cost: Credits,
    pub fee: FeeRate,
    pub at: Timestamp,
}

/// What a settlement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Captured {
        captured: Credits,
        returned: Credits,
    },
    Voided {
        returned: Credits,
    },
    /// Nothing: it was settled before.
    AlreadySettled,
    /// Nothing: there is no hold for the prediction.
    NeverHeld,
}

/// Charges an account for the time in which instances of its deployment waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTime {
    /// The run of the runner that counted it; its count begins at 0.
    pub boot: String,
    pub account: String,
    /// `owner/name`.
    pub deployment: String,
    pub hardware: String,
    /// All that was counted so far, in microseconds.
    pub waited_us: u64,
    pub per_second: Price,
    pub at: Timestamp,
}

/// What came of a charge for instance time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceCharged {
    pub charged: Credits,
    /// What the credit did not cover: it is nobody's debt, and the instances are not to be kept.
    pub uncovered: Credits,
}

/// Gives credit to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Names the reason, such as `signup:ACCOUNT` or the id of a payment: the same key grants once.
    pub key: String,
    pub account: String,
    pub source: GrantSource,
    pub amount: Credits,
    pub memo: String,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantSource {
    /// The platform's gift.
    Promo,
    /// A payment that came in.
    External,
}

/// Gives a part of a capture, or all of it, back to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Tells refunds of one prediction apart: the same key refunds once.
    pub key: String,
    pub prediction: PredictionId,
    pub amount: Credits,
    pub memo: String,
    pub at: Timestamp,
}

/// Whether a command with a key moved money now, or had done so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    Now,
    Before,
}

/// The credit does not cover the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("credit is {available}, the hold needs {needed}")]
pub struct InsufficientCredit {
    pub available: Credits,
    pub needed: Credits,
}

/// Why a grant or a refund is refused.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("an amount must be above zero and at most {max}")]
    AmountOutOfRange { max: Credits },
    #[error("nothing was captured for the prediction")]
    NothingCaptured,
    #[error("of {captured} captured, {refunded} went back already: {asked} is too much")]
    RefundExceedsCapture { captured: Credits, refunded: Credits, asked: Credits },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        LedgerError::Store(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_above_the_whole_is_no_rate() {
        assert!(FeeRate::from_basis_points(10_000).is_some());
        assert!(FeeRate::from_basis_points(10_001).is_none());
    }
}
