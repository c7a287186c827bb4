//! Resumable uploads: a partial file in the spool whose name says what it is to become and whose length says how far it is.
//!
//! The file is the whole state, so that an upload survives a restart, and the same blob begun again goes on where it stopped. OCI clients say
//! only at the end what they have sent: the name of such an upload says nothing but which one it is. The spool is a local directory:
//! several gateways need sticky uploads, or a spool that they share.

mod target;

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
use crate::storage::OverLimit;
use crate::uploads::target::{Target, parse};
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
    /// Bytes when complete; of an upload that was not announced, the most that it may have.
    pub size: u64,
}

/// Bytes that arrive for an upload.
#[derive(Debug)]
pub struct Piece<S> {
    /// Where they begin; where the upload stands if nothing is said.
    pub offset: Option<u64>,
    /// Where they end, if that is known.
    pub end: Option<u64>,
    pub bytes: S,
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
    _turn: Arc<Turn>,
}

impl Registry {
    /// Begins the upload of a blob, or finds the one that this account began before.
    pub async fn begin_upload(&self, caller: &Caller, digest: Digest, size: u64) -> Result<Upload, UploadError> {
        let (account_id, target) = (&caller.account.id, Target::Announced { digest, size });
        let _turn = self.storage.begin().await;
        // One that was begun before has its room.
        if self.uploads.status(account_id, target).await.is_err() {
            self.require_room(account_id, &digest, size).await?;
        }
        self.uploads.begin(account_id, target).await
    }

    /// Begins an upload of which nothing is known yet.
    pub async fn open_upload(&self, caller: &Caller) -> Result<Upload, UploadError> {
        self.uploads.begin(&caller.account.id, Target::open(&self.entropy)).await
    }

    /// Adds a piece, and answers the new offset. What arrived before an error is kept.
    pub async fn append_piece<S, E>(&self, caller: &Caller, id: &str, piece: Piece<S>) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (account_id, target) = (&caller.account.id, parse(id)?);
        let room = self.room_of(account_id, target).await?;
        self.uploads.append(account_id, target, room.bytes_max, piece).await.map_err(|error| room.explain(error))
    }

    /// Adds the last piece, if there is one, and makes a blob of all that has arrived. With the wrong hash the upload is thrown away.
    pub async fn close_upload<S, E>(&self, caller: &Caller, id: &str, digest: &Digest, last: Piece<S>) -> Result<Stored, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (account_id, target) = (&caller.account.id, parse(id)?);
        let room = self.room_of(account_id, target).await?;
        self.claim_blobs(&[*digest]).await?;
        let closed = self.uploads.close(account_id, target, room.bytes_max, digest, last).await;
        let stored = closed.map_err(|error| room.explain(error))?;
        self.hold(account_id, stored.digest, stored.size).await?;
        Ok(stored)
    }

    /// Adds bytes at `offset`, which must be where the upload stands, and answers the new offset. What arrived before an error is kept.
    pub async fn append_upload<S, E>(&self, caller: &Caller, id: &str, offset: u64, stream: S) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.append_piece(caller, id, Piece { offset: Some(offset), end: None, bytes: stream }).await
    }

    pub async fn upload_status(&self, caller: &Caller, id: &str) -> Result<Upload, UploadError> {
        self.uploads.status(&caller.account.id, parse(id)?).await
    }

    /// Hashes what has arrived and makes a blob of it. With the wrong hash the upload is thrown away.
    pub async fn finish_upload(&self, caller: &Caller, id: &str) -> Result<Stored, UploadError> {
        let (account_id, target) = (&caller.account.id, parse(id)?);
        if let Target::Announced { digest, .. } = target {
            self.claim_blobs(&[digest]).await?;
        }
        let stored = self.uploads.finish(account_id, target).await?;
        self.hold(account_id, stored.digest, stored.size).await?;
        Ok(stored)
    }

    /// Throws an upload away, and gives its room back.
    pub async fn cancel_upload(&self, caller: &Caller, id: &str) -> Result<(), UploadError> {
        self.uploads.cancel(&caller.account.id, parse(id)?).await
    }

    /// What was announced has its room; what was not takes what there is.
    async fn room_of(&self, account_id: &str, target: Target) -> Result<Room, UploadError> {
        if let Target::Announced { size, .. } = target {
            return Ok(Room { bytes_max: size, over: None });
        }
        let received = self.uploads.status(account_id, target).await?.offset;
        let in_use = self.storage_of(account_id).await?;
        let Some((room, limit)) = in_use.room().zip(in_use.limit) else { return Ok(Room { bytes_max: BLOB_BYTES_MAX, over: None }) };
        let over = OverLimit { used: in_use.kept + in_use.reserved, asked: room + 1, limit };
        Ok(Room { bytes_max: (received + room).min(BLOB_BYTES_MAX), over: Some(over) })
    }
}

/// How large an upload may become, and what is said to one that becomes larger.
struct Room {
    bytes_max: u64,
    over: Option<OverLimit>,
}

impl Room {
    fn explain(&self, error: UploadError) -> UploadError {
        match (error, self.over) {
            (UploadError::TooLong { .. } | UploadError::Blob(BlobError::TooLarge { .. }), Some(over)) => RegistryError::from(over).into(),
            (error, _) => error,
        }
    }
}

impl Uploads {
    pub(crate) fn new(spool: PathBuf, blobs: Blobs) -> Self {
        Self { spool, blobs, busy: Arc::default() }
    }

    /// Gives an upload its place in the spool. Every upload begins here, whichever way it came.
    async fn begin(&self, account_id: &str, target: Target) -> Result<Upload, UploadError> {
        if target.bytes_max() > BLOB_BYTES_MAX {
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
        Ok(Upload { id: target.to_string(), offset, size: target.bytes_max() })
    }

    async fn append<S, E>(&self, account_id: &str, target: Target, bytes_max: u64, piece: Piece<S>) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.take_turn(account_id, target)?.append(bytes_max, piece).await
    }

    async fn finish(&self, account_id: &str, target: Target) -> Result<Stored, UploadError> {
        let Target::Announced { digest, size } = target else { return Err(UploadError::Unknown) };
        let turn = self.take_turn(account_id, target)?;
        let received = length_of(&turn.path).await?.ok_or(UploadError::Unknown)?;
        if received < size {
            return Err(UploadError::Incomplete { received, size });
        }
        self.make_blob(&turn, &digest).await
    }

    async fn close<S, E>(
        &self,
        account_id: &str,
        target: Target,
        bytes_max: u64,
        digest: &Digest,
        last: Piece<S>,
    ) -> Result<Stored, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let turn = self.take_turn(account_id, target)?;
        let received = length_of(&turn.path).await?.ok_or(UploadError::Unknown)?;
        if received == 0 && last.offset.is_none_or(|offset| offset == 0) {
            // What comes whole needs no place in the spool.
            let stored = self.blobs.put_stream(Some(digest), bytes_max, last.bytes).await;
            let stored = Self::settled(&turn, stored).await?;
            fs::remove_file(&turn.path).await?;
            return Ok(stored);
        }
        turn.append(bytes_max, last).await?;
        self.make_blob(&turn, digest).await
    }

    /// Hashes the file and gives it to the object store.
    async fn make_blob(&self, turn: &Turn, digest: &Digest) -> Result<Stored, UploadError> {
        Self::settled(turn, self.blobs.adopt(&turn.path, digest).await).await
    }

    /// Throws away what has the wrong digest; what failed otherwise may be asked for once more.
    async fn settled(turn: &Turn, stored: Result<Stored, BlobError>) -> Result<Stored, UploadError> {
        match stored {
            Err(BlobError::WrongDigest { expected, found }) => {
                fs::remove_file(&turn.path).await?;
                Err(UploadError::WrongDigest { expected, found })
            }
            stored => stored.map_err(UploadError::Blob),
        }
    }

    async fn cancel(&self, account_id: &str, target: Target) -> Result<(), UploadError> {
        let turn = self.take_turn(account_id, target)?;
        match fs::remove_file(&turn.path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(UploadError::Unknown),
            removed => Ok(removed?),
        }
    }

    /// Bytes that an account's uploads will have when they are whole, or have when that is not known.
    pub(crate) async fn reserved(&self, account_id: &str) -> io::Result<u64> {
        let mut bytes = 0;
        for path in list(&self.spool.join(account_id)).await? {
            bytes += match path.file_name().and_then(|name| name.to_str()).map(parse) {
                Some(Ok(Target::Announced { size, .. })) => size,
                Some(Ok(Target::Open(_))) => length_of(&path).await?.unwrap_or(0),
                Some(Err(_)) | None => 0,
            };
        }
        Ok(bytes)
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

    fn take_turn(&self, account_id: &str, target: Target) -> Result<Arc<Turn>, UploadError> {
        self.take_turn_at(self.path_of(account_id, target))
    }

    fn take_turn_at(&self, path: PathBuf) -> Result<Arc<Turn>, UploadError> {
        let is_first = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        is_first.then(|| Arc::new(Turn { busy: Arc::clone(&self.busy), path })).ok_or(UploadError::Busy)
    }

    /// Account ids are made here and targets are parsed: neither can leave the spool.
    fn path_of(&self, account_id: &str, target: Target) -> PathBuf {
        self.spool.join(account_id).join(target.to_string())
    }
}

impl Turn {
    async fn append<S, E>(self: &Arc<Self>, bytes_max: u64, piece: Piece<S>) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let expected = length_of(&self.path).await?.ok_or(UploadError::Unknown)?;
        if piece.offset.is_some_and(|offset| offset != expected) {
            return Err(UploadError::WrongOffset { expected });
        }
        let end = piece.end.unwrap_or(bytes_max).min(bytes_max).max(expected);
        let file = OpenOptions::new().write(true).open(&self.path).await?.into_std().await;
        let spooled = Arc::new(Spooled { file, _turn: Arc::clone(self) });
        match write_within(&spooled, expected..end, piece.bytes).await {
            Ok(received) if piece.end.is_some_and(|stated| received < stated) => Err(UploadError::Incomplete { received, size: end }),
            reached => reached,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

impl Spooled {
    async fn write(self: &Arc<Self>, chunk: Bytes, at: u64) -> io::Result<()> {
        let spooled = Arc::clone(self);
        tokio::task::spawn_blocking(move || spooled.file.write_all_at(&chunk, at)).await.map_err(io::Error::other)?
    }
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
mod tests;
