//! Python environments: built by uv from a resolved lock, once per lock and interpreter, read-only, shared by every version that names the same one.

mod build;
mod lock;
mod python;
mod tool;
mod uv;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::digest::Digest;

use crate::flights::Flights;
use build::Site;
use lock::BadLine;
use tool::Tools;

/// Where an environment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentAt {
    /// The virtual environment: `path/bin/python`.
    pub path: PathBuf,
    /// The interpreter's own installation; the environment's `python` is a link into it, so a sandbox must show both.
    pub python_prefix: PathBuf,
    /// Whether this call built it, or waited for the one that did.
    pub built: bool,
}

/// Why there is no environment.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("{python:?} is not a version of Python such as `3.11`")]
    NotAPython { python: String },
    #[error(
        "this runner has no Python {python}: none of the directories of its search path has one; install it, for instance `python{python}` and `python{python}-venv`"
    )]
    NoPython { python: String },
    #[error("line {line} of the lock is not `name==version` with `--hash=sha256:…`; make it with `uv pip compile --generate-hashes`")]
    Lock { line: usize },
    #[error("the lock is not in the project, or is not text")]
    NoLock,
    /// The end of what the tool said.
    #[error("{tool} failed: {said}")]
    Tool { tool: &'static str, said: String },
    #[error("{tool} took longer than {seconds} seconds")]
    Slow { tool: &'static str, seconds: u64 },
    #[error("the environment cannot be written")]
    Disk(#[source] Arc<io::Error>),
}

impl From<io::Error> for EnvironmentError {
    fn from(error: io::Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}

/// The environments under one home.
#[derive(Debug)]
pub struct Environments {
    directory: PathBuf,
    tools: Arc<Tools>,
    flights: Flights<Digest, Result<EnvironmentAt, EnvironmentError>>,
}

/// A lock is some hundred lines; the largest ones name every wheel of thousands of packages.
const LOCK_BYTES_MAX: u64 = 16 << 20;

/// Counts the ways in which an environment has been laid out: a new number builds all of them anew.
const LAYOUT: u32 = 1;

impl Environments {
    /// `search_path` is where `python3.x` and `uv` are looked for. `variables` is the whole environment that uv and pip get beside it: proxies,
    /// certificates and index settings, as the operator set them.
    pub fn new(home: &Path, search_path: String, variables: Vec<(String, String)>) -> Self {
        let tools = Tools { directory: home.join("tools"), search_path, variables };
        Self { directory: home.join("environments"), tools: Arc::new(tools), flights: Flights::new() }
    }

    /// The environment for this lock: at once when it exists, else built. Calls for the same one share one build; a call that is dropped
    /// does not end the build for the others.
    pub async fn ensure(&self, python: &str, lock: &Path) -> Result<EnvironmentAt, EnvironmentError> {
        if !python::is_version(python) {
            return Err(EnvironmentError::NotAPython { python: python.to_owned() });
        }
        let text = read_lock(lock).await?;
        let key = Digest::of(format!("environment {LAYOUT}\n{python}\n{text}").as_bytes());
        let site = Site { path: self.directory.join(key.hex()), python: python.to_owned(), lock: text };
        if let Some(standing) = site.standing() {
            return Ok(standing);
        }
        lock::check(&site.lock).map_err(|BadLine(line)| EnvironmentError::Lock { line })?;
        self.flights.join(key, build::build(site, Arc::clone(&self.tools))).await
    }
}

async fn read_lock(lock: &Path) -> Result<String, EnvironmentError> {
    let size = tokio::fs::metadata(lock).await.map_err(|_| EnvironmentError::NoLock)?.len();
    if size > LOCK_BYTES_MAX {
        return Err(EnvironmentError::NoLock);
    }
    tokio::fs::read_to_string(lock).await.map_err(|_| EnvironmentError::NoLock)
}

#[cfg(test)]
mod tests;
