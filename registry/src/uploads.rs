//! Resumable uploads: a partial file in the spool whose name says what it is to become and whose length says how far it is.
//!
//! The file is the whole state, so that an upload survives a restart, and the same blob begun again goes on where it stopped. The spool is
//! a local directory: several gateways need sticky uploads, or a spool that they share.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use protocol::{Digest, Timestamp};
use tokio::fs::{self, OpenOptions};

use crate::blobs::{BLOB_BYTES_MAX, BlobError, Blobs, Stored};
use crate::caller::Caller;
use crate::{Registry, RegistryError};

/// After a day without a byte, nobody comes back.
const IDLE_MICROS_MAX: u64 = 24 * 60 * 60 * 1_000_000;
const UPLOADS_PER_ACCOUNT_MAX: usize = 256;

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: String,
    /// Bytes received, from the beginning and without gaps.
    pub offset: u64,
    /// Bytes when complete.
    pub size: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the upload does not exist: it is finished, expired, or not yours")]
    Unknown,
    #[error("the upload goes on at byte {expected}")]
    WrongOffset { expected: u64 },
    #[error("another request is writing to this upload")]
    Busy,
    #[error("the upload was announced with {size} bytes, and these are more; what fits was kept")]
    TooLong { size: u64 },
    #[error("{received} of {size} bytes have arrived")]
    Incomplete { received: u64, size: u64 },
    #[error("the bytes have the digest {found}, not {expected}: begin again")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("a blob has at most {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("an account has at most {max} uploads under way: finish some, or wait a day")]
    TooMany { max: usize },
    #[error("the sender broke off; what arrived was kept")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("the object store failed")]
    Blob(#[source] BlobError),
    #[error("the spool failed")]
    Spool(#[from] io::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The spool, and which of its files are being written.
#[derive(Debug)]
pub(crate) struct Uploads {
    spool: PathBuf,
    blobs: Blobs,
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

/// What an upload is to become. Its text is the upload's id and the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    digest: Digest,
    size: u64,
}

/// The right to write to an upload, for one request at a time.
#[derive(Debug)]
struct Turn {
    busy: Arc<Mutex<HashSet<PathBuf>>>,
    path: PathBuf,
}

/// The file of an upload while bytes are added. A write that outlives its request keeps the turn until it has landed: nobody hashes or
/// links a file that still changes.
#[derive(Debug)]
struct Spooled {
    file: std::fs::File,
    _turn: Turn,
}

impl Registry {
    /// Begins the upload of a blob, or finds the one that this account began before.
    pub async fn begin_upload(&self, caller: &Caller, digest: Digest, size: u64) -> Result<Upload, UploadError> {
        let (account_id, target) = (&caller.account.id, Target { digest, size });
        let _turn = self.storage.begin().await;
        // One that was begun before has its room.
        if self.uploads.status(account_id, target).await.is_err() {
            self.require_room(account_id, &digest, size).await?;
        }
        self.uploads.begin(account_id, target).await
    }

    /// Adds bytes at `offset`, which must be where the upload stands, and answers the new offset. What arrived before an error is kept.
    pub async fn append_upload<S, E>(&self, caller: &Caller, id: &str, offset: u64, stream: S) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.uploads.append(&caller.account.id, parse(id)?, offset, stream).await
    }

    pub async fn upload_status(&self, caller: &Caller, id: &str) -> Result<Upload, UploadError> {
        self.uploads.status(&caller.account.id, parse(id)?).await
    }

    /// Hashes what has arrived and makes a blob of it. With the wrong hash the upload is thrown away.
    pub async fn finish_upload(&self, caller: &Caller, id: &str) -> Result<Stored, UploadError> {
        let target = parse(id)?;
        self.claim_blobs(&[target.digest]).await?;
        let stored = self.uploads.finish(&caller.account.id, target).await?;
        self.hold(&caller.account.id, stored.digest, stored.size).await?;
        Ok(stored)
    }

    /// Throws an upload away, and gives its room back.
    pub async fn cancel_upload(&self, caller: &Caller, id: &str) -> Result<(), UploadError> {
        self.uploads.cancel(&caller.account.id, parse(id)?).await
    }
}

impl Uploads {
    pub(crate) fn new(spool: PathBuf, blobs: Blobs) -> Self {
        Self { spool, blobs, busy: Arc::default() }
    }

    async fn begin(&self, account_id: &str, target: Target) -> Result<Upload, UploadError> {
        if target.size > BLOB_BYTES_MAX {
            return Err(UploadError::TooLarge { bytes_max: BLOB_BYTES_MAX });
        }
        let folder = self.spool.join(account_id);
        fs::create_dir_all(&folder).await?;
        let path = folder.join(target.to_string());
        if !fs::try_exists(&path).await? && count_files(&folder).await? >= UPLOADS_PER_ACCOUNT_MAX {
            return Err(UploadError::TooMany { max: UPLOADS_PER_ACCOUNT_MAX });
        }
        OpenOptions::new().create(true).append(true).open(&path).await?;
        self.status(account_id, target).await
    }

    async fn status(&self, account_id: &str, target: Target) -> Result<Upload, UploadError> {
        let offset = length_of(&self.path_of(account_id, target)).await?.ok_or(UploadError::Unknown)?;
        Ok(Upload { id: target.to_string(), offset, size: target.size })
    }

    async fn append<S, E>(&self, account_id: &str, target: Target, offset: u64, stream: S) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let turn = self.take_turn(account_id, target)?;
        let expected = length_of(&turn.path).await?.ok_or(UploadError::Unknown)?;
        if offset != expected {
            return Err(UploadError::WrongOffset { expected });
        }
        let file = OpenOptions::new().write(true).open(&turn.path).await?.into_std().await;
        let spooled = Arc::new(Spooled { file, _turn: turn });
        write_within(&spooled, offset..target.size, stream).await
    }

    async fn finish(&self, account_id: &str, target: Target) -> Result<Stored, UploadError> {
        let turn = self.take_turn(account_id, target)?;
        let received = length_of(&turn.path).await?.ok_or(UploadError::Unknown)?;
        if received < target.size {
            return Err(UploadError::Incomplete { received, size: target.size });
        }
        match self.blobs.adopt(&turn.path, &target.digest).await {
            Ok(stored) => Ok(stored),
            Err(BlobError::WrongDigest { expected, found }) => {
                fs::remove_file(&turn.path).await?;
                Err(UploadError::WrongDigest { expected, found })
            }
            Err(error) => Err(UploadError::Blob(error)),
        }
    }

    async fn cancel(&self, account_id: &str, target: Target) -> Result<(), UploadError> {
        let turn = self.take_turn(account_id, target)?;
        match fs::remove_file(&turn.path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(UploadError::Unknown),
            removed => Ok(removed?),
        }
    }

    /// Bytes that an account's uploads will have when they are whole.
    pub(crate) async fn reserved(&self, account_id: &str) -> io::Result<u64> {
        let names = list(&self.spool.join(account_id)).await?;
        let targets = names.iter().filter_map(|path| parse(path.file_name()?.to_str()?).ok());
        Ok(targets.map(|target| target.size).sum())
    }

    /// Removes what nobody has added to for a day.
    pub(crate) async fn sweep(&self, now: Timestamp) -> io::Result<()> {
        for folder in list(&self.spool).await? {
            for path in list(&folder).await? {
                let Ok(_turn) = self.take_turn_at(path.clone()) else {
                    continue;
                };
                if modified_at(&path).await?.is_some_and(|modified| now.micros_since(modified) > IDLE_MICROS_MAX) {
                    fs::remove_file(&path).await?;
                }
            }
        }
        Ok(())
    }

    fn take_turn(&self, account_id: &str, target: Target) -> Result<Turn, UploadError> {
        self.take_turn_at(self.path_of(account_id, target))
    }

    fn take_turn_at(&self, path: PathBuf) -> Result<Turn, UploadError> {
        let is_first = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        is_first.then(|| Turn { busy: Arc::clone(&self.busy), path }).ok_or(UploadError::Busy)
    }

    /// Account ids are made here and targets are parsed: neither can leave the spool.
    fn path_of(&self, account_id: &str, target: Target) -> PathBuf {
        self.spool.join(account_id).join(target.to_string())
    }
}

impl Spooled {
    async fn write(self: &Arc<Self>, chunk: Bytes, at: u64) -> io::Result<()> {
        let spooled = Arc::clone(self);
        tokio::task::spawn_blocking(move || spooled.file.write_all_at(&chunk, at)).await.map_err(io::Error::other)?
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "upl_{}_{}", self.digest.hex(), self.size)
    }
}

fn parse(id: &str) -> Result<Target, UploadError> {
    let parsed = || {
        let (hex, size) = id.strip_prefix("upl_")?.split_once('_')?;
        Some(Target { digest: format!("sha256:{hex}").parse().ok()?, size: size.parse().ok()? })
    };
    parsed().filter(|target| target.to_string() == id).ok_or(UploadError::Unknown)
}

/// Writes from the start of a range and never beyond its end, and answers where it stopped.
async fn write_within<S, E>(spooled: &Arc<Spooled>, range: Range<u64>, stream: S) -> Result<u64, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut stream = pin!(stream);
    let mut at = range.start;
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk.map_err(|error| UploadError::Body(error.into()))?;
        let is_too_long = chunk.len() as u64 > range.end - at;
        if is_too_long {
            chunk.truncate(usize::try_from(range.end - at).expect("it is less than the length of a chunk"));
        }
        let written = chunk.len() as u64;
        spooled.write(chunk, at).await?;
        at += written;
        if is_too_long {
            return Err(UploadError::TooLong { size: range.end });
        }
    }
    Ok(at)
}

async fn length_of(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path).await {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn modified_at(path: &Path) -> io::Result<Option<Timestamp>> {
    let modified = match fs::metadata(path).await {
        Ok(metadata) => metadata.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let since_epoch = modified.duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(i64::try_from(since_epoch.as_micros()).ok().map(Timestamp::from_micros))
}

async fn count_files(folder: &Path) -> io::Result<usize> {
    Ok(list(folder).await?.len())
}

async fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        paths.push(entry.path());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use protocol::{Clock, Entropy};

    use super::*;

    const ADA: &str = "acc_ada";

    fn at(spool: &Path) -> Uploads {
        let url = format!("file://{}", spool.join("blobs").display());
        Uploads::new(spool.join("spool"), Blobs::open(&url, Entropy::seeded(1)).unwrap())
    }

    fn target(bytes: &[u8]) -> Target {
        Target { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }

    fn body(bytes: &'static [u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::iter(bytes.chunks(3).map(|chunk| Ok(Bytes::from_static(chunk))))
    }

    #[tokio::test]
    async fn an_upload_goes_on_after_a_restart_and_becomes_a_blob() {
        let home = tempfile::tempdir().unwrap();
        let target = target(b"hello world");
        let begun = at(home.path()).begin(ADA, target).await.unwrap();
        assert_eq!((begun.offset, begun.size, parse(&begun.id).unwrap()), (0, 11, target));
        assert_eq!(at(home.path()).append(ADA, target, 0, body(b"hello ")).await.unwrap(), 6);

        let uploads = at(home.path());
        assert_eq!(uploads.begin(ADA, target).await.unwrap().offset, 6, "begun again, it goes on");
        assert_eq!(uploads.append(ADA, target, 6, body(b"world")).await.unwrap(), 11);
        let stored = uploads.finish(ADA, target).await.unwrap();
        assert_eq!((stored.digest, stored.size, stored.fresh), (target.digest, 11, true));
        assert_eq!(uploads.blobs.read(&target.digest, 100).await.unwrap().unwrap(), "hello world");
        assert!(matches!(uploads.status(ADA, target).await, Err(UploadError::Unknown)));
    }

    #[tokio::test]
    async fn a_wrong_offset_is_told_the_right_one_and_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (uploads, target) = (at(home.path()), target(b"hello world"));
        uploads.begin(ADA, target).await.unwrap();
        uploads.append(ADA, target, 0, body(b"hello ")).await.unwrap();
        for wrong in [0, 5, 7, 11, u64::MAX] {
            let result = uploads.append(ADA, target, wrong, body(b"XXXXX")).await;
            assert!(matches!(result, Err(UploadError::WrongOffset { expected: 6 })), "{wrong}: {result:?}");
        }
        uploads.append(ADA, target, 6, body(b"world")).await.unwrap();
        uploads.finish(ADA, target).await.unwrap();
    }

    #[tokio::test]
    async fn a_short_a_long_and_a_wrong_upload_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let (uploads, target) = (at(home.path()), target(b"hello world"));
        uploads.begin(ADA, target).await.unwrap();
        uploads.append(ADA, target, 0, body(b"hello")).await.unwrap();
        let short = uploads.finish(ADA, target).await;
        assert!(matches!(short, Err(UploadError::Incomplete { received: 5, size: 11 })), "{short:?}");

        let long = uploads.append(ADA, target, 5, body(b" World and more")).await;
        assert!(matches!(long, Err(UploadError::TooLong { size: 11 })), "{long:?}");
        assert_eq!(uploads.status(ADA, target).await.unwrap().offset, 11);

        let wrong = uploads.finish(ADA, target).await;
        assert!(matches!(wrong, Err(UploadError::WrongDigest { .. })), "{wrong:?}");
        assert_eq!(uploads.blobs.head(&target.digest).await.unwrap(), None);
        assert_eq!(uploads.begin(ADA, target).await.unwrap().offset, 0, "it begins again from nothing");
    }

    #[tokio::test]
    async fn what_arrived_before_the_sender_broke_off_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let (uploads, target) = (at(home.path()), target(b"hello world"));
        uploads.begin(ADA, target).await.unwrap();
        let broken = stream::iter([Ok(Bytes::from_static(b"hel")), Err(io::Error::other("gone"))]);
        assert!(matches!(uploads.append(ADA, target, 0, broken).await, Err(UploadError::Body(_))));
        assert_eq!(uploads.status(ADA, target).await.unwrap().offset, 3);
    }

    #[tokio::test]
    async fn one_request_at_a_time_writes_to_an_upload() {
        let home = tempfile::tempdir().unwrap();
        let (uploads, target) = (at(home.path()), target(b"hello world"));
        uploads.begin(ADA, target).await.unwrap();
        let turn = uploads.take_turn(ADA, target).unwrap();
        let refused = uploads.append(ADA, target, 0, body(b"hello")).await;
        assert!(matches!(refused, Err(UploadError::Busy)), "{refused:?}");
        drop(turn);
        uploads.append(ADA, target, 0, body(b"hello")).await.unwrap();
    }

    #[tokio::test]
    async fn an_upload_belongs_to_its_account() {
        let home = tempfile::tempdir().unwrap();
        let (uploads, target) = (at(home.path()), target(b"hello world"));
        uploads.begin(ADA, target).await.unwrap();
        for result in [
            uploads.status("acc_bob", target).await.map(|upload| upload.offset),
            uploads.append("acc_bob", target, 0, body(b"x")).await,
            uploads.finish("acc_bob", target).await.map(|stored| stored.size),
        ] {
            assert!(matches!(result, Err(UploadError::Unknown)), "{result:?}");
        }
    }

    #[tokio::test]
    async fn an_idle_upload_expires_after_a_day() {
        let home = tempfile::tempdir().unwrap();
        let (uploads, target) = (at(home.path()), target(b"hello world"));
        uploads.begin(ADA, target).await.unwrap();
        let now = Clock::system().now();
        uploads.sweep(now.plus_millis(23 * 60 * 60 * 1_000)).await.unwrap();
        uploads.status(ADA, target).await.unwrap();
        uploads.sweep(now.plus_millis(25 * 60 * 60 * 1_000)).await.unwrap();
        assert!(matches!(uploads.status(ADA, target).await, Err(UploadError::Unknown)));
    }

    #[tokio::test]
    async fn uploads_are_bounded_in_size_and_number() {
        let home = tempfile::tempdir().unwrap();
        let uploads = at(home.path());
        let huge = Target { digest: Digest::of(b""), size: BLOB_BYTES_MAX + 1 };
        assert!(matches!(uploads.begin(ADA, huge).await, Err(UploadError::TooLarge { .. })));
        for n in 0..UPLOADS_PER_ACCOUNT_MAX {
            uploads.begin(ADA, target(&n.to_le_bytes())).await.unwrap();
        }
        assert!(matches!(uploads.begin(ADA, target(b"one more")).await, Err(UploadError::TooMany { .. })));
        uploads.begin(ADA, target(&0_usize.to_le_bytes())).await.unwrap();
    }

    #[test]
    fn an_id_that_is_not_ours_names_no_file() {
        let hex = Digest::of(b"").hex();
        for bad in [
            "",
            "upl_",
            "../../etc/passwd",
            &format!("upl_{hex}_01"),
            &format!("upl_{hex}_-1"),
            &format!("upl_{hex}_1/../x"),
            &format!("upl_{hex}"),
        ] {
            assert!(matches!(parse(bad), Err(UploadError::Unknown)), "{bad}");
        }
    }
}
