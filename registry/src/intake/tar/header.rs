//! One header of a tar archive: 512 bytes, in the form of v7, of ustar or of GNU.

use crate::intake::archive::BadArchive;

pub(super) const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

pub(super) struct Block(pub(super) [u8; BLOCK_BYTES]);

/// What of it says which entry follows.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) name: String,
    /// Bytes of content.
    pub(super) size: u64,
    /// The type flag.
    pub(super) kind: u8,
}

impl Block {
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The sum of all bytes, where those of the sum itself count as spaces.
    fn sum(&self) -> u64 {
        let all: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = self.0[148..156].iter().map(|byte| u64::from(*byte)).sum();
        all - own + 8 * u64::from(b' ')
    }
}

impl Header {
    pub(super) fn read(block: &Block) -> Result<Self, BadArchive> {
        let bytes = &block.0;
        if number(&bytes[148..156]) != Some(block.sum()) {
            return Err(BadArchive::Form("has a header whose checksum is wrong"));
        }
        // GNU keeps times where ustar keeps the beginning of a long path.
        let has_prefix = &bytes[257..263] == b"ustar\0";
        let mut name = text(&bytes[..NAME_BYTES]);
        let prefix = if has_prefix { text(&bytes[345..345 + PREFIX_BYTES]) } else { String::new() };
        if !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        let size = number(&bytes[124..136]).ok_or_else(|| BadArchive::entry(&name, "has a size that is no number"))?;
        Ok(Self { name, size, kind: bytes[156] })
    }

    /// Whether a path needs nothing beside a header: then nothing beside it may tell another. Python never splits a longer one in two.
    pub(super) fn could_hold(path: &str) -> bool {
        path.is_ascii() && path.len() <= NAME_BYTES
    }
}

/// Up to the first zero byte. A name that was cut off in a letter, or is not UTF-8 at all, has a character in it that no path may have.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Octal digits between spaces or before a zero byte, or GNU's binary form with the highest bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // What is left of the first byte is the sign, and more than fits.
        let (high, low) = field.split_at(field.len() - 8);
        let is_small = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        return is_small.then(|| low.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    }
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let digits = str::from_utf8(&field[..end]).ok()?.trim_matches(' ');
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}
