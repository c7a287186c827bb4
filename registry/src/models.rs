//! Models: a name under an account, what people read about it, what it costs, and where `latest` points.

use std::sync::Arc;

use protocol::{ModelRef, PredictionId, Pricing, Timestamp, VersionId, id};

use crate::caller::Caller;
use crate::cursor::{Direction, Page, Scan};
use crate::db::{model, offer};
use crate::{Registry, RegistryError};

/// Replicate's own limit.
pub(crate) const MODELS_PER_ACCOUNT_MAX: i64 = 1_000;
const DESCRIPTION_BYTES_MAX: usize = 2_000;
const README_BYTES_MAX: usize = 256 * 1024;
const WORD_BYTES_MAX: usize = 63;
const URL_BYTES_MAX: usize = 2_000;
/// Of a cover that is a `data:` address.
const COVER_BYTES_MAX: usize = 48 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    Public,
    Private,
}

impl Visibility {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Public, Self::Private].into_iter().find(|visibility| visibility.name() == name)
    }
}

/// A model without its readme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRow {
    pub id: String,
    pub model: ModelRef,
    /// The account of the owner.
    pub owner_id: String,
    pub description: String,
    pub visibility: Visibility,
    /// The SKU its instances run on.
    pub hardware: String,
    pub links: Links,
    /// `language`, `image`, …
    pub task: Option<String>,
    pub run_count: i64,
    pub is_official: bool,
    pub pricing: Pricing,
    pub latest_version_id: Option<VersionId>,
    pub default_example_id: Option<PredictionId>,
    pub created_at: Timestamp,
}

/// Where a model points: `http:` or `https:` addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub github_url: Option<String>,
    pub paper_url: Option<String>,
    pub license_url: Option<String>,
    pub weights_url: Option<String>,
    pub cover_image_url: Option<String>,
}

impl ModelRow {
    pub fn is_visible_to(&self, account_id: &str) -> bool {
        self.visibility == Visibility::Public || self.owner_id == account_id
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewModel {
    pub model: ModelRef,
    pub visibility: Visibility,
    pub hardware: String,
    pub description: String,
    pub readme: String,
    pub links: Links,
    pub task: Option<String>,
    /// Run time at the hardware's rate when absent.
    pub pricing: Option<Pricing>,
    /// Only operators may say so.
    pub is_official: bool,
}

impl NewModel {
    /// A model of which no more is known than what the API requires.
    pub fn named(model: ModelRef, visibility: Visibility, hardware: &str) -> Self {
        Self {
            model,
            visibility,
            hardware: hardware.to_owned(),
            description: String::new(),
            readme: String::new(),
            links: Links::default(),
            task: None,
            pricing: None,
            is_official: false,
        }
    }
}

/// What to change of a model; an empty text clears a link or the task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelPatch {
    pub description: Option<String>,
    pub readme: Option<String>,
    pub links: Links,
    pub task: Option<String>,
    pub pricing: Option<Pricing>,
}

/// Which models to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelsOf {
    /// What is fit to be shown: public, with a version and an example.
    Catalogue,
    /// Public models that have a version, and all of the viewer's own.
    Everyone,
    /// Those of one owner.
    Owner(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelSort {
    ModelCreatedAt,
    LatestVersionCreatedAt,
}

impl Registry {
    pub async fn create_model(&self, caller: &Caller, new: NewModel) -> Result<Arc<ModelRow>, RegistryError> {
        if new.model.owner != caller.account.name || (new.is_official && !caller.account.is_operator) {
            return Err(RegistryError::NotOwner);
        }
        check_text("description", &new.description, DESCRIPTION_BYTES_MAX)?;
        check_text("readme", &new.readme, README_BYTES_MAX)?;
        check_text("hardware", &new.hardware, WORD_BYTES_MAX)?;
        check_text("task", new.task.as_deref().unwrap_or(""), WORD_BYTES_MAX)?;
        check_links(&new.links)?;
        check_pricing(new.pricing.as_ref())?;
        let row = ModelRow {
            id: id::prefixed("mod", &self.clock, &self.entropy),
            model: new.model,
            owner_id: caller.account.id.clone(),
            description: new.description,
            visibility: new.visibility,
            hardware: new.hardware,
            links: new.links,
            task: new.task,
            run_count: 0,
            is_official: new.is_official,
            pricing: new.pricing.unwrap_or(Pricing::Second),
            latest_version_id: None,
            default_example_id: None,
            created_at: self.clock.now(),
        };
        let created = Arc::new(row.clone());
        let readme = new.readme;
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    if model::count(tx, &row.model.owner).await? >= MODELS_PER_ACCOUNT_MAX {
                        return Err(RegistryError::TooManyModels { max: MODELS_PER_ACCOUNT_MAX });
                    }
                    let is_free = !offer::was_left(tx, &row.model).await?;
                    let fresh = is_free && model::insert(tx, &row, &readme).await?;
                    fresh.then_some(()).ok_or(RegistryError::ModelTaken { model: row.model })
                })
            })
            .await?;
        self.catalogue.forget_model(&created.model);
        Ok(created)
    }

    /// Finds a model that this account may see; a stranger's private one is as absent as one that never was.
    pub async fn find_model(&self, model: &ModelRef, viewer_id: &str) -> Result<Option<Arc<ModelRow>>, RegistryError> {
        Ok(self.load_model(model).await?.filter(|row| row.is_visible_to(viewer_id)))
    }

    pub async fn find_readme(&self, model: &ModelRef, viewer_id: &str) -> Result<Option<String>, RegistryError> {
        let Some(row) = self.find_model(model, viewer_id).await? else {
            return Ok(None);
        };
        self.db.read(move |tx| Box::pin(async move { model::find_readme(tx, &row.id).await })).await
    }

    pub async fn patch_model(&self, caller: &Caller, model: &ModelRef, patch: ModelPatch) -> Result<Arc<ModelRow>, RegistryError> {
        check_text("description", patch.description.as_deref().unwrap_or(""), DESCRIPTION_BYTES_MAX)?;
        check_text("readme", patch.readme.as_deref().unwrap_or(""), README_BYTES_MAX)?;
        check_text("task", patch.task.as_deref().unwrap_or(""), WORD_BYTES_MAX)?;
        check_links(&patch.links)?;
        check_pricing(patch.pricing.as_ref())?;
        let row = self.require_own_model(caller, model).await?;
        let model_id = row.id.clone();
        self.db.write(move |tx| Box::pin(async move { model::patch(tx, &model_id, &patch).await })).await?;
        self.catalogue.forget_model(model);
        self.load_model(model).await?.ok_or(RegistryError::ModelUnknown)
    }

    /// Sets what runs cost from now on.
    pub async fn set_price(&self, caller: &Caller, model: &ModelRef, pricing: Pricing) -> Result<(), RegistryError> {
        self.patch_model(caller, model, ModelPatch { pricing: Some(pricing), ..ModelPatch::default() }).await?;
        Ok(())
    }

    /// Shows a prediction as the model's example. That it may be shown is for the caller to have checked.
    pub async fn set_default_example(&self, caller: &Caller, model: &ModelRef, prediction: PredictionId) -> Result<(), RegistryError> {
        let row = self.require_own_model(caller, model).await?;
        let model_id = row.id.clone();
        self.db.write(move |tx| Box::pin(async move { model::set_default_example(tx, &model_id, prediction).await })).await?;
        self.catalogue.forget_model(model);
        Ok(())
    }

    /// Deletes a private model that never had a version.
    pub async fn delete_model(&self, caller: &Caller, model: &ModelRef) -> Result<(), RegistryError> {
        let row = self.require_own_model(caller, model).await?;
        if row.visibility == Visibility::Public {
            return Err(RegistryError::ModelInUse);
        }
        let model_id = row.id.clone();
        let deleted = self.db.write(move |tx| Box::pin(async move { model::delete_unused(tx, &model_id).await })).await?;
        self.catalogue.forget_model(model);
        deleted.then_some(()).ok_or(RegistryError::ModelInUse)
    }

    /// Lists models that the viewer may see.
    pub async fn list_models(
        &self,
        which: ModelsOf,
        sort: ModelSort,
        direction: Direction,
        cursor: Option<&str>,
        viewer_id: &str,
    ) -> Result<Page<Arc<ModelRow>>, RegistryError> {
        let scan = Scan::of(direction, cursor)?;
        let (viewer_id, fetched) = (viewer_id.to_owned(), scan.clone());
        let rows = self.db.read(move |tx| Box::pin(async move { model::list(tx, &which, sort, &fetched, &viewer_id).await })).await?;
        let page = scan.page(rows, |listed| (listed.sort_key, listed.row.id.clone()));
        Ok(page.map(|listed| Arc::new(listed.row)))
    }

    /// Counts one run of a model. Written a little later, by the upkeep.
    pub fn count_run(&self, model: &ModelRow) {
        self.pending.note_runs(&model.id, 1);
    }

    pub(crate) async fn require_own_model(&self, caller: &Caller, model: &ModelRef) -> Result<Arc<ModelRow>, RegistryError> {
        let row = self.find_model(model, &caller.account.id).await?.ok_or(RegistryError::ModelUnknown)?;
        if row.model != *model {
            return Err(RegistryError::ModelMoved { to: row.model.clone() });
        }
        if row.owner_id == caller.account.id { Ok(row) } else { Err(RegistryError::NotOwner) }
    }
}

pub(crate) fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), RegistryError> {
    if text.len() > bytes_max {
        return Err(RegistryError::BadField { field, why: "is too long" });
    }
    if text.contains('\0') {
        return Err(RegistryError::BadField { field, why: "contains a zero byte" });
    }
    Ok(())
}

/// A link is followed by whoever reads the page: only the web's own schemes, never `javascript:` or `data:`.
fn check_links(links: &Links) -> Result<(), RegistryError> {
    let named = [
        ("github_url", &links.github_url),
        ("paper_url", &links.paper_url),
        ("license_url", &links.license_url),
        ("weights_url", &links.weights_url),
        ("cover_image_url", &links.cover_image_url),
    ];
    for (field, link) in named {
        let Some(link) = link.as_deref().filter(|link| !link.is_empty()) else {
            continue;
        };
        let is_web = (link.starts_with("https://") || link.starts_with("http://")) && link.len() <= URL_BYTES_MAX;
        // A small cover may stand in its own address, and then needs no host that serves it.
        let is_picture = field == "cover_image_url" && link.starts_with("data:image/") && link.len() <= COVER_BYTES_MAX;
        if !(is_web || is_picture) || link.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(RegistryError::BadField { field, why: "must be an http or https address of at most 2000 bytes" });
        }
    }
    Ok(())
}

pub(crate) fn check_pricing(pricing: Option<&Pricing>) -> Result<(), RegistryError> {
    match pricing {
        Some(Pricing::Token { prompt, completion }) if prompt.0 < 0 || completion.0 < 0 => {
            Err(RegistryError::BadField { field: "pricing", why: "must not be negative" })
        }
        Some(Pricing::Token { .. } | Pricing::Second | Pricing::Free) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Clock, Entropy, Price};

    use super::*;
    use crate::testing::on_both_engines;

    fn new(owner: &str, name: &str, visibility: Visibility) -> NewModel {
        NewModel::named(ModelRef::new(owner, name).unwrap(), visibility, "cpu")
    }

    #[tokio::test]
    async fn a_model_is_created_read_changed_and_priced() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let readme = "# Echo".to_owned();
            let created = house.registry.create_model(&ada, NewModel { readme, ..new("ada", "echo", Visibility::Public) }).await.unwrap();
            let found = house.registry.find_model(&created.model, "").await.unwrap().unwrap();
            assert_eq!(*found, *created);
            assert_eq!(house.registry.find_readme(&created.model, "").await.unwrap().as_deref(), Some("# Echo"));

            let pricing = Pricing::Token { prompt: Price(1), completion: Price(2) };
            let links = Links { github_url: Some("https://example.org/echo".to_owned()), ..Links::default() };
            let patch =
                ModelPatch { description: Some("says it again".to_owned()), links, pricing: Some(pricing), ..ModelPatch::default() };
            let patched = house.registry.patch_model(&ada, &created.model, patch).await.unwrap();
            assert_eq!((&*patched.description, patched.pricing), ("says it again", pricing));
            assert_eq!(patched.links.github_url.as_deref(), Some("https://example.org/echo"));

            let links = Links { github_url: Some(String::new()), ..Links::default() };
            house.registry.patch_model(&ada, &created.model, ModelPatch { links, ..ModelPatch::default() }).await.unwrap();
            house.registry.set_price(&ada, &created.model, Pricing::Free).await.unwrap();
            let example = PredictionId::new(&Clock::system(), &Entropy::system());
            house.registry.set_default_example(&ada, &created.model, example).await.unwrap();
            let found = house.registry.find_model(&created.model, "").await.unwrap().unwrap();
            assert_eq!((&found.links.github_url, found.pricing, found.default_example_id), (&None, Pricing::Free, Some(example)));
            assert_eq!(&*found.description, "says it again");
        })
        .await;
    }

    #[tokio::test]
    async fn a_stranger_sees_a_private_model_exactly_as_an_unknown_one() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let secret = house.registry.create_model(&ada, new("ada", "secret", Visibility::Private)).await.unwrap();
            let unknown = ModelRef::new("ada", "unknown").unwrap();
            for model in [&secret.model, &unknown] {
                assert_eq!(house.registry.find_model(model, &bob.account.id).await.unwrap(), None);
                assert_eq!(house.registry.find_readme(model, &bob.account.id).await.unwrap(), None);
                let patched = house.registry.patch_model(&bob, model, ModelPatch::default()).await;
                assert!(matches!(patched, Err(RegistryError::ModelUnknown)), "{patched:?}");
            }
            assert!(house.registry.find_model(&secret.model, &ada.account.id).await.unwrap().is_some());
        })
        .await;
    }

    #[tokio::test]
    async fn only_the_owner_makes_and_changes_models_and_a_name_is_taken_once() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let created = house.registry.create_model(&ada, new("ada", "echo", Visibility::Public)).await.unwrap();
            let again = house.registry.create_model(&ada, new("ada", "echo", Visibility::Public)).await;
            assert!(matches!(again, Err(RegistryError::ModelTaken { .. })), "{again:?}");
            let foreign = house.registry.create_model(&bob, new("ada", "other", Visibility::Public)).await;
            assert!(matches!(foreign, Err(RegistryError::NotOwner)), "{foreign:?}");
            let official = NewModel { is_official: true, ..new("bob", "official", Visibility::Public) };
            assert!(matches!(house.registry.create_model(&bob, official).await, Err(RegistryError::NotOwner)));
            let priced = house.registry.set_price(&bob, &created.model, Pricing::Free).await;
            assert!(matches!(priced, Err(RegistryError::NotOwner)), "{priced:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn links_that_would_run_and_texts_without_end_are_refused() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            for link in ["javascript:alert(1)", "data:text/html,x", "https://a b", "ftp://x", "//x", "https://x\n"] {
                let links = Links { cover_image_url: Some(link.to_owned()), ..Links::default() };
                let result = house.registry.create_model(&ada, NewModel { links, ..new("ada", "echo", Visibility::Public) }).await;
                assert!(matches!(result, Err(RegistryError::BadField { field: "cover_image_url", .. })), "{link}");
            }
            let readme = "x".repeat(README_BYTES_MAX + 1);
            let result = house.registry.create_model(&ada, NewModel { readme, ..new("ada", "echo", Visibility::Public) }).await;
            assert!(matches!(result, Err(RegistryError::BadField { field: "readme", .. })), "{result:?}");
            let pricing = Some(Pricing::Token { prompt: Price(-1), completion: Price(0) });
            let result = house.registry.create_model(&ada, NewModel { pricing, ..new("ada", "echo", Visibility::Public) }).await;
            assert!(matches!(result, Err(RegistryError::BadField { field: "pricing", .. })), "{result:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_list_shows_each_model_once_in_both_directions() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let mut names = Vec::new();
            for n in 0..57 {
                // Several share a moment, so that the id must tell them apart.
                if n % 4 == 0 {
                    house.clock.advance_millis(1);
                }
                let name = format!("m{n}");
                house.registry.create_model(&ada, new("ada", &name, Visibility::Private)).await.unwrap();
                names.push(name);
            }
            names.sort_unstable();
            for sort in [ModelSort::ModelCreatedAt, ModelSort::LatestVersionCreatedAt] {
                for direction in [Direction::Ascending, Direction::Descending] {
                    let (mut seen, mut cursor) = (Vec::new(), None);
                    loop {
                        let page = house
                            .registry
                            .list_models(ModelsOf::Everyone, sort, direction, cursor.as_deref(), &ada.account.id)
                            .await
                            .unwrap();
                        seen.extend(page.rows.iter().map(|row| row.model.name.clone()));
                        cursor = page.next;
                        if cursor.is_none() {
                            break;
                        }
                    }
                    seen.sort_unstable();
                    assert_eq!(seen, names);
                }
            }
            let strangers = house
                .registry
                .list_models(ModelsOf::Everyone, ModelSort::ModelCreatedAt, Direction::Descending, None, &bob.account.id)
                .await;
            assert_eq!(strangers.unwrap().rows, []);
        })
        .await;
    }

    #[tokio::test]
    async fn only_an_unused_private_model_can_be_deleted() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let private = house.registry.create_model(&ada, new("ada", "draft", Visibility::Private)).await.unwrap();
            let public = house.registry.create_model(&ada, new("ada", "echo", Visibility::Public)).await.unwrap();
            house.registry.delete_model(&ada, &private.model).await.unwrap();
            assert_eq!(house.registry.find_model(&private.model, &ada.account.id).await.unwrap(), None);
            let refused = house.registry.delete_model(&ada, &public.model).await;
            assert!(matches!(refused, Err(RegistryError::ModelInUse)), "{refused:?}");
        })
        .await;
    }
}
