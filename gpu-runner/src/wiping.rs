//! Removes what a model left, however it built it, and though it may still be at it.
//!
//! The standard library's way calls itself for each level and keeps each open: a folder that is deep enough ends the program. Here folders
//! that are not empty are moved up to the top one by one. Nothing is named by more than one step from an open directory, so that no link
//! put in a folder's place leads out, and a folder that its owner closed is opened first.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Names that folders get at the top; a model may have taken some.
const MOVED: &str = ".wiped-";

/// All names in a directory.
pub fn names_in(folder: &Path) -> io::Result<Vec<CString>> {
    let folder = openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(names(folder.as_fd()).collect::<Result<_, _>>()?)
}

/// Removes these entries of a directory with all that is in them. Blocks as long as the file system needs for them.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] after `patience`: a model that still runs may add to it faster than it is removed.
pub fn remove(folder: &Path, entries: Vec<CString>, patience: Duration) -> io::Result<()> {
    let top = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Wiping { top, waiting: entries, moved: 0, ends_at: Instant::now() + patience }.run()?)
}

struct Wiping {
    top: OwnedFd,
    /// Names at the top.
    waiting: Vec<CString>,
    moved: u64,
    ends_at: Instant,
}

impl Wiping {
    fn run(mut self) -> Result<(), Errno> {
        while let Some(name) = self.waiting.pop() {
            if !is_folder(unlinkat(&self.top, &name, AtFlags::empty()))? {
                continue;
            }
            let folder = match opened(self.top.as_fd(), &name) {
                Err(Errno::NOENT) => continue,
                folder => folder?,
            };
            self.empty(folder.as_fd())?;
            gone(unlinkat(&self.top, &name, AtFlags::REMOVEDIR))?;
        }
        Ok(())
    }

    fn empty(&mut self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        let listed = openat(folder, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for name in names(listed.as_fd()) {
            let name = name?;
            if Instant::now() > self.ends_at {
                return Err(Errno::TIMEDOUT);
            }
            if !is_folder(unlinkat(folder, &name, AtFlags::empty()))? {
                continue;
            }
            match unlinkat(folder, &name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => self.move_up(folder, &name)?,
                removed => gone(removed)?,
            }
        }
        Ok(())
    }

    fn move_up(&mut self, folder: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
        // Moving a folder writes to it.
        drop(opened(folder, name)?);
        loop {
            let free = CString::new(format!("{MOVED}{}", self.moved)).expect("a number has no zero byte");
            self.moved += 1;
            match renameat(folder, name, &self.top, &free) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) if Instant::now() < self.ends_at => {}
                Err(error) => return gone(Err(error)),
                Ok(()) => {
                    self.waiting.push(free);
                    return Ok(());
                }
            }
        }
    }
}

/// A folder and no link, with every right for its owner.
fn opened(at: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let folder = openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), Mode::RWXU)?;
    Ok(folder)
}

fn names(folder: BorrowedFd<'_>) -> impl Iterator<Item = Result<CString, Errno>> {
    let (entries, refusal) = match Dir::read_from(folder) {
        Ok(entries) => (Some(entries), None),
        Err(error) => (None, Some(Err(error))),
    };
    let named = entries.into_iter().flatten().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    refusal.into_iter().chain(named.filter(|name| !matches!(name.as_deref(), Ok(name) if name == c"." || name == c"..")))
}

/// Whether what could not be unlinked is a directory.
fn is_folder(unlinked: Result<(), Errno>) -> Result<bool, Errno> {
    match unlinked {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        // The second is what POSIX says.
        Err(Errno::ISDIR | Errno::PERM) => Ok(true),
        Err(error) => Err(error),
    }
}

fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const PATIENCE: Duration = Duration::from_mins(1);

    #[test]
    fn a_folder_of_any_depth_is_removed_with_few_files_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut here = openat(CWD, folder.path(), OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&here, c"deep", Mode::RWXU).unwrap();
            here = openat(&here, c"deep", OFlags::PATH, Mode::empty()).unwrap();
        }
        fs::write(folder.path().join(".wiped-0"), "taken").unwrap();
        remove(folder.path(), vec![c"deep".to_owned()], PATIENCE).unwrap();
        assert_eq!(names_in(folder.path()).unwrap(), [c".wiped-0".to_owned()]);
    }

    #[test]
    fn closed_folders_are_opened_and_links_are_not_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("precious"), "").unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir_all(closed.join("within/it")).unwrap();
        fs::write(closed.join("within/file"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), closed.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        for path in [closed.join("within"), closed.clone()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove(folder.path(), names_in(folder.path()).unwrap(), PATIENCE).unwrap();
        assert!(names_in(folder.path()).unwrap().is_empty());
        assert!(outside.path().join("precious").exists());
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let folder = tempfile::tempdir().unwrap();
        remove(folder.path(), vec![c"nothing".to_owned()], PATIENCE).unwrap();
    }
}
