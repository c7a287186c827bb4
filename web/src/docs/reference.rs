//! An `OpenAPI` document as a page: its routes by subject, then its objects.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use crate::markdown;

/// What a route is listed under when it names no subject.
const UNTAGGED: &str = "Other";

/// `x-query` is the method QUERY, for which `OpenAPI` 3.1 has no name.
const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "x-query"];

/// One method of one path.
struct Operation<'d> {
    method: &'static str,
    path: &'d str,
    body: &'d Value,
}

pub(super) fn render(document: &Value) -> Markup {
    let subjects = subjects(document);
    html! {
        div.reference {
            nav.index aria-label="Subjects" {
                @for (at, subject) in subjects.keys().enumerate() { a href={ "#s" (at) } { (subject) } }
                a href="#objects" { "Objects" }
            }
            div {
                h1 { (document["info"]["title"].as_str().unwrap_or("API")) small { (document["info"]["version"].as_str().unwrap_or("")) } }
                @if let Some(text) = document["info"]["description"].as_str() { div.prose { (markdown::render(text, "")) } }
                p.quiet { "Send " code { "Authorization: Bearer fe_…" } " with every call. Errors are " code { "application/problem+json" } " with a " code { "detail" } " that says what to do. " a href="/openapi.json" { "The same for machines" } }
                @for (at, (subject, operations)) in subjects.iter().enumerate() {
                    h2 id={ "s" (at) } { (subject) }
                    @for operation in operations { (route(document, operation)) }
                }
                h2 #objects { "Objects" }
                @for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() { (object(name, schema)) }
            }
        }
    }
}

fn subjects(document: &Value) -> BTreeMap<&str, Vec<Operation<'_>>> {
    let mut subjects = BTreeMap::<&str, Vec<Operation<'_>>>::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(body) = methods.get(method) {
                let subject = body["tags"][0].as_str().unwrap_or(UNTAGGED);
                subjects.entry(subject).or_default().push(Operation { method: method.trim_start_matches("x-"), path, body });
            }
        }
    }
    subjects
}

fn route(document: &Value, operation: &Operation<'_>) -> Markup {
    let Operation { method, path, body } = operation;
    let request = content(&body["requestBody"]);
    html! {
        details.route {
            summary { span class={ "method " (method) } { (method.to_uppercase()) } code { (path) } span.quiet { (body["summary"].as_str().or_else(|| first_line(body)).unwrap_or("")) } }
            div.inside {
                @if let Some(text) = body["description"].as_str() { div.prose { (markdown::render(text, "")) } }
                @if let Some(parameters) = body["parameters"].as_array().filter(|parameters| !parameters.is_empty()) {
                    h4 { "Parameters" }
                    dl.inputs {
                        @for parameter in parameters {
                            dt { code { (parameter["name"].as_str().unwrap_or("")) } " " small { (parameter["in"].as_str().unwrap_or("")) @if parameter["required"] == true { ", required" } } }
                            dd { (parameter["description"].as_str().unwrap_or("")) " " span.quiet { (kind(&parameter["schema"])) } }
                        }
                    }
                }
                @if let Some((media, schema)) = request { h4 { "Body" } p { code { (media) } " " (kind(schema)) } @if let Some(example) = example(&body["requestBody"]) { pre.code { code { (example) } } } }
                h4 { "Answers" }
                dl.inputs {
                    @for (status, answer) in body["responses"].as_object().into_iter().flatten() {
                        @let answer = followed(document, answer);
                        dt { code { (status) } }
                        dd { (answer["description"].as_str().unwrap_or("")) @if let Some((_, schema)) = content(answer) { " " span.quiet { (kind(schema)) } } }
                    }
                }
            }
        }
    }
}

/// What a body looks like, where the contract shows it.
fn example(body: &Value) -> Option<String> {
    let shown = body["content"].as_object()?.values().find_map(|content| content.get("example"))?;
    Some(shown.as_str().map_or_else(|| format!("{shown:#}"), ToOwned::to_owned))
}

fn object(name: &str, schema: &Value) -> Markup {
    let required = |field: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == field));
    html! {
        details.route id={ "o-" (name) } {
            summary { code { (name) } span.quiet { (first_line(schema).unwrap_or("")) } }
            div.inside {
                dl.inputs {
                    @for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                        dt { code { (field) } " " small { (kind(property)) @if required(field) { ", always" } } }
                        dd { (property["description"].as_str().unwrap_or("")) }
                    }
                }
                @if let Some(words) = schema["enum"].as_array() { p { "One of: " @for word in words { code { (word) } " " } } }
            }
        }
    }
}

fn first_line(schema: &Value) -> Option<&str> {
    schema["description"].as_str().and_then(|text| text.lines().next())
}

/// The first kind of content of a body or an answer, and its schema.
fn content(body: &Value) -> Option<(&str, &Value)> {
    let (media, content) = body["content"].as_object()?.iter().next()?;
    Some((media, &content["schema"]))
}

/// An answer, or the one of the document's own that it refers to.
fn followed<'d>(document: &'d Value, answer: &'d Value) -> &'d Value {
    let named = answer["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    named.map_or(answer, |name| &document["components"]["responses"][name])
}

/// The type of a schema in words; an object of its own is a link.
fn kind(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return html! { a href={ "#o-" (name) } { (name) } };
    }
    let members = ["oneOf", "anyOf", "allOf"].into_iter().find_map(|key| schema[key].as_array());
    html! {
        @if let Some(members) = members {
            @for (at, member) in members.iter().enumerate() { @if at > 0 { " or " } (kind(member)) }
        } @else if schema["type"] == "array" { "list of " (kind(&schema["items"])) }
        @else if let Some(types) = schema["type"].as_array() {
            @for (at, each) in types.iter().filter_map(Value::as_str).enumerate() { @if at > 0 { " or " } (each) }
        } @else { (schema["type"].as_str().unwrap_or("any")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_stand_under_their_subject_with_parameters_bodies_and_answers() {
        let document = serde_json::json!({
            "info": {"title": "Feira", "version": "0.1.0"},
            "paths": {"/v1/predictions": {"post": {
                "tags": ["predictions"], "summary": "Runs a version.",
                "parameters": [{"name": "Prefer", "in": "header", "schema": {"type": ["string", "null"]}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewPrediction"}}}},
                "responses": {"201": {"description": "Accepted"}, "422": {"$ref": "#/components/responses/Problem"}}
            }}},
            "components": {
                "schemas": {"NewPrediction": {"properties": {"input": {"type": "object"}}, "required": ["input"]}},
                "responses": {"Problem": {"description": "What went wrong"}}
            }
        });
        let page = render(&document).into_string();
        for part in [
            "predictions",
            "Runs a version.",
            "string or null",
            r##"href="#o-NewPrediction""##,
            "Accepted",
            "What went wrong",
            "object, always",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
