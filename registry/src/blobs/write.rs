//! Writing: one conditional put for what is small; parts, made visible together once the hash is known, for what is not.

use std::error::Error;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use protocol::Digest;
use tokio::task::JoinSet;

use super::incoming::Incoming;
use super::{BlobError, Blobs, Stored, created, path_of};

/// Parts of one write that are on their way to the store while the next is hashed: enough to hide the way, few enough to hold.
const PARTS_UNDER_WAY_MAX: usize = 3;

impl Blobs {
    pub async fn put(&self, bytes: Bytes) -> Result<Stored, BlobError> {
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        let fresh = self.create(&path_of(&digest), bytes.into()).await?;
        Ok(Stored { digest, size, fresh })
    }

    /// Writes a stream, and gives it its name when it has ended, is whole in the store and, if a digest was expected, has that one.
    /// Dropping the future leaves nothing that can be read.
    pub async fn put_stream<S, E>(&self, expected: Option<&Digest>, bytes_max: u64, stream: S) -> Result<Stored, BlobError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let stream = stream.map_err(|error| BlobError::Body(error.into()));
        let mut incoming = Incoming::new(stream, bytes_max, self.place.part_bytes(bytes_max));
        let first = incoming.next_part().await?;
        if incoming.ended() {
            let stored = incoming.finish(expected)?;
            let fresh = self.create(&path_of(&stored.digest), first).await?;
            return Ok(Stored { fresh, ..stored });
        }
        match expected {
            Some(digest) if self.head(digest).await?.is_some() => incoming.drain(expected).await,
            // Two writers may both get here. What the second completes has the same hash: it puts the same bytes in their own place.
            Some(digest) => self.write(&path_of(digest), first, incoming, expected).await,
            None => {
                let staged = self.staging_path();
                let stored = self.write(&staged, first, incoming, None).await?;
                self.name_staged(&staged, stored).await
            }
        }
    }

    /// Gives what was staged its own name. Every store can copy to a name that is free and delete after that; S3 cannot rename.
    async fn name_staged(&self, staged: &Path, stored: Stored) -> Result<Stored, BlobError> {
        let fresh = created(self.store.copy_if_not_exists(staged, &path_of(&stored.digest)).await);
        self.store.delete(staged).await?;
        Ok(Stored { fresh: fresh?, ..stored })
    }

    /// Writes part by part; `at` appears only when all is there and the digest is right.
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
    pub(super) async fn create(&self, at: &Path, payload: PutPayload) -> Result<bool, BlobError> {
        created(self.store.put_opts(at, payload, PutOptions::from(PutMode::Create)).await)
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
    // Owned here: whoever drops this write stops its parts too.
    let mut under_way = JoinSet::new();
    under_way.spawn(upload.put_part(first));
    while !incoming.ended() {
        let part = incoming.next_part().await?;
        if part.content_length() == 0 {
            continue;
        }
        if under_way.len() == PARTS_UNDER_WAY_MAX {
            finish_part(&mut under_way).await?;
        }
        under_way.spawn(upload.put_part(part));
    }
    let stored = incoming.finish(expected)?;
    while !under_way.is_empty() {
        finish_part(&mut under_way).await?;
    }
    Ok(stored)
}

async fn finish_part(under_way: &mut JoinSet<object_store::Result<()>>) -> Result<(), BlobError> {
    match under_way.join_next().await {
        Some(joined) => Ok(joined.map_err(object_store::Error::from)??),
        None => Ok(()),
    }
}
