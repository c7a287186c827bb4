//! The contract of a store of blobs, run on every store that there is.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, stream};

use super::place::PART_BYTES;
use super::*;

/// Names a bucket on the S3 server of the test run.
const BUCKET: &str = "FEIRA_TEST_S3_URL";
/// Bytes: little enough for parts of the usual size on every store.
const ROOM: u64 = 1 << 30;

/// Runs a test on a folder, in memory and on S3. Where a folder can be looked at, nothing half-written is left in it.
///
/// # Panics
/// When no S3 server is named: a test that did not run must not look like one that passed.
async fn on_every_store<R: Future<Output = ()>>(test: impl Fn(Blobs) -> R) {
    let home = tempfile::tempdir().unwrap();
    let url = format!("file://{}/not/yet/made", home.path().display());
    test(Blobs::open(&url, Entropy::seeded(1)).unwrap()).await;
    let left = files_under(home.path());
    assert!(left.iter().all(|path| path.contains("/sha256/")), "something half-written is left: {left:?}");
    test(Blobs::open("memory:", Entropy::seeded(1)).unwrap()).await;
    let s3 = on_s3();
    test(s3.clone()).await;
    let left: Vec<_> = s3.store.list(Some(&"staging".into())).try_collect().await.unwrap();
    assert!(left.is_empty(), "something staged is left: {left:?}");
}

/// A part of the bucket that no other test uses.
fn on_s3() -> Blobs {
    in_bucket(None)
}

fn in_bucket(other: Option<&str>) -> Blobs {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "a test has no command line to be given the server by")]
    let named = std::env::var(BUCKET).unwrap_or_else(|_| panic!("{BUCKET} names no bucket: run the tests with ./tests/run unit"));
    let (endpoint, bucket) = named.rsplit_once('/').expect("the url ends in the name of a bucket");
    let bucket = other.unwrap_or(bucket);
    let settings =
        [("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", "true"), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = format!("s3://{bucket}/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    Blobs::open_with(&url, &settings, Entropy::seeded(1)).unwrap()
}

fn files_under(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path.display().to_string()] }).collect()
}

fn chunks(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let chunks: Vec<_> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

fn weights(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n * n % 251).unwrap()).collect()
}

#[tokio::test]
async fn what_is_stored_reads_back_whole_and_in_part() {
    on_every_store(|blobs| async move {
        for len in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5] {
            let bytes = weights(len);
            let digest = Digest::of(&bytes);
            for expected in [Some(&digest), None] {
                let stored = blobs.put_stream(expected, ROOM, chunks(&bytes)).await.unwrap();
                assert_eq!(stored, Stored { digest, size: len as u64, fresh: expected.is_some() });
            }
            assert_eq!(blobs.head(&digest).await.unwrap(), Some(len as u64));
            assert!(blobs.read(&digest, len as u64).await.unwrap().unwrap() == bytes);
            if len > 10 {
                let part = blobs.get_range(&digest, 3..len as u64 - 4).await.unwrap().unwrap();
                let read: Vec<Bytes> = part.bytes.try_collect().await.unwrap();
                assert!(read.concat() == bytes[3..len - 4]);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_an_expected_digest_gets_its_own() {
    on_every_store(|blobs| async move {
        let bytes = weights(2 * PART_BYTES);
        let first = blobs.put_stream(None, ROOM, chunks(&bytes)).await.unwrap();
        let again = blobs.put_stream(None, ROOM, chunks(&bytes)).await.unwrap();
        assert_eq!((first.digest, first.fresh, again.digest, again.fresh), (Digest::of(&bytes), true, first.digest, false));
    })
    .await;
}

#[tokio::test]
async fn bytes_with_another_digest_leave_nothing() {
    on_every_store(|blobs| async move {
        for len in [10, 2 * PART_BYTES] {
            let expected = Digest::of(b"something else");
            let result = blobs.put_stream(Some(&expected), ROOM, chunks(&weights(len))).await;
            assert!(matches!(result, Err(BlobError::WrongDigest { .. })), "{result:?}");
            assert_eq!(blobs.head(&expected).await.unwrap(), None);
            assert_eq!(blobs.head(&Digest::of(&weights(len))).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_written_again_but_its_sender_is_checked() {
    on_every_store(|blobs| async move {
        let bytes = weights(2 * PART_BYTES);
        let digest = Digest::of(&bytes);
        blobs.put_stream(Some(&digest), ROOM, chunks(&bytes)).await.unwrap();
        assert!(!blobs.put_stream(Some(&digest), ROOM, chunks(&bytes)).await.unwrap().fresh);
        let forged = blobs.put_stream(Some(&digest), ROOM, chunks(&bytes[1..])).await;
        assert!(matches!(forged, Err(BlobError::WrongDigest { .. })), "{forged:?}");
        assert!(blobs.read(&digest, ROOM).await.unwrap().unwrap() == bytes);
    })
    .await;
}

#[tokio::test]
async fn a_sender_that_breaks_off_or_sends_too_much_leaves_nothing() {
    on_every_store(|blobs| async move {
        let bytes = weights(2 * PART_BYTES);
        let digest = Digest::of(&bytes);
        let broken = chunks(&bytes).map_err(|never| match never {}).chain(stream::once(async { Err(std::io::Error::other("gone")) }));
        let result = blobs.put_stream(Some(&digest), ROOM, broken).await;
        assert!(matches!(result, Err(BlobError::Body(_))), "{result:?}");
        let result = blobs.put_stream(Some(&digest), bytes.len() as u64 - 1, chunks(&bytes)).await;
        assert!(matches!(result, Err(BlobError::TooLarge { .. })), "{result:?}");
        assert_eq!(blobs.head(&digest).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_absent_and_a_range_outside_is_refused() {
    on_every_store(|blobs| async move {
        let absent = Digest::of(b"absent");
        assert!(blobs.get(&absent).await.unwrap().is_none());
        assert!(blobs.get_range(&absent, 0..1).await.unwrap().is_none());
        let stored = blobs.put(Bytes::from_static(b"hello")).await.unwrap();
        for range in [0..6, 5..5, 7..8] {
            let result = blobs.get_range(&stored.digest, range).await;
            assert!(matches!(result, Err(BlobError::OutOfRange { size: 5 })), "{result:?}");
        }
        assert!(matches!(blobs.read(&stored.digest, 4).await, Err(BlobError::TooLarge { bytes_max: 4 })));
    })
    .await;
}

#[tokio::test]
async fn a_write_that_is_dropped_leaves_nothing_to_read() {
    let blobs = Blobs::open("memory:", Entropy::seeded(1)).unwrap();
    let bytes = weights(2 * PART_BYTES);
    let digest = Digest::of(&bytes);
    let endless = chunks(&bytes).map_err(|never| match never {}).chain(stream::pending::<Result<Bytes, std::io::Error>>());
    {
        let writing = pin!(blobs.put_stream(Some(&digest), ROOM, endless));
        assert!(futures::poll!(writing).is_pending());
    }
    assert_eq!(blobs.head(&digest).await.unwrap(), None);
}

#[tokio::test]
async fn many_writers_of_the_same_bytes_make_one_blob() {
    on_every_store(|blobs| async move {
        let bytes = weights(PART_BYTES + 7);
        let writes = (0..6).map(|_| blobs.put_stream(None, ROOM, chunks(&bytes)));
        let stored = futures::future::try_join_all(writes).await.unwrap();
        assert_eq!(stored.iter().filter(|stored| stored.fresh).count(), 1);
        assert!(blobs.read(&Digest::of(&bytes), ROOM).await.unwrap().unwrap() == bytes);
    })
    .await;
}

#[tokio::test]
async fn a_file_becomes_a_blob_and_is_taken() {
    on_every_store(|blobs| async move {
        let dir = tempfile::tempdir().unwrap();
        for (len, is_fresh) in [(0, true), (10, true), (10, false), (2 * PART_BYTES + 3, true), (2 * PART_BYTES + 3, false)] {
            let (path, bytes) = (dir.path().join("upload"), weights(len));
            std::fs::write(&path, &bytes).unwrap();
            let stored = blobs.adopt(&path, &Digest::of(&bytes), None).await.unwrap();
            assert_eq!((stored.digest, stored.size, stored.fresh), (Digest::of(&bytes), len as u64, is_fresh));
            assert!(!path.exists());
            assert!(blobs.read(&stored.digest, ROOM).await.unwrap().unwrap() == bytes);
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_with_another_digest_is_no_blob_and_stays() {
    on_every_store(|blobs| async move {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upload");
        std::fs::write(&path, "hello").unwrap();
        let expected = Digest::of(b"something else");
        let result = blobs.adopt(&path, &expected, None).await;
        assert!(matches!(result, Err(BlobError::WrongDigest { found, .. }) if found == Digest::of(b"hello")), "{result:?}");
        assert!(path.exists());
        assert_eq!(blobs.head(&expected).await.unwrap(), None);
        assert_eq!(blobs.head(&Digest::of(b"hello")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn every_store_passes_its_check_and_one_without_its_bucket_says_what_to_do() {
    on_every_store(|blobs| async move { blobs.check().await.unwrap() }).await;
    let absent = in_bucket(Some("no-such-bucket")).check().await;
    assert!(matches!(&absent, Err(StoreFault::Absent { place, .. }) if place == "the S3 bucket no-such-bucket"), "{absent:?}");
}

#[test]
fn the_path_of_a_digest_has_three_plain_parts() {
    let path = path_of(&Digest::of(b"")).to_string();
    assert_eq!(path, "sha256/e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
