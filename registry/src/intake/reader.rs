//! A blob as a file that can be read from and sought in, for a thread that may wait.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use protocol::Digest;
use tokio::runtime::Handle;

use crate::blobs::{BlobError, Blobs};

/// Bytes that one request to the object store is for.
const WINDOW_BYTES: u64 = 16 << 20;
/// Up to here reading on costs less than asking anew.
const READ_ON_BYTES_MAX: u64 = 1 << 20;

pub(super) struct BlobReader {
    blobs: Blobs,
    digest: Digest,
    size: u64,
    runtime: Handle,
    at: u64,
    /// What comes from `at` on, until it is empty.
    arrived: Bytes,
    arriving: Option<BoxStream<'static, Result<Bytes, BlobError>>>,
}

impl BlobReader {
    /// To be read on a thread that is not one of the runtime's own.
    pub(super) fn new(blobs: Blobs, digest: Digest, size: u64, runtime: Handle) -> Self {
        Self { blobs, digest, size, runtime, at: 0, arrived: Bytes::new(), arriving: None }
    }

    /// False at the end of the blob.
    fn fill(&mut self) -> io::Result<bool> {
        while self.arrived.is_empty() && self.at < self.size {
            let Some(arriving) = &mut self.arriving else {
                let range = self.at..self.size.min(self.at + WINDOW_BYTES);
                let blob = self.runtime.block_on(self.blobs.get_range(&self.digest, range)).map_err(io::Error::other)?;
                self.arriving = Some(blob.ok_or(io::ErrorKind::NotFound)?.bytes);
                continue;
            };
            match self.runtime.block_on(arriving.try_next()).map_err(io::Error::other)? {
                Some(chunk) => self.arrived = chunk,
                None => self.arriving = None,
            }
        }
        Ok(!self.arrived.is_empty())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.fill()? {
            return Ok(0);
        }
        let length = buffer.len().min(self.arrived.len());
        self.arrived.copy_to_slice(&mut buffer[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        if to >= self.at && to - self.at <= READ_ON_BYTES_MAX {
            while self.at < to && self.fill()? {
                let passed = (to - self.at).min(self.arrived.len() as u64);
                self.arrived.advance(usize::try_from(passed).expect("it is no more than has arrived"));
                self.at += passed;
            }
        } else {
            (self.arrived, self.arriving) = (Bytes::new(), None);
        }
        self.at = to;
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Entropy;

    use super::*;

    #[tokio::test]
    async fn a_blob_reads_like_a_file() {
        let blobs = Blobs::open("memory:", Entropy::seeded(1)).unwrap();
        let bytes: Vec<u8> = (0..17_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
        let stored = blobs.put(bytes.clone().into()).await.unwrap();
        let mut reader = BlobReader::new(blobs, stored.digest, stored.size, Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            let mut part = vec![0; 1_000];
            for at in [0_u64, 5_000, 4_000, 16 << 20, (16 << 20) - 500, 9_000_000] {
                assert_eq!(reader.seek(SeekFrom::Start(at)).unwrap(), at);
                reader.read_exact(&mut part).unwrap();
                let at = usize::try_from(at).unwrap();
                assert!(part == bytes[at..at + 1_000], "{at}");
            }
            assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), bytes.len() as u64 - 3);
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, bytes[bytes.len() - 3..]);
            reader.seek(SeekFrom::Current(10)).unwrap();
            assert_eq!(reader.read(&mut part).unwrap(), 0);
            reader.seek(SeekFrom::Current(-1 << 40)).unwrap_err();
            reader.rewind().unwrap();
            assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), bytes.len() as u64);
        });
        reading.await.unwrap();
    }
}
