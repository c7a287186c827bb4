//! `feira run`: types the input by the version's schema, runs the model, and brings its output home. Ctrl-C cancels the prediction.

pub(super) mod input;
mod output;

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use protocol::api::{Model, Version};
use protocol::{Entropy, Prediction, Reference, Status};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::models::model_path;
use super::versions::version_path;
use super::{Context, find_prediction, prediction_path};
use crate::client::{Client, ClientError, EventStream, patiently};
use crate::exit::{Exit, usage};
use crate::show;

/// For how long the server may hold the first answer: long enough for a warm model, short enough that Ctrl-C is heard.
const WAIT: &str = "wait=2";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Run {
    /// OWNER/MODEL, or OWNER/MODEL:VERSION
    #[arg(value_name = "OWNER/MODEL[:VERSION]")]
    reference: Reference,
    /// Inputs: text=hello, scale=4, image=@photo.jpg
    #[arg(value_name = "KEY=VALUE")]
    inputs: Vec<String>,
    /// Print the output while it is made
    #[arg(long)]
    stream: bool,
    /// Keep the output: in a file, or its files in a folder
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

impl Run {
    pub async fn execute(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        let (version, schema) = find_version(&client, &self.reference).await?;
        let input = input::read(&client, &schema, "Input", &self.inputs).await?;
        let order = Order { version, input, stream: self.stream, json: context.json };
        let interrupt = pin!(async {
            if tokio::signal::ctrl_c().await.is_err() {
                // No handler could be installed: then Ctrl-C ends the process as it always did.
                std::future::pending::<()>().await;
            }
        });
        match order.drive(&client, interrupt).await? {
            Some(prediction) => self.present(&client, &schema, &prediction, context.json).await,
            None => Ok(Exit::Interrupted),
        }
    }

    async fn present(&self, client: &Client, schema: &Value, prediction: &Prediction, json: bool) -> anyhow::Result<Exit> {
        match (&self.output, prediction.status) {
            (Some(path), Status::Succeeded) => {
                for saved in output::save(client, prediction, path).await? {
                    show::note(&format!("{} written", saved.display()));
                }
            }
            (None, Status::Succeeded) if !json && !self.stream => output::print(schema, prediction)?,
            _ => {}
        }
        if json && self.stream {
            show::json_line(&json!({"event": "end", "prediction": prediction}))?;
        } else if json {
            show::json(prediction)?;
        }
        if let Some(error) = &prediction.error {
            show::note(error);
        }
        show::note(&show::summary(prediction));
        Ok(exit_of(prediction))
    }
}

fn exit_of(prediction: &Prediction) -> Exit {
    match (prediction.status, prediction.error_code.as_deref()) {
        (Status::Succeeded, _) => Exit::Success,
        (_, Some("timeout" | "deadline")) => Exit::TimedOut,
        _ => Exit::Failed,
    }
}

/// What to send as `version`, and the schema that the inputs are read by.
async fn find_version(client: &Client, reference: &Reference) -> anyhow::Result<(String, Value)> {
    match reference {
        Reference::Latest(model) => {
            let found: Model = client.get(&model_path(model)).await?;
            let latest = found.latest_version.ok_or_else(|| usage(format!("{model} has no version yet; `feira push` publishes one")))?;
            Ok((model.to_string(), latest.openapi_schema))
        }
        Reference::Exact(model, id) => {
            let version: Version = client.get(&version_path(model, id)).await?;
            Ok((format!("{model}:{id}"), version.openapi_schema))
        }
        Reference::Bare(_) => Err(usage("name the model too: OWNER/MODEL:VERSION")),
    }
}

/// A prediction that is wanted.
struct Order {
    version: String,
    input: Map<String, Value>,
    /// Print the output while it is made.
    stream: bool,
    /// Print events as JSON.
    json: bool,
}

impl Order {
    /// From the order to the end of the prediction; `None` when it was cancelled because `interrupt` came first.
    async fn drive(&self, client: &Client, mut interrupt: Pin<&mut impl Future<Output = ()>>) -> anyhow::Result<Option<Prediction>> {
        let mut creating = pin!(self.create(client));
        let created = tokio::select! {
            created = &mut creating => created?,
            () = interrupt.as_mut() => {
                // It may be running by now: its id is waited for, so that it does not go on unseen.
                cancel(client, &creating.await?.id).await?;
                return Ok(None);
            }
        };
        let id = created.id.clone();
        let finish = async {
            if self.stream {
                follow(client, &created, self.json).await?;
            }
            wait(client, created).await
        };
        tokio::select! {
            ended = finish => ended.map(Some),
            () = interrupt => cancel(client, &id).await.map(|()| None),
        }
    }

    async fn create(&self, client: &Client) -> Result<Prediction, ClientError> {
        let mut order = json!({"version": self.version, "input": self.input});
        if self.stream {
            order["stream"] = true.into();
        }
        let key = hex::encode(Entropy::system().bytes::<16>());
        patiently(|| {
            let request = client.request(Method::POST, "/v1/predictions").header("idempotency-key", &key).json(&order);
            client.answer(if self.stream { request } else { request.header("prefer", WAIT) })
        })
        .await
    }
}

async fn cancel(client: &Client, id: &str) -> anyhow::Result<()> {
    let path = format!("{}/cancel", prediction_path(id)?);
    let prediction: Prediction = client.post(&path, &json!({})).await?;
    show::note(&show::summary(&prediction));
    Ok(())
}

/// Prints output as it arrives; what the model logs goes to standard error.
async fn follow(client: &Client, created: &Prediction, json: bool) -> anyhow::Result<()> {
    let Some(url) = created.urls.stream.as_deref().and_then(|url| Url::parse(url).ok()) else {
        show::note("this server offers no stream; the output comes at the end");
        return Ok(());
    };
    let mut events = EventStream::open(client, url);
    let mut ends_line = true;
    while let Some(event) = events.next().await? {
        if json {
            show::json_line(&json!({"event": event.name, "data": event.data}))?;
        } else if event.name == "output" {
            show::piece(&event.data)?;
            ends_line = event.data.ends_with('\n');
        } else if event.name == "logs" {
            eprint!("{}", event.data);
        }
    }
    if ends_line { Ok(()) } else { show::line("") }
}

/// Looks again, ever less often, until the prediction has ended.
async fn wait(client: &Client, created: Prediction) -> anyhow::Result<Prediction> {
    let mut prediction = created;
    let mut pause = FIRST_PAUSE;
    while !prediction.status.is_terminal() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        prediction = find_prediction(client, &prediction.id).await?;
    }
    Ok(prediction)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::State;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use tokio::sync::Notify;

    use super::*;
    use crate::client::Endpoint;

    const ID: &str = "01hf7yat00wjx3whax6rf4kq2p";

    /// A server whose one prediction ends when it has been looked at `looks_left` times, or is cancelled.
    #[derive(Default)]
    struct Script {
        looks_left: Mutex<u32>,
        cancelled: Mutex<bool>,
        looked: Notify,
        created: Notify,
        may_create: Notify,
    }

    fn prediction(status: &str) -> Json<Value> {
        Json(json!({
            "id": ID, "model": "feira/hello-world", "version": "0", "input": {}, "output": null, "logs": "", "error": null, "status": status,
            "data_removed": false, "source": "api", "created_at": "2026-01-01T00:00:00Z", "started_at": null, "completed_at": null,
            "urls": {"get": "", "cancel": "", "web": ""}, "hardware": "cpu", "region": "local",
        }))
    }

    async fn create(State(script): State<Arc<Script>>) -> Json<Value> {
        script.created.notify_one();
        script.may_create.notified().await;
        prediction("starting")
    }

    async fn look(State(script): State<Arc<Script>>) -> Json<Value> {
        script.looked.notify_one();
        let mut left = script.looks_left.lock().unwrap();
        *left = left.saturating_sub(1);
        prediction(if *left == 0 { "succeeded" } else { "processing" })
    }

    async fn stop(State(script): State<Arc<Script>>) -> Json<Value> {
        *script.cancelled.lock().unwrap() = true;
        prediction("canceled")
    }

    async fn serve(looks_left: u32) -> (Client, Arc<Script>) {
        let script = Arc::new(Script { looks_left: Mutex::new(looks_left), ..Script::default() });
        let app = Router::new()
            .route("/v1/predictions", post(create))
            .route("/v1/predictions/{id}", get(look))
            .route("/v1/predictions/{id}/cancel", post(stop))
            .with_state(Arc::clone(&script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (Client::new(Endpoint::new(base.parse().unwrap(), None)).unwrap(), script)
    }

    fn order() -> Order {
        Order { version: "feira/hello-world".to_owned(), input: Map::new(), stream: false, json: false }
    }

    #[tokio::test]
    async fn a_prediction_is_looked_at_until_it_has_ended() {
        let (client, script) = serve(3).await;
        script.may_create.notify_one();
        let ended = order().drive(&client, pin!(std::future::pending())).await.unwrap().unwrap();
        assert_eq!((ended.status, *script.looks_left.lock().unwrap()), (Status::Succeeded, 0));
        assert!(!*script.cancelled.lock().unwrap());
    }

    #[tokio::test]
    async fn ctrl_c_cancels_what_runs() {
        let (client, script) = serve(u32::MAX).await;
        script.may_create.notify_one();
        let ended = order().drive(&client, pin!(script.looked.notified())).await.unwrap();
        assert!(ended.is_none() && *script.cancelled.lock().unwrap());
    }

    #[tokio::test]
    async fn ctrl_c_before_the_id_is_known_waits_for_it_and_cancels() {
        let (client, script) = serve(u32::MAX).await;
        let interrupt = pin!(async {
            script.created.notified().await;
            script.may_create.notify_one();
        });
        let ended = order().drive(&client, interrupt).await.unwrap();
        assert!(ended.is_none() && *script.cancelled.lock().unwrap());
    }
}
