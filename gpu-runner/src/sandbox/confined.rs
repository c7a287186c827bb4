//! A running model as the runner holds it: its output, its ports, its end.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::cgroup::Cgroup;
use super::doors::Doors;
use super::line::Line;
use super::root::SHARED_MEMORY;
use super::spec::Spec;
use super::tree;
use super::usage;

/// A process and all that it started. Dropping it ends them all, without waiting.
#[derive(Debug)]
pub struct Confined {
    launcher: AsyncMutex<Child>,
    launcher_pid: Option<Pid>,
    line: AsyncMutex<Line>,
    /// Shut to end the model: the launcher reads the end of the line.
    lifeline: StdUnixStream,
    output: Mutex<Option<(ChildStdout, ChildStderr)>>,
    listener: Mutex<Option<std::net::TcpListener>>,
    voice: Mutex<Option<StdUnixStream>>,
    port: u16,
    runner: SocketAddr,
    own_network: bool,
    scratch: PathBuf,
    scratch_bytes_max: u64,
    limits: Cgroup,
}

/// For the launcher to end all beneath it; the kernel does it in milliseconds.
pub(super) const END_WAIT: Duration = Duration::from_secs(5);

impl Confined {
    pub(super) fn new(
        mut launcher: Child,
        line: Line,
        mut sockets: Vec<OwnedFd>,
        limits: Cgroup,
        doors: Doors,
        spec: &Spec,
    ) -> io::Result<Self> {
        let voice = if spec.hears { sockets.pop() } else { None };
        let listener = sockets.pop();
        let output = launcher.stdout.take().zip(launcher.stderr.take());
        Ok(Self {
            launcher_pid: launcher.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw),
            launcher: AsyncMutex::new(launcher),
            lifeline: line.lifeline()?,
            line: AsyncMutex::new(line),
            output: Mutex::new(output),
            port: doors.port(),
            runner: doors.runner(),
            listener: Mutex::new(listener.map(std::net::TcpListener::from).or(doors.held)),
            voice: Mutex::new(voice.map(StdUnixStream::from)),
            own_network: spec.walls.have_own_network(),
            scratch: spec.scratch.clone(),
            scratch_bytes_max: spec.scratch_bytes_max,
            limits,
        })
    }

    /// What the process prints; once.
    pub fn take_output(&self) -> Option<(ChildStdout, ChildStderr)> {
        self.output.lock().ok()?.take()
    }

    /// Connects to the model's port, in its own network when it has one.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        if !self.own_network {
            return TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await;
        }
        let socket = self.line.lock().await.connect().await?;
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)
    }

    /// A listener that the model, and in a network of its own nobody else, reaches at the address of [`Doors::runner`]; once.
    pub fn listen(&self) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = self.listener.lock().ok().and_then(|mut listener| listener.take());
        let listener = listener.ok_or(io::ErrorKind::AddrInUse)?;
        listener.set_nonblocking(true)?;
        Ok((TcpListener::from_std(listener)?, self.runner))
    }

    /// The other end of its standard input, when it was launched to hear; once.
    pub fn take_voice(&self) -> Option<StdUnixStream> {
        self.voice.lock().ok()?.take()
    }

    /// Where the process reaches the runner.
    pub fn runner(&self) -> SocketAddr {
        self.runner
    }

    /// Waits until the process has ended, and what it started with it. May be called again, and from several tasks.
    pub async fn exited(&self) -> Exit {
        // The launcher ends as the model ended; that it cannot be waited for would mean that another has reaped it.
        self.launcher.lock().await.wait().await.map_or(Exit::KILLED, Exit::from)
    }

    /// Whether the kernel killed a process of it for want of memory.
    pub fn ended_by_oom(&self) -> bool {
        self.limits.oom_kills() > 0
    }

    /// Whether a child of the model's own process has ended and was not reaped.
    pub fn has_dead_child(&self) -> bool {
        self.launcher_pid.is_some_and(tree::model_has_dead_child)
    }

    /// Memory that is its own, where a control group counts it.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.limits.resident_bytes()
    }

    /// Stops every process of it: none does anything, not even answer, before [`Confined::go_on`]. It can be ended all the same.
    pub async fn stop(&self) -> io::Result<()> {
        self.line.lock().await.stop().await
    }

    /// Lets the processes go on that [`Confined::stop`] stopped.
    pub async fn go_on(&self) -> io::Result<()> {
        self.line.lock().await.go_on().await
    }

    /// Has the kernel take back the memory that it can read again, from files or from swap; it returns when it is needed. Takes up to seconds.
    /// Does nothing without a control group for memory.
    pub fn page_out(&self) -> io::Result<()> {
        self.limits.page_out()
    }

    /// What it takes of the disk that its scratch directory lies on. Blocks for as long as it takes to look at each file.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        usage::measure(&self.scratch, self.limits.pids())
    }

    pub fn disk_bytes_max(&self) -> u64 {
        self.scratch_bytes_max
    }

    /// Where its shared memory is seen from here, when it has one of its own.
    pub fn shared_memory(&self) -> Option<PathBuf> {
        // The launcher stands in the same tree of files.
        self.launcher_pid.filter(|_| self.own_network).map(|pid| PathBuf::from(format!("/proc/{pid}/root{SHARED_MEMORY}")))
    }

    /// Ends the whole tree and waits until it is gone.
    pub async fn kill_all(&self) {
        self.limits.hurry();
        // Fails only when the launcher has gone already.
        self.lifeline.shutdown(Shutdown::Both).ok();
        // The kernel ends all that is behind walls with the first of them, which might be long in hearing the line among thousands of others.
        if let Some(first) = self.launcher_pid.filter(|_| self.own_network).and_then(tree::first_beneath) {
            kill(first, Signal::SIGKILL).ok();
        }
        if timeout(END_WAIT, self.exited()).await.is_err() {
            tracing::error!(launcher.pid = self.launcher_pid.map(Pid::as_raw), "a launcher does not end and is killed");
            if let Some(pid) = self.launcher_pid {
                kill(pid, Signal::SIGKILL).ok();
            }
            self.exited().await;
        }
    }
}

/// How a process ended, as a shell counts: its own code, or 128 and the signal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub i32);

impl Exit {
    pub const KILLED: Self = Self(128 + Signal::SIGKILL as i32);

    /// The signal that ended it, if one did.
    pub fn signal(self) -> Option<Signal> {
        Signal::try_from(self.0 - 128).ok()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal() {
            Some(signal) => write!(f, "ended by {signal}"),
            None => write!(f, "ended with code {}", self.0),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(Self::KILLED.0))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        u8::try_from(exit.0).map_or(Self::FAILURE, Self::from)
    }
}
