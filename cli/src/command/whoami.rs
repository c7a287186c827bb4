//! `feira whoami`: whose token is used, where, what it can still spend, and what it keeps.

use protocol::api::{Account, Balance, Storage};
use serde_json::json;

use super::Context;
use crate::show;

pub async fn execute(context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let (account, balance, storage) = tokio::try_join!(
        client.get::<Account>("/v1/account"),
        client.get::<Balance>("/v1/account/balance"),
        client.get::<Storage>("/v1/account/storage")
    )?;
    let host = client.endpoint().host();
    if context.json {
        return show::json(&json!({"host": host, "account": account, "balance": balance, "storage": storage}));
    }
    show::line(&account.username)?;
    show::note(&format!("{host} · ${} to spend, ${} held · {}", balance.available, balance.held, show::storage(&storage)));
    Ok(())
}
