//! The bytes that arrive, counted, hashed, and cut into parts.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use object_store::PutPayload;
use protocol::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobError, Stored};

pub(super) struct Incoming<S> {
    stream: Pin<Box<S>>,
    hash: Sha256,
    size: u64,
    bytes_max: u64,
    part_bytes: usize,
    /// What is left of a chunk that was larger than its part.
    spare: Bytes,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, BlobError>> + Send> Incoming<S> {
    pub(super) fn new(stream: S, bytes_max: u64, part_bytes: usize) -> Self {
        Self { stream: Box::pin(stream), hash: Sha256::new(), size: 0, bytes_max, part_bytes, spare: Bytes::new(), ended: false }
    }

    /// True when every byte was taken.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Collects chunks, without copying them, until they make a part or the stream ends. Parts are of one size, which R2 insists on.
    pub(super) async fn next_part(&mut self) -> Result<PutPayload, BlobError> {
        let mut chunks = Vec::new();
        let mut room = self.part_bytes;
        while room > 0
            && let Some(chunk) = self.next_chunk(room).await?
        {
            room -= chunk.len();
            chunks.push(chunk);
        }
        Ok(chunks.into_iter().collect())
    }

    async fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Bytes>, BlobError> {
        if self.spare.is_empty() {
            let Some(chunk) = self.stream.try_next().await? else {
                self.ended = true;
                return Ok(None);
            };
            self.size += chunk.len() as u64;
            if self.size > self.bytes_max {
                return Err(BlobError::TooLarge { bytes_max: self.bytes_max });
            }
            self.hash.update(&chunk);
            self.spare = chunk;
        }
        Ok(Some(self.spare.split_to(bytes_max.min(self.spare.len()))))
    }

    /// Reads to the end of what is there already: the sender learns that its bytes were right, or that they were not.
    pub(super) async fn drain(mut self, expected: Option<&Digest>) -> Result<Stored, BlobError> {
        while self.next_chunk(usize::MAX).await?.is_some() {}
        Ok(Stored { fresh: false, ..self.finish(expected)? })
    }

    /// What the bytes turned out to be.
    pub(super) fn finish(&self, expected: Option<&Digest>) -> Result<Stored, BlobError> {
        let found = Digest::from_bytes(self.hash.clone().finalize().into());
        match expected {
            Some(&expected) if expected != found => Err(BlobError::WrongDigest { expected, found }),
            _ => Ok(Stored { digest: found, size: self.size, fresh: true }),
        }
    }
}
