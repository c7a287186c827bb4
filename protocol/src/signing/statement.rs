//! What is signed: in-toto statements. A publisher states which files a model has, in the format of `OpenSSF`'s model signing; an operator
//! states which version was published under which name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::BadSignature;
use crate::clock::Timestamp;
use crate::digest::{Digest, VersionId};
use crate::manifest::VersionFile;
use crate::name::ModelRef;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// <https://github.com/sigstore/model-transparency>, since 1.0.
const FILES: &str = "https://model_signing/signature/v1.0";
const PUBLISHED: &str = "urn:feira:published:v1";
/// Paths that an error names; a wrong folder would name thousands.
const NAMED_MAX: usize = 5;

/// The files of a model, each with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesStatement(BTreeMap<String, Digest>);

/// How a version's files differ from those that were signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct OtherFiles(Vec<String>);

/// That a version was published, under which name and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedStatement {
    pub model: ModelRef,
    pub version: VersionId,
    pub published_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct FilesPredicate {
    serialization: Value,
    resources: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct PublishedPredicate {
    published_at: Timestamp,
}

impl FilesStatement {
    pub fn of(files: &[VersionFile]) -> Self {
        Self(files.iter().map(|file| (file.path.clone(), file.digest)).collect())
    }

    /// The statement that model signing would make of a folder with these files; `name` is that folder's.
    pub fn to_bytes(&self, name: &str) -> Vec<u8> {
        let resource =
            |(path, digest): (&String, &Digest)| Resource { name: path.clone(), algorithm: "sha256".to_owned(), digest: digest.hex() };
        let statement = Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject::new(name, root(self.0.values()))],
            predicate_type: FILES.to_owned(),
            predicate: FilesPredicate {
                serialization: json!({"method": "files", "hash_type": "sha256", "allow_symlinks": false, "ignore_paths": []}),
                resources: self.0.iter().map(resource).collect(),
            },
        };
        serde_json::to_vec(&statement).expect("a statement has only text and lists")
    }

    pub fn read(bytes: &[u8]) -> Result<Self, BadSignature> {
        let statement: Statement<FilesPredicate> = read(bytes, FILES, "is not a statement of OpenSSF's model signing, version 1.0")?;
        let refused = |why| BadSignature::NotAStatement { why };
        if statement.predicate.serialization.get("method").and_then(Value::as_str) != Some("files") {
            return Err(refused("is of parts of files: sign whole files (`--method files`), for versions are made of them"));
        }
        let mut files = BTreeMap::new();
        let mut digests = Vec::new();
        for resource in statement.predicate.resources {
            if resource.algorithm != "sha256" {
                return Err(refused("has files hashed otherwise than by SHA-256: sign with `--hash-algorithm sha256`"));
            }
            let digest: Digest = format!("sha256:{}", resource.digest).parse().map_err(|_| refused("has a digest that is none"))?;
            digests.push(digest);
            if files.insert(resource.name, digest).is_some() {
                return Err(refused("names a file twice"));
            }
        }
        match statement.subject.as_slice() {
            [subject] if subject.sha256() == Some(root(digests.iter())) => Ok(Self(files)),
            _ => Err(refused("has another digest than its files make")),
        }
    }

    /// Every file of the version was signed as it is, and nothing was signed that the version does not have.
    pub fn require(&self, files: &[VersionFile]) -> Result<(), OtherFiles> {
        let published = Self::of(files).0;
        let changed = published.iter().filter(|(path, digest)| self.0.get(*path).is_some_and(|signed| signed != *digest));
        let unsigned = published.keys().filter(|path| !self.0.contains_key(*path));
        let absent = self.0.keys().filter(|path| !published.contains_key(*path));
        let differences = [
            named("signed with other bytes", changed.map(|(path, _)| path)),
            named("published but not signed", unsigned),
            named("signed but not published", absent),
        ];
        let differences: Vec<String> = differences.into_iter().flatten().collect();
        if differences.is_empty() { Ok(()) } else { Err(OtherFiles(differences)) }
    }
}

impl PublishedStatement {
    pub fn to_bytes(&self) -> Vec<u8> {
        let statement = Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject::new(&self.model.to_string(), *self.version.digest())],
            predicate_type: PUBLISHED.to_owned(),
            predicate: PublishedPredicate { published_at: self.published_at },
        };
        serde_json::to_vec(&statement).expect("a statement has only text and lists")
    }

    pub fn read(bytes: &[u8]) -> Result<Self, BadSignature> {
        let why = "is not the statement that a version was published";
        let statement: Statement<PublishedPredicate> = read(bytes, PUBLISHED, why)?;
        let read = || {
            let [subject] = statement.subject.as_slice() else { return None };
            let version = VersionId::new(subject.sha256()?);
            Some(Self { model: subject.name.parse().ok()?, version, published_at: statement.predicate.published_at })
        };
        read().ok_or(BadSignature::NotAStatement { why })
    }
}

impl Subject {
    fn new(name: &str, digest: Digest) -> Self {
        Self { name: name.to_owned(), digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]) }
    }

    fn sha256(&self) -> Option<Digest> {
        format!("sha256:{}", self.digest.get("sha256")?).parse().ok()
    }
}

fn read<P: serde::de::DeserializeOwned>(bytes: &[u8], predicate: &str, why: &'static str) -> Result<Statement<P>, BadSignature> {
    let statement: Option<Statement<P>> = serde_json::from_slice(bytes).ok();
    let right = statement.filter(|statement| statement.kind == STATEMENT && statement.predicate_type == predicate);
    right.ok_or(BadSignature::NotAStatement { why })
}

/// The digest of all digests, in the order of the statement.
fn root<'d>(digests: impl Iterator<Item = &'d Digest>) -> Digest {
    let mut hash = Sha256::new();
    digests.for_each(|digest| hash.update(digest.as_bytes()));
    Digest::from_bytes(hash.finalize().into())
}

fn named<'p>(what: &str, paths: impl Iterator<Item = &'p String>) -> Option<String> {
    let paths: Vec<&str> = paths.map(String::as_str).collect();
    let more = if paths.len() > NAMED_MAX { format!(" and {} more", paths.len() - NAMED_MAX) } else { String::new() };
    (!paths.is_empty()).then(|| format!("{what}: {}{more}", paths[..paths.len().min(NAMED_MAX)].join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What model-signing 1.1.1 stated of a folder `m` with two files.
    const THEIRS: &str = r#"{"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "m", "digest":
        {"sha256": "62be7c482d36c814389cc469e9e0136649d634549d5b40d1c31e249eb0db100e"}}],
        "predicateType": "https://model_signing/signature/v1.0", "predicate": {"resources": [
        {"name": "a.py", "digest": "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4", "algorithm": "sha256"},
        {"name": "w/b.bin", "digest": "cf945b5236e101dbe0471d5200f28b1ae64f21c1f35bf55fcf40cd0fe42cd8e7", "algorithm": "sha256"}],
        "serialization": {"ignore_paths": [".git"], "method": "files", "hash_type": "sha256", "allow_symlinks": false}}}"#;

    fn files() -> Vec<VersionFile> {
        let file =
            |path: &str, content: &[u8]| VersionFile { path: path.to_owned(), digest: Digest::of(content), size: content.len() as u64 };
        vec![file("w/b.bin", b"w\n"), file("a.py", b"hi\n")]
    }

    #[test]
    fn a_statement_of_model_signing_reads_and_ours_says_the_same() {
        let theirs = FilesStatement::read(THEIRS.as_bytes()).unwrap();
        assert_eq!(theirs, FilesStatement::of(&files()));
        assert_eq!(FilesStatement::read(&theirs.to_bytes("m")).unwrap(), theirs);
        theirs.require(&files()).unwrap();
    }

    #[test]
    fn every_difference_between_what_was_signed_and_published_is_named() {
        let mut published = files();
        published[1].digest = Digest::of(b"ho\n");
        published[0].path = "w/c.bin".to_owned();
        let differences = FilesStatement::of(&files()).require(&published).unwrap_err().to_string();
        assert_eq!(differences, "signed with other bytes: a.py; published but not signed: w/c.bin; signed but not published: w/b.bin");
    }

    #[test]
    fn a_statement_that_is_not_consistent_is_refused() {
        for (from, to) in [
            ("62be7c", "62be7d"),
            ("Statement/v1", "Statement/v0"),
            ("signature/v1.0", "signature/v2.0"),
            ("\"files\"", "\"shards\""),
            ("w/b.bin", "a.py"),
            ("\"algorithm\": \"sha256\"", "\"algorithm\": \"blake3\""),
            ("\"98ea", "\"98EA"),
        ] {
            let wrong = FilesStatement::read(THEIRS.replacen(from, to, 1).as_bytes());
            assert!(matches!(wrong, Err(BadSignature::NotAStatement { .. })), "{from}: {wrong:?}");
        }
    }

    #[test]
    fn what_an_operator_states_reads_back() {
        let stated = PublishedStatement {
            model: "ada/echo".parse().unwrap(),
            version: VersionId::new(Digest::of(b"manifest")),
            published_at: Timestamp::from_micros(1_700_000_000_000_000),
        };
        assert_eq!(PublishedStatement::read(&stated.to_bytes()).unwrap(), stated);
        assert!(FilesStatement::read(&stated.to_bytes()).is_err());
    }
}
