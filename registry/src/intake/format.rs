//! Which files are looked into, and as what.

/// What a file is to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    Tar,
    TarGzip,
    Zip,
    Safetensors,
    Pickle,
    /// Weights of any kind, pickles among them.
    PerhapsPickle,
    /// Only its bytes can tell.
    Unnamed,
}

/// Bytes by which a format is known.
pub(super) const FIRST_BYTES: usize = 512;
/// What a training made: the platform gives it this name, whatever it is.
const TRAINED: &str = "weights";

impl Format {
    pub(super) fn of(path: &str) -> Option<Self> {
        let path = path.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
        match () {
            () if path == TRAINED => Some(Self::Unnamed),
            () if ends(&[".tar"]) => Some(Self::Tar),
            () if ends(&[".tar.gz", ".tgz"]) => Some(Self::TarGzip),
            () if ends(&[".zip"]) => Some(Self::Zip),
            () if ends(&[".safetensors"]) => Some(Self::Safetensors),
            () if ends(&[".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill"]) => Some(Self::Pickle),
            () if ends(&[".bin"]) => Some(Self::PerhapsPickle),
            () => None,
        }
    }

    /// What begins with these bytes.
    pub(super) fn of_content(first: &[u8]) -> Option<Self> {
        match first {
            _ if is_tar(first) => Some(Self::Tar),
            [0x1f, 0x8b, ..] => Some(Self::TarGzip),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            // A header of less than 16 MiB, and the brace that begins it.
            [_, _, _, 0, 0, 0, 0, 0, b'{', ..] => Some(Self::Safetensors),
            [0x80, 2..=5, ..] => Some(Self::Pickle),
            _ => None,
        }
    }
}

/// All but the oldest say so.
pub(super) fn is_tar(first: &[u8]) -> bool {
    first.get(257..262) == Some(b"ustar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_looked_into() {
        for (path, format) in [
            ("a/Data.TAR", Some(Format::Tar)),
            ("a.tgz", Some(Format::TarGzip)),
            ("a.tar.gz", Some(Format::TarGzip)),
            ("a.zip", Some(Format::Zip)),
            ("model-00001-of-00002.safetensors", Some(Format::Safetensors)),
            ("unet.ckpt", Some(Format::Pickle)),
            ("pytorch_model.bin", Some(Format::PerhapsPickle)),
            ("weights", Some(Format::Unnamed)),
            ("predict.py", None),
            ("log.gz", None),
            ("tar", None),
        ] {
            assert_eq!(Format::of(path), format, "{path}");
        }
    }

    #[test]
    fn bytes_tell_what_has_no_name() {
        let mut tar = [0; FIRST_BYTES];
        tar[257..262].copy_from_slice(b"ustar");
        for (first, format) in [
            (tar.as_slice(), Some(Format::Tar)),
            (b"\x1f\x8b\x08", Some(Format::TarGzip)),
            (b"PK\x03\x04", Some(Format::Zip)),
            (b"\x02\0\0\0\0\0\0\0{}", Some(Format::Safetensors)),
            (b"\x80\x04}.", Some(Format::Pickle)),
            (b"GGUF\x03\0\0\0\0\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(Format::of_content(first), format, "{first:?}");
        }
    }
}
