//! The processes beneath the launcher: it reaps those that end, and in the end ends the rest.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Mutex;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::confined::Exit;
use super::spec::Walls;

/// The launcher must be the reaper of orphans: the first process of a pid namespace, or a declared subreaper.
#[derive(Debug)]
pub(super) struct Tree {
    model: Pid,
    /// Held while reaping and while killing, so that no number is killed that has gone to another process.
    reaping: Mutex<()>,
}

impl Tree {
    pub(super) fn of(model: Pid) -> Self {
        Self { model, reaping: Mutex::new(()) }
    }

    /// Reaps what ends until the model itself has ended.
    pub(super) fn wait_for_model(&self) -> Exit {
        loop {
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Err(Errno::EINTR) => {}
                Err(_) => return Exit::KILLED,
                Ok(ended) => {
                    if let Some(exit) = ended.pid().and_then(|pid| self.reap(pid)) {
                        return exit;
                    }
                }
            }
        }
    }

    /// The end of the model, if it is the one that ended.
    fn reap(&self, pid: Pid) -> Option<Exit> {
        let _held = self.reaping.lock().ok()?;
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG)).ok()?;
        (pid == self.model).then(|| Exit::of(status))
    }

    /// Kills and reaps everything: children of the killed become the launcher's own, so it goes on until there are none.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        let _held = self.reaping.lock().map_err(|_| io::ErrorKind::Other)?;
        loop {
            let children = children()?;
            if children.is_empty() {
                return Ok(());
            }
            for child in &children {
                kill(*child, Signal::SIGKILL).or_else(|error| if error == Errno::ESRCH { Ok(()) } else { Err(error) })?;
            }
            for child in children {
                waitpid(child, None).ok();
            }
        }
    }
}

impl Tree {
    /// Sends all processes of the model a signal. In a pid namespace the kernel sends it to all that there are at one moment, and one that was
    /// just being made is not made. Without one the tree is walked until a walk finds nobody new: what stops makes no more.
    pub(super) fn signal_all(&self, signal: Signal, walls: Walls) -> io::Result<()> {
        let _held = self.reaping.lock().map_err(|_| io::ErrorKind::Other)?;
        if walls != Walls::None {
            return Ok(kill(Pid::from_raw(-1), signal)?);
        }
        let mut signalled = BTreeSet::new();
        loop {
            let mut found: Vec<Pid> = children()?;
            let mut walked = 0;
            while let Some(parent) = found.get(walked).copied() {
                found.extend(children_of(parent));
                walked += 1;
            }
            found.retain(|pid| signalled.insert(*pid));
            if found.is_empty() {
                return Ok(());
            }
            for pid in found {
                kill(pid, signal).or_else(|error| if error == Errno::ESRCH { Ok(()) } else { Err(error) })?;
            }
        }
    }
}

/// Children are listed under the thread that made or adopted them.
fn children() -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
    }
    Ok(children)
}

impl Exit {
    fn of(status: WaitStatus) -> Self {
        match status {
            WaitStatus::Exited(_, code) => Self(code),
            WaitStatus::Signaled(_, signal, _) => Self(128 + signal as i32),
            _ => Self::KILLED,
        }
    }
}

/// Waits for one child.
pub(super) fn wait_for(child: Pid) -> Exit {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            Err(_) => return Exit::KILLED,
            Ok(status) => return Exit::of(status),
        }
    }
}

/// Whether a child of the model's own process has ended and was not reaped, seen from outside, by the launcher's process id.
pub(super) fn model_has_dead_child(launcher: Pid) -> bool {
    model_beneath(launcher).is_some_and(|model| children_of(model).into_iter().any(is_dead))
}

/// The first process below the launchers, of which there is one a namespace; each starts the next before it adopts any orphan.
fn model_beneath(launcher: Pid) -> Option<Pid> {
    let name = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let launchers = name(launcher)?;
    let mut below = *children_of(launcher).first()?;
    while name(below)? == launchers {
        below = *children_of(below).first()?;
    }
    Some(below)
}

/// The one process that a launcher with walls starts: the first in its namespace.
pub(super) fn first_beneath(launcher: Pid) -> Option<Pid> {
    children_of(launcher).first().copied()
}

fn children_of(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect::<Vec<_>>();
    lists.flat_map(pids).collect()
}

/// The state stands behind the name, which is in brackets and may hold anything.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}
