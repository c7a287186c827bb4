//! Between steps 8 and 9 of a training: what it made becomes a version of its destination, and its output says which.

use protocol::api::NewVersion;
use protocol::manifest::VersionFile;
use protocol::prediction::State;
use protocol::wire::FailCode;
use protocol::{ModelRef, VersionId};
use registry::{Caller, FileRow, PublishError, RegistryError, Scopes, VersionRow};
use serde_json::{Map, Value};

use crate::Gateway;
use crate::prediction::files::FILE_SCHEME;
use crate::prediction::{Admitted, Ended};

/// Where Cog looks for the weights that it hands to a predictor's `setup`.
const WEIGHTS: &str = "weights";

/// Why what a training made is no version.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error("the training gave no weights; its train function must return a Path, or an object with a Path in `weights`")]
    NoWeights,
    #[error("the weights are gone")]
    WeightsGone,
    #[error("its account is gone")]
    AccountGone,
    #[error(transparent)]
    Refused(#[from] PublishError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Publishes what a training made. What is not a training, or did not succeed, ends as it did.
///
/// Safe to repeat: a gateway that dies after this and before the end is written leaves a version that no training names, and the attempt
/// after it publishes the same content to no effect, or other content as a version of its own.
pub(super) async fn publish(gateway: &Gateway, admitted: &Admitted, ended: Ended) -> Ended {
    let row = admitted.live.row();
    let Some(destination) = row.destination.filter(|_| ended.state == State::Succeeded) else { return ended };
    let made = ended.output.clone().unwrap_or_default();
    match version_of(gateway, admitted, &row.account_id, &destination, &made).await {
        Ok(version) => Ended { output: Some(output(made, &destination, version)), ..ended },
        Err(error) => Ended { run_us: ended.run_us, relayed: ended.relayed, ..failed(&error) },
    }
}

async fn version_of(
    gateway: &Gateway,
    admitted: &Admitted,
    account_id: &str,
    destination: &ModelRef,
    made: &Value,
) -> Result<VersionId, Unpublished> {
    let file = weights_file(gateway, made).await?;
    let account = gateway.registry().find_account_by_id(account_id).await?.ok_or(Unpublished::AccountGone)?;
    // The account asked for it when it asked for the training.
    let caller = Caller { account, token_id: String::new(), scopes: Scopes::ALL };
    let published = gateway.registry().publish(&caller, destination, with_weights(&admitted.catalogued.version, &file)).await?;
    Ok(published.version.id)
}

/// The file that is the output, or stands in its `weights`. Only files of the training itself are left in an output as files.
async fn weights_file(gateway: &Gateway, made: &Value) -> Result<FileRow, Unpublished> {
    let reference = made.as_str().or_else(|| made[WEIGHTS].as_str()).and_then(|text| text.strip_prefix(FILE_SCHEME));
    let id = reference.and_then(|reference| reference.split('/').next()).ok_or(Unpublished::NoWeights)?;
    gateway.registry().find_file(id).await?.ok_or(Unpublished::WeightsGone)
}

/// The version that was trained, with these weights in the place of any it came with.
fn with_weights(base: &VersionRow, weights: &FileRow) -> NewVersion {
    let is_weights = |path: &str| path.to_lowercase().split('/').next() == Some(WEIGHTS);
    let mut files: Vec<VersionFile> = base.files.iter().filter(|file| !is_weights(&file.path)).cloned().collect();
    files.push(VersionFile { path: WEIGHTS.to_owned(), digest: weights.digest, size: weights.size });
    NewVersion { config: (*base.config).clone(), files, pricing: None }
}

/// What the trainer returned, with the name of the version.
fn output(made: Value, destination: &ModelRef, version: VersionId) -> Value {
    let mut fields = match made {
        Value::Object(fields) => fields,
        weights => Map::from_iter([(WEIGHTS.to_owned(), weights)]),
    };
    fields.insert("version".to_owned(), Value::from(format!("{destination}:{version}")));
    Value::Object(fields)
}

/// Nothing is charged for it, whoever is to blame.
fn failed(error: &Unpublished) -> Ended {
    match error {
        Unpublished::NoWeights => Ended::failed(FailCode::ModelError, error.to_string()),
        Unpublished::Refused(PublishError::ModelUnknown | PublishError::NotOwner) => {
            Ended::failed(FailCode::PublishFailed, "the destination is no longer a model of this account".to_owned())
        }
        Unpublished::Refused(PublishError::Registry(RegistryError::OverLimit(over))) => {
            Ended::failed(FailCode::PublishFailed, format!("the trained version was refused: {over}"))
        }
        Unpublished::Refused(PublishError::Registry(_))
        | Unpublished::Registry(_)
        | Unpublished::WeightsGone
        | Unpublished::AccountGone => {
            tracing::error!(%error, "a trained version could not be published");
            Ended::failed(FailCode::PublishFailed, "the trained version could not be published: something failed on our side".to_owned())
        }
        Unpublished::Refused(refused) => Ended::failed(FailCode::PublishFailed, format!("the trained version was refused: {refused}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_output_names_the_version_beside_whatever_the_trainer_returned() {
        let destination: ModelRef = "ada/tuned".parse().unwrap();
        let version: VersionId = "0".repeat(64).parse().unwrap();
        let named = format!("ada/tuned:{version}");
        let file = "feira-file:fil_1/w.bin";
        assert_eq!(output(json!(file), &destination, version), json!({"weights": file, "version": named}));
        assert_eq!(
            output(json!({"weights": file, "loss": 0.1}), &destination, version),
            json!({"weights": file, "loss": 0.1, "version": named})
        );
    }

    #[test]
    fn a_training_that_is_not_published_is_never_charged() {
        for (error, code) in [
            (Unpublished::NoWeights, FailCode::ModelError),
            (Unpublished::WeightsGone, FailCode::PublishFailed),
            (PublishError::NotOwner.into(), FailCode::PublishFailed),
            (PublishError::Deleted.into(), FailCode::PublishFailed),
        ] {
            let ended = failed(&error);
            assert_eq!((ended.state, ended.code), (State::Failed, Some(code)), "{error}");
            assert!(ended.error.is_some_and(|told| told.len() > 20));
        }
    }
}
