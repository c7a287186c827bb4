//! All SQL of the registry, one file a table: static text that both engines read.

pub(crate) mod account;
pub(crate) mod account_key;
pub(crate) mod collection;
pub(crate) mod deployment;
pub(crate) mod file;
pub(crate) mod model;
pub(crate) mod operator_key;
pub(crate) mod tag;
pub(crate) mod token;
pub(crate) mod version;
pub(crate) mod version_signature;
