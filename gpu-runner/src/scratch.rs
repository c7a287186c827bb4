//! Where a model may write, between two predictions: what `setup` left stays, what a prediction left goes.
//!
//! Cog deletes neither the inputs it fetched nor `coglet/predictions/<id>`; whatever one caller's prediction wrote would lie there for the next.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::wiping;

/// A model that writes faster than it can be wiped is not used again.
const SWEEP_MAX: Duration = Duration::from_secs(10);

/// The directories of one instance, each with what is to stay in it.
#[derive(Clone, Debug)]
pub struct Scratch(Vec<(PathBuf, HashSet<CString>)>);

impl Scratch {
    /// Remembers what lies there now. Reads each directory once.
    pub async fn keep_what_is_in(folders: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let folders: Vec<PathBuf> = folders.into_iter().collect();
        tokio::task::spawn_blocking(move || {
            let kept = |folder: PathBuf| Ok((folder.clone(), wiping::names_in(&folder)?.into_iter().collect()));
            folders.into_iter().map(kept).collect::<io::Result<_>>().map(Self)
        })
        .await?
    }

    /// Removes what came since. Takes as long as the file system needs for what the model wrote.
    pub async fn sweep(&self) -> io::Result<()> {
        let scratch = self.clone();
        tokio::task::spawn_blocking(move || scratch.remove_new()).await?
    }

    fn remove_new(&self) -> io::Result<()> {
        for (folder, kept) in &self.0 {
            let mut new = match wiping::names_in(folder) {
                // The instance has ended, and what was its own with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                names => names?,
            };
            new.retain(|name| !kept.contains(name));
            wiping::remove(folder, new, SWEEP_MAX)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn what_setup_left_stays_and_what_a_prediction_left_goes() {
        let (folder, memory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("precious"), "").unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        let scratch = Scratch::keep_what_is_in([folder.path().to_owned(), memory.path().to_owned()]).await.unwrap();
        fs::create_dir_all(folder.path().join("coglet/predictions/p1/inputs")).unwrap();
        fs::write(folder.path().join("input.png"), "").unwrap();
        fs::write(memory.path().join("left"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        scratch.sweep().await.unwrap();
        assert_eq!(wiping::names_in(folder.path()).unwrap(), [c"cache".to_owned()]);
        assert!(wiping::names_in(memory.path()).unwrap().is_empty());
        assert!(outside.path().join("precious").exists());
    }
}
