//! The model `hello-world`: a process that speaks Cog's HTTP contract, starts in a millisecond and greets.

mod answer;
mod contract;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use protocol::VersionConfig;
use protocol::api::NewVersion;
use protocol::manifest::{Driver, ModelProtocol, Resources, RunLimits};
use protocol::money::Pricing;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::project::openapi;

/// Greetings that one instance gives at a time.
const CONCURRENCY: u32 = 64;
const DELAY_MS_MAX: u64 = 60_000;

/// What is published of it: a version without files, whose command is this binary.
pub fn version() -> NewVersion {
    let signature = json!({"predict": {
        "input": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "title": "Name", "description": "Whom to greet", "default": "world", "x-order": 0},
                "delay_ms": {
                    "type": "integer", "title": "Delay Ms", "description": "How long to think about it, in milliseconds",
                    "default": 0, "minimum": 0, "maximum": DELAY_MS_MAX, "x-order": 1,
                },
            },
        },
        "output": {"type": "string", "title": "Output"},
    }});
    let signature = serde_json::from_value(signature).expect("the signature is well formed");
    let config = VersionConfig {
        protocol: ModelProtocol::Cog,
        driver: Driver::Process,
        command: ["feira", "model", "hello-world"].map(str::to_owned).to_vec(),
        predictor: None,
        trainer: None,
        environment: None,
        concurrency: CONCURRENCY,
        resources: Resources::default(),
        limits: RunLimits::default(),
        hooks: Vec::new(),
        openai: None,
        cog_version: crate::project::COG_VERSION.to_owned(),
        openapi_schema: openapi::document(signature).expect("two inputs have two names"),
        license: Some("Apache-2.0".to_owned()),
    };
    NewVersion { config, files: Vec::new(), pricing: Some(Pricing::Second) }
}

/// Serves at 127.0.0.1 until SIGTERM or a call of `/shutdown`; greetings that have begun are given first.
pub fn serve(port: u16) -> io::Result<()> {
    // One thread: a greeting is a few microseconds, and an idle instance should cost nothing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let greeter = Arc::new(answer::Greeter::new(CONCURRENCY));
        let stop = greeter.stop();
        let stopped = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                () = stop.cancelled() => {}
            }
        };
        axum::serve(listener, contract::router(greeter)).with_graceful_shutdown(stopped).await
    })
}
