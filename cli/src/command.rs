//! The subcommands, one a file: each turns what was typed into calls of the API, and the answers into lines.

pub mod account;
pub mod cancel;
pub mod credit;
pub mod deployments;
pub mod doctor;
pub mod gc;
pub mod hook;
pub mod ledger;
pub mod login;
pub mod logs;
pub mod model;
pub mod models;
pub mod predictions;
pub mod ps;
pub mod pull;
pub mod push;
pub mod run;
pub mod tag;
pub mod token;
pub mod trainings;
pub mod transfer;
pub mod usage;
pub mod versions;
pub mod whoami;

use protocol::Prediction;

use crate::client::{Client, ClientError, Endpoint, Logins, patiently};
use crate::exit::usage;
use crate::settings::Settings;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    pub settings: Settings,
    pub json: bool,
}

impl Context {
    /// The server that this call is for.
    pub fn client(&self) -> Result<Client, ClientError> {
        let logins = Logins::read(&self.settings.config_dir)?;
        Client::new(Endpoint::resolve(&self.settings, &logins)?)
    }
}

/// The path of a prediction, once its id is one.
fn prediction_path(id: &str) -> anyhow::Result<String> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(usage(format!("`{id}` is no prediction's id: 26 letters and digits")));
    }
    Ok(format!("/v1/predictions/{id}"))
}

async fn find_prediction(client: &Client, id: &str) -> anyhow::Result<Prediction> {
    let path = prediction_path(id)?;
    Ok(patiently(|| client.get(&path)).await?)
}
