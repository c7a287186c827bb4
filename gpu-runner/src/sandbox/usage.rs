//! How much of a disk a model takes: what lies in its scratch directory, and what it deleted and still holds open.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// More entries than this are not counted one by one: who makes so many is over any limit.
const ENTRIES_MAX: usize = 1_000_000;
/// The kernel counts blocks in these.
const BLOCK_BYTES: u64 = 512;

/// Bytes on the disk; `u64::MAX` for what cannot be counted: too many entries, or a folder too deep to be named.
pub(super) fn measure(scratch: &Path, processes: impl IntoIterator<Item = u32>) -> io::Result<u64> {
    let device = fs::metadata(scratch)?.dev();
    let mut counted = Counted { device, bytes: 0, entries: 0, seen: HashSet::new() };
    counted.count_beneath(scratch);
    for process in processes {
        counted.count_deleted(process);
    }
    Ok(if counted.entries > ENTRIES_MAX { u64::MAX } else { counted.bytes })
}

struct Counted {
    device: u64,
    bytes: u64,
    entries: usize,
    /// Deleted files, which several processes may hold.
    seen: HashSet<u64>,
}

impl Counted {
    /// The model goes on while this looks: what is gone by then is not counted.
    fn count_beneath(&mut self, scratch: &Path) {
        let mut folders: Vec<PathBuf> = vec![scratch.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                    self.entries = usize::MAX;
                    return;
                }
                Err(_) => continue,
                Ok(entries) => entries,
            };
            for entry in entries.flatten() {
                // Says of a link what the link is, not what it leads to.
                let Ok(kind) = entry.metadata() else { continue };
                self.bytes = self.bytes.saturating_add(kind.blocks() * BLOCK_BYTES);
                self.entries += 1;
                if self.entries > ENTRIES_MAX {
                    return;
                }
                if kind.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }

    fn count_deleted(&mut self, process: u32) {
        let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return };
        for file in open.flatten().filter_map(|entry| fs::metadata(entry.path()).ok()) {
            if file.is_file() && file.nlink() == 0 && file.dev() == self.device && self.seen.insert(file.ino()) {
                self.bytes = self.bytes.saturating_add(file.blocks() * BLOCK_BYTES);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_deleted_counts_as_long_as_it_is_open_and_links_count_as_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("link")).unwrap();
        let lying = measure(folder.path(), []).unwrap();
        assert!((100_000..200_000).contains(&lying), "{lying}");
        let mut deleted = fs::File::create(folder.path().join("deleted")).unwrap();
        deleted.write_all(&vec![1; 500_000]).unwrap();
        deleted.sync_all().unwrap();
        fs::remove_file(folder.path().join("deleted")).unwrap();
        let held = measure(folder.path(), [std::process::id()]).unwrap();
        assert!((lying + 500_000..lying + 700_000).contains(&held), "{held}");
    }
}
