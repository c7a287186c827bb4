//! What a version must look like before anything is stored: its paths, and its config against its files.

use protocol::VersionConfig;
use protocol::manifest::{Driver, Environment, ModelProtocol, OpenAiSpec, VersionFile};
use protocol::name::check_name;
use protocol::paths::check_paths;

use crate::input::InputSchema;
use crate::versions::PublishError;

const FILES_MAX: usize = 10_000;
pub(crate) const CONFIG_BYTES_MAX: usize = 1024 * 1024;
const COMMAND_ARGUMENTS_MAX: usize = 256;
const CONCURRENCY_MAX: u32 = 1_024;
/// One hour: weights of hundreds of gigabytes load in less.
const SETUP_SECONDS_MAX: u32 = 3_600;
/// One day.
const RUN_SECONDS_MAX: u32 = 86_400;
const HOOKS_MAX: usize = 8;
const COG_VERSION_BYTES_MAX: usize = 64;

/// What can be seen of a version without its blobs.
pub(crate) fn check_draft(config: &VersionConfig, files: &[VersionFile]) -> Result<(), PublishError> {
    check_files(files)?;
    check_config(config, files)?;
    InputSchema::compile(&config.openapi_schema)?;
    if config.trainer.is_some() {
        InputSchema::compile_training(&config.openapi_schema)?;
    }
    Ok(())
}

/// Refuses paths that could leave the project's folder, or that some file system would fold into one.
fn check_files(files: &[VersionFile]) -> Result<(), PublishError> {
    if files.len() > FILES_MAX {
        return Err(PublishError::TooManyFiles { max: FILES_MAX });
    }
    Ok(check_paths(files.iter().map(|file| file.path.as_str()))?)
}

fn check_config(config: &VersionConfig, files: &[VersionFile]) -> Result<(), PublishError> {
    if config.to_bytes().len() > CONFIG_BYTES_MAX {
        return Err(bad("config", "must have at most 1 MiB"));
    }
    if config.driver != Driver::Process {
        return Err(bad("driver", "must be process: a version of another is an image, which is pushed with `cog push` or `docker push`"));
    }
    check_start(config, files)?;
    if let Some(environment) = &config.environment {
        check_environment(environment, files)?;
    }
    if !(1..=CONCURRENCY_MAX).contains(&config.concurrency) {
        return Err(bad("concurrency", "must be from 1 to 1024"));
    }
    if !(1..=SETUP_SECONDS_MAX).contains(&config.limits.setup_seconds_max) {
        return Err(bad("limits.setup_seconds_max", "must be from 1 to 3600"));
    }
    if !(1..=RUN_SECONDS_MAX).contains(&config.limits.run_seconds_max) {
        return Err(bad("limits.run_seconds_max", "must be from 1 to 86400"));
    }
    check_cog_version(config)?;
    check_hooks(config)
}

/// What can be seen of an image that is a version: how it runs is in the image.
pub(crate) fn check_image(config: &VersionConfig) -> Result<(), PublishError> {
    if !(1..=CONCURRENCY_MAX).contains(&config.concurrency) {
        return Err(bad("concurrency", "must be from 1 to 1024"));
    }
    InputSchema::compile(&config.openapi_schema)?;
    check_cog_version(config)
}

fn check_cog_version(config: &VersionConfig) -> Result<(), PublishError> {
    let is_plain = config.cog_version.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || config.cog_version.len() > COG_VERSION_BYTES_MAX {
        return Err(bad("cog_version", "must be a version number"));
    }
    Ok(())
}

/// How the model's process comes to life.
fn check_start(config: &VersionConfig, files: &[VersionFile]) -> Result<(), PublishError> {
    if config.command.len() > COMMAND_ARGUMENTS_MAX || config.command.iter().any(|argument| argument.contains('\0')) {
        return Err(bad("command", "must have at most 256 arguments, without zero bytes"));
    }
    if let Some(predictor) = &config.predictor {
        check_entry("predictor", predictor, "is written file.py:Class", files)?;
    }
    if let Some(trainer) = &config.trainer {
        if config.predictor.is_none() {
            return Err(bad("trainer", "needs a predictor beside it: Cog starts both"));
        }
        check_entry("trainer", trainer, "is written file.py:function", files)?;
    }
    match config.protocol {
        ModelProtocol::Cog if config.predictor.is_none() && config.command.is_empty() => {
            Err(bad("predictor", "or command is required: without one of them nothing can be started"))
        }
        ModelProtocol::Openai if config.command.is_empty() => Err(bad("command", "is required for the protocol openai")),
        ModelProtocol::Openai => check_openai(config.openai.as_ref().ok_or_else(|| bad("openai", "is required for the protocol openai"))?),
        ModelProtocol::Cog => config.openai.as_ref().map_or(Ok(()), check_endpoint),
    }
}

/// A file of the version, and a name in it.
fn check_entry(field: &'static str, entry: &str, form: &'static str, files: &[VersionFile]) -> Result<(), PublishError> {
    let (file, name) = entry.split_once(':').ok_or_else(|| bad(field, form))?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name {
        return Err(bad(field, form));
    }
    require_file(field, file, files)
}

fn check_openai(spec: &OpenAiSpec) -> Result<(), PublishError> {
    check_endpoint(spec)?;
    let is_path = spec.ready.starts_with('/') && spec.ready.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path { Ok(()) } else { Err(bad("openai.ready", "must be a path such as /health")) }
}

fn check_endpoint(spec: &OpenAiSpec) -> Result<(), PublishError> {
    let is_known = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"].contains(&spec.endpoint.as_str());
    if is_known { Ok(()) } else { Err(bad("openai.endpoint", "must be /v1/chat/completions, /v1/completions or /v1/embeddings")) }
}

fn check_environment(environment: &Environment, files: &[VersionFile]) -> Result<(), PublishError> {
    let minor = environment.python.strip_prefix("3.").unwrap_or_default();
    let is_release = !minor.is_empty() && minor.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_release || minor.len() > 8 {
        return Err(bad("environment.python", "must be a release of Python 3, such as 3.11"));
    }
    require_file("environment.lock", &environment.lock, files)
}

fn check_hooks(config: &VersionConfig) -> Result<(), PublishError> {
    if config.hooks.len() > HOOKS_MAX {
        return Err(bad("hooks", "must be at most 8"));
    }
    for (n, hook) in config.hooks.iter().enumerate() {
        check_name(&hook.name).map_err(|error| bad("hooks.name", error.to_string()))?;
        if config.hooks[..n].iter().any(|earlier| earlier.name == hook.name) {
            return Err(bad("hooks.name", "must differ from hook to hook"));
        }
        if hook.stages.is_empty() {
            return Err(bad("hooks.stages", "must name at least one of before, stream and after"));
        }
    }
    Ok(())
}

fn require_file(field: &'static str, path: &str, files: &[VersionFile]) -> Result<(), PublishError> {
    if files.iter().any(|file| file.path == path) {
        return Ok(());
    }
    let named: String = path.chars().take(200).collect();
    Err(bad(field, format!("names {named:?}, which is not among the files")))
}

fn bad(field: &'static str, why: impl Into<String>) -> PublishError {
    PublishError::BadConfig { field, why: why.into() }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;
    use serde_json::{Value, json};

    use super::*;

    fn files(paths: &[&str]) -> Vec<VersionFile> {
        paths.iter().map(|path| VersionFile { path: (*path).to_owned(), digest: Digest::of(b""), size: 0 }).collect()
    }

    #[test]
    fn a_path_is_refused_with_its_name_and_the_reason() {
        for (paths, named) in [(["a", "../x"].as_slice(), "../x"), (&["README", "readme"], "readme"), (&["a/b", "a"], "a")] {
            match check_files(&files(paths)) {
                Err(PublishError::BadPath(bad)) => assert_eq!(bad.path, named),
                other => panic!("{paths:?}: {other:?}"),
            }
        }
        check_files(&files(&["predict.py", "a/b", "a/c", "a.b/c"])).unwrap();
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let many: Vec<String> = (0..=FILES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(check_files(&files(&many)), Err(PublishError::TooManyFiles { .. })));
        check_files(&files(&many[1..])).unwrap();
    }

    fn check(change: &Value) -> Result<(), PublishError> {
        let mut config = json!({"protocol": "cog", "predictor": "predict.py:Predictor", "openapi_schema": {}});
        for (key, value) in change.as_object().unwrap() {
            config[key] = value.clone();
        }
        check_config(&serde_json::from_value(config).unwrap(), &files(&["predict.py", "requirements.lock"]))
    }

    #[test]
    fn a_config_that_could_not_run_is_refused_with_its_reason() {
        let hook = |name: &str, stages: &[&str]| json!({"name": name, "digest": Digest::of(b""), "stages": stages});
        for (change, field) in [
            (json!({"predictor": null}), "predictor"),
            (json!({"predictor": "predict.py"}), "predictor"),
            (json!({"predictor": "predict.py:"}), "predictor"),
            (json!({"predictor": "predict.py:Predictor; rm"}), "predictor"),
            (json!({"predictor": "absent.py:Predictor"}), "predictor"),
            (json!({"trainer": "train"}), "trainer"),
            (json!({"trainer": "absent.py:train"}), "trainer"),
            (json!({"trainer": "predict.py:train", "predictor": null, "command": ["serve"]}), "trainer"),
            (json!({"command": ["a\0b"]}), "command"),
            (json!({"protocol": "openai", "predictor": null}), "command"),
            (json!({"protocol": "openai", "command": ["serve"]}), "openai"),
            (
                json!({"protocol": "openai", "command": ["serve"], "openai": {"endpoint": "/v1/other", "ready": "/health"}}),
                "openai.endpoint",
            ),
            (
                json!({"protocol": "openai", "command": ["serve"], "openai": {"endpoint": "/v1/completions", "ready": "http://x"}}),
                "openai.ready",
            ),
            (json!({"openai": {"endpoint": "/v1/other"}}), "openai.endpoint"),
            (json!({"protocol": "openai", "command": ["serve"], "openai": {"endpoint": "/v1/completions"}}), "openai.ready"),
            (json!({"environment": {"python": "3.11", "lock": "absent.lock"}}), "environment.lock"),
            (json!({"environment": {"python": "2.7", "lock": "requirements.lock"}}), "environment.python"),
            (json!({"environment": {"python": "3.11; x", "lock": "requirements.lock"}}), "environment.python"),
            (json!({"concurrency": 0}), "concurrency"),
            (json!({"limits": {"setup_seconds_max": 0}}), "limits.setup_seconds_max"),
            (json!({"limits": {"run_seconds_max": 90_000}}), "limits.run_seconds_max"),
            (json!({"cog_version": "a\0"}), "cog_version"),
            (json!({"hooks": [hook("../x", &["before"])]}), "hooks.name"),
            (json!({"hooks": [hook("a", &["before"]), hook("a", &["after"])]}), "hooks.name"),
            (json!({"hooks": [hook("a", &[])]}), "hooks.stages"),
            (json!({"license": "x".repeat(CONFIG_BYTES_MAX)}), "config"),
        ] {
            match check(&change) {
                Err(PublishError::BadConfig { field: named, .. }) => assert_eq!(named, field, "{change}"),
                other => panic!("{change}: {other:?}"),
            }
        }
    }

    #[test]
    fn configs_that_can_run_are_taken() {
        for change in [
            json!({}),
            json!({"trainer": "predict.py:train"}),
            json!({"predictor": null, "command": ["feira", "model", "hello-world"]}),
            json!({"environment": {"python": "3.11.9", "lock": "requirements.lock"}}),
            json!({"protocol": "openai", "command": ["serve"], "openai": {"endpoint": "/v1/chat/completions", "ready": "/health"}}),
            json!({"openai": {"endpoint": "/v1/embeddings"}}),
        ] {
            check(&change).unwrap_or_else(|error| panic!("{change}: {error}"));
        }
    }
}
