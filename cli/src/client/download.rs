//! Blobs on their way from the server: each is taken up where it broke off, and is hashed in the pass that writes it.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use protocol::{Digest, VersionId};
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::{Client, ClientError, patiently};

/// Times that the connection may break in one blob; each time it goes on where it stood.
const BREAKS_MAX: u32 = 8;
const READ_BYTES: usize = 1 << 20;

/// A blob that a version names, and the file that becomes it.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What people call it: its path in the project.
    pub label: String,
    /// Holds what has arrived, from the first byte on and without gaps.
    pub part: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path} cannot be written")]
    Part { path: String, source: io::Error },
    #[error("{path} arrived with other bytes than the version names; what arrived is thrown away: pull again")]
    WrongBytes { path: String },
}

/// How far a blob is.
struct Taken {
    file: File,
    hash: Sha256,
    bytes: u64,
}

/// Fetches one blob into its part, or the rest of it. An error leaves what arrived, unless that is wrong.
pub async fn fetch(client: &Client, version: &VersionId, wanted: &Wanted, bar: &ProgressBar) -> Result<(), DownloadError> {
    let unwritable = |source| DownloadError::Part { path: wanted.label.clone(), source };
    let mut taken = Taken::open(&wanted.part).await.map_err(unwritable)?;
    let mut breaks = 0;
    while taken.bytes < wanted.size {
        bar.set_position(taken.bytes);
        match receive(client, version, wanted, &mut taken, bar).await {
            Err(DownloadError::Client(error)) if error.is_passing() && breaks < BREAKS_MAX => breaks += 1,
            received => received?,
        }
    }
    taken.file.sync_all().await.map_err(unwritable)?;
    if taken.bytes == wanted.size && Digest::from_bytes(taken.hash.finalize().into()) == wanted.digest {
        return Ok(());
    }
    fs::remove_file(&wanted.part).await.map_err(unwritable)?;
    Err(DownloadError::WrongBytes { path: wanted.label.clone() })
}

/// One request for what is still missing, to the end of it or until it breaks.
async fn receive(client: &Client, version: &VersionId, wanted: &Wanted, taken: &mut Taken, bar: &ProgressBar) -> Result<(), DownloadError> {
    let unwritable = |source| DownloadError::Part { path: wanted.label.clone(), source };
    let path = format!("/v1/blobs/{}?version={version}", wanted.digest);
    let from = format!("bytes={}-", taken.bytes);
    let mut response = patiently(|| client.send(client.request(Method::GET, &path).header(RANGE, &from))).await?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        // Something in between answered with the whole.
        taken.restart().await.map_err(unwritable)?;
    }
    while let Some(chunk) = response.chunk().await.map_err(|source| client.broken(source))? {
        taken.add(&chunk).await.map_err(unwritable)?;
        bar.set_position(taken.bytes);
        if taken.bytes > wanted.size {
            break;
        }
    }
    // The next request, or the next run, goes on at the length of the file.
    taken.file.flush().await.map_err(unwritable)
}

impl Taken {
    /// What an earlier run left is hashed, and gone on with.
    async fn open(part: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part).await?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                return Ok(Self { file, hash, bytes });
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
    }

    async fn add(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk).await?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.seek(io::SeekFrom::Start(0)).await?;
        self.hash = Sha256::new();
        self.bytes = 0;
        Ok(())
    }
}
