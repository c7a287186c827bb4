//! Zygotes: seats that are prepared before anybody asks, in which Cog and the packages of an environment are imported already, so that a version
//! has only to be put in its place.
//!
//! Each is used once, for one instance: no process and no directory ever serves two versions. It lies behind the same walls as every other
//! instance from before its first import, and has no file, no secret and no name of a version until one takes it.

pub mod imports;
mod inherited;
mod seat;
mod shelf;
mod shim;

use std::collections::{BTreeSet, HashSet};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::VersionId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::instance::start::Site;
use crate::memory;
pub use seat::Zygote;
use shelf::{Shelf, Unfit};

pub use shelf::Kind;
pub use shim::{cog_worker_main, is_cog_worker};

/// The processors belong to whoever waits for an instance: the next zygote is begun when the one before has had time to answer.
const QUIET: Duration = Duration::from_millis(500);
/// How often the machine's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A set that only failures fill; beyond this, versions that failed are forgotten.
const DISTRUSTED_MAX: usize = 1_000;

#[derive(Debug)]
pub struct Zygotes {
    folder: Folder,
    shelf: Mutex<Shelf<Zygote>>,
    /// Those that made room for others and are still to be ended.
    leaving: Mutex<Vec<Zygote>>,
    changed: Notify,
    made: AtomicU32,
    /// Versions that did not start from one: they start as ever.
    distrusted: Mutex<HashSet<VersionId>>,
}

/// What is shown inside beside the environment: the script, and the program that Cog finds as `python`.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    fn make(path: PathBuf, feira_exe: &Path) -> io::Result<Self> {
        seat::make_folder(&path)?;
        let folder = Self(path);
        replace(&folder.script(), |at| {
            std::fs::write(at, include_str!("zygote/zygote.py"))?;
            std::fs::set_permissions(at, Permissions::from_mode(0o644))
        })?;
        replace(&folder.0.join(shim::NAME), |at| std::os::unix::fs::symlink(feira_exe, at))?;
        Ok(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn script(&self) -> PathBuf {
        self.0.join("zygote.py")
    }
}

/// Instances of an earlier runner may still have the old one open.
fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_added_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write(&new)?;
    std::fs::rename(new, path)
}

impl Zygotes {
    /// At most so many are kept ready; with 0 there are none.
    pub fn new(home: &Path, feira_exe: &Path, zygotes_max: usize) -> io::Result<Self> {
        Ok(Self {
            folder: Folder::make(home.join("zygotes"), feira_exe)?,
            shelf: Mutex::new(Shelf::new(zygotes_max)),
            leaving: Mutex::default(),
            changed: Notify::new(),
            made: AtomicU32::new(0),
            distrusted: Mutex::default(),
        })
    }

    /// Whether the version may start from one at all.
    pub fn are_for(&self, version: &VersionId) -> bool {
        !self.shelf().is_closed() && !self.distrusted().contains(version)
    }

    /// One that is ready for a version of this kind whose own modules have these names.
    pub fn take(&self, kind: &Kind, own_modules: &BTreeSet<String>) -> Option<Zygote> {
        self.shelf().take(kind, |zygote| zygote.leaves_alone(own_modules))
    }

    /// A version of this kind has started: another will find a zygote.
    pub fn want(&self, kind: Kind) {
        let crowded_out = self.shelf().want(kind);
        self.leaving().extend(crowded_out);
        self.changed.notify_one();
    }

    /// The version did not start from a zygote, for a reason of its own or of the zygote's: next time it is not tried.
    pub fn distrust(&self, version: VersionId) {
        let mut distrusted = self.distrusted();
        if distrusted.len() == DISTRUSTED_MAX {
            distrusted.clear();
        }
        distrusted.insert(version);
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn ready(&self) -> usize {
        self.shelf().ready()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<Zygote>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<Zygote>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn distrusted(&self) -> MutexGuard<'_, HashSet<VersionId>> {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prepares what is wanted, one at a time, and lets go when memory is short. Ends with `stop`, and then all zygotes have ended.
pub async fn keep(site: Arc<Site>, stop: CancellationToken) {
    let zygotes = &site.zygotes;
    while stop.run_until_cancelled(quiet_time(zygotes)).await.is_some() {
        end_leaving(zygotes).await;
        prepare_wanted(&site, &stop).await;
        if memory::is_short() {
            let let_go = zygotes.shelf().let_go();
            zygotes.leaving().extend(let_go);
        }
    }
    while let Some(zygote) = { zygotes.shelf().let_go() } {
        zygotes.leaving().push(zygote);
    }
    end_leaving(zygotes).await;
}

/// Waits until there may be something to do, and the processors are needed less.
async fn quiet_time(zygotes: &Zygotes) {
    tokio::time::timeout(LOOK_EVERY, zygotes.changed.notified()).await.ok();
    tokio::time::sleep(QUIET).await;
}

async fn prepare_wanted(site: &Site, stop: &CancellationToken) {
    let zygotes = &site.zygotes;
    while !stop.is_cancelled() && !memory::is_short() {
        let Some(kind) = zygotes.shelf().next() else { return };
        let number = zygotes.made.fetch_add(1, Ordering::Relaxed);
        let prepared = Zygote::prepare(site, &zygotes.folder, &kind, number, stop).await;
        if let Err(Unfit { why, module }) = &prepared {
            tracing::info!(environment = %kind.environment.display(), why, module, "a zygote is not to be had, and versions start without one");
        }
        let unwanted = zygotes.shelf().prepared(&kind, prepared);
        zygotes.leaving().extend(unwanted);
    }
}

async fn end_leaving(zygotes: &Zygotes) {
    let leaving = std::mem::take(&mut *zygotes.leaving());
    futures::future::join_all(leaving.into_iter().map(Zygote::end)).await;
}
