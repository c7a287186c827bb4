//! What can stand in the way of the registry, as facts that a caller can act on.

use protocol::ModelRef;
use protocol::name::NotAName;
use store::StoreError;

use crate::blobs::BlobError;
use crate::deployments::BadScale;
use crate::storage::OverLimit;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    BadName(#[from] NotAName),
    #[error("the name {name} is taken")]
    NameTaken { name: String },
    #[error("the model {model} exists already")]
    ModelTaken { model: ModelRef },
    /// Also what a stranger is told of a private model.
    #[error("the model does not exist, or is not yours to see")]
    ModelUnknown,
    #[error("the model has changed hands, and is {to} now")]
    ModelMoved { to: ModelRef },
    #[error("there is no such account")]
    AccountUnknown,
    #[error("the model was not offered to this account, or is no longer")]
    OfferUnknown,
    #[error("only the owner may do this")]
    NotOwner,
    #[error("only a private model without versions can be deleted")]
    ModelInUse,
    #[error("an account has at most {max} models")]
    TooManyModels { max: i64 },
    #[error("an account has at most {max} tokens: revoke one first")]
    TooManyTokens { max: i64 },
    #[error("the deployment {deployment} exists already")]
    DeploymentTaken { deployment: ModelRef },
    #[error("the model has no such version")]
    VersionUnknown,
    #[error("before the version that latest points at there is none that is still there")]
    NothingEarlier,
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// Between the look at a blob and the row that names it: nobody named it, and its time was over.
    #[error("some of the bytes were cleared away in the same moment: send them again")]
    BlobCollected,
    #[error("a model's tags have at most {max} names")]
    TooManyTags { max: i64 },
    /// Also what a stranger is told of another's deployment.
    #[error("the deployment does not exist, or is not yours to see")]
    DeploymentUnknown,
    #[error("the deployment was changed at the same moment")]
    DeploymentChanged,
    #[error("an account has at most {max} deployments: delete one first")]
    TooManyDeployments { max: i64 },
    #[error(transparent)]
    BadScale(#[from] BadScale),
    #[error("{field} {why}")]
    BadField { field: &'static str, why: &'static str },
    #[error("the cursor is not one of this list")]
    BadCursor,
    #[error("the {what} {id} does not read back as it was written")]
    Corrupt { what: &'static str, id: String },
    #[error("the compiler of hooks cannot be started")]
    CompilerNotStarted(#[source] std::io::Error),
    #[error("the database failed")]
    Store(#[from] StoreError),
    #[error("the object store failed")]
    Blob(#[from] BlobError),
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
