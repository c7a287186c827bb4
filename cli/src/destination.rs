//! The folder that a version is pulled into: nothing is written outside of it, whatever the manifest says and whatever links lie in it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::Digest;
use protocol::manifest::VersionFile;
use protocol::paths::{BadPath, check_paths};
use sha2::{Digest as _, Sha256};

/// Holds what has not arrived whole, so that the next pull goes on with it.
const PARTS: &str = ".feira-pull";
const READ_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    #[error("the version is refused: {0}")]
    Path(#[from] BadPath),
    #[error("{path} leads out of the folder by a link; nothing was written there")]
    Link { path: String },
    #[error("{path} is there already with another content; --force replaces it")]
    Differs { path: String },
    #[error("{path} cannot be written")]
    Write { path: String, source: io::Error },
}

/// What to do where a file is there already with another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Replace,
}

#[derive(Debug)]
pub struct Destination {
    root: PathBuf,
}

impl Destination {
    /// Makes the folder if it is not there. Every path is checked before anything is written.
    pub fn open(root: &Path, files: &[VersionFile]) -> Result<Self, DestinationError> {
        check_paths(files.iter().map(|file| file.path.as_str()))?;
        // A file of the version that lay among the unfinished ones would be cleared away with them.
        if let Some(file) = files.iter().find(|file| file.path == PARTS || file.path.starts_with(&format!("{PARTS}/"))) {
            return Err(BadPath { path: file.path.clone(), why: "is where what has not arrived whole is kept" }.into());
        }
        let destination = Self { root: root.to_owned() };
        destination.require_inside(&format!("{PARTS}/x"))?;
        destination.folder(PARTS).map_err(|source| written(&root.display().to_string(), source))?;
        Ok(destination)
    }

    /// Whether a file is there as the version has it. One that differs is an error unless it may be replaced.
    pub fn has(&self, file: &VersionFile, existing: Existing) -> Result<bool, DestinationError> {
        self.require_inside(&file.path)?;
        let at = self.root.join(&file.path);
        match fs::symlink_metadata(&at) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(source) => Err(written(&file.path, source)),
            Ok(found) => {
                let same = found.is_file()
                    && found.len() == file.size
                    && digest_of(&at).map_err(|source| written(&file.path, source))? == file.digest;
                if same || existing == Existing::Replace { Ok(same) } else { Err(DestinationError::Differs { path: file.path.clone() }) }
            }
        }
    }

    /// Where the bytes of a blob gather until they are whole.
    pub fn part(&self, digest: &Digest) -> PathBuf {
        self.root.join(PARTS).join(digest.hex())
    }

    /// Puts a blob that has arrived whole at the paths of the files that it is.
    pub fn place(&self, files: &[&VersionFile]) -> Result<(), DestinationError> {
        for (index, file) in files.iter().enumerate() {
            self.require_inside(&file.path)?;
            let write = || {
                self.folder(Path::new(&file.path).parent().and_then(Path::to_str).unwrap_or_default())?;
                let mut whole = self.part(&file.digest);
                if index + 1 < files.len() {
                    // Beside its place first, so that a file is never there by half.
                    let copy = whole.with_extension("copy");
                    fs::copy(&whole, &copy)?;
                    whole = copy;
                }
                fs::rename(whole, self.root.join(&file.path))
            };
            write().map_err(|source| written(&file.path, source))?;
        }
        Ok(())
    }

    /// Clears away what only an unfinished pull needs.
    pub fn finish(self) -> Result<(), DestinationError> {
        fs::remove_dir_all(self.root.join(PARTS)).map_err(|source| written(PARTS, source))
    }

    fn folder(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(path))
    }

    /// No folder on the way may be a link: it could lead anywhere.
    fn require_inside(&self, path: &str) -> Result<(), DestinationError> {
        let mut at = self.root.clone();
        for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
            at.push(part);
            if fs::symlink_metadata(&at).is_ok_and(|found| found.is_symlink()) {
                return Err(DestinationError::Link { path: path.to_owned() });
            }
        }
        Ok(())
    }
}

fn written(path: &str, source: io::Error) -> DestinationError {
    DestinationError::Write { path: path.to_owned(), source }
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &[u8]) -> VersionFile {
        VersionFile { path: path.to_owned(), digest: Digest::of(content), size: content.len() as u64 }
    }

    #[test]
    fn titles_that_lead_outside_are_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../escape", "/etc/passwd", "a/../../b", "a\\b", "", "a//b", ".feira-pull/x", ".feira-pull"] {
            let root = folder.path().join("pulled");
            let refused = Destination::open(&root, &[file("fine", b""), file(path, b"")]);
            assert!(matches!(refused, Err(DestinationError::Path(_))), "{path}: {refused:?}");
            assert!(!root.exists(), "{path}");
        }
    }

    #[test]
    fn a_link_in_the_folder_is_not_followed_out_of_it() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("weights")).unwrap();
        let file = file("weights/model.bin", b"bytes");
        let destination = Destination::open(folder.path(), std::slice::from_ref(&file)).unwrap();
        fs::write(destination.part(&file.digest), b"bytes").unwrap();
        assert!(matches!(destination.has(&file, Existing::Replace), Err(DestinationError::Link { .. })));
        assert!(matches!(destination.place(&[&file]), Err(DestinationError::Link { .. })));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_differs_is_replaced_only_when_asked_and_a_link_is_replaced_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "mine").unwrap();
        std::os::unix::fs::symlink("mine", folder.path().join("link")).unwrap();
        let (plain, link) = (file("mine", b"theirs"), file("link", b"theirs"));
        let destination = Destination::open(folder.path(), &[plain.clone(), link.clone()]).unwrap();
        assert!(matches!(destination.has(&plain, Existing::Keep), Err(DestinationError::Differs { .. })));
        assert!(!destination.has(&link, Existing::Replace).unwrap());
        fs::write(destination.part(&link.digest), b"theirs").unwrap();
        destination.place(&[&link]).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("mine")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(folder.path().join("link")).unwrap(), "theirs");
        assert!(destination.has(&link, Existing::Keep).unwrap());
        destination.finish().unwrap();
        assert!(!folder.path().join(PARTS).exists());
    }
}
