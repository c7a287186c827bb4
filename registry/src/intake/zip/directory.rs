//! A zip archive's central directory: what is in it, and where. Numbers are those of PKWARE's APPNOTE 6.3.10.

use std::io::{Read, Seek, SeekFrom};

use crate::intake::archive::BadArchive;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;
pub(super) const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_BYTES: usize = 20;
const COMMENT_BYTES_MAX: usize = 65_535;
/// A hundred thousand entries with long names.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

const IS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const SIZES_FOLLOW: u16 = 1 << 3;
const IS_UTF8: u16 = 1 << 11;
const UNIX: u8 = 3;
const ZIP64_EXTRA: u16 = 1;
const UNICODE_PATH_EXTRA: u16 = 0x7075;

/// What the directory says of an entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Bytes of the content, unpacked.
    pub(crate) bytes: u64,
    pub(super) packed_bytes: u64,
    pub(super) method: u16,
    /// Where its own header lies.
    pub(super) at: u64,
    flags: u16,
    unix_mode: Option<u32>,
}

/// Where the directory lies.
struct Place {
    entries: u64,
    at: u64,
    bytes: u64,
}

/// What the archive has, and where that ends.
pub(super) struct Directory {
    pub(super) entries: Vec<Entry>,
    pub(super) at: u64,
}

pub(super) fn read(archive: &mut (impl Read + Seek), bytes: u64) -> Result<Directory, BadArchive> {
    let place = find(archive, bytes)?;
    if place.bytes > DIRECTORY_BYTES_MAX {
        return Err(BadArchive::TooMany);
    }
    archive.seek(SeekFrom::Start(place.at))?;
    let mut directory = vec![0; usize::try_from(place.bytes).expect("it is at most 64 MiB")];
    archive.read_exact(&mut directory)?;
    let (mut rest, mut entries) = (directory.as_slice(), Vec::new());
    while !rest.is_empty() {
        entries.push(next_entry(&mut rest)?);
    }
    if entries.len() as u64 != place.entries {
        return Err(BadArchive::Form("has another number of entries than it says"));
    }
    Ok(Directory { entries, at: place.at })
}

/// Reads the record that closes the archive, and the larger one before it where sizes need 64 bits.
fn find(archive: &mut (impl Read + Seek), bytes: u64) -> Result<Place, BadArchive> {
    const NO_END: BadArchive = BadArchive::Form("has no directory at its end");
    let tail_bytes = bytes.min((END_BYTES + COMMENT_BYTES_MAX + LOCATOR_BYTES + END_64_BYTES) as u64);
    archive.seek(SeekFrom::Start(bytes - tail_bytes))?;
    let mut tail = vec![0; usize::try_from(tail_bytes).expect("it is some 64 KiB")];
    archive.read_exact(&mut tail)?;
    let begins = tail.windows(END_BYTES).enumerate().filter(|(_, record)| record.starts_with(b"PK\x05\x06"));
    let fits = |(at, record): &(usize, &[u8])| at + END_BYTES + usize::from(u16_at(record, 20)) == tail.len();
    let ends: Vec<(usize, &[u8])> = begins.filter(|record| fits(record)).collect();
    let last = tail.windows(4).rposition(|window| window == b"PK\x05\x06").ok_or(NO_END)?;
    let (at, end) = match ends[..] {
        // Some look for it from the end, and do not ask whether what follows is its comment.
        [(at, end)] if at == last => (at, end),
        [] => return Err(BadArchive::Form("goes on after its end")),
        _ => return Err(BadArchive::Form("could end at two places")),
    };
    let mut place = Place { entries: u16_at(end, 10).into(), at: u32_at(end, 16).into(), bytes: u32_at(end, 12).into() };
    let mut is_on_one_disk = u16_at(end, 4) == 0 && u16_at(end, 6) == 0 && u16_at(end, 8) == u16_at(end, 10);
    let mut directory_end = bytes - tail_bytes + at as u64;
    if at >= LOCATOR_BYTES && tail[at - LOCATOR_BYTES..].starts_with(b"PK\x06\x07") {
        let end = at.checked_sub(LOCATOR_BYTES + END_64_BYTES).map(|at| &tail[at..at + END_64_BYTES]);
        let end = end.filter(|end| end.starts_with(b"PK\x06\x06")).ok_or(NO_END)?;
        directory_end -= (LOCATOR_BYTES + END_64_BYTES) as u64;
        if u64_at(&tail[at - LOCATOR_BYTES..], 8) != directory_end {
            return Err(NO_END);
        }
        is_on_one_disk = u32_at(end, 16) == 0 && u32_at(end, 20) == 0 && u64_at(end, 24) == u64_at(end, 32);
        let wide = Place { entries: u64_at(end, 32), at: u64_at(end, 48), bytes: u64_at(end, 40) };
        let agrees = |narrow: u64, wide: u64, max: u64| narrow == max || narrow == wide;
        if !agrees(place.entries, wide.entries, u16::MAX.into())
            || !agrees(place.at, wide.at, u32::MAX.into())
            || !agrees(place.bytes, wide.bytes, u32::MAX.into())
        {
            return Err(BadArchive::Form("has two directories"));
        }
        place = wide;
    }
    if !is_on_one_disk {
        return Err(BadArchive::Form("is a part of several"));
    }
    if place.at.checked_add(place.bytes) != Some(directory_end) {
        return Err(BadArchive::Form("has a directory that does not lie where it says"));
    }
    Ok(place)
}

fn next_entry(rest: &mut &[u8]) -> Result<Entry, BadArchive> {
    const BROKEN: BadArchive = BadArchive::Form("has a directory that cannot be read");
    let (header, after) = rest.split_at_checked(CENTRAL_BYTES).filter(|(header, _)| header.starts_with(b"PK\x01\x02")).ok_or(BROKEN)?;
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(header, at)));
    let (name, after) = after.split_at_checked(lengths[0]).ok_or(BROKEN)?;
    let (extra, after) = after.split_at_checked(lengths[1]).ok_or(BROKEN)?;
    *rest = after.get(lengths[2]..).ok_or(BROKEN)?;
    let name = str::from_utf8(name).map_err(|_| BadArchive::Form("has a name that is not UTF-8"))?.to_owned();
    let flags = u16_at(header, 8);
    if !name.is_ascii() && flags & IS_UTF8 == 0 {
        return Err(BadArchive::entry(&name, "does not say that its name is UTF-8"));
    }
    let mut sizes = [24, 20, 42].map(|at| u64::from(u32_at(header, at)));
    read_extra(extra, &name, &mut sizes)?;
    let unix_mode = (header[5] == UNIX).then(|| u32_at(header, 38) >> 16);
    let [bytes, packed_bytes, at] = sizes;
    Ok(Entry { name, bytes, packed_bytes, method: u16_at(header, 10), at, flags, unix_mode })
}

/// Fills in what needed 64 bits.
fn read_extra(mut extra: &[u8], name: &str, sizes: &mut [u64; 3]) -> Result<(), BadArchive> {
    let mut is_wide = false;
    // Some tools fill up with less than a field.
    while extra.len() >= 4 {
        let (kind, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let field = extra.get(4..4 + length).ok_or_else(|| BadArchive::entry(name, "has fields that cannot be read"))?;
        extra = &extra[4 + length..];
        if kind == UNICODE_PATH_EXTRA && field.get(5..) != Some(name.as_bytes()) {
            return Err(BadArchive::entry(name, "has another name in its fields"));
        }
        if kind == ZIP64_EXTRA {
            if std::mem::replace(&mut is_wide, true) {
                return Err(BadArchive::entry(name, "tells its sizes twice"));
            }
            let mut wide = field.chunks_exact(8).map(|chunk| u64_at(chunk, 0));
            for size in sizes.iter_mut().filter(|size| **size == u64::from(u32::MAX)) {
                *size = wide.next().ok_or_else(|| BadArchive::entry(name, "has fields that cannot be read"))?;
            }
        }
    }
    Ok(())
}

/// The lengths of the name and of the fields that follow an entry's own header.
pub(super) fn check_local(header: &[u8; LOCAL_BYTES], entry: &Entry) -> Result<(usize, usize), BadArchive> {
    let differs = |why| Err(BadArchive::entry(&entry.name, why));
    if !header.starts_with(b"PK\x03\x04") {
        return differs("is not where the directory says");
    }
    if u16_at(header, 8) != entry.method || (u16_at(header, 6) ^ entry.flags) & (IS_ENCRYPTED | IS_UTF8) != 0 {
        return differs("has another form before its content");
    }
    let says = |at: usize, size: u64| {
        let narrow = u64::from(u32_at(header, at));
        narrow == size || narrow == u64::from(u32::MAX) || (narrow == 0 && u16_at(header, 6) & SIZES_FOLLOW != 0)
    };
    if !says(18, entry.packed_bytes) || !says(22, entry.bytes) {
        return differs("has another size before its content");
    }
    Ok((u16_at(header, 26).into(), u16_at(header, 28).into()))
}

impl Entry {
    pub(super) fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// A file or a folder, and nothing that cannot be looked into.
    pub(super) fn require_plain(&self) -> Result<(), BadArchive> {
        const KIND: u32 = 0o170_000;
        let wanted = if self.is_folder() { 0o040_000 } else { 0o100_000 };
        let why = match (self.unix_mode.map(|mode| mode & KIND), self.method) {
            _ if self.flags & IS_ENCRYPTED != 0 => "is encrypted",
            (Some(0o120_000), _) => "is a link",
            (Some(kind), _) if kind != 0 && kind != wanted => "is neither a file nor a folder",
            _ if self.is_folder() && self.bytes > 0 => "is a folder with content",
            (_, STORED) if self.bytes != self.packed_bytes => "is not as long as it says",
            (_, STORED | DEFLATED) => return Ok(()),
            _ => "is packed in a way that cannot be looked into: use deflate",
        };
        Err(BadArchive::entry(&self.name, why))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
