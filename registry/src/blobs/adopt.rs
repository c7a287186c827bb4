//! Makes a blob of a file of this machine: moved into a folder store, which costs one reading, and copied into every other.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use protocol::Digest;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::{BlobError, Blobs, Place, READ_BYTES, Stored, path_of};

impl Blobs {
    /// Makes a blob of a file that nobody writes to any more, and takes the file.
    ///
    /// # Errors
    /// [`BlobError::WrongDigest`] when the file has another hash. With any error nothing is stored, and the file is where it was.
    pub async fn adopt(&self, file: &Path, expected: &Digest) -> Result<Stored, BlobError> {
        if let Place::Folder(store) = &self.place {
            let (file, at, expected) = (file.to_owned(), store.join(path_of(expected).as_ref()), *expected);
            // Blocks for as long as the disk takes for the file: at most some minutes.
            match tokio::task::spawn_blocking(move || take(&file, &at, &expected)).await.map_err(object_store::Error::from)? {
                Err(BlobError::Read(error)) if error.kind() == io::ErrorKind::CrossesDevices => {}
                taken => return taken,
            }
        }
        let bytes = tokio::fs::File::open(file).await.map_err(BlobError::Read)?;
        let size = bytes.metadata().await.map_err(BlobError::Read)?.len();
        let stored = self.put_stream(Some(expected), size, ReaderStream::with_capacity(bytes, READ_BYTES)).await?;
        tokio::fs::remove_file(file).await.map_err(BlobError::Read)?;
        Ok(stored)
    }
}

fn take(path: &Path, at: &Path, expected: &Digest) -> Result<Stored, BlobError> {
    let mut file = File::open(path).map_err(BlobError::Read)?;
    let (found, size) = hash(&mut file).map_err(BlobError::Read)?;
    if found != *expected {
        return Err(BlobError::WrongDigest { expected: *expected, found });
    }
    let fresh = move_into(at, &file, path).map_err(BlobError::Read)?;
    Ok(Stored { digest: found, size, fresh })
}

fn hash(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((Digest::from_bytes(hash.finalize().into()), size));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

/// True when the blob was not there. Its bytes are on the disk before it has its name; moved and not linked, so that no crash leaves a
/// name outside of the store through which it could be written to.
fn move_into(at: &Path, file: &File, path: &Path) -> io::Result<bool> {
    if at.try_exists()? {
        return fs::remove_file(path).map(|()| false);
    }
    let folder = at.parent().expect("the path of a digest has three parts");
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        sync_folder(folder.parent().expect("the path of a digest has three parts"))?;
    }
    file.sync_all()?;
    fs::rename(path, at)?;
    sync_folder(folder).map(|()| true)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
