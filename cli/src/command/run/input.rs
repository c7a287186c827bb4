//! `key=value` to JSON, by the version's schema: a text stays a text, a number becomes one, `@path` becomes an uploaded file.

use std::path::PathBuf;

use anyhow::Context as _;
use protocol::api::File;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value};

use crate::client::Client;
use crate::exit::{Usage, usage};

/// One value as it was written, understood but not sent.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Value(Value),
    Upload(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
enum Given {
    One(Item),
    Many(Vec<Item>),
}

/// Reads all inputs by the schema of this name, then uploads the files among them.
pub(in crate::command) async fn read(
    client: &Client,
    document: &Value,
    schema: &str,
    pairs: &[String],
) -> anyhow::Result<Map<String, Value>> {
    let mut input = Map::new();
    for (key, given) in parse(document, schema, pairs)? {
        let value = match given {
            Given::One(item) => settle(client, item).await?,
            Given::Many(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(settle(client, item).await?);
                }
                values.into()
            }
        };
        input.insert(key, value);
    }
    Ok(input)
}

async fn settle(client: &Client, item: Item) -> anyhow::Result<Value> {
    match item {
        Item::Value(value) => Ok(value),
        Item::Upload(path) => {
            let part = Part::file(&path).await.map_err(|error| usage(format!("{} cannot be read: {error}", path.display())))?;
            let request = client.slow_request(Method::POST, "/v1/files").multipart(Form::new().part("content", part));
            let file: File = client.answer(request).await.with_context(|| format!("{} was not taken", path.display()))?;
            Ok(file.urls.get.into())
        }
    }
}

fn parse(document: &Value, schema: &str, pairs: &[String]) -> Result<Vec<(String, Given)>, Usage> {
    let schema = &document["components"]["schemas"][schema];
    let mut inputs: Vec<(String, Given)> = Vec::new();
    for pair in pairs {
        let (key, text) = pair.split_once('=').ok_or_else(|| Usage(format!("`{pair}` is not KEY=VALUE")))?;
        let property = find_property(document, schema, key)?;
        let given = read_value(document, &property, key, text)?;
        let known = inputs.iter_mut().find_map(|(name, given)| (name == key).then_some(given));
        match (known, given) {
            // A list may be written one item at a time: file=@a file=@b.
            (Some(Given::Many(items)), Given::Many(more)) => items.extend(more),
            (Some(_), _) => return Err(Usage(format!("`{key}` is given twice"))),
            (None, given) => inputs.push((key.to_owned(), given)),
        }
    }
    Ok(inputs)
}

/// The schema of one input, its references followed; an empty one where the model takes any input.
fn find_property(document: &Value, schema: &Value, key: &str) -> Result<Value, Usage> {
    if let Some(property) = schema["properties"].get(key) {
        return Ok(resolve(document, property).clone());
    }
    let known: Vec<_> = schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    if known.is_empty() || schema["additionalProperties"] == true {
        return Ok(Value::Null);
    }
    Err(Usage(format!("the model takes no `{key}`; it takes {}", known.join(", "))))
}

fn resolve<'a>(document: &'a Value, property: &'a Value) -> &'a Value {
    let reference = property["$ref"].as_str().or_else(|| property["allOf"][0]["$ref"].as_str());
    let name = reference.and_then(|reference| reference.strip_prefix("#/components/schemas/"));
    name.and_then(|name| document["components"]["schemas"].get(name)).unwrap_or(property)
}

fn read_value(document: &Value, property: &Value, key: &str, text: &str) -> Result<Given, Usage> {
    if property["type"] != "array" {
        return read_item(property, key, text).map(Given::One);
    }
    if text.starts_with('[') {
        let items: Vec<Value> = serde_json::from_str(text).map_err(|error| Usage(format!("`{key}` is not a JSON list: {error}")))?;
        return Ok(Given::Many(items.into_iter().map(Item::Value).collect()));
    }
    Ok(Given::Many(vec![read_item(resolve(document, &property["items"]), key, text)?]))
}

fn read_item(property: &Value, key: &str, text: &str) -> Result<Item, Usage> {
    let kind = property["type"].as_str();
    let takes_files = property["format"] == "uri" || property.is_null();
    if let Some(path) = text.strip_prefix('@').filter(|_| takes_files) {
        return Ok(Item::Upload(PathBuf::from(path)));
    }
    let parsed = || serde_json::from_str::<Value>(text).ok();
    let value = match kind {
        Some("string") => Some(Value::from(text)),
        Some("integer") => parsed().filter(|value| value.is_i64() || value.is_u64()),
        Some("number") => parsed().filter(Value::is_number),
        Some("boolean") => parsed().filter(Value::is_boolean),
        Some("object") => parsed().filter(|value| value.is_object() || property["properties"].is_null()),
        _ => parsed().or_else(|| Some(Value::from(text))),
    };
    let none = property["nullable"] == true && text == "null" && kind != Some("string");
    let value = if none { Some(Value::Null) } else { value };
    let wanted = match kind {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        _ => "a JSON object",
    };
    value.map(Item::Value).ok_or_else(|| Usage(format!("`{key}` is {wanted}, not `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "Input": {"type": "object", "properties": {
                "text": {"type": "string"}, "n": {"type": "integer"}, "x": {"type": "number", "nullable": true}, "b": {"type": "boolean"},
                "image": {"type": "string", "format": "uri"}, "images": {"type": "array", "items": {"type": "string", "format": "uri"}},
                "words": {"type": "array", "items": {"type": "string"}}, "o": {"type": "object"}, "size": {"allOf": [{"$ref": "#/components/schemas/size"}]}}},
            "size": {"enum": [1, 2], "type": "integer"},
        }}})
    }

    fn parsed(pairs: &[&str]) -> Result<Vec<(String, Given)>, String> {
        let pairs: Vec<_> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        parse(&document(), "Input", &pairs).map_err(|error| error.0)
    }

    fn one(value: Value) -> Given {
        Given::One(Item::Value(value))
    }

    #[test]
    fn values_get_the_type_that_the_schema_names() {
        for (pair, given) in [
            ("text=42", one(json!("42"))),
            ("text=@handle", one(json!("@handle"))),
            ("text=a=b", one(json!("a=b"))),
            ("text=", one(json!(""))),
            ("n=42", one(json!(42))),
            ("x=1e3", one(json!(1e3))),
            ("x=null", one(Value::Null)),
            ("b=true", one(json!(true))),
            ("size=2", one(json!(2))),
            ("o={\"a\":[1]}", one(json!({"a": [1]}))),
            ("image=https://x.example/a.png", one(json!("https://x.example/a.png"))),
            ("image=@a b.png", Given::One(Item::Upload("a b.png".into()))),
            ("words=[\"a\",\"b\"]", Given::Many(vec![Item::Value(json!("a")), Item::Value(json!("b"))])),
        ] {
            let key = pair.split_once('=').unwrap().0.to_owned();
            assert_eq!(parsed(&[pair]), Ok(vec![(key, given)]), "{pair}");
        }
    }

    #[test]
    fn a_list_may_be_written_one_item_at_a_time() {
        let items = vec![Item::Upload("a".into()), Item::Value(json!("https://b.example"))];
        assert_eq!(parsed(&["images=@a", "images=https://b.example"]), Ok(vec![("images".to_owned(), Given::Many(items))]));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_sent() {
        for (pairs, said) in [
            (&["n=4.5"][..], "`n` is a whole number, not `4.5`"),
            (&["x=many"], "`x` is a number, not `many`"),
            (&["b=yes"], "`b` is true or false, not `yes`"),
            (&["size=big"], "`size` is a whole number, not `big`"),
            (&["text"], "`text` is not KEY=VALUE"),
            (&["n=1", "n=2"], "`n` is given twice"),
        ] {
            assert_eq!(parsed(pairs), Err(said.to_owned()));
        }
        assert!(parsed(&["txt=a"]).unwrap_err().starts_with("the model takes no `txt`; it takes "));
    }

    #[test]
    fn a_model_without_a_schema_takes_what_it_is_given() {
        let pairs = ["a=1".to_owned(), "b=word".to_owned(), "c=@file".to_owned()];
        let given = parse(&json!({}), "Input", &pairs).unwrap();
        assert_eq!(given[0].1, one(json!(1)));
        assert_eq!(given[1].1, one(json!("word")));
        assert_eq!(given[2].1, Given::One(Item::Upload("file".into())));
    }
}
