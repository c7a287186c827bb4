//! `feira deployments`: versions with instances of their own, and the releases they went through.

use protocol::ModelRef;
use protocol::api::{Deployment, Model, Release};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Context;
use super::models::model_path;
use crate::client::Client;
use crate::exit::usage;
use crate::show;

const PATH: &str = "/v1/deployments";
/// Releases that are looked through for the one to go back to.
const RELEASES_MAX: usize = 1_000;

#[derive(Debug, clap::Subcommand)]
pub enum Deployments {
    /// List your deployments, the newest first
    List {
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one deployment and its releases
    Show { deployment: ModelRef },
    /// Give a version instances of its own
    Create {
        /// What it is called; it belongs to your account
        name: String,
        #[arg(long, value_name = "OWNER/MODEL")]
        model: ModelRef,
        /// The latest of the model without it
        #[arg(long, value_name = "ID")]
        version: Option<String>,
        /// What its instances run on; the model's own without it
        #[arg(long, value_name = "SKU")]
        hardware: Option<String>,
        /// Instances that stay warm
        #[arg(long, default_value_t = 0)]
        min: u32,
        /// Instances that there may be; 0 is off
        #[arg(long, default_value_t = 1)]
        max: u32,
        /// Refuse versions that their publisher has not signed
        #[arg(long)]
        require_signature: bool,
        /// Spare instances beyond the busy ones, while any is busy
        #[arg(long, default_value_t = 0)]
        buffer: u32,
        /// How long an instance stays that nobody uses; as long as the runner has it without this
        #[arg(long, value_name = "SECONDS")]
        idle: Option<u32>,
    },
    /// Change a deployment: its next release
    Update {
        deployment: ModelRef,
        #[arg(long, value_name = "ID")]
        version: Option<String>,
        #[arg(long, value_name = "SKU")]
        hardware: Option<String>,
        #[arg(long)]
        min: Option<u32>,
        /// 0 turns it off and cancels what waits and runs
        #[arg(long)]
        max: Option<u32>,
        /// Whether versions are refused that their publisher has not signed: `true` or `false`
        #[arg(long)]
        require_signature: Option<bool>,
        #[arg(long)]
        buffer: Option<u32>,
        #[arg(long, value_name = "SECONDS")]
        idle: Option<u32>,
    },
    /// Delete a deployment that nobody uses
    Delete { deployment: ModelRef },
    /// Go back to an earlier release: a new release with its settings
    Rollback {
        deployment: ModelRef,
        /// The number of the release; the one before the current one without it
        #[arg(long, value_name = "NUMBER")]
        to: Option<i64>,
    },
}

impl Deployments {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let deployment = match self {
            Self::List { limit } => return list(&client, limit, context.json).await,
            Self::Show { deployment } => return show(&client, &deployment, context.json).await,
            Self::Delete { deployment } => {
                client.delete(&path(&deployment)).await?;
                show::note(&format!("{deployment} is deleted"));
                return Ok(());
            }
            Self::Create { name, model, version, hardware, min, max, require_signature, buffer, idle } => {
                let page: Model = client.get(&model_path(&model)).await?;
                let latest = page.latest_version.map(|version| version.id);
                let version = version.or(latest).ok_or_else(|| usage(format!("{model} has no version yet; `feira push` publishes one")))?;
                let order = json!({
                    "name": name, "model": model, "version": version, "hardware": hardware.unwrap_or(page.hardware),
                    "min_instances": min, "max_instances": max, "require_signature": require_signature,
                    "buffer_instances": buffer, "idle_seconds": idle,
                });
                client.post::<Deployment>(PATH, &order).await?
            }
            Self::Update { deployment, version, hardware, min, max, require_signature, buffer, idle } => {
                let mut change = change(version, hardware, [min, max, buffer, idle]);
                change.extend(require_signature.map(|required| ("require_signature".to_owned(), required.into())));
                if change.is_empty() {
                    return Err(usage("say what to change: --version, --hardware, --min, --max, --buffer, --idle or --require-signature"));
                }
                release(&client, &deployment, &change.into()).await?
            }
            Self::Rollback { deployment, to } => roll_back(&client, &deployment, to).await?,
        };
        if context.json { show::json(&deployment) } else { show::line(&told(&deployment)) }
    }
}

fn path(deployment: &ModelRef) -> String {
    format!("{PATH}/{}/{}", deployment.owner, deployment.name)
}

/// The fields that a change names.
fn change(version: Option<String>, hardware: Option<String>, counts: [Option<u32>; 4]) -> Map<String, Value> {
    let texts = [("version", version), ("hardware", hardware)].map(|(name, text)| (name, text.map(Value::from)));
    let fields = ["min_instances", "max_instances", "buffer_instances", "idle_seconds"];
    let named = texts.into_iter().chain(fields.into_iter().zip(counts.map(|count| count.map(Value::from))));
    named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

async fn release(client: &Client, deployment: &ModelRef, change: &Value) -> anyhow::Result<Deployment> {
    Ok(client.answer(client.request(Method::PATCH, &path(deployment)).json(change)).await?)
}

async fn releases(client: &Client, deployment: &ModelRef) -> anyhow::Result<Vec<Release>> {
    Ok(client.list(&format!("{}/releases", path(deployment)), RELEASES_MAX).await?)
}

async fn roll_back(client: &Client, deployment: &ModelRef, to: Option<i64>) -> anyhow::Result<Deployment> {
    let releases = releases(client, deployment).await?;
    let earlier = earlier(&releases, to).ok_or_else(|| match to {
        Some(number) => usage(format!("{deployment} has no release {number}; `feira deployments show {deployment}` lists them")),
        None => usage(format!("{deployment} has only one release")),
    })?;
    let settings = &earlier.configuration;
    let change = json!({
        "version": earlier.version, "hardware": settings.hardware,
        "min_instances": settings.min_instances, "max_instances": settings.max_instances,
        "buffer_instances": settings.buffer_instances, "idle_seconds": settings.idle_seconds,
    });
    release(client, deployment, &change).await
}

/// The release to go back to; the newest stands first.
fn earlier(releases: &[Release], to: Option<i64>) -> Option<&Release> {
    match to {
        Some(number) => releases.iter().find(|release| release.number == number),
        None => releases.get(1),
    }
}

async fn list(client: &Client, limit: usize, json: bool) -> anyhow::Result<()> {
    let deployments: Vec<Deployment> = client.list(PATH, limit).await?;
    if json {
        return show::json(&deployments);
    }
    let row = |deployment: &Deployment| {
        let mut cells = vec![format!("{}/{}", deployment.owner, deployment.name)];
        cells.extend(cells_of(&deployment.current_release));
        cells
    };
    show::table(
        &["DEPLOYMENT", "RELEASE", "MODEL", "VERSION", "HARDWARE", "INSTANCES", "SINCE"],
        &deployments.iter().map(row).collect::<Vec<_>>(),
    )
}

async fn show(client: &Client, deployment: &ModelRef, json: bool) -> anyhow::Result<()> {
    let shown: Deployment = client.get(&path(deployment)).await?;
    if json {
        return show::json(&shown);
    }
    let rows: Vec<_> = releases(client, deployment).await?.iter().map(cells_of).collect();
    show::table(&["RELEASE", "MODEL", "VERSION", "HARDWARE", "INSTANCES", "SINCE"], &rows)
}

fn cells_of(release: &Release) -> Vec<String> {
    vec![
        release.number.to_string(),
        release.model.clone(),
        show::excerpt(&release.version, 13),
        release.configuration.hardware.clone(),
        instances(release),
        release.created_at.to_string(),
    ]
}

fn instances(release: &Release) -> String {
    let settings = &release.configuration;
    match (settings.min_instances, settings.max_instances, settings.buffer_instances) {
        (_, 0, _) => "off".to_owned(),
        (min, max, 0) => format!("{min}–{max}"),
        (min, max, buffer) => format!("{min}–{max}, {buffer} spare"),
    }
}

fn told(deployment: &Deployment) -> String {
    let release = &deployment.current_release;
    format!(
        "{}/{} release {}: {}:{} on {}, {} instances",
        deployment.owner,
        deployment.name,
        release.number,
        release.model,
        release.version,
        release.configuration.hardware,
        instances(release)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(number: i64) -> Release {
        serde_json::from_value(json!({
            "number": number, "model": "a/b", "version": "0", "created_at": "2026-01-01T00:00:00Z",
            "created_by": {"type": "user", "username": "a", "name": "a", "github_url": null, "avatar_url": null},
            "configuration": {"hardware": "cpu", "min_instances": 0, "max_instances": number},
        }))
        .unwrap()
    }

    #[test]
    fn a_rollback_goes_to_the_release_before_or_to_the_one_that_is_named() {
        let releases = [release(3), release(2), release(1)];
        let number = |to| earlier(&releases, to).map(|release| release.number);
        assert_eq!((number(None), number(Some(1)), number(Some(9))), (Some(2), Some(1), None));
        assert!(earlier(&releases[2..], None).is_none());
    }

    #[test]
    fn a_change_sends_only_what_was_named() {
        let counts = [Some(0), Some(0), None, Some(9)];
        assert_eq!(Value::from(change(None, None, counts)), json!({"min_instances": 0, "max_instances": 0, "idle_seconds": 9}));
        assert!(change(None, None, [None; 4]).is_empty());
    }

    #[test]
    fn nothing_but_zero_is_off() {
        assert_eq!((instances(&release(0)), instances(&release(2))), ("off".to_owned(), "0–2".to_owned()));
    }
}
