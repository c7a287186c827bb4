//! A launcher that waits for its order, inside its control group already: to start a program and to move it there takes several times as long
//! as all that follows the order, so one is always ready.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::task::AbortOnDropHandle;

use super::LaunchError;
use super::cgroup::{Cgroup, Cgroups};
use super::line::Line;

#[derive(Debug)]
pub(super) struct Spare {
    pub(super) launcher: Child,
    pub(super) line: Line,
    pub(super) limits: Cgroup,
}

/// Starts launchers ahead of need.
#[derive(Debug)]
pub(super) struct Spares {
    program: PathBuf,
    cgroups: Arc<Cgroups>,
    /// Ended with this.
    next: Mutex<Option<AbortOnDropHandle<Result<Spare, LaunchError>>>>,
}

impl Spares {
    pub(super) fn new(program: &Path, cgroups: Arc<Cgroups>) -> Self {
        Self { program: program.to_owned(), cgroups, next: Mutex::default() }
    }

    /// The one that is ready, or nearly so; the next one is started at the same time.
    pub(super) async fn take(&self) -> Result<Spare, LaunchError> {
        let start = || start(self.program.clone(), Arc::clone(&self.cgroups));
        let following = AbortOnDropHandle::new(tokio::spawn(start()));
        let ready = self.next.lock().unwrap_or_else(PoisonError::into_inner).replace(following);
        if let Some(ready) = ready
            && let Ok(Ok(mut spare)) = ready.await
            && let Ok(None) = spare.launcher.try_wait()
        {
            return Ok(spare);
        }
        start().await
    }
}

async fn start(program: PathBuf, cgroups: Arc<Cgroups>) -> Result<Spare, LaunchError> {
    let (ours, theirs) = UnixStream::pair().map_err(LaunchError::Launcher)?;
    let launcher = start_launcher(&program, theirs).map_err(LaunchError::Launcher)?;
    let pid = launcher.id();
    // The kernel waits for a grace period of all processors: about 10 ms.
    let hold = tokio::task::spawn_blocking(move || {
        let limits = cgroups.make()?;
        pid.map_or(Ok(()), |pid| limits.hold(pid))?;
        Ok(limits)
    });
    let limits = hold.await.map_err(io::Error::other).flatten().map_err(LaunchError::Limits)?;
    Ok(Spare { launcher, line: Line::new(ours), limits })
}

fn start_launcher(program: &Path, line: UnixStream) -> io::Result<Child> {
    let line = line.into_std()?;
    line.set_nonblocking(false)?;
    Command::new(program)
        .arg("confine")
        .env_clear()
        // A Ctrl-C in the runner's terminal is the runner's to handle.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(line)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}
