//! Starts an instance from a zygote, where one is ready that is good for the version.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::manifest::ModelProtocol;
use protocol::prediction::{Errand, Rung};
use protocol::wire::Bundle;

use super::cog::CogDoor;
use super::command::{Places, command};
use super::lodging::Lodging;
use super::start::{Launched, Order, Site};
use crate::environment::EnvironmentAt;
use crate::files::Desk;
use crate::sidecar;
use crate::zygote::Kind;
use crate::zygote::imports::{Project, imports_of};

/// A module of source; generated ones are larger, and are not read.
const MODULE_BYTES_MAX: u64 = 1 << 20;

/// The zygote that a version could use.
#[derive(Debug)]
pub struct Wanted {
    pub kind: Kind,
    /// The version's own modules, by first names.
    own_modules: BTreeSet<String>,
}

impl Site {
    /// `None` for what does not start as Cog's server in an environment.
    pub(super) async fn wanted(&self, order: &Order, project: &Path, environment: Option<&EnvironmentAt>) -> Option<Wanted> {
        let config = &order.bundle.config;
        let environment = environment.filter(|_| config.protocol == ModelProtocol::Cog && config.command.is_empty())?;
        if !self.zygotes.are_for(&order.bundle.version) {
            return None;
        }
        let named = match order.errand {
            Errand::Predict => config.predictor.as_ref(),
            Errand::Train => config.trainer.as_ref(),
        };
        let entry = named?.split(':').next()?.to_owned();
        let (memory_bytes_max, gpu) = (self.memory_bytes_max(config), order.gpu);
        let (bundle, project, environment) = (order.bundle.clone(), project.to_owned(), environment.clone());
        // A few small files.
        let reading = tokio::task::spawn_blocking(move || {
            let own_modules = own_modules(&bundle);
            let on_disk = OnDisk { bundle, project, packages: packages(&environment.path)? };
            let imports = imports_of(&entry, &on_disk);
            let EnvironmentAt { path: environment, python_prefix, .. } = environment;
            Some(Wanted { kind: Kind { environment, python_prefix, imports, memory_bytes_max, gpu }, own_modules })
        });
        reading.await.ok().flatten()
    }

    /// Has a zygote become the version. One that does not is ended, and the version starts as ever.
    pub(super) async fn take_zygote(
        &self,
        order: &Order,
        project: &Path,
        environment: Option<&EnvironmentAt>,
        cog: &CogDoor,
        wanted: Option<&Wanted>,
    ) -> Option<(Launched, Lodging)> {
        let wanted = wanted?;
        let mut zygote = self.zygotes.take(&wanted.kind, &wanted.own_modules)?;
        let desk = Arc::new(Desk::new(zygote.confined.runner(), &self.entropy.bytes(), self.http.clone(), self.outside.clone()));
        let gpu = order.gpu.map(|gpu| self.gpus[gpu].uuid.clone());
        let places = Places { environment, feira_exe: &self.feira_exe, upload_url: &desk.upload_url(), cog, gpu: gpu.as_deref() };
        let command = command(&order.bundle.config, &places)?;
        let listener = match zygote.become_version(&command, project, self.zygotes.folder()).await.and_then(|()| zygote.confined.listen()) {
            Ok((listener, _)) => listener,
            Err(error) => {
                tracing::warn!(instance = order.id.0, %error, "a zygote did not take its version, which starts without one");
                self.zygotes.distrust(order.bundle.version);
                zygote.end().await;
                return None;
            }
        };
        let mut attendants = zygote.attendants;
        attendants.spawn(sidecar::serve(listener, desk.clone()));
        let launched = Launched { confined: Arc::new(zygote.confined), desk, prints: zygote.prints, attendants, rung: Rung::Zygote };
        Some((launched, zygote.lodging))
    }
}

/// A version's folder and its environment.
#[derive(Debug)]
struct OnDisk {
    bundle: Arc<Bundle>,
    project: PathBuf,
    packages: PathBuf,
}

impl Project for OnDisk {
    fn module(&self, path: &str) -> Option<String> {
        let file = self.bundle.files.iter().find(|file| file.path == path && file.size <= MODULE_BYTES_MAX)?;
        fs::read_to_string(self.project.join(&file.path)).ok()
    }

    fn is_installed(&self, root: &str) -> bool {
        self.packages.join(root).is_dir() || self.packages.join(format!("{root}.py")).is_file()
    }
}

/// `lib/python3.11/site-packages`
fn packages(environment: &Path) -> Option<PathBuf> {
    let of_python = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("python");
    Some(fs::read_dir(environment.join("lib")).ok()?.flatten().find(of_python)?.path().join("site-packages"))
}

/// What the version's folder adds to what Python can import, or puts in its place.
fn own_modules(bundle: &Bundle) -> BTreeSet<String> {
    let module = |path: &str| {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let is_package = rest.starts_with("__init__.") && !rest.contains('/');
        let is_module = rest.is_empty() && [".py", ".pyc", ".so"].iter().any(|end| first.ends_with(end));
        (is_package || is_module).then(|| first.split('.').next().unwrap_or(first).to_owned())
    };
    bundle.files.iter().filter_map(|file| module(&file.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::manifest::VersionFile;
    use protocol::{Digest, VersionId};
    use serde_json::json;

    #[test]
    fn own_modules_are_files_and_packages_at_the_top() {
        let paths = [
            "predict.py",
            "types.py",
            "lib/__init__.py",
            "lib/deep.py",
            "data/json.py",
            "fast.cpython-311-x86_64-linux-gnu.so",
            "a/b/__init__.py",
        ];
        let file = |path: &str| VersionFile { path: path.to_owned(), digest: Digest::of(b""), size: 0 };
        let bundle = Bundle {
            model: "acme/model".parse().unwrap(),
            version: VersionId::new(Digest::of(b"v")),
            config: serde_json::from_value(json!({"protocol": "cog", "openapi_schema": {}})).unwrap(),
            files: paths.into_iter().map(file).collect(),
        };
        let expected = ["fast", "lib", "predict", "types"].map(str::to_owned);
        assert_eq!(own_modules(&bundle), BTreeSet::from(expected));
    }
}
