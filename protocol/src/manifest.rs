//! What a version is: an OCI manifest that names a config, the files of the project and its hooks, each by digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{Digest, VersionId};
use crate::prediction::Errand;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const ARTIFACT_TYPE: &str = "application/vnd.feira.version.v1";
pub const CONFIG_TYPE: &str = "application/vnd.feira.version.config.v1+json";
/// One file of the project; its path is the layer's title.
pub const FILE_TYPE: &str = "application/vnd.feira.file.v1";
/// One WebAssembly component.
pub const HOOK_TYPE: &str = "application/wasm";
/// The annotation by which OCI tools know a layer's file name.
pub const TITLE: &str = "org.opencontainers.image.title";

/// The document whose SHA-256 is the version's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u8,
    pub media_type: String,
    pub artifact_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// Names a blob: what it is, its digest and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A file of a version: where it lies in the project, and which blob holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VersionFile {
    /// Relative, with `/`, without `.` and `..`.
    #[schema(example = "predict.py")]
    pub path: String,
    #[schema(value_type = String, example = "sha256:…")]
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Manifest {
    /// Puts a version together; the same config and files give the same bytes, whatever order the files come in.
    pub fn new(config: &VersionConfig, files: &[VersionFile], hook_sizes: &BTreeMap<Digest, u64>) -> (Self, Vec<u8>) {
        let config_bytes = config.to_bytes();
        let mut files: Vec<&VersionFile> = files.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let file_layer = |file: &VersionFile| Descriptor {
            media_type: FILE_TYPE.to_owned(),
            digest: file.digest,
            size: file.size,
            annotations: BTreeMap::from([(TITLE.to_owned(), file.path.clone())]),
        };
        let hook_layer = |(digest, size): (&Digest, &u64)| Descriptor {
            media_type: HOOK_TYPE.to_owned(),
            digest: *digest,
            size: *size,
            annotations: BTreeMap::new(),
        };
        let manifest = Self {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: ARTIFACT_TYPE.to_owned(),
            config: Descriptor {
                media_type: CONFIG_TYPE.to_owned(),
                digest: Digest::of(&config_bytes),
                size: config_bytes.len() as u64,
                annotations: BTreeMap::new(),
            },
            layers: files.into_iter().map(file_layer).chain(hook_sizes.iter().map(hook_layer)).collect(),
        };
        (manifest, config_bytes)
    }

    /// The exact bytes that are stored, served and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has only text, numbers and lists")
    }

    pub fn id(&self) -> VersionId {
        VersionId::new(Digest::of(&self.to_bytes()))
    }

    pub fn files(&self) -> Vec<VersionFile> {
        self.layers
            .iter()
            .filter(|layer| layer.media_type == FILE_TYPE)
            .filter_map(|layer| {
                let path = layer.annotations.get(TITLE)?.clone();
                Some(VersionFile { path, digest: layer.digest, size: layer.size })
            })
            .collect()
    }
}

/// How a version runs: everything about it that is not a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionConfig {
    pub protocol: ModelProtocol,
    /// What a runner must have to start it.
    #[serde(default, skip_serializing_if = "Driver::is_process")]
    pub driver: Driver,
    /// What starts the model's server, with `PORT` in its environment. Empty for a Cog predictor: Cog's own server is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// `file.py:Class` of a Cog predictor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictor: Option<String>,
    /// `file.py:function` of a Cog trainer, for a version that can be trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Predictions that one instance runs at a time.
    #[serde(default = "one")]
    pub concurrency: u32,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub limits: RunLimits,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAiSpec>,
    /// The release of Cog whose contract the model speaks.
    #[serde(default)]
    pub cog_version: String,
    /// An `OpenAPI` 3.0 document with `components.schemas.Input` and `Output`, and `TrainingInput` where there is a trainer.
    #[schema(value_type = Object)]
    pub openapi_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

const fn one() -> u32 {
    1
}

impl VersionConfig {
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a config has only text, numbers, lists and maps with text keys")
    }

    /// Whether the model's output arrives piece by piece.
    pub fn is_iterator(&self) -> bool {
        self.output_schema().get("x-cog-array-type").and_then(Value::as_str) == Some("iterator")
    }

    /// Whether each piece of that output is a file.
    pub fn streams_files(&self) -> bool {
        self.is_iterator() && self.output_schema()["items"]["format"] == "uri"
    }

    pub fn input_schema(&self) -> &Value {
        &self.openapi_schema["components"]["schemas"]["Input"]
    }

    /// The schema of what an errand is given: `Input`, or `TrainingInput` of a version with a trainer.
    pub fn input_schema_of(&self, errand: Errand) -> &Value {
        match errand {
            Errand::Predict => self.input_schema(),
            Errand::Train => &self.openapi_schema["components"]["schemas"]["TrainingInput"],
        }
    }

    pub fn output_schema(&self) -> &Value {
        &self.openapi_schema["components"]["schemas"]["Output"]
    }

    /// The schema of what an errand gives: `Output`, or `TrainingOutput` of a version with a trainer.
    pub fn output_schema_of(&self, errand: Errand) -> &Value {
        match errand {
            Errand::Predict => self.output_schema(),
            Errand::Train => &self.openapi_schema["components"]["schemas"]["TrainingOutput"],
        }
    }
}

/// How an instance comes to life on a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A process of the version's own files.
    #[default]
    Process,
    /// A container of the image that the version is, as Cog builds them.
    Oci,
}

impl Driver {
    pub const fn is_process(&self) -> bool {
        matches!(self, Self::Process)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Oci => "oci",
        }
    }
}

/// The contract between the runner and the model's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelProtocol {
    /// Cog's HTTP contract.
    Cog,
    /// A server with `OpenAI`'s HTTP API.
    Openai,
}

/// The Python environment: built by uv from a resolved lock and shared by all versions that name the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Environment {
    #[schema(example = "3.11")]
    pub python: String,
    /// The path, among the version's files, of a requirements file with exact versions and hashes.
    #[schema(example = "requirements.lock")]
    pub lock: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Resources {
    pub gpu: bool,
    /// Bytes that one instance needs on the GPU.
    pub gpu_memory_bytes: u64,
    /// Bytes of ordinary memory that one instance may use; 0 is the runner's default.
    pub memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct RunLimits {
    /// From the start of the process until it is ready.
    pub setup_seconds_max: u32,
    /// One prediction.
    pub run_seconds_max: u32,
}

impl Default for RunLimits {
    /// Replicate's own limits: ten minutes to set up, thirty to run.
    fn default() -> Self {
        Self { setup_seconds_max: 600, run_seconds_max: 1_800 }
    }
}

/// A WebAssembly component that the gateway runs around the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HookSpec {
    #[schema(example = "redact")]
    pub name: String,
    #[schema(value_type = String, example = "sha256:…")]
    pub digest: Digest,
    /// Which of the component's doors are used; the component must export them.
    pub stages: Vec<HookStage>,
    /// Handed to the hook as it is.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub config: Value,
    #[serde(default)]
    pub on_error: OnHookError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookStage {
    Before,
    Stream,
    After,
}

/// What happens to the call when the hook itself fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnHookError {
    #[default]
    Fail,
    Pass,
}

/// How a model is spoken to by clients of `OpenAI`: which of its routes it serves, and where its own server answers if it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAiSpec {
    /// `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`.
    pub endpoint: String,
    /// Answers 200 once the model's own server has loaded it. A Cog predictor needs none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(example = "/health")]
    pub ready: String,
    /// The name that the server expects in `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> VersionConfig {
        serde_json::from_value(json!({"protocol": "cog", "predictor": "predict.py:Predictor", "openapi_schema": {}})).unwrap()
    }

    fn file(path: &str, content: &[u8]) -> VersionFile {
        VersionFile { path: path.to_owned(), digest: Digest::of(content), size: content.len() as u64 }
    }

    #[test]
    fn the_order_in_which_files_are_named_does_not_change_the_id() {
        let (a, b) = (file("a.py", b"1"), file("b.py", b"2"));
        let none = BTreeMap::new();
        let (first, _) = Manifest::new(&config(), &[a.clone(), b.clone()], &none);
        let (second, _) = Manifest::new(&config(), &[b, a], &none);
        assert_eq!(first.id(), second.id());
    }

    #[test]
    fn one_changed_byte_makes_another_version() {
        let none = BTreeMap::new();
        let (first, _) = Manifest::new(&config(), &[file("a.py", b"1")], &none);
        let (second, _) = Manifest::new(&config(), &[file("a.py", b"2")], &none);
        assert_ne!(first.id(), second.id());
    }

    #[test]
    fn a_manifest_reads_back_as_the_same_bytes() {
        let (manifest, _) = Manifest::new(&config(), &[file("a.py", b"1")], &BTreeMap::from([(Digest::of(b"w"), 1)]));
        let again: Manifest = serde_json::from_slice(&manifest.to_bytes()).unwrap();
        assert_eq!(again.to_bytes(), manifest.to_bytes());
        assert_eq!(again.files().len(), 1);
    }
}
