//! Builds one environment in its place; a mark, written last, says that it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::python::{self, Python};
use super::tool::Tools;
use super::{EnvironmentAt, EnvironmentError, uv};

/// What is to be built, and where.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) path: PathBuf,
    pub(super) python: String,
    pub(super) lock: String,
}

/// Holds the prefix of the interpreter. Written after everything else, so without it there is no environment. A temporary name and a rename
/// would do as well, but scripts in an environment begin with its path.
const MARK: &str = "built-from";
/// A CUDA build of torch is 3 GB to fetch and unpack.
const INSTALL_WAIT: Duration = Duration::from_mins(30);
/// Ten thousand files.
const COMPILE_WAIT: Duration = Duration::from_mins(10);

impl Site {
    /// The environment, when it is whole and its interpreter still there.
    pub(super) fn standing(&self) -> Option<EnvironmentAt> {
        let python_prefix = PathBuf::from(fs::read_to_string(self.path.join(MARK)).ok()?);
        self.interpreter().exists().then(|| EnvironmentAt { path: self.path.clone(), python_prefix, built: false })
    }

    fn interpreter(&self) -> PathBuf {
        self.path.join("bin/python")
    }
}

pub(super) async fn build(site: Site, tools: Arc<Tools>) -> Result<EnvironmentAt, EnvironmentError> {
    let _held = held(&site.path).await?;
    if let Some(standing) = site.standing() {
        return Ok(standing);
    }
    let python = python::find(&tools, &site.python).await?;
    let uv = uv::find(&tools).await?;
    tracing::info!(python.version, environment.path = %site.path.display(), "building an environment");
    match fs::remove_dir_all(&site.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    install(&site, &tools, &uv, &python).await?;
    compile(&site, &tools, &python).await;
    mark(&site, &python)?;
    Ok(EnvironmentAt { path: site.path, python_prefix: python.prefix, built: true })
}

async fn install(site: &Site, tools: &Tools, uv: &Path, python: &Python) -> Result<(), EnvironmentError> {
    let (venv, executable) = (site.path.to_string_lossy(), python.executable.to_string_lossy());
    let args = ["venv", "--no-project", "--no-config", "--no-python-downloads", "--python", &executable, &venv];
    tools.run("uv venv", uv, args, INSTALL_WAIT).await?;
    // A copy that was checked, under a name whose format uv does not have to guess.
    let lock = site.path.join("requirements.txt");
    fs::write(&lock, &site.lock)?;
    let (lock, interpreter) = (lock.to_string_lossy(), site.interpreter());
    let interpreter = interpreter.to_string_lossy();
    // Wheels only: building a source package would run the publisher's code here, outside every wall.
    let args = ["pip", "sync", "--no-config", "--no-build", "--require-hashes", "--no-python-downloads", "--python", &interpreter, &lock];
    tools.run("uv pip sync", uv, args, INSTALL_WAIT).await?;
    Ok(())
}

/// Compiles what was installed, so that a model's first import does not. Not with uv's own switch: that starts the new environment's
/// interpreter, which would run the `.pth` files of the packages outside every wall. Without `site` (`-S`) none is looked at.
async fn compile(site: &Site, tools: &Tools, python: &Python) {
    let installed = site.path.join("lib");
    let installed = installed.to_string_lossy();
    let args = ["-I", "-S", "-m", "compileall", "-q", "-j", "0", &installed];
    if let Err(error) = tools.run("compileall", &python.executable, args, COMPILE_WAIT).await {
        // Packages bring files for other versions of Python; the rest is compiled all the same.
        tracing::debug!(%error, "not every file compiles");
    }
}

fn mark(site: &Site, python: &Python) -> io::Result<()> {
    let mark = tempfile::NamedTempFile::new_in(&site.path)?;
    fs::write(mark.path(), python.prefix.as_os_str().as_encoded_bytes())?;
    mark.as_file().sync_all()?;
    mark.persist(site.path.join(MARK)).map(drop).map_err(|error| error.error)
}

/// Waits until no other process builds the same thing; the lock ends with the file.
pub(super) async fn held(path: &Path) -> Result<File, EnvironmentError> {
    let lock = path.with_added_extension("lock");
    let held = tokio::task::spawn_blocking(move || {
        if let Some(parent) = lock.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(lock)?;
        // As long as the other's build.
        file.lock()?;
        Ok::<_, io::Error>(file)
    });
    Ok(held.await.map_err(io::Error::other)??)
}
