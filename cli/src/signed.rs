//! A version as those fetch it who check it: the exact manifest, and the signatures over it.

use protocol::api::Signature;
use protocol::{Manifest, ModelRef, Reference, VersionId};
use serde::Deserialize;

use crate::client::Client;
use crate::command::pull::{exact, manifest};
use crate::command::versions::version_path;

/// Its manifest has the digest that is its id.
#[derive(Debug)]
pub struct SignedVersion {
    pub model: ModelRef,
    pub id: VersionId,
    pub manifest: Manifest,
    pub signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Listed {
    signatures: Vec<Signature>,
}

impl SignedVersion {
    pub async fn fetch(client: &Client, reference: Reference) -> anyhow::Result<Self> {
        let (model, id) = exact(client, reference).await?;
        let manifest = manifest(client, &model, &id).await?;
        let Listed { signatures } = client.get(&format!("{}/signatures", version_path(&model, &id))).await?;
        Ok(Self { model, id, manifest, signatures })
    }
}
