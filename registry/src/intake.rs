//! What is looked into before a version is published: the files whose format their readers trust. Archives and safetensors that lie are
//! refused; pickles, which run code when they are loaded, are told of. Nothing is unpacked, and nothing is written.

mod archive;
mod format;
mod pickle;
mod reader;
mod safetensors;
mod tar;
mod zip;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use protocol::api::{FileWarning, FileWarningKind};
use protocol::manifest::VersionFile;
use protocol::{Digest, VersionId};
use tokio::runtime::Handle;

use crate::blobs::BlobError;
use crate::db::warning;
use crate::versions::PublishError;
use crate::{Registry, RegistryError};
use archive::BadArchive;
use format::{FIRST_BYTES, Format, is_tar};
use pickle::{IMPORTS_MAX, Scan};
use reader::BlobReader;
use safetensors::BadTensors;

/// Files that are looked into at a time, for all publishers together: each takes a core as long as it is unpacked.
pub(crate) const LOOKS_AT_ONCE: usize = 2;
const READ_BYTES: usize = 64 << 10;
/// What a version's description can have of them.
const WARNINGS_MAX: usize = 50;
/// Pickles in one archive of `PyTorch` that are looked into: it writes one.
const PICKLES_MAX: usize = 16;

/// What became of a look.
enum Look {
    Fine,
    Pickle(Scan),
    Refused(String),
}

impl Registry {
    /// Looks into the files of a version that is about to be, and keeps what is to be told of them.
    ///
    /// # Errors
    /// [`PublishError::BadFile`] with the first file that is refused.
    pub(crate) async fn inspect(&self, version: &VersionId, files: &[VersionFile]) -> Result<(), PublishError> {
        let warnings = self.look_into(files).await?;
        if warnings.is_empty() {
            return Ok(());
        }
        let version = *version;
        Ok(self.db.write(move |tx| Box::pin(async move { warning::insert(tx, &version, &warnings).await })).await?)
    }

    /// Each content once, however many names it has. Lasts seconds for weights of any size, and as long as unpacking for archives that are
    /// packed.
    async fn look_into(&self, files: &[VersionFile]) -> Result<Vec<FileWarning>, PublishError> {
        let mut names: BTreeMap<(Digest, Format), Vec<&VersionFile>> = BTreeMap::new();
        for file in files {
            if let Some(format) = Format::of(&file.path) {
                names.entry((file.digest, format)).or_default().push(file);
            }
        }
        let mut warnings = Vec::new();
        for ((_, format), files) in names {
            match self.look(files[0], format).await? {
                Look::Fine => {}
                Look::Refused(why) => return Err(PublishError::BadFile { path: files[0].path.clone(), why }),
                Look::Pickle(scan) => warnings.extend(files.iter().map(|file| warning(&file.path, &scan))),
            }
        }
        warnings.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(at_most(warnings))
    }

    async fn look(&self, file: &VersionFile, format: Format) -> Result<Look, RegistryError> {
        let place = Arc::clone(&self.looks).acquire_owned().await.expect("it is never closed");
        let (size, reader) = (file.size, BlobReader::new(self.blobs.clone(), file.digest, file.size, Handle::current()));
        let looking = tokio::task::spawn_blocking(move || {
            let _place = place;
            look(reader, size, format)
        });
        let looked = looking.await.map_err(io::Error::other).and_then(|looked| looked);
        looked.map_err(|error| match error.downcast::<BlobError>() {
            Ok(error) => error.into(),
            Err(error) => BlobError::Read(error).into(),
        })
    }
}

/// # Errors
/// Only when the blob cannot be read; what its bytes are is told in the look.
fn look(mut file: BlobReader, size: u64, format: Format) -> io::Result<Look> {
    match format {
        Format::Tar => of_archive(tar::check_plain(file, size)),
        Format::TarGzip => of_archive(tar::check_unpacked(gunzip(file), size)),
        Format::Zip => match of_archive(zip::check(&mut file, size))? {
            Look::Fine => look(file, size, Format::PerhapsPickle),
            other => Ok(other),
        },
        Format::Safetensors => match safetensors::check(file, size) {
            Ok(()) => Ok(Look::Fine),
            Err(BadTensors::Read(error)) if is_of_the_store(&error) => Err(error),
            Err(bad) => Ok(Look::Refused(bad.to_string())),
        },
        Format::Pickle => Ok(Look::Pickle(scan(&mut file, size)?)),
        Format::PerhapsPickle => {
            let scan = scan(&mut file, size)?;
            Ok(if scan.is_pickle { Look::Pickle(scan) } else { Look::Fine })
        }
        Format::Unnamed => look_at_unnamed(file, size),
    }
}

fn look_at_unnamed(mut file: BlobReader, size: u64) -> io::Result<Look> {
    let format = Format::of_content(&first_of(&mut file)?);
    file.rewind()?;
    match format {
        None => Ok(Look::Fine),
        Some(Format::TarGzip) if !holds_tar(&mut file)? => Ok(Look::Fine),
        Some(format) => {
            file.rewind()?;
            look(file, size, format)
        }
    }
}

/// Of anything else that is packed nobody makes files.
fn holds_tar(packed: &mut BlobReader) -> io::Result<bool> {
    match first_of(&mut gunzip(packed)) {
        Ok(first) => Ok(is_tar(&first)),
        Err(error) if is_of_the_store(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

fn first_of(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(FIRST_BYTES);
    file.take(FIRST_BYTES as u64).read_to_end(&mut first)?;
    Ok(first)
}

fn gunzip<R: Read>(file: R) -> MultiGzDecoder<BufReader<R>> {
    MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, file))
}

fn of_archive(checked: Result<(), BadArchive>) -> io::Result<Look> {
    match checked {
        Ok(()) => Ok(Look::Fine),
        Err(BadArchive::Read(error)) if is_of_the_store(&error) => Err(error),
        Err(bad) => Ok(Look::Refused(bad.to_string())),
    }
}

fn is_of_the_store(error: &io::Error) -> bool {
    error.get_ref().and_then(|source| source.downcast_ref::<BlobError>()).is_some()
}

/// A pickle, or the pickles in an archive, which is how `PyTorch` writes them.
fn scan(file: &mut BlobReader, size: u64) -> io::Result<Scan> {
    let listed = match zip::entries(file, size) {
        Ok(listed) => listed,
        Err(BadArchive::Read(error)) if is_of_the_store(&error) => return Err(error),
        Err(_) => {
            file.rewind()?;
            return pickle::scan(file);
        }
    };
    let mut all = Scan { is_whole: true, ..Scan::default() };
    let mut pickles = listed.iter().filter(|entry| Format::of(&entry.name) == Some(Format::Pickle));
    for entry in pickles.by_ref().take(PICKLES_MAX) {
        let scanned = match zip::open(file, entry) {
            Ok(content) => pickle::scan(content)?,
            Err(BadArchive::Read(error)) if is_of_the_store(&error) => return Err(error),
            Err(_) => Scan { is_pickle: true, ..Scan::default() },
        };
        all.is_pickle |= scanned.is_pickle;
        all.is_whole &= scanned.is_whole;
        all.imports.extend(scanned.imports);
    }
    all.is_whole &= pickles.next().is_none();
    Ok(all)
}

fn warning(path: &str, scan: &Scan) -> FileWarning {
    let what = if scan.imports.is_empty() { "loading it can run code" } else { "loading it runs code, with what it imports" };
    let read = if scan.is_whole { "" } else { "; not all of it could be read" };
    FileWarning {
        path: path.to_owned(),
        kind: FileWarningKind::Pickle,
        detail: format!("A pickle: {what}{read}"),
        imports: scan.imports.iter().take(IMPORTS_MAX).cloned().collect(),
    }
}

/// The last of many tells of the others.
fn at_most(mut warnings: Vec<FileWarning>) -> Vec<FileWarning> {
    let others = warnings.len().saturating_sub(WARNINGS_MAX);
    warnings.truncate(WARNINGS_MAX);
    if let Some(last) = warnings.last_mut().filter(|_| others > 0) {
        last.detail = format!("{}. So are {others} other files", last.detail);
    }
    warnings
}

#[cfg(test)]
mod tests;
