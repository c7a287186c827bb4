//! A folder that can be published: a Cog project, a model with a server of its own (feira.toml), or a Cog project with a feira.toml
//! that adds price, hooks and words. Reading one runs nothing of it.

mod bundle;
mod cog;
mod dockerignore;
mod files;
mod lock;
pub mod openapi;
mod predictor;
mod tools;

use std::io;
use std::path::Path;

use bytes::Bytes;
use indicatif::ProgressBar;
use protocol::api::NewVersion;
use protocol::manifest::VersionFile;
use protocol::{Digest, Pricing, VersionConfig};

use crate::client::{Blob, Source};

pub use tools::{Tools, find_program};

/// The release whose contract the runner speaks to a predictor.
pub const COG_VERSION: &str = "0.23.1";
/// The lock that is used when the project has one, and that a resolved one is published as.
pub const LOCK: &str = "requirements.lock";

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("there is neither a cog.yaml nor a feira.toml in {0}")]
    NotAProject(String),
    #[error("{file}: {reason}")]
    Settings { file: &'static str, reason: String },
    #[error("{0}")]
    Predictor(String),
    #[error("the requirements cannot be resolved: {0}")]
    Lock(String),
    #[error("{0} is needed and was not found; `feira doctor` says more")]
    Missing(&'static str),
    #[error("uv, which resolves the requirements, cannot be installed: {0}")]
    Uv(io::Error),
    #[error("{path} cannot be read: {source}")]
    File { path: String, source: io::Error },
    #[error("{0} is a link to something outside of the project; copy it, or name it in .feiraignore")]
    Outside(String),
    #[error("{0} has a name that is not UTF-8")]
    Name(String),
    #[error("the project has more than {0} files; name what is not needed in .feiraignore")]
    TooManyFiles(usize),
}

/// All that a version is made of, read and hashed, and nothing of it sent yet.
#[derive(Debug)]
pub struct Project {
    pub config: VersionConfig,
    pub files: Vec<VersionFile>,
    /// The contents of the files and of the hooks.
    pub blobs: Vec<Blob>,
    pub pricing: Option<Pricing>,
    /// What the model is, in a sentence.
    pub description: Option<String>,
    /// What the publisher should know before callers find out.
    pub notes: Vec<String>,
}

impl Project {
    /// Reads the project in `root`. `bar` counts the bytes that are hashed.
    pub async fn read(root: &Path, tools: &Tools, bar: &ProgressBar) -> Result<Self, ProjectError> {
        let cog = cog::CogProject::read(root)?;
        let bundle = bundle::Bundle::read(root)?;
        let mut notes = Vec::new();
        let mut made = None;
        let mut config = match (&cog, &bundle) {
            (Some(cog), _) => {
                notes.extend(cog.notes());
                let signature = predictor::read(root, cog, tools).await?;
                made = lock::resolve(root, cog, tools).await?.map(|lock| blob_of(LOCK, lock));
                cog.version_config(signature)?
            }
            (None, Some(bundle)) => bundle.version_config(root)?,
            (None, None) => return Err(ProjectError::NotAProject(root.display().to_string())),
        };
        let mut not_files = vec![bundle::FILE.to_owned(), files::IGNORE.to_owned()];
        let mut hooks = Vec::new();
        if let Some(bundle) = &bundle {
            not_files.extend(bundle.side_files());
            hooks = bundle.read_hooks(root)?;
            bundle.refine(&mut config, hooks.iter().map(|(spec, _)| spec.clone()).collect());
        }
        let listed = files::list(root, &not_files)?;
        let bar = bar.clone();
        let mut blobs = tokio::task::spawn_blocking(move || files::hash(&listed, &bar)).await.expect("hashing does not panic")?;
        blobs.retain(|blob| made.as_ref().is_none_or(|made| made.label != blob.label));
        blobs.extend(made);
        blobs.sort_by(|a, b| a.label.cmp(&b.label));
        let files: Vec<_> =
            blobs.iter().map(|blob| VersionFile { path: blob.label.clone(), digest: blob.digest, size: blob.size }).collect();
        require_lock(&config, &files)?;
        blobs.extend(hooks.into_iter().map(|(_, blob)| blob));
        let pricing = bundle.as_ref().and_then(|bundle| bundle.pricing);
        Ok(Self { config, files, blobs, pricing, description: bundle.and_then(|bundle| bundle.description), notes })
    }

    pub fn new_version(&self) -> NewVersion {
        NewVersion { config: self.config.clone(), files: self.files.clone(), pricing: self.pricing }
    }
}

fn require_lock(config: &VersionConfig, files: &[VersionFile]) -> Result<(), ProjectError> {
    let Some(environment) = &config.environment else { return Ok(()) };
    if files.iter().any(|file| file.path == environment.lock) {
        return Ok(());
    }
    Err(ProjectError::Settings { file: bundle::FILE, reason: format!("the lock {} is not among the files", environment.lock) })
}

fn blob_of(label: &str, content: Vec<u8>) -> Blob {
    let content = Bytes::from(content);
    Blob { digest: Digest::of(&content), size: content.len() as u64, label: label.to_owned(), source: Source::Bytes(content) }
}

/// Reads a small text file of the project; `None` when it is not there.
fn read_text(root: &Path, name: &str) -> Result<Option<String>, ProjectError> {
    match std::fs::read_to_string(root.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ProjectError::File { path: name.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    pub(super) fn tools() -> Tools {
        let search_path = crate::settings::from_process("PATH").unwrap_or_default();
        Tools { home: std::env::temp_dir(), search_path }
    }

    const SCHEMA: &str = r#"{"openapi": "3.0.2", "components": {"schemas": {"Input": {"type": "object"}, "Output": {"type": "string"}}}}"#;
    const BUNDLE: &str = r#"
        description = "Talks."
        license = "MIT"
        protocol = "openai"
        command = ["python", "serve.py"]
        schema = "schema.json"
        concurrency = 4
        [openai]
        endpoint = "/v1/chat/completions"
        ready = "/health"
        [pricing]
        unit = "token"
        prompt = "0.00000015"
        completion = "0.0000006"
        [[hooks]]
        name = "redact"
        component = "redact.wasm"
        stages = ["after"]
        config = { words = ["a"] }
    "#;

    #[tokio::test]
    async fn a_model_with_a_server_of_its_own_needs_only_a_feira_toml() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (name, content) in
            [("feira.toml", BUNDLE), ("schema.json", SCHEMA), ("redact.wasm", "\0asm"), ("serve.py", "1"), (".env", "K=v")]
        {
            fs::write(root.join(name), content).unwrap();
        }
        fs::create_dir(root.join("__pycache__")).unwrap();
        fs::write(root.join("__pycache__/serve.pyc"), "x").unwrap();
        let project = Project::read(root, &tools(), &ProgressBar::hidden()).await.unwrap();
        assert_eq!(project.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["serve.py"]);
        assert_eq!(project.blobs.len(), 2);
        assert_eq!(project.config.hooks[0].digest, Digest::of(b"\0asm"));
        assert_eq!(project.config.hooks[0].config, json!({"words": ["a"]}));
        assert_eq!((project.config.concurrency, project.config.license.as_deref()), (4, Some("MIT")));
        assert!(matches!(project.pricing, Some(Pricing::Token { .. })));
    }

    #[tokio::test]
    async fn a_cog_project_with_a_lock_is_read_without_asking_anyone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let predict =
            "from cog import BasePredictor\nclass Predictor(BasePredictor):\n  def predict(self, text: str) -> str:\n    return text\n";
        fs::write(root.join("predict.py"), predict).unwrap();
        fs::write(root.join("cog.yaml"), "build:\n  gpu: true\n  python_version: \"3.11.7\"\npredict: predict.py:Predictor\n").unwrap();
        fs::write(root.join(LOCK), "cog==0.23.1 --hash=sha256:00\n").unwrap();
        let project = Project::read(root, &tools(), &ProgressBar::hidden()).await.unwrap();
        let config = &project.config;
        assert_eq!(config.predictor.as_deref(), Some("predict.py:Predictor"));
        assert_eq!(config.environment.as_ref().map(|environment| environment.python.as_str()), Some("3.11"));
        assert!(config.resources.gpu);
        assert_eq!(config.input_schema()["properties"]["text"]["title"], "Text");
        assert_eq!(config.openapi_schema["paths"]["/predictions"]["post"]["x-cog-streaming"], true);
        let again = Project::read(root, &tools(), &ProgressBar::hidden()).await.unwrap();
        assert_eq!(again.new_version(), project.new_version());
    }

    #[tokio::test]
    async fn what_is_no_project_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |error: ProjectError| error.to_string();
        let read = async || Project::read(dir.path(), &tools(), &ProgressBar::hidden()).await.map_err(refused).unwrap_err();
        assert!(read().await.starts_with("there is neither a cog.yaml nor a feira.toml"));
        fs::write(dir.path().join("feira.toml"), "protcol = \"cog\"").unwrap();
        assert!(read().await.contains("unknown field `protcol`"));
        fs::write(dir.path().join("feira.toml"), "protocol = \"cog\"").unwrap();
        assert_eq!(read().await, "feira.toml: `command` is missing: what starts the model's server");
        fs::write(dir.path().join("cog.yaml"), "build:\n  python_version: 3.10\npredict: p.py:P\n").unwrap();
        assert!(read().await.contains("quotes"));
    }
}
