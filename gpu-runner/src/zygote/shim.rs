//! What Cog finds as `python`, first on its PATH: it has the worker that is ready take its place, and is that worker in Cog's eyes. Whatever
//! else it is asked for, it is the real `python`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::inherited;

/// Its name in the folder of zygotes.
pub(super) const NAME: &str = "python";
/// How Cog 0.23 starts its worker; `zygote.py` has the same.
const WORKER: [&str; 2] = ["-c", "import coglet; coglet.server._run_worker()"];
/// Names the socket to the minder, for this process alone.
const MINDER_FD: &str = "FEIRA_MINDER_FD";
const PATH: &str = "PATH";
/// The minder only has to pass on what it gets; one that does not is no longer there.
const MINDER_WAIT: Duration = Duration::from_secs(5);

/// Whether this program was started by the name under which Cog finds it.
pub fn is_cog_worker() -> bool {
    env::args_os().next().is_some_and(|name| name == NAME)
}

/// Ends as the worker ends.
pub fn cog_worker_main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let handed_over = if arguments == WORKER { hand_over() } else { Err(io::ErrorKind::Unsupported.into()) };
    match handed_over {
        Ok(shim) => end_as(&shim),
        Err(_) => become_python(&arguments),
    }
}

/// Sends the minder this process's files, folder and environment. Returns the line on which it says how the worker ended; when this process
/// ends, the minder ends the worker.
fn hand_over() -> io::Result<UnixStream> {
    let minder = inherited::socket(variable(MINDER_FD))?;
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_write_timeout(Some(MINDER_WAIT))?;
    ours.set_read_timeout(Some(MINDER_WAIT))?;
    let started_as = started_as()?;
    (&ours).write_all(&u32::try_from(started_as.len()).map_err(io::Error::other)?.to_le_bytes())?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let files = [theirs.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(&minder, &[IoSlice::new(b"f")], &mut control, SendFlags::NOSIGNAL)?;
    drop(theirs);
    (&ours).write_all(&started_as)?;
    let mut taken = [0; 4];
    (&ours).read_exact(&mut taken)?;
    ours.set_read_timeout(None)?;
    Ok(ours)
}

/// The folder and the variables, separated by the one byte that none of them has.
fn started_as() -> io::Result<Vec<u8>> {
    let mut text = env::current_dir()?.as_os_str().as_bytes().to_vec();
    for (name, value) in environment() {
        text.push(0);
        text.extend([name.as_bytes(), b"=", value.as_bytes()].concat());
    }
    Ok(text)
}

/// As it would be had there been no shim.
fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "it stands in for a process that would have inherited them")]
    let inherited = env::vars_os();
    inherited.filter(|(name, _)| name != MINDER_FD).map(|(name, value)| {
        let value = if name == PATH { without_first(&value) } else { value };
        (name, value)
    })
}

/// The folder of the shim stands first on the path.
fn without_first(path: &OsStr) -> OsString {
    let rest = path.as_bytes().iter().position(|byte| *byte == b':').map_or(&b""[..], |colon| &path.as_bytes()[colon + 1..]);
    OsStr::from_bytes(rest).to_owned()
}

fn variable(name: &str) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "it was started with this one to be told")]
    env::var_os(name)
}

fn end_as(minder: &UnixStream) -> ExitCode {
    let mut code = [0; 4];
    let mut minder = minder;
    let code = minder.read_exact(&mut code).map_or(-(Signal::SIGKILL as i32), |()| i32::from_le_bytes(code));
    if let Ok(signal) = Signal::try_from(-code) {
        raise(signal).ok();
    }
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn become_python(arguments: &[OsString]) -> ExitCode {
    let error = Command::new(NAME).args(arguments).env_clear().envs(environment()).exec();
    eprintln!("{NAME}: {error}");
    ExitCode::from(127)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shims_folder_is_taken_off_the_path() {
        assert_eq!(without_first(OsStr::new("/shim:/env/bin:/usr/bin")), "/env/bin:/usr/bin");
        assert_eq!(without_first(OsStr::new("/shim")), "");
    }
}
