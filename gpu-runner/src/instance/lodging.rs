//! The directories that one instance has for itself, from before it starts until after its end.

use std::path::PathBuf;

use crate::sandbox::wipe;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lodging {
    /// Its `/tmp` and home.
    pub scratch: PathBuf,
    /// Where a zygote finds its version's files, which all other instances of the version share.
    pub project: Option<PathBuf>,
}

impl Lodging {
    /// Removes what is left of an instance that is gone.
    pub async fn clear(&self) {
        for directory in [Some(&self.scratch), self.project.as_ref()].into_iter().flatten() {
            if let Err(error) = wipe(directory).await {
                tracing::warn!(directory = %directory.display(), %error, "a directory of an instance was not removed");
            }
        }
    }
}
