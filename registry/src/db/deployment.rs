//! The tables `deployment` and `deployment_release`.

use protocol::{ModelRef, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::cursor::{Direction, SCAN_ROWS, Scan};
use crate::deployments::{Deployment, Linger, Release, Scale};
use crate::error::RegistryError;

/// Deployments that runners are told of.
const IN_FORCE_MAX: i64 = 10_000;

/// Selects deployments with their latest release.
macro_rules! select_deployment {
    ($condition:literal) => {
        concat!(
            "select d.id, d.account_id, d.owner, d.name, d.created_at as deployed_at, r.deployment_id, r.number, r.model_owner, \
             r.model_name, r.version_id, r.hardware, r.instances_min, r.instances_max, r.require_signature, r.instances_buffer, \
             r.idle_seconds, r.created_by, r.created_at \
             from deployment d join deployment_release r on r.deployment_id = d.id \
             and r.number = (select max(n.number) from deployment_release n where n.deployment_id = d.id) \
             where d.deleted_at is null and ",
            $condition
        )
    };
}

/// Selects one deployment's releases.
macro_rules! select_release {
    ($condition:literal) => {
        concat!(
            "select deployment_id, number, model_owner, model_name, version_id, hardware, instances_min, instances_max, \
             require_signature, instances_buffer, idle_seconds, created_by, created_at from deployment_release where deployment_id = $1 and ",
            $condition
        )
    };
}

/// Adds a deployment without a release; false when its name is taken.
pub(crate) async fn insert(tx: &mut Tx, deployment: &Deployment) -> Result<bool, RegistryError> {
    let statement = "insert into deployment (id, account_id, owner, name, created_at) values ($1, $2, $3, $4, $5) on conflict do nothing";
    let result = sqlx::query(statement)
        .bind(&deployment.id)
        .bind(&deployment.account_id)
        .bind(&deployment.name.owner)
        .bind(&deployment.name.name)
        .bind(deployment.created_at.micros())
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

/// Adds a release; false when another has its number.
pub(crate) async fn insert_release(tx: &mut Tx, deployment_id: &str, release: &Release) -> Result<bool, RegistryError> {
    let statement = "insert into deployment_release (deployment_id, number, model_owner, model_name, version_id, hardware, \
                     instances_min, instances_max, require_signature, instances_buffer, idle_seconds, created_by, created_at) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict do nothing";
    let result = sqlx::query(statement)
        .bind(deployment_id)
        .bind(release.number)
        .bind(&release.model.owner)
        .bind(&release.model.name)
        .bind(release.version.to_string())
        .bind(&release.hardware)
        .bind(i64::from(release.scale.min()))
        .bind(i64::from(release.scale.max()))
        .bind(i64::from(release.require_signature))
        .bind(i64::from(release.scale.buffer()))
        .bind(release.scale.linger().seconds().map(i64::from))
        .bind(&release.created_by)
        .bind(release.created_at.micros())
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn count(tx: &mut Tx, account_id: &str) -> Result<i64, RegistryError> {
    let statement = "select count(*) as deployments from deployment where account_id = $1 and deleted_at is null";
    Ok(sqlx::query(statement).bind(account_id).fetch_one(tx).await?.try_get("deployments")?)
}

pub(crate) async fn find(tx: &mut Tx, name: &ModelRef) -> Result<Option<Deployment>, RegistryError> {
    let statement = select_deployment!("d.owner = $1 and d.name = $2");
    let row = sqlx::query(statement).bind(&name.owner).bind(&name.name).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn list(tx: &mut Tx, account_id: &str, scan: &Scan) -> Result<Vec<Deployment>, RegistryError> {
    let statement = match scan.direction {
        Direction::Descending => {
            select_deployment!("d.account_id = $1 and (d.created_at, d.id) < ($2, $3) order by d.created_at desc, d.id desc limit $4")
        }
        Direction::Ascending => {
            select_deployment!("d.account_id = $1 and (d.created_at, d.id) > ($2, $3) order by d.created_at, d.id limit $4")
        }
    };
    let query = sqlx::query(statement).bind(account_id).bind(scan.key).bind(&scan.id).bind(SCAN_ROWS);
    query.fetch_all(tx).await?.iter().map(read).collect()
}

/// Every account's, the oldest first.
pub(crate) async fn list_all(tx: &mut Tx) -> Result<Vec<Deployment>, RegistryError> {
    let statement = select_deployment!("1 = 1 order by d.created_at, d.id limit $1");
    sqlx::query(statement).bind(IN_FORCE_MAX).fetch_all(tx).await?.iter().map(read).collect()
}

pub(crate) async fn list_releases(tx: &mut Tx, deployment_id: &str, scan: &Scan) -> Result<Vec<Release>, RegistryError> {
    let statement = match scan.direction {
        Direction::Descending => select_release!("number < $2 order by number desc limit $3"),
        Direction::Ascending => select_release!("number > $2 order by number limit $3"),
    };
    let query = sqlx::query(statement).bind(deployment_id).bind(scan.key).bind(SCAN_ROWS);
    query.fetch_all(tx).await?.iter().map(read_release).collect()
}

/// Marks an account's deployment as deleted; false when it has no such one.
pub(crate) async fn delete(tx: &mut Tx, name: &ModelRef, account_id: &str, now: Timestamp) -> Result<bool, RegistryError> {
    let statement = "update deployment set deleted_at = $4 where owner = $1 and name = $2 and account_id = $3 and deleted_at is null";
    let query = sqlx::query(statement).bind(&name.owner).bind(&name.name).bind(account_id).bind(now.micros());
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

fn read(row: &AnyRow) -> Result<Deployment, RegistryError> {
    Ok(Deployment {
        id: row.try_get("id")?,
        account_id: row.try_get("account_id")?,
        name: ModelRef { owner: row.try_get("owner")?, name: row.try_get("name")? },
        created_at: Timestamp::from_micros(row.try_get("deployed_at")?),
        release: read_release(row)?,
    })
}

fn read_release(row: &AnyRow) -> Result<Release, RegistryError> {
    let id: String = row.try_get("deployment_id")?;
    let corrupt = || RegistryError::Corrupt { what: "deployment", id: id.clone() };
    let instances = |column: &str| u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| corrupt());
    let idle_seconds = row.try_get::<Option<i64>, _>("idle_seconds")?.map(u32::try_from).transpose().map_err(|_| corrupt())?;
    let buffer = instances("instances_buffer")?;
    let scale = Scale::new(instances("instances_min")?, instances("instances_max")?)
        .and_then(|scale| scale.with_buffer(buffer))
        .and_then(|scale| scale.with_linger(Linger::of(idle_seconds)));
    Ok(Release {
        number: row.try_get("number")?,
        model: ModelRef { owner: row.try_get("model_owner")?, name: row.try_get("model_name")? },
        version: row.try_get::<String, _>("version_id")?.parse().map_err(|_| corrupt())?,
        hardware: row.try_get("hardware")?,
        scale: scale.map_err(|_| corrupt())?,
        require_signature: row.try_get::<i64, _>("require_signature")? != 0,
        created_by: row.try_get("created_by")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
    })
}
