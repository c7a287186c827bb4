//! `model.latest_version_id`, read where predictions are admitted: another gateway may have moved it since they were resolved.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row;
use store::{Engine, StoreError, Tx};

/// Where a model's `latest` pointed when a prediction of it was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Latest {
    pub model_id: String,
    pub version: String,
}

/// Of these, those that are so no longer.
pub(crate) async fn outdated(tx: &mut Tx, resolved: &[&Latest]) -> Result<HashSet<Latest>, StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "select m.id, j.value ->> 'version' as version from json_each($1) j join model m on m.id = j.value ->> 'model_id'
             where m.latest_version_id is not j.value ->> 'version'"
        }
        Engine::Postgres => {
            "select m.id, j.version from json_to_recordset($1::json) as j(model_id text, version text) join model m on m.id = j.model_id
             where m.latest_version_id is distinct from j.version"
        }
    };
    let resolved = serde_json::to_string(resolved).expect("ids are plain text");
    let rows = sqlx::query(sql).bind(resolved).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(Latest { model_id: row.try_get("id")?, version: row.try_get("version")? })).collect()
}

#[cfg(test)]
mod tests {
    use store::testing::on_both_engines;

    use super::*;

    fn latest(model_id: &str, version: &str) -> Latest {
        Latest { model_id: model_id.to_owned(), version: version.to_owned() }
    }

    #[tokio::test]
    async fn what_another_gateway_moved_is_outdated_and_the_rest_is_not() {
        on_both_engines(|db| async move {
            let found = db.write(|tx| {
                Box::pin(async move {
                    let insert =
                        "insert into model (id, owner, name, hardware, latest_version_id, created_at) values ($1, 'ada', $1, 'cpu', $2, 0)";
                    for (id, version) in [("a", Some("v1")), ("b", Some("v2")), ("c", None)] {
                        sqlx::query(insert).bind(id).bind(version).execute(&mut *tx).await?;
                    }
                    let resolved = [latest("a", "v1"), latest("b", "v1"), latest("c", "v1"), latest("unknown", "v1")];
                    outdated(tx, &resolved.iter().collect::<Vec<_>>()).await
                })
            });
            assert_eq!(found.await.unwrap(), HashSet::from([latest("b", "v1"), latest("c", "v1")]));
        })
        .await;
    }
}
