//! The other objects of the public API: accounts, models, versions, files, hardware, pages.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::manifest::Driver;
use crate::money::{Credits, Price, Pricing};
use crate::prediction::Prediction;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// `user` or `organization`.
    #[serde(rename = "type")]
    pub kind: String,
    pub username: String,
    pub name: String,
    pub github_url: Option<String>,
    pub avatar_url: Option<String>,
}

/// What an account can still spend. All amounts are US dollars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// Bought or granted, and not yet spent; includes what is held.
    #[schema(value_type = String, example = "24.9999785")]
    pub credit: Credits,
    /// Reserved for predictions that have not ended.
    #[schema(value_type = String, example = "0")]
    pub held: Credits,
    #[schema(value_type = String, example = "24.9999785")]
    pub available: Credits,
}

/// What an account used in a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Not included.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// `day`, `model`, `token` or `hardware`.
    pub group_by: String,
    /// US dollars: the sum of the rows.
    #[schema(value_type = String, example = "0.0000215")]
    pub cost: Credits,
    pub rows: Vec<UsageRow>,
}

/// The predictions and trainings of one day, model, token or hardware that have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// A date, `owner/name`, a token's id or a SKU.
    #[schema(example = "2026-11-24")]
    pub key: String,
    pub predictions: i64,
    pub succeeded: i64,
    /// Microseconds that models ran.
    pub run_us: i64,
    /// US dollars.
    #[schema(value_type = String, example = "0.0000215")]
    pub cost: Credits,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    pub url: String,
    pub owner: String,
    pub name: String,
    pub description: Option<String>,
    /// `public` or `private`.
    pub visibility: String,
    pub is_official: bool,
    pub github_url: Option<String>,
    pub paper_url: Option<String>,
    pub license_url: Option<String>,
    pub weights_url: Option<String>,
    pub run_count: i64,
    pub cover_image_url: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub default_example: Option<Box<Prediction>>,
    pub latest_version: Option<Version>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The SKU its instances run on.
    pub hardware: String,
    pub pricing: Pricing,
    /// `language`, `image`, `audio`, `embedding`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Instances that would answer at once.
    pub warm: u32,
    /// What runs cost so far; absent where there is no sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// The measured distribution of a model's warm, successful runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    pub runs: u64,
    pub predict_p50_seconds: f64,
    pub predict_p95_seconds: f64,
    /// US dollars, at the middle of the sample.
    #[schema(value_type = String)]
    pub cost_p50: Credits,
}

/// Models that an operator put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Collection {
    #[schema(example = "Language models")]
    pub name: String,
    #[schema(example = "language-models")]
    pub slug: String,
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_description: Option<String>,
    /// Those that the caller may see; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<Model>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// 64 hexadecimal digits.
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    pub cog_version: String,
    /// What a runner must have to start it; a process, which all have, when it is not there.
    #[serde(default, skip_serializing_if = "Driver::is_process")]
    pub driver: Driver,
    #[schema(value_type = Object)]
    pub openapi_schema: Value,
    /// What a caller should know of its files; absent where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FileWarning>,
    /// Who vouches for it; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// What was found in a file of a version when it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileWarning {
    #[schema(example = "weights/model.pt")]
    pub path: String,
    pub kind: FileWarningKind,
    /// For people.
    pub detail: String,
    /// What loading it imports, as far as that can be read without doing it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["collections.OrderedDict", "torch._utils._rebuild_tensor_v2"]))]
    pub imports: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileWarningKind {
    /// Loading it runs what it says.
    Pickle,
}

/// A signature over a version, as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// `publisher`, for the version's files; `operator`, for its having been published here.
    pub signer: String,
    /// The SHA-256 of the public key's PEM.
    pub key: String,
    /// As the publisher calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// `ed25519`, `ecdsa-p256`, `ecdsa-p384` or `ecdsa-p521`.
    pub algorithm: String,
    /// `valid`, or `revoked` when the key was taken back.
    pub status: String,
    #[schema(value_type = String, format = DateTime)]
    pub signed_at: Timestamp,
    /// From when on the key is not to be believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// PEM; only where the bundle is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// A Sigstore bundle: a DSSE envelope with an in-toto statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub bundle: Option<Value>,
}

/// A public key with which an account signs, or the operator does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// The SHA-256 of its PEM.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `ed25519`, `ecdsa-p256`, `ecdsa-p384` or `ecdsa-p521`.
    pub algorithm: String,
    /// PEM.
    pub public_key: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Of the operator's: whether it is the one that signs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hardware {
    pub sku: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct File {
    pub id: String,
    pub name: String,
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    pub etag: String,
    pub checksums: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    pub urls: FileUrls,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileUrls {
    pub get: String,
}

/// A version with instances of its own, as its latest release has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    pub owner: String,
    pub name: String,
    pub current_release: Release,
}

/// What a deployment runs, from one change of it to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// From 1.
    pub number: i64,
    /// `owner/name`.
    #[schema(example = "feira/hello-world")]
    pub model: String,
    /// 64 hexadecimal digits.
    pub version: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    pub created_by: Account,
    pub configuration: Configuration,
}

/// On what a deployment runs, and how many instances of it there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    #[schema(example = "cpu")]
    pub hardware: String,
    /// Kept warm though nobody asks.
    pub min_instances: u32,
    /// 0 is off.
    pub max_instances: u32,
    /// Whether only versions run that their publisher has signed with a valid key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_signature: bool,
    /// Spare ones beyond those that are busy, while any is.
    #[serde(default, skip_serializing_if = "is_none")]
    pub buffer_instances: u32,
    /// How long an instance stays that nobody uses; as long as the runner has it when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_none(instances: &u32) -> bool {
    *instances == 0
}

/// A model that its owner would give to another account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transfer {
    #[schema(example = "ada/echo")]
    pub model: String,
    /// The names of accounts.
    pub from: String,
    pub to: String,
    #[schema(value_type = String, format = DateTime)]
    pub offered_at: Timestamp,
}

/// What an account keeps in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Storage {
    /// What its versions name, and what it has sent and not yet published.
    pub kept_bytes: u64,
    /// Of uploads under way, counted from their beginning.
    pub reserved_bytes: u64,
    /// What it may keep; null is no limit.
    pub limit_bytes: Option<u64>,
}

/// Where a tag of a model points, or pointed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TagMove {
    #[schema(example = "latest")]
    pub tag: String,
    /// Which move of this tag it is, from 1.
    pub number: i64,
    /// 64 hexadecimal digits.
    pub version: String,
    #[schema(value_type = String, format = DateTime)]
    pub moved_at: Timestamp,
    /// The name of an account, if there still is one.
    pub moved_by: Option<String>,
}

/// One page of a list, newest first. `next` and `previous` are absolute addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub next: Option<String>,
    pub previous: Option<String>,
    pub results: Vec<T>,
}

/// What a second of each kind of hardware costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HardwarePrice {
    pub sku: String,
    pub name: String,
    /// US dollars a second of a run.
    #[schema(value_type = String, example = "0.0001")]
    pub per_second: Price,
    /// US dollars a second in which an instance waits that a deployment keeps.
    #[schema(value_type = String, example = "0.000075")]
    pub active_per_second: Price,
}

/// Publishes a version from blobs that are already there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    pub config: crate::manifest::VersionConfig,
    pub files: Vec<crate::manifest::VersionFile>,
    /// Replaces the model's price from now on; it is no part of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<Pricing>,
}
