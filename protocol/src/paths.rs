//! The paths of a version's files, and of what an archive holds: a tree that lies in one folder wherever it is unpacked, and that every file
//! system keeps apart. Checked by whoever publishes one and whoever unpacks one, for neither trusts the other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use unicode_normalization::UnicodeNormalization;

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

/// Refuses paths that could leave the folder, or that some file system would fold into one.
///
/// # Errors
/// [`BadPath`] names the first such path.
pub fn check_paths<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<(), BadPath> {
    let mut tree = Tree::default();
    paths.into_iter().try_for_each(|path| {
        let bad = |why| BadPath { path: path.chars().take(200).collect(), why };
        tree.add_file(path).map_err(bad)
    })
}

/// Refuses what could leave the folder, what some file system cannot have, and what reads as something else.
///
/// # Errors
/// Why.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err("must have 1 to 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("contains a backslash or a control character");
    }
    if path.chars().any(is_unseen) {
        return Err("contains a character that is not seen, or that turns the direction of the text");
    }
    if path.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return Err("contains one of < > : \" | ? *, which Windows cannot have in a name");
    }
    path.split('/').try_for_each(check_part)
}

fn check_part(part: &str) -> Result<(), &'static str> {
    match part {
        "" => Err("must be relative, without empty parts"),
        "." | ".." => Err("must not contain `.` or `..`"),
        part if part.len() > PART_BYTES_MAX => Err("has a part of more than 255 bytes"),
        part if part.ends_with(['.', ' ']) => Err("has a part that ends in a full stop or a space, which Windows drops"),
        part if is_device(part) => Err("has a part that Windows takes for a device, such as NUL or COM1"),
        _ => Ok(()),
    }
}

/// Zero width, of the text's direction, or what stands for a letter that could not be read. HFS+ leaves some of them out when it compares names.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

/// With any ending: <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = |stem: &str| {
        let mut rest = stem.chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" | "clock$")
        || ["com", "lpt"].iter().any(|port| stem.strip_prefix(port).is_some_and(numbered))
}

/// What two names have in common that some file system takes for one: upper and lower case, composed and decomposed letters.
fn fold(path: &str) -> String {
    path.nfc().collect::<String>().to_uppercase().to_lowercase().nfc().collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// A folder that only the paths of others tell of.
    Implied,
}

/// The paths so far, which must not clash with the next.
#[derive(Debug, Default)]
pub struct Tree {
    /// By the folded path.
    seen: HashMap<String, (String, Kind)>,
}

impl Tree {
    /// # Errors
    /// Why the path cannot be, or cannot be beside the others.
    pub fn add_file(&mut self, path: &str) -> Result<(), &'static str> {
        self.add(path, Kind::File)
    }

    /// # Errors
    /// Why the path cannot be, or cannot be beside the others.
    pub fn add_folder(&mut self, path: &str) -> Result<(), &'static str> {
        self.add(path, Kind::Folder)
    }

    fn add(&mut self, path: &str, kind: Kind) -> Result<(), &'static str> {
        check_path(path)?;
        for (at, _) in path.match_indices('/') {
            self.put(&path[..at], Kind::Implied)?;
        }
        self.put(path, kind)
    }

    fn put(&mut self, path: &str, kind: Kind) -> Result<(), &'static str> {
        let taken = match self.seen.entry(fold(path)) {
            Entry::Vacant(free) => {
                free.insert((path.to_owned(), kind));
                return Ok(());
            }
            Entry::Occupied(taken) => taken.into_mut(),
        };
        if taken.0 != path {
            return Err("differs from another only in upper and lower case, or in how its letters are composed");
        }
        match (taken.1, kind) {
            (Kind::File, Kind::File) | (Kind::Folder, Kind::Folder) => Err("is there twice"),
            (Kind::File, _) | (_, Kind::File) => Err("is a file and a folder at once"),
            (Kind::Implied, Kind::Folder) => {
                taken.1 = Kind::Folder;
                Ok(())
            }
            (Kind::Folder | Kind::Implied, Kind::Implied) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder_or_that_some_system_cannot_have_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "//server/share",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "..\\x",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "C:\\x",
            "C:x",
            "a:stream",
            "what?",
            "*",
            "a<b",
            "nul",
            "NUL.txt",
            "a/Aux/b",
            "com1",
            "COM¹.log",
            "lpt9.tar.gz",
            "con .txt",
            "conout$",
            "a.",
            "...",
            "a ",
            "a /b",
            "evil\u{202e}gpj.py",
            ".g\u{200c}it/config",
            "a\u{feff}",
            &"a".repeat(256),
            &"é".repeat(128),
            &"a/".repeat(600),
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        for good in [
            "predict.py",
            "a/b",
            ".hidden",
            "weights/model v2.bin",
            "höhe.txt",
            "a..b",
            "console",
            "com10",
            "com",
            "nullable.py",
            "日本/模型.bin",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn names_that_some_system_takes_for_one_clash() {
        for clash in [
            ["a", "a"],
            ["README", "readme"],
            ["a/b", "A/B"],
            ["Weights/a", "weights/b"],
            ["a", "a/b"],
            ["a/b", "a"],
            ["A/b", "a"],
            ["É", "é"],
            ["caf\u{e9}", "cafe\u{301}"],
            ["CAFE\u{301}", "caf\u{e9}"],
            ["\u{212b}", "\u{e5}"],
            ["stra\u{df}e", "STRASSE"],
            ["\u{17f}ort", "sort"],
            ["σας", "ΣΑΣ"],
            ["\u{212a}", "k"],
        ] {
            let mut tree = Tree::default();
            tree.add_file(clash[0]).unwrap();
            assert!(tree.add_file(clash[1]).is_err(), "{clash:?}");
        }
        let mut tree = Tree::default();
        for apart in ["a/b", "a/c", "a.b/c", "caf\u{e9}", "cafe", "ﬁ", "f"] {
            assert_eq!(tree.add_file(apart), Ok(()), "{apart:?}");
        }
    }

    #[test]
    fn the_first_bad_path_is_named() {
        assert_eq!(check_paths(["predict.py", "weights/a.bin", "weights/b.bin", ".dockerignore", "a b/ü.txt"]), Ok(()));
        assert_eq!(check_paths(["a", "../x", "/y"]).unwrap_err().path, "../x");
        assert_eq!(check_paths(["a", &"x".repeat(900)]).unwrap_err().path.len(), 200);
        assert_eq!(check_paths(["W/x", "w"]).unwrap_err().path, "w");
    }

    #[test]
    fn a_folder_may_be_told_of_once_before_or_after_what_is_in_it() {
        let mut tree = Tree::default();
        tree.add_file("a/b").unwrap();
        tree.add_folder("a").unwrap();
        tree.add_folder("c").unwrap();
        tree.add_file("c/d").unwrap();
        assert_eq!(tree.add_folder("a"), Err("is there twice"));
        assert_eq!(tree.add_folder("c/d"), Err("is a file and a folder at once"));
    }
}
