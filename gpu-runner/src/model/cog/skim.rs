//! Reads a few fields of a JSON object while it streams by, and keeps nothing of the others.
//!
//! Cog's `completed` repeats all logs and all output of the prediction in one line: a hundred megabytes of prints make a line of a hundred
//! megabytes, of which the runner wants the status.

use std::collections::HashMap;

use serde_json::Value;

/// A name that is cut here is none that is wanted.
const NAME_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    InString,
    /// After a backslash.
    Escaped,
}

#[derive(Debug)]
pub struct Skim {
    wanted: &'static [&'static str],
    bytes_max: usize,
    depth: u32,
    place: Place,
    /// Of the top level: the name that is read, or was read last.
    name: Vec<u8>,
    after_name: bool,
    kept: HashMap<&'static str, Vec<u8>>,
    /// Of the field that is kept now.
    kept_bytes: usize,
    /// The wanted field whose value goes by.
    keeping: Option<&'static str>,
    overflowed: bool,
}

impl Skim {
    /// Keeps the named fields of the object's top level, up to `bytes_max` each.
    pub fn new(wanted: &'static [&'static str], bytes_max: usize) -> Self {
        Self {
            wanted,
            bytes_max,
            depth: 0,
            place: Place::Between,
            name: Vec::new(),
            after_name: false,
            kept: HashMap::new(),
            kept_bytes: 0,
            keeping: None,
            overflowed: false,
        }
    }

    pub fn push(&mut self, piece: &[u8]) {
        for byte in piece {
            self.step(*byte);
        }
    }

    /// The field's value, if it was there, was kept and is JSON.
    pub fn field(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(self.kept.get(name)?).ok()
    }

    /// A wanted field was too large to keep.
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    fn step(&mut self, byte: u8) {
        if self.place != Place::Between {
            self.keep(byte);
            self.place = match (self.place, byte) {
                (Place::InString, b'\\') => Place::Escaped,
                (Place::InString, b'"') => Place::Between,
                _ => Place::InString,
            };
            return;
        }
        match byte {
            b'"' => {
                if self.depth == 1 && !self.after_name {
                    self.name.clear();
                }
                self.keep(byte);
                self.place = Place::InString;
            }
            b'{' | b'[' => {
                self.keep(byte);
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.keeping = None;
                }
                self.keep(byte);
            }
            b':' if self.depth == 1 && !self.after_name => {
                self.after_name = true;
                let name: &[u8] = self.name.strip_suffix(b"\"").unwrap_or(&self.name);
                self.kept_bytes = 0;
                self.keeping = self.wanted.iter().find(|wanted| wanted.as_bytes() == name).copied();
            }
            b',' if self.depth == 1 => {
                self.after_name = false;
                self.keeping = None;
            }
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && !self.after_name {
            if self.place != Place::Between && self.name.len() < NAME_BYTES_MAX {
                self.name.push(byte);
            }
            return;
        }
        let Some(name) = self.keeping else { return };
        self.kept_bytes += 1;
        if self.kept_bytes > self.bytes_max {
            self.overflowed = true;
            self.kept.remove(name);
            self.keeping = None;
            return;
        }
        self.kept.entry(name).or_default().push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn skimmed(text: &[u8], cut: usize) -> Skim {
        let mut skim = Skim::new(&["error", "status", "output"], 1 << 20);
        let (first, second) = text.split_at(cut % (text.len() + 1));
        skim.push(first);
        skim.push(second);
        skim
    }

    #[test]
    fn fields_are_found_among_others_that_look_like_them() {
        let object = json!({
            "error": "it said \"status\": \\ no",
            "id": "status",
            "logs": "{\"status\":\"forged\"},",
            "metrics": {"status": "inner", "list": ["error", {"status": 1}]},
            "output": [1, {"a": "}"}],
            "status": "failed",
        });
        let skim = skimmed(object.to_string().as_bytes(), 17);
        assert_eq!(skim.field("status"), Some(json!("failed")));
        assert_eq!(skim.field("error"), Some(object["error"].clone()));
        assert_eq!(skim.field("output"), Some(object["output"].clone()));
        assert_eq!(skim.field("id"), None);
    }

    #[test]
    fn a_field_that_is_too_large_is_dropped_and_the_rest_is_read() {
        let text = json!({"error": "x".repeat(2_000), "status": "failed"}).to_string();
        let mut skim = Skim::new(&["error", "status"], 1_000);
        skim.push(text.as_bytes());
        assert!(skim.overflowed());
        assert_eq!(skim.field("error"), None);
        assert_eq!(skim.field("status"), Some(json!("failed")));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map("[a-z\"\\\\:,{}]{0,8}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_whole_parser(error in any_json(), logs in any_json(), output in any_json(), pretty in any::<bool>(), cut in any::<usize>()) {
            let object = json!({"error": error, "logs": logs, "output": output, "status": "x"});
            let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.unwrap();
            let skim = skimmed(&text, cut);
            for name in ["error", "output", "status"] {
                prop_assert_eq!(skim.field(name), object.get(name).cloned());
            }
        }
    }
}
