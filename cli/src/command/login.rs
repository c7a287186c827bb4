//! `feira login`: checks a token against its server and keeps it.

use std::io::{self, Read};

use anyhow::Context as _;
use protocol::api::Account;
use serde_json::json;

use super::Context;
use crate::client::{Client, Endpoint, Logins, parse_address};
use crate::exit::usage;
use crate::settings::Secret;
use crate::show;

/// Far above any token.
const TOKEN_BYTES_MAX: u64 = 4_096;

#[derive(Debug, clap::Args)]
pub struct Login {
    /// The server's address; without one, the server that would be used now
    url: Option<String>,
    /// Read the token from standard input
    #[arg(long)]
    token_stdin: bool,
}

impl Login {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let mut logins = Logins::read(&context.settings.config_dir)?;
        let host = match &self.url {
            Some(url) => Endpoint::new(parse_address(url)?, None).host(),
            None => Endpoint::resolve(&context.settings, &logins)?.host(),
        };
        let token = if self.token_stdin { read_stdin()? } else { ask(&host)? };
        if token.reveal().is_empty() {
            return Err(usage("the token is empty"));
        }
        let endpoint = Endpoint::new(parse_address(&host)?, Some(token.clone()));
        if endpoint.is_in_the_clear() {
            show::note(&format!("{host} is spoken to without encryption: whoever is in between reads the token"));
        }
        let account: Account = Client::new(endpoint)?.get("/v1/account").await?;
        logins.keep(&host, &token);
        logins.write(&context.settings.config_dir).context("the token cannot be kept")?;
        if context.json {
            return show::json(&json!({"host": host, "account": account}));
        }
        show::note(&format!("logged in to {host} as {}", account.username));
        Ok(())
    }
}

fn read_stdin() -> anyhow::Result<Secret> {
    let mut text = String::new();
    io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text).context("the token cannot be read")?;
    Ok(Secret::new(&text))
}

fn ask(host: &str) -> anyhow::Result<Secret> {
    let terminal = console::Term::stderr();
    if !terminal.is_term() {
        return Err(usage("there is no terminal to ask for the token; hand it over with --token-stdin"));
    }
    terminal.write_str(&format!("token for {host}: "))?;
    Ok(Secret::new(&terminal.read_secure_line()?))
}
