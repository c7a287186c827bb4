//! Control groups, version 1 or 2: how much memory, how many processes and which share of the processors one instance may have, and whether the kernel had to step in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::mounts::{self, Mount};

/// The most processes and threads of one instance; the launcher's two and a thread pool per core of a large machine fit.
const PROCESSES_MAX: u64 = 4_096;
/// How the groups of instances are named, so that those which a dead runner left can be recognised.
const PREFIX: &str = "feira-";
/// Where a runner goes that must make room for the groups of its instances.
const OWN_GROUP: &str = "feira.runner";

/// The hierarchies in which this runner may make groups.
#[derive(Debug)]
pub(super) struct Cgroups {
    memory: Option<Hierarchy>,
    processes: Option<Hierarchy>,
    processors: Option<Hierarchy>,
    /// Groups whose last process had not gone when they were let go.
    left: Arc<Mutex<Vec<PathBuf>>>,
}

/// A directory in which groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    at: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroups {
    pub(super) fn none() -> Self {
        Self::of(None, None, None)
    }

    fn of(memory: Option<Hierarchy>, processes: Option<Hierarchy>, processors: Option<Hierarchy>) -> Self {
        Self { memory, processes, processors, left: Arc::default() }
    }

    /// Finds the runner's own groups, and keeps those in which a group can be made.
    pub(super) fn find() -> Self {
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = mounts::read().unwrap_or_default();
        let find = |controller| {
            let hierarchy = find_hierarchy(controller, &memberships, &mounts)?;
            match hierarchy.prepare(controller) {
                Ok(()) => Some(hierarchy),
                Err(error) => {
                    tracing::warn!(controller, %error, "no control group can be made");
                    None
                }
            }
        };
        Self::of(find("memory"), find("pids"), find("cpu"))
    }

    pub(super) fn limit_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn limit_processes(&self) -> bool {
        self.processes.is_some()
    }

    pub(super) fn share_processors(&self) -> bool {
        self.processors.is_some()
    }

    /// A group for one instance.
    pub(super) fn make(&self) -> io::Result<Cgroup> {
        self.remove_left();
        let name = new_name();
        let mut group = Cgroup { memory: None, processes: None, processors: None, at: Vec::new(), left: Arc::clone(&self.left) };
        if let Some(hierarchy) = &self.memory {
            let at = group.join(hierarchy, &name)?;
            group.memory = Some((at, hierarchy.version));
        }
        if let Some(hierarchy) = &self.processes {
            let at = group.join(hierarchy, &name)?;
            fs::write(at.join("pids.max"), PROCESSES_MAX.to_string())?;
            group.processes = Some(at);
        }
        if let Some(hierarchy) = &self.processors {
            // A group has the share of one process of the runner's, however many are in it.
            let at = group.join(hierarchy, &name)?;
            group.processors = Some((at, hierarchy.version));
        }
        Ok(group)
    }

    fn remove_left(&self) {
        if let Ok(mut left) = self.left.lock() {
            left.retain(|at| fs::remove_dir(at).is_err() && at.exists());
        }
    }
}

/// Unique on this machine: the runner's process and a count of its groups.
fn new_name() -> String {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    format!("{PREFIX}{}-{}", std::process::id(), NAMED.fetch_add(1, Ordering::Relaxed))
}

fn is_left_by_a_dead_runner(name: &str) -> bool {
    let runner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    runner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
}

fn find_hierarchy(controller: &str, memberships: &str, mounts: &[Mount]) -> Option<Hierarchy> {
    // `4:memory:/system.slice` in version 1, `0::/system.slice` in version 2.
    let lines = || memberships.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let one = lines().find(|(controllers, _)| controllers.split(',').any(|one| one == controller));
    if let Some((_, own)) = one {
        let mount = mounts.iter().find(|m| m.file_system == "cgroup" && m.own_options.split(',').any(|one| one == controller))?;
        return Some(Hierarchy { at: place(mount, own)?, version: Version::One });
    }
    let (_, own) = lines().find(|(controllers, _)| controllers.is_empty())?;
    let mount = mounts.iter().find(|m| m.file_system == "cgroup2")?;
    Some(Hierarchy { at: place(mount, own)?, version: Version::Two })
}

/// The directory of a group, seen through a mount that may show only part of the hierarchy.
fn place(mount: &Mount, own: &str) -> Option<PathBuf> {
    Some(mount.at.join(Path::new(own).strip_prefix(&mount.root).ok()?))
}

impl Hierarchy {
    /// Makes sure that limits can be set on groups made here, and removes what dead runners left.
    fn prepare(&self, controller: &str) -> io::Result<()> {
        if self.version == Version::Two {
            self.delegate(controller)?;
        }
        for entry in fs::read_dir(&self.at)?.flatten() {
            if is_left_by_a_dead_runner(&entry.file_name().to_string_lossy()) {
                // Fails while processes are in it: then its runner lives, and this one cannot see it.
                fs::remove_dir(entry.path()).ok();
            }
        }
        let trial = self.at.join(new_name());
        fs::create_dir(&trial)?;
        fs::remove_dir(&trial)
    }

    /// In version 2 a group gives controllers to its children only when no process is in it itself, the root excepted.
    fn delegate(&self, controller: &str) -> io::Result<()> {
        let offered = fs::read_to_string(self.at.join("cgroup.controllers"))?;
        if !offered.split_whitespace().any(|one| one == controller) {
            return Err(io::Error::other("the controller is not offered to this group"));
        }
        let enable = || fs::write(self.at.join("cgroup.subtree_control"), format!("+{controller}"));
        if enable().is_ok() {
            return Ok(());
        }
        let own = self.at.join(OWN_GROUP);
        match fs::create_dir(&own) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(own.join("cgroup.procs"), std::process::id().to_string())?;
        enable()
    }
}

impl Version {
    fn limit_memory(self, at: &Path, bytes_max: u64) -> io::Result<()> {
        let bytes = bytes_max.to_string();
        match self {
            Self::One => {
                fs::write(at.join("memory.limit_in_bytes"), &bytes)?;
                optional(fs::write(at.join("memory.memsw.limit_in_bytes"), &bytes))
            }
            Self::Two => {
                fs::write(at.join("memory.max"), &bytes)?;
                optional(fs::write(at.join("memory.swap.max"), "0"))?;
                // A model that lost its worker answers nothing: end all of it.
                fs::write(at.join("memory.oom.group"), "1")
            }
        }
    }

    /// Whether so much can be taken back is the kernel's to say, and no failure: without swap only what lies in files is.
    fn page_out(self, at: &Path) -> io::Result<()> {
        let reclaimed = match self {
            Self::One => fs::write(at.join("memory.force_empty"), "0"),
            Self::Two => {
                // A model that runs may not swap, one that sleeps may.
                optional(fs::write(at.join("memory.swap.max"), "max"))?;
                let bytes = fs::read_to_string(at.join("memory.current"))?;
                let reclaimed = fs::write(at.join("memory.reclaim"), bytes.trim());
                optional(fs::write(at.join("memory.swap.max"), "0"))?;
                reclaimed
            }
        };
        match reclaimed {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy) => Ok(()),
            reclaimed => reclaimed,
        }
    }

    fn oom_kills(self, at: &Path) -> Option<u64> {
        let file = match self {
            Self::One => "memory.oom_control",
            Self::Two => "memory.events",
        };
        counter(&fs::read_to_string(at.join(file)).ok()?, "oom_kill")
    }

    fn resident_bytes(self, at: &Path) -> Option<u64> {
        let name = match self {
            Self::One => "total_rss",
            Self::Two => "anon",
        };
        counter(&fs::read_to_string(at.join("memory.stat")).ok()?, name)
    }
}

/// A kernel without swap accounting has no such file, and no swap to account.
fn optional(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

/// `name value` lines.
fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// One instance's group; removed when dropped, as soon as its processes have gone.
#[derive(Debug)]
pub(super) struct Cgroup {
    memory: Option<(PathBuf, Version)>,
    processes: Option<PathBuf>,
    processors: Option<(PathBuf, Version)>,
    at: Vec<PathBuf>,
    left: Arc<Mutex<Vec<PathBuf>>>,
}

impl Cgroup {
    /// Makes the group in one more hierarchy; in version 2 it is the same directory for all controllers.
    fn join(&mut self, hierarchy: &Hierarchy, name: &str) -> io::Result<PathBuf> {
        let at = hierarchy.at.join(name);
        if !self.at.contains(&at) {
            fs::create_dir(&at)?;
            self.at.push(at.clone());
        }
        Ok(at)
    }

    /// Takes a process in, with all that it will start.
    pub(super) fn hold(&self, pid: u32) -> io::Result<()> {
        self.at.iter().try_for_each(|at| fs::write(at.join("cgroup.procs"), pid.to_string()))
    }

    /// 0 is no limit.
    pub(super) fn limit_memory(&self, bytes_max: u64) -> io::Result<()> {
        match &self.memory {
            Some((at, version)) if bytes_max > 0 => version.limit_memory(at, bytes_max),
            _ => Ok(()),
        }
    }

    pub(super) fn page_out(&self) -> io::Result<()> {
        self.memory.as_ref().map_or(Ok(()), |(at, version)| version.page_out(at))
    }

    pub(super) fn oom_kills(&self) -> u64 {
        self.memory.as_ref().and_then(|(at, version)| version.oom_kills(at)).unwrap_or(0)
    }

    /// For those that are being ended: they need processors too, and leave them to the others sooner.
    pub(super) fn hurry(&self) {
        if let Some((at, version)) = &self.processors {
            let (file, share) = match version {
                Version::One => ("cpu.shares", "10240"),
                Version::Two => ("cpu.weight", "1000"),
            };
            // Without it they end all the same.
            fs::write(at.join(file), share).ok();
        }
    }

    /// All that are in it, by their numbers outside the walls.
    pub(super) fn pids(&self) -> Vec<u32> {
        let list = self.processes.as_ref().and_then(|at| fs::read_to_string(at.join("cgroup.procs")).ok()).unwrap_or_default();
        list.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let (at, version) = self.memory.as_ref()?;
        version.resident_bytes(at)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let stay = self.at.drain(..).filter(|at| fs::remove_dir(at).is_err());
        if let Ok(mut left) = self.left.lock() {
            left.extend(stay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(at: &str, root: &str, file_system: &str, own_options: &str) -> Mount {
        Mount {
            root: root.into(),
            at: at.into(),
            options: "rw".to_owned(),
            file_system: file_system.to_owned(),
            own_options: own_options.to_owned(),
        }
    }

    #[test]
    fn the_own_group_is_found_in_both_versions_and_through_a_container() {
        let mounts = [mount("/cg/memory", "/docker/a", "cgroup", "rw,memory"), mount("/cg/unified", "/", "cgroup2", "rw")];
        let one = find_hierarchy("memory", "4:memory:/docker/a/b\n0::/x", &mounts).unwrap();
        assert_eq!(one, Hierarchy { at: "/cg/memory/b".into(), version: Version::One });
        let two = find_hierarchy("pids", "4:memory:/docker/a/b\n0::/x", &mounts).unwrap();
        assert_eq!(two, Hierarchy { at: "/cg/unified/x".into(), version: Version::Two });
    }

    #[test]
    fn version_2_is_limited_by_its_own_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.controllers"), "cpu memory pids").unwrap();
        let hierarchy = Hierarchy { at: directory.path().to_owned(), version: Version::Two };
        hierarchy.prepare("memory").unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("cgroup.subtree_control")).unwrap(), "+memory");
        assert!(hierarchy.prepare("io").is_err());
        let group = Cgroups::of(Some(hierarchy.clone()), Some(hierarchy.clone()), Some(hierarchy)).make().unwrap();
        group.limit_memory(4_096).unwrap();
        let at = &group.memory.as_ref().unwrap().0;
        assert_eq!(group.at.len(), 1);
        assert_eq!(fs::read_to_string(at.join("memory.max")).unwrap(), "4096");
        assert_eq!(fs::read_to_string(at.join("pids.max")).unwrap(), "4096");
        fs::write(at.join("memory.events"), "low 0\noom 3\noom_kill 1\noom_group_kill 1\n").unwrap();
        fs::write(at.join("memory.stat"), "anon 8192\nanon_thp 1\n").unwrap();
        assert_eq!((group.oom_kills(), group.resident_bytes()), (1, Some(8_192)));
        fs::write(at.join("memory.current"), "12288\n").unwrap();
        group.page_out().unwrap();
        assert_eq!(fs::read_to_string(at.join("memory.reclaim")).unwrap(), "12288");
        assert_eq!(fs::read_to_string(at.join("memory.swap.max")).unwrap(), "0", "and no more than it had when it runs again");
    }
}
