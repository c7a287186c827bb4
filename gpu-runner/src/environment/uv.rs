//! Finds uv on the search path, or puts a pinned one under the runner's home, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::EnvironmentError;
use super::build::held;
use super::python;
use super::tool::Tools;

/// The release that this code was written and measured against.
const UV: &str = "0.13.9";
/// One wheel of 20 MB.
const INSTALL_WAIT: Duration = Duration::from_mins(5);

pub(super) async fn find(tools: &Tools) -> Result<PathBuf, EnvironmentError> {
    if let Some(uv) = tools.candidates("uv").next() {
        return Ok(uv);
    }
    let uv = tools.directory.join(format!("uv-{UV}"));
    if uv.is_file() {
        return Ok(uv);
    }
    let _held = held(&uv).await?;
    if !uv.is_file() {
        install(tools, &uv).await?;
    }
    Ok(uv)
}

/// uv is a single program: of the environment that pip puts it in, only that is kept.
async fn install(tools: &Tools, uv: &Path) -> Result<(), EnvironmentError> {
    tracing::info!(version = UV, "installing uv");
    let python = python::find(tools, "3").await?;
    let around = tempfile::tempdir_in(&tools.directory)?;
    let venv = around.path().to_string_lossy();
    tools.run("python -m venv", &python.executable, ["-I", "-m", "venv", &venv], INSTALL_WAIT).await?;
    let pip = around.path().join("bin/python");
    let wanted = format!("uv=={UV}");
    let args = ["-m", "pip", "install", "--no-input", "--no-cache-dir", "--no-deps", "--only-binary", ":all:", &wanted];
    tools.run("pip install uv", &pip, args, INSTALL_WAIT).await?;
    fs::rename(around.path().join("bin/uv"), uv)?;
    Ok(())
}
