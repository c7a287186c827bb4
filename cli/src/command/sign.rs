//! `feira sign`: a publisher's signature over a version's files, in the format of `OpenSSF`'s model signing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protocol::Reference;
use protocol::signing::{Bundle, FilesStatement, SigningKey};
use serde_json::Value;

use super::Context;
use super::versions::version_path;
use crate::client::Client;
use crate::exit::usage;
use crate::show;
use crate::signed::SignedVersion;

#[derive(Debug, clap::Args)]
pub struct Sign {
    /// OWNER/MODEL for its latest version, or OWNER/MODEL:VERSION
    version: Reference,
    #[command(flatten)]
    by: By,
}

/// What makes the signature.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct By {
    /// Sign here with this private key: PEM, Ed25519 or ECDSA, without a password
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Send the signature that `model_signing sign key` wrote
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

impl Sign {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let version = SignedVersion::fetch(&client, self.version).await?;
        let bundle = match (self.by.key, self.by.signature) {
            (Some(key), _) => sign(&read_key(&key)?, &version),
            (None, Some(signature)) => {
                std::fs::read_to_string(&signature).with_context(|| format!("{} cannot be read", signature.display()))?
            }
            (None, None) => return Err(usage("say with what: --key FILE or --signature FILE")),
        };
        let answer = send(&client, &version, &bundle).await?;
        if context.json {
            return show::json(&answer);
        }
        show::note(&format!("{}:{} is signed", version.model, version.id));
        Ok(())
    }
}

pub fn read_key(file: &Path) -> anyhow::Result<SigningKey> {
    let pem = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    SigningKey::from_pem(&pem).map_err(|error| usage(format!("{}: {error}", file.display())))
}

/// The bundle of a version's files.
pub fn sign(key: &SigningKey, version: &SignedVersion) -> String {
    Bundle::sign(key, &FilesStatement::of(&version.manifest.files()).to_bytes(&version.model.name)).to_json()
}

pub async fn send(client: &Client, version: &SignedVersion, bundle: &str) -> anyhow::Result<Value> {
    let bundle: Value = serde_json::from_str(bundle).map_err(|error| usage(format!("the signature is not JSON: {error}")))?;
    Ok(client.post(&format!("{}/signatures", version_path(&version.model, &version.id)), &bundle).await?)
}
