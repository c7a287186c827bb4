//! Files that callers send and predictions put out: a name and an owner for a blob, for as long as it is kept.

use std::error::Error;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use md5::{Digest as _, Md5};
use protocol::{Digest, PredictionId, Timestamp, id};
use serde_json::{Map, Value};

use crate::cursor::{Direction, Page, Scan};
use crate::db::{blob, file};
use crate::{Registry, RegistryError};

/// Bytes, as in most file systems.
const NAME_BYTES_MAX: usize = 255;
const CONTENT_TYPE_BYTES_MAX: usize = 255;
const METADATA_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub struct NewFile {
    pub account_id: String,
    /// Whose output it is.
    pub prediction: Option<PredictionId>,
    pub name: String,
    pub content_type: String,
    pub metadata: Map<String, Value>,
    pub bytes_max: u64,
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FileRow {
    /// `fil_…`.
    pub id: String,
    pub account_id: String,
    pub prediction: Option<PredictionId>,
    pub name: String,
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// The blob that holds its bytes.
    pub digest: Digest,
    /// Hexadecimal; files of before it was kept have none.
    pub md5: Option<String>,
    pub metadata: Map<String, Value>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// Bytes that were stored for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal.
    pub md5: String,
}

impl Registry {
    /// Stores the bytes of a file that is not named yet: a form may tell its name after its content.
    pub async fn receive_file<S, E>(&self, bytes_max: u64, stream: S) -> Result<Received, RegistryError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut md5 = Md5::new();
        let stored = self.blobs.put_stream(None, bytes_max, stream.inspect_ok(|chunk| md5.update(chunk))).await?;
        let md5 = hex::encode(md5.finalize());
        Ok(Received { digest: stored.digest, size: stored.size, md5 })
    }

    /// Gives received bytes their name and their owner.
    pub async fn name_file(&self, new: NewFile, received: Received) -> Result<FileRow, RegistryError> {
        let row = FileRow {
            name: check_new(&new)?,
            id: id::prefixed("fil", &self.clock, &self.entropy),
            account_id: new.account_id,
            prediction: new.prediction,
            content_type: new.content_type,
            size: received.size,
            digest: received.digest,
            md5: Some(received.md5),
            metadata: new.metadata,
            created_at: self.clock.now(),
            expires_at: new.expires_at,
        };
        let created = row.clone();
        let digest = row.digest;
        let insert = self.db.write(move |tx| {
            Box::pin(async move {
                blob::touch(tx, &[row.digest], row.created_at).await?;
                file::insert(tx, &row).await
            })
        });
        insert.await?;
        // Its digest was not known before its last byte: it may have been taken for a blob that was there, and whose time was over.
        if self.blobs.head(&digest).await?.is_none() {
            self.delete_file(&created.account_id, &created.id).await?;
            return Err(RegistryError::BlobCollected);
        }
        Ok(created)
    }

    /// Stores the bytes, then the row: what breaks off leaves no file.
    pub async fn create_file<S, E>(&self, new: NewFile, stream: S) -> Result<FileRow, RegistryError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        check_new(&new)?;
        let received = self.receive_file(new.bytes_max, stream).await?;
        self.name_file(new, received).await
    }

    /// Finds a file that is neither deleted nor expired. Whether the caller may have it is for the door to say.
    pub async fn find_file(&self, id: &str) -> Result<Option<FileRow>, RegistryError> {
        if !id::is_prefixed("fil", id) {
            return Ok(None);
        }
        let now = self.clock.now();
        let id = id.to_owned();
        self.db.read(move |tx| Box::pin(async move { file::find(tx, &id, now).await })).await
    }

    /// Lists the account's files, newest first.
    pub async fn list_files(&self, account_id: &str, cursor: Option<&str>) -> Result<Page<FileRow>, RegistryError> {
        let scan = Scan::of(Direction::Descending, cursor)?;
        let now = self.clock.now();
        let (account_id, fetched) = (account_id.to_owned(), scan.clone());
        let rows = self.db.read(move |tx| Box::pin(async move { file::list(tx, &account_id, now, &fetched).await })).await?;
        Ok(scan.page(rows, |row| (row.created_at.micros(), row.id.clone())))
    }

    /// Deletes a file; false when the account has no such file.
    pub async fn delete_file(&self, account_id: &str, id: &str) -> Result<bool, RegistryError> {
        if !id::is_prefixed("fil", id) {
            return Ok(false);
        }
        let (account_id, id, now) = (account_id.to_owned(), id.to_owned(), self.clock.now());
        self.db.write(move |tx| Box::pin(async move { file::delete(tx, &account_id, &id, now).await })).await
    }
}

/// Checks what a file is told to be, and returns its name.
fn check_new(new: &NewFile) -> Result<String, RegistryError> {
    let is_header = new.content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_header || new.content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(RegistryError::BadField { field: "type", why: "must be a media type of at most 255 bytes" });
    }
    if Value::Object(new.metadata.clone()).to_string().len() > METADATA_BYTES_MAX {
        return Err(RegistryError::BadField { field: "metadata", why: "must have at most 16 KiB" });
    }
    check_file_name(new.name.clone())
}

/// A name goes into a header and onto somebody's disk: one part of a path, and nothing that ends a line.
fn check_file_name(name: String) -> Result<String, RegistryError> {
    let is_plain = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !matches!(name.as_str(), "." | "..")
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    is_plain.then_some(name).ok_or(RegistryError::BadField {
        field: "filename",
        why: "must be one part of a path: at most 255 bytes, no slash and no control character",
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use serde_json::json;

    use super::*;
    use crate::BlobError;
    use crate::testing::{House, on_both_engines};

    fn new(account_id: &str, name: &str) -> NewFile {
        NewFile {
            account_id: account_id.to_owned(),
            prediction: None,
            name: name.to_owned(),
            content_type: "text/plain".to_owned(),
            metadata: Map::new(),
            bytes_max: 1_000,
            expires_at: None,
        }
    }

    fn body(bytes: &'static [u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::iter([Ok(Bytes::from_static(bytes))])
    }

    async fn read(house: &House, file: &FileRow) -> Vec<u8> {
        let blob = house.registry.blobs().get(&file.digest).await.unwrap().unwrap();
        blob.bytes.try_collect::<Vec<_>>().await.unwrap().concat()
    }

    #[tokio::test]
    async fn a_file_reads_back_with_its_name_and_its_bytes() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            let metadata = json!({"of": "mine"}).as_object().unwrap().clone();
            let prediction = Some(PredictionId::new(&house.clock, &house.registry.entropy));
            let new = NewFile { prediction, metadata, ..new(&ada.id, "höhe.txt") };
            let created = house.registry.create_file(new, body(b"hello")).await.unwrap();
            let found = house.registry.find_file(&created.id).await.unwrap().unwrap();
            assert_eq!(found, created);
            assert_eq!((found.size, read(&house, &found).await), (5, b"hello".to_vec()));
            assert_eq!(found.md5.as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
            assert_eq!(house.registry.list_files(&ada.id, None).await.unwrap().rows, [created]);
        })
        .await;
    }

    #[tokio::test]
    async fn only_the_owner_lists_and_deletes_a_file() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.account("ada").await, house.account("bob").await);
            let file = house.registry.create_file(new(&ada.id, "a.txt"), body(b"a")).await.unwrap();
            assert_eq!(house.registry.list_files(&bob.id, None).await.unwrap().rows, []);
            assert!(!house.registry.delete_file(&bob.id, &file.id).await.unwrap());
            assert!(house.registry.delete_file(&ada.id, &file.id).await.unwrap());
            assert!(!house.registry.delete_file(&ada.id, &file.id).await.unwrap());
            for absent in [&*file.id, "", "fil_", "a\0b", "../fil"] {
                assert_eq!(house.registry.find_file(absent).await.unwrap(), None);
                assert!(!house.registry.delete_file(&ada.id, absent).await.unwrap());
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_is_gone_when_its_time_is_over() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            let expires_at = Some(house.clock.now().plus_millis(1_000));
            let file = house.registry.create_file(NewFile { expires_at, ..new(&ada.id, "a.txt") }, body(b"a")).await.unwrap();
            house.clock.advance_millis(999);
            assert!(house.registry.find_file(&file.id).await.unwrap().is_some());
            house.clock.advance_millis(1);
            assert_eq!(house.registry.find_file(&file.id).await.unwrap(), None);
            assert_eq!(house.registry.list_files(&ada.id, None).await.unwrap().rows, []);
            house.registry.sweep().await.unwrap();
            assert!(!house.registry.delete_file(&ada.id, &file.id).await.unwrap());
        })
        .await;
    }

    #[tokio::test]
    async fn hostile_names_types_and_sizes_are_refused() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            for name in ["", ".", "..", "a/b", "a\\b", "a\r\nset-cookie: x", "a\0", &"é".repeat(128)] {
                let result = house.registry.create_file(new(&ada.id, name), body(b"a")).await;
                assert!(matches!(result, Err(RegistryError::BadField { field: "filename", .. })), "{name:?}");
            }
            let content_type = "text/plain\r\nx: y".to_owned();
            let result = house.registry.create_file(NewFile { content_type, ..new(&ada.id, "a") }, body(b"a")).await;
            assert!(matches!(result, Err(RegistryError::BadField { field: "type", .. })), "{result:?}");
            let result = house.registry.create_file(NewFile { bytes_max: 4, ..new(&ada.id, "a") }, body(b"hello")).await;
            assert!(matches!(result, Err(RegistryError::Blob(BlobError::TooLarge { bytes_max: 4 }))), "{result:?}");
            assert_eq!(house.registry.list_files(&ada.id, None).await.unwrap().rows, []);
        })
        .await;
    }
}
