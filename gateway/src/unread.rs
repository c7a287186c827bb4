//! The rest of a request that was answered before it was read: taken from the connection, so that the next request finds it in order.
//!
//! Without this the connection is closed under a client that has just been told 401, and whose next request, sent on that connection, is lost.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;

/// Beyond this it costs less to connect again.
const REST_BYTES_MAX: usize = 1 << 20;
const REST_WITHIN: Duration = Duration::from_secs(5);

/// Layer over everything: bodies that nobody reads to their end are read here, after the answer.
pub(crate) async fn read_the_rest(request: Request, next: Next) -> Response {
    // Who asked whether to send a body at all, and was refused, may not send it.
    if request.headers().contains_key(header::EXPECT) || request.body().is_end_stream() {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Read(body)))).await
}

/// A body that is read to its end even when it is dropped before.
struct Read(Body);

impl HttpBody for Read {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        let is_long = self.0.size_hint().lower() > REST_BYTES_MAX as u64;
        if self.0.is_end_stream() || is_long {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let rest = std::mem::take(&mut self.0);
            runtime.spawn(async move { tokio::time::timeout(REST_WITHIN, discard(rest)).await });
        }
    }
}

async fn discard(mut body: Body) {
    let mut left = REST_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Refuses everything without a look at the body.
    async fn refusing() -> TcpStream {
        let app = Router::new().route("/", post(async || StatusCode::UNAUTHORIZED)).layer(axum::middleware::from_fn(read_the_rest));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        TcpStream::connect(address).await.unwrap()
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await.expect("the connection is open");
            text.push(byte);
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_connection_serves_again_after_a_refusal_that_came_before_the_body() {
        let mut stream = refusing().await;
        let length = 600_000;
        for _ in 0..3 {
            let head = format!("POST / HTTP/1.1\r\nhost: feira\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            assert!(answer(&mut stream).await.starts_with("HTTP/1.1 401"), "it does not wait for the body");
            stream.write_all(&vec![b'x'; length]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_asked_before_sending_is_not_waited_for() {
        let mut stream = refusing().await;
        stream.write_all(b"POST / HTTP/1.1\r\nhost: feira\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 401"));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "it is closed, for what comes next would be taken for a body");
    }
}
