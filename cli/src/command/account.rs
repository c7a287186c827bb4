//! `feira account`: accounts, for operators.

use serde_json::{Value, json};

use super::Context;
use crate::exit::usage;
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Account {
    /// Create an account
    Create { name: String },
}

impl Account {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self::Create { name } = self;
        protocol::name::check_name(&name).map_err(|error| usage(error.to_string()))?;
        let account: Value = context.client()?.post("/v1/accounts", &json!({"name": name})).await?;
        if context.json {
            return show::json(&account);
        }
        show::line(&name)
    }
}
