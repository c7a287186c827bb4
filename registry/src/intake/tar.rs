//! Reads a tar archive's headers as every unpacker would, and refuses those that two unpackers would read differently.

mod header;
mod pax;

use std::io::{self, Read, Seek, SeekFrom};

use crate::intake::archive::{BadArchive, Entries, unpacked_bytes_max};
use header::{BLOCK_BYTES, Block, Header};
use pax::Pax;

/// More than any tool writes of it.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// Zeros after the end: tools fill up what once was a record of a tape.
const PADDING_BYTES_MAX: u64 = 1 << 20;
/// What a header's size field holds in octal digits.
const OCTAL_SIZE_MAX: u64 = (1 << 33) - 1;

/// Checks a plain archive of so many bytes; contents are passed over, not read.
pub(super) fn check_plain(archive: impl Read + Seek, bytes: u64) -> Result<(), BadArchive> {
    Tar { archive: Plain(archive), left: bytes, unpacked_bytes_max: None }.check()
}

/// Checks what is unpacked from `packed_bytes` bytes. Takes as long as unpacking.
pub(super) fn check_unpacked(archive: impl Read, packed_bytes: u64) -> Result<(), BadArchive> {
    let bytes_max = unpacked_bytes_max(packed_bytes);
    Tar { archive: Unpacked(archive), left: bytes_max, unpacked_bytes_max: Some(bytes_max) }.check()
}

/// An archive that is read from its beginning to its end.
trait Forward: Read {
    fn pass(&mut self, bytes: u64) -> io::Result<()>;
}

struct Plain<R>(R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read + Seek> Forward for Plain<R> {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
        self.0.seek(SeekFrom::Current(bytes)).map(drop)
    }
}

struct Unpacked<R>(R);

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Forward for Unpacked<R> {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink())?;
        if passed < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

struct Tar<A> {
    archive: A,
    /// Bytes that there may still be.
    left: u64,
    unpacked_bytes_max: Option<u64>,
}

/// What stands before an entry and is about it.
#[derive(Default)]
struct Before {
    pax: Option<Pax>,
    long_name: Option<String>,
}

impl<A: Forward> Tar<A> {
    fn check(mut self) -> Result<(), BadArchive> {
        let mut entries = Entries::default();
        let mut before = Before::default();
        loop {
            let block = self.block()?.ok_or(BadArchive::Form("ends without the two empty blocks that close it"))?;
            if block.is_empty() {
                if before.pax.is_some() || before.long_name.is_some() {
                    return Err(BadArchive::Form("ends after a header that is about a next entry"));
                }
                return self.check_padding();
            }
            let header = Header::read(&block)?;
            match header.kind {
                b'x' if before.pax.is_none() => before.pax = Some(Pax::read(&self.extension(&header)?)?),
                b'L' if before.long_name.is_none() => before.long_name = Some(long_name(self.extension(&header)?)?),
                b'x' | b'L' => return Err(BadArchive::Form("tells the same of an entry twice")),
                b'g' => {
                    entries.count(&header.name)?;
                    Pax::read(&self.extension(&header)?)?.require_plain()?;
                }
                kind => {
                    let (name, size) = std::mem::take(&mut before).resolve(&header)?;
                    match kind {
                        b'0' | 0 => entries.add_file(&name)?,
                        b'5' if size == 0 => entries.add_folder(&name)?,
                        kind => return Err(BadArchive::entry(&name, why_refused(kind))),
                    }
                    self.pass(size)?;
                }
            }
        }
    }

    /// The next block; `None` where the archive has ended between two of them.
    fn block(&mut self) -> Result<Option<Block>, BadArchive> {
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match self.archive.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(BadArchive::Form("ends in the middle of a block")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.spend(BLOCK_BYTES as u64)?;
        Ok(Some(Block(block)))
    }

    fn spend(&mut self, bytes: u64) -> Result<(), BadArchive> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.too_long())?;
        Ok(())
    }

    fn too_long(&self) -> BadArchive {
        match self.unpacked_bytes_max {
            Some(bytes_max) => BadArchive::TooLarge { bytes_max },
            None => BadArchive::Form("ends in the middle of an entry"),
        }
    }

    fn pass(&mut self, size: u64) -> Result<(), BadArchive> {
        let bytes = size.checked_next_multiple_of(BLOCK_BYTES as u64).ok_or_else(|| self.too_long())?;
        self.spend(bytes)?;
        Ok(self.archive.pass(bytes)?)
    }

    /// The content of an entry that is about another.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, BadArchive> {
        if header.size > EXTENSION_BYTES_MAX {
            return Err(BadArchive::Form("has an extended header of more than a mebibyte"));
        }
        let bytes = header.size.next_multiple_of(BLOCK_BYTES as u64);
        self.spend(bytes)?;
        let mut content = vec![0; usize::try_from(bytes).expect("it is at most a mebibyte")];
        self.archive.read_exact(&mut content)?;
        content.truncate(usize::try_from(header.size).expect("it is at most a mebibyte"));
        Ok(content)
    }

    /// What comes after the end some tools read on with.
    fn check_padding(&mut self) -> Result<(), BadArchive> {
        let mut bytes = 0;
        while let Some(block) = self.block()? {
            bytes += BLOCK_BYTES as u64;
            if !block.is_empty() || bytes > PADDING_BYTES_MAX {
                return Err(BadArchive::Form("goes on after its end"));
            }
        }
        if bytes == 0 { Err(BadArchive::Form("ends with one empty block where two close it")) } else { Ok(()) }
    }
}

impl Before {
    /// The one name and size that every unpacker finds.
    fn resolve(self, header: &Header) -> Result<(String, u64), BadArchive> {
        let pax = self.pax.unwrap_or_default();
        let name = match (pax.path, self.long_name) {
            (None, None) => header.name.clone(),
            (Some(_), Some(_)) => return Err(BadArchive::entry(&header.name, "has a longer name in two ways")),
            (Some(long), None) | (None, Some(long)) => {
                if Header::could_hold(&long) && long.trim_end_matches('/') != header.name.trim_end_matches('/') {
                    return Err(BadArchive::entry(&long, "has another name in its header"));
                }
                // The header has a part of it at best, which an older unpacker takes.
                if header.name.starts_with('/') || header.name.split(['/', '\\']).any(|part| part == "..") {
                    return Err(BadArchive::entry(&header.name, "leaves the folder"));
                }
                long
            }
        };
        let size = match pax.size {
            Some(size) if size != header.size && (header.size != 0 || size <= OCTAL_SIZE_MAX) => {
                return Err(BadArchive::entry(&name, "has another size in its header"));
            }
            size => size.unwrap_or(header.size),
        };
        if pax.has_link {
            return Err(BadArchive::entry(&name, "names a link's target"));
        }
        Ok((name, size))
    }
}

/// GNU's name of more than a hundred bytes, with a zero byte after it.
fn long_name(mut content: Vec<u8>) -> Result<String, BadArchive> {
    if content.last() == Some(&0) {
        content.pop();
    }
    String::from_utf8(content).map_err(|_| BadArchive::Form("has a name that is not UTF-8"))
}

fn why_refused(kind: u8) -> &'static str {
    match kind {
        b'1' | b'2' | b'K' => "is a link",
        b'3' | b'4' => "is a device",
        b'5' => "is a folder with content",
        b'6' => "is a named pipe",
        b'S' => "is a sparse file",
        _ => "is neither a file nor a folder",
    }
}

#[cfg(test)]
mod tests;
