//! `feira token`: API tokens. A token is shown once, when it is made.

use anyhow::Context as _;
use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Context;
use crate::exit::usage;
use crate::show;

const PATH: &str = "/v1/account/tokens";

#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Make a token and print it, this once
    Create {
        /// Whose token it is to be (operators); your own without it
        #[arg(long)]
        account: Option<String>,
        /// What it is for, in words
        #[arg(long)]
        name: String,
        /// What it may do; everything without it. May be given several times
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// List tokens, without their secret part
    List,
    /// End a token
    Revoke { id: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Tokens {
    tokens: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    id: String,
    name: String,
    scopes: Vec<String>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl Token {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::Create { account, name, scopes } => {
                let mut order = json!({"name": name});
                if let Some(account) = account {
                    order["account"] = account.into();
                }
                if !scopes.is_empty() {
                    order["scopes"] = scopes.into();
                }
                let answer: Value = client.post(PATH, &order).await?;
                if context.json {
                    return show::json(&answer);
                }
                show::line(answer["token"].as_str().context("the server made no token")?)
            }
            Self::List => {
                let answer: Tokens = client.get(PATH).await?;
                if context.json {
                    return show::json(&answer);
                }
                let moment = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
                let row = |token: &Listed| {
                    vec![
                        token.id.clone(),
                        token.name.clone(),
                        token.scopes.join(" "),
                        token.created_at.to_string(),
                        moment(token.last_used_at),
                    ]
                };
                show::table(&["ID", "NAME", "SCOPES", "CREATED", "LAST USED"], &answer.tokens.iter().map(row).collect::<Vec<_>>())
            }
            Self::Revoke { id } => {
                if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err(usage(format!("`{id}` is no token's id; `feira token list` shows them")));
                }
                client.delete(&format!("{PATH}/{id}")).await?;
                show::note(&format!("{id} is revoked"));
                Ok(())
            }
        }
    }
}
