//! Content-addressed bytes in an object store: hashed while they are written, visible only when whole and right, never replaced by others.

mod adopt;
mod check;
mod incoming;
mod open;
mod place;
mod remove;
#[cfg(test)]
mod tests;
mod write;

use std::error::Error;
use std::fmt;
use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};
use protocol::{Digest, Entropy};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use place::Place;

pub use check::StoreFault;
pub(crate) use remove::ListedBlob;

/// The largest blob: weights of the largest open models come in shards far below this.
pub const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024 * 1024;
/// Bytes that one read from a file asks for: `object_store` itself would ask for 8 KiB at a time.
const READ_BYTES: usize = 1024 * 1024;

/// The object store. Clones share it.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    place: Place,
    entropy: Entropy,
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("blobs are kept in file:///DIR, memory:, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")]
    BadUrl,
    #[error("the store of blobs cannot be opened with the {variables}… of the environment")]
    BadSettings { variables: &'static str, source: object_store::Error },
    #[error("the bytes exceed the {bytes_max} that are allowed here")]
    TooLarge { bytes_max: u64 },
    #[error("the bytes have the digest {found}, not {expected}")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("the blob has {size} bytes, and the range begins or ends outside of them")]
    OutOfRange { size: u64 },
    #[error("the sender broke off")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("the object store failed")]
    Store(#[from] object_store::Error),
    #[error("a file of the object store cannot be read")]
    Read(#[source] std::io::Error),
}

/// What a write left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// False when the blob was there already.
    pub fresh: bool,
}

/// A blob, or a part of one, on its way out.
pub struct Blob {
    /// Bytes of the whole blob.
    pub size: u64,
    /// Which of them `bytes` gives.
    pub range: Range<u64>,
    pub bytes: BoxStream<'static, Result<Bytes, BlobError>>,
}

impl Blobs {
    /// The size of a blob in bytes, if it is there.
    pub async fn head(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        Ok(found(self.store.head(&path_of(digest)).await)?.map(|meta| meta.size))
    }

    pub async fn get(&self, digest: &Digest) -> Result<Option<Blob>, BlobError> {
        self.get_with(digest, GetOptions::default()).await
    }

    /// # Errors
    /// [`BlobError::OutOfRange`] when the range is empty or leaves the blob.
    pub async fn get_range(&self, digest: &Digest, range: Range<u64>) -> Result<Option<Blob>, BlobError> {
        let Some(size) = self.head(digest).await? else {
            return Ok(None);
        };
        if range.is_empty() || range.end > size {
            return Err(BlobError::OutOfRange { size });
        }
        self.get_with(digest, GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() }).await
    }

    /// Reads a small blob whole.
    pub async fn read(&self, digest: &Digest, bytes_max: u64) -> Result<Option<Bytes>, BlobError> {
        let Some(blob) = self.get(digest).await? else {
            return Ok(None);
        };
        if blob.size > bytes_max {
            return Err(BlobError::TooLarge { bytes_max });
        }
        let mut whole = Vec::with_capacity(usize::try_from(blob.size).unwrap_or(0));
        let mut bytes = blob.bytes;
        while let Some(chunk) = bytes.try_next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(Some(whole.into()))
    }

    async fn get_with(&self, digest: &Digest, options: GetOptions) -> Result<Option<Blob>, BlobError> {
        let Some(result) = found(self.store.get_opts(&path_of(digest), options).await)? else {
            return Ok(None);
        };
        let (size, range) = (result.meta.size, result.range.clone());
        let bytes = match result.payload {
            GetResultPayload::File(file, _) => read_file(file, range.clone()).await.map_err(BlobError::Read)?,
            GetResultPayload::Stream(stream) => stream.map_err(BlobError::Store).boxed(),
        };
        Ok(Some(Blob { size, range, bytes }))
    }

    /// What a hook's component was compiled to. Beside the blobs, but not one of them: it is made again for another engine.
    pub(crate) async fn read_artefact(&self, name: &str) -> Result<Option<Bytes>, BlobError> {
        match found(self.store.get(&artefact_path(name)).await)? {
            Some(result) => Ok(Some(result.bytes().await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn write_artefact(&self, name: &str, artefact: Bytes) -> Result<(), BlobError> {
        self.store.put(&artefact_path(name), artefact.into()).await?;
        Ok(())
    }
}

/// Streams a range of a file; each read blocks a thread of its own for as long as the disk takes for [`READ_BYTES`].
async fn read_file(file: std::fs::File, range: Range<u64>) -> std::io::Result<BoxStream<'static, Result<Bytes, BlobError>>> {
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(READ_BYTES);
    file.seek(SeekFrom::Start(range.start)).await?;
    let reader = file.take(range.end - range.start);
    Ok(ReaderStream::with_capacity(reader, READ_BYTES).map_err(BlobError::Read).boxed())
}

/// The one place where a digest becomes a path: `sha256/ab/cdef…`.
fn path_of(digest: &Digest) -> Path {
    let hex = digest.hex();
    let (folder, name) = hex.split_at(2);
    Path::from_iter(["sha256", folder, name])
}

fn artefact_path(name: &str) -> Path {
    Path::from_iter(["hook-artefact", name])
}

fn found<T>(result: object_store::Result<T>) -> Result<Option<T>, BlobError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// True when the object was made, false when it was there already.
fn created<T>(result: object_store::Result<T>) -> Result<bool, BlobError> {
    match result {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blobs").field(&self.place).finish()
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("size", &self.size).field("range", &self.range).finish_non_exhaustive()
    }
}
