//! What the surroundings say: the environment variables that `feira` heeds, read once and passed on from here.

use std::fmt;
use std::path::PathBuf;

/// The environment at the moment the program started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where a server on this machine keeps everything: `$FEIRA_HOME`, `$XDG_DATA_HOME/feira` or `~/.local/share/feira`.
    pub home: PathBuf,
    /// Where `feira login` keeps tokens: `$XDG_CONFIG_HOME/feira` or `~/.config/feira`.
    pub config_dir: PathBuf,
    /// `FEIRA_HOST`.
    pub host: Option<String>,
    /// `FEIRA_API_TOKEN`.
    pub token: Option<Secret>,
    /// `REPLICATE_BASE_URL`, with or without `/v1`.
    pub replicate_base_url: Option<String>,
    /// `REPLICATE_API_TOKEN`.
    pub replicate_token: Option<Secret>,
    /// `PATH`: where `uv` and `python3` are looked for.
    pub search_path: String,
    /// What the clients of package registries may need besides: certificates, proxies, mirrors.
    pub tools: Vec<(String, String)>,
    /// `FEIRA_LOG`: which log lines are wanted, such as `info` or `gateway=debug`.
    pub log: Option<String>,
}

/// Variables that uv, pip and npm are given when they work for the runner; models never see them.
const TOOL_VARIABLES: [&str; 22] = [
    "HOME",
    "LANG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CONFIG_FILE",
    "PIP_DEFAULT_TIMEOUT",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_NATIVE_TLS",
    "UV_CACHE_DIR",
];

/// A text that does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Settings {
    /// Reads the environment through `variable`, which is [`from_process`] in the program and a table in tests.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let user = PathBuf::from(variable("HOME").unwrap_or_else(|| "/".to_owned()));
        let base = |name: &str, fallback: &str| variable(name).map_or_else(|| user.join(fallback), PathBuf::from).join("feira");
        Self {
            home: variable("FEIRA_HOME").map_or_else(|| base("XDG_DATA_HOME", ".local/share"), PathBuf::from),
            config_dir: base("XDG_CONFIG_HOME", ".config"),
            host: variable("FEIRA_HOST"),
            token: variable("FEIRA_API_TOKEN").as_deref().map(Secret::new),
            replicate_base_url: variable("REPLICATE_BASE_URL"),
            replicate_token: variable("REPLICATE_API_TOKEN").as_deref().map(Secret::new),
            search_path: variable("PATH").unwrap_or_default(),
            tools: TOOL_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))).collect(),
            log: variable("FEIRA_LOG"),
        }
    }
}

/// One variable of this process's environment; one that is not UTF-8 counts as unset.
#[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
pub fn from_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the libraries of object stores read: addresses and credentials. Asked for where a store is opened, and kept nowhere.
#[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
pub fn of_stores() -> Vec<(String, String)> {
    let utf8 = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    utf8.filter(|(name, _)| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_home_is_the_first_of_three_places_that_is_named() {
        assert_eq!(read(&[("HOME", "/u")]).home, PathBuf::from("/u/.local/share/feira"));
        assert_eq!(read(&[("HOME", "/u"), ("XDG_DATA_HOME", "/d")]).home, PathBuf::from("/d/feira"));
        assert_eq!(read(&[("HOME", "/u"), ("XDG_DATA_HOME", "/d"), ("FEIRA_HOME", "/h")]).home, PathBuf::from("/h"));
    }

    #[test]
    fn an_empty_variable_is_an_unset_one_and_a_token_does_not_print() {
        let settings = read(&[("FEIRA_HOST", ""), ("FEIRA_API_TOKEN", "fe_secret\n")]);
        assert_eq!(settings.host, None);
        assert_eq!(settings.token.as_ref().map(Secret::reveal), Some("fe_secret"));
        assert!(!format!("{settings:?}").contains("fe_secret"));
    }
}
