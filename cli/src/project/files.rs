//! The files of a project: which ones belong to it, and their digests, by as many threads as there are cores.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ignore::WalkBuilder;
use indicatif::ProgressBar;
use protocol::Digest;
use sha2::{Digest as _, Sha256};

use super::{ProjectError, dockerignore};
use crate::client::{Blob, Source};

/// Patterns as in a .gitignore, of what is not published.
pub(super) const IGNORE: &str = ".feiraignore";
/// What no version needs; `.env` because it holds secrets where it exists.
const NEVER: [&str; 5] = [".git", "__pycache__", ".venv", ".cog", ".env"];
const FILES_MAX: usize = 10_000;
const BUFFER_BYTES: usize = 1 << 20;

/// A file of the project: its path in the version, and where it lies.
#[derive(Debug)]
pub(super) struct Listed {
    path: String,
    at: PathBuf,
}

/// Every file of the project but those that are ignored and those named in `not_files`, sorted by path.
pub(super) fn list(root: &Path, not_files: &[String]) -> Result<Vec<Listed>, ProjectError> {
    let unreadable = |source| ProjectError::File { path: root.display().to_string(), source };
    let real_root = root.canonicalize().map_err(unreadable)?;
    let docker = if root.join(IGNORE).exists() { None } else { dockerignore::read(root)? };
    let walk = WalkBuilder::new(root)
        .standard_filters(false)
        .follow_links(true)
        .add_custom_ignore_filename(IGNORE)
        .filter_entry(|entry| !NEVER.iter().any(|never| entry.file_name() == OsStr::new(never)))
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| ProjectError::File { path: root.display().to_string(), source: io::Error::other(error) })?;
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let relative = entry.path().strip_prefix(root).expect("the walk stays below its root");
        let path = relative.to_str().ok_or_else(|| ProjectError::Name(relative.display().to_string()))?.to_owned();
        if docker.as_ref().is_some_and(|patterns| dockerignore::leaves_out(patterns, &path)) {
            continue;
        }
        // Following a link into somebody's home would publish what is found there.
        let real = entry.path().canonicalize().map_err(|source| ProjectError::File { path: path.clone(), source })?;
        if !real.starts_with(&real_root) {
            return Err(ProjectError::Outside(path));
        }
        if !not_files.contains(&path) {
            files.push(Listed { path, at: entry.into_path() });
        }
        if files.len() > FILES_MAX {
            return Err(ProjectError::TooManyFiles(FILES_MAX));
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads every file once. Blocking, for as long as the disk takes.
pub(super) fn hash(files: &[Listed], bar: &ProgressBar) -> Result<Vec<Blob>, ProjectError> {
    let next = AtomicUsize::new(0);
    let hashed = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let blob = hash_one(file, &mut buffer, bar).map_err(|source| ProjectError::File { path: file.path.clone(), source })?;
            hashed.lock().unwrap_or_else(PoisonError::into_inner).push(blob);
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(files.len().max(1));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("hashing does not panic"))
    })?;
    Ok(hashed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn hash_one(file: &Listed, buffer: &mut [u8], bar: &ProgressBar) -> io::Result<Blob> {
    let mut content = File::open(&file.at)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    loop {
        let read = content.read(buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
        bar.inc(read as u64);
    }
    let digest = Digest::from_bytes(hasher.finalize().into());
    Ok(Blob { digest, size, label: file.path.clone(), source: Source::File(file.at.clone()) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(root: &Path, not_files: &[String]) -> Vec<String> {
        list(root, not_files).unwrap().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn what_is_ignored_is_not_published() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["predict.py", ".hidden", ".git/config", "a/__pycache__/x.pyc", "data/big.bin", "data/small.bin", "notes.txt", ".env"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), path).unwrap();
        }
        fs::write(root.join(IGNORE), "data/*\n!data/small.bin\n").unwrap();
        let not_files = [IGNORE.to_owned(), "notes.txt".to_owned()];
        assert_eq!(paths(root, &not_files), [".hidden", "data/small.bin", "predict.py"]);
    }

    #[test]
    fn a_dockerignore_counts_where_there_is_no_feiraignore() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (path, content) in [("predict.py", ""), ("data.bin", ""), (".dockerignore", "data.bin\n")] {
            fs::write(root.join(path), content).unwrap();
        }
        assert_eq!(paths(root, &[]), [".dockerignore", "predict.py"]);
        fs::write(root.join(IGNORE), "").unwrap();
        assert_eq!(paths(root, &[IGNORE.to_owned()]), [".dockerignore", "data.bin", "predict.py"]);
    }

    #[test]
    fn a_link_is_followed_only_within_the_project() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("project");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("real"), "x").unwrap();
        symlink("real", root.join("link")).unwrap();
        assert_eq!(paths(&root, &[]), ["link", "real"]);
        fs::write(dir.path().join("secret"), "x").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        assert!(matches!(list(&root, &[]), Err(ProjectError::Outside(path)) if path == "out"));
    }

    #[test]
    fn every_file_is_hashed_once() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..50 {
            fs::write(dir.path().join(format!("{number:02}")), format!("{number}")).unwrap();
        }
        let bar = ProgressBar::hidden();
        let mut blobs = hash(&list(dir.path(), &[]).unwrap(), &bar).unwrap();
        blobs.sort_by(|a, b| a.label.cmp(&b.label));
        assert_eq!(blobs.len(), 50);
        assert_eq!(blobs[7].digest, Digest::of(b"7"));
        assert_eq!(bar.position(), 90);
    }
}
