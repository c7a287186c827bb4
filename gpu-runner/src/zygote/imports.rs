//! Reads, and runs nothing: the packages that a version imports before it does anything else.
//!
//! A module may set a variable of the environment and import what reads it after that. So only what stands before the first statement that
//! could have an effect is taken; the rest the version imports itself.

mod statements;

use serde::Serialize;

use statements::{Statement, statements};

/// `import module`, or `from module import names`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Import(pub String, pub Vec<String>);

impl Import {
    fn root(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

/// What a version may be read by.
pub trait Project {
    /// The text of a module that is among the version's own files.
    fn module(&self, path: &str) -> Option<String>;
    /// Whether the environment has a package or module of this name.
    fn is_installed(&self, root: &str) -> bool;
}

/// More is not remembered of one version.
const IMPORTS_MAX: usize = 64;
/// Modules of the version itself that are read.
const MODULES_MAX: usize = 64;

/// The imports that running the module at `entry` begins with, in its order.
pub fn imports_of(entry: &str, project: &impl Project) -> Vec<Import> {
    let mut reading = Reading { project, imports: Vec::new(), seen: Vec::new() };
    reading.read(entry);
    reading.imports
}

struct Reading<'a, P> {
    project: &'a P,
    imports: Vec<Import>,
    seen: Vec<String>,
}

impl<P: Project> Reading<'_, P> {
    /// Whether what comes after this module was imported may be read too.
    fn read(&mut self, path: &str) -> bool {
        if self.seen.iter().any(|seen| seen == path) {
            return true;
        }
        let Some(text) = self.project.module(path).filter(|_| self.seen.len() < MODULES_MAX) else { return false };
        self.seen.push(path.to_owned());
        statements(&text).into_iter().all(|statement| match statement {
            Statement::Import(import) => self.follow(import, path),
            Statement::Harmless => true,
            Statement::Other => false,
        })
    }

    fn follow(&mut self, import: Import, from: &str) -> bool {
        if import.0.starts_with('.') {
            return relative(&import, from).is_some_and(|import| self.own_modules(&import).iter().all(|path| self.read(path)));
        }
        let own = self.own_modules(&import);
        if !own.is_empty() {
            return own.iter().all(|path| self.read(path));
        }
        if self.project.is_installed(import.root()) && !matches!(import.root(), "cog" | "coglet") {
            if self.imports.len() == IMPORTS_MAX {
                return false;
            }
            if !self.imports.contains(&import) {
                self.imports.push(import);
            }
        }
        true
    }

    /// The version's own modules that an import runs, in Python's order: the packages it lies in, itself, and what is named from it. A folder
    /// without `__init__.py` is a package too.
    fn own_modules(&self, import: &Import) -> Vec<String> {
        let path = import.0.replace('.', "/");
        let above = path.match_indices('/').map(|(at, _)| format!("{}/__init__.py", &path[..at]));
        let named = import.1.iter().flat_map(|name| candidates(&format!("{path}/{name}")));
        let own = |path: &String| self.project.module(path).is_some();
        above.chain(candidates(&path)).chain(named).filter(own).collect()
    }
}

fn candidates(path: &str) -> [String; 2] {
    [format!("{path}/__init__.py"), format!("{path}.py")]
}

/// `from .a import b` in `c/d.py` is `from c.a import b`.
fn relative(import: &Import, from: &str) -> Option<Import> {
    let named = import.0.trim_start_matches('.');
    let mut folders: Vec<&str> = from.split('/').collect();
    for _ in 0..import.0.len() - named.len() {
        folders.pop()?;
    }
    folders.extend(named.split('.').filter(|part| !part.is_empty()));
    (!folders.is_empty()).then(|| Import(folders.join("."), import.1.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Files(HashMap<&'static str, &'static str>);

    impl Project for Files {
        fn module(&self, path: &str) -> Option<String> {
            self.0.get(path).map(|text| (*text).to_owned())
        }

        fn is_installed(&self, root: &str) -> bool {
            ["numpy", "torch", "cog", "PIL", "transformers"].contains(&root)
        }
    }

    fn read(files: &[(&'static str, &'static str)]) -> Vec<String> {
        let imports = imports_of("predict.py", &Files(files.iter().copied().collect()));
        imports.into_iter().map(|Import(module, names)| format!("{module}:{}", names.join(","))).collect()
    }

    #[test]
    fn packages_are_taken_in_order_and_the_standard_library_and_cog_are_not() {
        let text = "\"\"\"A model.\n\nimport nothing\n\"\"\"\nfrom __future__ import annotations\nimport os, torch as t, numpy.linalg\n\
                    from PIL import (  # images\n    Image,\n    ImageOps as ops,\n)\nfrom cog import BasePredictor\nX = 3\nclass A:\n    import late\n";
        assert_eq!(read(&[("predict.py", text)]), ["torch:", "numpy.linalg:", "PIL:Image,ImageOps"]);
    }

    #[test]
    fn what_comes_after_a_statement_with_an_effect_is_left_to_the_version() {
        for effect in [
            "os.environ['HF_HOME'] = 'x'",
            "x = setup()",
            "if True:\n    import a",
            "@f()\ndef g(): pass",
            "x: int = f()",
            "x = [y for y in z]",
        ] {
            let text = format!("import numpy\n{effect}\nimport torch\n").leak();
            assert_eq!(read(&[("predict.py", text)]), ["numpy:"], "{effect}");
        }
    }

    #[test]
    fn modules_of_the_version_are_read_where_they_are_imported() {
        let predict = "from lib.model import load\nimport helper\nimport torch\n";
        let files = [
            ("predict.py", predict),
            ("lib/model.py", "from . import parts\nfrom .deep.more import x\n"),
            ("lib/parts.py", "import numpy\n"),
            ("lib/deep/more.py", "from PIL import Image\n"),
            ("helper.py", "import predict\nimport transformers\n"),
        ];
        assert_eq!(read(&files), ["numpy:", "PIL:Image", "transformers:", "torch:"]);
        let with_effect = [("predict.py", predict), ("lib/model.py", "print('hello')\n"), ("helper.py", "import numpy\n")];
        assert!(read(&with_effect).is_empty(), "nothing is known of what a module of its own does");
    }
}
