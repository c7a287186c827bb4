//! The table `tag_move`: where tags point and have pointed. Rows are only ever added.

use protocol::{Digest, Tag, Timestamp, VersionId};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::cursor::{Direction, SCAN_ROWS, Scan};
use crate::db::named_blob;
use crate::error::RegistryError;
use crate::tags::{Pointing, TAGS_PER_MODEL_MAX, TagMove};

/// Points a tag at a manifest, and answers the number of the move. `latest` is also what the model runs, if what it points at can be run.
///
/// The model's row is written first, whatever the tag: its lock puts the moves of one model in a line, so that their numbers have no gap.
pub(crate) async fn point(tx: &mut Tx, model_id: &str, to: &Pointing) -> Result<i64, RegistryError> {
    let statement = "update model set latest_version_id = case when $2 = 1 and exists (select 1 from version v where v.model_id = $1 and v.id = $3) \
                     then $3 else latest_version_id end where id = $1";
    let (version, is_latest) = (to.version.to_string(), i64::from(to.tag.is_latest()));
    sqlx::query(statement).bind(model_id).bind(is_latest).bind(&version).execute(&mut *tx).await?;
    let statement = "insert into tag_move (model_id, tag, seq, version_id, moved_by, moved_at) \
                     select $1, $2, coalesce(max(seq), 0) + 1, $3, $4, $5 from tag_move where model_id = $1 and tag = $2 returning seq";
    let query = sqlx::query(statement).bind(model_id).bind(to.tag.as_str()).bind(version).bind(&to.moved_by_id).bind(to.moved_at.micros());
    Ok(query.fetch_one(tx).await?.try_get("seq")?)
}

/// Where a model's tags point, `latest` first; those whose version was deleted point nowhere.
pub(crate) async fn list(tx: &mut Tx, model_id: &str) -> Result<Vec<TagMove>, RegistryError> {
    let statement = "select t.tag, t.seq, t.version_id, t.moved_at, a.name as moved_by from tag_move t \
                     join version v on v.model_id = t.model_id and v.id = t.version_id left join account a on a.id = t.moved_by \
                     where t.model_id = $1 and v.deleted_at is null \
                     and t.seq = (select max(n.seq) from tag_move n where n.model_id = t.model_id and n.tag = t.tag) \
                     order by case when t.tag = 'latest' then 0 else 1 end, t.tag limit $2";
    sqlx::query(statement).bind(model_id).bind(TAGS_PER_MODEL_MAX).fetch_all(tx).await?.iter().map(read).collect()
}

/// Where one tag points.
pub(crate) async fn find(tx: &mut Tx, model_id: &str, tag: &Tag) -> Result<Option<TagMove>, RegistryError> {
    let statement = "select t.tag, t.seq, t.version_id, t.moved_at, a.name as moved_by from tag_move t \
                     join version v on v.model_id = t.model_id and v.id = t.version_id left join account a on a.id = t.moved_by \
                     where t.model_id = $1 and t.tag = $2 and v.deleted_at is null \
                     and t.seq = (select max(n.seq) from tag_move n where n.model_id = $1 and n.tag = $2)";
    let row = sqlx::query(statement).bind(model_id).bind(tag.as_str()).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

/// The manifest that one tag points at, whether it is a version or not. A manifest that was deleted and pushed again is another.
pub(crate) async fn resolve(tx: &mut Tx, model_id: &str, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
    let statement = "select m.digest from tag_move t join manifest m on m.model_id = t.model_id and m.digest = 'sha256:' || t.version_id \
                     where t.model_id = $1 and t.tag = $2 and t.moved_at >= m.created_at \
                     and t.seq = (select max(n.seq) from tag_move n where n.model_id = $1 and n.tag = $2)";
    let row = sqlx::query(statement).bind(model_id).bind(tag.as_str()).fetch_optional(tx).await?;
    row.as_ref().map(named_blob::read_digest).transpose()
}

/// The names of the tags that point at a manifest, in no order.
pub(crate) async fn names(tx: &mut Tx, model_id: &str) -> Result<Vec<String>, RegistryError> {
    let statement = "select t.tag from tag_move t join manifest m on m.model_id = t.model_id and m.digest = 'sha256:' || t.version_id \
                     where t.model_id = $1 and t.moved_at >= m.created_at \
                     and t.seq = (select max(n.seq) from tag_move n where n.model_id = t.model_id and n.tag = t.tag) limit $2";
    let rows = sqlx::query(statement).bind(model_id).bind(TAGS_PER_MODEL_MAX).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(row.try_get("tag")?)).collect()
}

/// How many names of tags a model has used.
pub(crate) async fn count(tx: &mut Tx, model_id: &str) -> Result<i64, RegistryError> {
    let statement = "select count(distinct tag) as tags from tag_move where model_id = $1";
    Ok(sqlx::query(statement).bind(model_id).fetch_one(tx).await?.try_get("tags")?)
}

/// The version that a tag pointed at before it first came to this one, of those that are still there.
///
/// "First", so that going back twice goes back two versions and not forth again.
pub(crate) async fn before(tx: &mut Tx, model_id: &str, tag: &Tag, version: &VersionId) -> Result<Option<VersionId>, RegistryError> {
    let statement = "select t.version_id from tag_move t join version v on v.model_id = t.model_id and v.id = t.version_id \
                     where t.model_id = $1 and t.tag = $2 and t.version_id <> $3 and v.deleted_at is null \
                     and t.seq < (select min(f.seq) from tag_move f where f.model_id = $1 and f.tag = $2 and f.version_id = $3) \
                     order by t.seq desc limit 1";
    let row = sqlx::query(statement).bind(model_id).bind(tag.as_str()).bind(version.to_string()).fetch_optional(tx).await?;
    row.as_ref().map(read_version).transpose()
}

/// The moves of a tag.
pub(crate) async fn history(tx: &mut Tx, model_id: &str, tag: &Tag, scan: &Scan) -> Result<Vec<TagMove>, RegistryError> {
    let statement = match scan.direction {
        Direction::Descending => {
            "select t.tag, t.seq, t.version_id, t.moved_at, a.name as moved_by from tag_move t left join account a on a.id = t.moved_by \
             where t.model_id = $1 and t.tag = $2 and t.seq < $3 order by t.seq desc limit $4"
        }
        Direction::Ascending => {
            "select t.tag, t.seq, t.version_id, t.moved_at, a.name as moved_by from tag_move t left join account a on a.id = t.moved_by \
             where t.model_id = $1 and t.tag = $2 and t.seq > $3 order by t.seq limit $4"
        }
    };
    let query = sqlx::query(statement).bind(model_id).bind(tag.as_str()).bind(scan.key).bind(SCAN_ROWS);
    query.fetch_all(tx).await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<TagMove, RegistryError> {
    let tag: String = row.try_get("tag")?;
    Ok(TagMove {
        number: row.try_get("seq")?,
        version: read_version(row)?,
        moved_by: row.try_get("moved_by")?,
        moved_at: Timestamp::from_micros(row.try_get("moved_at")?),
        tag: tag.parse().map_err(|_| RegistryError::Corrupt { what: "tag", id: tag })?,
    })
}

fn read_version(row: &AnyRow) -> Result<VersionId, RegistryError> {
    let text: String = row.try_get("version_id")?;
    text.parse().map_err(|_| RegistryError::Corrupt { what: "version", id: text })
}
