//! A manifest as any OCI client may push it. It keeps its bytes and their digest; this is what we read of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::{Descriptor, FILE_TYPE, HOOK_TYPE, MANIFEST_TYPE, TITLE, VersionFile};

pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// What the specification asks registries to take, and about what their clients send at most:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The fields that image manifests, indexes and artefacts share; others are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OciManifest {
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    pub config: Option<OciDescriptor>,
    layers: Option<Vec<OciDescriptor>>,
    /// Of artefact manifests as an early draft had them.
    blobs: Option<Vec<OciDescriptor>>,
    manifests: Option<Vec<OciDescriptor>>,
    pub subject: Option<OciDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Names a blob or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciDescriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    /// Where else the bytes can be had; a registry need not have those.
    #[serde(default)]
    urls: Option<Vec<String>>,
}

/// A line of a list of referrers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    #[serde(flatten)]
    pub descriptor: Descriptor,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

impl OciManifest {
    /// # Errors
    /// When the text is no JSON object, or a field that is read has another shape.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // Serde would read a list as well, field after field.
        if !text.trim_start().starts_with('{') {
            return Err(serde::de::Error::custom("a manifest is a JSON object"));
        }
        serde_json::from_str(text)
    }

    pub fn layers(&self) -> &[OciDescriptor] {
        self.layers.as_deref().unwrap_or_default()
    }

    /// The manifests of an index.
    pub fn manifests(&self) -> &[OciDescriptor] {
        self.manifests.as_deref().unwrap_or_default()
    }

    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.clone().unwrap_or_default()
    }

    /// The blobs that must be here for the manifest to be whole.
    pub fn blobs(&self) -> impl Iterator<Item = &OciDescriptor> {
        let early = self.blobs.as_deref().unwrap_or_default();
        self.config.iter().chain(self.layers()).chain(early).filter(|blob| !blob.is_elsewhere())
    }

    /// What the manifest says it is, or what the fields that it has make of it.
    pub fn kind(&self) -> &str {
        match &self.media_type {
            Some(stated) => stated,
            None if self.config.is_none() && self.manifests.is_some() => INDEX_TYPE,
            None => MANIFEST_TYPE,
        }
    }

    /// What a list of referrers calls it: its artefact type, or else the type of its config.
    pub fn artifact_kind(&self) -> &str {
        match self.artifact_type.as_deref().filter(|kind| !kind.is_empty()) {
            Some(stated) => stated,
            None => self.config.as_ref().map_or("", |config| &config.media_type),
        }
    }

    /// The files of a version: the layers that are files and have a title.
    pub fn files(&self) -> Vec<VersionFile> {
        let files = self.layers().iter().filter(|layer| layer.media_type == FILE_TYPE);
        let named = |layer: &OciDescriptor| {
            let path = layer.annotations.as_ref()?.get(TITLE)?.clone();
            Some(VersionFile { path, digest: layer.digest, size: layer.size })
        };
        files.filter_map(named).collect()
    }

    /// The layers that are neither a file with a title nor a hook.
    pub fn strange_layers(&self) -> usize {
        let hooks = self.layers().iter().filter(|layer| layer.media_type == HOOK_TYPE).count();
        self.layers().len() - hooks - self.files().len()
    }
}

impl OciDescriptor {
    fn is_elsewhere(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(manifest: &serde_json::Value) -> OciManifest {
        OciManifest::parse(&manifest.to_string()).unwrap()
    }

    fn descriptor(kind: &str) -> serde_json::Value {
        json!({"mediaType": kind, "digest": Digest::of(kind.as_bytes()).to_string(), "size": 3})
    }

    #[test]
    fn a_manifest_without_a_media_type_is_known_by_its_fields() {
        assert_eq!(parsed(&json!({"manifests": []})).kind(), INDEX_TYPE);
        assert_eq!(parsed(&json!({"config": descriptor("x"), "layers": null})).kind(), MANIFEST_TYPE);
        assert_eq!(parsed(&json!({"mediaType": "a/b", "manifests": []})).kind(), "a/b");
    }

    #[test]
    fn an_artefact_is_called_by_its_own_type_or_by_that_of_its_config() {
        assert_eq!(parsed(&json!({"config": descriptor("x/y")})).artifact_kind(), "x/y");
        assert_eq!(parsed(&json!({"artifactType": "a/b", "config": descriptor("x/y")})).artifact_kind(), "a/b");
        assert_eq!(parsed(&json!({"manifests": []})).artifact_kind(), "");
    }

    #[test]
    fn what_lies_elsewhere_need_not_be_here() {
        let mut foreign = descriptor("foreign");
        foreign["urls"] = json!(["https://example.org/layer"]);
        let manifest = parsed(&json!({"config": descriptor("c"), "layers": [descriptor("l"), foreign]}));
        assert_eq!(manifest.blobs().map(|blob| &*blob.media_type).collect::<Vec<_>>(), ["c", "l"]);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for bad in
            ["", "[]", "null", "7", "{\"layers\": 1}", "{\"config\": {\"digest\": \"sha256:abc\", \"size\": 1}}", "{\"subject\": {}}"]
        {
            assert!(OciManifest::parse(bad).is_err(), "{bad}");
        }
    }
}
