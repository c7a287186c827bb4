//! A blob on its way to the disk: hashed and written in one pass by a thread of its own, and visible only when it is whole.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use protocol::digest::Digest;
use protocol::manifest::VersionFile;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::mpsc::Receiver;

/// What became of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Whole,
    /// They ended early.
    Short,
    /// They are not the blob, and lie in quarantine.
    Wrong,
}

/// Where the bytes go.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    pub(super) unfinished: PathBuf,
    pub(super) blob: PathBuf,
    pub(super) quarantine: PathBuf,
}

/// A verified blob has this time of change, the first day of 2000, so that one look tells whether it was written to since.
const VERIFIED_AT: Duration = Duration::from_hours(24 * 10_957);

impl Intake {
    /// Takes bytes until they end. Lasts as long as the download.
    pub(super) fn take(&self, file: &VersionFile, mut bytes: Receiver<Bytes>) -> io::Result<Taken> {
        let mut temporary = NamedTempFile::new_in(&self.unfinished)?;
        // Held as long as this runner lives: an unfinished file that can be locked is nobody's.
        temporary.as_file().lock()?;
        let mut hash = Sha256::new();
        let mut left = file.size;
        while let Some(chunk) = bytes.blocking_recv() {
            hash.update(&chunk);
            temporary.write_all(&chunk)?;
            match left.checked_sub(chunk.len() as u64) {
                Some(still) => left = still,
                None => return self.put_away(temporary),
            }
        }
        if left > 0 {
            return Ok(Taken::Short);
        }
        if Digest::from_bytes(hash.finalize().into()) != file.digest {
            return self.put_away(temporary);
        }
        seal(temporary.as_file())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.blob).map_err(|error| error.error)?;
        sync_parent(&self.blob)?;
        Ok(Taken::Whole)
    }

    /// Keeps the newest wrong bytes of each blob for whoever asks what happened.
    fn put_away(&self, temporary: NamedTempFile) -> io::Result<Taken> {
        temporary.persist(&self.quarantine).map_err(|error| error.error)?;
        Ok(Taken::Wrong)
    }
}

/// Marks a file as verified. It may be executed, because a project may bring its own server and a version's files have no modes.
pub(super) fn seal(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o555))?;
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + VERIFIED_AT))
}

/// Whether the file is still as it was when it was verified.
pub(super) fn is_sealed(path: &Path, size: u64) -> bool {
    let unchanged = |metadata: &fs::Metadata| metadata.modified().is_ok_and(|at| at == SystemTime::UNIX_EPOCH + VERIFIED_AT);
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size && unchanged(&metadata))
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
