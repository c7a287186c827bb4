//! `feira verify`: whether a version is what its id says, who vouches for it, and whether the files on a disk are its files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protocol::api::{Key, Signature};
use protocol::manifest::VersionFile;
use protocol::signing::{Bundle, FilesStatement, PublicKey, PublishedStatement};
use protocol::{Digest, Reference};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Context;
use crate::exit::Exit;
use crate::show;
use crate::signed::SignedVersion;

const BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// OWNER/MODEL for its latest version, or OWNER/MODEL:VERSION
    version: Reference,
    /// The publisher's public key as you know it: the version has to be signed with it, whatever the server says
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The operator's public key as you know it; else those that the server publishes are believed
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// A folder that is to have the version's files, and no others
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// Nobody vouches for it: to be known, and not wrong in itself.
    Absent,
    Failed,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    words: String,
}

#[derive(Deserialize)]
struct OperatorKeys {
    keys: Vec<Key>,
}

impl Verify {
    pub async fn execute(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        let version = SignedVersion::fetch(&client, self.version).await?;
        let operators = if let Some(file) = &self.operator_key {
            vec![read_key(file)?]
        } else {
            let OperatorKeys { keys } = client.get("/v1/keys").await?;
            keys.iter().map(|key| PublicKey::from_pem(&key.public_key)).collect::<Result<_, _>>()?
        };
        let known = self.key.as_deref().map(read_key).transpose()?;
        let manifest = format!("{}:{}, {} files", version.model, version.id, version.manifest.files().len());
        let mut findings = vec![
            Finding { what: "manifest", state: State::Ok, words: manifest },
            operator(&version, &operators),
            publisher(&version, known.as_ref()),
        ];
        if let Some(dir) = self.files {
            let named = version.manifest.files();
            // Blocks for as long as the disk takes.
            findings.push(tokio::task::spawn_blocking(move || on_disk(&dir, &named)).await?);
        }
        let sound = findings.iter().all(|finding| finding.state != State::Failed);
        if context.json {
            show::json(&findings)?;
        } else {
            let row = |finding: &Finding| {
                let state = match finding.state {
                    State::Ok => "ok",
                    State::Absent => "absent",
                    State::Failed => "FAILED",
                };
                vec![finding.what.to_owned(), state.to_owned(), finding.words.clone()]
            };
            show::table(&["WHAT", "STATE", "IN WORDS"], &findings.iter().map(row).collect::<Vec<_>>())?;
        }
        Ok(if sound { Exit::Success } else { Exit::Failed })
    }
}

fn read_key(file: &Path) -> anyhow::Result<PublicKey> {
    let pem = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    PublicKey::from_pem(&pem).with_context(|| file.display().to_string())
}

/// The operator stated that exactly this version was published under this name.
fn operator(version: &SignedVersion, keys: &[PublicKey]) -> Finding {
    let what = "operator";
    let stated = version.signatures.iter().filter(|signature| signature.signer == "operator").map(|signature| {
        let bundle = bundle_of(signature)?;
        let hint = bundle.key_id().map_err(|error| error.to_string())?;
        let key = keys.iter().find(|key| key.id() == hint).ok_or_else(|| format!("{hint} is not a key of the operator"))?;
        let stated = bundle.open(key).and_then(|statement| PublishedStatement::read(&statement)).map_err(|error| error.to_string())?;
        let is_this = stated.model == version.model && stated.version == version.id;
        is_this.then_some((stated, hint)).ok_or_else(|| "another version is signed".to_owned())
    });
    match best(stated) {
        Some(Ok((stated, key))) => {
            Finding { what, state: State::Ok, words: format!("published {}, by the key {key}", stated.published_at) }
        }
        Some(Err(words)) => Finding { what, state: State::Failed, words },
        None => Finding { what, state: State::Absent, words: "not signed by the operator yet".to_owned() },
    }
}

/// The publisher stated that these are the files. With a key that is known here, one of its signatures has to be by that.
fn publisher(version: &SignedVersion, known: Option<&PublicKey>) -> Finding {
    let what = "publisher";
    let files = version.manifest.files();
    let stated = version.signatures.iter().filter(|signature| signature.signer == "publisher").map(|signature| {
        let bundle = bundle_of(signature)?;
        let pem = signature.public_key.as_deref().unwrap_or_default();
        let told = PublicKey::from_pem(pem).map_err(|error| error.to_string())?;
        let statement = bundle.open(known.unwrap_or(&told)).and_then(|statement| FilesStatement::read(&statement));
        statement.and_then(|statement| Ok(statement.require(&files)?)).map_err(|error| error.to_string())?;
        if let Some(since) = signature.revoked_at.filter(|_| signature.status != "valid") {
            return Err(format!("the key {} is revoked since {since}", signature.key));
        }
        Ok(format!("signed {} by the key {} {}", signature.signed_at, signature.key, signature.key_name.as_deref().unwrap_or_default()))
    });
    match best(stated) {
        Some(Ok(words)) => Finding { what, state: State::Ok, words: words.trim_end().to_owned() },
        Some(Err(words)) => Finding { what, state: State::Failed, words },
        None if known.is_some() => Finding { what, state: State::Failed, words: "not signed by its publisher".to_owned() },
        None => Finding { what, state: State::Absent, words: "not signed by its publisher".to_owned() },
    }
}

fn bundle_of(signature: &Signature) -> Result<Bundle, String> {
    let bundle = signature.bundle.as_ref().ok_or("the server gave no bundle")?;
    Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())
}

/// The first that is right, else the first that is wrong.
fn best<T>(results: impl Iterator<Item = Result<T, String>>) -> Option<Result<T, String>> {
    let mut wrong = None;
    for result in results {
        match result {
            Ok(right) => return Some(Ok(right)),
            Err(words) => wrong = wrong.or(Some(Err(words))),
        }
    }
    wrong
}

/// Every file is there with its bytes, and no other file is.
fn on_disk(dir: &Path, named: &[VersionFile]) -> Finding {
    let what = "files";
    let mut wrong = Vec::new();
    for file in named {
        match digest_of(&dir.join(&file.path)) {
            Ok(digest) if digest == file.digest => {}
            Ok(_) => wrong.push(format!("{} has other bytes", file.path)),
            Err(error) => wrong.push(format!("{}: {error}", file.path)),
        }
    }
    let known: BTreeSet<&str> = named.iter().map(|file| file.path.as_str()).collect();
    let walk = ignore::WalkBuilder::new(dir).standard_filters(false).build();
    for entry in walk.flatten().filter(|entry| !entry.file_type().is_some_and(|kind| kind.is_dir())) {
        let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        if !path.to_str().is_some_and(|path| known.contains(path)) {
            wrong.push(format!("{} is not one of them", path.display()));
        }
    }
    if wrong.is_empty() {
        return Finding { what, state: State::Ok, words: format!("{} files as they were published", named.len()) };
    }
    Finding { what, state: State::Failed, words: wrong.join("; ") }
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_on_a_disk_are_those_of_the_version_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("w")).unwrap();
        fs::write(dir.path().join("w/a.bin"), "a").unwrap();
        let file = |path: &str, content: &[u8]| VersionFile { path: path.to_owned(), digest: Digest::of(content), size: 1 };
        assert_eq!(on_disk(dir.path(), &[file("w/a.bin", b"a")]).state, State::Ok);
        let changed = on_disk(dir.path(), &[file("w/a.bin", b"b")]);
        assert_eq!((changed.state, changed.words.as_str()), (State::Failed, "w/a.bin has other bytes"));
        let missing = on_disk(dir.path(), &[file("w/a.bin", b"a"), file("b", b"b")]);
        assert!(missing.state == State::Failed && missing.words.starts_with("b: "), "{missing:?}");
        let extra = on_disk(dir.path(), &[]);
        assert_eq!((extra.state, extra.words.as_str()), (State::Failed, "w/a.bin is not one of them"));
    }
}
