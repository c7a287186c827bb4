//! `feira account`: accounts and what they may keep, for operators.

use protocol::api::Storage;
use reqwest::Method;
use serde_json::{Value, json};

use super::Context;
use crate::byte_size;
use crate::exit::usage;
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Account {
    /// Create an account
    Create { name: String },
    /// Set what an account may keep in the registry
    Quota {
        name: String,
        /// Such as 500GB or 2TiB; what everyone may keep without it
        #[arg(value_parser = byte_size::parse)]
        limit: Option<u64>,
    },
}

impl Account {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Create { name } => create(context, &name).await,
            Self::Quota { name, limit } => set_quota(context, &name, limit).await,
        }
    }
}

async fn create(context: &Context, name: &str) -> anyhow::Result<()> {
    protocol::name::check_name(name).map_err(|error| usage(error.to_string()))?;
    let account: Value = context.client()?.post("/v1/accounts", &json!({"name": name})).await?;
    if context.json {
        return show::json(&account);
    }
    show::line(name)
}

async fn set_quota(context: &Context, name: &str, limit: Option<u64>) -> anyhow::Result<()> {
    protocol::name::check_name(name).map_err(|error| usage(error.to_string()))?;
    let client = context.client()?;
    let order = client.request(Method::PUT, &format!("/v1/accounts/{name}/storage")).json(&json!({"limit_bytes": limit}));
    let storage: Storage = client.answer(order).await?;
    if context.json {
        return show::json(&storage);
    }
    show::line(&format!("{name} {}", show::storage(&storage)))
}
