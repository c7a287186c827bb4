//! What is promised of uploads: they go on, they are told apart, and they leave nothing.

use std::convert::Infallible;

use futures::stream;
use protocol::{Clock, Entropy};

use super::*;

const ADA: &str = "acc_ada";

fn at(spool: &Path) -> Uploads {
    let url = format!("file://{}", spool.join("blobs").display());
    Uploads::new(spool.join("spool"), Blobs::open(&url, Entropy::seeded(1)).unwrap())
}

fn target(bytes: &[u8]) -> Target {
    Target::Announced { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn piece<S>(offset: u64, bytes: S) -> Piece<S> {
    Piece { offset: Some(offset), end: None, bytes }
}

fn body(bytes: &'static [u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::iter(bytes.chunks(3).map(|chunk| Ok(Bytes::from_static(chunk))))
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_and_becomes_a_blob() {
    let home = tempfile::tempdir().unwrap();
    let target = target(b"hello world");
    let begun = at(home.path()).begin(ADA, target).await.unwrap();
    assert_eq!((begun.offset, begun.size, parse(&begun.id).unwrap()), (0, 11, target));
    assert_eq!(at(home.path()).append(ADA, target, target.bytes_max(), piece(0, body(b"hello "))).await.unwrap(), 6);

    let uploads = at(home.path());
    assert_eq!(uploads.begin(ADA, target).await.unwrap().offset, 6, "begun again, it goes on");
    assert_eq!(uploads.append(ADA, target, target.bytes_max(), piece(6, body(b"world"))).await.unwrap(), 11);
    let stored = uploads.finish(ADA, target).await.unwrap();
    let digest = Digest::of(b"hello world");
    assert_eq!((stored.digest, stored.size, stored.fresh), (digest, 11, true));
    assert_eq!(uploads.blobs.read(&digest, 100).await.unwrap().unwrap(), "hello world");
    assert!(matches!(uploads.status(ADA, target).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn a_wrong_offset_is_told_the_right_one_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), target(b"hello world"));
    uploads.begin(ADA, target).await.unwrap();
    uploads.append(ADA, target, target.bytes_max(), piece(0, body(b"hello "))).await.unwrap();
    for wrong in [0, 5, 7, 11, u64::MAX] {
        let result = uploads.append(ADA, target, target.bytes_max(), piece(wrong, body(b"XXXXX"))).await;
        assert!(matches!(result, Err(UploadError::WrongOffset { expected: 6 })), "{wrong}: {result:?}");
    }
    uploads.append(ADA, target, target.bytes_max(), piece(6, body(b"world"))).await.unwrap();
    uploads.finish(ADA, target).await.unwrap();
}

#[tokio::test]
async fn a_short_a_long_and_a_wrong_upload_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), target(b"hello world"));
    uploads.begin(ADA, target).await.unwrap();
    uploads.append(ADA, target, target.bytes_max(), piece(0, body(b"hello"))).await.unwrap();
    let short = uploads.finish(ADA, target).await;
    assert!(matches!(short, Err(UploadError::Incomplete { received: 5, size: 11 })), "{short:?}");

    let long = uploads.append(ADA, target, target.bytes_max(), piece(5, body(b" World and more"))).await;
    assert!(matches!(long, Err(UploadError::TooLong { size: 11 })), "{long:?}");
    assert_eq!(uploads.status(ADA, target).await.unwrap().offset, 11);

    let wrong = uploads.finish(ADA, target).await;
    assert!(matches!(wrong, Err(UploadError::WrongDigest { .. })), "{wrong:?}");
    assert_eq!(uploads.blobs.head(&Digest::of(b"hello world")).await.unwrap(), None);
    assert_eq!(uploads.begin(ADA, target).await.unwrap().offset, 0, "it begins again from nothing");
}

#[tokio::test]
async fn what_arrived_before_the_sender_broke_off_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), target(b"hello world"));
    uploads.begin(ADA, target).await.unwrap();
    let broken = stream::iter([Ok(Bytes::from_static(b"hel")), Err(io::Error::other("gone"))]);
    assert!(matches!(uploads.append(ADA, target, target.bytes_max(), piece(0, broken)).await, Err(UploadError::Body(_))));
    assert_eq!(uploads.status(ADA, target).await.unwrap().offset, 3);
}

#[tokio::test]
async fn one_request_at_a_time_writes_to_an_upload() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), target(b"hello world"));
    uploads.begin(ADA, target).await.unwrap();
    let turn = uploads.take_turn(ADA, target).unwrap();
    let refused = uploads.append(ADA, target, target.bytes_max(), piece(0, body(b"hello"))).await;
    assert!(matches!(refused, Err(UploadError::Busy)), "{refused:?}");
    drop(turn);
    uploads.append(ADA, target, target.bytes_max(), piece(0, body(b"hello"))).await.unwrap();
}

#[tokio::test]
async fn an_upload_belongs_to_its_account() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), target(b"hello world"));
    uploads.begin(ADA, target).await.unwrap();
    for result in [
        uploads.status("acc_bob", target).await.map(|upload| upload.offset),
        uploads.append("acc_bob", target, target.bytes_max(), piece(0, body(b"x"))).await,
        uploads.finish("acc_bob", target).await.map(|stored| stored.size),
    ] {
        assert!(matches!(result, Err(UploadError::Unknown)), "{result:?}");
    }
}

#[tokio::test]
async fn an_idle_upload_expires_after_a_day() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), target(b"hello world"));
    uploads.begin(ADA, target).await.unwrap();
    let now = Clock::system().now();
    uploads.sweep(now.plus_millis(23 * 60 * 60 * 1_000)).await.unwrap();
    uploads.status(ADA, target).await.unwrap();
    uploads.sweep(now.plus_millis(25 * 60 * 60 * 1_000)).await.unwrap();
    assert!(matches!(uploads.status(ADA, target).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn uploads_are_bounded_in_size_and_number() {
    let home = tempfile::tempdir().unwrap();
    let uploads = at(home.path());
    let huge = Target::Announced { digest: Digest::of(b""), size: BLOB_BYTES_MAX + 1 };
    assert!(matches!(uploads.begin(ADA, huge).await, Err(UploadError::TooLarge { .. })));
    for n in 0..UPLOADS_PER_ACCOUNT_MAX {
        uploads.begin(ADA, target(&n.to_le_bytes())).await.unwrap();
    }
    assert!(matches!(uploads.begin(ADA, target(b"one more")).await, Err(UploadError::TooMany { .. })));
    uploads.begin(ADA, target(&0_usize.to_le_bytes())).await.unwrap();
}

#[tokio::test]
async fn an_upload_of_which_nothing_is_known_becomes_what_it_turns_out_to_be() {
    let home = tempfile::tempdir().unwrap();
    let target = Target::open(&Entropy::seeded(2));
    let begun = at(home.path()).begin(ADA, target).await.unwrap();
    assert_eq!((begun.offset, parse(&begun.id).unwrap()), (0, target));
    let streamed = Piece { offset: None, end: None, bytes: body(b"hello ") };
    assert_eq!(at(home.path()).append(ADA, target, target.bytes_max(), streamed).await.unwrap(), 6);

    let uploads = at(home.path());
    let ahead = uploads.append(ADA, target, target.bytes_max(), piece(7, body(b"x"))).await;
    assert!(matches!(ahead, Err(UploadError::WrongOffset { expected: 6 })), "{ahead:?}");
    let digest = Digest::of(b"hello world");
    let stored = uploads
        .close(ADA, target, target.bytes_max(), &digest, Piece { offset: Some(6), end: Some(11), bytes: body(b"world") })
        .await
        .unwrap();
    assert_eq!((stored.digest, stored.size), (digest, 11));
    assert!(matches!(uploads.status(ADA, target).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn a_piece_is_as_long_as_it_says_or_refused_and_a_wrong_hash_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (uploads, target) = (at(home.path()), Target::open(&Entropy::seeded(2)));
    uploads.begin(ADA, target).await.unwrap();
    let short = uploads.append(ADA, target, target.bytes_max(), Piece { offset: Some(0), end: Some(9), bytes: body(b"hello") }).await;
    assert!(matches!(short, Err(UploadError::Incomplete { received: 5, size: 9 })), "{short:?}");
    let long = uploads.append(ADA, target, target.bytes_max(), Piece { offset: Some(5), end: Some(6), bytes: body(b" world") }).await;
    assert!(matches!(long, Err(UploadError::TooLong { size: 6 })), "{long:?}");
    let wrong = uploads.close(ADA, target, target.bytes_max(), &Digest::of(b"hello world"), piece(6, body(b"World"))).await;
    assert!(matches!(wrong, Err(UploadError::WrongDigest { .. })), "{wrong:?}");
    assert!(matches!(uploads.status(ADA, target).await, Err(UploadError::Unknown)), "its place is free again");
}

#[tokio::test]
async fn an_upload_that_is_cancelled_frees_its_place() {
    let home = tempfile::tempdir().unwrap();
    let uploads = at(home.path());
    let open = |seed| Target::open(&Entropy::seeded(seed));
    for seed in 0..UPLOADS_PER_ACCOUNT_MAX as u64 {
        uploads.begin(ADA, open(seed)).await.unwrap();
    }
    assert!(matches!(uploads.begin(ADA, open(1_000)).await, Err(UploadError::TooMany { .. })));
    uploads.cancel(ADA, open(0)).await.unwrap();
    assert!(matches!(uploads.cancel(ADA, open(0)).await, Err(UploadError::Unknown)));
    uploads.begin(ADA, open(1_000)).await.unwrap();
}

#[test]
fn an_id_that_is_not_ours_names_no_file() {
    let hex = Digest::of(b"").hex();
    for bad in [
        "",
        "upl_",
        "../../etc/passwd",
        &format!("upl_{hex}_01"),
        &format!("upl_{hex}_-1"),
        &format!("upl_{hex}_1/../x"),
        &format!("upl_{hex}"),
        &format!("upl_{}", &hex[..31]),
        &format!("upl_{}", hex[..32].to_uppercase()),
    ] {
        assert!(matches!(parse(bad), Err(UploadError::Unknown)), "{bad}");
    }
}
