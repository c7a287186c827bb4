//! The table `model`.

use protocol::{ModelRef, PredictionId, Pricing, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::cursor::{Direction, SCAN_ROWS, Scan};
use crate::error::RegistryError;
use crate::models::{Links, ModelPatch, ModelRow, ModelSort, ModelsOf, Visibility};

/// Models that one search looks at.
const SEARCHED_MAX: i64 = 2_000;

/// A model in a list, with the value by which the list is sorted.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) row: ModelRow,
    pub(crate) sort_key: i64,
}

/// What a statement selects to read a [`ModelRow`].
macro_rules! model_columns {
    () => {
        "m.id, m.owner, m.name, a.id as owner_id, m.description, m.visibility, m.hardware, m.github_url, m.paper_url, m.license_url, \
         m.weights_url, m.cover_image_url, m.task, m.run_count, m.is_official, m.price, m.latest_version_id, m.default_example_id, \
         m.created_at"
    };
}

/// A page of what `$1` may see, past (`$2`, `$3`): with `$5` only what is fit to be shown, with `$6` only that owner's.
macro_rules! list_statement {
    ($key:literal, $past:literal, $order:literal) => {
        concat!(
            "select ",
            model_columns!(),
            ", ",
            $key,
            " as sort_key ",
            "from model m join account a on a.name = m.owner ",
            "left join version v on v.model_id = m.id and v.id = m.latest_version_id ",
            "where (a.id = $1 or (m.visibility = 'public' and m.latest_version_id is not null)) ",
            "and ($5 = 0 or (m.visibility = 'public' and m.latest_version_id is not null and m.default_example_id is not null)) ",
            "and ($6 = '' or m.owner = $6) ",
            "and (",
            $key,
            ", m.id) ",
            $past,
            " ($2, $3) ",
            "order by ",
            $key,
            " ",
            $order,
            ", m.id ",
            $order,
            " limit $4"
        )
    };
}

/// Adds a model; false when its name is taken.
pub(crate) async fn insert(tx: &mut Tx, model: &ModelRow, readme: &str) -> Result<bool, RegistryError> {
    let statement = "insert into model (id, owner, name, description, visibility, hardware, github_url, paper_url, license_url, weights_url, \
                     cover_image_url, readme, is_official, price, task, created_at) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) on conflict (owner, name) do nothing";
    let result = sqlx::query(statement)
        .bind(&model.id)
        .bind(&model.model.owner)
        .bind(&model.model.name)
        .bind(&model.description)
        .bind(model.visibility.name())
        .bind(&model.hardware)
        .bind(filled(model.links.github_url.as_ref()))
        .bind(filled(model.links.paper_url.as_ref()))
        .bind(filled(model.links.license_url.as_ref()))
        .bind(filled(model.links.weights_url.as_ref()))
        .bind(filled(model.links.cover_image_url.as_ref()))
        .bind(readme)
        .bind(i64::from(model.is_official))
        .bind(price_text(&model.pricing))
        .bind(filled(model.task.as_ref()))
        .bind(model.created_at.micros())
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn count(tx: &mut Tx, owner: &str) -> Result<i64, RegistryError> {
    Ok(sqlx::query("select count(*) as models from model where owner = $1").bind(owner).fetch_one(tx).await?.try_get("models")?)
}

/// The model at an address, or the one that has left it.
pub(crate) async fn find(tx: &mut Tx, model: &ModelRef) -> Result<Option<ModelRow>, RegistryError> {
    let statement = concat!(
        "select ",
        model_columns!(),
        " from model m join account a on a.name = m.owner where (m.owner = $1 and m.name = $2) \
         or m.id = (select x.model_id from model_address x where x.owner = $1 and x.name = $2)"
    );
    let row = sqlx::query(statement).bind(&model.owner).bind(&model.name).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn find_readme(tx: &mut Tx, id: &str) -> Result<Option<String>, RegistryError> {
    let row = sqlx::query("select readme from model where id = $1").bind(id).fetch_optional(tx).await?;
    Ok(row.map(|row| row.try_get("readme")).transpose()?)
}

/// Changes what the patch names. A link or the task becomes null when the patch has it empty.
pub(crate) async fn patch(tx: &mut Tx, id: &str, patch: &ModelPatch) -> Result<(), RegistryError> {
    let statement = "update model set description = coalesce($2, description), readme = coalesce($3, readme), \
                     github_url = nullif(coalesce($4, github_url), ''), paper_url = nullif(coalesce($5, paper_url), ''), \
                     license_url = nullif(coalesce($6, license_url), ''), weights_url = nullif(coalesce($7, weights_url), ''), \
                     cover_image_url = nullif(coalesce($8, cover_image_url), ''), task = nullif(coalesce($9, task), ''), \
                     price = coalesce($10, price) where id = $1";
    sqlx::query(statement)
        .bind(id)
        .bind(patch.description.as_ref())
        .bind(patch.readme.as_ref())
        .bind(patch.links.github_url.as_ref())
        .bind(patch.links.paper_url.as_ref())
        .bind(patch.links.license_url.as_ref())
        .bind(patch.links.weights_url.as_ref())
        .bind(patch.links.cover_image_url.as_ref())
        .bind(patch.task.as_ref())
        .bind(patch.pricing.as_ref().map(price_text))
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn set_price(tx: &mut Tx, id: &str, pricing: &Pricing) -> Result<(), RegistryError> {
    sqlx::query("update model set price = $2 where id = $1").bind(id).bind(price_text(pricing)).execute(tx).await?;
    Ok(())
}

pub(crate) async fn set_default_example(tx: &mut Tx, id: &str, prediction: PredictionId) -> Result<(), RegistryError> {
    let statement = "update model set default_example_id = $2 where id = $1";
    sqlx::query(statement).bind(id).bind(prediction.to_string()).execute(tx).await?;
    Ok(())
}

/// Leaves a model without a latest version: it has none any more.
pub(crate) async fn clear_latest(tx: &mut Tx, id: &str) -> Result<(), RegistryError> {
    sqlx::query("update model set latest_version_id = null where id = $1").bind(id).execute(tx).await?;
    Ok(())
}

pub(crate) async fn add_runs(tx: &mut Tx, id: &str, runs: i64) -> Result<(), RegistryError> {
    sqlx::query("update model set run_count = run_count + $2 where id = $1").bind(id).bind(runs).execute(tx).await?;
    Ok(())
}

/// A statement about the model `$1` if nothing was ever published in it.
macro_rules! unused {
    ($statement:literal) => {
        concat!(
            $statement,
            "not exists (select 1 from version v where v.model_id = $1) and not exists (select 1 from manifest m where m.model_id = $1) ",
            "and not exists (select 1 from tag_move t where t.model_id = $1)"
        )
    };
}

/// Deletes a model that never had a version nor anything else under a tag; false when it has, or had.
pub(crate) async fn delete_unused(tx: &mut Tx, id: &str) -> Result<bool, RegistryError> {
    for leftovers in [
        unused!("delete from loose_blob where model_id = $1 and "),
        unused!("delete from model_offer where model_id = $1 and "),
        unused!("delete from model_address where model_id = $1 and "),
    ] {
        sqlx::query(leftovers).bind(id).execute(&mut *tx).await?;
    }
    let statement = unused!("delete from model where id = $1 and ");
    Ok(sqlx::query(statement).bind(id).execute(tx).await?.rows_affected() == 1)
}

pub(crate) async fn list(
    tx: &mut Tx,
    which: &ModelsOf,
    sort: ModelSort,
    scan: &Scan,
    viewer_id: &str,
) -> Result<Vec<Listed>, RegistryError> {
    let (shown_only, owner) = match which {
        ModelsOf::Catalogue => (1_i64, ""),
        ModelsOf::Everyone => (0, ""),
        ModelsOf::Owner(owner) => (0, owner.as_str()),
    };
    let statement = match (sort, scan.direction) {
        (ModelSort::ModelCreatedAt, Direction::Descending) => list_statement!("m.created_at", "<", "desc"),
        (ModelSort::ModelCreatedAt, Direction::Ascending) => list_statement!("m.created_at", ">", "asc"),
        (ModelSort::LatestVersionCreatedAt, Direction::Descending) => list_statement!("coalesce(v.created_at, 0)", "<", "desc"),
        (ModelSort::LatestVersionCreatedAt, Direction::Ascending) => list_statement!("coalesce(v.created_at, 0)", ">", "asc"),
    };
    let query = sqlx::query(statement).bind(viewer_id).bind(scan.key).bind(&scan.id).bind(SCAN_ROWS).bind(shown_only).bind(owner);
    let listed = |row: &AnyRow| Ok(Listed { row: read(row)?, sort_key: row.try_get("sort_key")? });
    query.fetch_all(tx).await?.iter().map(listed).collect()
}

/// Finds models, with their readmes, in which a word occurs and which this account may see. The word is in lower case.
pub(crate) async fn search(tx: &mut Tx, word: &str, viewer_id: &str) -> Result<Vec<(ModelRow, String)>, RegistryError> {
    let statement = concat!(
        "select ",
        model_columns!(),
        ", m.readme from model m join account a on a.name = m.owner ",
        "where (a.id = $2 or (m.visibility = 'public' and m.latest_version_id is not null)) and ",
        "(m.owner || '/' || m.name like $1 escape '!' or lower(m.description) like $1 escape '!' ",
        "or lower(coalesce(m.task, '')) like $1 escape '!' or lower(m.readme) like $1 escape '!') ",
        "order by m.run_count desc, m.id limit $3"
    );
    let rows = sqlx::query(statement).bind(containing(word)).bind(viewer_id).bind(SEARCHED_MAX).fetch_all(tx).await?;
    rows.iter().map(|row| Ok((read(row)?, row.try_get("readme")?))).collect()
}

fn read(row: &AnyRow) -> Result<ModelRow, RegistryError> {
    let id: String = row.try_get("id")?;
    let corrupt = || RegistryError::Corrupt { what: "model", id: id.clone() };
    let price: Option<String> = row.try_get("price")?;
    let pricing = price.map_or(Ok(Pricing::Second), |json| serde_json::from_str(&json)).map_err(|_| corrupt())?;
    let latest: Option<String> = row.try_get("latest_version_id")?;
    let example: Option<String> = row.try_get("default_example_id")?;
    Ok(ModelRow {
        model: ModelRef { owner: row.try_get("owner")?, name: row.try_get("name")? },
        owner_id: row.try_get("owner_id")?,
        description: row.try_get("description")?,
        visibility: Visibility::parse(&row.try_get::<String, _>("visibility")?).ok_or_else(corrupt)?,
        hardware: row.try_get("hardware")?,
        links: Links {
            github_url: row.try_get("github_url")?,
            paper_url: row.try_get("paper_url")?,
            license_url: row.try_get("license_url")?,
            weights_url: row.try_get("weights_url")?,
            cover_image_url: row.try_get("cover_image_url")?,
        },
        task: row.try_get("task")?,
        run_count: row.try_get("run_count")?,
        is_official: row.try_get::<i64, _>("is_official")? == 1,
        pricing,
        latest_version_id: latest.map(|text| text.parse()).transpose().map_err(|_| corrupt())?,
        default_example_id: example.map(|text| text.parse()).transpose().map_err(|_| corrupt())?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        id,
    })
}

/// The pattern of a text that contains a word; `!` escapes.
pub(crate) fn containing(word: &str) -> String {
    format!("%{}%", word.replace('!', "!!").replace('%', "!%").replace('_', "!_"))
}

fn price_text(pricing: &Pricing) -> String {
    serde_json::to_string(pricing).expect("a price is JSON")
}

fn filled(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}
