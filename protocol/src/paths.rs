//! The paths of a version's files: a tree that lies in one folder wherever it is unpacked. Checked by whoever publishes one and whoever
//! unpacks one, for neither trusts the other.

use std::collections::HashMap;

pub const PATH_BYTES_MAX: usize = 1_024;
/// Longest part of a path on common file systems.
const PART_BYTES_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} {why}")]
pub struct BadPath {
    /// Its beginning, if it is long.
    pub path: String,
    pub why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// Refuses paths that could leave the folder, or that some file system would fold into one.
///
/// # Errors
/// [`BadPath`] names the first such path.
pub fn check_paths<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<(), BadPath> {
    let mut seen: HashMap<String, Kind> = HashMap::new();
    for path in paths {
        let bad = |why| BadPath { path: path.chars().take(200).collect(), why };
        check_path(path).map_err(bad)?;
        let folded = path.to_lowercase();
        for (at, _) in folded.match_indices('/') {
            if *seen.entry(folded[..at].to_owned()).or_insert(Kind::Folder) == Kind::File {
                return Err(bad("is a file and a folder at once"));
            }
        }
        match seen.insert(folded, Kind::File) {
            None => {}
            Some(Kind::File) => return Err(bad("is there twice, or differs from another only in upper and lower case")),
            Some(Kind::Folder) => return Err(bad("is a file and a folder at once")),
        }
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err("must have 1 to 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("contains a backslash or a control character");
    }
    for part in path.split('/') {
        match part {
            "" => return Err("must be relative, without empty parts"),
            "." | ".." => return Err("must not contain `.` or `..`"),
            part if part.len() > PART_BYTES_MAX => return Err("has a part of more than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_in_one_folder_passes() {
        assert_eq!(check_paths(["predict.py", "weights/a.bin", "weights/b.bin", ".dockerignore", "a b/ü.txt"]), Ok(()));
    }

    #[test]
    fn what_leaves_the_folder_or_folds_into_another_is_named() {
        let long = "x".repeat(256);
        for path in ["", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "a\\b", "a\0b", "a\nb", "..", ".", &long] {
            assert_eq!(check_paths([path]).unwrap_err().path, path.chars().take(200).collect::<String>());
        }
        for pair in [["a", "a"], ["A", "a"], ["a", "a/b"], ["a/b", "a"], ["W/x", "w"]] {
            assert_eq!(check_paths(pair).unwrap_err().path, pair[1]);
        }
    }
}
