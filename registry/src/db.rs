//! All SQL of the registry, one file a table: static text that both engines read.

pub(crate) mod account;
pub(crate) mod blob;
pub(crate) mod collection;
pub(crate) mod deployment;
pub(crate) mod file;
pub(crate) mod holding;
pub(crate) mod manifest;
pub(crate) mod model;
pub(crate) mod named_blob;
pub(crate) mod offer;
pub(crate) mod tag;
pub(crate) mod token;
pub(crate) mod version;
pub(crate) mod warning;

use protocol::Digest;

/// Digests as one parameter of a statement.
fn json_list(digests: &[Digest]) -> String {
    serde_json::to_string(digests).expect("a list of texts is JSON")
}
