//! A prediction's output, put together from chunks that are numbered and may be missed.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::backlog::{Backlog, OUTPUT_BYTES_MAX, OutputTooLarge};

#[derive(Debug)]
pub struct Outputs {
    shape: Shape,
    /// Chunks told on.
    told: u64,
    /// What the model said in them.
    said: DefaultHasher,
    /// Elements of a list that is not an iterator: they are told at the end, as one.
    elements: Vec<Value>,
    elements_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Each chunk is told as it comes.
    Iterator,
    /// Cog sends a chunk for each element; callers are owed one list.
    List,
    Single,
}

impl Outputs {
    pub fn new(schema: &Value) -> Self {
        let shape = match schema["type"].as_str() {
            Some("array") if schema["x-cog-array-type"] == "iterator" => Shape::Iterator,
            Some("array") => Shape::List,
            _ => Shape::Single,
        };
        Self { shape, told: 0, said: DefaultHasher::new(), elements: Vec::new(), elements_bytes: 0 }
    }

    /// What the schema says of one chunk.
    pub fn schema<'a>(&self, whole: &'a Value) -> &'a Value {
        match self.shape {
            Shape::Single => whole,
            Shape::Iterator | Shape::List => &whole["items"],
        }
    }

    /// Whether the chunk follows the one before; a later one waits for the end, when the missed ones are known.
    pub const fn is_next(&self, index: Option<u64>) -> bool {
        match index {
            Some(index) => index == self.told,
            None => true,
        }
    }

    /// Takes note of a chunk as the model said it, before it is told.
    pub fn note(&mut self, chunk: &Value) {
        chunk.to_string().hash(&mut self.said);
    }

    /// Whether nothing can follow: a model that is no iterator has returned when its one output comes.
    pub fn are_whole(&self) -> bool {
        self.shape == Shape::Single && self.told > 0
    }

    pub fn tell(&mut self, backlog: &Backlog, chunk: Value) -> Result<(), OutputTooLarge> {
        self.told += 1;
        let bytes = json_bytes(&chunk);
        if self.shape != Shape::List {
            return backlog.output(chunk, bytes);
        }
        self.elements_bytes += bytes;
        if self.elements_bytes > OUTPUT_BYTES_MAX {
            return Err(OutputTooLarge);
        }
        self.elements.push(chunk);
        Ok(())
    }

    /// What of the whole output has not been told; `None` when it does not begin with what has.
    pub fn missed(&self, output: Option<Value>) -> Option<Vec<Value>> {
        let mut whole = match output {
            Some(Value::Array(chunks)) if self.shape != Shape::Single => chunks,
            Some(output) => vec![output],
            None => Vec::new(),
        };
        let told = usize::try_from(self.told).ok().filter(|told| *told <= whole.len())?;
        let mut said = DefaultHasher::new();
        for chunk in &whole[..told] {
            chunk.to_string().hash(&mut said);
        }
        (said.finish() == self.said.finish()).then(|| whole.split_off(told))
    }

    pub fn finish(&mut self, backlog: &Backlog) -> Result<(), OutputTooLarge> {
        match self.shape {
            Shape::List => backlog.output(Value::Array(std::mem::take(&mut self.elements)), self.elements_bytes),
            Shape::Iterator | Shape::Single => Ok(()),
        }
    }
}

fn json_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| json_bytes(item) + 1).sum::<usize>() + 1,
        Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + json_bytes(field) + 4).sum::<usize>() + 1,
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_chunk_after_a_gap_waits_for_the_summary() {
        let backlog = Backlog::default();
        let mut outputs = Outputs::new(&json!({"type": "array", "items": {}, "x-cog-array-type": "iterator"}));
        assert!(outputs.is_next(Some(0)));
        outputs.note(&json!("a"));
        outputs.tell(&backlog, json!("a")).unwrap();
        assert!(!outputs.is_next(Some(2)));
        assert_eq!(outputs.missed(Some(json!(["a", "b", "c"]))), Some(vec![json!("b"), json!("c")]));
    }

    #[test]
    fn output_that_does_not_begin_with_what_was_told_is_not_spliced() {
        let backlog = Backlog::default();
        let mut outputs = Outputs::new(&json!({"type": "array", "items": {}, "x-cog-array-type": "iterator"}));
        outputs.note(&json!("a"));
        outputs.tell(&backlog, json!("a")).unwrap();
        assert_eq!(outputs.missed(Some(json!(["x", "b"]))), None);
        assert_eq!(outputs.missed(None), None);
    }

    #[test]
    fn a_single_output_that_was_missed_is_told_whole() {
        let backlog = Backlog::default();
        let mut outputs = Outputs::new(&json!({"type": "string"}));
        assert_eq!(outputs.missed(Some(json!("x"))), Some(vec![json!("x")]));
        outputs.note(&json!("x"));
        outputs.tell(&backlog, json!("x")).unwrap();
        assert_eq!(outputs.missed(Some(json!("x"))), Some(Vec::new()));
    }
}
