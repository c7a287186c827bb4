//! What an upload is to become, which is also the name of its file in the spool.

use std::fmt;

use protocol::{Digest, Entropy};

use crate::blobs::BLOB_BYTES_MAX;
use crate::uploads::UploadError;

/// What an upload is to become. Its text is the upload's id and the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// One blob, which is known.
    Announced { digest: Digest, size: u64 },
    /// Whatever it turns out to be.
    Open([u8; 16]),
}

impl Target {
    pub(super) fn open(entropy: &Entropy) -> Self {
        Self::Open(entropy.bytes())
    }

    /// No upload of this may have more.
    pub(super) const fn bytes_max(self) -> u64 {
        match self {
            Self::Announced { size, .. } => size,
            Self::Open(_) => BLOB_BYTES_MAX,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced { digest, size } => write!(f, "upl_{}_{size}", digest.hex()),
            Self::Open(id) => write!(f, "upl_{}", hex::encode(id)),
        }
    }
}

pub(super) fn parse(id: &str) -> Result<Target, UploadError> {
    let parsed = || {
        let name = id.strip_prefix("upl_")?;
        let Some((hex, size)) = name.split_once('_') else {
            let mut id = [0; 16];
            hex::decode_to_slice(name, &mut id).ok()?;
            return Some(Target::Open(id));
        };
        Some(Target::Announced { digest: format!("sha256:{hex}").parse().ok()?, size: size.parse().ok()? })
    };
    parsed().filter(|target| target.to_string() == id).ok_or(UploadError::Unknown)
}
