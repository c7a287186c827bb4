//! Which server is spoken to, and with which token: a token goes only to the server it was given for.

use std::fs;

use reqwest::Url;

use super::logins::Logins;
use crate::settings::{Secret, Settings};

/// Where `feira up` listens when nothing else is said.
const LOCAL: &str = "http://127.0.0.1:8080";

#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("`{0}` is not the address of a server, such as https://feira.example or http://127.0.0.1:8080")]
    NotAServer(String),
    #[error("the kept logins cannot be read: {0}")]
    Logins(String),
}

#[derive(Clone, Debug)]
pub struct Endpoint {
    base: Url,
    pub token: Option<Secret>,
}

impl Endpoint {
    pub fn new(base: Url, token: Option<Secret>) -> Self {
        Self { base, token }
    }

    /// `FEIRA_HOST`, else `REPLICATE_BASE_URL`, else the last login, else the server on this machine.
    pub fn resolve(settings: &Settings, logins: &Logins) -> Result<Self, AddressError> {
        let replicate = settings.replicate_base_url.as_deref();
        let named = settings.host.as_deref().or(replicate).or(logins.current()).unwrap_or(LOCAL);
        let mut endpoint = Self::new(parse_address(named)?, settings.token.clone());
        if endpoint.token.is_none() && settings.host.is_none() && replicate.is_some() {
            endpoint.token.clone_from(&settings.replicate_token);
        }
        if endpoint.token.is_none() {
            endpoint.token = logins.token(&endpoint.host());
        }
        if endpoint.token.is_none() && endpoint.is_loopback() {
            endpoint.token = fs::read_to_string(settings.home.join("token")).ok().as_deref().map(Secret::new);
        }
        Ok(endpoint)
    }

    /// The server's name, as it is shown and as logins are kept under it.
    pub fn host(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    pub fn url(&self, path: &str) -> Url {
        let text = format!("{}{path}", self.host());
        Url::parse(&text).expect("a base address and an absolute path make an address")
    }

    /// The path and query of one of this server's own addresses, below its base.
    pub fn relative(&self, url: &Url) -> String {
        let path = url.path();
        let path = path.strip_prefix(self.base.path().trim_end_matches('/')).unwrap_or(path);
        url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    pub fn is_loopback(&self) -> bool {
        match self.base.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Whether a token would travel over a network unencrypted.
    pub fn is_in_the_clear(&self) -> bool {
        self.base.scheme() == "http" && !self.is_loopback()
    }
}

/// Reads a server's address as people and Replicate's clients write it: with or without `/v1`.
pub fn parse_address(text: &str) -> Result<Url, AddressError> {
    let not_a_server = || AddressError::NotAServer(text.to_owned());
    let trimmed = text.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v1").unwrap_or(trimmed);
    let url = Url::parse(trimmed).map_err(|_| not_a_server())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none();
    if plain && url.query().is_none() && url.fragment().is_none() { Ok(url) } else { Err(not_a_server()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: Option<&str>, token: Option<&str>, replicate: Option<&str>, replicate_token: Option<&str>) -> Settings {
        Settings {
            host: host.map(str::to_owned),
            token: token.map(Secret::new),
            replicate_base_url: replicate.map(str::to_owned),
            replicate_token: replicate_token.map(Secret::new),
            ..Settings::default()
        }
    }

    fn resolved(settings: &Settings, logins: &Logins) -> (String, Option<String>) {
        let endpoint = Endpoint::resolve(settings, logins).unwrap();
        (endpoint.host(), endpoint.token.map(|token| token.reveal().to_owned()))
    }

    #[test]
    fn a_token_goes_only_to_the_server_it_was_given_for() {
        let mut logins = Logins::default();
        logins.keep("https://a.example", &Secret::new("of-a"));
        let some = |text: &str| Some(text.to_owned());
        let a = "https://a.example".to_owned();
        let b = "https://b.example".to_owned();
        for (settings, expected) in [
            (settings(None, None, None, None), (a.clone(), some("of-a"))),
            (settings(Some("https://b.example"), None, None, None), (b.clone(), None)),
            (settings(Some("https://b.example/"), Some("given"), None, None), (b.clone(), some("given"))),
            (settings(None, None, Some("https://b.example/v1"), Some("theirs")), (b.clone(), some("theirs"))),
            (settings(Some("https://a.example"), None, Some("https://b.example/v1"), Some("theirs")), (a.clone(), some("of-a"))),
            // Replicate's token without its address is for Replicate itself.
            (settings(None, None, None, Some("theirs")), (a, some("of-a"))),
            (settings(Some("https://b.example"), None, None, Some("theirs")), (b, None)),
        ] {
            assert_eq!(resolved(&settings, &logins), expected);
        }
    }

    #[test]
    fn a_server_on_this_machine_gives_its_token_away_only_to_itself() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "fe_local\n").unwrap();
        let mut settings = settings(None, None, None, None);
        settings.home = home.path().to_owned();
        assert_eq!(resolved(&settings, &Logins::default()), (LOCAL.to_owned(), Some("fe_local".to_owned())));
        settings.host = Some("https://b.example".to_owned());
        assert_eq!(resolved(&settings, &Logins::default()).1, None);
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let endpoint = |text: &str| Endpoint::new(parse_address(text).unwrap(), None);
        assert_eq!(endpoint("http://127.0.0.1:8080/v1/").url("/v1/models").as_str(), "http://127.0.0.1:8080/v1/models");
        assert_eq!(endpoint("https://x.example/feira").url("/v1/a?b=c").as_str(), "https://x.example/feira/v1/a?b=c");
        let next = Url::parse("https://public.example/feira/v1/a?cursor=z").unwrap();
        assert_eq!(endpoint("https://x.example/feira").relative(&next), "/v1/a?cursor=z");
        assert!(endpoint("http://[::1]:9").is_loopback() && endpoint("http://localhost").is_loopback());
        assert!(endpoint("http://x.example").is_in_the_clear() && !endpoint("https://x.example").is_in_the_clear());
        for bad in ["", "feira", "ftp://x.example", "https://me:pw@x.example", "https://x.example?a=b", "127.0.0.1:8080"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
