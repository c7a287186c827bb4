//! Compiles a component in a child process that has little memory, little time, no environment and no secret.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

/// The child's exit code for a component that does not compile.
pub(crate) const CODE_REFUSED: u8 = 3;
/// What is kept of a child's last words.
const REASON_BYTES_MAX: u64 = 2_000;

/// What a compilation may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the child: 1 GiB. Compile bombs took up to 1.4 GiB.
    pub address_space_bytes: u64,
    /// CPU time of the child: 30 s. The largest real guest takes 14.
    pub cpu_seconds: u64,
    /// Time from start to end: 90 s.
    pub wall_max: Duration,
    /// Size of the compiled code: 256 MiB.
    pub code_bytes_max: u64,
}

/// Starts compile children, one at a time: a publisher's burst must not take the cores from predictions.
#[derive(Debug)]
pub struct Compiler {
    exe: PathBuf,
    args: Vec<OsString>,
    limits: CompileLimits,
    turn: Semaphore,
}

/// Why there is no compiled code.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The component is not valid, or uses a proposal that is switched off.
    #[error("the hook does not compile: {reason}")]
    Rejected {
        /// What the compiler says.
        reason: String,
    },
    /// It needed more memory than a compilation may have.
    #[error("compiling the hook takes more than {limit_bytes} bytes of memory; make it smaller or its functions simpler")]
    Memory {
        /// The limit.
        limit_bytes: u64,
    },
    /// It needed more time than a compilation may have.
    #[error("compiling the hook takes more than {limit_seconds} seconds; make it smaller or its functions simpler")]
    Time {
        /// The limit that was hit, of CPU or of wall time.
        limit_seconds: u64,
    },
    /// The compiled code is too large.
    #[error("the compiled hook has more than {limit_bytes} bytes")]
    CodeTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The compiler died.
    #[error("the compiler ended with {status}")]
    Crashed {
        /// How.
        status: ExitStatus,
        /// Its last words, for the log.
        reason: String,
    },
    /// The compiler could not be started or spoken to: the host's fault.
    #[error("the compiler could not be started")]
    NotStarted(#[source] std::io::Error),
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            address_space_bytes: 1024 * 1024 * 1024,
            cpu_seconds: 30,
            wall_max: Duration::from_secs(90),
            code_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl CompileLimits {
    pub(crate) const HEADER_BYTES: usize = 16;

    /// The limits that the child sets for itself, as it reads them.
    pub(crate) fn header(&self) -> [u8; Self::HEADER_BYTES] {
        (u128::from(self.address_space_bytes) | u128::from(self.cpu_seconds) << 64).to_le_bytes()
    }

    pub(crate) fn from_header(header: [u8; Self::HEADER_BYTES]) -> Self {
        let both = u128::from_le_bytes(header);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is one number, the high half the other")]
        let (address_space_bytes, cpu_seconds) = (both as u64, (both >> 64) as u64);
        Self { address_space_bytes, cpu_seconds, ..Self::default() }
    }
}

impl Compiler {
    /// A compiler that is started as `exe args…`, a program that calls [`crate::compile_child_main`].
    pub fn new(exe: PathBuf, args: Vec<OsString>, limits: CompileLimits) -> Self {
        Self { exe, args, limits, turn: Semaphore::new(1) }
    }

    /// Compiles one component that [`crate::check`] has passed.
    ///
    /// Cancel safe: dropping the future kills the child.
    ///
    /// # Errors
    ///
    /// [`CompileError::NotStarted`] is the host's fault, every other the component's.
    pub async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
        let out_of_time = CompileError::Time { limit_seconds: self.limits.wall_max.as_secs() };
        tokio::time::timeout(self.limits.wall_max, self.run_child(component)).await.unwrap_or(Err(out_of_time))
    }

    async fn run_child(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let mut child = Command::new(&self.exe)
            .args(&self.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(CompileError::NotStarted)?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");

        let header = self.limits.header();
        let send = async move {
            // A child that has died does not read: its status says why.
            let sent = async { stdin.write_all(&header).await.and(stdin.write_all(component).await) };
            let _ = sent.await;
        };
        let ((), code, reason) =
            tokio::join!(send, read_up_to(stdout, self.limits.code_bytes_max.saturating_add(1)), read_up_to(stderr, REASON_BYTES_MAX));
        let code = code.map_err(CompileError::NotStarted)?;
        let reason = String::from_utf8_lossy(&reason.map_err(CompileError::NotStarted)?).into_owned();
        if code.len() as u64 > self.limits.code_bytes_max {
            return Err(CompileError::CodeTooLarge { limit_bytes: self.limits.code_bytes_max });
        }
        let status = child.wait().await.map_err(CompileError::NotStarted)?;
        if status.success() { Ok(code) } else { Err(self.explain(status, reason)) }
    }

    fn explain(&self, status: ExitStatus, reason: String) -> CompileError {
        let out_of_memory = reason.contains("memory allocation of") || reason.contains("Cannot allocate memory");
        if out_of_memory {
            CompileError::Memory { limit_bytes: self.limits.address_space_bytes }
        } else if status.signal() == Some(Signal::SIGXCPU as i32) {
            CompileError::Time { limit_seconds: self.limits.cpu_seconds }
        } else if status.code() == Some(i32::from(CODE_REFUSED)) {
            CompileError::Rejected { reason }
        } else {
            CompileError::Crashed { status, reason }
        }
    }
}

async fn read_up_to(pipe: impl AsyncRead + Unpin, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_reads_the_limits_that_the_parent_wrote() {
        let limits = CompileLimits { address_space_bytes: u64::MAX - 1, cpu_seconds: 7, ..CompileLimits::default() };
        assert_eq!(CompileLimits::from_header(limits.header()), limits);
    }
}
