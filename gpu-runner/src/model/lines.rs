//! Reads an event stream field by field, so that no line has to be held whole unless it is wanted whole.

use std::error::Error;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// A field's name, before the colon.
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the model's server broke off its stream")]
    BrokenOff(#[source] Box<dyn Error + Send + Sync>),
    #[error("a line of the model's stream is longer than {0} bytes")]
    TooLong(usize),
}

/// The stream's lines, as `name: value`. Comments and empty lines are passed over.
#[derive(Debug)]
pub struct Fields<B = Incoming> {
    body: B,
    buffer: BytesMut,
    /// The value of the field that was named last has not been read to its end.
    in_value: bool,
    /// The one space after the colon has not been passed yet.
    before_space: bool,
}

impl<B> Fields<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), in_value: false, before_space: false }
    }

    /// The next field's name; `None` at the end. What was not read of the value before it is passed over.
    pub async fn name(&mut self) -> Result<Option<String>, StreamError> {
        while self.in_value {
            self.piece().await?;
        }
        loop {
            let Some(end) = self.buffer.iter().position(|byte| matches!(byte, b':' | b'\n')) else {
                if self.buffer.len() > NAME_BYTES_MAX {
                    return Err(StreamError::TooLong(NAME_BYTES_MAX));
                }
                if !self.fill().await? {
                    return Ok(None);
                }
                continue;
            };
            if end > NAME_BYTES_MAX {
                return Err(StreamError::TooLong(NAME_BYTES_MAX));
            }
            let name = String::from_utf8_lossy(&self.buffer[..end]).trim_end_matches('\r').to_owned();
            self.in_value = self.buffer[end] == b':';
            self.before_space = self.in_value;
            self.buffer.advance(end + 1);
            if !name.is_empty() {
                return Ok(Some(name));
            }
            while self.in_value {
                self.piece().await?;
            }
        }
    }

    /// The value of the field that was named last, whole.
    pub async fn value(&mut self, bytes_max: usize) -> Result<Bytes, StreamError> {
        let mut value = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if value.len() + piece.len() > bytes_max {
                return Err(StreamError::TooLong(bytes_max));
            }
            if value.is_empty() && !self.in_value {
                return Ok(piece);
            }
            value.extend_from_slice(&piece);
        }
        Ok(value.freeze())
    }

    /// What has arrived of the value, up to its end; `None` once all of it was returned.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, StreamError> {
        if !self.in_value {
            return Ok(None);
        }
        loop {
            if !self.buffer.is_empty() && std::mem::take(&mut self.before_space) && self.buffer[0] == b' ' {
                self.buffer.advance(1);
            }
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                self.in_value = false;
                let mut piece = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                if piece.last() == Some(&b'\r') {
                    piece.truncate(piece.len() - 1);
                }
                return Ok(Some(piece));
            }
            // A carriage return at the end may belong to the line's end.
            let whole = self.buffer.len() - usize::from(self.buffer.last() == Some(&b'\r'));
            if whole > 0 {
                return Ok(Some(self.buffer.split_to(whole).freeze()));
            }
            if !self.fill().await? {
                self.in_value = false;
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool, StreamError> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        if self.buffer.is_empty() {
                            self.buffer = BytesMut::from(data);
                        } else {
                            self.buffer.extend_from_slice(&data);
                        }
                        return Ok(true);
                    }
                }
                Some(Err(error)) => return Err(StreamError::BrokenOff(error.into())),
                None => return Ok(false),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const STREAM: &str = "event: log\ndata: {\"data\":\"é: x\\n\"}\n\n: keep-alive\n\nevent: completed\r\ndata:{\"a\":1}\r\n\r\ndata: \n";

    fn fields(text: &str, cuts: &[usize]) -> Vec<(String, String)> {
        let mut at = 0;
        let mut pieces = Vec::new();
        for cut in cuts.iter().map(|cut| cut % (text.len() + 1)).collect::<std::collections::BTreeSet<_>>() {
            pieces.push(Bytes::copy_from_slice(&text.as_bytes()[at..cut]));
            at = cut;
        }
        pieces.push(Bytes::copy_from_slice(&text.as_bytes()[at..]));
        let body = StreamBody::new(futures::stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)))));
        let mut fields = Fields::new(body);
        block_on(async {
            let mut read = Vec::new();
            while let Some(name) = fields.name().await.unwrap() {
                read.push((name, String::from_utf8(fields.value(1_000).await.unwrap().to_vec()).unwrap()));
            }
            read
        })
    }

    proptest! {
        #[test]
        fn a_stream_reads_the_same_however_the_network_cuts_it(cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
            let expected = [("event", "log"), ("data", "{\"data\":\"é: x\\n\"}"), ("event", "completed"), ("data", "{\"a\":1}"), ("data", "")];
            let read = fields(STREAM, &cuts);
            prop_assert_eq!(read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_is_held() {
        let body = http_body_util::Full::new(Bytes::from(format!("data: {}\n", "x".repeat(2_000))));
        let mut fields = Fields::new(body);
        block_on(async {
            assert_eq!(fields.name().await.unwrap().as_deref(), Some("data"));
            assert!(matches!(fields.value(1_000).await, Err(StreamError::TooLong(1_000))));
        });
    }
}
