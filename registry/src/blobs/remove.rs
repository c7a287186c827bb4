//! What the collector does to the store: looks at all that is in it, and takes blobs out.

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use protocol::{Digest, Timestamp};

use super::{BlobError, Blobs, found, path_of};

/// A blob as the store lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedBlob {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) written_at: Timestamp,
}

impl Blobs {
    /// Every blob, in no order. Of a store elsewhere this asks for a thousand at a time.
    pub(crate) fn list(&self) -> BoxStream<'static, Result<ListedBlob, BlobError>> {
        let listed = self.store.list(Some(&Path::from("sha256")));
        listed.map_err(BlobError::Store).try_filter_map(|meta| async move { Ok(listed_blob(&meta)) }).boxed()
    }

    /// Takes a blob out, and answers its bytes; none when it was not there.
    pub(crate) async fn remove(&self, digest: &Digest) -> Result<u64, BlobError> {
        let Some(size) = self.head(digest).await? else { return Ok(0) };
        Ok(found(self.store.delete(&path_of(digest)).await)?.map_or(0, |()| size))
    }

    /// Takes out what writers left who died before their blob had a name.
    pub(crate) async fn remove_staged(&self, written_before: Timestamp) -> Result<(), BlobError> {
        let mut staged = self.store.list(Some(&Path::from("staging")));
        while let Some(meta) = staged.try_next().await? {
            if written_at(&meta) < written_before {
                found(self.store.delete(&meta.location).await)?;
            }
        }
        Ok(())
    }
}

/// The inverse of `path_of`; what else lies there is none of ours.
fn listed_blob(meta: &ObjectMeta) -> Option<ListedBlob> {
    let path = meta.location.to_string();
    let (folder, name) = path.strip_prefix("sha256/")?.split_once('/')?;
    let digest = format!("sha256:{folder}{name}").parse().ok()?;
    (path_of(&digest) == meta.location).then(|| ListedBlob { digest, size: meta.size, written_at: written_at(meta) })
}

fn written_at(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_micros(meta.last_modified.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use protocol::Entropy;

    use super::*;

    #[tokio::test]
    async fn what_is_listed_is_what_was_put_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        for url in ["memory:".to_owned(), format!("file://{}", home.path().display())] {
            let blobs = Blobs::open(&url, Entropy::seeded(1)).unwrap();
            let kept = blobs.put("kept".into()).await.unwrap().digest;
            let gone = blobs.put("gone!".into()).await.unwrap().digest;
            blobs.write_artefact("beside", "not a blob".into()).await.unwrap();
            assert_eq!(blobs.remove(&gone).await.unwrap(), 5);
            assert_eq!(blobs.remove(&gone).await.unwrap(), 0, "it is gone already");
            let listed: Vec<ListedBlob> = blobs.list().try_collect().await.unwrap();
            assert_eq!(listed.iter().map(|blob| (blob.digest, blob.size)).collect::<Vec<_>>(), [(kept, 4)], "{url}");
        }
    }
}
