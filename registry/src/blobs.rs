//! Content-addressed bytes in an object store: hashed while they are written, visible only when whole and right, never replaced by others.

mod remove;

use std::error::Error;
use std::fmt;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path as FilePath;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use protocol::{Digest, Entropy};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// The largest blob: weights of the largest open models come in shards far below this.
pub const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024 * 1024;
/// Bytes that one write holds in memory. S3 takes no part below 5 MiB but the last.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that one read from a file asks for: `object_store` itself would ask for 8 KiB at a time.
const READ_BYTES: usize = 256 * 1024;

pub(crate) use remove::ListedBlob;

/// The object store. Clones share it.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    entropy: Entropy,
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("blobs are kept in file:///DIR or in memory:")]
    BadUrl,
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
    /// Opens `file:///DIR` (the path is taken as it stands, and made if it is not there) or `memory:`.
    pub fn open(url: &str, entropy: Entropy) -> Result<Self, BlobError> {
        if url == "memory:" {
            return Ok(Self { store: Arc::new(InMemory::new()), entropy });
        }
        let dir = url.strip_prefix("file://").map(FilePath::new).filter(|dir| dir.is_absolute()).ok_or(BlobError::BadUrl)?;
        std::fs::create_dir_all(dir).map_err(BlobError::Read)?;
        let store = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), entropy })
    }

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

    pub async fn put(&self, bytes: Bytes) -> Result<Stored, BlobError> {
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        let fresh = self.create(&path_of(&digest), bytes.into()).await?;
        Ok(Stored { digest, size, fresh })
    }

    /// Writes a stream, and gives it its name when it has ended, is whole on disk and, if a digest was expected, has that one.
    /// Dropping the future leaves nothing that can be read.
    pub async fn put_stream<S, E>(&self, expected: Option<&Digest>, bytes_max: u64, stream: S) -> Result<Stored, BlobError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut incoming = Incoming::new(bytes_max, stream.map_err(|error| BlobError::Body(error.into())));
        let first = incoming.next_part().await?;
        if incoming.ended {
            let stored = incoming.finish(expected)?;
            let fresh = self.create(&path_of(&stored.digest), first).await?;
            return Ok(Stored { fresh, ..stored });
        }
        match expected {
            Some(digest) if self.head(digest).await?.is_some() => incoming.drain(expected).await,
            Some(digest) => self.write(&path_of(digest), first, incoming, expected).await,
            None => {
                let staged = self.staging_path();
                let stored = self.write(&staged, first, incoming, None).await?;
                let fresh = created(self.store.rename_if_not_exists(&staged, &path_of(&stored.digest)).await)?;
                if !fresh {
                    self.store.delete(&staged).await?;
                }
                Ok(Stored { fresh, ..stored })
            }
        }
    }

    /// Writes part by part under a temporary name; `at` appears only when the digest is right.
    async fn write<S>(
        &self,
        at: &Path,
        first: PutPayload,
        mut incoming: Incoming<S>,
        expected: Option<&Digest>,
    ) -> Result<Stored, BlobError>
    where
        S: Stream<Item = Result<Bytes, BlobError>> + Send,
    {
        let mut upload = self.store.put_multipart(at).await?;
        match write_parts(&mut *upload, first, &mut incoming, expected).await {
            Ok(stored) => {
                upload.complete().await?;
                Ok(stored)
            }
            Err(error) => {
                upload.abort().await?;
                Err(error)
            }
        }
    }

    /// True when the object was made, false when it was there already.
    async fn create(&self, at: &Path, payload: PutPayload) -> Result<bool, BlobError> {
        created(self.store.put_opts(at, payload, PutOptions::from(PutMode::Create)).await)
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

    fn staging_path(&self) -> Path {
        Path::from_iter(["staging".to_owned(), Digest::from_bytes(self.entropy.bytes()).hex()])
    }
}

async fn write_parts<S>(
    upload: &mut dyn MultipartUpload,
    first: PutPayload,
    incoming: &mut Incoming<S>,
    expected: Option<&Digest>,
) -> Result<Stored, BlobError>
where
    S: Stream<Item = Result<Bytes, BlobError>> + Send,
{
    upload.put_part(first).await?;
    while !incoming.ended {
        upload.put_part(incoming.next_part().await?).await?;
    }
    incoming.finish(expected)
}

/// The bytes that arrive, counted, hashed, and cut into parts.
struct Incoming<S> {
    stream: Pin<Box<S>>,
    hash: Sha256,
    size: u64,
    bytes_max: u64,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, BlobError>> + Send> Incoming<S> {
    fn new(bytes_max: u64, stream: S) -> Self {
        Self { stream: Box::pin(stream), hash: Sha256::new(), size: 0, bytes_max, ended: false }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, BlobError> {
        let Some(chunk) = self.stream.try_next().await? else {
            self.ended = true;
            return Ok(None);
        };
        self.size += chunk.len() as u64;
        if self.size > self.bytes_max {
            return Err(BlobError::TooLarge { bytes_max: self.bytes_max });
        }
        self.hash.update(&chunk);
        Ok(Some(chunk))
    }

    /// Collects chunks, without copying them, until they make a part or the stream ends.
    async fn next_part(&mut self) -> Result<PutPayload, BlobError> {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        while bytes < PART_BYTES
            && let Some(chunk) = self.next_chunk().await?
        {
            bytes += chunk.len();
            chunks.push(chunk);
        }
        Ok(chunks.into_iter().collect())
    }

    /// Reads to the end of what is there already: the sender learns that its bytes were right, or that they were not.
    async fn drain(mut self, expected: Option<&Digest>) -> Result<Stored, BlobError> {
        while self.next_chunk().await?.is_some() {}
        Ok(Stored { fresh: false, ..self.finish(expected)? })
    }

    fn finish(&self, expected: Option<&Digest>) -> Result<Stored, BlobError> {
        let found = Digest::from_bytes(self.hash.clone().finalize().into());
        match expected {
            Some(&expected) if expected != found => Err(BlobError::WrongDigest { expected, found }),
            _ => Ok(Stored { digest: found, size: self.size, fresh: true }),
        }
    }
}

/// Streams a range of a file; each read blocks a thread of its own for as long as the disk takes for [`READ_BYTES`].
async fn read_file(file: std::fs::File, range: Range<u64>) -> std::io::Result<BoxStream<'static, Result<Bytes, BlobError>>> {
    let mut file = tokio::fs::File::from_std(file);
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

fn created<T>(result: object_store::Result<T>) -> Result<bool, BlobError> {
    match result {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blobs").field(&self.store).finish()
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("size", &self.size).field("range", &self.range).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use futures::stream;

    use super::*;

    async fn on_both_stores<R: Future<Output = ()>>(test: impl Fn(Blobs) -> R) {
        let home = tempfile::tempdir().unwrap();
        let url = format!("file://{}/not/yet/made", home.path().display());
        test(Blobs::open(&url, Entropy::seeded(1)).unwrap()).await;
        let left = files_under(home.path());
        assert!(left.iter().all(|path| path.contains("/sha256/")), "something half-written is left: {left:?}");
        test(Blobs::open("memory:", Entropy::seeded(1)).unwrap()).await;
    }

    fn files_under(dir: &FilePath) -> Vec<String> {
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
        on_both_stores(|blobs| async move {
            for len in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5] {
                let bytes = weights(len);
                let digest = Digest::of(&bytes);
                for expected in [Some(&digest), None] {
                    let stored = blobs.put_stream(expected, BLOB_BYTES_MAX, chunks(&bytes)).await.unwrap();
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
        on_both_stores(|blobs| async move {
            let bytes = weights(2 * PART_BYTES);
            let first = blobs.put_stream(None, BLOB_BYTES_MAX, chunks(&bytes)).await.unwrap();
            let again = blobs.put_stream(None, BLOB_BYTES_MAX, chunks(&bytes)).await.unwrap();
            assert_eq!((first.digest, first.fresh, again.digest, again.fresh), (Digest::of(&bytes), true, first.digest, false));
        })
        .await;
    }

    #[tokio::test]
    async fn bytes_with_another_digest_leave_nothing() {
        on_both_stores(|blobs| async move {
            for len in [10, 2 * PART_BYTES] {
                let expected = Digest::of(b"something else");
                let result = blobs.put_stream(Some(&expected), BLOB_BYTES_MAX, chunks(&weights(len))).await;
                assert!(matches!(result, Err(BlobError::WrongDigest { .. })), "{result:?}");
                assert_eq!(blobs.head(&expected).await.unwrap(), None);
                assert_eq!(blobs.head(&Digest::of(&weights(len))).await.unwrap(), None);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_blob_that_is_there_is_not_written_again_but_its_sender_is_checked() {
        on_both_stores(|blobs| async move {
            let bytes = weights(2 * PART_BYTES);
            let digest = Digest::of(&bytes);
            blobs.put_stream(Some(&digest), BLOB_BYTES_MAX, chunks(&bytes)).await.unwrap();
            assert!(!blobs.put_stream(Some(&digest), BLOB_BYTES_MAX, chunks(&bytes)).await.unwrap().fresh);
            let forged = blobs.put_stream(Some(&digest), BLOB_BYTES_MAX, chunks(&bytes[1..])).await;
            assert!(matches!(forged, Err(BlobError::WrongDigest { .. })), "{forged:?}");
            assert!(blobs.read(&digest, BLOB_BYTES_MAX).await.unwrap().unwrap() == bytes);
        })
        .await;
    }

    #[tokio::test]
    async fn a_sender_that_breaks_off_or_sends_too_much_leaves_nothing() {
        on_both_stores(|blobs| async move {
            let bytes = weights(2 * PART_BYTES);
            let digest = Digest::of(&bytes);
            let broken = chunks(&bytes).map_err(|never| match never {}).chain(stream::once(async { Err(std::io::Error::other("gone")) }));
            let result = blobs.put_stream(Some(&digest), BLOB_BYTES_MAX, broken).await;
            assert!(matches!(result, Err(BlobError::Body(_))), "{result:?}");
            let result = blobs.put_stream(Some(&digest), bytes.len() as u64 - 1, chunks(&bytes)).await;
            assert!(matches!(result, Err(BlobError::TooLarge { .. })), "{result:?}");
            assert_eq!(blobs.head(&digest).await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_absent_and_a_range_outside_is_refused() {
        on_both_stores(|blobs| async move {
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
            let writing = pin!(blobs.put_stream(Some(&digest), BLOB_BYTES_MAX, endless));
            assert!(futures::poll!(writing).is_pending());
        }
        assert_eq!(blobs.head(&digest).await.unwrap(), None);
    }

    #[tokio::test]
    async fn many_writers_of_the_same_bytes_make_one_blob() {
        on_both_stores(|blobs| async move {
            let bytes = weights(PART_BYTES + 7);
            let writes = (0..6).map(|_| blobs.put_stream(None, BLOB_BYTES_MAX, chunks(&bytes)));
            let stored = futures::future::try_join_all(writes).await.unwrap();
            assert_eq!(stored.iter().filter(|stored| stored.fresh).count(), 1);
        })
        .await;
    }

    #[test]
    fn a_url_of_another_kind_is_refused() {
        for url in ["", "s3://bucket", "file://relative", "/dir", "memory"] {
            assert!(matches!(Blobs::open(url, Entropy::seeded(1)), Err(BlobError::BadUrl)), "{url}");
        }
    }

    #[test]
    fn the_path_of_a_digest_has_three_plain_parts() {
        let path = path_of(&Digest::of(b"")).to_string();
        assert_eq!(path, "sha256/e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
