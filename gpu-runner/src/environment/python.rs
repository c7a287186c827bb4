//! Finds an interpreter of the version asked for on the search path.

use std::path::PathBuf;
use std::time::Duration;

use super::EnvironmentError;
use super::tool::Tools;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Python {
    pub(super) version: String,
    /// The installation, not a virtual environment made from it.
    pub(super) prefix: PathBuf,
    pub(super) executable: PathBuf,
}

/// Printed by the interpreter itself: a name on the search path may be a script that chooses one.
const WHO: &str = "import os, sys
print('%d.%d.%d' % sys.version_info[:3])
print(os.path.realpath(sys.base_prefix))
print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))";

/// An interpreter starts in 20 ms; a script that chooses one may compile nothing.
const WHO_WAIT: Duration = Duration::from_secs(20);

/// `3`, `3.11` or `3.11.7`.
pub(super) fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    text.split('.').count() <= 3 && text.split('.').all(number)
}

pub(super) async fn find(tools: &Tools, version: &str) -> Result<Python, EnvironmentError> {
    let minor: Vec<&str> = version.split('.').take(2).collect();
    for name in [format!("python{}", minor.join(".")), "python3".to_owned(), "python".to_owned()] {
        for candidate in tools.candidates(&name) {
            match tools.run("python", &candidate, ["-I", "-S", "-c", WHO], WHO_WAIT).await.as_deref().map(parse) {
                Ok(Some(python)) if is_of(&python.version, version) => return Ok(python),
                Ok(_) => {}
                Err(error) => tracing::debug!(python = %candidate.display(), %error, "not an interpreter"),
            }
        }
    }
    Err(EnvironmentError::NoPython { python: version.to_owned() })
}

fn parse(printed: &str) -> Option<Python> {
    let mut lines = printed.lines().map(str::to_owned);
    Some(Python { version: lines.next()?, prefix: lines.next()?.into(), executable: lines.next()?.into() })
}

fn is_of(found: &str, asked: &str) -> bool {
    found.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_matches_by_whole_numbers() {
        assert!(is_of("3.11.7", "3.11") && is_of("3.11.7", "3.11.7") && is_of("3.1.2", "3.1"));
        assert!(!is_of("3.11.7", "3.1") && !is_of("3.11.7", "3.12"));
    }

    #[test]
    fn only_numbers_are_a_version() {
        assert!(is_version("3") && is_version("3.11") && is_version("3.11.7"));
        for bad in ["", "3.", "3.11.7.1", "3.x", "../python", "3 11", "9999"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
