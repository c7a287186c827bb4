//! The bytes of an upload that came through this process from the first on: their hash, and how far they are on the disk.

use std::fs::File;
use std::io;

use protocol::Digest;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

/// Bytes that may wait for the disk until somebody sees to it. They go there while the next ones come.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// What is known of an upload without reading its file again.
#[derive(Debug, Default)]
pub(super) struct Passage {
    bytes: u64,
    hash: Sha256,
    unsynced: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Passage {
    /// Bytes that have passed.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.unsynced += chunk.len() as u64;
    }

    /// Sends to the disk what was written to the file so far, if it is worth the way, and goes on.
    pub(super) async fn sync(&mut self, file: &File) -> io::Result<()> {
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.synced().await?;
            let file = file.try_clone()?;
            self.syncing = Some(tokio::task::spawn_blocking(move || file.sync_data()));
            self.unsynced = 0;
        }
        Ok(())
    }

    /// The hash of all that passed. What was on its way to the disk has arrived there.
    pub(super) async fn end(mut self) -> io::Result<Digest> {
        self.synced().await?;
        Ok(Digest::from_bytes(self.hash.finalize().into()))
    }

    async fn synced(&mut self) -> io::Result<()> {
        match self.syncing.take() {
            Some(syncing) => syncing.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}
