//! `feira.toml`: what Cog's own file has no word for, and all of it for a model that brings its own server.

use std::path::Path;

use protocol::manifest::{Driver, Environment, HookSpec, HookStage, ModelProtocol, OnHookError, OpenAiSpec, Resources, RunLimits};
use protocol::{Pricing, VersionConfig};
use serde::Deserialize;
use serde_json::Value;

use super::{Blob, ProjectError, blob_of, read_text};

pub(super) const FILE: &str = "feira.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundle {
    pub description: Option<String>,
    pub license: Option<String>,
    protocol: Option<ModelProtocol>,
    #[serde(default)]
    command: Vec<String>,
    /// The path of an `OpenAPI` document with the schemas `Input` and `Output`.
    schema: Option<String>,
    concurrency: Option<u32>,
    environment: Option<Environment>,
    openai: Option<OpenAiSpec>,
    pub pricing: Option<Pricing>,
    #[serde(default)]
    hooks: Vec<Hook>,
    resources: Option<Resources>,
    limits: Option<RunLimits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    name: String,
    /// The path of a WebAssembly component.
    component: String,
    stages: Vec<HookStage>,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    on_error: OnHookError,
}

impl Bundle {
    pub fn read(root: &Path) -> Result<Option<Self>, ProjectError> {
        let Some(text) = read_text(root, FILE)? else { return Ok(None) };
        toml::from_str(&text).map(Some).map_err(|error| wrong(error.to_string().trim_end()))
    }

    /// The whole config of a model that brings its own server.
    pub fn version_config(&self, root: &Path) -> Result<VersionConfig, ProjectError> {
        let protocol = self.protocol.ok_or_else(|| wrong("`protocol` is missing: \"cog\" or \"openai\""))?;
        if self.command.is_empty() {
            return Err(wrong("`command` is missing: what starts the model's server"));
        }
        if protocol == ModelProtocol::Openai && self.openai.is_none() {
            return Err(wrong("`[openai]` is missing: where the server is spoken to"));
        }
        Ok(VersionConfig {
            protocol,
            driver: Driver::Process,
            command: self.command.clone(),
            predictor: None,
            trainer: None,
            environment: self.environment.clone(),
            concurrency: 1,
            resources: Resources::default(),
            limits: RunLimits::default(),
            hooks: Vec::new(),
            openai: self.openai.clone(),
            cog_version: String::new(),
            openapi_schema: self.read_schema(root)?,
            license: None,
        })
    }

    /// Adds to a config what this file says and another may have left open.
    pub fn refine(&self, config: &mut VersionConfig, hooks: Vec<HookSpec>) {
        config.hooks = hooks;
        config.license.clone_from(&self.license);
        config.concurrency = self.concurrency.unwrap_or(config.concurrency);
        config.resources = self.resources.unwrap_or(config.resources);
        config.limits = self.limits.unwrap_or(config.limits);
        config.openai = self.openai.clone().or_else(|| config.openai.take());
    }

    pub fn read_hooks(&self, root: &Path) -> Result<Vec<(HookSpec, Blob)>, ProjectError> {
        let read = |hook: &Hook| {
            let path = root.join(&hook.component);
            let component = std::fs::read(path).map_err(|source| ProjectError::File { path: hook.component.clone(), source })?;
            let blob = blob_of(&hook.component, component);
            let spec = HookSpec {
                name: hook.name.clone(),
                digest: blob.digest,
                stages: hook.stages.clone(),
                config: hook.config.clone(),
                on_error: hook.on_error,
            };
            Ok((spec, blob))
        };
        self.hooks.iter().map(read).collect()
    }

    /// Files that say something about the version and are none of it: the schema and the hooks.
    pub fn side_files(&self) -> impl Iterator<Item = String> {
        self.schema.iter().chain(self.hooks.iter().map(|hook| &hook.component)).cloned()
    }

    fn read_schema(&self, root: &Path) -> Result<Value, ProjectError> {
        let name = self.schema.as_ref().ok_or_else(|| wrong("`schema` is missing: the path of an OpenAPI document"))?;
        let text = read_text(root, name)?.ok_or_else(|| wrong(&format!("there is no {name}")))?;
        let document: Value = serde_json::from_str(&text).map_err(|error| wrong(&format!("{name}: {error}")))?;
        for schema in ["Input", "Output"] {
            if !document["components"]["schemas"][schema].is_object() {
                return Err(wrong(&format!("{name} has no components.schemas.{schema}")));
            }
        }
        Ok(document)
    }
}

fn wrong(reason: &str) -> ProjectError {
    ProjectError::Settings { file: FILE, reason: reason.to_owned() }
}
