//! The demo models: shipped with the binary but for their weights, which come from public packages once and are kept.

mod catalogue;
mod weights;

use std::path::PathBuf;

use anyhow::Context as _;
use protocol::ModelRef;
use protocol::api::{Collection, Version};
use protocol::prediction::{Prediction, Status};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, ClientError, Endpoint, parse_address};
use crate::command::models::{NewModel, model_path};
use crate::hello_world;
use crate::project::{Project, Tools};
use crate::publish::{self, Publication};
use crate::settings::{Secret, Settings};
use crate::show::{self, Bars};
use crate::up::home::Home;
use crate::up::house::{House, OPERATOR};
use catalogue::Stall;

/// Publishes through the public API, as anyone would.
#[derive(Debug)]
pub struct Shop {
    client: anyhow::Result<Client>,
    folder: PathBuf,
    settings: Settings,
    bars: Bars,
}

impl Shop {
    pub fn new(house: &House, home: &Home, bars: Bars) -> Self {
        let client = parse_address(&house.url)
            .map_err(anyhow::Error::from)
            .and_then(|base| Ok(Client::new(Endpoint::new(base, Some(Secret::new(&house.token))))?));
        let settings = Settings { home: home.path().to_owned(), ..house.settings.clone() };
        Self { client, folder: home.join("demo"), settings, bars }
    }

    /// The model that needs nothing but this binary.
    pub async fn open_hello_world(&self) -> anyhow::Result<()> {
        let client = self.client.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let stall = &catalogue::HELLO_WORLD;
        let model = stall.model();
        publish::ensure_model(client, &model, NewModel::public(stall.description)).await?;
        let path = format!("{}/versions", model_path(&model));
        let version: Version = client.post(&path, &hello_world::version()).await.context("hello-world cannot be published")?;
        self.dress(client, stall, &version).await
    }

    /// The others, one after the other; one that cannot be had says what it waits for and keeps nobody else waiting.
    pub async fn open_the_rest(&self, stop: &CancellationToken) {
        for stall in catalogue::WITH_WEIGHTS {
            tokio::select! {
                opened = self.open_stall(stall) => match opened {
                    Ok(()) => {}
                    Err(error) => show::note(&format!(
                        "{}/{} waits: {error:#}. The next start tries again; everything else works",
                        OPERATOR, stall.name
                    )),
                },
                () = stop.cancelled() => return,
            }
        }
    }

    async fn open_stall(&self, stall: &Stall) -> anyhow::Result<()> {
        let client = self.client.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let root = self.folder.join(stall.name);
        let opened = root.with_extension("opened");
        let shipped = stall.digest().to_string();
        if std::fs::read_to_string(&opened).is_ok_and(|kept| kept == shipped) {
            return Ok(());
        }
        stall.unpack(&root)?;
        weights::fetch(stall.source()?, &root, &self.settings, &self.bars).await?;
        let tools = Tools { home: self.settings.home.clone(), search_path: self.settings.search_path.clone() };
        let reading = self.bars.count(stall.name);
        let project = Project::read(&root, &tools, &reading).await?;
        reading.finish_and_clear();
        let model = stall.model();
        let publication = Publication { client, home: &self.settings.home, model: &model, project: &project };
        let plan = publication.plan().await?;
        let published = publication.carry_out(plan, NewModel::public(stall.description), &self.bars).await?;
        self.dress(client, stall, &published.version).await?;
        std::fs::write(opened, shipped)?;
        show::note(&format!("{model} is open"));
        Ok(())
    }

    /// Gives a model its page: README, cover, and an example that was really run.
    async fn dress(&self, client: &Client, stall: &Stall, version: &Version) -> anyhow::Result<()> {
        let model = stall.model();
        let path = model_path(&model);
        let shown: Value = client.get(&path).await?;
        let dressed = shown["cover_image_url"].is_string() && shown["default_example"]["version"] == version.id.as_str();
        if dressed {
            return Ok(());
        }
        let page =
            json!({"description": stall.description, "readme": stall.readme()?, "cover_image_url": stall.cover()?, "task": stall.task});
        let patched = client.request(reqwest::Method::PATCH, &path).json(&page);
        client.send(patched).await?;
        let input = self.example_input(client, stall).await?;
        let example = self.run(client, &model, version, &input).await?;
        let patched = client.request(reqwest::Method::PATCH, &path).json(&json!({"default_example": example.id}));
        client.send(patched).await?;
        self.shelve(client, stall).await
    }

    /// Puts a model into its collection, which is made for the first that comes.
    async fn shelve(&self, client: &Client, stall: &Stall) -> anyhow::Result<()> {
        let Some(collection) = stall.shelf() else { return Ok(()) };
        let path = format!("/v1/collections/{}", collection.slug);
        let model = stall.model();
        match client.get::<Collection>(&path).await {
            Ok(there) => {
                let names = there.models.unwrap_or_default().into_iter().map(|shown| format!("{}/{}", shown.owner, shown.name));
                let mut names: Vec<String> = names.collect();
                if !names.contains(&model.to_string()) {
                    names.push(model.to_string());
                    client.send(client.request(reqwest::Method::PATCH, &path).json(&json!({"models": names}))).await?;
                }
            }
            Err(ClientError::Refused(problem)) if problem.status == 404 => {
                let new = json!({"slug": collection.slug, "name": collection.name, "description": collection.description, "models": [model.to_string()]});
                client.post::<Collection>("/v1/collections", &new).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The example's input, its file uploaded as a caller would.
    async fn example_input(&self, client: &Client, stall: &Stall) -> anyhow::Result<Value> {
        let mut input = stall.example()?;
        for value in input.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
            if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
                let part = reqwest::multipart::Part::bytes(stall.file(name)?.to_vec()).file_name(name.to_owned());
                let form = reqwest::multipart::Form::new().part("content", part);
                let file: protocol::api::File = client.answer(client.request(reqwest::Method::POST, "/v1/files").multipart(form)).await?;
                *value = Value::from(file.urls.get);
            }
        }
        Ok(input)
    }

    async fn run(&self, client: &Client, model: &ModelRef, version: &Version, input: &Value) -> anyhow::Result<Prediction> {
        let waiting = self.bars.wait(&format!("{model} runs its example"));
        let order = json!({"version": format!("{model}:{}", version.id), "input": input});
        let asked = client.request(reqwest::Method::POST, "/v1/predictions").header("prefer", "wait").json(&order);
        let mut prediction: Prediction = client.answer(asked).await?;
        while !prediction.status.is_terminal() {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            prediction = client.get(&format!("/v1/predictions/{}", prediction.id)).await?;
        }
        waiting.finish_and_clear();
        match prediction.status {
            Status::Succeeded => Ok(prediction),
            _ => anyhow::bail!("its example ended as {}: {}", prediction.status.name(), prediction.error.unwrap_or_default()),
        }
    }
}
