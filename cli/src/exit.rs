//! The exit codes that scripts rely on, and which error ends in which.

use std::io;

use crate::client::{ClientError, DownloadError, UploadError};

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success = 0,
    /// The thing that was run failed.
    Failed = 1,
    Usage = 2,
    NotAllowed = 3,
    NotFound = 4,
    /// A conflict, or a limit that was reached: credit, rate, size.
    Conflict = 5,
    TimedOut = 6,
    /// By Ctrl-C: 128 and the signal's number, as shells count.
    Interrupted = 130,
}

/// What was asked for makes no sense as it was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Refuses what was written, saying what to write instead.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

impl Exit {
    pub fn of(error: &anyhow::Error) -> Self {
        if error.is::<Usage>() {
            return Self::Usage;
        }
        match client_error(error) {
            Some(ClientError::Refused(problem)) => Self::of_status(problem.status),
            Some(ClientError::TimedOut { .. }) => Self::TimedOut,
            Some(ClientError::Address(_)) => Self::Usage,
            // `feira models | head`: the reader has what it wanted.
            None if is_broken_pipe(error) => Self::Success,
            Some(ClientError::Unreachable { .. } | ClientError::Broken { .. } | ClientError::NotUnderstood { .. }) | None => Self::Failed,
        }
    }

    pub const fn of_status(status: u16) -> Self {
        match status {
            400 | 405 | 415 | 422 => Self::Usage,
            401 | 403 => Self::NotAllowed,
            404 | 410 => Self::NotFound,
            402 | 409 | 412 | 413 | 429 => Self::Conflict,
            408 | 504 => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    match (error.downcast_ref::<UploadError>(), error.downcast_ref::<DownloadError>()) {
        (Some(UploadError::Client(error)), _) | (_, Some(DownloadError::Client(error))) => Some(error),
        _ => error.downcast_ref(),
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Problem;

    #[test]
    fn a_refusal_ends_in_the_code_that_scripts_expect() {
        for (status, exit) in [(401, 3), (402, 5), (404, 4), (409, 5), (422, 2), (429, 5), (500, 1), (504, 6)] {
            let error = anyhow::Error::from(ClientError::Refused(Problem::new(status, "", "")));
            assert_eq!(Exit::of(&error) as u8, exit, "{status}");
        }
        assert_eq!(Exit::of(&usage("no")), Exit::Usage);
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Failed);
        assert_eq!(Exit::of(&io::Error::from(io::ErrorKind::BrokenPipe).into()), Exit::Success);
    }
}
