//! One zygote: its processes wait in their walls, and its project is empty until it is told which version it is.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Folder;
use super::shelf::{Kind, Unfit};
use crate::environment::EnvironmentAt;
use crate::instance::command::{Command, surroundings};
use crate::instance::lodging::Lodging;
use crate::instance::start::{Attendants, Site};
use crate::prints::Prints;
use crate::sandbox::{Confined, Launch, LaunchError};

#[derive(Debug)]
pub struct Zygote {
    pub confined: Confined,
    pub lodging: Lodging,
    pub prints: Prints,
    pub attendants: Attendants,
    voice: UnixStream,
    /// What is imported, by first names.
    modules: BTreeSet<String>,
}

/// The first import of torch from a cold disk takes half of it.
const PREPARE_WAIT: Duration = Duration::from_mins(2);
/// Names of modules; a thousand of them are 20 kB.
const REPORT_BYTES_MAX: u32 = 4 << 20;
/// What the environments' own programs are started with.
const MODULE_SWITCH: &str = "-m";

/// What a zygote says once, when it is ready or will not be.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Report {
    Unfit { unfit: String, module: Option<String> },
    Ready { modules: BTreeSet<String> },
}

impl Zygote {
    /// Starts one and waits until it has imported what the kind names. `number` is unique among those that live.
    pub async fn prepare(site: &Site, folder: &Folder, kind: &Kind, number: u32, stop: &CancellationToken) -> Result<Self, Unfit> {
        let lodging = site.lodging_of_zygote(number);
        let confined = match Self::launch(site, folder, kind, number, &lodging).await {
            Ok(confined) => confined,
            Err(error) => {
                lodging.clear().await;
                return Err(unfit(&error));
            }
        };
        let prints = Prints::default();
        let mut attendants = JoinSet::new();
        if let Some((stdout, stderr)) = confined.take_output() {
            attendants.spawn(prints.clone().capture(stdout));
            attendants.spawn(prints.clone().capture(stderr));
        }
        let voice = confined.take_voice().ok_or_else(|| unfit(&io::Error::other("the launcher sent no voice")));
        let hearing = async {
            let mut voice = tokio_stream(voice?).map_err(|error| unfit(&error))?;
            match timeout(PREPARE_WAIT, hear(&mut voice)).await {
                Ok(Ok(Report::Ready { modules })) => Ok((voice, modules)),
                Ok(Ok(Report::Unfit { unfit, module })) => Err(Unfit { why: unfit, module }),
                Ok(Err(error)) => Err(unfit(&error)),
                Err(_) => Err(unfit(&io::Error::from(io::ErrorKind::TimedOut))),
            }
        };
        let heard = tokio::select! {
            heard = hearing => heard,
            () = stop.cancelled() => Err(unfit(&io::Error::other("the runner stops"))),
        };
        match heard {
            Ok((voice, modules)) => Ok(Self { confined, lodging, prints, attendants, voice, modules }),
            Err(unfit) => {
                confined.kill_all().await;
                lodging.clear().await;
                tracing::debug!(prints = prints.tail(), "a zygote was not made");
                Err(unfit)
            }
        }
    }

    async fn launch(site: &Site, folder: &Folder, kind: &Kind, number: u32, lodging: &Lodging) -> Result<Confined, LaunchError> {
        let project = lodging.project.clone().ok_or(LaunchError::Incomplete)?;
        make_folder(&project).map_err(LaunchError::Scratch)?;
        let environment = EnvironmentAt { path: kind.environment.clone(), python_prefix: kind.python_prefix.clone(), built: false };
        let gpu = kind.gpu.map(|gpu| site.gpus[gpu].uuid.clone());
        let imports = serde_json::to_string(&kind.imports).map_err(io::Error::from).map_err(LaunchError::Launcher)?;
        let launch = Launch {
            argv: vec![text(&environment.path.join("bin/python")), text(&folder.script()), imports],
            env: surroundings(Some(&environment), gpu.as_deref()),
            project,
            read_only: vec![environment.path, environment.python_prefix, folder.path().to_owned(), site.feira_exe.clone()],
            scratch: lodging.scratch.clone(),
            memory_bytes_max: kind.memory_bytes_max,
            scratch_bytes_max: site.scratch_bytes_max,
            gpus: gpu.into_iter().collect(),
            seat: Site::seat_of_zygote(number),
            doors: site.sandbox.doors().map_err(LaunchError::Launcher)?,
            hears: true,
        };
        site.sandbox.launch(launch).await
    }

    /// Whether the version's own modules stay what they are to it: those of a name that is imported already would never be read.
    pub fn leaves_alone(&self, own_modules: &BTreeSet<String>) -> bool {
        self.modules.is_disjoint(own_modules)
    }

    /// Puts the version's files in its place and has it become what the command says.
    pub async fn become_version(&mut self, command: &Command, project: &Path, folder: &Folder) -> io::Result<()> {
        let [_, switch, module @ ..] = &command.argv[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
        let ours = self.lodging.project.clone().ok_or(io::ErrorKind::NotFound)?;
        if switch != MODULE_SWITCH {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (from, to) = (project.to_owned(), ours.clone());
        tokio::task::spawn_blocking(move || link_all(&from, &to)).await.map_err(io::Error::other)??;
        let mut env: serde_json::Map<_, _> = command.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        if let Some(path) = env.get_mut("PATH") {
            *path = json!(format!("{}:{}", folder.path().display(), path.as_str().unwrap_or_default()));
        }
        let order = serde_json::to_vec(&json!({"module": module, "env": env, "folder": ours}))?;
        self.voice.write_all(&u32::try_from(order.len()).map_err(io::Error::other)?.to_le_bytes()).await?;
        self.voice.write_all(&order).await
    }

    /// Ends one that nobody needs.
    pub async fn end(self) {
        self.confined.kill_all().await;
        self.lodging.clear().await;
    }
}

fn unfit(error: &dyn std::error::Error) -> Unfit {
    Unfit { why: error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")), module: None }
}

fn tokio_stream(voice: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    voice.set_nonblocking(true)?;
    UnixStream::from_std(voice)
}

async fn hear(voice: &mut UnixStream) -> io::Result<Report> {
    let length = voice.read_u32_le().await?;
    if length > REPORT_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut report = Vec::new();
    voice.take(length.into()).read_to_end(&mut report).await?;
    Ok(serde_json::from_slice(&report)?)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The model's user must find the way, whatever files are made for by default here; that nothing can be written is for the walls to see to.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Shows the files of one folder in another, which is empty, as links.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            make_folder(&place)?;
            link_all(&entry.path(), &place)?;
        } else {
            fs::hard_link(entry.path(), place)?;
        }
    }
    Ok(())
}
