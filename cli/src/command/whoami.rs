//! `feira whoami`: whose token is used, where, and what it can still spend.

use protocol::api::{Account, Balance};
use serde_json::json;

use super::Context;
use crate::show;

pub async fn execute(context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let (account, balance) = tokio::try_join!(client.get::<Account>("/v1/account"), client.get::<Balance>("/v1/account/balance"))?;
    let host = client.endpoint().host();
    if context.json {
        return show::json(&json!({"host": host, "account": account, "balance": balance}));
    }
    show::line(&account.username)?;
    show::note(&format!("{host} · ${} to spend, ${} held", balance.available, balance.held));
    Ok(())
}
