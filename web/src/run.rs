//! A form that was sent: its files go to the API, its text becomes the input, and the browser follows the new run.

use axum::extract::Multipart;
use axum::extract::multipart::MultipartError;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use protocol::problem::InvalidField;
use protocol::{Prediction, Problem};
use serde_json::json;

use crate::api::ApiError;
use crate::form::{Form, Typed};
use crate::model::Address;
use crate::model::playground::{self, Stall};
use crate::upload;
use crate::visit::Visit;

/// Longest text of one field, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 20;

pub(crate) async fn start(visit: Visit, address: Address, multipart: Multipart) -> Result<Response, ApiError> {
    let Sent { typed, version, mut errors } = read(&visit, multipart).await?;
    let stall = Stall::load(&visit, &address, version.as_deref()).await?;
    let Some(version) = stall.version() else {
        return Err(Problem::new(404, "Nothing to run", "no version was pushed to this model yet").into());
    };
    let input = typed.input(&Form::new(&version.openapi_schema)).unwrap_or_else(|wrong| {
        errors.extend(wrong);
        serde_json::Map::new()
    });
    if !errors.is_empty() {
        let problem = Problem::invalid("Input validation failed", errors);
        return Ok(playground::refused(&visit, &stall, &typed, &problem).await.into_response());
    }
    let reference = format!("{}/{}:{}", address.owner, address.name, version.id);
    match visit.api.post::<Prediction>("/v1/predictions", &json!({"version": reference, "input": input, "stream": true})).await {
        Ok(prediction) => Ok(Redirect::to(&format!("/p/{}", prediction.id)).into_response()),
        Err(ApiError::Refused(problem)) => Ok(playground::refused(&visit, &stall, &typed, &problem).await.into_response()),
        Err(error) => Err(error),
    }
}

/// What a browser sent.
#[derive(Default)]
struct Sent {
    typed: Typed,
    version: Option<String>,
    /// Files that the API refused, beside their fields.
    errors: Vec<InvalidField>,
}

async fn read(visit: &Visit, mut multipart: Multipart) -> Result<Sent, ApiError> {
    let mut sent = Sent::default();
    let mut uploaded = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|error| unreadable(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        if let Some(input) = name.strip_prefix("file.") {
            if field.file_name().is_none_or(str::is_empty) {
                continue;
            }
            match upload::pass_on(visit, field).await {
                Ok(file) => uploaded.push((input.to_owned(), file.urls.get)),
                Err(ApiError::Refused(problem)) => {
                    sent.errors.push(InvalidField::new(
                        "file",
                        format!("input.{input}"),
                        format!("The file was refused: {}", problem.detail),
                    ));
                }
                Err(error) => return Err(error),
            }
            continue;
        }
        let text = field.text().await.map_err(|error| unreadable(&error))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(Problem::new(413, "A field is too long", "send long text as a file").into());
        }
        match name.strip_prefix("input.") {
            Some(input) => sent.typed.set(input, text),
            None if name == "version" => sent.version = Some(text),
            None => {}
        }
    }
    // A chosen file counts more than an address that was typed beside it.
    for (input, url) in uploaded {
        sent.typed.set(&input, url);
    }
    Ok(sent)
}

fn unreadable(error: &MultipartError) -> ApiError {
    let status = if error.status() == StatusCode::PAYLOAD_TOO_LARGE { 413 } else { 400 };
    Problem::new(status, "The form could not be read", error.body_text()).into()
}
