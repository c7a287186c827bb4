//! Which files are in use: what an instance runs from, and what is under way for one. They are not let go.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Digest;

use super::project::Folder;

#[derive(Clone, Debug, Default)]
pub(super) struct Leases(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    taken: u64,
    folders: HashMap<u64, Arc<Folder>>,
}

/// Keeps a version's files here until it is dropped.
#[derive(Debug)]
pub struct Lease {
    number: u64,
    leases: Leases,
}

impl Leases {
    pub(super) fn take(&self, folder: Arc<Folder>) -> Lease {
        let mut held = self.held();
        held.taken += 1;
        let number = held.taken;
        held.folders.insert(number, folder);
        Lease { number, leases: self.clone() }
    }

    /// The blobs in use and their sizes, whether they have arrived or not.
    pub(super) fn sizes(&self) -> HashMap<Digest, u64> {
        self.held().folders.values().flat_map(|folder| folder.files()).map(|file| (file.digest, file.size)).collect()
    }

    /// Does `remove` unless the folder is in use; nobody can begin to use it in between.
    pub(super) fn unless_folder_in_use<T>(&self, path: &Path, remove: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
        let held = self.held();
        if held.folders.values().any(|folder| folder.path() == path) {
            return Ok(None);
        }
        remove().map(Some)
    }

    /// Does `remove` unless the blob is in use; nobody can begin to use it in between.
    pub(super) fn unless_blob_in_use<T>(&self, digest: &Digest, remove: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
        let held = self.held();
        if held.folders.values().flat_map(|folder| folder.files()).any(|file| file.digest == *digest) {
            return Ok(None);
        }
        remove().map(Some)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.held().folders.remove(&self.number);
    }
}
