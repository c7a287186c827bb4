//! The files of versions on this machine: a cache of blobs by digest, and per version a read-only folder of hard links into it.

mod blobs;
mod fetch;
mod intake;
mod lease;
mod project;
mod room;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use protocol::digest::{Digest, VersionId};
use protocol::manifest::VersionFile;
use protocol::prediction::Errand;
use protocol::wire::{Bundle, Grant};

use crate::flights::Flights;
use blobs::Blobs;
pub use lease::Lease;
use lease::Leases;
use project::Folder;

/// Why a version's files could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the version's file path {path:?} does not stay inside the project")]
    Path { path: String },
    /// The store does not have the blob, or the grant does not cover it.
    #[error("the blob {digest} was refused with status {status}")]
    Refused { digest: Digest, status: u16 },
    #[error("the blob {digest} did not arrive: {reason}")]
    Broken { digest: Digest, reason: String },
    /// Twice; the bytes are kept in quarantine.
    #[error("what arrived as blob {digest} is something else")]
    Mismatch { digest: Digest },
    /// All that could be let go was.
    #[error("they and the files in use need {needed} bytes, and the runner keeps at most {bytes_max}")]
    Full { needed: u64, bytes_max: u64 },
    #[error("the cache cannot be written")]
    Disk(#[source] Arc<io::Error>),
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}

/// A file that the runner puts beside a version's own, and before one of the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFile {
    /// Relative, with `/`.
    pub path: String,
    pub content: Vec<u8>,
}

/// A version's folder, which stays as long as this is held.
#[derive(Debug)]
pub struct Project {
    pub path: PathBuf,
    pub lease: Lease,
}

/// The blobs and project folders under one home.
#[derive(Debug)]
pub struct Weights {
    cache: Arc<Cache>,
    flights: Flights<(VersionId, Errand), Result<PathBuf, FetchError>>,
}

/// What the flights share.
#[derive(Debug)]
struct Cache {
    blobs: Arc<Blobs>,
    projects: PathBuf,
    leases: Leases,
    bytes_max: u64,
}

/// More than fetch at a time, so that the next is asked for while the last is still being written out.
const FILES_AT_ONCE: usize = 8;

impl Weights {
    /// Removes the folders that an earlier runner had not finished. Blobs take at most `bytes_max`, or a good part of the disk: the versions
    /// that were used least recently go first, and what an instance runs from never does.
    pub fn new(home: &Path, http: reqwest::Client, bytes_max: Option<u64>) -> io::Result<Self> {
        let projects = home.join("projects");
        std::fs::create_dir_all(&projects)?;
        project::remove_unfinished(&projects)?;
        let blobs = Arc::new(Blobs::new(home, http)?);
        let bytes_max = bytes_max.map_or_else(|| room::bytes_max(blobs.directory()), Ok)?;
        tracing::info!(weights.bytes_max = bytes_max, "the files of versions are kept up to a limit");
        let cache = Cache { blobs, projects, leases: Leases::default(), bytes_max };
        Ok(Self { cache: Arc::new(cache), flights: Flights::new() })
    }

    /// The folder with the version's files in place, read-only, and beside them the files that the runner `made` itself (what Cog reads of
    /// the schema). What is missing is fetched, several blobs at a time; a blob that two versions need at once is fetched once; each is
    /// verified in the pass that writes it, and again when its size or time has changed.
    ///
    /// Cancel safe: what has arrived whole stays, and callers for the same version go on.
    pub async fn project(&self, bundle: &Bundle, errand: Errand, grant: &Grant, made: &[MadeFile]) -> Result<Project, FetchError> {
        let folder = Arc::new(Folder::new(&self.cache.projects, bundle, errand, made)?);
        // Before the first look at the disk: from here on nothing of it is let go.
        let lease = self.cache.leases.take(Arc::clone(&folder));
        let work = Arc::clone(&self.cache).have(folder, grant.clone());
        let path = self.flights.join((bundle.version, errand), work).await?;
        Ok(Project { path, lease })
    }
}

impl Cache {
    async fn have(self: Arc<Self>, folder: Arc<Folder>, grant: Grant) -> Result<PathBuf, FetchError> {
        let (cache, standing) = (Arc::clone(&self), Arc::clone(&folder));
        // A look at each file's size and time, and where one is missing at all that is kept.
        let is_whole = move || {
            let is_whole = standing.is_whole();
            if is_whole {
                standing.note_use()?;
            } else {
                room::make(&cache)?;
            }
            Ok(is_whole)
        };
        if blocking(is_whole).await? {
            return Ok(folder.path().to_owned());
        }
        let fetch = |file: VersionFile| {
            let (blobs, grant) = (&self.blobs, &grant);
            async move { blobs.have(&file, grant).await }
        };
        let files: Vec<VersionFile> = folder.files().to_vec();
        stream::iter(files).map(fetch).buffer_unordered(FILES_AT_ONCE).try_collect::<Vec<_>>().await?;
        let building = Arc::clone(&folder);
        // One link a file.
        blocking(move || building.build(&self.blobs)).await?;
        Ok(folder.path().to_owned())
    }
}

/// Runs what waits for the disk.
async fn blocking<T, F>(work: F) -> Result<T, FetchError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, FetchError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| FetchError::from(io::Error::other(error)))?
}

#[cfg(test)]
mod tests;
