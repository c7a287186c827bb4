//! Reads a zip archive's directory, and refuses what two unpackers would read differently.

mod directory;

use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;

use crate::intake::archive::{BadArchive, Entries, unpacked_bytes_max};
pub(super) use directory::Entry;
use directory::{DEFLATED, Directory, LOCAL_BYTES, STORED};

/// Checks an archive of so many bytes: its directory, each entry's own header, and how much the entries unpack to.
pub(super) fn check(mut archive: impl Read + Seek, bytes: u64) -> Result<(), BadArchive> {
    let Directory { entries: listed, at: directory_at } = directory::read(&mut archive, bytes)?;
    let mut entries = Entries::default();
    let mut left = unpacked_bytes_max(bytes);
    for entry in &listed {
        if entry.is_folder() {
            entries.add_folder(&entry.name)?;
        } else {
            entries.add_file(&entry.name)?;
        }
        entry.require_plain()?;
        left = left.checked_sub(entry.bytes).ok_or(BadArchive::TooLarge { bytes_max: unpacked_bytes_max(bytes) })?;
    }
    let mut spans = Vec::with_capacity(listed.len());
    for entry in &listed {
        let content_at = local_content(&mut archive, entry)?;
        spans.push((entry.at, content_at + entry.packed_bytes, &entry.name));
        measure(&mut archive, entry, content_at)?;
    }
    check_spans(spans, directory_at)
}

/// The entries of an archive as its directory lists them.
pub(super) fn entries(archive: &mut (impl Read + Seek), bytes: u64) -> Result<Vec<Entry>, BadArchive> {
    Ok(directory::read(archive, bytes)?.entries)
}

/// An entry's content, unpacked.
pub(super) fn open<'a>(archive: &'a mut (impl Read + Seek), entry: &Entry) -> Result<Box<dyn Read + 'a>, BadArchive> {
    let content_at = local_content(archive, entry)?;
    archive.seek(SeekFrom::Start(content_at))?;
    let packed = archive.take(entry.packed_bytes);
    Ok(match entry.method {
        DEFLATED => Box::new(DeflateDecoder::new(packed)),
        _ => Box::new(packed),
    })
}

/// Where the content begins; the header before it says the same as the directory.
fn local_content(archive: &mut (impl Read + Seek), entry: &Entry) -> Result<u64, BadArchive> {
    archive.seek(SeekFrom::Start(entry.at))?;
    let mut header = [0; LOCAL_BYTES];
    archive.read_exact(&mut header)?;
    let (name_bytes, extra_bytes) = directory::check_local(&header, entry)?;
    let mut name = vec![0; name_bytes];
    archive.read_exact(&mut name)?;
    if name != entry.name.as_bytes() {
        return Err(BadArchive::entry(&entry.name, "has another name before its content"));
    }
    Ok(entry.at + (LOCAL_BYTES + name_bytes + extra_bytes) as u64)
}

/// Unpacks an entry to see that it is as long as it says. Lasts as long as unpacking; what is only stored is as long as it is.
fn measure(archive: &mut (impl Read + Seek), entry: &Entry, content_at: u64) -> Result<(), BadArchive> {
    if entry.method == STORED {
        return Ok(());
    }
    archive.seek(SeekFrom::Start(content_at))?;
    let content = DeflateDecoder::new(archive.take(entry.packed_bytes));
    let found = io::copy(&mut content.take(entry.bytes.saturating_add(1)), &mut io::sink())?;
    if found == entry.bytes { Ok(()) } else { Err(BadArchive::entry(&entry.name, "is not as long as it says")) }
}

/// Entries that share bytes are how a small archive becomes a large one.
fn check_spans(mut spans: Vec<(u64, u64, &String)>, directory_at: u64) -> Result<(), BadArchive> {
    spans.sort_unstable();
    if spans.first().is_some_and(|(from, ..)| *from > 0) {
        return Err(BadArchive::Form("has something before its first entry"));
    }
    for pair in spans.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(BadArchive::entry(pair[1].2, "lies over another"));
        }
    }
    match spans.last() {
        Some((_, end, name)) if *end > directory_at => Err(BadArchive::entry(name, "goes beyond the others")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
