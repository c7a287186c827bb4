//! What a repository promises its publishers and its readers, on both databases.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use protocol::manifest::{CONFIG_TYPE, FILE_TYPE, MANIFEST_TYPE, TITLE};
use protocol::oci::INDEX_TYPE;
use protocol::{Digest, Manifest, ModelRef, Reference, VersionId};
use serde_json::{Value, json};

use super::*;
use crate::caller::Caller;
use crate::models::{ModelRow, Visibility};
use crate::testing::{House, new_version, on_both_engines};

fn repository() -> ModelRef {
    ModelRef::new("ada", "echo").unwrap()
}

async fn push_blob(house: &House, caller: &Caller, bytes: &'static [u8]) -> Digest {
    let digest = Digest::of(bytes);
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(bytes))]);
    house.registry.push_blob(caller, &repository(), &digest, None, body).await.unwrap();
    digest
}

async fn push(house: &House, caller: &Caller, reference: &str, manifest: &Value) -> Result<PushedManifest, OciError> {
    let reference = match reference.parse() {
        Ok(digest) => ManifestRef::Digest(digest),
        Err(_) => ManifestRef::Tag(reference.parse().unwrap()),
    };
    let new = NewManifest { reference, media_type: None, bytes: manifest.to_string().into() };
    house.registry.push_manifest(caller, &repository(), new).await
}

async fn row(house: &House) -> Arc<ModelRow> {
    house.registry.load_model(&repository()).await.unwrap().unwrap()
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

fn artefact(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": "text/x-note",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("text/plain", layer)],
    })
}

fn digest_of(manifest: &Value) -> Digest {
    Digest::of(manifest.to_string().as_bytes())
}

/// A version of one file, spelled as no server of ours would.
fn version(text: &str) -> (Value, &'static [u8], &'static [u8]) {
    let config = json!({
        "protocol": "cog", "predictor": format!("{text}.py:Predictor"),
        "openapi_schema": {"components": {"schemas": {"Input": {"type": "object", "properties": {}}, "Output": {"type": "string"}}}},
    });
    let config: &'static [u8] = Box::leak(serde_json::to_vec_pretty(&config).unwrap().into());
    let file: &'static [u8] = Box::leak(text.as_bytes().into());
    let mut layer = descriptor(FILE_TYPE, file);
    layer["annotations"] = json!({TITLE: format!("{text}.py")});
    (json!({"schemaVersion": 2, "config": descriptor(CONFIG_TYPE, config), "layers": [layer]}), config, file)
}

async fn push_version(house: &House, ada: &Caller, reference: &str, text: &str) -> Digest {
    let (manifest, config, file) = version(text);
    push_blob(house, ada, config).await;
    push_blob(house, ada, file).await;
    push(house, ada, reference, &manifest).await.unwrap().digest
}

#[tokio::test]
async fn the_first_push_makes_a_private_repository_in_ones_own_namespace_only() {
    on_both_engines(|house| async move {
        let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
        let digest = Digest::of(b"x");
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))]);
        let foreign = house.registry.push_blob(&bob, &repository(), &digest, None, body).await;
        assert!(matches!(foreign, Err(OciError::NotOwner)), "{foreign:?}");
        assert!(house.registry.load_model(&repository()).await.unwrap().is_none());

        push_blob(&house, &ada, b"x").await;
        let made = row(&house).await;
        assert_eq!((made.visibility, &*made.hardware), (Visibility::Private, "cpu"));
        assert_eq!(house.registry.find_blob_in(&made, &ada.account.id, &digest).await.unwrap(), Some(1));
        assert_eq!(house.registry.find_blob_in(&made, &bob.account.id, &digest).await.unwrap(), None, "nothing names it yet");
        house.registry.delete_model(&ada, &repository()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_artefact_is_kept_as_it_came_and_is_found_by_tag_and_digest() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        push_blob(&house, &ada, b"{}").await;
        push_blob(&house, &ada, b"note").await;
        let manifest = artefact(b"note");
        for tag in ["v2", "V10", "latest", "v2"] {
            assert_eq!(push(&house, &ada, tag, &manifest).await.unwrap().digest, digest_of(&manifest));
        }
        let row = row(&house).await;
        assert_eq!(house.registry.list_tag_names(&row).await.unwrap(), ["latest", "V10", "v2"]);
        let found = house.registry.find_manifest(&row, &ManifestRef::Tag("v2".parse().unwrap())).await.unwrap().unwrap();
        assert_eq!((found.digest, &*found.media_type, &*found.artifact_type), (digest_of(&manifest), MANIFEST_TYPE, "text/x-note"));
        assert_eq!(house.registry.read_manifest(&found).await.unwrap(), manifest.to_string());
        assert_eq!(row.latest_version_id, None, "what cannot be run is no version");
        let moves = house.registry.list_tag_moves(&row, &"v2".parse().unwrap(), None).await.unwrap();
        assert_eq!(moves.rows.len(), 1, "a tag that points there already does not move");

        let blob = Digest::of(b"note");
        assert!(matches!(house.registry.delete_blob(&ada, &repository(), &blob).await, Err(OciError::BlobInUse)));
        house.registry.delete_manifest(&ada, &repository(), &found.digest).await.unwrap();
        assert_eq!(house.registry.list_tag_names(&row).await.unwrap(), [""; 0]);
        let again = house.registry.delete_manifest(&ada, &repository(), &found.digest).await;
        assert!(matches!(again, Err(OciError::ManifestUnknown)), "{again:?}");
        house.registry.delete_blob(&ada, &repository(), &blob).await.unwrap();
        assert_eq!(house.registry.find_blob_in(&row, &ada.account.id, &blob).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_came_back_does_not_bring_its_tags() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        push_blob(&house, &ada, b"{}").await;
        push_blob(&house, &ada, b"note").await;
        let manifest = artefact(b"note");
        let digest = push(&house, &ada, "v1", &manifest).await.unwrap().digest;
        house.registry.delete_manifest(&ada, &repository(), &digest).await.unwrap();
        house.clock.advance_millis(1);
        push(&house, &ada, &digest.to_string(), &manifest).await.unwrap();
        let row = row(&house).await;
        assert_eq!(house.registry.list_tag_names(&row).await.unwrap(), [""; 0]);
        assert!(house.registry.find_manifest(&row, &ManifestRef::Digest(digest)).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_manifest_names_only_what_is_in_its_repository_and_as_large_as_it_says() {
    on_both_engines(|house| async move {
        let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
        push_blob(&house, &ada, b"{}").await;
        let secret = ModelRef::new("bob", "secret").unwrap();
        let digest = Digest::of(b"note");
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"note"))]);
        house.registry.push_blob(&bob, &secret, &digest, None, body).await.unwrap();

        let refused = push(&house, &ada, "v1", &artefact(b"note")).await;
        assert!(matches!(&refused, Err(OciError::AbsentParts { digests }) if *digests == [digest]), "{refused:?}");
        assert!(!house.registry.mount_blob(&ada, &repository(), &digest, &secret).await.unwrap(), "it is not hers to read");
        push_blob(&house, &ada, b"note").await;
        let mut lying = artefact(b"note");
        lying["layers"][0]["size"] = json!(5);
        let refused = push(&house, &ada, "v1", &lying).await;
        assert!(matches!(refused, Err(OciError::WrongSize { stated: 5, found: 4, .. })), "{refused:?}");
        let wrong = push(&house, &ada, &digest.to_string(), &artefact(b"note")).await;
        assert!(matches!(wrong, Err(OciError::WrongDigest { .. })), "{wrong:?}");
        assert_eq!(house.registry.list_tag_names(&*row(&house).await).await.unwrap(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn an_index_names_manifests_that_are_there_and_nests_only_so_deep() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        push_blob(&house, &ada, b"{}").await;
        push_blob(&house, &ada, b"note").await;
        let mut below = artefact(b"note");
        let orphan = json!({"mediaType": INDEX_TYPE, "manifests": [descriptor(MANIFEST_TYPE, below.to_string().as_bytes())]});
        assert!(matches!(push(&house, &ada, "i", &orphan).await, Err(OciError::AbsentParts { .. })));
        for depth in 0..=5 {
            let pushed = push(&house, &ada, &digest_of(&below).to_string(), &below).await;
            assert_eq!(pushed.is_ok(), depth < 5, "{depth}: {pushed:?}");
            let kind = if depth == 0 { MANIFEST_TYPE } else { INDEX_TYPE };
            below = json!({"mediaType": INDEX_TYPE, "manifests": [descriptor(kind, below.to_string().as_bytes())]});
        }
    })
    .await;
}

#[tokio::test]
async fn referrers_are_listed_by_digest_in_pages_and_by_kind() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        push_blob(&house, &ada, b"{}").await;
        push_blob(&house, &ada, b"note").await;
        let subject = artefact(b"note");
        for n in 0..5 {
            let mut about = artefact(b"note");
            about["subject"] = descriptor(MANIFEST_TYPE, subject.to_string().as_bytes());
            about["annotations"] = json!({"n": n.to_string()});
            about["artifactType"] = json!(if n % 2 == 0 { "a/even" } else { "a/odd" });
            let pushed = push(&house, &ada, &digest_of(&about).to_string(), &about).await.unwrap();
            assert_eq!(pushed.subject, Some(digest_of(&subject)), "which need not be there");
        }
        let row = row(&house).await;
        let of = ReferrersOf { subject: digest_of(&subject), kind: None, last: None, count: 3 };
        let first = house.registry.list_referrers(&row, of.clone()).await.unwrap();
        let rest = ReferrersOf { last: Some(first[2].digest), ..of.clone() };
        let rest = house.registry.list_referrers(&row, rest).await.unwrap();
        assert_eq!((first.len(), rest.len()), (3, 2));
        assert!(first.is_sorted_by_key(|each| each.digest) && first[2].digest < rest[0].digest);
        let even = ReferrersOf { kind: Some("a/even".to_owned()), ..of };
        let even = house.registry.list_referrers(&row, even).await.unwrap();
        assert_eq!(even.len(), 3);
        assert!(even.iter().all(|each| each.annotations.contains_key("n")));
    })
    .await;
}

#[tokio::test]
async fn a_pushed_version_has_the_digest_of_its_bytes_and_what_publishing_makes_is_pushed_as_it_is() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let digest = push_version(&house, &ada, "v1", "one").await;
        let id = VersionId::new(digest);
        let found = house.registry.resolve(&Reference::Latest(repository()), &ada.account.id).await.unwrap().unwrap();
        assert_eq!((found.version.id, &*found.version.files[0].path), (id, "one.py"));
        assert_eq!(found.version.config.predictor.as_deref(), Some("one.py:Predictor"));

        let other = house.model(&ada, "other").await;
        house.upload_files(&new_version("two")).await;
        let published = house.registry.publish(&ada, &other.model, new_version("two")).await.unwrap().version;
        let (manifest, config) = Manifest::new(&new_version("two").config, &new_version("two").files, &BTreeMap::new());
        push_blob(&house, &ada, Box::leak(config.into())).await;
        push_blob(&house, &ada, b"two.py").await;
        let new = NewManifest { reference: ManifestRef::Tag(Tag::latest()), media_type: None, bytes: manifest.to_bytes().into() };
        let pushed = house.registry.push_manifest(&ada, &repository(), new).await.unwrap();
        assert_eq!(pushed.digest, *published.id.digest());

        let listed = house.registry.find_manifest(&other, &ManifestRef::Tag(Tag::latest())).await.unwrap().unwrap();
        assert_eq!((listed.digest, &*listed.media_type), (pushed.digest, MANIFEST_TYPE));
        assert_eq!(house.registry.read_manifest(&listed).await.unwrap(), manifest.to_bytes());
        assert_eq!(house.registry.find_blob_in(&other, "", &manifest.config.digest).await.unwrap(), Some(manifest.config.size));
        let seen = house.registry.list_repositories("", "", 10).await.unwrap();
        assert_eq!(seen, std::slice::from_ref(&other.model), "the pushed one is private");
        let rest = house.registry.list_repositories(&ada.account.id, "ada/echo", 10).await.unwrap();
        assert_eq!(rest, seen);
    })
    .await;
}

#[tokio::test]
async fn latest_moves_for_who_names_it_or_when_there_was_none() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let latest = async || row(&house).await.latest_version_id.map(|id| *id.digest());
        let one = push_version(&house, &ada, "v1", "one").await;
        assert_eq!(latest().await, Some(one), "there was none");
        house.clock.advance_millis(1);
        let two = push_version(&house, &ada, "v2", "two").await;
        assert_eq!(latest().await, Some(one));
        assert_eq!(push_version(&house, &ada, "latest", "two").await, two, "pushed once more under another name");
        assert_eq!(latest().await, Some(two));
        house.clock.advance_millis(1);
        push_blob(&house, &ada, b"{}").await;
        push_blob(&house, &ada, b"note").await;
        push(&house, &ada, "latest", &artefact(b"note")).await.unwrap();
        assert_eq!(latest().await, Some(two), "a note cannot be run");
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_deleted_over_oci_is_a_tombstone() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let one = push_version(&house, &ada, "v1", "one").await;
        house.registry.delete_manifest(&ada, &repository(), &one).await.unwrap();
        let row = row(&house).await;
        assert_eq!(row.latest_version_id, None);
        assert_eq!(house.registry.list_tag_names(&row).await.unwrap(), [""; 0]);
        let again = push(&house, &ada, "v1", &version("one").0).await;
        assert!(matches!(again, Err(OciError::Publish(PublishError::Deleted))), "{again:?}");
    })
    .await;
}

#[tokio::test]
async fn a_version_is_checked_on_either_way_by_the_same_rules() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let (manifest, config, file) = version("one");
        push_blob(&house, &ada, config).await;
        push_blob(&house, &ada, file).await;
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut changed = manifest.clone();
            change(&mut changed);
            changed
        };
        let outside = changed(&|manifest| manifest["layers"][0]["annotations"][TITLE] = json!("../one.py"));
        let refused = push(&house, &ada, "v1", &outside).await;
        assert!(matches!(refused, Err(OciError::Publish(PublishError::BadPath(_)))), "{refused:?}");
        let nameless = changed(&|manifest| manifest["layers"][0]["annotations"] = json!({}));
        let refused = push(&house, &ada, "v1", &nameless).await;
        assert!(matches!(refused, Err(OciError::ManifestInvalid { .. })), "{refused:?}");
        let fileless = changed(&|manifest| manifest["layers"] = json!([]));
        let refused = push(&house, &ada, "v1", &fileless).await;
        assert!(matches!(refused, Err(OciError::Publish(PublishError::BadConfig { field: "predictor", .. }))), "{refused:?}");
        let typed = changed(&|manifest| manifest["mediaType"] = json!("application/x-other"));
        let refused = push(&house, &ada, "v1", &typed).await;
        assert!(matches!(refused, Err(OciError::ManifestInvalid { .. })), "{refused:?}");
        push_blob(&house, &ada, b"{}").await;
        let empty = changed(&|manifest| manifest["config"] = descriptor(CONFIG_TYPE, b"{}"));
        let refused = push(&house, &ada, "v1", &empty).await;
        assert!(matches!(refused, Err(OciError::Publish(PublishError::BadConfig { field: "config", .. }))), "{refused:?}");
        assert_eq!(row(&house).await.latest_version_id, None);
    })
    .await;
}

#[tokio::test]
async fn versions_from_before_the_list_of_manifests_are_listed_by_the_upkeep() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let model = house.model(&ada, "old").await;
        let version = house.publish(&ada, &model.model, new_version("one")).await;
        house.forget_manifests().await;
        let reference = ManifestRef::Digest(*version.id.digest());
        assert!(house.registry.find_manifest(&model, &reference).await.unwrap().is_none());
        house.registry.sweep().await.unwrap();
        assert!(house.registry.find_manifest(&model, &reference).await.unwrap().is_some());
        assert_eq!(house.registry.find_blob_in(&model, "", &version.files[0].digest).await.unwrap(), Some(version.files[0].size));
        assert!(house.registry.find_manifest(&model, &ManifestRef::Tag(Tag::latest())).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn what_a_manifest_names_is_kept_and_counted_until_it_is_deleted() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        push_blob(&house, &ada, b"{}").await;
        let layer = push_blob(&house, &ada, b"note").await;
        let note = artefact(b"note");
        push(&house, &ada, "note", &note).await.unwrap();
        let kept = house.registry.storage_of(&ada.account.id).await.unwrap().kept;
        assert_eq!(kept, 6 + note.to_string().len() as u64, "the config, the layer and the manifest itself");
        // Far beyond the grace, and beyond the time that a blob waits for a manifest.
        let long_after = || house.clock.advance_millis(30 * 86_400_000);
        long_after();
        house.registry.sweep().await.unwrap();
        assert_eq!(house.registry.collect().await.unwrap().blobs, 0);
        assert_eq!(house.registry.storage_of(&ada.account.id).await.unwrap().kept, kept);

        house.registry.delete_manifest(&ada, &repository(), &digest_of(&note)).await.unwrap();
        assert_eq!(house.registry.storage_of(&ada.account.id).await.unwrap().kept, 0);
        assert_eq!(house.registry.collect().await.unwrap().blobs, 0, "who is pulling it goes on for a while");
        long_after();
        assert_eq!(house.registry.collect().await.unwrap().blobs, 3);
        assert_eq!(house.registry.blobs().head(&layer).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_version_from_before_blobs_were_noted_is_pushed_again_under_another_tag() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let (manifest, config, file) = version("one");
        push_blob(&house, &ada, config).await;
        push_blob(&house, &ada, file).await;
        push(&house, &ada, "latest", &manifest).await.unwrap();
        house.execute("delete from blob".to_owned()).await;
        push(&house, &ada, "stable", &manifest).await.unwrap();
    })
    .await;
}
