//! `feira:hook/blobs`: files of the call by handle, and files that a hook writes.

use bytes::Bytes;
use wasmtime::component::Resource;

use super::Sandbox;
use crate::bindings::feira::hook::blobs::{self, BlobError};
use crate::call::Blob;

/// A file while it is written.
#[derive(Debug)]
pub struct Writer {
    media_type: String,
    /// `None` once it is finished.
    bytes: Option<Vec<u8>>,
}

impl blobs::Host for Sandbox {
    fn open(&mut self, reference: String) -> wasmtime::Result<Result<Resource<Blob>, BlobError>> {
        let index = reference.strip_prefix("blob:").and_then(|index| index.parse::<usize>().ok());
        let Some(blob) = index.and_then(|index| self.blobs.get(index)).cloned() else {
            return Ok(Err(BlobError::NotFound));
        };
        Ok(Ok(self.handles.push(blob)?))
    }
}

impl blobs::HostBlob for Sandbox {
    fn media_type(&mut self, blob: Resource<Blob>) -> wasmtime::Result<String> {
        Ok(self.handles.get(&blob)?.media_type.clone())
    }

    fn size(&mut self, blob: Resource<Blob>) -> wasmtime::Result<u64> {
        Ok(self.handles.get(&blob)?.bytes.len() as u64)
    }

    fn read(&mut self, blob: Resource<Blob>, offset: u64, len: u32) -> wasmtime::Result<Result<Vec<u8>, BlobError>> {
        let bytes = &self.handles.get(&blob)?.bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(len as usize).min(bytes.len());
        Ok(Ok(bytes[start..end].to_vec()))
    }

    fn drop(&mut self, blob: Resource<Blob>) -> wasmtime::Result<()> {
        self.handles.delete(blob)?;
        Ok(())
    }
}

impl blobs::HostWriter for Sandbox {
    fn new(&mut self, media_type: String) -> wasmtime::Result<Resource<Writer>> {
        Ok(self.handles.push(Writer { media_type, bytes: Some(Vec::new()) })?)
    }

    fn write(&mut self, writer: Resource<Writer>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), BlobError>> {
        let written = self.blob_bytes_written.saturating_add(bytes.len());
        if written > self.limits.blob_bytes_max {
            return Ok(Err(BlobError::OverBudget));
        }
        let Some(file) = &mut self.handles.get_mut(&writer)?.bytes else {
            return Ok(Err(BlobError::NotFound));
        };
        file.extend_from_slice(&bytes);
        self.blob_bytes_written = written;
        Ok(Ok(()))
    }

    fn finish(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Result<String, BlobError>> {
        let writer = self.handles.get_mut(&writer)?;
        let Some(bytes) = writer.bytes.take() else {
            return Ok(Err(BlobError::NotFound));
        };
        let blob = Blob { media_type: writer.media_type.clone(), bytes: Bytes::from(bytes) };
        self.blobs.push(blob);
        Ok(Ok(format!("blob:{}", self.blobs.len() - 1)))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.handles.delete(writer)?;
        Ok(())
    }
}
