//! A streamed answer: the data of each of its events, from the role to `[DONE]`.

use serde_json::{Value, json};

use super::answer::{Feira, Head, Usage};
use super::ended;
use crate::db::prediction::PredictionRow;
use crate::problem::openai::ErrorBody;

/// What an answer's pieces are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Chat,
    Text,
}

/// The chunks of one answer, in order.
#[derive(Debug)]
pub(crate) struct Chunks {
    shape: Shape,
    head: Value,
    include_usage: bool,
    begun: bool,
}

impl Chunks {
    pub fn new(row: &PredictionRow, model: &str, shape: Shape, include_usage: bool) -> Self {
        let head = match shape {
            Shape::Chat => Head::of(row, model, "chatcmpl", "chat.completion.chunk"),
            Shape::Text => Head::of(row, model, "cmpl", "text_completion"),
        };
        Self { shape, head: serde_json::to_value(head).expect("a head is plain data"), include_usage, begun: false }
    }

    /// What is sent for a piece of the output.
    pub fn text(&mut self, text: &str) -> Vec<String> {
        let mut sent: Vec<String> = self.begin().into_iter().collect();
        if !text.is_empty() {
            sent.push(self.chunk(&self.choice(Some(text), None)).to_string());
        }
        sent
    }

    /// What is sent at the end: why it stopped, the usage where it was asked for, and the end itself; or the error that it was.
    pub fn end(&mut self, row: &PredictionRow) -> Vec<String> {
        if let Some(problem) = ended::problem(row) {
            return vec![serde_json::to_string(&ErrorBody::of(&problem)).expect("an error is plain data")];
        }
        let mut sent: Vec<String> = self.begin().into_iter().collect();
        let mut last = self.chunk(&self.choice(None, Some(ended::finish_reason(row))));
        if self.include_usage {
            sent.push(last.to_string());
            last = self.chunk(&Value::Null);
            last["choices"] = json!([]);
            last["usage"] = json!(Usage::of(row));
        }
        last["feira"] = json!(Feira::of(row));
        sent.push(last.to_string());
        sent.push("[DONE]".to_owned());
        sent
    }

    /// A chat's first chunk says who speaks.
    fn begin(&mut self) -> Option<String> {
        let begun = std::mem::replace(&mut self.begun, true);
        let role =
            json!({"index": 0, "delta": {"role": "assistant", "content": "", "refusal": null}, "logprobs": null, "finish_reason": null});
        (!begun && self.shape == Shape::Chat).then(|| self.chunk(&role).to_string())
    }

    fn choice(&self, text: Option<&str>, finish_reason: Option<&str>) -> Value {
        match self.shape {
            Shape::Chat => {
                let delta = text.map_or_else(|| json!({}), |text| json!({"content": text}));
                json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason})
            }
            Shape::Text => {
                json!({"index": 0, "text": text.unwrap_or_default(), "logprobs": null, "finish_reason": finish_reason})
            }
        }
    }

    fn chunk(&self, choice: &Value) -> Value {
        let mut chunk = self.head.clone();
        chunk["choices"] = json!([choice]);
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use protocol::prediction::State;

    fn ended(state: State) -> PredictionRow {
        let mut row = PredictionRow { state, error: (state == State::Failed).then(|| "boom".to_owned()), ..row() };
        row.metrics.insert("finish_reason".to_owned(), json!("length"));
        row.metrics.insert("input_token_count".to_owned(), json!(3));
        row.metrics.insert("output_token_count".to_owned(), json!(2));
        row
    }

    fn told(shape: Shape, include_usage: bool, row: &PredictionRow) -> Vec<Value> {
        let mut chunks = Chunks::new(row, "a/b", shape, include_usage);
        let sent = [chunks.text("one"), chunks.text(""), chunks.text(" two"), chunks.end(row)].concat();
        sent.iter().map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
    }

    #[test]
    fn a_chat_begins_with_its_role_and_ends_with_its_reason() {
        let sent = told(Shape::Chat, false, &ended(State::Succeeded));
        assert_eq!(sent.len(), 5);
        assert_eq!(sent[0]["object"], "chat.completion.chunk");
        assert_eq!(sent[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(
            (&sent[1]["choices"][0]["delta"], &sent[2]["choices"][0]["delta"]["content"]),
            (&json!({"content": "one"}), &json!(" two"))
        );
        assert_eq!((&sent[3]["choices"][0]["delta"], &sent[3]["choices"][0]["finish_reason"]), (&json!({}), &json!("length")));
        assert!(sent[..4].iter().all(|chunk| chunk.get("usage").is_none()));
        assert!(sent[3]["feira"]["prediction"].is_string());
        assert_eq!(sent[4], "[DONE]");
    }

    #[test]
    fn the_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for() {
        let sent = told(Shape::Text, true, &ended(State::Succeeded));
        assert_eq!(sent.len(), 5);
        assert_eq!((&sent[0]["object"], &sent[0]["choices"][0]["text"]), (&json!("text_completion"), &json!("one")));
        assert!(sent[..3].iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
        assert_eq!(sent[3]["choices"], json!([]));
        assert_eq!(sent[3]["usage"], json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}));
    }

    #[test]
    fn a_failure_ends_the_stream_with_an_error_and_nothing_after_it() {
        let sent = told(Shape::Chat, true, &ended(State::Failed));
        assert_eq!(sent.last().unwrap()["error"]["message"], "boom");
        assert_eq!(sent.last().unwrap()["error"]["code"], "model_error");
    }
}
