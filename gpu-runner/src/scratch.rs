//! A model's scratch directory between two predictions: what `setup` left stays, what a prediction left goes.
//!
//! Cog deletes neither the inputs it fetched nor `coglet/predictions/<id>`; whatever one caller's prediction wrote would lie there for the next.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

#[derive(Clone, Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: HashSet<OsString>,
}

impl Scratch {
    /// Remembers what lies there now. Reads one directory.
    pub async fn keep_what_is_in(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || {
            let kept = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
            Ok(Self { path, kept })
        })
        .await?
    }

    /// Removes what came since. Takes as long as the file system needs for what the model wrote.
    pub async fn sweep(&self) -> io::Result<()> {
        let scratch = self.clone();
        tokio::task::spawn_blocking(move || scratch.remove_new()).await?
    }

    /// Follows no link, whatever a model that still runs puts in the place of what was seen.
    fn remove_new(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if self.kept.contains(&entry.file_name()) {
                continue;
            }
            let removed = if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_setup_left_stays_and_what_a_prediction_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "").unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        let scratch = Scratch::keep_what_is_in(folder.path()).await.unwrap();
        fs::create_dir_all(folder.path().join("coglet/predictions/p1/inputs")).unwrap();
        fs::write(folder.path().join("input.png"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        scratch.sweep().await.unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, vec![OsString::from("cache")]);
        assert!(outside.path().join("precious").exists());
    }
}
