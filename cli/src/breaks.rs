//! What a new schema breaks for those who call the current one: pure, from two `OpenAPI` documents to a list.
//!
//! A caller is broken when an input that was taken is taken no longer, or when an output comes that could not come before. What only
//! opens up (a new optional input, a wider range, a narrower output) is no break.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// References that are followed one after another before a schema counts as saying nothing.
const REFERENCES_MAX: usize = 16;
/// Lists within lists that are looked into.
const DEPTH_MAX: usize = 8;
const TYPES: [&str; 6] = ["array", "boolean", "null", "number", "object", "string"];

/// One thing that callers of the current version will stumble over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Break {
    InputRemoved { input: String },
    InputRequired { input: String },
    InputNarrowed { input: String, how: String },
    OutputChanged { was: String, is: String },
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputRemoved { input } => write!(f, "the input `{input}` is gone: it will be ignored"),
            Self::InputRequired { input } => write!(f, "the input `{input}` must now be given"),
            Self::InputNarrowed { input, how } => write!(f, "the input `{input}` {how}"),
            Self::OutputChanged { was, is } => write!(f, "the output was {was}, and is now {is}"),
        }
    }
}

/// Compares the current version's document with the new one's.
pub fn breaks(was: &Value, is: &Value) -> Vec<Break> {
    let (was, is) = (Document(was), Document(is));
    let mut found = input_breaks(&was, &is);
    let (old, new) = (was.schema("Output"), is.schema("Output"));
    let (told_old, told_new) = (was.told(&old, 0), is.told(&new, 0));
    if !is.narrowings(&new, &was, &old, 0).is_empty() {
        found.push(Break::OutputChanged { was: told_old, is: told_new });
    }
    found
}

fn input_breaks(was: &Document<'_>, is: &Document<'_>) -> Vec<Break> {
    let (old, new) = (was.schema("Input"), is.schema("Input"));
    let (old_required, new_required) = (required(&old), required(&new));
    let mut found = Vec::new();
    for (name, property) in properties(&old) {
        let Some(now) = new["properties"].get(name) else {
            found.push(Break::InputRemoved { input: name.clone() });
            continue;
        };
        let (property, now) = (was.open(property), is.open(now));
        let how = was.narrowings(&property, is, &now, 0);
        found.extend(how.into_iter().map(|how| Break::InputNarrowed { input: name.clone(), how }));
    }
    let newly = new_required.difference(&old_required).filter(|name| new["properties"].get(**name).is_some());
    found.extend(newly.map(|name| Break::InputRequired { input: (*name).to_owned() }));
    found
}

/// An `OpenAPI` document, in which schemas refer to each other.
struct Document<'d>(&'d Value);

impl Document<'_> {
    fn schema(&self, name: &str) -> Value {
        self.open(&self.0["components"]["schemas"][name])
    }

    /// A schema with its own reference followed, and with what `allOf` adds to it. What its items refer to stays.
    fn open(&self, schema: &Value) -> Value {
        let mut open = schema.clone();
        for _ in 0..REFERENCES_MAX {
            let Value::Object(mut fields) = open else { break };
            let reference = fields.remove("$ref");
            let all = fields.remove("allOf");
            if reference.is_none() && all.is_none() {
                return Value::Object(fields);
            }
            let named = reference.as_ref().and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
            let named = named.map(|name| &self.0["components"]["schemas"][name]);
            let parts = named.into_iter().chain(all.as_ref().and_then(Value::as_array).into_iter().flatten());
            for (key, value) in parts.filter_map(Value::as_object).flatten() {
                fields.entry(key.clone()).or_insert_with(|| value.clone());
            }
            open = Value::Object(fields);
        }
        Value::Object(Map::new())
    }

    /// The alternatives of a schema: those of `anyOf` or `oneOf`, or the schema alone.
    fn alternatives(&self, schema: &Value) -> Vec<Value> {
        let listed = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
        listed.map_or_else(|| vec![schema.clone()], |listed| listed.iter().map(|each| self.open(each)).collect())
    }

    fn types(&self, schema: &Value) -> BTreeSet<String> {
        let mut types = BTreeSet::new();
        for each in self.alternatives(schema) {
            match &each["type"] {
                Value::String(name) => drop(types.insert(name.clone())),
                Value::Array(names) => types.extend(names.iter().filter_map(Value::as_str).map(ToOwned::to_owned)),
                _ => match each["enum"].as_array() {
                    Some(choices) => types.extend(choices.iter().map(|choice| type_of(choice).to_owned())),
                    None => types.extend(TYPES.map(ToOwned::to_owned)),
                },
            }
            if each["nullable"] == true {
                types.insert("null".to_owned());
            }
        }
        if schema["nullable"] == true {
            types.insert("null".to_owned());
        }
        if types.contains("number") {
            types.insert("integer".to_owned());
        }
        types
    }

    /// How `then`, of another document, takes less than `now` does: in words, one for each way.
    fn narrowings(&self, now: &Value, other: &Document<'_>, then: &Value, depth: usize) -> Vec<String> {
        let (before, after) = (self.types(now), other.types(then));
        if !before.is_subset(&after) {
            return vec![format!("was {}, and is now {}", self.told(now, depth), other.told(then, depth))];
        }
        let mut ways = Vec::new();
        if let Some(choices) = then["enum"].as_array() {
            let offered = now["enum"].as_array();
            let gone: Vec<String> =
                offered.into_iter().flatten().filter(|choice| !choices.contains(choice)).map(Value::to_string).collect();
            match offered {
                None => ways.push("now takes only some choices".to_owned()),
                Some(_) if !gone.is_empty() => ways.push(format!("no longer takes {}", gone.join(", "))),
                Some(_) => {}
            }
        }
        ways.extend(["minimum", "minLength", "minItems"].into_iter().filter_map(|bound| moved(now, then, bound, |old, new| new > old)));
        ways.extend(["maximum", "maxLength", "maxItems"].into_iter().filter_map(|bound| moved(now, then, bound, |old, new| new < old)));
        ways.extend(["pattern", "format"].into_iter().filter_map(|rule| {
            let new = then[rule].as_str()?;
            (now[rule] != then[rule]).then(|| format!("must now have the {rule} `{new}`"))
        }));
        if depth < DEPTH_MAX && now["items"].is_object() && then["items"].is_object() {
            let (now, then) = (self.open(&now["items"]), other.open(&then["items"]));
            ways.extend(self.narrowings(&now, other, &then, depth + 1).into_iter().map(|how| format!("in its items {how}")));
        }
        ways
    }

    /// A schema in a word or two.
    fn told(&self, schema: &Value, depth: usize) -> String {
        if depth < DEPTH_MAX && schema["type"] == "array" {
            return format!("a list of {}", self.told(&self.open(&schema["items"]), depth + 1));
        }
        let mut types = self.types(schema);
        if TYPES.iter().all(|name| types.contains(*name)) {
            return "anything".to_owned();
        }
        if types.contains("number") {
            types.remove("integer");
        }
        let told = types.into_iter().collect::<Vec<_>>().join(" or ");
        match schema["format"].as_str() {
            Some(format) => format!("{told} ({format})"),
            None => told,
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A bound that is new, or stands where it leaves less room.
fn moved(now: &Value, then: &Value, bound: &str, narrows: fn(f64, f64) -> bool) -> Option<String> {
    let new = then[bound].as_f64()?;
    match now[bound].as_f64() {
        Some(old) if !narrows(old, new) => None,
        Some(_) => Some(format!("has {} as its {bound}, which was {}", then[bound], now[bound])),
        None => Some(format!("now has {} as its {bound}", then[bound])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(input: &Value, required: &[&str], output: &Value) -> Value {
        let style = json!({"type": "string", "enum": ["plain", "bold"]});
        let input = json!({"type": "object", "properties": input, "required": required});
        json!({"components": {"schemas": {"Input": input, "Output": output, "style": style}}})
    }

    /// What a change of the input `x` breaks.
    fn of_input(was: &Value, is: &Value) -> Vec<String> {
        let output = json!({"type": "string"});
        let found = breaks(&document(&json!({"x": was}), &[], &output), &document(&json!({"x": is}), &[], &output));
        found.iter().map(ToString::to_string).collect()
    }

    fn of_output(was: &Value, is: &Value) -> Vec<String> {
        let found = breaks(&document(&json!({}), &[], was), &document(&json!({}), &[], is));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn inputs_that_go_and_inputs_that_must_be_given_break() {
        let text = json!({"type": "string"});
        let was = document(&json!({"a": text, "b": text, "c": text}), &["a"], &text);
        let is = document(&json!({"b": text, "c": text, "d": text, "e": text}), &["b", "d"], &text);
        let required = |input: &str| Break::InputRequired { input: input.to_owned() };
        assert_eq!(breaks(&was, &is), [Break::InputRemoved { input: "a".to_owned() }, required("b"), required("d")]);
        assert_eq!(breaks(&was, &was), []);
    }

    #[test]
    fn an_input_that_takes_less_breaks_and_says_how() {
        for (was, is, how) in [
            (json!({"type": "string"}), json!({"type": "integer"}), "was string, and is now integer"),
            (json!({"type": "number"}), json!({"type": "integer"}), "was number, and is now integer"),
            (json!({"type": "string", "nullable": true}), json!({"type": "string"}), "was null or string, and is now string"),
            (json!({}), json!({"type": "string"}), "was anything, and is now string"),
            (json!({"type": "integer"}), json!({"type": "integer", "minimum": 1}), "now has 1 as its minimum"),
            (json!({"type": "integer", "minimum": 0}), json!({"type": "integer", "minimum": 1}), "has 1 as its minimum, which was 0"),
            (json!({"type": "number", "maximum": 2}), json!({"type": "number", "maximum": 1.5}), "has 1.5 as its maximum, which was 2"),
            (json!({"type": "string"}), json!({"type": "string", "maxLength": 9}), "now has 9 as its maxLength"),
            (json!({"type": "string"}), json!({"type": "string", "format": "uri"}), "must now have the format `uri`"),
            (json!({"type": "string"}), json!({"allOf": [{"$ref": "#/components/schemas/style"}]}), "now takes only some choices"),
            (
                json!({"type": "string", "enum": ["plain", "tall"]}),
                json!({"$ref": "#/components/schemas/style"}),
                "no longer takes \"tall\"",
            ),
            (
                json!({"type": "array", "items": {"type": "number"}}),
                json!({"type": "array", "items": {"type": "string"}}),
                "in its items was number, and is now string",
            ),
        ] {
            assert_eq!(of_input(&was, &is), [format!("the input `x` {how}")], "{was} → {is}");
        }
    }

    #[test]
    fn what_only_opens_up_breaks_nothing() {
        for (was, is) in [
            (json!({"type": "integer"}), json!({"type": "number"})),
            (json!({"type": "string"}), json!({"anyOf": [{"type": "string"}, {"type": "null"}]})),
            (json!({"$ref": "#/components/schemas/style"}), json!({"type": "string"})),
            (json!({"type": "integer", "minimum": 1, "maximum": 5}), json!({"type": "integer", "minimum": 0, "maximum": 9})),
            (json!({"type": "string", "description": "old", "default": "a"}), json!({"type": "string", "description": "new"})),
            (json!({"type": "string", "format": "uri"}), json!({"type": "string"})),
        ] {
            assert_eq!(of_input(&was, &is), Vec::<String>::new(), "{was} → {is}");
        }
    }

    #[test]
    fn an_output_that_could_not_come_before_breaks() {
        let (text, words) = (json!({"type": "string"}), json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(of_output(&text, &words), ["the output was string, and is now a list of string"]);
        assert_eq!(of_output(&json!({"type": "integer"}), &json!({"type": "number"})), ["the output was integer, and is now number"]);
        assert_eq!(of_output(&json!({"type": "number"}), &json!({"type": "integer"})), Vec::<String>::new());
        assert_eq!(of_output(&json!({"type": "string", "format": "uri"}), &text), ["the output was string (uri), and is now string"]);
        assert_eq!(of_output(&words, &words), Vec::<String>::new());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let mut was = document(&json!({"x": {"$ref": "#/components/schemas/loop"}}), &[], &json!({}));
        was["components"]["schemas"]["loop"] = json!({"$ref": "#/components/schemas/loop"});
        assert_eq!(breaks(&was, &was), []);
        was["components"]["schemas"]["loop"] = json!({"type": "array", "items": {"$ref": "#/components/schemas/loop"}});
        assert_eq!(breaks(&was, &was), []);
    }
}
