//! What is promised of collection: what is named or counted on stays, and the rest goes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use protocol::api::NewVersion;
use protocol::{Digest, ModelRef};
use serde_json::Map;
use tokio::sync::watch;

use super::*;
use crate::caller::Caller;
use crate::files::NewFile;
use crate::storage::StorageRules;
use crate::testing::{House, new_version, on_both_engines};
use crate::versions::PublishError;

const GRACE: Duration = Duration::from_mins(1);
const AFTER_MS: i64 = 61_000;

fn with_grace(registry: &Registry) -> Registry {
    registry.clone().with_storage(StorageRules { grace: GRACE, ..StorageRules::default() })
}

fn whole(bytes: &'static str) -> impl futures::Stream<Item = Result<bytes::Bytes, Infallible>> + Send {
    stream::iter([Ok(bytes::Bytes::from_static(bytes.as_bytes()))])
}

async fn put(registry: &Registry, caller: &Caller, bytes: &'static str) -> Digest {
    registry.put_blob(caller, &Digest::of(bytes.as_bytes()), Some(bytes.len() as u64), whole(bytes)).await.unwrap().digest
}

/// The blobs of a version that are not there.
async fn missing(registry: &Registry, model: &ModelRef, id: &protocol::VersionId) -> Vec<Digest> {
    let model = registry.find_model(model, "").await.unwrap().unwrap();
    let version = registry.find_version(&model, id).await.unwrap().expect("the version is visible");
    let (manifest, _) = protocol::Manifest::new(&version.config, &version.files, &std::collections::BTreeMap::new());
    let named = [manifest.config.digest].into_iter().chain(manifest.layers.iter().map(|layer| layer.digest));
    let mut missing = Vec::new();
    for digest in named.chain([*id.digest()]) {
        if registry.blobs().head(&digest).await.unwrap().is_none() {
            missing.push(digest);
        }
    }
    missing
}

#[tokio::test]
async fn what_nothing_names_goes_after_its_time_and_what_is_named_stays() {
    on_both_engines(|house| async move {
        let registry = with_grace(&house.registry);
        let ada = house.caller("ada").await;
        let model = house.model(&ada, "echo").await;
        let version = house.publish(&ada, &model.model, new_version("one")).await;
        let loose = put(&registry, &ada, "loose").await;
        assert_eq!(registry.collect().await.unwrap(), Collected::default(), "it may be about to be published");
        house.clock.advance_millis(AFTER_MS);
        let expected = Collected { blobs: 1, bytes: 5 };
        assert_eq!(registry.collectable().await.unwrap(), expected);
        assert_eq!(registry.blobs().head(&loose).await.unwrap(), Some(5), "it was only looked for");
        assert_eq!(registry.collect().await.unwrap(), expected);
        assert_eq!(registry.blobs().head(&loose).await.unwrap(), None);
        assert_eq!(missing(&registry, &model.model, &version.id).await, []);
        assert_eq!(registry.collect().await.unwrap(), Collected::default());
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_was_asked_for_stays_as_long_again() {
    on_both_engines(|house| async move {
        let registry = with_grace(&house.registry);
        let ada = house.caller("ada").await;
        let loose = put(&registry, &ada, "loose").await;
        for _ in 0..3 {
            house.clock.advance_millis(AFTER_MS / 2);
            assert_eq!(registry.find_blob(&loose).await.unwrap(), Some(5));
            assert_eq!(registry.collect().await.unwrap(), Collected::default());
        }
        house.clock.advance_millis(AFTER_MS);
        assert_eq!(registry.collect().await.unwrap().blobs, 1);
        assert_eq!(registry.find_blob(&loose).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_versions_blobs_go_when_no_other_version_has_them() {
    on_both_engines(|house| async move {
        let registry = with_grace(&house.registry);
        let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
        let (first, second) = (house.model(&ada, "echo").await, house.model(&bob, "echo").await);
        let id = house.publish(&ada, &first.model, new_version("one")).await.id;
        house.publish(&bob, &second.model, new_version("one")).await;
        house.clock.advance_millis(AFTER_MS);
        assert!(registry.delete_version(&ada, &first.model, &id).await.unwrap());
        house.clock.advance_millis(AFTER_MS);
        assert_eq!(registry.collect().await.unwrap(), Collected::default(), "bob's version has the same blobs");
        assert_eq!(missing(&registry, &second.model, &id).await, []);

        assert!(registry.delete_version(&bob, &second.model, &id).await.unwrap());
        assert_eq!(registry.collect().await.unwrap(), Collected::default(), "what runs of it may still fetch them");
        house.clock.advance_millis(AFTER_MS);
        assert_eq!(registry.collect().await.unwrap().blobs, 3, "the manifest, the config and the file");
        let again = registry.publish(&ada, &first.model, new_version("one")).await;
        assert!(matches!(again, Err(PublishError::AbsentBlobs { .. })), "{again:?}");
        house.upload_files(&new_version("one")).await;
        let again = registry.publish(&ada, &first.model, new_version("one")).await;
        assert!(matches!(again, Err(PublishError::Deleted)), "its row stays when its blobs are gone: {again:?}");
    })
    .await;
}

#[tokio::test]
async fn a_files_blob_goes_when_the_last_file_of_that_content_is_gone() {
    on_both_engines(|house| async move {
        let registry = with_grace(&house.registry);
        let ada = house.caller("ada").await;
        let new = |expires_at| NewFile {
            account_id: ada.account.id.clone(),
            prediction: None,
            name: "a.txt".to_owned(),
            content_type: "text/plain".to_owned(),
            metadata: Map::new(),
            bytes_max: 100,
            expires_at,
        };
        let first = registry.create_file(new(None), whole("same")).await.unwrap();
        let second = registry.create_file(new(Some(house.clock.now().plus_millis(AFTER_MS * 2))), whole("same")).await.unwrap();
        assert!(registry.delete_file(&ada.account.id, &first.id).await.unwrap());
        house.clock.advance_millis(AFTER_MS);
        assert_eq!(registry.collect().await.unwrap(), Collected::default());
        house.clock.advance_millis(AFTER_MS);
        registry.sweep().await.unwrap();
        assert_eq!(registry.find_file(&second.id).await.unwrap(), None, "its time is over");
        assert_eq!(registry.collect().await.unwrap(), Collected { blobs: 1, bytes: 4 });
    })
    .await;
}

#[tokio::test]
async fn what_an_earlier_release_published_is_named_and_what_it_left_behind_is_found() {
    on_both_engines(|house| async move {
        let registry = with_grace(&house.registry);
        let ada = house.caller("ada").await;
        let model = house.model(&ada, "echo").await;
        let version = house.publish(&ada, &model.model, new_version("one")).await;
        for table in ["named_blob", "manifest", "holding", "blob"] {
            house.execute(format!("delete from {table}")).await;
        }
        registry.blobs().put("left behind".into()).await.unwrap();
        // The store tells its own time, which is long after the one of these tests.
        house.clock.advance_millis(100 * 365 * 86_400_000);
        assert_eq!(registry.collect().await.unwrap(), Collected { blobs: 1, bytes: 11 });
        assert_eq!(missing(&registry, &model.model, &version.id).await, []);
        assert!(registry.storage_of(&ada.account.id).await.unwrap().kept > 0, "and it counts");
    })
    .await;
}

/// Publishes versions of a few files that others publish and delete at the same time, as a client would: ask, send, publish, start over
/// when something was cleared away; and looks at each version while it is visible. Each round takes its time.
async fn push_and_delete(registry: Registry, caller: Caller, model: ModelRef, step: Arc<watch::Sender<()>>) {
    const FILES: [&str; 3] = ["red", "green", "blue"];
    for round in 0..ROUNDS {
        let mut new: NewVersion = new_version(FILES[round % FILES.len()]);
        new.config.license = Some(format!("{model} {round}"));
        let id = loop {
            for file in &new.files {
                if registry.find_blob(&file.digest).await.unwrap().is_none() {
                    step.send_replace(());
                    let bytes = file.path.clone().into_bytes();
                    let body = stream::iter([Ok::<_, Infallible>(bytes.into())]);
                    registry.put_blob(&caller, &file.digest, Some(file.size), body).await.unwrap();
                }
            }
            step.send_replace(());
            match registry.publish(&caller, &model, new.clone()).await {
                Ok(published) => break published.version.id,
                Err(PublishError::AbsentBlobs { .. } | PublishError::Registry(RegistryError::BlobCollected)) => {}
                Err(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(missing(&registry, &model, &id).await, [], "a visible version lacks a blob");
        step.send_replace(());
        tokio::task::yield_now().await;
        assert_eq!(missing(&registry, &model, &id).await, [], "a visible version lost a blob");
        assert!(registry.delete_version(&caller, &model, &id).await.unwrap());
        registry.clock.advance_millis(700);
        step.send_replace(());
    }
}

const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_visible_version_ever_lacks_a_blob_however_pushers_and_collectors_race() {
    const PUSHERS: usize = 3;
    on_both_engines(|house: House| async move {
        let rules = StorageRules { grace: GRACE_MIN, ..StorageRules::default() };
        let (step, steps) = watch::channel(());
        let step = Arc::new(step);
        let mut pushers = Vec::new();
        for n in 0..PUSHERS {
            let caller = house.caller(&format!("pusher-{n}")).await;
            let model = house.model(&caller, "raced").await.model.clone();
            let registry = house.another_process().with_storage(rules);
            pushers.push(tokio::spawn(push_and_delete(registry, caller, model, Arc::clone(&step))));
        }
        // The pushers alone hold the channel: it closes when the last of them is done.
        drop(step);
        let collectors = (0..2).map(|_| {
            let (registry, mut steps) = (house.another_process().with_storage(rules), steps.clone());
            async move {
                let mut collected = 0;
                while steps.changed().await.is_ok() {
                    collected += registry.collect().await.unwrap().blobs;
                }
                collected
            }
        });
        let collected: u64 = futures::future::join_all(collectors).await.into_iter().sum();
        for pusher in pushers {
            pusher.await.expect("no pusher found a version without its blobs");
        }
        assert!(collected > 0, "nothing was collected while they raced: the test shows nothing");
    })
    .await;
}
