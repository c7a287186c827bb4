//! Why a prediction is not accepted; nothing was stored and nothing is charged.

use hooks::HookError;
use protocol::manifest::Driver;
use protocol::problem::InvalidField;
use protocol::{Credits, ModelRef};
use registry::RegistryError;
use store::StoreError;

use crate::prediction::hooked::HookUnavailable;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the version does not exist, or is not for this caller")]
    UnknownVersion,
    #[error("the deployment {deployment} runs nothing")]
    DeploymentOff { deployment: ModelRef },
    #[error("no runner has the driver {}", .driver.name())]
    NoDriver { driver: Driver },
    #[error("the version has no trainer")]
    NotTrainable,
    #[error("the input does not fit the version's schema")]
    InvalidInput(Vec<InvalidField>),
    #[error("the version's hook `{hook}` refused the call: {code}")]
    HookRefused { hook: String, code: String, message: String },
    #[error("the version's hook `{hook}` failed")]
    HookFailed { hook: String, source: HookError },
    #[error("every sandbox for hooks is in use")]
    HookBusy,
    #[error("the version's hook `{hook}` cannot be loaded")]
    HookUnavailable { hook: String, source: HookUnavailable },
    #[error("credit is {available}, the hold needs {needed}")]
    InsufficientCredit { available: Credits, needed: Credits },
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error("the gateway is stopping")]
    Draining,
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
