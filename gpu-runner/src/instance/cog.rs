//! What the runner puts beside a version's own files for Cog, and how Cog is told of it.

use protocol::VersionConfig;
use protocol::prediction::Errand;
use protocol::wire::Bundle;

use crate::schema;
use crate::weights::MadeFile;

const TRAINER_PATH: &str = ".cog/feira_trainer.py";
const PREDICTOR_PATH: &str = ".cog/feira_predictor.py";
/// The file of trained weights, as `setup(self, weights)` gets it.
const WEIGHTS_PATH: &str = "weights";

/// The files, and the environment that goes with them. `None` when the version has nothing that runs such an errand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CogDoor {
    pub made: Vec<MadeFile>,
    pub env: Vec<(&'static str, String)>,
    pub arguments: &'static [&'static str],
}

pub fn cog_door(bundle: &Bundle, errand: Errand) -> CogDoor {
    let config = &bundle.config;
    let schema = schema::for_cog(config, errand);
    match errand {
        Errand::Train => CogDoor {
            made: vec![schema, made(TRAINER_PATH, include_str!("cog/trainer.py"))],
            env: vec![("COG_TRAIN_TYPE_STUB", format!("{TRAINER_PATH}:train")), ("MODEL_TRAINER", named(config.trainer.as_deref()))],
            arguments: &["--x-mode", "train"],
        },
        Errand::Predict if bundle.files.iter().any(|file| file.path == WEIGHTS_PATH) => CogDoor {
            made: vec![schema, made(PREDICTOR_PATH, include_str!("cog/predictor.py"))],
            env: vec![
                ("COG_PREDICT_TYPE_STUB", format!("{PREDICTOR_PATH}:Predictor")),
                ("MODEL_PREDICTOR", named(config.predictor.as_deref())),
                ("COG_WEIGHTS", WEIGHTS_PATH.to_owned()),
            ],
            arguments: &[],
        },
        Errand::Predict => {
            CogDoor { made: vec![schema], env: vec![("COG_PREDICT_TYPE_STUB", named(config.predictor.as_deref()))], arguments: &[] }
        }
    }
}

/// Whether the version can do it at all.
pub fn serves(config: &VersionConfig, errand: Errand) -> bool {
    errand == Errand::Predict || config.trainer.is_some() && config.command.is_empty()
}

fn named(stub: Option<&str>) -> String {
    stub.unwrap_or_default().to_owned()
}

fn made(path: &str, content: &str) -> MadeFile {
    MadeFile { path: path.to_owned(), content: content.as_bytes().to_vec() }
}
