//! Versions: published once, named by the hash of their manifest, never changed.

mod check;
mod publish;

use std::sync::Arc;

use protocol::api::FileWarning;
use protocol::manifest::{Driver, VersionFile};
use protocol::paths::BadPath;
use protocol::prediction::Errand;
use protocol::wire::Bundle;
use protocol::{Digest, ModelRef, Tag, Timestamp, VersionConfig, VersionId};
use serde_json::Value;
use store::StoreError;

use crate::caller::Caller;
use crate::cursor::{Direction, Page, Scan};
use crate::db::version::Presence;
use crate::db::{blob, holding, manifest, model, tag, version};
use crate::input::{BadSchema, InputSchema};
use crate::models::ModelRow;
use crate::tags::Pointing;
use crate::{Registry, RegistryError};

pub(crate) use check::{CONFIG_BYTES_MAX, check_draft, check_image};
pub use publish::Published;
pub(crate) use publish::{Draft, Naming, json_text};

/// A version that may be run.
#[derive(Clone, Debug)]
pub struct VersionRow {
    pub id: VersionId,
    pub model: ModelRef,
    pub config: Arc<VersionConfig>,
    pub files: Arc<[VersionFile]>,
    /// What a runner is told.
    pub bundle: Arc<Bundle>,
    pub input: InputSchema,
    /// Of a version that can be trained.
    pub training_input: Option<InputSchema>,
    /// About its files.
    pub warnings: Arc<[FileWarning]>,
    pub created_at: Timestamp,
}

impl VersionRow {
    /// What the input of an errand must be like; none where the version has no trainer.
    pub fn input_of(&self, errand: Errand) -> Option<&InputSchema> {
        match errand {
            Errand::Predict => Some(&self.input),
            Errand::Train => self.training_input.as_ref(),
        }
    }
}

/// A version as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionSummary {
    pub id: VersionId,
    pub created_at: Timestamp,
    pub cog_version: String,
    pub driver: Driver,
    pub openapi_schema: Value,
    pub warnings: Vec<FileWarning>,
}

/// Why a version is not published. All but the last are for its publisher to read.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the model does not exist, or is not yours to see")]
    ModelUnknown,
    #[error("only the owner may publish")]
    NotOwner,
    #[error("a version has at most {max} files")]
    TooManyFiles { max: usize },
    #[error(transparent)]
    BadPath(#[from] BadPath),
    #[error("the file {path:?} is refused: {why}")]
    BadFile { path: String, why: String },
    #[error("{field} {why}")]
    BadConfig { field: &'static str, why: String },
    #[error("the schema {0}")]
    BadSchema(#[from] BadSchema),
    #[error("these blobs must be uploaded first: {}", listed(.digests))]
    AbsentBlobs { digests: Vec<Digest> },
    #[error("the blob {digest} has {found} bytes, not {stated}")]
    WrongSize { digest: Digest, stated: u64, found: u64 },
    #[error("the hook {name} is refused: {why}")]
    HookRefused { name: String, why: String },
    #[error("this version was deleted, and what is deleted does not come back: change something to publish another")]
    Deleted,
    #[error(transparent)]
    Registry(RegistryError),
}

impl From<RegistryError> for PublishError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::ModelUnknown => Self::ModelUnknown,
            RegistryError::NotOwner => Self::NotOwner,
            error => Self::Registry(error),
        }
    }
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        Self::Registry(error.into())
    }
}

fn listed(digests: &[Digest]) -> String {
    digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Registry {
    /// Lists a model's versions, newest first.
    pub async fn list_versions(&self, model: &ModelRow, cursor: Option<&str>) -> Result<Page<VersionSummary>, RegistryError> {
        let scan = Scan::of(Direction::Descending, cursor)?;
        let (model_id, fetched) = (model.id.clone(), scan.clone());
        let rows = self.db.read(move |tx| Box::pin(async move { version::list(tx, &model_id, &fetched).await })).await?;
        Ok(scan.page(rows, |row| (row.created_at.micros(), row.id.to_string())))
    }

    /// Whether a model had a version that was deleted: its id names nothing else, ever.
    pub async fn was_deleted(&self, model: &ModelRow, id: &VersionId) -> Result<bool, RegistryError> {
        let (model_id, id) = (model.id.clone(), *id);
        let presence = self.db.read(move |tx| Box::pin(async move { version::presence(tx, &model_id, &id).await })).await?;
        Ok(presence == Some(Presence::Deleted))
    }

    /// Deletes a version for good; false when the model has no such version. If `latest` pointed at it, it moves to the one before it, or, if
    /// it was the first, to the newest that is left.
    pub async fn delete_version(&self, caller: &Caller, model: &ModelRef, id: &VersionId) -> Result<bool, RegistryError> {
        let row = self.require_own_model(caller, model).await?;
        let (model_id, model_ref, id, now) = (row.id.clone(), model.clone(), *id, self.clock.now());
        let (moved_by, owner_id) = (caller.account.id.clone(), row.owner_id.clone());
        let deleted = self.db.write(move |tx| {
            Box::pin(async move {
                if !version::delete(tx, &model_id, &id, now).await? {
                    return Ok::<_, RegistryError>(false);
                }
                // Predictions of it may still be under way: its blobs have the full time from now on.
                let parts = manifest::parts(tx, &model_id, id.digest()).await?;
                blob::touch(tx, &parts, now).await?;
                manifest::delete(tx, &model_id, id.digest()).await?;
                holding::release(tx, &owner_id, &parts).await?;
                let latest = model::find(tx, &model_ref).await?.and_then(|row| row.latest_version_id);
                if latest != Some(id) {
                    return Ok(true);
                }
                let next = match tag::before(tx, &model_id, &Tag::latest(), &id).await? {
                    None => version::newest(tx, &model_id).await?,
                    earlier => earlier,
                };
                match next {
                    Some(next) => {
                        let latest = Pointing { tag: Tag::latest(), version: next, moved_by_id: moved_by, moved_at: now };
                        tag::point(tx, &model_id, &latest).await?;
                    }
                    None => model::clear_latest(tx, &model_id).await?,
                }
                Ok(true)
            })
        });
        let deleted = deleted.await?;
        self.catalogue.forget_version(&row, &id);
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Reference;

    use super::*;
    use crate::testing::{new_version, on_both_engines};

    #[tokio::test]
    async fn versions_are_listed_newest_first_and_without_the_deleted() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let mut published = Vec::new();
            for text in ["one", "two", "three"] {
                published.push(house.publish(&ada, &model.model, new_version(text)).await.id);
                house.clock.advance_millis(1);
            }
            assert!(house.registry.delete_version(&ada, &model.model, &published[1]).await.unwrap());
            let listed = house.registry.list_versions(&model, None).await.unwrap();
            let ids: Vec<_> = listed.rows.iter().map(|row| row.id).collect();
            assert_eq!(ids, [published[2], published[0]]);
            assert_eq!(listed.rows[0].openapi_schema, new_version("three").config.openapi_schema);
        })
        .await;
    }

    #[tokio::test]
    async fn latest_moves_back_when_it_is_deleted_and_an_id_never_returns() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let model = house.model(&ada, "echo").await;
            let first = house.publish(&ada, &model.model, new_version("one")).await;
            house.clock.advance_millis(1);
            let second = house.publish(&ada, &model.model, new_version("two")).await;
            let latest = Reference::Latest(model.model.clone());

            let foreign = house.registry.delete_version(&bob, &model.model, &second.id).await;
            assert!(matches!(foreign, Err(RegistryError::NotOwner)), "{foreign:?}");
            assert!(house.registry.delete_version(&ada, &model.model, &second.id).await.unwrap());
            assert!(!house.registry.delete_version(&ada, &model.model, &second.id).await.unwrap());
            assert_eq!(house.registry.resolve(&latest, "").await.unwrap().unwrap().version.id, first.id);
            assert!(house.registry.resolve(&Reference::Bare(second.id), "").await.unwrap().is_none());

            let again = house.registry.publish(&ada, &model.model, new_version("two")).await;
            assert!(matches!(again, Err(PublishError::Deleted)), "{again:?}");
            assert!(house.registry.delete_version(&ada, &model.model, &first.id).await.unwrap());
            assert!(house.registry.resolve(&latest, "").await.unwrap().is_none());
        })
        .await;
    }
}
