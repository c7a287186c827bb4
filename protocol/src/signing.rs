//! Signatures over versions: keys, DSSE envelopes in Sigstore bundles, and what they state. Making and checking them, here and in
//! every client; nothing here reads a file.

mod bundle;
mod key;
mod pem;
mod statement;

pub use bundle::{BadSignature, Bundle};
pub use key::{Algorithm, BadKey, KeyId, PublicKey, SigningKey};
pub use statement::{FilesStatement, OtherFiles, PublishedStatement};
