//! The launcher's one fork: a process enters a new pid namespace only by being born into it.
#![expect(unsafe_code, reason = "fork is unsafe in a program with threads; here it is checked that there are none")]

use std::io;

use nix::unistd::{ForkResult, fork};

/// Forks a program that has a single thread, and fails in any other.
pub(super) fn fork_alone() -> io::Result<ForkResult> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("the launcher must be alone in its process"));
    }
    // SAFETY: there is no other thread, so no lock and no allocator state can be held by one that the child lacks.
    Ok(unsafe { fork() }?)
}
