//! Publishing: everything is checked, then the blobs are there, then the manifest, then one row. What breaks off before the row leaves
//! nothing that anyone can see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use protocol::api::NewVersion;
use protocol::manifest::{HookSpec, HookStage, VersionFile};
use protocol::{Digest, Manifest, ModelRef, OciManifest, Tag, VersionConfig, VersionId};

use crate::caller::Caller;
use crate::claims::Claim;
use crate::db::manifest::NewManifestRow;
use crate::db::version::{self, NewVersionRow, Presence};
use crate::db::{model, tag};
use crate::hook_publisher::OpenHookError;
use crate::models::{ModelRow, check_pricing};
use crate::oci::ManifestRow;
use crate::tags::{self, Pointing};
use crate::versions::{PublishError, VersionRow, check};
use crate::{Registry, RegistryError};

/// Questions that one publication asks of the object store at a time.
const HEADS_AT_A_TIME: usize = 16;

#[derive(Clone, Debug)]
pub struct Published {
    pub version: Arc<VersionRow>,
    /// False when the model had this version already, and nothing was written.
    pub fresh: bool,
}

/// A version that is about to be, whichever way it came.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) id: VersionId,
    pub(crate) config: VersionConfig,
    pub(crate) files: Vec<VersionFile>,
    pub(crate) config_text: String,
    /// Whose SHA-256 is the id.
    pub(crate) manifest_text: String,
    pub(crate) listed: NewManifestRow,
    /// On all that it names.
    pub(crate) claim: Claim,
}

/// What a version is called when it is there.
#[derive(Clone, Debug)]
pub(crate) enum Naming {
    /// Published over HTTP: `latest` moves to it if it is new.
    Published,
    /// Pushed over OCI: the tag moves to it, if it was pushed under one. `latest` also does if there is none yet.
    Pushed(Option<Tag>),
}

impl Registry {
    /// Makes a version of blobs that are there, and moves `latest` to it. A price, if one is given, holds from now on even when the version
    /// is not a new one.
    pub async fn publish(&self, caller: &Caller, model: &ModelRef, new: NewVersion) -> Result<Published, PublishError> {
        let row = self.require_own_model(caller, model).await?;
        check_pricing(new.pricing.as_ref())?;
        check::check_draft(&new.config, &new.files)?;
        let claim = self.begin_claim();
        let sizes = self.require_blobs(&new.files, &new.config.hooks).await?;
        let hook_sizes = new.config.hooks.iter().map(|hook| (hook.digest, sizes[&hook.digest])).collect();

        let (manifest, config_bytes) = Manifest::new(&new.config, &new.files, &hook_sizes);
        let (id, manifest_text) = (manifest.id(), json_text(manifest.to_bytes()));
        let named = OciManifest::parse(&manifest_text).expect("a manifest of ours reads back");
        let draft = Draft {
            id,
            config_text: json_text(config_bytes),
            listed: NewManifestRow {
                model_id: row.id.clone(),
                manifest: ManifestRow::of(*id.digest(), manifest_text.len(), &named),
                subject: None,
                depth: 0,
                blobs: named.blobs().map(|blob| (blob.digest, blob.size)).collect(),
                created_at: self.clock.now(),
            },
            manifest_text,
            config: new.config,
            files: new.files,
            claim,
        };
        let fresh = self.settle(caller, &row, draft, Naming::Published).await?;
        if let Some(pricing) = new.pricing.filter(|pricing| *pricing != row.pricing) {
            let model_id = row.id.clone();
            self.db.write(move |tx| Box::pin(async move { model::set_price(tx, &model_id, &pricing).await })).await?;
            self.catalogue.forget_model(model);
        }
        let version = self.find_version(&row, &id).await?.ok_or(PublishError::Deleted)?;
        Ok(Published { version, fresh })
    }

    /// Makes a version of a draft that was checked, and names it; false when the model had it already.
    pub(crate) async fn settle(&self, caller: &Caller, row: &ModelRow, draft: Draft, naming: Naming) -> Result<bool, PublishError> {
        let (model_id, id) = (row.id.clone(), draft.id);
        let presence = self.db.read(move |tx| Box::pin(async move { version::presence(tx, &model_id, &id).await })).await?;
        match (presence, &naming) {
            (Some(Presence::Deleted), _) => return Err(PublishError::Deleted),
            (Some(Presence::Present), Naming::Published) => return Ok(false),
            (Some(Presence::Present) | None, _) => {}
        }
        let parts: Vec<Digest> = draft.listed.parts().into_keys().collect();
        self.claim_blobs(&parts).await?;
        if presence.is_none() {
            self.require_hooks(&draft.config.hooks).await?;
            self.inspect(&id, &draft.files).await?;
            // The config of an image is what we read of it: no blob, and named by nothing.
            if draft.config.driver.is_process() {
                self.blobs.put(draft.config_text.clone().into()).await.map_err(RegistryError::Blob)?;
            }
            self.blobs.put(draft.manifest_text.clone().into()).await.map_err(RegistryError::Blob)?;
        }
        let fresh = self.insert_version(caller, draft, naming).await?;
        self.catalogue.forget_version(row, &id);
        Ok(fresh)
    }

    /// Writes the rows by which a version exists, and its names; false when somebody else just has.
    async fn insert_version(&self, caller: &Caller, draft: Draft, naming: Naming) -> Result<bool, PublishError> {
        let now = draft.listed.created_at;
        let version = NewVersionRow {
            model_id: draft.listed.model_id.clone(),
            id: draft.id,
            manifest: draft.manifest_text,
            config: draft.config_text,
            openapi_schema: draft.config.openapi_schema.to_string(),
            cog_version: draft.config.cog_version,
            created_by: caller.account.id.clone(),
            created_at: now,
        };
        let (listed, claim, moved_by_id) = (draft.listed, draft.claim, caller.account.id.clone());
        let insert = self.db.write(move |tx| {
            Box::pin(async move {
                let fresh = version::insert(tx, &version).await?;
                if !fresh && version::presence(tx, &version.model_id, &version.id).await? != Some(Presence::Present) {
                    return Err(PublishError::Deleted);
                }
                claim.list(tx, &listed, &moved_by_id).await?;
                let to = |tag| Pointing { tag, version: version.id, moved_by_id: moved_by_id.clone(), moved_at: now };
                match naming {
                    Naming::Published if fresh => {
                        tag::point(tx, &version.model_id, &to(Tag::latest())).await?;
                    }
                    Naming::Published => {}
                    Naming::Pushed(tag) => {
                        if let Some(tag) = tag {
                            tags::name(tx, &version.model_id, to(tag)).await?;
                        }
                        if tag::resolve(tx, &version.model_id, &Tag::latest()).await?.is_none() {
                            tag::point(tx, &version.model_id, &to(Tag::latest())).await?;
                        }
                    }
                }
                Ok(fresh)
            })
        });
        insert.await
    }

    /// Sees to it that every blob is there and as large as stated, and tells how large they are.
    async fn require_blobs(&self, files: &[VersionFile], hooks: &[HookSpec]) -> Result<BTreeMap<Digest, u64>, PublishError> {
        let named = files.iter().map(|file| file.digest).chain(hooks.iter().map(|hook| hook.digest));
        let sizes = self.require_present(named.collect()).await?;
        match files.iter().find(|file| sizes[&file.digest] != file.size) {
            Some(wrong) => Err(PublishError::WrongSize { digest: wrong.digest, stated: wrong.size, found: sizes[&wrong.digest] }),
            None => Ok(sizes),
        }
    }

    /// Sees to it that every blob is there, and tells how large they are.
    pub(crate) async fn require_present(&self, named: BTreeSet<Digest>) -> Result<BTreeMap<Digest, u64>, PublishError> {
        self.claim_blobs(&named.iter().copied().collect::<Vec<_>>()).await?;
        let sizes: Vec<(Digest, Option<u64>)> = stream::iter(named)
            .map(|digest| async move { Ok((digest, self.blobs.head(&digest).await.map_err(RegistryError::Blob)?)) })
            .buffered(HEADS_AT_A_TIME)
            .try_collect()
            .await
            .map_err(|error: RegistryError| PublishError::from(error))?;
        let absent: Vec<Digest> = sizes.iter().filter(|(_, size)| size.is_none()).map(|(digest, _)| *digest).collect();
        if !absent.is_empty() {
            return Err(PublishError::AbsentBlobs { digests: absent });
        }
        Ok(sizes.into_iter().filter_map(|(digest, size)| Some((digest, size?))).collect())
    }

    /// Checks and compiles every hook, and sees to it that it exports what it is declared for.
    async fn require_hooks(&self, hooks: &[HookSpec]) -> Result<(), PublishError> {
        for spec in hooks {
            let refused = |why: String| PublishError::HookRefused { name: spec.name.clone(), why };
            let hook = match self.open_hook(&spec.digest).await {
                Ok(Some(hook)) => hook,
                Ok(None) => return Err(PublishError::AbsentBlobs { digests: vec![spec.digest] }),
                Err(OpenHookError::Refused { why }) => return Err(refused(why)),
                Err(OpenHookError::Registry(error)) => return Err(error.into()),
            };
            let exports = hook.exports();
            for stage in &spec.stages {
                let (is_exported, interface) = match stage {
                    HookStage::Before => (exports.before, "pre"),
                    HookStage::Stream => (exports.stream, "stream-filter"),
                    HookStage::After => (exports.after, "post"),
                };
                if !is_exported {
                    return Err(refused(format!("it is declared for a stage whose interface, feira:hook/{interface}, it does not export")));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn json_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use protocol::{Price, Pricing, Reference};
    use serde_json::json;

    use super::*;
    use crate::testing::{new_version, on_both_engines};

    #[tokio::test]
    async fn the_same_manifest_again_writes_nothing() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            house.upload_files(&new_version("one")).await;
            let first = house.registry.publish(&ada, &model.model, new_version("one")).await.unwrap();
            house.clock.advance_millis(5_000);
            let again = house.registry.publish(&ada, &model.model, new_version("one")).await.unwrap();
            assert_eq!((first.fresh, again.fresh, again.version.id), (true, false, first.version.id));
            assert_eq!(again.version.created_at, first.version.created_at);
            assert_eq!(*again.version.config, new_version("one").config);
            assert_eq!(*again.version.files, *new_version("one").files);
            assert_eq!(again.version.bundle.version, first.version.id);
        })
        .await;
    }

    #[tokio::test]
    async fn publishers_who_race_the_same_bytes_get_one_id_and_one_row() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            house.upload_files(&new_version("one")).await;
            let races = (0..8).map(|_| house.registry.publish(&ada, &model.model, new_version("one")));
            let published = futures::future::try_join_all(races).await.unwrap();
            assert!(published.iter().all(|each| each.version.id == published[0].version.id));
            assert_eq!(published.iter().filter(|each| each.fresh).count(), 1);
            assert_eq!(house.registry.list_versions(&model, None).await.unwrap().rows.len(), 1);
        })
        .await;
    }

    #[tokio::test]
    async fn every_absent_blob_is_named_and_a_wrong_size_too() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let mut new = new_version("one");
            let absent = [Digest::of(b"absent"), Digest::of(b"absent too")];
            new.files.extend(absent.map(|digest| VersionFile { path: digest.hex(), digest, size: 6 }));
            house.upload_files(&new_version("one")).await;
            match house.registry.publish(&ada, &model.model, new).await {
                Err(PublishError::AbsentBlobs { mut digests }) => {
                    digests.sort_unstable();
                    let mut absent = absent.to_vec();
                    absent.sort_unstable();
                    assert_eq!(digests, absent);
                }
                other => panic!("{other:?}"),
            }
            let mut new = new_version("one");
            new.files[0].size += 1;
            let result = house.registry.publish(&ada, &model.model, new).await;
            assert!(matches!(result, Err(PublishError::WrongSize { .. })), "{result:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_crash_between_the_manifest_and_the_row_leaves_nothing_visible() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let new = new_version("one");
            house.upload_files(&new).await;
            let (manifest, _) = Manifest::new(&new.config, &new.files, &BTreeMap::new());
            // All that comes before the row succeeds, and the row's transaction fails at its last statement.
            house.break_table("tag_move").await;
            let broken = house.registry.publish(&ada, &model.model, new.clone()).await;
            assert!(matches!(broken, Err(PublishError::Registry(RegistryError::Store(_)))), "{broken:?}");
            assert!(house.registry.blobs().head(manifest.id().digest()).await.unwrap().is_some(), "the manifest was written");
            assert!(house.registry.resolve(&Reference::Latest(model.model.clone()), "").await.unwrap().is_none());
            assert!(house.registry.resolve(&Reference::Bare(manifest.id()), "").await.unwrap().is_none());
            assert_eq!(house.registry.list_versions(&model, None).await.unwrap().rows, []);

            house.mend_table("tag_move").await;
            assert!(house.registry.publish(&ada, &model.model, new).await.unwrap().fresh);
        })
        .await;
    }

    #[tokio::test]
    async fn a_price_in_the_publication_holds_from_now_on() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            house.upload_files(&new_version("one")).await;
            for (price, fresh) in [(1, true), (2, false)] {
                let pricing = Pricing::Token { prompt: Price(price), completion: Price(price) };
                let new = NewVersion { pricing: Some(pricing), ..new_version("one") };
                assert_eq!(house.registry.publish(&ada, &model.model, new).await.unwrap().fresh, fresh);
                assert_eq!(house.registry.find_model(&model.model, "").await.unwrap().unwrap().pricing, pricing);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn only_the_owner_publishes_and_a_hook_must_be_one() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let model = house.model(&ada, "echo").await;
            house.upload_files(&new_version("one")).await;
            let foreign = house.registry.publish(&bob, &model.model, new_version("one")).await;
            assert!(matches!(foreign, Err(PublishError::NotOwner)), "{foreign:?}");
            let unknown = house.registry.publish(&bob, &ModelRef::new("ada", "unknown").unwrap(), new_version("one")).await;
            assert!(matches!(unknown, Err(PublishError::ModelUnknown)), "{unknown:?}");

            let garbage = house.registry.blobs().put("no component".into()).await.unwrap();
            let mut new = new_version("one");
            let hook = json!({"name": "redact", "digest": garbage.digest, "stages": ["before"]});
            new.config.hooks = vec![serde_json::from_value(hook).unwrap()];
            let refused = house.registry.publish(&ada, &model.model, new).await;
            assert!(matches!(&refused, Err(PublishError::HookRefused { name, .. }) if name == "redact"), "{refused:?}");
        })
        .await;
    }
}
