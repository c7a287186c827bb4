//! One blob over the network: in ranges, several at a time, handed on in their order.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::manifest::VersionFile;
use protocol::wire::Grant;
use reqwest::StatusCode;
use reqwest::header::RANGE;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::intake::{Intake, Taken};
use super::{FetchError, blocking};

/// Few enough requests for weights of hundreds of gigabytes, and little enough to hold in memory.
pub(super) const PIECE_BYTES: u64 = 4 << 20;
/// Ranges of one blob under way: one connection alone does not fill a fast line.
const PIECES_AT_ONCE: usize = 4;
/// Pieces between network and hash: with one in hand and one ready it never waits for a line that keeps up.
const PIECES_AHEAD: usize = 2;
/// A store that says nothing for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Each piece is asked for again once where its line broke.
const TRIES: u32 = 2;

/// Where a blob comes from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) http: &'a reqwest::Client,
    pub(super) file: &'a VersionFile,
    pub(super) grant: &'a Grant,
}

impl Source<'_> {
    /// Hashes and writes each piece while later ones arrive. Cancel safe: the next fetch goes on from what was written.
    pub(super) async fn fetch(&self, intake: Intake) -> Result<(), FetchError> {
        let wanted = self.file.clone();
        let begun = blocking(move || Ok(intake.begin(&wanted)?)).await?;
        let here = begun.at();
        let (pieces, received) = mpsc::channel(PIECES_AHEAD);
        let wanted = self.file.clone();
        let taking = blocking(move || Ok(begun.take(&wanted, received)?));
        let sending = async move {
            // Dropped at its end, which is how the other side knows of it.
            let pieces = pieces;
            let mut arriving = stream::iter(ranges(here, self.file.size)).map(|range| self.fetch_piece(range)).buffered(PIECES_AT_ONCE);
            while let Some(piece) = arriving.try_next().await? {
                if pieces.send(piece).await.is_err() {
                    break; // The other side has its own reason, and says it.
                }
            }
            Ok(())
        };
        let (sent, taken): (Result<(), FetchError>, _) = tokio::join!(sending, taking);
        match taken? {
            Taken::Whole => Ok(()),
            Taken::Wrong => Err(FetchError::Mismatch { digest: self.file.digest }),
            Taken::Short => Err(sent.err().unwrap_or_else(|| self.broken("it ended early".to_owned()))),
        }
    }

    async fn fetch_piece(&self, range: Range<u64>) -> Result<Vec<Bytes>, FetchError> {
        let (mut at, mut chunks) = (range.start, Vec::new());
        let mut left = TRIES;
        loop {
            left -= 1;
            match self.read(&mut at, range.end, &mut chunks).await {
                Err(error @ FetchError::Broken { .. }) if left > 0 => {
                    tracing::warn!(blob.digest = %self.file.digest, blob.offset_bytes = at, %error, "fetching the rest of a piece");
                }
                ended => return ended.map(|()| chunks),
            }
        }
    }

    /// Adds what arrives from `at` on, which moves along.
    async fn read(&self, at: &mut u64, end: u64, chunks: &mut Vec<Bytes>) -> Result<(), FetchError> {
        let digest = self.file.digest;
        let request = self.http.get(format!("{}/runner/blobs/{digest}", self.grant.base_url)).bearer_auth(&self.grant.token);
        let is_part = *at > 0 || end < self.file.size;
        let request = if is_part { request.header(RANGE, format!("bytes={at}-{}", end - 1)) } else { request };
        let answer = timeout(SILENCE_MAX, request.send()).await.map_err(|_| self.silent())?;
        let mut answer = answer.map_err(|error| self.broken(error.without_url().to_string()))?;
        match answer.status() {
            StatusCode::OK if is_part => return Err(self.broken("the store gives no ranges".to_owned())),
            status if status.is_server_error() => return Err(self.broken(format!("status {}", status.as_u16()))),
            status if !status.is_success() => return Err(FetchError::Refused { digest, status: status.as_u16() }),
            _ => {}
        }
        // One byte too many is enough: whoever hashes them will say that they are wrong.
        while *at <= end {
            match timeout(SILENCE_MAX, answer.chunk()).await.map_err(|_| self.silent())? {
                Ok(Some(chunk)) => {
                    *at += chunk.len() as u64;
                    chunks.push(chunk);
                }
                Ok(None) => break,
                Err(_) if *at == end => break,
                Err(error) => return Err(self.broken(error.without_url().to_string())),
            }
        }
        if *at < end { Err(self.broken("it ended early".to_owned())) } else { Ok(()) }
    }

    fn broken(&self, reason: String) -> FetchError {
        FetchError::Broken { digest: self.file.digest, reason }
    }

    fn silent(&self) -> FetchError {
        self.broken(format!("nothing came for {} seconds", SILENCE_MAX.as_secs()))
    }
}

/// The pieces of a blob in order, from what is here to its end. An empty blob is one of them, and asked for as well.
fn ranges(here: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let pieces = if size == 0 { 1 } else { (size - here).div_ceil(PIECE_BYTES) };
    (0..pieces).map(move |n| here + n * PIECE_BYTES..size.min(here + (n + 1) * PIECE_BYTES))
}
