//! Fetches what a caller's input names on the public internet, and nothing that is not public.
//!
//! The address that is dialled is the address that was judged: names are resolved here and only public addresses are kept, literals are
//! judged as they stand, and each redirect is judged again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use url::{Host, Url};

const REDIRECTS_MAX: usize = 5;
const CONNECT_MAX: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    #[error("the address is not a public http address")]
    NotPublic,
    #[error("it was answered with status {0}")]
    Status(u16),
    #[error("it could not be fetched")]
    Failed(#[source] reqwest::Error),
}

#[derive(Clone, Debug)]
pub struct Outside {
    http: reqwest::Client,
}

impl Outside {
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(PublicOnly))
            .redirect(Policy::custom(|attempt: Attempt| match judge(attempt.url()) {
                Ok(()) if attempt.previous().len() <= REDIRECTS_MAX => attempt.follow(),
                Ok(()) => attempt.error("too many redirects"),
                Err(refused) => attempt.error(refused),
            }))
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .build()?;
        Ok(Self { http })
    }

    pub async fn get(&self, address: &str) -> Result<reqwest::Response, OutsideError> {
        let url = Url::parse(address).map_err(|_| OutsideError::NotPublic)?;
        judge(&url)?;
        let response = self.http.get(url).send().await.map_err(OutsideError::Failed)?;
        if response.status().is_success() { Ok(response) } else { Err(OutsideError::Status(response.status().as_u16())) }
    }
}

fn judge(url: &Url) -> Result<(), OutsideError> {
    let host_is_public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    };
    if host_is_public && matches!(url.scheme(), "http" | "https") { Ok(()) } else { Err(OutsideError::NotPublic) }
}

#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, OutsideError::NotPublic).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        for url in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://10.1.2.3/",
            "http://100.64.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://192.168.0.1:8080/",
            "http://0.0.0.0/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:a00:1::]/",
            "http://[2001:0:1::]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "ftp://example.org/",
            "file:///etc/passwd",
        ] {
            assert!(judge(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for url in ["https://example.org/a.png", "https://93.184.215.14/", "https://[2606:4700::1111]/"] {
            assert!(judge(&Url::parse(url).unwrap()).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_after_it_is_resolved() {
        let refused = Outside::new().unwrap().get("http://localhost:9/").await;
        assert!(matches!(refused, Err(OutsideError::Failed(_))));
    }
}
