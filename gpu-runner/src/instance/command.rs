//! What is started for a version: the command line and the whole environment of its process.

use std::path::Path;

use protocol::VersionConfig;
use protocol::manifest::ModelProtocol;

use super::cog::CogDoor;
use crate::environment::EnvironmentAt;
use crate::schema;

/// Where programs are found after the version's own environment.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// Where things are that a command names.
#[derive(Debug)]
pub struct Places<'a> {
    pub environment: Option<&'a EnvironmentAt>,
    pub feira_exe: &'a Path,
    /// Where output files are put.
    pub upload_url: &'a str,
    /// How Cog is told what to run.
    pub cog: &'a CogDoor,
    /// The UUID of the instance's GPU.
    pub gpu: Option<&'a str>,
}

/// `None` when the version names neither a command nor what Cog needs to run it.
pub fn command(config: &VersionConfig, places: &Places<'_>) -> Option<Command> {
    Some(Command { argv: argv(config, places)?, env: env(config, places) })
}

fn argv(config: &VersionConfig, places: &Places<'_>) -> Option<Vec<String>> {
    let Some((program, arguments)) = config.command.split_first() else {
        let environment = places.environment.filter(|_| config.protocol == ModelProtocol::Cog && config.predictor.is_some())?;
        let python = environment.path.join("bin/python").to_string_lossy().into_owned();
        let server = ["-m", "cog.server.http", "--host", "127.0.0.1"].map(str::to_owned);
        // Cog uploads the files of a list all at once and orders them by who was answered first: a list's files come inline instead.
        let uploads = ["--upload-url".to_owned(), places.upload_url.to_owned()];
        let uploads = uploads.into_iter().filter(|_| !schema::is_list_of_files(config));
        let mode = places.cog.arguments.iter().map(|argument| (*argument).to_owned());
        return Some([python].into_iter().chain(server).chain(mode).chain(uploads).collect());
    };
    let own = places.environment.map(|environment| environment.path.join("bin").join(program));
    let program = match own.filter(|path| !program.contains('/') && path.exists()) {
        _ if program == "feira" => places.feira_exe.to_string_lossy().into_owned(),
        Some(own) => own.to_string_lossy().into_owned(),
        None => program.clone(),
    };
    Some([program].into_iter().chain(arguments.iter().cloned()).collect())
}

fn env(config: &VersionConfig, places: &Places<'_>) -> Vec<(String, String)> {
    let mut env = surroundings(places.environment, places.gpu);
    if config.protocol == ModelProtocol::Cog {
        let cog = [
            ("MODEL_UPLOAD_URL", places.upload_url.to_owned()),
            ("COG_MAX_CONCURRENCY", config.concurrency.max(1).to_string()),
            ("COG_LOG_LEVEL", "warning".to_owned()),
            // A stream that is joined again starts where the prediction is; a replay that was cut would be refused instead.
            ("COG_STREAM_HISTORY_CAPACITY", "0".to_owned()),
        ];
        env.extend(places.cog.env.iter().cloned().chain(cog).map(|(name, value)| (name.to_owned(), value)));
    }
    env
}

/// What every process of an environment has, whichever version it runs.
pub fn surroundings(environment: Option<&EnvironmentAt>, gpu: Option<&str>) -> Vec<(String, String)> {
    let path = match environment {
        // Cog finds its worker's interpreter as `python`.
        Some(environment) => format!("{}/bin:{SYSTEM_PATH}", environment.path.display()),
        None => SYSTEM_PATH.to_owned(),
    };
    let mut env = vec![
        ("PATH", path),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("CUDA_VISIBLE_DEVICES", gpu.unwrap_or_default().to_owned()),
    ];
    if let Some(environment) = environment {
        env.push(("VIRTUAL_ENV", environment.path.to_string_lossy().into_owned()));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cog::cog_door;
    use super::*;
    use protocol::prediction::Errand;
    use protocol::wire::Bundle;
    use protocol::{Digest, VersionId};
    use serde_json::{Value, json};

    fn config(more: &Value) -> VersionConfig {
        let mut config = json!({"protocol": "cog", "openapi_schema": {"components": {"schemas": {"Output": {"type": "string"}}}}});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(config).unwrap()
    }

    fn commanded(config: &VersionConfig, environment: Option<&EnvironmentAt>) -> Option<Command> {
        commanded_for(config, environment, Errand::Predict)
    }

    fn commanded_for(config: &VersionConfig, environment: Option<&EnvironmentAt>, errand: Errand) -> Option<Command> {
        let model = "acme/model".parse().unwrap();
        let bundle = Bundle { model, version: VersionId::new(Digest::of(b"v")), config: config.clone(), files: Vec::new() };
        let cog = cog_door(&bundle, errand);
        let places =
            Places { environment, feira_exe: Path::new("/opt/feira"), upload_url: "http://127.0.0.1:5001/o", cog: &cog, gpu: None };
        command(config, &places)
    }

    fn environment() -> EnvironmentAt {
        EnvironmentAt { path: "/envs/a".into(), python_prefix: "/python".into(), built: false }
    }

    #[test]
    fn a_predictor_is_served_by_cogs_own_server() {
        let command = commanded(&config(&json!({"predictor": "predict.py:Predictor"})), Some(&environment())).unwrap();
        assert_eq!(command.argv.join(" "), "/envs/a/bin/python -m cog.server.http --host 127.0.0.1 --upload-url http://127.0.0.1:5001/o");
        assert!(command.env.contains(&("COG_PREDICT_TYPE_STUB".to_owned(), "predict.py:Predictor".to_owned())));
        assert!(command.env.contains(&("PATH".to_owned(), format!("/envs/a/bin:{SYSTEM_PATH}"))));
    }

    #[test]
    fn a_trainer_is_served_in_the_mode_that_cog_has_for_it() {
        let config = config(&json!({"predictor": "predict.py:Predictor", "trainer": "train.py:train"}));
        let command = commanded_for(&config, Some(&environment()), Errand::Train).unwrap();
        assert!(command.argv.join(" ").contains("--x-mode train"));
        assert!(command.env.contains(&("MODEL_TRAINER".to_owned(), "train.py:train".to_owned())));
        assert!(command.env.iter().all(|(name, _)| name != "COG_PREDICT_TYPE_STUB"));
    }

    #[test]
    fn a_list_of_files_is_not_uploaded_by_cog() {
        let files = json!({"components": {"schemas": {"Output": {"type": "array", "items": {"type": "string", "format": "uri"}}}}});
        let config = config(&json!({"predictor": "predict.py:Predictor", "openapi_schema": files}));
        assert!(!commanded(&config, Some(&environment())).unwrap().argv.contains(&"--upload-url".to_owned()));
    }

    #[test]
    fn a_model_of_the_house_is_this_very_program() {
        let command = commanded(&config(&json!({"command": ["feira", "model", "hello-world"]})), None).unwrap();
        assert_eq!(command.argv, ["/opt/feira", "model", "hello-world"]);
    }

    #[test]
    fn a_predictor_without_an_environment_has_no_command() {
        assert_eq!(commanded(&config(&json!({"predictor": "predict.py:Predictor"})), None), None);
    }
}
