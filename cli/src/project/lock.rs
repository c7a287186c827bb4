//! The Python packages of a Cog project with exact versions and hashes: its own requirements.lock, else what uv resolves.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::cog::CogProject;
use super::{LOCK, ProjectError, Tools, read_text};

const WALL_MAX: Duration = Duration::from_mins(5);
/// What is shown of uv's own words when it fails.
const REASON_CHARS_MAX: usize = 2_000;

/// The lock that has to be added to the project's files; `None` when it has one of its own.
pub(super) async fn resolve(root: &Path, cog: &CogProject, tools: &Tools) -> Result<Option<Vec<u8>>, ProjectError> {
    if let Some(own) = read_text(root, LOCK)? {
        check(&own)?;
        return Ok(None);
    }
    let (packages, requirements) = cog.requirements();
    let mut uv = Command::new(tools.uv().await?);
    // The same project gives the same bytes anywhere: no comment that names a machine, an index or a way there.
    uv.args([
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ])
    .args(["--color", "never", "--python-platform", "linux", "--python-version", &cog.python()?])
    .args(requirements)
    .arg("-")
    .current_dir(root)
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .kill_on_drop(true);
    let run = async {
        let mut child = uv.spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(packages.as_bytes()).await?;
        drop(stdin);
        child.wait_with_output().await
    };
    let failed = |error: io::Error| ProjectError::Lock(error.to_string());
    let output = timeout(WALL_MAX, run).await.map_err(|_| ProjectError::Lock("uv takes too long".to_owned()))?.map_err(failed)?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(ProjectError::Lock(words.trim().chars().take(REASON_CHARS_MAX).collect()))
}

/// A lock without hashes, or without Cog, would only fail on the runner.
fn check(lock: &str) -> Result<(), ProjectError> {
    let wrong = |reason: &str| ProjectError::Settings { file: LOCK, reason: reason.to_owned() };
    if !lock.contains("--hash=sha256:") {
        return Err(wrong("its requirements have no hashes; delete it, and push resolves the packages anew"));
    }
    if !lock.lines().any(|line| line.trim_start().starts_with("cog==")) {
        return Err(wrong("it does not pin cog, which starts the predictor; delete it, and push adds it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_could_not_be_installed_is_refused() {
        assert!(check("cog==0.23.1 --hash=sha256:00").is_ok());
        assert!(check("cog==0.23.1").unwrap_err().to_string().contains("no hashes"));
        assert!(check("numpy==2.0.0 --hash=sha256:00").unwrap_err().to_string().contains("does not pin cog"));
    }
}
