//! `feira credit`: what accounts may spend, for operators.

use protocol::Credits;
use serde_json::{Value, json};

use super::Context;
use crate::exit::usage;
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Credit {
    /// Add to an account's credit
    Grant {
        name: String,
        /// US dollars, such as 25 or 0.5
        amount: Credits,
    },
}

impl Credit {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self::Grant { name, amount } = self;
        protocol::name::check_name(&name).map_err(|error| usage(error.to_string()))?;
        let answer: Value = context.client()?.post(&format!("/v1/accounts/{name}/credit"), &json!({"amount": amount})).await?;
        if context.json {
            return show::json(&answer);
        }
        show::note(&format!("{name} was granted ${amount}"));
        Ok(())
    }
}
