//! What a model records of itself: Cog sends changes, callers are told values.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// Entries of a list that a model appends to.
const APPENDED_MAX: usize = 1_024;
/// How deep a dotted name goes.
const PARTS_MAX: usize = 8;

#[derive(Debug, Default)]
pub struct Metrics(Map<String, Value>);

#[derive(Deserialize)]
struct Change {
    name: String,
    value: Value,
    #[serde(default)]
    mode: Mode,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Replace,
    Increment,
    Append,
}

impl Metrics {
    /// Applies a change. Returns the metric that it concerns and its whole value; a dotted name is a field of an object.
    pub fn record(&mut self, data: &[u8]) -> Option<(String, Value)> {
        let Change { name, value, mode } = serde_json::from_slice(data).ok()?;
        let (top, rest) = name.split_once('.').map_or((name.as_str(), None), |(top, rest)| (top, Some(rest)));
        let mut place = self.0.entry(top).or_insert(Value::Null);
        for part in rest.into_iter().flat_map(|rest| rest.splitn(PARTS_MAX, '.')) {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[part];
        }
        apply(place, value, mode);
        Some((top.to_owned(), self.0[top].clone()))
    }
}

fn apply(place: &mut Value, value: Value, mode: Mode) {
    match (mode, &mut *place) {
        (Mode::Increment, Value::Number(before)) => {
            if let Value::Number(more) = &value
                && let Some(sum) = add(before, more)
            {
                *before = sum;
            }
        }
        (Mode::Append, Value::Array(list)) => {
            if list.len() < APPENDED_MAX {
                list.push(value);
            }
        }
        (Mode::Append, _) => *place = Value::Array(vec![value]),
        (Mode::Replace | Mode::Increment, _) => *place = value,
    }
}

fn add(a: &Number, b: &Number) -> Option<Number> {
    let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b)).map(Number::from);
    whole.or_else(|| Number::from_f64(a.as_f64()? + b.as_f64()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(metrics: &mut Metrics, change: &Value) -> (String, Value) {
        metrics.record(change.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn changes_add_up_to_values() {
        let mut metrics = Metrics::default();
        record(&mut metrics, &json!({"name": "tokens", "value": 3, "mode": "increment"}));
        assert_eq!(record(&mut metrics, &json!({"name": "tokens", "value": 4, "mode": "increment"})), ("tokens".into(), json!(7)));
        record(&mut metrics, &json!({"name": "list", "value": "a", "mode": "append"}));
        assert_eq!(record(&mut metrics, &json!({"name": "list", "value": "b", "mode": "append"})).1, json!(["a", "b"]));
        record(&mut metrics, &json!({"name": "timing.load", "value": 0.5, "mode": "replace"}));
        assert_eq!(record(&mut metrics, &json!({"name": "timing.run", "value": 1})), ("timing".into(), json!({"load": 0.5, "run": 1})));
    }
}
