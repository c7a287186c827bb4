//! The launcher, `feira confine`: takes one order from its standard input, raises the walls, starts the model and ends with it.

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, getegid, geteuid, sethostname, setsid};

use super::confined::Exit;
use super::fork::fork_alone;
use super::line::LauncherLine;
use super::spec::{Spec, Walls};
use super::tree::{Tree, wait_for};
use super::{calls, fence, heeded, loopback, root};

/// A step that failed, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(super) struct Refusal {
    step: String,
    source: io::Error,
}

/// Names the step for [`Result::map_err`].
pub(super) fn at<E: Into<io::Error>>(step: impl Display) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal { step: step.to_string(), source: error.into() }
}

/// The most threads and processes of one model; a thread pool per core of a large machine fits.
const PROCESSES_MAX: u64 = 4_096;
const FILES_OPEN_MAX: u64 = 65_536;

/// The hidden subcommand `confine`: the launcher around one model. Must be called before the program starts a second thread.
pub fn confine_main() -> ExitCode {
    let exit = match obey() {
        Ok(exit) => exit,
        Err(refusal) => {
            eprintln!("confine is for the runner to start: {refusal}");
            Exit(2)
        }
    };
    ExitCode::from(exit)
}

fn obey() -> Result<Exit, Refusal> {
    close_inherited().map_err(at("closing what was inherited"))?;
    heeded::heed().map_err(at("heeding signals"))?;
    let line = LauncherLine::on_stdin().map_err(at("the line"))?;
    let Some(spec) = line.take_order().map_err(at("the order"))? else { return Ok(Exit(0)) };
    let confined = match spec.walls {
        Walls::OwnUser | Walls::SameUser => enclose(&spec, &line),
        Walls::None => supervise(&spec, &line),
    };
    confined.or_else(|refusal| {
        line.refuse(&refusal.to_string()).map_err(at("the line"))?;
        Ok(Exit(1))
    })
}

/// Rust opens all files for this program alone; a library of the runner's may not have.
fn close_inherited() -> io::Result<()> {
    let names: Vec<_> = fs::read_dir("/proc/self/fd")?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()?;
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2) {
        // The directory that was just read is among them and closed already.
        nix::unistd::close(number).ok();
    }
    Ok(())
}

/// The plain way: no walls, but the whole tree still ends together.
fn supervise(spec: &Spec, line: &LauncherLine) -> Result<Exit, Refusal> {
    prctl::set_child_subreaper(true).map_err(at("adopting orphans"))?;
    limit(spec)?;
    run(spec, line)
}

/// Makes the namespaces, and in them the process that is first in its own.
fn enclose(spec: &Spec, line: &LauncherLine) -> Result<Exit, Refusal> {
    let (user, group) = (geteuid(), getegid());
    let mut spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    if spec.walls == Walls::SameUser {
        spaces |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(spaces).map_err(at("namespaces"))?;
    if spec.walls == Walls::SameUser {
        fs::write("/proc/self/setgroups", "deny").map_err(at("user namespace"))?;
        fs::write("/proc/self/uid_map", format!("{} {user} 1", spec.user)).map_err(at("user namespace"))?;
        fs::write("/proc/self/gid_map", format!("{} {group} 1", spec.user)).map_err(at("user namespace"))?;
    }
    match fork_alone().map_err(at("fork"))? {
        ForkResult::Parent { child } => Ok(wait_for(child)),
        ForkResult::Child => be_first(spec, line),
    }
}

/// The first process in the walls: when it ends, the kernel ends all the others.
fn be_first(spec: &Spec, line: &LauncherLine) -> Result<Exit, Refusal> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(at("dying with the launcher"))?;
    setsid().map_err(at("session"))?;
    sethostname("model").map_err(at("host name"))?;
    loopback::bring_up().map_err(at("loopback"))?;
    root::build(spec)?;
    limit(spec)?;
    run(spec, line)
}

/// What the model inherits and cannot raise again.
fn limit(spec: &Spec) -> Result<(), Refusal> {
    prctl::set_no_new_privs().map_err(at("no new privileges"))?;
    // Not 0, which a program that takes the cores of the whole machine is not bound by; of 1 the kernel makes none at all:
    // <https://github.com/torvalds/linux/blob/v6.12/fs/coredump.c#L586>.
    lower(Resource::RLIMIT_CORE, 1)?;
    lower(Resource::RLIMIT_NOFILE, FILES_OPEN_MAX)?;
    if spec.walls == Walls::OwnUser {
        // Counted per user, so only where the user is the model's alone.
        lower(Resource::RLIMIT_NPROC, PROCESSES_MAX)?;
    }
    if spec.memory_by_rlimit && spec.memory_bytes_max > 0 {
        // Not the address space: GPU libraries reserve far more of it than they use.
        lower(Resource::RLIMIT_DATA, spec.memory_bytes_max)?;
    }
    lower(Resource::RLIMIT_FSIZE, spec.scratch_bytes_max)?;
    if spec.fenced && !fence::raise(spec).map_err(io::Error::other).map_err(at("a fence"))? {
        return Err(at("a fence")(io::Error::from(io::ErrorKind::Unsupported)));
    }
    calls::forbid().map_err(at("system calls"))
}

fn lower(resource: Resource, to: u64) -> Result<(), Refusal> {
    let (_, hard) = getrlimit(resource).map_err(at(format!("{resource:?}")))?;
    let to = if hard == RLIM_INFINITY { to } else { to.min(hard) };
    setrlimit(resource, to, to).map_err(at(format!("{resource:?}")))
}

fn run(spec: &Spec, line: &LauncherLine) -> Result<Exit, Refusal> {
    let listener = if spec.walls.have_own_network() {
        // Before the model starts, so that it cannot be there first.
        Some(TcpListener::bind((Ipv4Addr::LOCALHOST, spec.runner_port)).map_err(at("the runner's port"))?)
    } else {
        None
    };
    let (voice, ear) = UnixStream::pair().map_err(at("the model's standard input"))?;
    let tree = Tree::of(start_model(spec, if spec.hears { OwnedFd::from(ear).into() } else { Stdio::null() })?);
    let sockets = listener.as_ref().map(AsFd::as_fd).into_iter().chain(spec.hears.then(|| voice.as_fd()));
    line.started(&sockets.collect::<Vec<_>>()).map_err(at("the line"))?;
    drop((listener, voice));
    thread::scope(|scope| {
        let attending = thread::Builder::new().spawn_scoped(scope, || {
            line.attend(spec.port, |signal| tree.signal_all(signal, spec.walls));
            end(spec, &tree, Exit::KILLED);
        });
        attending.map_err(at("a thread"))?;
        let exit = tree.wait_for_model();
        end(spec, &tree, exit)
    })
}

fn start_model(spec: &Spec, stdin: Stdio) -> Result<Pid, Refusal> {
    let mut model = Command::new(&spec.argv[0]);
    model
        .args(&spec.argv[1..])
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.project)
        .stdin(stdin);
    if spec.walls == Walls::OwnUser {
        model.uid(spec.user).gid(spec.user);
    }
    let child = model.spawn().map_err(at(&spec.argv[0]))?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(|_| Errno::EOVERFLOW).map_err(at("process number"))
}

/// Ends the launcher, and with it all that the model left behind. The thread that attends to the runner may be in the middle of something; it ends too.
fn end(spec: &Spec, tree: &Tree, exit: Exit) -> ! {
    if spec.walls == Walls::None
        && let Err(error) = tree.kill_all()
    {
        eprintln!("processes may be left: {error}");
    }
    std::process::exit(exit.0)
}
