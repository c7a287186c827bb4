//! The folder of one installation: database, blobs, caches, its secret and its first token. One process at a time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};
use protocol::Entropy;
use protocol::signing::SigningKey;

#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held as long as the process lives.
    _lock: Flock<File>,
}

impl Home {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        // The runner's folders below it are for models' users to look through; the secrets in it are files of their own mode.
        fs::set_permissions(path, Permissions::from_mode(0o711))?;
        let path = path.canonicalize()?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| anyhow::anyhow!("another feira has {} open; stop it, or choose another --home", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The secret from which every key of the installation is made; drawn at the first start.
    pub fn secret(&self, entropy: &Entropy) -> anyhow::Result<[u8; 32]> {
        let path = self.join("secret");
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| anyhow::anyhow!("{} does not hold 32 bytes", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = entropy.bytes();
                write_private(&path, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    /// The key with which the operator signs: the one that is named, or one of the home, drawn at the first start.
    pub fn signing_key(&self, named: Option<&Path>, entropy: &Entropy) -> anyhow::Result<SigningKey> {
        let path = named.map_or_else(|| self.join("signing-key"), Path::to_owned);
        match fs::read_to_string(&path) {
            Ok(pem) => SigningKey::from_pem(&pem).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                let key = SigningKey::of_seed(&entropy.bytes());
                write_private(&path, key.to_pem().context("an Ed25519 key can be written")?.as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    pub fn token_path(&self) -> PathBuf {
        self.join("token")
    }

    pub fn token(&self) -> Option<String> {
        fs::read_to_string(self.token_path()).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub fn keep_token(&self, secret: &str) -> anyhow::Result<()> {
        Ok(write_private(&self.token_path(), format!("{secret}\n").as_bytes())?)
    }
}

/// Written whole or not at all, and readable by its owner only.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_one_processs_own_and_keeps_its_secret() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("feira")).unwrap();
        assert!(Home::open(&dir.path().join("feira")).unwrap_err().to_string().contains("another feira"));
        let entropy = Entropy::system();
        let secret = home.secret(&entropy).unwrap();
        assert_eq!(home.secret(&entropy).unwrap(), secret);
        assert_eq!(home.join("secret").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let key = home.signing_key(None, &entropy).unwrap();
        assert_eq!(home.signing_key(None, &entropy).unwrap().public(), key.public());
        assert_eq!(home.join("signing-key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(home.signing_key(Some(Path::new("/nonexistent")), &entropy).is_err());
        assert_eq!(home.token(), None);
        home.keep_token("fe_x").unwrap();
        assert_eq!(home.token().as_deref(), Some("fe_x"));
    }
}
