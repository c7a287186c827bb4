//! Where blobs are kept, and what that place can and cannot do.

use std::fmt;
use std::path::PathBuf;

/// Bytes of one part of a large write, of which a few are in memory at one time. S3 takes no part below 5 MiB but the last.
pub(super) const PART_BYTES: usize = 8 * 1024 * 1024;
/// S3 and GCS take at most 10,000 parts, Azure 50,000 blocks; and R2 wants parts of one size.
const PARTS_MAX: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Memory,
    S3 { bucket: String },
    Gcs { bucket: String },
    Azure { container: String },
}

impl Place {
    /// Bytes of each part of a write of at most `bytes_max`.
    pub(super) fn part_bytes(&self, bytes_max: u64) -> usize {
        match self {
            Self::Folder(_) | Self::Memory => PART_BYTES,
            Self::S3 { .. } | Self::Gcs { .. } | Self::Azure { .. } => {
                usize::try_from(bytes_max.div_ceil(PARTS_MAX)).unwrap_or(usize::MAX).max(PART_BYTES)
            }
        }
    }

    /// What tells the store who we are.
    pub(super) const fn credentials(&self) -> &'static str {
        match self {
            Self::Folder(_) => "the rights of its folder",
            Self::Memory => "nothing",
            Self::S3 { .. } => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine",
            Self::Gcs { .. } => "GOOGLE_SERVICE_ACCOUNT (a key file), or the account of this machine",
            Self::Azure { .. } => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the identity of this machine",
        }
    }

    /// What tells the store's address.
    pub(super) const fn address(&self) -> &'static str {
        match self {
            Self::Folder(_) | Self::Memory => "--blobs",
            Self::S3 { .. } => "AWS_REGION, AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true if that is http://",
            Self::Gcs { .. } => "GOOGLE_BASE_URL",
            Self::Azure { .. } => "AZURE_STORAGE_ENDPOINT",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "the folder {}", dir.display()),
            Self::Memory => f.write_str("memory"),
            Self::S3 { bucket } => write!(f, "the S3 bucket {bucket}"),
            Self::Gcs { bucket } => write!(f, "the GCS bucket {bucket}"),
            Self::Azure { container } => write!(f, "the Azure container {container}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOB_BYTES_MAX;

    #[test]
    fn the_largest_blob_has_no_more_parts_than_a_store_takes() {
        let place = Place::S3 { bucket: "b".to_owned() };
        for bytes_max in [0, 1, PART_BYTES as u64 * PARTS_MAX, PART_BYTES as u64 * PARTS_MAX + 1, BLOB_BYTES_MAX] {
            let part = place.part_bytes(bytes_max) as u64;
            assert!(part >= PART_BYTES as u64 && bytes_max.div_ceil(part) <= PARTS_MAX, "{bytes_max}: {part}");
        }
    }
}
