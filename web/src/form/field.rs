//! One input of a version, read from its JSON schema.

use serde_json::{Number, Value};

/// A default longer than this, in characters, is typed in a box of several lines.
const SHORT_CHARS_MAX: usize = 60;

/// Words in a name that promise prose.
const PROSE: [&str; 6] = ["prompt", "text", "message", "instruction", "question", "document"];

#[derive(Debug)]
pub(crate) struct Field {
    pub name: String,
    pub label: String,
    pub help: Option<String>,
    pub kind: Kind,
    pub required: bool,
    pub default: Option<Value>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    LongText,
    Secret,
    Integer(Bounds),
    Number(Bounds),
    Choice(Vec<Value>),
    Boolean,
    /// What a browser should offer, as in `accept`.
    File(Option<String>),
    List,
    Object,
    /// Any JSON.
    Any,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Bounds {
    pub minimum: Option<Number>,
    pub maximum: Option<Number>,
}

impl Field {
    /// Reads a property; `schemas` is where its references lead.
    pub fn new(name: &str, property: &Value, required: bool, schemas: &Value) -> Self {
        let schema = resolved(property, schemas);
        let default = property.get("default").or_else(|| schema.get("default")).filter(|value| !value.is_null()).cloned();
        let kind = kind(name, property, schema, default.as_ref());
        Self {
            name: name.to_owned(),
            label: property["title"].as_str().map_or_else(|| spoken(name), ToOwned::to_owned),
            help: property["description"].as_str().filter(|help| !help.is_empty()).map(ToOwned::to_owned),
            required: required && default.is_none(),
            // A secret that a schema gives away is not handed on.
            default: default.filter(|_| kind != Kind::Secret),
            kind,
        }
    }
}

/// The schema that says the type: behind `$ref`, the one member of `allOf`, or the member of `anyOf` that is not null.
fn resolved<'s>(property: &'s Value, schemas: &'s Value) -> &'s Value {
    let members = || ["allOf", "anyOf", "oneOf"].into_iter().find_map(|key| property[key].as_array());
    let inner = members().and_then(|members| members.iter().find(|member| member["type"] != "null")).unwrap_or(property);
    let referred = inner["$ref"].as_str().and_then(|path| path.rsplit('/').next()).and_then(|name| schemas.get(name));
    referred.unwrap_or(inner)
}

fn kind(name: &str, property: &Value, schema: &Value, default: Option<&Value>) -> Kind {
    if let Some(choices) = schema["enum"].as_array() {
        return Kind::Choice(choices.clone());
    }
    let says = |key: &str| property.get(key).or_else(|| schema.get(key));
    let format = says("format").and_then(Value::as_str);
    let bounds = || {
        let number = |key: &str| says(key).and_then(Value::as_number).cloned();
        Bounds { minimum: number("minimum"), maximum: number("maximum") }
    };
    match schema["type"].as_str() {
        Some("string") if format == Some("password") || says("x-cog-secret") == Some(&Value::Bool(true)) => Kind::Secret,
        Some("string") if format == Some("uri") => Kind::File(says("x-cog-accept").and_then(Value::as_str).map(ToOwned::to_owned)),
        Some("string") if is_prose(name, default) => Kind::LongText,
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer(bounds()),
        Some("number") => Kind::Number(bounds()),
        Some("boolean") => Kind::Boolean,
        Some("array") => Kind::List,
        Some("object") => Kind::Object,
        _ => Kind::Any,
    }
}

fn is_prose(name: &str, default: Option<&Value>) -> bool {
    let default = default.and_then(Value::as_str).unwrap_or_default();
    PROSE.iter().any(|word| name.contains(word)) || default.contains('\n') || default.chars().count() > SHORT_CHARS_MAX
}

/// `num_outputs` as people say it: `Num outputs`.
fn spoken(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Kind {
    /// Its name in the quiet hint beside a label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::LongText => "long text",
            Self::Secret => "secret",
            Self::Integer(_) => "integer",
            Self::Number(_) => "number",
            Self::Choice(_) => "choice",
            Self::Boolean => "boolean",
            Self::File(_) => "file",
            Self::List => "list",
            Self::Object => "object",
            Self::Any => "json",
        }
    }
}

impl Bounds {
    /// `2 to 8`, `at least 2`, `at most 8`.
    pub fn words(&self) -> Option<String> {
        match (&self.minimum, &self.maximum) {
            (Some(low), Some(high)) => Some(format!("{low} to {high}")),
            (Some(low), None) => Some(format!("at least {low}")),
            (None, Some(high)) => Some(format!("at most {high}")),
            (None, None) => None,
        }
    }
}
