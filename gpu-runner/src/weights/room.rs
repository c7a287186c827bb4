//! Makes room for files that are to come: what nobody uses goes, the least recently used version first.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::statvfs::statvfs;
use protocol::Digest;

use super::blobs::{digest_of, is_nobodys};
use super::project::{is_unfinished, remove, retire};
use super::{Cache, FetchError};

/// Lets versions go until all that is here and all that is under way fit. Lasts as long as a look at every blob, and at every file that goes.
///
/// # Errors
/// [`FetchError::Full`] when what is in use is more than may be kept.
pub(super) fn make(cache: &Cache) -> Result<(), FetchError> {
    let mut shelf = Shelf::look(cache)?;
    if shelf.bytes > cache.bytes_max {
        shelf.clear_quarantine()?;
        shelf.clear_unfinished()?;
        shelf.remove_loose(&shelf.by_inode.values().copied().collect::<Vec<_>>())?;
    }
    for folder in least_recently_used_first(&cache.projects)? {
        if shelf.bytes <= cache.bytes_max {
            break;
        }
        shelf.remove_folder(&folder)?;
    }
    if shelf.bytes > cache.bytes_max {
        return Err(FetchError::Full { needed: shelf.bytes, bytes_max: cache.bytes_max });
    }
    Ok(())
}

/// How much to keep where nobody said: four fifths of what is free, or is taken by the blobs that are here.
pub(super) fn bytes_max(blobs: &Path) -> io::Result<u64> {
    let disk = statvfs(blobs)?;
    let here: u64 = files_in(blobs)?.iter().map(fs::Metadata::len).sum();
    Ok((disk.blocks_available() * disk.fragment_size() + here) / 5 * 4)
}

/// What lies on the disk.
struct Shelf<'a> {
    cache: &'a Cache,
    by_inode: HashMap<u64, Digest>,
    /// Of blobs that are here whole or in part, in quarantine, or under way; each counted once.
    bytes: u64,
}

impl<'a> Shelf<'a> {
    fn look(cache: &'a Cache) -> io::Result<Self> {
        let mut sizes = cache.leases.sizes();
        let mut by_inode = HashMap::new();
        for shard in fs::read_dir(cache.blobs.directory())? {
            let shard = shard?.path();
            // Besides the two digits there are two folders with names.
            if shard.file_name().is_none_or(|name| name.len() != 2) {
                continue;
            }
            for entry in fs::read_dir(shard)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                let Some(digest) = digest_of(&entry) else { continue };
                by_inode.insert(metadata.ino(), digest);
                sizes.insert(digest, metadata.len());
            }
        }
        for unfinished in fs::read_dir(cache.blobs.unfinished())? {
            let unfinished = unfinished?;
            if let Some(digest) = digest_of(&unfinished) {
                sizes.entry(digest).or_insert(unfinished.metadata()?.len());
            }
        }
        let mut bytes = sizes.into_values().sum();
        for wrong in fs::read_dir(cache.blobs.quarantine())? {
            bytes += wrong?.metadata()?.len();
        }
        Ok(Self { cache, by_inode, bytes })
    }

    fn clear_quarantine(&mut self) -> io::Result<()> {
        for wrong in fs::read_dir(self.cache.blobs.quarantine())? {
            let wrong = wrong?;
            let bytes = wrong.metadata()?.len();
            fs::remove_file(wrong.path())?;
            self.bytes -= bytes;
        }
        Ok(())
    }

    /// What broke off and nobody waits for.
    fn clear_unfinished(&mut self) -> io::Result<()> {
        for unfinished in fs::read_dir(self.cache.blobs.unfinished())? {
            let unfinished = unfinished?;
            let (path, bytes) = (unfinished.path(), unfinished.metadata()?.len());
            let Some(digest) = digest_of(&unfinished).filter(|_| is_nobodys(&path)) else { continue };
            if self.cache.leases.unless_blob_in_use(&digest, || fs::remove_file(&path))?.is_some() {
                self.bytes -= bytes;
            }
        }
        Ok(())
    }

    /// A version with the blobs that are of no other.
    fn remove_folder(&mut self, folder: &Path) -> io::Result<()> {
        let Some(retired) = self.cache.leases.unless_folder_in_use(folder, || retire(folder))? else { return Ok(()) };
        tracing::info!(project = %folder.display(), "a version's files were not used for long and make room");
        let files = files_in(&retired)?;
        remove(&retired)?;
        let blobs: Vec<Digest> = files.iter().filter_map(|file| self.by_inode.get(&file.ino()).copied()).collect();
        self.remove_loose(&blobs)
    }

    /// Of these blobs, those that no folder has.
    fn remove_loose(&mut self, blobs: &[Digest]) -> io::Result<()> {
        for digest in blobs {
            let path = self.cache.blobs.path(digest);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let is_loose = metadata.nlink() == 1;
            if is_loose && self.cache.leases.unless_blob_in_use(digest, || fs::remove_file(&path))?.is_some() {
                self.bytes -= metadata.len();
            }
        }
        Ok(())
    }
}

fn least_recently_used_first(projects: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(projects)? {
        let entry = entry?;
        if !is_unfinished(&entry.path()) {
            folders.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    folders.sort();
    Ok(folders.into_iter().map(|(_, folder)| folder).collect())
}

fn files_in(folder: &Path) -> io::Result<Vec<fs::Metadata>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(metadata);
            }
        }
    }
    Ok(files)
}
