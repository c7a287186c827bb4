//! Opens the store that an address names, with the settings that its library knows.

use std::path::Path as FilePath;
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3CopyIfNotExists};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use protocol::Entropy;

use super::{BlobError, Blobs, Place};

type Shared = Arc<dyn ObjectStore>;

impl Blobs {
    /// Opens a store that needs no settings: `file:///DIR` (the path is taken as it stands, and made if it is not there) or `memory:`.
    pub fn open(url: &str, entropy: Entropy) -> Result<Self, BlobError> {
        Self::open_with(url, &[], entropy)
    }

    /// Opens any store. `settings` are variables by name (`AWS_…`, `GOOGLE_…`, `AZURE_…`); those that the store's library does not
    /// know are for others. Nothing is asked of the store yet: [`Blobs::check`] does that.
    pub fn open_with(url: &str, settings: &[(String, String)], entropy: Entropy) -> Result<Self, BlobError> {
        if url == "memory:" {
            return Ok(Self { store: Arc::new(InMemory::new()), place: Place::Memory, entropy });
        }
        let (scheme, rest) = url.split_once("://").ok_or(BlobError::BadUrl)?;
        if scheme == "file" {
            return Self::open_folder(FilePath::new(rest), entropy);
        }
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| BlobError::BadUrl)?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(BlobError::BadUrl);
        }
        let named = name.to_owned();
        let (place, store) = match scheme {
            "s3" => (Place::S3 { bucket: named }, open_s3(name, settings)?),
            "gs" => (Place::Gcs { bucket: named }, open_gcs(name, settings)?),
            "az" => (Place::Azure { container: named }, open_azure(name, settings)?),
            _ => return Err(BlobError::BadUrl),
        };
        let store = if prefix.is_root() { store } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { store, place, entropy })
    }

    fn open_folder(dir: &FilePath, entropy: Entropy) -> Result<Self, BlobError> {
        if !dir.is_absolute() {
            return Err(BlobError::BadUrl);
        }
        std::fs::create_dir_all(dir).map_err(BlobError::Read)?;
        let store = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), place: Place::Folder(dir.to_owned()), entropy })
    }
}

/// A copy that must not replace anything is a multipart copy whose completion carries `If-None-Match`; a store that wants another
/// header is told so by `AWS_COPY_IF_NOT_EXISTS`.
fn open_s3(bucket: &str, settings: &[(String, String)]) -> Result<Shared, BlobError> {
    let builder = AmazonS3Builder::new().with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
    let builder = configured(builder, settings, "AWS_", |builder, key, value| builder.with_config(key, value));
    opened("AWS_", builder.with_bucket_name(bucket).build())
}

fn open_gcs(bucket: &str, settings: &[(String, String)]) -> Result<Shared, BlobError> {
    let builder = configured(GoogleCloudStorageBuilder::new(), settings, "GOOGLE_", |builder, key, value| builder.with_config(key, value));
    opened("GOOGLE_", builder.with_bucket_name(bucket).build())
}

fn open_azure(container: &str, settings: &[(String, String)]) -> Result<Shared, BlobError> {
    let builder = configured(MicrosoftAzureBuilder::new(), settings, "AZURE_", |builder, key, value| builder.with_config(key, value));
    opened("AZURE_", builder.with_container_name(container).build())
}

/// Hands a library those of the variables that it knows, as its own reading of the environment does.
fn configured<B, K: FromStr>(builder: B, settings: &[(String, String)], prefix: &str, set: impl Fn(B, K, &str) -> B) -> B {
    let mine = settings.iter().filter(|(name, _)| name.starts_with(prefix));
    mine.fold(builder, |builder, (name, value)| match name.to_ascii_lowercase().parse() {
        Ok(key) => set(builder, key, value),
        Err(_) => builder,
    })
}

fn opened<S: ObjectStore>(variables: &'static str, built: object_store::Result<S>) -> Result<Shared, BlobError> {
    match built {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(BlobError::BadSettings { variables, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, settings: &[(&str, &str)]) -> Result<Blobs, BlobError> {
        let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Blobs::open_with(url, &settings, Entropy::seeded(1))
    }

    #[test]
    fn a_url_of_another_kind_is_refused() {
        for url in [
            "",
            "file://relative",
            "/dir",
            "memory",
            "http://bucket",
            "s3:bucket",
            "s3://",
            "s3:///prefix",
            "gs://a b",
            "s3://b/../c",
            "s3://b/c//d",
        ] {
            assert!(matches!(open(url, &[]), Err(BlobError::BadUrl)), "{url}");
        }
    }

    #[test]
    fn a_bucket_is_opened_with_the_settings_of_its_own_store() {
        let account =
            [("AZURE_STORAGE_ACCOUNT_NAME", "ada"), ("AZURE_STORAGE_ACCOUNT_KEY", "YQ=="), ("AWS_PROFILE", "unknown to the library")];
        for (url, place) in [
            ("s3://models", "the S3 bucket models"),
            ("s3://models/of/feira/", "the S3 bucket models"),
            ("gs://models/feira", "the GCS bucket models"),
            ("az://models/feira", "the Azure container models"),
        ] {
            assert_eq!(open(url, &account).unwrap().place.to_string(), place, "{url}");
        }
    }

    #[test]
    fn settings_that_do_not_fit_are_told_by_their_prefix() {
        let wrong = open("s3://models", &[("AWS_ALLOW_HTTP", "perhaps")]);
        assert!(matches!(wrong, Err(BlobError::BadSettings { variables: "AWS_", .. })), "{wrong:?}");
        let missing = open("az://models", &[]);
        assert!(matches!(missing, Err(BlobError::BadSettings { variables: "AZURE_", .. })), "{missing:?}");
    }
}
