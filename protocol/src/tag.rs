//! The name of a tag: what people call a version until they call another one so.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// As long as the OCI distribution specification lets a tag be.
const TAG_CHARS_MAX: usize = 128;
/// Characters of a version's id, which no tag may look like.
const ID_CHARS: usize = 64;

/// A tag's name, checked: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {TAG_CHARS_MAX} letters, digits, `_`, `.` and `-`, does not begin with `.` or `-`, and is no version's id")]
pub struct NotATag;

impl Tag {
    /// What a model without a stated version means.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    pub fn is_latest(&self) -> bool {
        self.0 == "latest"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let is_id = bytes.len() == ID_CHARS && bytes.iter().all(u8::is_ascii_hexdigit);
        let fits = bytes.len() <= TAG_CHARS_MAX
            && bytes.first().is_some_and(|&byte| word(byte))
            && bytes.iter().all(|&byte| word(byte) || matches!(byte, b'.' | b'-'));
        (fits && !is_id).then(|| Self(text.to_owned())).ok_or(NotATag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = NotATag;

    fn try_from(text: String) -> Result<Self, NotATag> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_word_that_is_no_id() {
        for good in ["latest", "v1.0.0-rc_1", "_", "2026", &"x".repeat(128), &"a".repeat(63)] {
            assert_eq!(good.parse::<Tag>().unwrap().as_str(), good);
        }
        for bad in ["", ".hidden", "-x", "a/b", "a b", "ä", "a:b", &"x".repeat(129), &"a".repeat(64), "../x"] {
            assert_eq!(bad.parse::<Tag>(), Err(NotATag), "{bad}");
        }
    }
}
