//! What every archive is held to, whatever its format: its entries and how much it unpacks to.

use std::io;

use protocol::paths::Tree;

const ENTRIES_MAX: usize = 100_000;
/// Of the names of all entries together.
const NAME_BYTES_MAX: usize = 16 << 20;
/// Some minutes of a core, which is what a look costs.
const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// Deflate reaches a thousand on zeros; weights and photographs stay below two, texts below twenty.
const RATIO_MAX: u64 = 100;
/// Below it the ratio harms nobody.
const RATIO_FROM_BYTES: u64 = 64 << 20;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadArchive {
    #[error("its entry {name:?} {why}")]
    Entry { name: String, why: &'static str },
    #[error("it {0}")]
    Form(&'static str),
    #[error("it has more than {ENTRIES_MAX} entries, or their names more than {} MiB", NAME_BYTES_MAX >> 20)]
    TooMany,
    #[error("it unpacks to more than {bytes_max} bytes, which is too much for its size")]
    TooLarge { bytes_max: u64 },
    #[error("it cannot be read to its end: {0}")]
    Read(#[from] io::Error),
}

impl BadArchive {
    pub(super) fn entry(name: &str, why: &'static str) -> Self {
        Self::Entry { name: name.chars().take(200).collect(), why }
    }
}

/// What an archive of so many bytes may unpack to.
pub(super) fn unpacked_bytes_max(packed_bytes: u64) -> u64 {
    packed_bytes.saturating_mul(RATIO_MAX).clamp(RATIO_FROM_BYTES, UNPACKED_BYTES_MAX)
}

/// The entries of an archive, as they are met.
#[derive(Debug, Default)]
pub(super) struct Entries {
    tree: Tree,
    count: usize,
    name_bytes: usize,
}

impl Entries {
    pub(super) fn add_file(&mut self, name: &str) -> Result<(), BadArchive> {
        self.count(name)?;
        self.tree.add_file(below_root(name)).map_err(|why| BadArchive::entry(name, why))
    }

    pub(super) fn add_folder(&mut self, name: &str) -> Result<(), BadArchive> {
        self.count(name)?;
        match below_root(name.strip_suffix('/').unwrap_or(name)) {
            // Archivers that were told to take `.` begin with it.
            "." if self.count == 1 => Ok(()),
            folder => self.tree.add_folder(folder).map_err(|why| BadArchive::entry(name, why)),
        }
    }

    /// Refuses the next of too many.
    pub(super) fn count(&mut self, name: &str) -> Result<(), BadArchive> {
        self.count += 1;
        self.name_bytes += name.len();
        if self.count > ENTRIES_MAX || self.name_bytes > NAME_BYTES_MAX { Err(BadArchive::TooMany) } else { Ok(()) }
    }
}

fn below_root(name: &str) -> &str {
    name.strip_prefix("./").filter(|rest| !rest.is_empty()).unwrap_or(name)
}
