//! The right to write to an upload, for one request at a time.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use protocol::Digest;
use tokio::fs::{self, OpenOptions};
use tokio::task::JoinHandle;

use super::passage::Passage;
use super::{Piece, UploadError, length_of};

/// Which files of the spool are being written, and what is known of those that are not.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    busy: HashSet<PathBuf>,
    passages: HashMap<PathBuf, Passage>,
}

/// The right to write to one file of the spool.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    pub(super) path: PathBuf,
    /// None when bytes came before this process did, or while a piece is added.
    passage: Mutex<Option<Passage>>,
}

/// The file of an upload while bytes are added. A write that outlives its request keeps the turn until it has landed: nobody hashes or
/// links a file that still changes.
#[derive(Debug)]
struct Spooled {
    file: std::fs::File,
    _turn: Arc<Turn>,
}

impl Turns {
    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// [`UploadError::Busy`] while another request has it.
    pub(super) fn take(turns: &Arc<Turns>, path: PathBuf) -> Result<Arc<Self>, UploadError> {
        let mut files = turns.files();
        if !files.busy.insert(path.clone()) {
            return Err(UploadError::Busy);
        }
        let passage = files.passages.remove(&path);
        Ok(Arc::new(Self { turns: Arc::clone(turns), path, passage: Mutex::new(passage) }))
    }

    pub(super) async fn append<S, E>(self: &Arc<Self>, bytes_max: u64, piece: Piece<S>) -> Result<u64, UploadError>
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
        let mut passage = self.take_passage(expected);
        let reached = write_within(&spooled, expected..end, piece.bytes, passage.as_mut()).await;
        if let (Some(passage), Ok(_)) = (&mut passage, &reached) {
            passage.sync(&spooled.file).await?;
        }
        self.keep_passage(passage);
        match reached {
            Ok(received) if piece.end.is_some_and(|stated| received < stated) => Err(UploadError::Incomplete { received, size: end }),
            reached => reached,
        }
    }

    /// The hash of the file, where that is known without reading it.
    pub(super) async fn hashed(&self) -> io::Result<Option<Digest>> {
        let received = length_of(&self.path).await?.unwrap_or(0);
        match self.take_passage(received) {
            Some(passage) => passage.end().await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn remove(&self) -> io::Result<()> {
        self.keep_passage(None);
        fs::remove_file(&self.path).await
    }

    /// None unless every byte of the file came this way.
    fn take_passage(&self, received: u64) -> Option<Passage> {
        let known = self.passage.lock().unwrap_or_else(PoisonError::into_inner).take();
        known.or_else(|| Some(Passage::default())).filter(|passage| passage.bytes() == received)
    }

    fn keep_passage(&self, passage: Option<Passage>) {
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner) = passage;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let passage = self.passage.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut files = self.turns.files();
        files.busy.remove(&self.path);
        if let Some(passage) = passage {
            files.passages.insert(std::mem::take(&mut self.path), passage);
        }
    }
}

impl Spooled {
    fn write(self: &Arc<Self>, chunk: Bytes, at: u64) -> JoinHandle<io::Result<()>> {
        let spooled = Arc::clone(self);
        tokio::task::spawn_blocking(move || spooled.file.write_all_at(&chunk, at))
    }
}

/// Writes from the start of a range and never beyond its end, and answers where it stopped. A chunk is hashed while it is written.
async fn write_within<S, E>(
    spooled: &Arc<Spooled>,
    range: Range<u64>,
    stream: S,
    mut passage: Option<&mut Passage>,
) -> Result<u64, UploadError>
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
        let writing = spooled.write(chunk.clone(), at);
        if let Some(passage) = &mut passage {
            passage.add(&chunk);
        }
        writing.await.map_err(io::Error::other)??;
        at += chunk.len() as u64;
        if is_too_long {
            return Err(UploadError::TooLong { size: range.end });
        }
    }
    Ok(at)
}
