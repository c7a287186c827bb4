//! Environments from the real index, as this machine reaches it.

use std::fs;
use std::time::Duration;

use super::*;

const SIX: &str = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n";

/// The search path, and what package tools need to reach their index from here.
#[expect(clippy::disallowed_methods, reason = "a test stands where the command line does")]
fn surroundings() -> (String, Vec<(String, String)>) {
    let needed =
        ["SSL_CERT_FILE", "PIP_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"];
    let variables = needed.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    (std::env::var("PATH").unwrap(), variables)
}

fn environments(home: &Path) -> Environments {
    let (search_path, variables) = surroundings();
    Environments::new(home, search_path, variables)
}

/// The version of some interpreter that this machine has.
async fn some_python(environments: &Environments) -> String {
    let found = python::find(&environments.tools, "3").await.unwrap().version;
    found.rsplit_once('.').unwrap().0.to_owned()
}

#[tokio::test]
async fn an_environment_is_built_once_for_all_who_want_it() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("requirements.lock");
    fs::write(&lock, SIX).unwrap();
    let environments = environments(home.path());
    let python = some_python(&environments).await;
    let (first, second) = tokio::join!(environments.ensure(&python, &lock), environments.ensure(&python, &lock));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.built);
    assert_eq!(first, second);
    assert_eq!(fs::read_dir(home.path().join("environments")).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 1);

    let again = environments.ensure(&python, &lock).await.unwrap();
    assert_eq!(again, EnvironmentAt { built: false, ..first.clone() });
    let restarted = self::environments(home.path()).ensure(&python, &lock).await.unwrap();
    assert_eq!(restarted, again);

    let interpreter = first.path.join("bin/python");
    assert!(fs::canonicalize(&interpreter).unwrap().starts_with(&first.python_prefix));
    let said = environments.tools.run(
        "python",
        &interpreter,
        ["-B", "-c", "import six; print(six.__version__, six.__cached__)"],
        Duration::from_secs(20),
    );
    let said = said.await.unwrap();
    let (version, compiled) = said.trim().split_once(' ').unwrap();
    assert_eq!(version, "1.17.0");
    assert!(Path::new(compiled).exists(), "{compiled}");
}

#[tokio::test]
async fn an_environment_that_was_not_finished_is_built_anew() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("requirements.lock");
    fs::write(&lock, "").unwrap();
    let environments = environments(home.path());
    let python = some_python(&environments).await;
    let first = environments.ensure(&python, &lock).await.unwrap();
    fs::remove_file(first.path.join("built-from")).unwrap();
    fs::write(first.path.join("half"), "").unwrap();
    assert!(environments.ensure(&python, &lock).await.unwrap().built);
    assert!(!first.path.join("half").exists());
}

#[tokio::test]
async fn a_package_that_is_not_what_the_lock_says_is_refused_with_the_tools_words() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("requirements.lock");
    fs::write(&lock, format!("six==1.17.0 --hash=sha256:{}\n", "0".repeat(64))).unwrap();
    let environments = environments(home.path());
    let error = environments.ensure(&some_python(&environments).await, &lock).await.unwrap_err();
    assert!(matches!(&error, EnvironmentError::Tool { tool: "uv pip sync", said } if said.contains("six")), "{error}");
    assert!(environments.ensure(&some_python(&environments).await, &lock).await.is_err());
}

#[tokio::test]
async fn a_lock_with_options_and_an_unknown_python_are_refused_before_anything_runs() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("requirements.lock");
    let environments = Environments::new(home.path(), String::new(), Vec::new());
    assert!(matches!(environments.ensure("3.11", &lock).await, Err(EnvironmentError::NoLock)));
    fs::write(&lock, "-r /etc/passwd\n").unwrap();
    assert!(matches!(environments.ensure("3.11", &lock).await, Err(EnvironmentError::Lock { line: 1 })));
    assert!(matches!(environments.ensure("3.11; rm", &lock).await, Err(EnvironmentError::NotAPython { .. })));
    fs::write(&lock, SIX).unwrap();
    let error = environments.ensure("3.11", &lock).await.unwrap_err();
    assert!(error.to_string().starts_with("this runner has no Python 3.11: "), "{error}");
}
