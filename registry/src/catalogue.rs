//! What a prediction is resolved against: models and compiled versions, held in memory and forgotten when they change.

use std::sync::Arc;

use protocol::wire::Bundle;
use protocol::{ModelRef, Reference, VersionId};

use crate::cache::Cache;
use crate::db::version::StoredVersion;
use crate::db::{model, version};
use crate::input::InputSchema;
use crate::models::ModelRow;
use crate::versions::VersionRow;
use crate::{Registry, RegistryError};

const MODELS_MAX: usize = 10_000;
const VERSIONS_MAX: usize = 1_000;
/// How late another process may notice a new `latest`, a new price, or a model that became private.
const MODELS_TTL_MS: i64 = 5_000;
/// A version never changes; this bounds how late another process notices that it was deleted.
const VERSIONS_TTL_MS: i64 = 60_000;

/// A version that may be run, and its model as it stood when it was resolved.
#[derive(Clone, Debug)]
pub struct Catalogued {
    pub model: Arc<ModelRow>,
    pub version: Arc<VersionRow>,
}

#[derive(Debug)]
pub(crate) struct Catalogue {
    models: Cache<ModelRef, Arc<ModelRow>>,
    /// By model id and version id.
    versions: Cache<(String, VersionId), Arc<VersionRow>>,
    /// The models that have a version.
    holders: Cache<VersionId, Arc<[ModelRef]>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            models: Cache::new(MODELS_MAX, MODELS_TTL_MS),
            versions: Cache::new(VERSIONS_MAX, VERSIONS_TTL_MS),
            holders: Cache::new(VERSIONS_MAX, MODELS_TTL_MS),
        }
    }
}

impl Catalogue {
    pub(crate) fn forget_model(&self, model: &ModelRef) {
        self.models.forget(model);
    }

    pub(crate) fn forget_version(&self, model: &ModelRow, id: &VersionId) {
        self.models.forget(&model.model);
        self.versions.forget(&(model.id.clone(), *id));
        self.holders.forget(id);
    }
}

impl Registry {
    /// Lets go of what is known of a model that another process has changed.
    pub fn forget_model(&self, model: &ModelRef) {
        self.catalogue.forget_model(model);
    }

    /// Finds what a reference means to an account. What is absent, deleted, or another's private model is `None` alike.
    pub async fn resolve(&self, reference: &Reference, viewer_id: &str) -> Result<Option<Arc<Catalogued>>, RegistryError> {
        match reference {
            Reference::Latest(model) => {
                let Some(model) = self.find_model(model, viewer_id).await? else {
                    return Ok(None);
                };
                match model.latest_version_id {
                    Some(latest) => self.catalogued(model, &latest).await,
                    None => Ok(None),
                }
            }
            Reference::Exact(model, id) => match self.find_model(model, viewer_id).await? {
                Some(model) => self.catalogued(model, id).await,
                None => Ok(None),
            },
            Reference::Bare(id) => {
                for model in self.load_holders(id).await?.iter() {
                    if let Some(model) = self.find_model(model, viewer_id).await?
                        && let Some(found) = self.catalogued(model, id).await?
                    {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }

    async fn catalogued(&self, model: Arc<ModelRow>, id: &VersionId) -> Result<Option<Arc<Catalogued>>, RegistryError> {
        let version = self.find_version(&model, id).await?;
        Ok(version.map(|version| Arc::new(Catalogued { model, version })))
    }

    pub async fn find_version(&self, model: &ModelRow, id: &VersionId) -> Result<Option<Arc<VersionRow>>, RegistryError> {
        let load = async {
            let (model_id, id) = (model.id.clone(), *id);
            let stored = self.db.read(move |tx| Box::pin(async move { version::find(tx, &model_id, &id).await })).await?;
            stored.map(|stored| read_version(&model.model, &id, stored).map(Arc::new)).transpose()
        };
        self.catalogue.versions.find_or_load(&(model.id.clone(), *id), &self.clock, load).await
    }

    /// Loads a model whoever may see it.
    pub(crate) async fn load_model(&self, model: &ModelRef) -> Result<Option<Arc<ModelRow>>, RegistryError> {
        let load = async {
            let model = model.clone();
            let row = self.db.read(move |tx| Box::pin(async move { model::find(tx, &model).await })).await?;
            Ok(row.map(Arc::new))
        };
        self.catalogue.models.find_or_load(model, &self.clock, load).await
    }

    async fn load_holders(&self, id: &VersionId) -> Result<Arc<[ModelRef]>, RegistryError> {
        let load = async {
            let id = *id;
            let holders = self.db.read(move |tx| Box::pin(async move { version::holders(tx, &id).await })).await?;
            Ok::<_, RegistryError>((!holders.is_empty()).then(|| holders.into()))
        };
        Ok(self.catalogue.holders.find_or_load(id, &self.clock, load).await?.unwrap_or_default())
    }
}

fn read_version(model: &ModelRef, id: &VersionId, stored: StoredVersion) -> Result<VersionRow, RegistryError> {
    let files = stored.files;
    let schema = &stored.config.openapi_schema;
    let corrupt = |_| RegistryError::Corrupt { what: "version", id: id.to_string() };
    let trainer = stored.config.trainer.as_ref();
    Ok(VersionRow {
        id: *id,
        model: model.clone(),
        input: InputSchema::compile(schema).map_err(corrupt)?,
        training_input: trainer.map(|_| InputSchema::compile_training(schema)).transpose().map_err(corrupt)?,
        files: files.clone().into(),
        bundle: Arc::new(Bundle { model: model.clone(), version: *id, config: stored.config.clone(), files }),
        config: Arc::new(stored.config),
        warnings: stored.warnings.into(),
        created_at: stored.created_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{NewModel, Visibility};
    use crate::testing::{new_version, on_both_engines};

    #[tokio::test]
    async fn the_three_forms_of_a_reference_find_the_version() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let first = house.publish(&ada, &model.model, new_version("one")).await;
            house.clock.advance_millis(1);
            let second = house.publish(&ada, &model.model, new_version("two")).await;
            for (reference, expected) in [
                (Reference::Latest(model.model.clone()), second.id),
                (Reference::Exact(model.model.clone(), first.id), first.id),
                (Reference::Bare(first.id), first.id),
            ] {
                let found = house.registry.resolve(&reference, "").await.unwrap().unwrap();
                assert_eq!((found.version.id, &found.model.model), (expected, &model.model), "{reference:?}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_private_version_resolves_for_its_owner_only() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let name = ModelRef::new("ada", "secret").unwrap();
            house.registry.create_model(&ada, NewModel::named(name.clone(), Visibility::Private, "cpu")).await.unwrap();
            let version = house.publish(&ada, &name, new_version("one")).await;
            let unknown = new_version("unknown").config;
            let unknown = VersionId::new(protocol::Digest::of(&unknown.to_bytes()));
            for reference in [Reference::Latest(name.clone()), Reference::Exact(name.clone(), version.id), Reference::Bare(version.id)] {
                assert!(house.registry.resolve(&reference, &ada.account.id).await.unwrap().is_some(), "{reference:?}");
                assert!(house.registry.resolve(&reference, &bob.account.id).await.unwrap().is_none(), "{reference:?}");
            }
            assert!(house.registry.resolve(&Reference::Exact(name, unknown), &ada.account.id).await.unwrap().is_none());
        })
        .await;
    }

    #[tokio::test]
    async fn the_same_version_under_two_models_is_found_where_the_caller_may_see_it() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let secret = ModelRef::new("ada", "secret").unwrap();
            house.registry.create_model(&ada, NewModel::named(secret.clone(), Visibility::Private, "cpu")).await.unwrap();
            let version = house.publish(&ada, &secret, new_version("one")).await;
            assert!(house.registry.resolve(&Reference::Bare(version.id), &bob.account.id).await.unwrap().is_none());

            let open = house.model(&bob, "open").await;
            let same = house.publish(&bob, &open.model, new_version("one")).await;
            assert_eq!(same.id, version.id);
            let found = house.registry.resolve(&Reference::Bare(version.id), &ada.account.id).await.unwrap().unwrap();
            assert_eq!(found.model.model, open.model, "the public one comes first");
        })
        .await;
    }

    #[tokio::test]
    async fn a_warm_catalogue_needs_no_database() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let version = house.publish(&ada, &model.model, new_version("one")).await;
            for reference in [Reference::Latest(model.model.clone()), Reference::Bare(version.id)] {
                house.registry.resolve(&reference, "").await.unwrap().unwrap();
            }
            house.registry.db.close().await;
            for reference in [Reference::Latest(model.model.clone()), Reference::Bare(version.id)] {
                house.registry.resolve(&reference, "").await.unwrap().unwrap();
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_change_by_another_process_is_seen_within_seconds() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let first = house.publish(&ada, &model.model, new_version("one")).await;
            let latest = Reference::Latest(model.model.clone());
            assert_eq!(house.registry.resolve(&latest, "").await.unwrap().unwrap().version.id, first.id);

            let other = house.another_process();
            house.clock.advance_millis(1);
            house.upload_files(&new_version("two")).await;
            let second = other.publish(&ada, &model.model, new_version("two")).await.unwrap().version;
            house.clock.advance_millis(MODELS_TTL_MS);
            assert_eq!(house.registry.resolve(&latest, "").await.unwrap().unwrap().version.id, second.id);
        })
        .await;
    }
}
