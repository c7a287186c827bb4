//! What a prediction cost: meter → price → charge, and the double-entry ledger that holds, captures and voids.
//!
//! Meter, price, charge and hold are arithmetic. `ledger::posting` decides which entries a command makes, and only `db` writes them;
//! nothing updates or deletes an entry.

pub mod charge;
mod db;
pub mod hold;
pub mod ledger;
pub mod meter;
pub mod price;

pub use charge::{Charge, Ending, charge};
pub use db::command::{grant, hold_all, refund, settle_all};
pub use db::instance::charge_instance_time;
pub use db::report::{AccountBalance, LedgerReport, Violation, balance, entries_sum, verify};
pub use hold::{RunLimit, hold_amount, run_us_affordable};
pub use ledger::{
    Account, FeeRate, Grant, GrantSource, Hold, InstanceCharged, InstanceTime, InsufficientCredit, LedgerError, Posted, Refund, Settle,
    Settled,
};
pub use meter::{MeasuredBy, Meter, TokenCount};
pub use price::{Hardware, PriceBook};
