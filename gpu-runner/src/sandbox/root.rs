//! The file tree that a model sees: a fresh one, in which only what it needs is mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::launcher::{Refusal, at};
use super::mounts::{self, Mount};
use super::spec::Spec;

/// Where the fresh root is put together, and then the model's scratch; a directory that every system has.
pub(super) const TMP: &str = "/tmp";
/// The machine's own tree, until the fresh one is complete.
const OLD: &str = "/old";

/// What programs of any distribution expect beside `/usr`: links into it, or directories of their own.
/// The certificates are there because HTTP clients refuse to be made without any, even those that only speak to the sidecar.
pub(super) const SYSTEM: [&str; 11] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// What a process that uses any NVIDIA GPU opens beside the GPU's own device.
const GPU_CONTROL: [&str; 4] = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];
/// How many processors and memory nodes there are: thread pools read it.
const TOPOLOGY: [&str; 2] = ["/sys/devices/system/cpu", "/sys/devices/system/node"];
/// The GPU libraries look for their PCI devices all over `/sys`.
const GPU_TOPOLOGY: &str = "/sys";

/// What the kernel tells of the whole machine and no model needs, and what changes it. Docker hides and protects the same:
/// <https://github.com/moby/moby/blob/master/daemon/pkg/oci/defaults.go>.
const HIDDEN: [&str; 6] = ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list", "/proc/interrupts"];
const SETTINGS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Directories and a few lines of text; data lives in what is mounted on them.
const ROOT_OPTIONS: &str = "mode=755,size=1m";
pub(super) const SHARED_MEMORY: &str = "/dev/shm";
/// Shared memory counts as the model's memory, so this only bounds it where no control group does.
const SHARED_MEMORY_BYTES: u64 = 1 << 30;

/// Replaces the file tree of this mount namespace.
pub(super) fn build(spec: &Spec) -> Result<(), Refusal> {
    // Resolved while links still lead where the machine's owner meant.
    let elsewhere = |path: &&Path| !path.starts_with("/usr");
    let shown = resolve(spec.shown().into_iter().filter(elsewhere).collect())?;
    let scratch = resolve(vec![&spec.scratch])?;
    enter_fresh_root()?;
    show_existing(&SYSTEM)?;
    show_existing(if spec.gpus.is_empty() { &TOPOLOGY } else { &[GPU_TOPOLOGY] })?;
    make_devices(spec)?;
    make_etc(spec.user)?;
    make_proc()?;
    for (source, _) in &scratch {
        bind(source, Path::new(TMP))?;
    }
    for (source, target) in &shown {
        bind(source, target)?;
    }
    umount2(OLD, MntFlags::MNT_DETACH).map_err(at("letting the machine's files go"))?;
    fs::remove_dir(OLD).map_err(at("letting the machine's files go"))?;
    make_read_only()
}

/// Pairs of where something really lies and where it is to be seen.
fn resolve(paths: Vec<&Path>) -> Result<Vec<(PathBuf, PathBuf)>, Refusal> {
    let resolve = |path: &Path| Ok((fs::canonicalize(path).map_err(at(path.display()))?, path.to_owned()));
    paths.into_iter().map(resolve).collect()
}

fn enter_fresh_root() -> Result<(), Refusal> {
    let nothing = None::<&str>;
    // No mount made here reaches the machine.
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).map_err(at("a private mount table"))?;
    mount(Some("root"), TMP, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(ROOT_OPTIONS)).map_err(at("a fresh root"))?;
    chdir(TMP).map_err(at("the fresh root"))?;
    fs::create_dir("old").map_err(at("the fresh root"))?;
    pivot_root(".", "old").map_err(at("changing to the fresh root"))?;
    chdir("/").map_err(at("the fresh root"))
}

/// Shows parts of the machine at their own places, links as links; what this machine does not have is left out.
fn show_existing(paths: &[&str]) -> Result<(), Refusal> {
    for path in paths {
        let Ok(kind) = fs::symlink_metadata(old(Path::new(path))) else { continue };
        if kind.is_symlink() {
            let to = fs::read_link(old(Path::new(path))).map_err(at(path))?;
            std::os::unix::fs::symlink(to, path).map_err(at(path))?;
        } else {
            bind(Path::new(path), Path::new(path))?;
        }
    }
    Ok(())
}

fn old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// Shows `source`, a path of the machine, at `target`.
fn bind(source: &Path, target: &Path) -> Result<(), Refusal> {
    let source = old(source);
    let nothing = None::<&str>;
    make_place(&source, target).map_err(at(target.display()))?;
    // Recursive, because container tools mount single driver libraries into `/usr`, and because a user namespace may not take a mount apart.
    mount(Some(&source), target, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing).map_err(at(target.display()))
}

/// Makes what `source` is to be mounted on.
fn make_place(source: &Path, target: &Path) -> io::Result<()> {
    if fs::metadata(source)?.is_dir() {
        return fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if target.exists() { Ok(()) } else { fs::File::create_new(target).map(drop) }
}

fn make_devices(spec: &Spec) -> Result<(), Refusal> {
    let gpus: Vec<&str> = spec.gpus.iter().filter_map(|gpu| gpu.to_str()).collect();
    show_existing(&DEVICES)?;
    if !gpus.is_empty() {
        show_existing(&GPU_CONTROL)?;
        show_existing(&gpus)?;
    }
    for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")]
    {
        std::os::unix::fs::symlink(to, Path::new("/dev").join(name)).map_err(at("/dev"))?;
    }
    fs::create_dir(SHARED_MEMORY).map_err(at(SHARED_MEMORY))?;
    let bytes = if spec.memory_bytes_max == 0 { SHARED_MEMORY_BYTES } else { spec.memory_bytes_max };
    let options = format!("mode=1777,size={bytes}");
    mount(Some("shm"), SHARED_MEMORY, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
        .map_err(at(SHARED_MEMORY))
}

fn make_etc(user: u32) -> Result<(), Refusal> {
    let files = [
        ("passwd", format!("root:x:0:0:root:/:/bin/false\nmodel:x:{user}:{user}:model:{TMP}:/bin/sh\n")),
        ("group", format!("root:x:0:\nmodel:x:{user}:\n")),
        ("hosts", "127.0.0.1 localhost\n".to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
    ];
    fs::create_dir_all("/etc").map_err(at("/etc"))?;
    for (name, text) in files {
        fs::write(Path::new("/etc").join(name), text).map_err(at("/etc"))?;
    }
    Ok(())
}

fn make_proc() -> Result<(), Refusal> {
    fs::create_dir("/proc").map_err(at("/proc"))?;
    let nothing = None::<&str>;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, nothing).map_err(at("/proc"))?;
    for path in HIDDEN.into_iter().filter(|path| Path::new(path).exists()) {
        mount(Some("/dev/null"), path, nothing, MsFlags::MS_BIND, nothing).map_err(at(path))?;
    }
    for path in SETTINGS.into_iter().filter(|path| Path::new(path).exists()) {
        mount(Some(path), path, nothing, MsFlags::MS_BIND, nothing).map_err(at(path))?;
        mount(nothing, path, nothing, flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, nothing).map_err(at(path))?;
    }
    Ok(())
}

/// Makes all that is mounted read-only, but the scratch, shared memory and the kernel's own files.
fn make_read_only() -> Result<(), Refusal> {
    for place in mounts::read().map_err(at("the mount table"))? {
        if place.is_beneath("/proc") || place.is_beneath(SHARED_MEMORY) || (place.is_beneath("/dev") && place.at != Path::new("/dev")) {
            continue;
        }
        let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | flags_kept(&place);
        if place.at != Path::new(TMP) {
            flags |= MsFlags::MS_RDONLY;
        }
        let nothing = None::<&str>;
        mount(nothing, &place.at, nothing, flags, nothing).map_err(at(format!("making {} read-only", place.at.display())))?;
    }
    Ok(())
}

/// A user namespace may not drop these from a mount that it took over.
fn flags_kept(place: &Mount) -> MsFlags {
    let kept = [
        ("ro", MsFlags::MS_RDONLY),
        ("noexec", MsFlags::MS_NOEXEC),
        ("noatime", MsFlags::MS_NOATIME),
        ("nodiratime", MsFlags::MS_NODIRATIME),
        ("relatime", MsFlags::MS_RELATIME),
    ];
    kept.into_iter().filter(|(option, _)| place.has(option)).map(|(_, flag)| flag).collect()
}
