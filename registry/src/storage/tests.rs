//! What is promised of limits: everything counts once, from its beginning, and nothing that came to nothing counts.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::*;
use crate::BlobError;
use crate::caller::Caller;
use crate::testing::{new_version, on_both_engines};
use crate::uploads::{Piece, UploadError};
use crate::versions::PublishError;

fn limited(registry: &Registry, limit: u64) -> Registry {
    registry.clone().with_storage(StorageRules { limit: Some(limit), ..StorageRules::default() })
}

fn body(bytes: &'static [u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::iter([Ok(Bytes::from_static(bytes))])
}

async fn in_use(registry: &Registry, caller: &Caller) -> (u64, u64) {
    let found = registry.storage_of(&caller.account.id).await.unwrap();
    (found.kept, found.reserved)
}

#[tokio::test]
async fn an_upload_counts_from_its_beginning_and_again_as_what_it_became() {
    on_both_engines(|house| async move {
        let registry = limited(&house.registry, 10);
        let ada = house.caller("ada").await;
        let upload = registry.begin_upload(&ada, Digest::of(b"hello"), 5).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (0, 5));
        registry.begin_upload(&ada, Digest::of(b"hello"), 5).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (0, 5), "begun again, it is the same upload");
        match registry.begin_upload(&ada, Digest::of(b"too much"), 6).await {
            Err(UploadError::Registry(RegistryError::OverLimit(over))) => assert_eq!(over, OverLimit { used: 5, asked: 6, limit: 10 }),
            other => panic!("{other:?}"),
        }
        registry.append_upload(&ada, &upload.id, 0, body(b"hello")).await.unwrap();
        registry.finish_upload(&ada, &upload.id).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (5, 0));
        registry.begin_upload(&ada, Digest::of(b"again"), 5).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (5, 5), "to the last byte");
    })
    .await;
}

#[tokio::test]
async fn an_upload_of_unknown_size_counts_what_has_come_and_takes_no_more_than_there_is_room_for() {
    on_both_engines(|house| async move {
        let registry = limited(&house.registry, 10);
        let ada = house.caller("ada").await;
        let piece = |bytes| Piece { offset: None, end: None, bytes: body(bytes) };
        let id = registry.open_upload(&ada).await.unwrap().id;
        assert_eq!(in_use(&registry, &ada).await, (0, 0));
        assert_eq!(registry.append_piece(&ada, &id, piece(b"hello ")).await.unwrap(), 6);
        assert_eq!(in_use(&registry, &ada).await, (0, 6));
        match registry.append_piece(&ada, &id, piece(b"world")).await {
            Err(UploadError::Registry(RegistryError::OverLimit(over))) => assert_eq!(over, OverLimit { used: 6, asked: 5, limit: 10 }),
            other => panic!("{other:?}"),
        }
        assert_eq!(in_use(&registry, &ada).await, (0, 10), "what fits was kept");
        registry.close_upload(&ada, &id, &Digest::of(b"hello worl"), piece(b"")).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (10, 0));
        let whole = registry.open_upload(&ada).await.unwrap().id;
        let over = registry.close_upload(&ada, &whole, &Digest::of(b"x"), piece(b"x")).await;
        assert!(matches!(over, Err(UploadError::Registry(RegistryError::OverLimit(_)))), "{over:?}");
        registry.cancel_upload(&ada, &whole).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (10, 0));
    })
    .await;
}

#[tokio::test]
async fn uploads_that_come_to_nothing_leak_nothing() {
    on_both_engines(|house| async move {
        let registry = limited(&house.registry, 11);
        let ada = house.caller("ada").await;
        let begin = async || registry.begin_upload(&ada, Digest::of(b"hello world"), 11).await.unwrap().id;
        // Wrong: thrown away at its end.
        let id = begin().await;
        registry.append_upload(&ada, &id, 0, body(b"HELLO WORLD")).await.unwrap();
        assert!(matches!(registry.finish_upload(&ada, &id).await, Err(UploadError::WrongDigest { .. })));
        assert_eq!(in_use(&registry, &ada).await, (0, 0));
        // Long: what is too much is not taken, and what fits is right. Short, and broken off: still under way, and cancelled.
        let id = begin().await;
        assert!(matches!(registry.append_upload(&ada, &id, 0, body(b"hello world and more")).await, Err(UploadError::TooLong { .. })));
        registry.finish_upload(&ada, &id).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (11, 0));
        house.execute("delete from holding".to_owned()).await;
        let id = begin().await;
        let broken = stream::iter([Ok(Bytes::from_static(b"hel")), Err(io::Error::other("gone"))]);
        assert!(matches!(registry.append_upload(&ada, &id, 0, broken).await, Err(UploadError::Body(_))));
        assert!(matches!(registry.finish_upload(&ada, &id).await, Err(UploadError::Incomplete { .. })));
        assert_eq!(in_use(&registry, &ada).await, (0, 11));
        registry.cancel_upload(&ada, &id).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (0, 0));
        assert!(matches!(registry.cancel_upload(&ada, &id).await, Err(UploadError::Unknown)));
        // Abandoned: a day later the sweep takes it. The spool tells the time of the machine, so the clock goes far beyond it.
        begin().await;
        house.clock.advance_millis(100 * 365 * 86_400_000);
        registry.sweep().await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_comes_whole_has_its_room_while_it_comes_and_gives_it_back_when_it_does_not() {
    on_both_engines(|house| async move {
        let registry = limited(&house.registry, 5);
        let ada = house.caller("ada").await;
        let digest = Digest::of(b"hello");
        {
            let stalled = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"he"))]).chain(stream::pending());
            let mut sending = std::pin::pin!(registry.put_blob(&ada, &digest, Some(5), stalled));
            while in_use(&registry, &ada).await != (0, 5) {
                assert!(futures::poll!(&mut sending).is_pending());
            }
            let other = registry.put_blob(&ada, &Digest::of(b"x"), Some(1), body(b"x")).await;
            assert!(matches!(other, Err(RegistryError::OverLimit(OverLimit { used: 5, asked: 1, limit: 5 }))), "{other:?}");
        }
        assert_eq!(in_use(&registry, &ada).await, (0, 0), "the sender went away");
        let wrong = registry.put_blob(&ada, &digest, Some(5), body(b"HELLO")).await;
        assert!(matches!(wrong, Err(RegistryError::Blob(BlobError::WrongDigest { .. }))), "{wrong:?}");
        let long = registry.put_blob(&ada, &digest, Some(5), body(b"hello!")).await;
        assert!(matches!(long, Err(RegistryError::Blob(BlobError::TooLarge { .. }))), "{long:?}");
        let untold = registry.put_blob(&ada, &Digest::of(b"hello!"), None, body(b"hello!")).await;
        assert!(matches!(untold, Err(RegistryError::OverLimit(OverLimit { used: 0, asked: 6, limit: 5 }))), "{untold:?}");
        assert_eq!(in_use(&registry, &ada).await, (0, 0));
        registry.put_blob(&ada, &digest, None, body(b"hello")).await.unwrap();
        registry.put_blob(&ada, &digest, Some(5), body(b"hello")).await.unwrap();
        assert_eq!(in_use(&registry, &ada).await, (5, 0), "the same again takes no more room");
    })
    .await;
}

#[tokio::test]
async fn a_shared_blob_counts_for_everyone_who_keeps_it_and_no_longer_than_they_do() {
    on_both_engines(|house| async move {
        let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
        let (first, second) = (house.model(&ada, "echo").await, house.model(&bob, "echo").await);
        let one = house.publish(&ada, &first.model, new_version("one")).await;
        let (kept, _) = in_use(&house.registry, &ada).await;
        house.publish(&bob, &second.model, new_version("one")).await;
        assert_eq!(in_use(&house.registry, &bob).await.0, kept, "who did not send it keeps it all the same");
        house.publish(&ada, &first.model, new_version("one")).await;
        assert_eq!(in_use(&house.registry, &ada).await.0, kept);

        let tight = limited(&house.registry, kept);
        house.upload_files(&new_version("two")).await;
        let refused = tight.publish(&bob, &second.model, new_version("two")).await;
        assert!(matches!(refused, Err(PublishError::Registry(RegistryError::OverLimit(_)))), "{refused:?}");
        assert_eq!(house.registry.list_versions(&second, None).await.unwrap().rows.len(), 1, "and nothing of it is visible");
        assert!(house.registry.delete_version(&ada, &first.model, &one.id).await.unwrap());
        assert_eq!(in_use(&house.registry, &ada).await.0, 0, "at once");
        assert_eq!(in_use(&house.registry, &bob).await.0, kept);
    })
    .await;
}

#[tokio::test]
async fn an_accounts_own_limit_goes_before_the_houses() {
    on_both_engines(|house| async move {
        let registry = limited(&house.registry, 4);
        let ada = house.caller("ada").await;
        assert!(registry.begin_upload(&ada, Digest::of(b"hello"), 5).await.is_err());
        registry.set_storage_limit(&ada.account, Some(5)).await.unwrap();
        registry.begin_upload(&ada, Digest::of(b"hello"), 5).await.unwrap();
        registry.set_storage_limit(&ada.account, None).await.unwrap();
        assert_eq!(registry.storage_of(&ada.account.id).await.unwrap(), StorageUse { kept: 0, reserved: 5, limit: Some(4) });
        assert!(registry.begin_upload(&ada, Digest::of(b"x"), 1).await.is_err(), "what is there stays, and no more comes");
    })
    .await;
}

#[tokio::test]
async fn two_who_begin_at_once_do_not_both_get_the_last_room() {
    on_both_engines(|house| async move {
        let registry = limited(&house.registry, 10);
        let ada = house.caller("ada").await;
        let texts: Vec<String> = (0..6).map(|n| format!("upload {n}")).collect();
        let begins = texts.iter().map(|text| registry.begin_upload(&ada, Digest::of(text.as_bytes()), 4));
        let begun = futures::future::join_all(begins).await;
        assert_eq!(begun.iter().filter(|each| each.is_ok()).count(), 2);
        assert_eq!(in_use(&registry, &ada).await, (0, 8));
    })
    .await;
}
