//! Names of accounts and models, and the forms in which a caller may refer to a version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::VersionId;

/// Longest owner or model name, in characters: a DNS label, so that either can become a host name.
pub const NAME_CHARS_MAX: usize = 63;

/// First segments of addresses that are no owner's name, whoever answers them: an owner of such a name would have no page.
const RESERVED: [&str; 35] = [
    "account",
    "accounts",
    "api",
    "assets",
    "collections",
    "dashboard",
    "deployments",
    "docs",
    "explore",
    "favicon.ico",
    "files",
    "hardware",
    "livez",
    "llms.txt",
    "metrics",
    "models",
    "openai",
    "openapi.json",
    "p",
    "predictions",
    "prices",
    "pricing",
    "readyz",
    "robots.txt",
    "runner",
    "runners",
    "search",
    "signin",
    "signout",
    "status",
    "streams",
    "trainings",
    "v1",
    "v2",
    "webhooks",
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    #[error("a name has 1 to {NAME_CHARS_MAX} characters: a–z, 0–9, `-`, `_` and `.`, and begins and ends with a letter or digit")]
    Name,
    #[error("the name is kept for addresses of the server's own; choose another")]
    Reserved,
    #[error("a model is written owner/name")]
    Model,
    #[error("a version is written owner/name, owner/name:id or id, where id is 64 hexadecimal digits")]
    Reference,
}

/// Checks an owner's or a model's name.
pub fn check_name(name: &str) -> Result<&str, NotAName> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let fits = (1..=NAME_CHARS_MAX).contains(&bytes.len())
        && bytes.iter().all(|&b| plain(b) || matches!(b, b'-' | b'_' | b'.'))
        && bytes.first().is_some_and(|&b| plain(b))
        && bytes.last().is_some_and(|&b| plain(b));
    fits.then_some(name).ok_or(NotAName::Name)
}

/// Checks the name of an account, which is the first segment of its models' addresses.
pub fn check_owner(name: &str) -> Result<&str, NotAName> {
    let name = check_name(name)?;
    if RESERVED.contains(&name) { Err(NotAName::Reserved) } else { Ok(name) }
}

/// `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelRef {
    pub owner: String,
    pub name: String,
}

impl ModelRef {
    pub fn new(owner: &str, name: &str) -> Result<Self, NotAName> {
        Ok(Self { owner: check_name(owner)?.to_owned(), name: check_name(name)?.to_owned() })
    }
}

impl FromStr for ModelRef {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (owner, name) = text.split_once('/').ok_or(NotAName::Model)?;
        Self::new(owner, name)
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl TryFrom<String> for ModelRef {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<ModelRef> for String {
    fn from(model: ModelRef) -> Self {
        model.to_string()
    }
}

/// What a caller wrote to say which version to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `owner/name`: the model's latest version.
    Latest(ModelRef),
    /// `owner/name:id`: that version, and it must be one of the model's.
    Exact(ModelRef, VersionId),
    /// `id` alone.
    Bare(VersionId),
}

impl FromStr for Reference {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        match text.split_once(':') {
            Some((model, id)) => Ok(Self::Exact(model.parse()?, id.parse().map_err(|_| NotAName::Reference)?)),
            None if text.contains('/') => Ok(Self::Latest(text.parse()?)),
            None => text.parse().map(Self::Bare).map_err(|_| NotAName::Reference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

    #[test]
    fn the_three_forms_of_a_reference_are_told_apart() {
        let model: ModelRef = "feira/hello-world".parse().unwrap();
        let id: VersionId = ID.parse().unwrap();
        assert_eq!("feira/hello-world".parse(), Ok(Reference::Latest(model.clone())));
        assert_eq!(format!("feira/hello-world:{ID}").parse(), Ok(Reference::Exact(model, id)));
        assert_eq!(ID.parse(), Ok(Reference::Bare(id)));
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b/c", "A", "a b", "-a", "a-", "a\0b", "ä"] {
            assert_eq!(check_name(bad), Err(NotAName::Name), "{bad:?}");
        }
        for good in ["a", "hello-world", "llama-3.1", "a_b", "0"] {
            assert_eq!(check_name(good), Ok(good));
        }
    }

    #[test]
    fn an_owner_has_no_name_that_the_server_needs_for_itself() {
        for word in RESERVED {
            assert_eq!(check_owner(word), Err(NotAName::Reserved), "{word}");
        }
        assert!(check_owner("feira").is_ok() && check_owner("p2").is_ok());
    }
}
