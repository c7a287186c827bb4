//! The programs of this machine that reading a project needs: Python for the syntax tree, uv for the lock.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::ProjectError;

/// Pinned: the same requirements resolve by the same rules everywhere.
const UV_VERSION: &str = "0.13.9";

/// Where programs are looked for, and where one that is missing may be put.
#[derive(Clone, Debug)]
pub struct Tools {
    pub home: PathBuf,
    pub search_path: String,
}

impl Tools {
    pub fn python(&self) -> Result<PathBuf, ProjectError> {
        find_program("python3", &self.search_path).ok_or(ProjectError::Missing("python3"))
    }

    /// uv from the path; without one there, a copy of our own, installed on first need, where the runner keeps its own.
    pub async fn uv(&self) -> Result<PathBuf, ProjectError> {
        if let Some(uv) = find_program("uv", &self.search_path) {
            return Ok(uv);
        }
        let directory = self.home.join("tools");
        let uv = directory.join(format!("uv-{UV_VERSION}"));
        if !is_program(&uv) {
            self.install_uv(&directory, &uv).await.map_err(ProjectError::Uv)?;
        }
        Ok(uv)
    }

    /// uv is a single program: of the environment that pip puts it in, only that is kept.
    async fn install_uv(&self, directory: &Path, uv: &Path) -> io::Result<()> {
        let python = find_program("python3", &self.search_path).ok_or_else(|| io::Error::other("there is no python3"))?;
        std::fs::create_dir_all(directory)?;
        let around = tempfile::tempdir_in(directory)?;
        run(Command::new(python).args(["-I", "-m", "venv"]).arg(around.path())).await?;
        let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:"];
        run(Command::new(around.path().join("bin/python")).args(pip).arg(format!("uv=={UV_VERSION}"))).await?;
        std::fs::rename(around.path().join("bin/uv"), uv)
    }
}

/// Runs a program to its end; its last words are the error when it fails.
async fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no reason given").to_owned()))
}

/// The first `name` on a `PATH`.
pub fn find_program(name: &str, search_path: &str) -> Option<PathBuf> {
    std::env::split_paths(search_path).map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
