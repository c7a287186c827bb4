//! The cache of blobs: a file by digest, fetched with a grant when it is not there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::digest::Digest;
use protocol::manifest::VersionFile;
use protocol::wire::Grant;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::fetch::Source;
use super::intake::{Intake, hash_rest, is_sealed, seal};
use super::{FetchError, blocking};
use crate::flights::Flights;

#[derive(Debug)]
pub(super) struct Blobs {
    directory: PathBuf,
    http: reqwest::Client,
    fetching: Semaphore,
    flights: Flights<Digest, Result<(), FetchError>>,
}

/// Enough to fill a data centre's line with a store that serves each object at some hundred megabytes a second.
const FETCHES_AT_ONCE: usize = 4;
/// The second time is for bytes that were damaged on their way.
const TRIES: u32 = 2;

impl Blobs {
    pub(super) fn new(home: &Path, http: reqwest::Client) -> io::Result<Self> {
        let blobs = Self { directory: home.join("blobs"), http, fetching: Semaphore::new(FETCHES_AT_ONCE), flights: Flights::new() };
        fs::create_dir_all(blobs.unfinished())?;
        fs::create_dir_all(blobs.quarantine())?;
        for entry in fs::read_dir(blobs.unfinished())? {
            let entry = entry?;
            // What has a blob's name is gone on with when the blob is wanted again.
            if digest_of(&entry).is_none() && is_nobodys(&entry.path()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(blobs)
    }

    /// Where every blob lies, and in `quarantine` what turned out to be none.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.directory.join("quarantine")
    }

    /// What has arrived in part, each under its digest.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.directory.join("unfinished")
    }

    /// Where the blob lies when it is here.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.directory.join(&hex[..2]).join(hex)
    }

    /// Returns once the blob is here and verified.
    pub(super) async fn have(self: &Arc<Self>, file: &VersionFile, grant: &Grant) -> Result<(), FetchError> {
        if is_sealed(&self.path(&file.digest), file.size) {
            return Ok(());
        }
        let (blobs, file, grant) = (Arc::clone(self), file.clone(), grant.clone());
        self.flights.join(file.digest, async move { blobs.verify_or_fetch(&file, &grant).await }).await
    }

    async fn verify_or_fetch(&self, file: &VersionFile, grant: &Grant) -> Result<(), FetchError> {
        let intake = self.intake(&file.digest);
        let wanted = file.clone();
        let standing = intake.clone();
        if blocking(move || Ok(verify(&standing, &wanted)?)).await? {
            return Ok(());
        }
        let source = Source { http: &self.http, file, grant };
        let _place = self.fetching.acquire().await.map_err(|error| FetchError::from(io::Error::other(error)))?;
        let mut left = TRIES;
        loop {
            left -= 1;
            match source.fetch(intake.clone()).await {
                Err(error @ FetchError::Mismatch { .. }) if left > 0 => {
                    tracing::warn!(blob.digest = %file.digest, %error, "fetching once more");
                }
                ended => return ended,
            }
        }
    }

    fn intake(&self, digest: &Digest) -> Intake {
        Intake {
            unfinished: self.unfinished().join(digest.hex()),
            blob: self.path(digest),
            quarantine: self.quarantine().join(digest.hex()),
        }
    }
}

/// Which blob a file in the cache is by its name.
pub(super) fn digest_of(entry: &fs::DirEntry) -> Option<Digest> {
    format!("sha256:{}", entry.file_name().to_string_lossy()).parse().ok()
}

/// Whether no living runner writes it.
pub(super) fn is_nobodys(unfinished: &Path) -> bool {
    File::open(unfinished).is_ok_and(|file| file.try_lock().is_ok())
}

/// Hashes a blob that is here but not as it was when it was verified. It reads at the speed of the disk.
fn verify(intake: &Intake, file: &VersionFile) -> io::Result<bool> {
    if let Some(parent) = intake.blob.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut blob = match File::open(&intake.blob) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut hash = Sha256::new();
    hash_rest(&mut blob, &mut hash)?;
    if Digest::from_bytes(hash.finalize().into()) == file.digest {
        seal(&blob)?;
        return Ok(true);
    }
    tracing::error!(blob.digest = %file.digest, "a cached blob has changed and goes to quarantine");
    fs::rename(&intake.blob, &intake.quarantine)?;
    Ok(false)
}
