//! The tongue every room speaks: ids, digests, names, money, the manifest of a version, predictions and their states, problems,
//! and the wire between gateway and runner. Pure data: nothing here opens a file, a socket or a database.

pub mod address;
pub mod api;
pub mod clock;
pub mod digest;
pub mod id;
pub mod manifest;
pub mod money;
pub mod name;
pub mod oci;
pub mod paths;
pub mod prediction;
pub mod problem;
pub mod tag;
pub mod webhook;
pub mod wire;

pub use clock::{Clock, Entropy, Timestamp};
pub use digest::{Digest, VersionId};
pub use id::PredictionId;
pub use manifest::{Manifest, VersionConfig};
pub use money::{Credits, Price, Pricing};
pub use name::{ModelRef, Reference};
pub use oci::OciManifest;
pub use prediction::{Prediction, Status};
pub use problem::Problem;
pub use tag::Tag;
