//! The extended headers of POSIX: records that override what an entry's own header says.

use crate::intake::archive::BadArchive;

/// Those that change which file an unpacker writes.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) has_link: bool,
}

impl Pax {
    /// Reads records of the form `length keyword=value\n`, where the length is of the whole record in decimal digits.
    pub(super) fn read(content: &[u8]) -> Result<Self, BadArchive> {
        let mut pax = Self::default();
        let mut rest = content;
        while !rest.is_empty() {
            let (keyword, value) = next_record(&mut rest).ok_or(BadArchive::Form("has an extended header that cannot be read"))?;
            let twice = match keyword {
                "path" => pax.path.replace(value.to_owned()).is_some(),
                "size" => pax.size.replace(decimal(value).ok_or(BadArchive::Form("has a size that is no number"))?).is_some(),
                "linkpath" => std::mem::replace(&mut pax.has_link, true),
                "hdrcharset" if value != "ISO-IR 10646 2000 UTF-8" => {
                    return Err(BadArchive::Form("has names that are not UTF-8"));
                }
                keyword if keyword.starts_with("GNU.sparse.") => return Err(BadArchive::Form("has a sparse file")),
                _ => false,
            };
            if twice {
                return Err(BadArchive::Form("tells the same of an entry twice"));
            }
        }
        Ok(pax)
    }

    /// What holds for all entries must not say what each of them is.
    pub(super) fn require_plain(&self) -> Result<(), BadArchive> {
        if self.path.is_some() || self.size.is_some() || self.has_link {
            return Err(BadArchive::Form("gives all of its entries one name, size or target"));
        }
        Ok(())
    }
}

fn next_record<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a str)> {
    let digits = rest.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(str::from_utf8(&rest[..digits]).ok()?)?).ok()?;
    let record = rest.get(digits + 1..length)?.strip_suffix(b"\n")?;
    *rest = &rest[length..];
    str::from_utf8(record).ok()?.split_once('=')
}

/// Without the sign that Rust would take.
fn decimal(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
