//! Reads the kernel's table of mounts.

use std::io;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`: <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Which directory of the file system is mounted.
    pub(super) root: PathBuf,
    pub(super) at: PathBuf,
    /// `ro`, `nosuid`, …, separated by commas.
    pub(super) options: String,
    pub(super) file_system: String,
    /// Of the file system itself: a control group hierarchy names its controllers here.
    pub(super) own_options: String,
}

impl Mount {
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }

    pub(super) fn is_beneath(&self, directory: &str) -> bool {
        self.at.starts_with(Path::new(directory))
    }
}

pub(super) fn read() -> io::Result<Vec<Mount>> {
    Ok(std::fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    let (mounted, file_system) = line.split_once(" - ")?;
    let mut mounted = mounted.split(' ').skip(3);
    let mut file_system = file_system.split(' ');
    Some(Mount {
        root: unescape(mounted.next()?),
        at: unescape(mounted.next()?),
        options: mounted.next()?.to_owned(),
        file_system: file_system.next()?.to_owned(),
        own_options: file_system.nth(1).unwrap_or_default().to_owned(),
    })
}

/// Space, tab, line feed and backslash are written in octal.
fn unescape(path: &str) -> PathBuf {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read_with_its_escapes() {
        let line = r"36 35 98:0 /mnt1 /mnt/my\040disk rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.at, Path::new("/mnt/my disk"));
        assert!(mount.has("noatime") && !mount.has("no"));
        assert_eq!((mount.file_system.as_str(), mount.own_options.as_str()), ("ext3", "rw,errors=continue"));
    }
}
