//! Collections: shelves on which operators put models that belong together.

use std::sync::Arc;

use protocol::name::check_name;
use protocol::{ModelRef, Timestamp, id};

use crate::cursor::{Direction, Page, Scan};
use crate::db::{collection, model};
use crate::models::{ModelRow, check_text};
use crate::{Registry, RegistryError};

const TITLE_BYTES_MAX: usize = 200;
const DESCRIPTION_BYTES_MAX: usize = 2_000;
const FULL_DESCRIPTION_BYTES_MAX: usize = 64 * 1024;
const MODELS_MAX: usize = 200;
const FOUND_MAX: i64 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    pub id: String,
    /// Its name in addresses.
    pub slug: String,
    pub name: String,
    pub description: String,
    pub full_description: Option<String>,
    pub created_at: Timestamp,
}

/// What an operator says of a collection; what is absent stays as it is, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionPatch {
    pub name: Option<String>,
    pub description: Option<String>,
    pub full_description: Option<String>,
    pub models: Option<Vec<ModelRef>>,
}

impl Registry {
    /// Makes a collection. That the caller may is for the door to have checked.
    pub async fn create_collection(&self, slug: &str, new: CollectionPatch, viewer_id: &str) -> Result<Collection, RegistryError> {
        let blank = Collection {
            id: id::prefixed("col", &self.clock, &self.entropy),
            slug: check_name(slug)?.to_owned(),
            name: slug.to_owned(),
            description: String::new(),
            full_description: None,
            created_at: self.clock.now(),
        };
        let models = new.models.clone().unwrap_or_default();
        let created = changed(blank, new)?;
        self.require_models(&models, viewer_id).await?;
        let row = created.clone();
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    if !collection::insert(tx, &row).await? {
                        return Err(RegistryError::NameTaken { name: row.slug });
                    }
                    collection::set_models(tx, &row.id, &models).await
                })
            })
            .await?;
        Ok(created)
    }

    pub async fn patch_collection(&self, slug: &str, patch: CollectionPatch, viewer_id: &str) -> Result<Option<Collection>, RegistryError> {
        let Some(before) = self.find_collection(slug).await? else {
            return Ok(None);
        };
        let models = patch.models.clone();
        let after = changed(before, patch)?;
        self.require_models(models.as_deref().unwrap_or_default(), viewer_id).await?;
        let row = after.clone();
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    collection::update(tx, &row).await?;
                    match &models {
                        Some(models) => collection::set_models(tx, &row.id, models).await,
                        None => Ok(()),
                    }
                })
            })
            .await?;
        Ok(Some(after))
    }

    /// False when there is no such collection.
    pub async fn delete_collection(&self, slug: &str) -> Result<bool, RegistryError> {
        let Some(found) = self.find_collection(slug).await? else {
            return Ok(false);
        };
        self.db.write(move |tx| Box::pin(async move { collection::delete(tx, &found.id).await })).await?;
        Ok(true)
    }

    pub async fn find_collection(&self, slug: &str) -> Result<Option<Collection>, RegistryError> {
        if check_name(slug).is_err() {
            return Ok(None);
        }
        let slug = slug.to_owned();
        self.db.read(move |tx| Box::pin(async move { collection::find(tx, &slug).await })).await
    }

    /// The models of a collection that an account may see, in its order.
    pub async fn collected_models(&self, of: &Collection, viewer_id: &str) -> Result<Vec<Arc<ModelRow>>, RegistryError> {
        let id = of.id.clone();
        let names = self.db.read(move |tx| Box::pin(async move { collection::models(tx, &id).await })).await?;
        let mut models = Vec::with_capacity(names.len());
        for name in names {
            models.extend(self.find_model(&name, viewer_id).await?);
        }
        Ok(models)
    }

    /// Lists collections, newest first.
    pub async fn list_collections(&self, cursor: Option<&str>) -> Result<Page<Collection>, RegistryError> {
        let scan = Scan::of(Direction::Descending, cursor)?;
        let fetched = scan.clone();
        let rows = self.db.read(move |tx| Box::pin(async move { collection::list(tx, &fetched).await })).await?;
        Ok(scan.page(rows, |row| (row.created_at.micros(), row.id.clone())))
    }

    /// Finds the collections whose texts contain the words of a query, each of them.
    pub async fn search_collections(&self, query: &str) -> Result<Vec<Collection>, RegistryError> {
        let words = crate::search::words_of(query);
        let Some(rarest) = words.iter().max_by_key(|word| word.len()).cloned() else {
            return Ok(Vec::new());
        };
        let pattern = model::containing(&rarest);
        let found = self.db.read(move |tx| Box::pin(async move { collection::search(tx, &pattern, FOUND_MAX).await })).await?;
        let text = |found: &Collection| format!("{} {} {}", found.slug, found.name, found.description).to_lowercase();
        Ok(found.into_iter().filter(|found| words.iter().all(|word| text(found).contains(word))).collect())
    }

    async fn require_models(&self, models: &[ModelRef], viewer_id: &str) -> Result<(), RegistryError> {
        if models.len() > MODELS_MAX {
            return Err(RegistryError::BadField { field: "models", why: "must be at most 200" });
        }
        for model in models {
            if self.find_model(model, viewer_id).await?.is_none() {
                return Err(RegistryError::BadField { field: "models", why: "names a model that does not exist, or is not yours to see" });
            }
        }
        Ok(())
    }
}

fn changed(before: Collection, patch: CollectionPatch) -> Result<Collection, RegistryError> {
    let after = Collection {
        name: patch.name.unwrap_or(before.name),
        description: patch.description.unwrap_or(before.description),
        full_description: patch.full_description.or(before.full_description),
        ..before
    };
    check_text("name", &after.name, TITLE_BYTES_MAX)?;
    check_text("description", &after.description, DESCRIPTION_BYTES_MAX)?;
    check_text("full_description", after.full_description.as_deref().unwrap_or(""), FULL_DESCRIPTION_BYTES_MAX)?;
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{NewModel, Visibility};
    use crate::testing::on_both_engines;

    #[tokio::test]
    async fn a_collection_keeps_its_order_and_hides_what_is_private() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let open = house.model(&ada, "open").await.model.clone();
            let secret = ModelRef::new("ada", "secret").unwrap();
            house.registry.create_model(&ada, NewModel::named(secret.clone(), Visibility::Private, "cpu")).await.unwrap();
            let models = Some(vec![secret.clone(), open.clone()]);
            let new = CollectionPatch { name: Some("First".to_owned()), models: models.clone(), ..CollectionPatch::default() };
            let foreign = house.registry.create_collection("first", new.clone(), &bob.account.id).await;
            assert!(matches!(foreign, Err(RegistryError::BadField { field: "models", .. })), "{foreign:?}");
            let made = house.registry.create_collection("first", new.clone(), &ada.account.id).await.unwrap();
            assert!(matches!(house.registry.create_collection("first", new, &ada.account.id).await, Err(RegistryError::NameTaken { .. })));

            let seen = async |viewer: &str| {
                let models = house.registry.collected_models(&made, viewer).await.unwrap();
                models.iter().map(|model| model.model.clone()).collect::<Vec<_>>()
            };
            assert_eq!(seen(&ada.account.id).await, [secret, open.clone()]);
            assert_eq!(seen(&bob.account.id).await, std::slice::from_ref(&open));

            let patch = CollectionPatch { models: Some(vec![open]), ..CollectionPatch::default() };
            let patched = house.registry.patch_collection("first", patch, &ada.account.id).await.unwrap().unwrap();
            assert_eq!((&*patched.name, seen(&ada.account.id).await.len()), ("First", 1));
            assert_eq!(house.registry.list_collections(None).await.unwrap().rows, std::slice::from_ref(&patched));
            assert_eq!(house.registry.search_collections("fir").await.unwrap(), [patched]);
            assert!(house.registry.delete_collection("first").await.unwrap());
            assert!(!house.registry.delete_collection("first").await.unwrap());
            assert_eq!(house.registry.find_collection("a\0b").await.unwrap(), None);
        })
        .await;
    }
}
