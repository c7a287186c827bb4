//! `cog.yaml`: which predictor, which Python, which packages. What only a container image could do is told, not guessed.

use std::path::Path;

use protocol::VersionConfig;
use protocol::manifest::{Driver, Environment, ModelProtocol, Resources, RunLimits};
use serde::Deserialize;

use super::predictor::Signature;
use super::{COG_VERSION, LOCK, ProjectError, openapi, read_text};

const FILE: &str = "cog.yaml";
/// What a project that names no Python gets.
const PYTHON: &str = "3.12";

/// Unknown keys are passed over: the file is Cog's, and its next release may know more of them.
#[derive(Debug, Deserialize)]
pub(super) struct CogProject {
    #[serde(default)]
    build: Build,
    /// `file.py:Class`, or a function in its place.
    #[serde(alias = "run")]
    predict: Option<String>,
    pub train: Option<String>,
    #[serde(default)]
    concurrency: Concurrency,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Build {
    gpu: bool,
    python_version: Option<PythonVersion>,
    python_packages: Vec<String>,
    python_requirements: Option<String>,
    system_packages: Vec<String>,
    run: Vec<serde_yaml_ng::Value>,
}

/// YAML reads an unquoted 3.10 as the number 3.1.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PythonVersion {
    Text(String),
    Number(f64),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Concurrency {
    max: Option<u32>,
}

impl CogProject {
    pub fn read(root: &Path) -> Result<Option<Self>, ProjectError> {
        let Some(text) = read_text(root, FILE)? else { return Ok(None) };
        let project: Self = serde_yaml_ng::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        project.predictor()?;
        project.python()?;
        Ok(Some(project))
    }

    pub fn predictor(&self) -> Result<&str, ProjectError> {
        self.predict.as_deref().ok_or_else(|| wrong("`predict` is missing: write `predict: \"predict.py:Predictor\"`"))
    }

    /// Major and minor: the patch release is whatever the runner has.
    pub fn python(&self) -> Result<String, ProjectError> {
        let text = match &self.build.python_version {
            None => PYTHON.to_owned(),
            Some(PythonVersion::Text(text)) => text.clone(),
            Some(PythonVersion::Number(number)) => return Err(wrong(&format!("put the python_version {number} in quotes"))),
        };
        let mut parts = text.split('.');
        match (parts.next().map(str::parse::<u8>), parts.next().map(str::parse::<u8>)) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(format!("{major}.{minor}")),
            _ => Err(wrong(&format!("the python_version {text} is not one such as \"3.12\""))),
        }
    }

    /// What uv is to resolve: the packages, one a line, and the requirements file.
    pub fn requirements(&self) -> (String, Option<&str>) {
        let packages = self.build.python_packages.join("\n");
        (format!("{packages}\ncog=={COG_VERSION}\n"), self.build.python_requirements.as_deref())
    }

    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.build.system_packages.is_empty() {
            let packages = self.build.system_packages.join(", ");
            notes.push(format!("build.system_packages ({packages}) are not installed: models run without an image of their own"));
        }
        if !self.build.run.is_empty() {
            notes.push("build.run is not executed: models run without an image of their own".to_owned());
        }
        notes
    }

    pub fn version_config(&self, signature: Signature) -> Result<VersionConfig, ProjectError> {
        let concurrency = self.concurrency.max.unwrap_or(1).max(signature.predict.concurrency);
        Ok(VersionConfig {
            protocol: ModelProtocol::Cog,
            driver: Driver::Process,
            command: Vec::new(),
            predictor: Some(self.predictor()?.to_owned()),
            trainer: self.train.clone(),
            environment: Some(Environment { python: self.python()?, lock: LOCK.to_owned() }),
            concurrency,
            resources: Resources { gpu: self.build.gpu, ..Resources::default() },
            limits: RunLimits::default(),
            hooks: Vec::new(),
            openai: None,
            cog_version: COG_VERSION.to_owned(),
            openapi_schema: openapi::document(signature).map_err(ProjectError::Predictor)?,
            license: None,
        })
    }
}

fn wrong(reason: &str) -> ProjectError {
    ProjectError::Settings { file: FILE, reason: reason.to_owned() }
}
