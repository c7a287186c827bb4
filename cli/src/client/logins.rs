//! The tokens that `feira login` keeps, by server, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::{Deserialize, Serialize};

use super::endpoint::AddressError;
use crate::settings::Secret;

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logins {
    /// The server of the last login.
    current: Option<String>,
    hosts: BTreeMap<String, Login>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

impl Logins {
    pub fn read(config_dir: &Path) -> Result<Self, AddressError> {
        let unreadable = |error: &dyn fmt::Display| AddressError::Logins(error.to_string());
        match fs::read_to_string(file(config_dir)) {
            Ok(text) => toml::from_str(&text).map_err(|error| unreadable(&error.message())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Puts the file in place of the old one at once; a temporary file is born readable by its owner alone.
    pub fn write(&self, config_dir: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(config_dir)?;
        let mut draft = tempfile::NamedTempFile::new_in(config_dir)?;
        draft.write_all(toml::to_string(self)?.as_bytes())?;
        draft.persist(file(config_dir))?;
        Ok(())
    }

    pub fn keep(&mut self, host: &str, token: &Secret) {
        self.current = Some(host.to_owned());
        self.hosts.insert(host.to_owned(), Login { token: token.reveal().to_owned() });
    }

    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    pub fn token(&self, host: &str) -> Option<Secret> {
        self.hosts.get(host).map(|login| Secret::new(&login.token))
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("current", &self.current).finish_non_exhaustive()
    }
}

fn file(config_dir: &Path) -> PathBuf {
    config_dir.join("logins.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_kept_token_is_read_back_and_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let config_dir = dir.path().join("feira");
        let mut logins = Logins::read(&config_dir).unwrap();
        logins.keep("https://a.example", &Secret::new("fe_a"));
        logins.keep("https://b.example", &Secret::new("fe_b"));
        logins.write(&config_dir).unwrap();
        let again = Logins::read(&config_dir).unwrap();
        assert_eq!(again.current(), Some("https://b.example"));
        assert_eq!(again.token("https://a.example").as_ref().map(Secret::reveal), Some("fe_a"));
        assert_eq!(fs::metadata(file(&config_dir)).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{again:?}").contains("fe_"));
    }
}
