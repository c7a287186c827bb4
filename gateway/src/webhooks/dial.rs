//! One call of a webhook: the address that is dialled is the one that is judged, no redirect is followed, and it takes so long and no longer.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::webhooks::sign::signature;

/// A call, from the name's resolution to the answer's head.
pub(super) const TRY_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read, so that its connection can be used again. They are kept nowhere: on a network where private addresses
/// may be called, the log must not become a way to read them.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const USER_AGENT: &str = concat!("Feira-Webhooks/", env!("CARGO_PKG_VERSION"));

/// Which addresses may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Targets {
    Public,
    /// Private ones too, by the operator's wish.
    Any,
}

/// Why there was no answer. What it says is shown to the endpoint's owner.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the address is not on the public internet")]
    NotPublic,
    #[error("there was no answer within {} seconds", TRY_MAX.as_secs())]
    TooSlow,
    #[error("no connection could be made: {0}")]
    NotConnected(String),
    #[error("the connection broke before an answer came: {0}")]
    Broken(String),
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub url: String,
    pub id: String,
    /// Seconds since the Unix epoch.
    pub timestamp: i64,
    /// Every secret that receivers may know.
    pub secrets: Vec<String>,
    pub body: String,
}

#[derive(Clone, Debug)]
pub(super) struct Dialler {
    http: reqwest::Client,
    targets: Targets,
}

impl Dialler {
    pub fn new(targets: Targets) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_MAX)
            .timeout(TRY_MAX)
            .pool_idle_timeout(IDLE_MAX);
        let http = match targets {
            Targets::Public => http.dns_resolver(Arc::new(PublicOnly)),
            Targets::Any => http,
        };
        Ok(Self { http: http.build()?, targets })
    }

    /// Sends a message, and returns the status of the answer.
    pub async fn send(&self, message: Message) -> Result<u16, NoAnswer> {
        let url = Url::parse(&message.url).map_err(|_| NoAnswer::NotPublic)?;
        if self.targets == Targets::Public && !literal_is_public(&url) {
            return Err(NoAnswer::NotPublic);
        }
        let sign = |secret: &String| signature(secret, &message.id, message.timestamp, &message.body);
        let signatures: Vec<String> = message.secrets.iter().filter_map(sign).collect();
        let call = self
            .http
            .post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(message.body);
        let mut answer = call.send().await.map_err(|error| no_answer(&error))?;
        let status = answer.status().as_u16();
        let mut read = 0;
        while read < ANSWER_BYTES_MAX
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            read += chunk.len();
        }
        Ok(status)
    }
}

/// Judges the address in a URL, if it is one and no name: a resolver is never asked about those.
pub(super) fn literal_is_public(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    }
}

#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, NoAnswer::NotPublic).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn no_answer(error: &reqwest::Error) -> NoAnswer {
    let causes = || std::iter::successors(error.source(), |&cause| cause.source());
    let is_refusal = |cause: &(dyn Error + 'static)| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is::<NoAnswer>() || inner.is_some_and(<dyn Error + Send + Sync>::is::<NoAnswer>)
    };
    if causes().any(is_refusal) {
        return NoAnswer::NotPublic;
    }
    if error.is_timeout() {
        return NoAnswer::TooSlow;
    }
    let root = causes().last().map_or_else(|| "it was closed".to_owned(), ToString::to_string);
    if error.is_connect() { NoAnswer::NotConnected(root) } else { NoAnswer::Broken(root) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn message(url: String) -> Message {
        Message { url, id: "msg_1".to_owned(), timestamp: 1, secrets: vec!["whsec_AAAA".to_owned()], body: "{}".to_owned() }
    }

    /// Answers one call with what it is told, and returns what it was sent.
    async fn receiver(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let mut read = 0;
            while !request[..read].ends_with(b"{}") {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (port, received)
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_never_dialled() {
        let (port, received) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let dialler = Dialler::new(Targets::Public).unwrap();
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
            let refused = dialler.send(message(format!("http://{host}:{port}/h"))).await;
            assert!(matches!(refused, Err(NoAnswer::NotPublic)), "{host}: {refused:?}");
        }
        assert!(!received.is_finished());
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let (port, received) = receiver("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
        let dialler = Dialler::new(Targets::Any).unwrap();
        assert_eq!(dialler.send(message(format!("http://127.0.0.1:{port}/h"))).await.unwrap(), 302);
        let sent = received.await.unwrap().to_ascii_lowercase();
        for header in
            ["webhook-id: msg_1", "webhook-timestamp: 1", "webhook-signature: v1,", "content-type: application/json", "user-agent: feira"]
        {
            assert!(sent.contains(header), "{header} is not in {sent}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_such() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let dialler = Dialler::new(Targets::Any).unwrap();
        let failed = dialler.send(message(format!("http://127.0.0.1:{port}/h"))).await;
        assert!(matches!(&failed, Err(NoAnswer::NotConnected(cause)) if cause.contains("refused")), "{failed:?}");
    }
}
