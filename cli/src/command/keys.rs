//! `feira keys`: the keys with which the account signs what it publishes.

use std::path::PathBuf;

use anyhow::Context as _;
use protocol::api::Key;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use crate::exit::usage;
use crate::show;

const PATH: &str = "/v1/account/keys";

#[derive(Debug, clap::Subcommand)]
pub enum Keys {
    /// Register the public half of a key pair
    Add {
        /// PEM, as `openssl pkey -pubout` writes it
        file: PathBuf,
        /// Whose or what for it is, in words
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List the keys, those that are revoked too
    List,
    /// Take a key back: what it signed no longer counts for new releases
    Revoke {
        id: String,
        /// From when on it is not to be believed, such as 2026-11-24T00:00:00Z; now without it
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    keys: Vec<Key>,
}

impl Keys {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::Add { file, name } => {
                let public_key = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
                let key: Key = client.post(PATH, &json!({"name": name, "public_key": public_key})).await?;
                if context.json { show::json(&key) } else { show::line(&key.id) }
            }
            Self::List => {
                let listed: Listed = client.get(PATH).await?;
                if context.json {
                    return show::json(&listed);
                }
                let row = |key: &Key| {
                    let state = key.revoked_at.map_or_else(|| "valid".to_owned(), |since| format!("revoked since {since}"));
                    vec![key.id.clone(), key.name.clone().unwrap_or_default(), key.algorithm.clone(), key.created_at.to_string(), state]
                };
                let rows: Vec<_> = listed.keys.iter().map(row).collect();
                show::table(&["ID", "NAME", "ALGORITHM", "CREATED", "STATE"], &rows)
            }
            Self::Revoke { id, since } => {
                if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(usage(format!("`{id}` is no key's id: 64 hexadecimal digits, as `feira keys list` shows them")));
                }
                let mut request = client.request(reqwest::Method::DELETE, &format!("{PATH}/{id}"));
                if let Some(since) = since {
                    request = request.query(&[("since", since)]);
                }
                let key: Key = client.answer(request).await?;
                if context.json { show::json(&key) } else { Ok(()) }
            }
        }
    }
}
