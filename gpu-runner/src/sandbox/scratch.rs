//! A model's only writable directory: made for its user alone, removed at the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::time::Duration;

use crate::wiping;

/// For the file system to remove what a model that has ended left.
const WIPE_MAX: Duration = Duration::from_hours(1);

/// Makes the directory, owned by `owner` when there is one to give it to.
pub(super) fn make(scratch: &Path, owner: Option<u32>) -> io::Result<()> {
    if let Some(parent) = scratch.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(scratch) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    owner.map_or(Ok(()), |owner| chown(scratch, Some(owner), Some(owner)))
}

/// Removes a scratch directory of an instance that has ended; one that is not there is removed already.
pub async fn wipe(scratch: &Path) -> io::Result<()> {
    let scratch = scratch.to_owned();
    let removed = tokio::task::spawn_blocking(move || {
        wiping::remove(&scratch, wiping::names_in(&scratch)?, WIPE_MAX)?;
        fs::remove_dir(&scratch)
    });
    match removed.await? {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
