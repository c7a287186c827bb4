//! A blob on its way to the disk: hashed and written in one pass by a thread of its own, and visible only when it is whole.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use protocol::digest::Digest;
use protocol::manifest::VersionFile;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Receiver;

/// What became of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Whole,
    /// They ended early. What came lies there for the next time.
    Short,
    /// They are not the blob, and lie in quarantine.
    Wrong,
}

/// Where the bytes go.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    /// Where it grows.
    pub(super) unfinished: PathBuf,
    pub(super) blob: PathBuf,
    pub(super) quarantine: PathBuf,
}

/// A verified blob has this time of change, the first day of 2000, so that one look tells whether it was written to since.
const VERIFIED_AT: Duration = Duration::from_hours(24 * 10_957);

/// Some of a blob, perhaps none of it, and what they hash to.
#[derive(Debug)]
pub(super) struct Begun {
    intake: Intake,
    file: File,
    hash: Sha256,
    /// Bytes that are here.
    at: u64,
}

const READ_BYTES: usize = 1 << 20;

impl Intake {
    /// Goes on from where a fetch broke off, or a runner was killed. Reads what it left, at the speed of the disk.
    pub(super) fn begin(&self, wanted: &VersionFile) -> io::Result<Begun> {
        let mut intake = self.clone();
        let mut file = open_unfinished(&intake.unfinished)?;
        // Held as long as this runner lives: an unfinished file that can be locked is nobody's.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => (file, intake.unfinished) = beside(&self.unfinished)?,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if file.metadata()?.len() > wanted.size {
            file.set_len(0)?;
        }
        let mut hash = Sha256::new();
        let at = hash_rest(&mut file, &mut hash)?;
        Ok(Begun { intake, file, hash, at })
    }
}

fn open_unfinished(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).append(true).create(true).open(path);
    match open() {
        // Whole and sealed, by a runner that was killed before it could move it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::remove_file(path).and_then(|()| open()),
        opened => opened,
    }
}

/// A name of its own, for when another runner over the same home writes the same blob.
fn beside(taken: &Path) -> io::Result<(File, PathBuf)> {
    let folder = taken.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let (file, path) = tempfile::Builder::new().append(true).tempfile_in(folder)?.keep().map_err(|error| error.error)?;
    file.lock()?;
    Ok((file, path))
}

impl Begun {
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Takes pieces in their order until they end. Lasts as long as the download.
    pub(super) fn take(mut self, wanted: &VersionFile, mut pieces: Receiver<Vec<Bytes>>) -> io::Result<Taken> {
        while let Some(piece) = pieces.blocking_recv() {
            for chunk in piece {
                self.hash.update(&chunk);
                self.file.write_all(&chunk)?;
                self.at += chunk.len() as u64;
                if self.at > wanted.size {
                    return self.put_away();
                }
            }
        }
        if self.at < wanted.size {
            return Ok(Taken::Short);
        }
        if Digest::from_bytes(self.hash.finalize_reset().into()) != wanted.digest {
            return self.put_away();
        }
        seal(&self.file)?;
        self.file.sync_all()?;
        fs::rename(&self.intake.unfinished, &self.intake.blob)?;
        sync_parent(&self.intake.blob)?;
        Ok(Taken::Whole)
    }

    /// Keeps the newest wrong bytes of each blob for whoever asks what happened.
    fn put_away(self) -> io::Result<Taken> {
        fs::rename(&self.intake.unfinished, &self.intake.quarantine)?;
        Ok(Taken::Wrong)
    }
}

/// Hashes a file from where it stands to its end, and tells how many bytes that were.
pub(super) fn hash_rest(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(bytes);
        }
        hash.update(&buffer[..length]);
        bytes += length as u64;
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
