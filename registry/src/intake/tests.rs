//! What a look into the files means for a publication.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::api::NewVersion;
use protocol::{ModelRef, Reference};

use super::*;
use crate::caller::Caller;
use crate::testing::{House, new_version, on_both_engines};

const PICKLE: &[u8] = b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tarball(entry: &str) -> Vec<u8> {
    let mut tar = vec![0; 512];
    tar[..entry.len()].copy_from_slice(entry.as_bytes());
    tar[124..135].copy_from_slice(b"00000000000");
    tar[156] = b'0';
    tar[257..263].copy_from_slice(b"ustar\0");
    tar[148..156].fill(b' ');
    let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    tar.resize(512 * 3, 0);
    tar
}

/// One entry that is only stored, and the directory that says so.
fn zipped(name: &str, content: &[u8]) -> Vec<u8> {
    let [bytes, name_bytes] = [content.len(), name.len()].map(|bytes| u32::try_from(bytes).unwrap().to_le_bytes());
    let sizes = [[0; 4], bytes, bytes, name_bytes].concat();
    let entry = [b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", sizes.as_slice(), name.as_bytes(), content].concat();
    let listed = [b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0", sizes.as_slice(), &[0; 14], name.as_bytes()].concat();
    let places = [listed.len(), entry.len()].map(|at| u32::try_from(at).unwrap().to_le_bytes()).concat();
    [entry, listed, b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec(), places, vec![0, 0]].concat()
}

fn tensors(header: &str, data_bytes: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data_bytes]].concat()
}

/// A version with these files beside its code.
async fn version_with(house: &House, text: &str, files: &[(&str, &[u8])]) -> NewVersion {
    let mut new = new_version(text);
    house.upload_files(&new).await;
    for (path, content) in files {
        let stored = house.registry.blobs().put(content.to_vec().into()).await.unwrap();
        new.files.push(VersionFile { path: (*path).to_owned(), digest: stored.digest, size: stored.size });
    }
    new
}

async fn a_model(house: &House) -> (Caller, ModelRef) {
    let ada = house.caller("ada").await;
    let model = house.model(&ada, "echo").await.model.clone();
    (ada, model)
}

#[tokio::test]
async fn a_file_that_lies_keeps_its_version_from_being_published() {
    on_both_engines(|house| async move {
        let (ada, model) = a_model(&house).await;
        let lie = tensors(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4);
        for (path, content, word) in [
            ("data/a.tar", tarball("../evil"), "`..`"),
            ("data/a.tar.gz", gzip(&tarball("/etc/evil")), "relative"),
            ("data/a.tgz", b"no gzip".to_vec(), "read to its end"),
            ("data/a.zip", b"no zip".to_vec(), "no directory"),
            ("model.safetensors", lie.clone(), "as long as"),
            // As the platform names what a training made.
            ("weights", tarball("../evil"), "`..`"),
            ("weights", gzip(&tarball("../evil")), "`..`"),
            ("weights", zipped("../data.pkl", PICKLE), "`..`"),
            ("weights", lie, "as long as"),
        ] {
            let new = version_with(&house, "lies", &[("fine.bin", b"fine"), (path, &content)]).await;
            match house.registry.publish(&ada, &model, new).await {
                Err(PublishError::BadFile { path: named, why }) => assert!(named == path && why.contains(word), "{path}: {why}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(house.registry.resolve(&Reference::Latest(model), "").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn files_that_say_what_they_are_are_published_without_a_word() {
    on_both_engines(|house| async move {
        let (ada, model) = a_model(&house).await;
        let honest = tensors(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8);
        let files: [(&str, &[u8]); 5] = [
            ("a.tar", &tarball("inside")),
            ("a.tgz", &gzip(&tarball("./inside"))),
            ("a.safetensors", &honest),
            ("model.bin", b"GGUF\x03\0\0\0"),
            ("weights", &gzip(b"only text")),
        ];
        let new = version_with(&house, "honest", &files).await;
        let published = house.registry.publish(&ada, &model, new).await.unwrap();
        assert_eq!(*published.version.warnings, []);
    })
    .await;
}

#[tokio::test]
async fn pickles_are_published_and_told_of_in_every_model_that_has_the_version() {
    on_both_engines(|house| async move {
        let (ada, model) = a_model(&house).await;
        let saved = zipped("model/data.pkl", PICKLE);
        let files: [(&str, &[u8]); 4] = [("weights/b.pt", PICKLE), ("a.bin", PICKLE), ("weights/c.pkl", b"cut"), ("weights/d.pth", &saved)];
        let new = version_with(&house, "pickled", &files).await;
        let first = house.registry.publish(&ada, &model, new.clone()).await.unwrap().version;
        let told: Vec<_> = first.warnings.iter().map(|warning| (warning.path.as_str(), warning.imports.concat())).collect();
        let imports = || "posix.system".to_owned();
        assert_eq!(
            told,
            [("a.bin", imports()), ("weights/b.pt", imports()), ("weights/c.pkl", String::new()), ("weights/d.pth", imports())]
        );
        assert_eq!(first.warnings[2].detail, "A pickle: loading it can run code; not all of it could be read");

        let other = house.model(&ada, "other").await;
        let second = house.registry.publish(&ada, &other.model, new).await.unwrap().version;
        assert_eq!((second.id, &second.warnings), (first.id, &first.warnings));
        let listed = house.registry.list_versions(&other, None).await.unwrap();
        assert_eq!(listed.rows[0].warnings, *first.warnings);
    })
    .await;
}

#[tokio::test]
async fn a_version_of_many_pickles_is_told_of_in_bounds() {
    on_both_engines(|house| async move {
        let (ada, model) = a_model(&house).await;
        let names: Vec<String> = (0..60).map(|n| format!("shard-{n:02}.pt")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), PICKLE)).collect();
        let new = version_with(&house, "many", &files).await;
        let warnings = house.registry.publish(&ada, &model, new).await.unwrap().version.warnings.clone();
        assert_eq!(warnings.len(), WARNINGS_MAX);
        assert!(warnings[49].detail.ends_with(". So are 10 other files"), "{}", warnings[49].detail);
    })
    .await;
}
