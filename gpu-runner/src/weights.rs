//! The files of versions on this machine: a cache of blobs by digest, and per version a read-only folder of hard links into it.

mod blobs;
mod intake;
mod project;

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

/// The blobs and project folders under one home.
#[derive(Debug)]
pub struct Weights {
    blobs: Arc<Blobs>,
    projects: PathBuf,
    flights: Flights<(VersionId, Errand), Result<PathBuf, FetchError>>,
}

/// More than fetch at a time, so that the next is asked for while the last is still being written out.
const FILES_AT_ONCE: usize = 8;

impl Weights {
    /// Removes what an earlier runner had not finished.
    pub fn new(home: &Path, http: reqwest::Client) -> io::Result<Self> {
        let projects = home.join("projects");
        std::fs::create_dir_all(&projects)?;
        project::remove_unfinished(&projects)?;
        Ok(Self { blobs: Arc::new(Blobs::new(home, http)?), projects, flights: Flights::new() })
    }

    /// The folder with the version's files in place, read-only, and beside them the files that the runner `made` itself (what Cog reads of
    /// the schema). What is missing is fetched, several blobs at a time; a blob that two versions need at once is fetched once; each is
    /// verified in the pass that writes it, and again when its size or time has changed.
    ///
    /// Cancel safe: what has arrived whole stays, and callers for the same version go on.
    pub async fn project(&self, bundle: &Bundle, errand: Errand, grant: &Grant, made: &[MadeFile]) -> Result<PathBuf, FetchError> {
        let folder = Folder::new(&self.projects, bundle, errand, made)?;
        let (blobs, grant) = (Arc::clone(&self.blobs), grant.clone());
        self.flights.join((bundle.version, errand), have(folder, blobs, grant)).await
    }
}

async fn have(folder: Folder, blobs: Arc<Blobs>, grant: Grant) -> Result<PathBuf, FetchError> {
    let folder = Arc::new(folder);
    let standing = Arc::clone(&folder);
    // A look at each file's size and time.
    if blocking(move || Ok(standing.is_whole())).await? {
        return Ok(folder.path().to_owned());
    }
    let fetch = |file: VersionFile| {
        let (blobs, grant) = (&blobs, &grant);
        async move { blobs.have(&file, grant).await }
    };
    let files: Vec<VersionFile> = folder.files().to_vec();
    stream::iter(files).map(fetch).buffer_unordered(FILES_AT_ONCE).try_collect::<Vec<_>>().await?;
    let building = Arc::clone(&folder);
    // One link a file.
    blocking(move || building.build(&blobs)).await?;
    Ok(folder.path().to_owned())
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
