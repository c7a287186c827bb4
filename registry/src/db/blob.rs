//! The table `blob`, and the one place that says what names a blob.

use std::collections::HashSet;

use protocol::{Digest, Timestamp};
use store::{Engine, Tx};

use crate::db::json_list;
use crate::db::named_blob::read_digest;
use crate::error::RegistryError;

/// True for a row `blob` that nothing names. What else is to keep blobs says so here.
macro_rules! unnamed {
    () => {
        "not exists (select 1 from manifest m where m.digest = blob.digest) \
         and not exists (select 1 from named_blob n where n.digest = blob.digest) \
         and not exists (select 1 from loose_blob l where l.digest = blob.digest) \
         and not exists (select 1 from file f where f.digest = blob.digest and f.deleted_at is null)"
    };
}

/// Blobs that one look finds.
pub(crate) const FOUND_MAX: i64 = 1_000;

/// Of these blobs, those that were touched after a moment.
pub(crate) async fn touched_since(tx: &mut Tx, digests: &[Digest], since: Timestamp) -> Result<Vec<Digest>, RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => "select b.digest from json_each($1) j join blob b on b.digest = j.value where b.touched_at > $2",
        Engine::Postgres => {
            "select b.digest from json_array_elements_text($1::json) as j(value) join blob b on b.digest = j.value where b.touched_at > $2"
        }
    };
    sqlx::query(statement).bind(json_list(digests)).bind(since.micros()).fetch_all(tx).await?.iter().map(read_digest).collect()
}

/// Notes that somebody counts on these blobs from now on, whether they are here already or are about to come.
///
/// Waits for a collector that is about to remove one of them: afterwards it is gone, or it stays.
pub(crate) async fn touch(tx: &mut Tx, digests: &[Digest], now: Timestamp) -> Result<(), RegistryError> {
    // In one order, so that two who touch the same blobs wait for each other and not in a circle.
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into blob (digest, touched_at) select j.value, $2 from json_each($1) j where true order by j.value \
             on conflict (digest) do update set touched_at = excluded.touched_at"
        }
        Engine::Postgres => {
            "insert into blob (digest, touched_at) select j.value, $2 from json_array_elements_text($1::json) as j(value) order by j.value \
             on conflict (digest) do update set touched_at = excluded.touched_at"
        }
    };
    sqlx::query(statement).bind(json_list(digests)).bind(now.micros()).execute(tx).await?;
    Ok(())
}

/// Touches those of these blobs that are still noted, and answers the others: a collector has taken them.
pub(crate) async fn touch_noted(tx: &mut Tx, digests: &[Digest], now: Timestamp) -> Result<Vec<Digest>, RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => "update blob set touched_at = $2 where digest in (select j.value from json_each($1) j) returning digest",
        Engine::Postgres => {
            "update blob set touched_at = $2 where digest in (select j.value from json_array_elements_text($1::json) as j(value)) \
             returning digest"
        }
    };
    let rows = sqlx::query(statement).bind(json_list(digests)).bind(now.micros()).fetch_all(tx).await?;
    let noted = rows.iter().map(read_digest).collect::<Result<HashSet<Digest>, _>>()?;
    Ok(digests.iter().filter(|digest| !noted.contains(digest)).copied().collect())
}

/// Blobs past a digest, in order, that nothing names and nobody has touched since a moment.
pub(crate) async fn unnamed(tx: &mut Tx, past: &str, touched_before: Timestamp) -> Result<Vec<Digest>, RegistryError> {
    let statement = concat!("select digest from blob where digest > $1 and touched_at < $2 and ", unnamed!(), " order by digest limit $3");
    let query = sqlx::query(statement).bind(past).bind(touched_before.micros()).bind(FOUND_MAX);
    query.fetch_all(tx).await?.iter().map(read_digest).collect()
}

/// Forgets a blob that nothing names and nobody has touched since a moment; false when that is not so any more.
pub(crate) async fn forget(tx: &mut Tx, digest: &Digest, touched_before: Timestamp) -> Result<bool, RegistryError> {
    let statement = concat!("delete from blob where digest = $1 and touched_at < $2 and ", unnamed!());
    let result = sqlx::query(statement).bind(digest.to_string()).bind(touched_before.micros()).execute(tx).await?;
    Ok(result.rows_affected() == 1)
}

/// Of these blobs, those of which there is no row.
pub(crate) async fn strays(tx: &mut Tx, digests: &[Digest]) -> Result<Vec<Digest>, RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => "select j.value as digest from json_each($1) j left join blob b on b.digest = j.value where b.digest is null",
        Engine::Postgres => {
            "select j.value as digest from json_array_elements_text($1::json) as j(value) left join blob b on b.digest = j.value \
             where b.digest is null"
        }
    };
    sqlx::query(statement).bind(json_list(digests)).fetch_all(tx).await?.iter().map(read_digest).collect()
}

/// Notes a blob that is there since a moment, if it is not noted yet.
pub(crate) async fn adopt(tx: &mut Tx, digest: &Digest, since: Timestamp) -> Result<(), RegistryError> {
    let statement = "insert into blob (digest, touched_at) values ($1, $2) on conflict (digest) do nothing";
    sqlx::query(statement).bind(digest.to_string()).bind(since.micros()).execute(tx).await?;
    Ok(())
}
