//! What the runner orders its launcher to start.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What stands between a model and everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Walls {
    /// Namespaces made by root; every seat is a user of its own.
    OwnUser,
    /// Namespaces inside a user namespace; the kernel knows every instance as the runner's user.
    SameUser,
    None,
}

/// Where the scratch directory is inside the walls. Cog writes to `/tmp` whatever `TMPDIR` says.
const SCRATCH_INSIDE: &str = "/tmp";

impl Walls {
    pub(super) fn have_own_network(self) -> bool {
        self != Self::None
    }

    pub(super) fn scratch_inside(self, scratch: &Path) -> PathBuf {
        if self == Self::None { scratch.to_owned() } else { PathBuf::from(SCRATCH_INSIDE) }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) walls: Walls,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) project: PathBuf,
    pub(super) read_only: Vec<PathBuf>,
    pub(super) scratch: PathBuf,
    /// User and group id inside the walls; outside too when they are `OwnUser`.
    pub(super) user: u32,
    /// 0 is no limit.
    pub(super) memory_bytes_max: u64,
    /// No control group limits memory, so the process limits must.
    pub(super) memory_by_rlimit: bool,
    /// The most that one file may grow to.
    pub(super) scratch_bytes_max: u64,
    /// Whether it is held by rules of its own beside the walls.
    pub(super) fenced: bool,
    /// Device files.
    pub(super) gpus: Vec<PathBuf>,
    /// Whether the model's standard input is a socket to the runner.
    pub(super) hears: bool,
    pub(super) port: u16,
    /// Where the model reaches the runner.
    pub(super) runner_port: u16,
}

impl Spec {
    /// Whom the scratch directory is given to, when that is not the runner's own user.
    pub(super) fn owner(&self) -> Option<u32> {
        (self.walls == Walls::OwnUser).then_some(self.user)
    }

    /// What is shown at its own path inside, parents before children.
    pub(super) fn shown(&self) -> Vec<&Path> {
        let mut shown: Vec<&Path> = self.read_only.iter().chain([&self.project]).map(PathBuf::as_path).collect();
        shown.sort();
        shown.dedup();
        shown
    }
}
