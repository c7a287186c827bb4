//! The table `version_warning`.

use protocol::VersionId;
use protocol::api::FileWarning;
use store::Tx;

use crate::error::RegistryError;

/// Keeps what was found in the files of a version. A version has the same files in every model, and nothing else is found a second time.
pub(crate) async fn insert(tx: &mut Tx, version: &VersionId, warnings: &[FileWarning]) -> Result<(), RegistryError> {
    let statement = "insert into version_warning (version_id, warnings) values ($1, $2) on conflict (version_id) do nothing";
    let warnings = serde_json::to_string(warnings).expect("warnings are texts");
    sqlx::query(statement).bind(version.to_string()).bind(warnings).execute(tx).await?;
    Ok(())
}

/// Reads the column of a version that may have none.
pub(crate) fn read(version: &VersionId, warnings: Option<&str>) -> Result<Vec<FileWarning>, RegistryError> {
    let corrupt = |_| RegistryError::Corrupt { what: "version", id: version.to_string() };
    warnings.map_or(Ok(Vec::new()), |warnings| serde_json::from_str(warnings).map_err(corrupt))
}
