//! The cache of blobs: a file by digest, fetched with a grant when it is not there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::digest::Digest;
use protocol::manifest::VersionFile;
use protocol::wire::Grant;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::intake::{Intake, Taken, is_sealed, seal};
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
/// A store that says nothing for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Chunks between network and disk; at the HTTP client's usual 16 KiB it is 1 MiB a fetch.
const CHUNKS_AHEAD: usize = 64;
const READ_BYTES: usize = 1 << 20;
/// The second time is for a line that broke, or bytes that were damaged on their way.
const TRIES: u32 = 2;

impl Blobs {
    pub(super) fn new(home: &Path, http: reqwest::Client) -> io::Result<Self> {
        let blobs = Self { directory: home.join("blobs"), http, fetching: Semaphore::new(FETCHES_AT_ONCE), flights: Flights::new() };
        fs::create_dir_all(blobs.unfinished())?;
        fs::create_dir_all(blobs.directory.join("quarantine"))?;
        for entry in fs::read_dir(blobs.unfinished())? {
            let path = entry?.path();
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                fs::remove_file(path)?;
            }
        }
        Ok(blobs)
    }

    fn unfinished(&self) -> PathBuf {
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
        let _place = self.fetching.acquire().await.map_err(|error| FetchError::from(io::Error::other(error)))?;
        let mut left = TRIES;
        loop {
            left -= 1;
            match self.fetch(file, grant, intake.clone()).await {
                Err(error @ (FetchError::Broken { .. } | FetchError::Mismatch { .. })) if left > 0 => {
                    tracing::warn!(blob.digest = %file.digest, %error, "fetching once more");
                }
                ended => return ended,
            }
        }
    }

    fn intake(&self, digest: &Digest) -> Intake {
        Intake { unfinished: self.unfinished(), blob: self.path(digest), quarantine: self.directory.join("quarantine").join(digest.hex()) }
    }

    async fn fetch(&self, file: &VersionFile, grant: &Grant, intake: Intake) -> Result<(), FetchError> {
        let digest = file.digest;
        let broken = |reason: String| FetchError::Broken { digest, reason };
        let request = self.http.get(format!("{}/runner/blobs/{digest}", grant.base_url)).bearer_auth(&grant.token).send();
        let answer = timeout(SILENCE_MAX, request).await.map_err(|_| broken(silence()))?;
        let mut answer = answer.map_err(|error| broken(error.without_url().to_string()))?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            return Err(if status >= 500 { broken(format!("status {status}")) } else { FetchError::Refused { digest, status } });
        }
        let (chunks, received) = mpsc::channel(CHUNKS_AHEAD);
        let wanted = file.clone();
        let taking = blocking(move || Ok(intake.take(&wanted, received)?));
        let sending = async {
            // Dropped at its end, which is how the other side knows of it.
            let chunks = chunks;
            while let Some(chunk) =
                timeout(SILENCE_MAX, answer.chunk()).await.map_err(|_| silence())?.map_err(|e| e.without_url().to_string())?
            {
                if chunks.send(chunk).await.is_err() {
                    break; // The other side has its own reason, and says it.
                }
            }
            Ok(())
        };
        let (sent, taken): (Result<(), String>, _) = tokio::join!(sending, taking);
        match taken? {
            Taken::Whole => Ok(()),
            Taken::Wrong => Err(FetchError::Mismatch { digest }),
            Taken::Short => Err(broken(sent.err().unwrap_or_else(|| "it ended early".to_owned()))),
        }
    }
}

fn silence() -> String {
    format!("nothing came for {} seconds", SILENCE_MAX.as_secs())
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
    if digest(&mut blob)? == file.digest {
        seal(&blob)?;
        return Ok(true);
    }
    tracing::error!(blob.digest = %file.digest, "a cached blob has changed and goes to quarantine");
    fs::rename(&intake.blob, &intake.quarantine)?;
    Ok(false)
}

fn digest(blob: &mut File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match blob.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            length => hash.update(&buffer[..length]),
        }
    }
}
