//! A signed statement as it travels: a DSSE envelope in a Sigstore bundle, with the hint of the key that made it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::statement::OtherFiles;
use super::{KeyId, PublicKey, SigningKey};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The one kind of payload that is signed: an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What is wrong with a signature, for the one who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("the signature is not a Sigstore bundle with a DSSE envelope: {why}")]
    NotABundle { why: String },
    #[error("the bundle does not say which key signed it: sign again with a release of model-signing that writes the hint of the key")]
    NoHint,
    #[error("the bundle says that the key {hint} signed it, and this is the key {key}")]
    OtherKey { hint: KeyId, key: KeyId },
    #[error("the signature does not fit what it signs: the statement or the signature was changed")]
    Forged,
    #[error("what is signed {why}")]
    NotAStatement { why: &'static str },
    #[error("the signature is for other files: {0}")]
    OtherFiles(#[from] OtherFiles),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Hint,
    /// A transparency log's entries; a signature by a key has none.
    #[serde(default)]
    tlog_entries: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hint {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

impl Bundle {
    /// Signs a statement.
    pub fn sign(key: &SigningKey, statement: &[u8]) -> Self {
        let signature = Signature { sig: STANDARD.encode(key.sign(&encoded(statement))), keyid: String::new() };
        Self {
            media_type: BUNDLE_TYPE.to_owned(),
            verification_material: Material { public_key: Hint { hint: Some(key.public().id().to_string()) }, tlog_entries: Vec::new() },
            dsse_envelope: Envelope {
                payload: STANDARD.encode(statement),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![signature],
            },
        }
    }

    pub fn from_json(text: &str) -> Result<Self, BadSignature> {
        let refused = |why: String| BadSignature::NotABundle { why };
        let bundle: Self = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        if bundle.media_type != BUNDLE_TYPE {
            return Err(refused(format!("its mediaType is not {BUNDLE_TYPE}")));
        }
        if bundle.dsse_envelope.payload_type != PAYLOAD_TYPE {
            return Err(refused(format!("its payloadType is not {PAYLOAD_TYPE}")));
        }
        if bundle.dsse_envelope.signatures.len() != 1 {
            return Err(refused("it has not one signature".to_owned()));
        }
        Ok(bundle)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a bundle has only text and lists")
    }

    /// Which key it says to be signed with. Only [`Self::open`] knows whether it is.
    pub fn key_id(&self) -> Result<KeyId, BadSignature> {
        let hint = self.verification_material.public_key.hint.as_deref();
        hint.and_then(|hint| hint.parse().ok()).ok_or(BadSignature::NoHint)
    }

    /// The statement, if this key signed exactly it.
    pub fn open(&self, key: &PublicKey) -> Result<Vec<u8>, BadSignature> {
        let hint = self.key_id()?;
        if hint != key.id() {
            return Err(BadSignature::OtherKey { hint, key: key.id() });
        }
        let decoded = |text: &str| STANDARD.decode(text).map_err(|error| BadSignature::NotABundle { why: error.to_string() });
        let statement = decoded(&self.dsse_envelope.payload)?;
        let [signature] = self.dsse_envelope.signatures.as_slice() else {
            return Err(BadSignature::NotABundle { why: "it has not one signature".to_owned() });
        };
        if !key.verify(&encoded(&statement), &decoded(&signature.sig)?) {
            return Err(BadSignature::Forged);
        }
        Ok(statement)
    }
}

/// What is really signed: type and statement with their lengths (DSSE's pre-authentication encoding).
/// <https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md>
fn encoded(statement: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), statement.len());
    [head.as_bytes(), statement].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::of_seed(&[seed; 32])
    }

    #[test]
    fn a_bundle_opens_with_the_key_that_signed_it_and_with_no_other() {
        let bundle = Bundle::from_json(&Bundle::sign(&key(1), b"statement").to_json()).unwrap();
        assert_eq!(bundle.open(key(1).public()).unwrap(), b"statement");
        let other = BadSignature::OtherKey { hint: key(1).public().id(), key: key(2).public().id() };
        assert_eq!(bundle.open(key(2).public()), Err(other));
    }

    #[test]
    fn a_changed_statement_signature_or_hint_is_noticed() {
        let bundle = Bundle::sign(&key(1), b"statement");
        let mut other = bundle.clone();
        other.dsse_envelope.payload = STANDARD.encode(b"statemenT");
        assert_eq!(other.open(key(1).public()), Err(BadSignature::Forged));
        let mut other = bundle.clone();
        other.dsse_envelope.signatures = Bundle::sign(&key(2), b"statement").dsse_envelope.signatures;
        assert_eq!(other.open(key(1).public()), Err(BadSignature::Forged));
        let mut other = bundle;
        other.verification_material.public_key.hint = Some(key(2).public().id().to_string());
        assert_eq!(other.open(key(2).public()), Err(BadSignature::Forged));
        other.verification_material.public_key.hint = None;
        assert_eq!(other.open(key(1).public()), Err(BadSignature::NoHint));
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let text = Bundle::sign(&key(1), b"statement").to_json();
        for wrong in [
            "{}".to_owned(),
            text.replace("v0.3", "v0.1"),
            text.replace("in-toto", "other"),
            text.replace("dsseEnvelope", "messageSignature"),
        ] {
            assert!(matches!(Bundle::from_json(&wrong), Err(BadSignature::NotABundle { .. })), "{wrong}");
        }
    }
}
