//! Which demo models there are, and the files of each that the binary carries.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use include_dir::{Dir, include_dir};
use protocol::{Digest, ModelRef};
use serde_json::Value;

use crate::up::demo::weights::Package;
use crate::up::house::OPERATOR;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/demo");

/// The hooks that demo models name in their `feira.toml`.
const HOOKS: [(&str, &[u8]); 2] = [
    ("prompt-template.wasm", include_bytes!("../../../../hooks/guests/prebuilt/prompt-template.wasm")),
    ("redact.wasm", include_bytes!("../../../../hooks/guests/prebuilt/redact.wasm")),
];

/// Files that say how to offer a model, and are not part of it.
const NOT_PUBLISHED: [&str; 6] = ["source.toml", "README.md", "cover.svg", "example.json", "example.png", "example-output.png"];

/// One demo model.
#[derive(Debug)]
pub struct Stall {
    pub name: &'static str,
    pub description: &'static str,
    pub task: &'static str,
}

pub const HELLO_WORLD: Stall =
    Stall { name: "hello-world", description: "Greets by name, at once: the model that is part of the binary.", task: "language" };

pub const WITH_WEIGHTS: &[Stall] = &[
    Stall { name: "smol-chat", description: "A small language model that streams. Runs anywhere.", task: "language" },
    Stall { name: "upscale", description: "Two or four times the pixels, sharper edges, in a blink.", task: "image" },
    Stall { name: "embed", description: "Sentences as 384 numbers: near in meaning, near in space.", task: "embedding" },
];

/// A collection of demo models.
#[derive(Debug)]
pub struct Shelf {
    /// The task of the models on it.
    task: &'static str,
    pub slug: &'static str,
    pub name: &'static str,
    pub description: &'static str,
}

const SHELVES: [Shelf; 3] = [
    Shelf {
        task: "language",
        slug: "language-models",
        name: "Language models",
        description: "They answer in words, most of them while they still think.",
    },
    Shelf { task: "image", slug: "image-models", name: "Image models", description: "They take pictures and give better ones." },
    Shelf {
        task: "embedding",
        slug: "embedding-models",
        name: "Embedding models",
        description: "They turn meaning into numbers, for search.",
    },
];

impl Stall {
    pub fn shelf(&self) -> Option<&'static Shelf> {
        SHELVES.iter().find(|shelf| shelf.task == self.task)
    }

    pub fn model(&self) -> ModelRef {
        ModelRef::new(OPERATOR, self.name).expect("the demo models have plain names")
    }

    pub fn file(&self, name: &str) -> anyhow::Result<&'static [u8]> {
        let file = FILES.get_file(format!("{}/{name}", self.name));
        Ok(file.with_context(|| format!("{} ships without {name}", self.name))?.contents())
    }

    fn text(&self, name: &str) -> anyhow::Result<&'static str> {
        Ok(std::str::from_utf8(self.file(name)?)?)
    }

    pub fn readme(&self) -> anyhow::Result<&'static str> {
        self.text("README.md")
    }

    /// The cover as an address that holds the picture itself.
    pub fn cover(&self) -> anyhow::Result<String> {
        let picture = base64::engine::general_purpose::STANDARD.encode(self.file("cover.svg")?);
        Ok(format!("data:image/svg+xml;base64,{picture}"))
    }

    pub fn example(&self) -> anyhow::Result<Value> {
        let example: Value = serde_json::from_str(self.text("example.json")?)?;
        Ok(example["input"].clone())
    }

    pub fn source(&self) -> anyhow::Result<Package> {
        Ok(toml::from_str(self.text("source.toml")?)?)
    }

    /// Changes with anything that is shipped of it.
    pub fn digest(&self) -> Digest {
        let mut all = Vec::new();
        for file in self.shipped() {
            all.extend_from_slice(file.path().to_string_lossy().as_bytes());
            all.extend_from_slice(Digest::of(file.contents()).as_bytes());
        }
        for (_, wasm) in HOOKS {
            all.extend_from_slice(Digest::of(wasm).as_bytes());
        }
        Digest::of(&all)
    }

    /// Lays the project out in `root`, weights excepted.
    pub fn unpack(&self, root: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(root)?;
        for file in self.shipped() {
            let name = file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !NOT_PUBLISHED.contains(&name) {
                fs::write(root.join(name), file.contents())?;
            }
        }
        if self.text("feira.toml")?.contains("[[hooks]]") {
            for (name, wasm) in HOOKS {
                fs::write(root.join(name), wasm)?;
            }
        }
        Ok(())
    }

    fn shipped(&self) -> impl Iterator<Item = &'static include_dir::File<'static>> {
        FILES.get_dir(self.name).into_iter().flat_map(Dir::files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_demo_model_ships_all_that_its_page_shows() {
        for stall in WITH_WEIGHTS.iter().chain([&HELLO_WORLD]) {
            assert!(stall.readme().unwrap().len() > 100, "{}", stall.name);
            assert!(stall.cover().unwrap().len() < 30_000, "{}", stall.name);
            assert!(stall.example().unwrap().is_object(), "{}", stall.name);
            assert!(stall.shelf().is_some(), "{}", stall.name);
        }
        assert!(WITH_WEIGHTS.iter().all(|stall| stall.source().is_ok()));
    }
}
