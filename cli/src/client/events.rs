//! Server-sent events as `feira run --stream` and `feira logs -f` read them: in order, once each, over broken connections.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Response, Url};

use super::{Client, ClientError};

/// A line of the stream that is longer than this breaks it: an output event is one piece of text.
const LINE_BYTES_MAX: usize = 16 << 20;
const RECONNECTS_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
    pub id: Option<String>,
}

/// One stream, read until its `done`; a connection that breaks is taken up again behind the last event.
#[derive(Debug)]
pub struct EventStream<'a> {
    client: &'a Client,
    url: Url,
    last_id: Option<String>,
    connection: Option<Response>,
    parser: Parser,
    reconnects: u32,
}

impl<'a> EventStream<'a> {
    pub fn open(client: &'a Client, url: Url) -> Self {
        Self { client, url, last_id: None, connection: None, parser: Parser::default(), reconnects: 0 }
    }

    /// The next event; `None` after the `done` that every stream ends with. Cancel safe: what was read is kept.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                self.reconnects = 0;
                self.last_id.clone_from(&event.id);
                return Ok(if event.name == "done" { None } else { Some(event) });
            }
            if let Err(error) = self.read().await {
                if self.reconnects == RECONNECTS_MAX || !error.is_passing() {
                    return Err(error);
                }
                self.reconnects += 1;
                self.connection = None;
                self.parser = Parser { last_id: self.parser.last_id.take(), ..Parser::default() };
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let mut request = self.client.request_anywhere(self.url.clone()).header(ACCEPT, "text/event-stream");
                if let Some(id) = &self.last_id {
                    request = request.header("last-event-id", id);
                }
                none.insert(self.client.send(request).await?)
            }
        };
        let chunk = connection.chunk().await.map_err(|source| self.client.broken(source))?;
        let host = || self.client.endpoint().host();
        // An end without `done` is a server that went away; it says where to resume.
        let chunk = chunk.ok_or_else(|| ClientError::TimedOut { host: host() })?;
        self.parser.push(&chunk);
        if self.parser.line.len() > LINE_BYTES_MAX {
            let problem = protocol::Problem::new(413, "Event too large", format!("an event is longer than {LINE_BYTES_MAX} bytes"));
            return Err(ClientError::Refused(problem));
        }
        Ok(())
    }
}

/// Bytes to events, as <https://html.spec.whatwg.org/multipage/server-sent-events.html> says.
#[derive(Debug, Default)]
struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    last_id: Option<String>,
    ready: std::collections::VecDeque<Event>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            self.end_line(&line);
        }
        self.line.extend_from_slice(rest);
    }

    fn end_line(&mut self, line: &str) {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                let name = if name.is_empty() { "message".to_owned() } else { name };
                self.ready.push_back(Event { name, data, id: self.last_id.clone() });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.last_id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment keeps the connection alive; anything else is for later clients.
            _ => {}
        }
    }

    fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String, Option<String>)> {
        let mut parser = Parser::default();
        for piece in pieces {
            parser.push(piece);
        }
        std::iter::from_fn(|| parser.next()).map(|event| (event.name, event.data, event.id)).collect()
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> (String, String, Option<String>) {
        (name.to_owned(), data.to_owned(), id.map(str::to_owned))
    }

    #[test]
    fn output_keeps_its_spaces_and_line_breaks() {
        let stream = b": keep-alive\n\nevent: output\nid: 1\ndata:  two\ndata:\ndata: lines\n\nevent: done\nid: 2\ndata: {}\n\n";
        let expected = vec![event("output", " two\n\nlines", Some("1")), event("done", "{}", Some("2"))];
        assert_eq!(events(&[stream]), expected);
        for split in 1..stream.len() {
            assert_eq!(events(&[&stream[..split], &stream[split..]]), expected, "split at {split}");
        }
    }

    #[test]
    fn an_unfinished_event_is_none() {
        assert_eq!(events(&[b"event: output\ndata: half"]), vec![]);
        assert_eq!(events(&[b"data: a\r\n\r\n"]), vec![event("message", "a", None)]);
    }

    #[tokio::test]
    async fn a_broken_stream_goes_on_behind_the_last_event() {
        use axum::http::HeaderMap;

        async fn stream(headers: HeaderMap) -> String {
            match headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
                None => "event: output\nid: 1\ndata: a\n\nevent: output\nid: 2\ndata: b\n\nevent: output\nid: 3\ndata: ha".to_owned(),
                Some("2") => "event: output\nid: 3\ndata: half\n\nevent: done\nid: 4\ndata: {}\n\n".to_owned(),
                Some(other) => panic!("resumed behind {other}"),
            }
        }
        let app = axum::Router::new().route("/s", axum::routing::get(stream));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::new(super::super::Endpoint::new(base.clone(), None)).unwrap();
        let mut events = EventStream::open(&client, base.join("/s").unwrap());
        let mut read = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            read.push(event.data);
        }
        assert_eq!(read, ["a", "b", "half"]);
    }
}
