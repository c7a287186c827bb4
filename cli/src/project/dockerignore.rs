//! `.dockerignore`, as Docker reads it: patterns from the project's folder down, of which the last that fits decides. Cog builds with it,
//! so a Cog project that has one and no `.feiraignore` of its own means the same here.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{ProjectError, read_text};

const FILE: &str = ".dockerignore";

/// The patterns of a project; none where it has no such file.
pub(super) fn read(root: &Path) -> Result<Option<Gitignore>, ProjectError> {
    let Some(text) = read_text(root, FILE)? else { return Ok(None) };
    let mut builder = GitignoreBuilder::new(root);
    let refused = |error: ignore::Error| ProjectError::Settings { file: FILE, reason: error.to_string() };
    for pattern in text.lines().filter_map(anchored) {
        builder.add_line(None, &pattern).map_err(refused)?;
    }
    Ok(Some(builder.build().map_err(refused)?))
}

/// Whether a file, by its path in the project, is left out: a pattern fits it or a folder that it lies in.
pub(super) fn leaves_out(patterns: &Gitignore, path: &str) -> bool {
    patterns.matched_path_or_any_parents(path, false).is_ignore()
}

/// The same pattern in the words of a .gitignore, where one without a slash would fit in every folder.
fn anchored(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (mark, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim_start()));
    let pattern = pattern.trim_start_matches("./").trim_matches('/');
    (!pattern.is_empty()).then(|| format!("{mark}/{pattern}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(patterns: &str, path: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), patterns).unwrap();
        leaves_out(&read(dir.path()).unwrap().unwrap(), path)
    }

    #[test]
    fn patterns_mean_what_docker_means_by_them() {
        for (patterns, path, expected) in [
            ("notes.txt", "notes.txt", true),
            ("notes.txt", "deep/notes.txt", false),
            ("**/notes.txt", "deep/er/notes.txt", true),
            ("**/notes.txt", "notes.txt", true),
            ("/data/", "data/big.bin", true),
            ("./data", "data/deep/big.bin", true),
            ("data\n!data/small.bin", "data/small.bin", false),
            ("data\n!data/small.bin", "data/big.bin", true),
            ("!kept\nkept", "kept", true),
            ("*.log", "a.log", true),
            ("*.log", "deep/a.log", false),
            ("# data", "data", false),
        ] {
            assert_eq!(left_out(patterns, path), expected, "{path} with {patterns:?}");
        }
    }

    #[test]
    fn a_project_without_the_file_has_no_patterns() {
        assert!(read(tempfile::tempdir().unwrap().path()).unwrap().is_none());
    }
}
