//! A version's folder: its files by their names, as links into the cache, whole or not there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use protocol::manifest::VersionFile;
use protocol::prediction::Errand;
use protocol::wire::Bundle;
use tempfile::TempDir;

use super::blobs::Blobs;
use super::intake::{is_sealed, seal, sync_parent};
use super::{FetchError, MadeFile};

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: Vec<VersionFile>,
    made: Vec<MadeFile>,
}

/// How a folder is named until it is whole.
const UNFINISHED: &str = ".unfinished-";

impl Folder {
    /// The paths come from a publisher: one that could name anything outside the folder is refused here.
    pub(super) fn new(projects: &Path, bundle: &Bundle, errand: Errand, made: &[MadeFile]) -> Result<Self, FetchError> {
        let mut files = bundle.files.clone();
        files.retain(|file| made.iter().all(|made| made.path != file.path));
        let mut paths = files.iter().map(|file| &file.path).chain(made.iter().map(|made| &made.path));
        if let Some(path) = paths.find(|path| !stays_inside(path)) {
            return Err(FetchError::Path { path: path.clone() });
        }
        let name = match errand {
            Errand::Predict => bundle.version.to_string(),
            Errand::Train => format!("{}-train", bundle.version),
        };
        Ok(Self { path: projects.join(name), files, made: made.to_vec() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn files(&self) -> &[VersionFile] {
        &self.files
    }

    /// Whether every file is there as it was verified. A link shares its size and time with the blob.
    pub(super) fn is_whole(&self) -> bool {
        self.path.is_dir()
            && self.files.iter().all(|file| is_sealed(&self.path.join(&file.path), file.size))
            && self.made.iter().all(|made| fs::read(self.path.join(&made.path)).is_ok_and(|content| content == made.content))
    }

    /// Marks it as used now, for whoever looks for what was not used for long.
    pub(super) fn note_use(&self) -> io::Result<()> {
        let folder = fs::File::open(&self.path)?;
        Ok(futimens(&folder, &TimeSpec::UTIME_OMIT, &TimeSpec::UTIME_NOW)?)
    }

    /// Puts the folder together beside its place and moves it there.
    pub(super) fn build(&self, blobs: &Blobs) -> Result<(), FetchError> {
        let projects = self.path.parent().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
        let building = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(projects)?;
        for file in &self.files {
            let at = place(&building, &file.path)?;
            fs::hard_link(blobs.path(&file.digest), at)?;
        }
        for made in &self.made {
            let at = place(&building, &made.path)?;
            fs::write(&at, &made.content)?;
            let file = fs::File::open(&at)?;
            seal(&file)?;
            file.sync_all()?;
        }
        set_directory_modes(building.path(), 0o555)?;
        // It stood there but was not whole. Instances that have it mounted keep the files that they have open.
        remove(&self.path)?;
        fs::rename(building.keep(), &self.path)?;
        sync_parent(&self.path)?;
        Ok(())
    }
}

fn stays_inside(path: &str) -> bool {
    let plain = |component: &Component<'_>| matches!(component, Component::Normal(_));
    let components: Vec<Component<'_>> = Path::new(path).components().collect();
    // Written as it reads: no `./`, no `//`, no closing `/`.
    let written: PathBuf = components.iter().collect();
    !path.is_empty() && !path.contains('\0') && components.iter().all(plain) && written.as_os_str() == path
}

fn place(building: &TempDir, path: &str) -> io::Result<PathBuf> {
    let at = building.path().join(path);
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(at)
}

fn set_directory_modes(directory: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(mode | 0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_directory_modes(&entry.path(), mode)?;
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(mode))
}

/// Takes a folder out of sight at once; `remove_unfinished` would end what breaks off here.
pub(super) fn retire(folder: &Path) -> io::Result<PathBuf> {
    let name = folder.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let retired = folder.with_file_name(format!("{UNFINISHED}{}", name.to_string_lossy()));
    remove(&retired)?;
    fs::rename(folder, &retired)?;
    Ok(retired)
}

pub(super) fn is_unfinished(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

/// A read-only directory can be emptied by nobody but root.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    if !directory.try_exists()? {
        return Ok(());
    }
    set_directory_modes(directory, 0o755)?;
    fs::remove_dir_all(directory)
}

/// Removes folders that a runner did not finish.
pub(super) fn remove_unfinished(projects: &Path) -> io::Result<()> {
    for entry in fs::read_dir(projects)? {
        let path = entry?.path();
        if is_unfinished(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_stay_inside() {
        for good in ["predict.py", "a/b/c.bin", ".cog/openapi_schema.json", "weights/model 1.gguf", "..."] {
            assert!(stays_inside(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "..", "../x", "a/../b", "a/..", "./a", "a//b", "a/", "a/./b", "a\0b"] {
            assert!(!stays_inside(bad), "{bad}");
        }
    }
}
