//! Images that Cog built: their labels say what callers must know, and the image itself is what runs.
//!
//! The labels: <https://github.com/replicate/cog/blob/main/pkg/docker/command/manifest.go>; those under `org.cogmodel` are of older releases.

use std::collections::BTreeMap;

use protocol::manifest::{Driver, ModelProtocol, Resources, RunLimits};
use protocol::oci::MANIFEST_BYTES_MAX;
use protocol::{OciManifest, VersionConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::Registry;
use crate::oci::OciError;
use crate::versions::PublishError;

const CONFIG_TYPES: [&str; 2] = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const SCHEMA: [&str; 2] = ["run.cog.openapi_schema", "org.cogmodel.openapi_schema"];
const VERSION: [&str; 2] = ["run.cog.version", "org.cogmodel.cog_version"];
const CONFIG: [&str; 2] = ["run.cog.config", "org.cogmodel.config"];
/// Bytes of an image's config: with its labels and its history it is far smaller.
const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Manifests of an index in which an image of Cog is looked for.
const CHILDREN_MAX: usize = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ImageConfig {
    config: Option<ContainerConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerConfig {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl Registry {
    /// How the image runs, if Cog built it; of an index, its first image that Cog built.
    pub(super) async fn read_image(&self, manifest: &OciManifest) -> Result<Option<VersionConfig>, OciError> {
        if let Some(found) = self.read_labels(manifest).await? {
            return Ok(Some(found));
        }
        for child in manifest.manifests().iter().take(CHILDREN_MAX) {
            let Some(bytes) = self.blobs.read(&child.digest, MANIFEST_BYTES_MAX as u64).await? else { continue };
            let Some(child) = str::from_utf8(&bytes).ok().and_then(|text| OciManifest::parse(text).ok()) else { continue };
            if let Some(found) = self.read_labels(&child).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn read_labels(&self, manifest: &OciManifest) -> Result<Option<VersionConfig>, OciError> {
        let config = manifest.config.as_ref().filter(|config| CONFIG_TYPES.contains(&config.media_type.as_str()));
        let Some(config) = config.filter(|config| config.size <= CONFIG_BYTES_MAX) else { return Ok(None) };
        let Some(bytes) = self.blobs.read(&config.digest, CONFIG_BYTES_MAX).await? else { return Ok(None) };
        let image: ImageConfig = serde_json::from_slice(&bytes).unwrap_or_default();
        let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
        config_of(&labels).transpose().map_err(OciError::from)
    }
}

/// What the labels say; nothing when Cog did not write them, or knew no predictor.
fn config_of(labels: &BTreeMap<String, String>) -> Option<Result<VersionConfig, PublishError>> {
    let label = |names: [&str; 2]| names.into_iter().find_map(|name| labels.get(name));
    let (schema, cog_version) = (label(SCHEMA)?, label(VERSION)?);
    let bad = |error: serde_json::Error| PublishError::BadConfig { field: "run.cog.openapi_schema", why: format!("is no JSON: {error}") };
    let openapi_schema: Value = match serde_json::from_str(schema).map_err(bad) {
        Ok(schema) => schema,
        Err(error) => return Some(Err(error)),
    };
    let settings: Value = label(CONFIG).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let concurrency = settings["concurrency"]["max"].as_u64().and_then(|max| u32::try_from(max).ok()).unwrap_or(1);
    Some(Ok(VersionConfig {
        protocol: ModelProtocol::Cog,
        driver: Driver::Oci,
        command: Vec::new(),
        predictor: None,
        trainer: None,
        environment: None,
        concurrency,
        resources: Resources { gpu: settings["build"]["gpu"].as_bool().unwrap_or(false), ..Resources::default() },
        limits: RunLimits::default(),
        hooks: Vec::new(),
        openai: None,
        cog_version: cog_version.clone(),
        openapi_schema,
        license: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_labels_of_new_and_old_releases_are_read() {
        let new = labels(&[
            ("run.cog.openapi_schema", "{\"a\": 1}"),
            ("run.cog.version", "0.16.2"),
            ("run.cog.config", "{\"build\": {\"gpu\": true}, \"concurrency\": {\"max\": 4}}"),
        ]);
        let found = config_of(&new).unwrap().unwrap();
        assert_eq!((&*found.cog_version, found.driver, found.resources.gpu, found.concurrency), ("0.16.2", Driver::Oci, true, 4));
        let old = labels(&[("org.cogmodel.openapi_schema", "{}"), ("org.cogmodel.cog_version", "0.0.1")]);
        assert_eq!(config_of(&old).unwrap().unwrap().cog_version, "0.0.1");
    }

    #[test]
    fn an_image_that_cog_did_not_build_is_none_and_a_broken_schema_is_refused() {
        assert!(config_of(&labels(&[])).is_none());
        assert!(config_of(&labels(&[("run.cog.version", "0.16.2")])).is_none(), "it has no predictor");
        let broken = labels(&[("run.cog.openapi_schema", "{"), ("run.cog.version", "0.16.2")]);
        assert!(matches!(config_of(&broken), Some(Err(PublishError::BadConfig { .. }))));
    }
}
