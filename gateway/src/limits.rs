//! How often a token may call: a bucket (GCRA) for each token and class of call, told in every answer's headers and refused with 429.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use protocol::Problem;
use registry::{Caller, Scope};

use crate::problem::Refused;

const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Calls a minute that one token may make. A full minute's worth may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Predictions and trainings created.
    pub creates: NonZeroU32,
    /// Looks at one prediction or training: clients poll.
    pub looks: NonZeroU32,
    /// Everything else.
    pub others: NonZeroU32,
    /// How many times as much an operator's token may: on their own machine nobody is protected from them.
    pub operator_factor: NonZeroU32,
}

impl Default for LimitsConfig {
    /// As at Replicate.
    fn default() -> Self {
        const fn some(count: u32) -> NonZeroU32 {
            NonZeroU32::new(count).expect("a limit is not nothing")
        }
        Self { creates: some(600), looks: some(60_000), others: some(3_000), operator_factor: some(1_000) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Create,
    Look,
    Other,
}

impl Class {
    fn of(method: &Method, route: &str) -> Self {
        let creates = route.ends_with("/predictions") || route.ends_with("/trainings") || route.starts_with("/openai/");
        let looks = ["/predictions/{id}", "/trainings/{id}"].iter().any(|one| route.ends_with(one));
        match *method {
            Method::POST if creates => Self::Create,
            Method::GET if looks => Self::Look,
            _ => Self::Other,
        }
    }
}

type Bucket = RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock, StateInformationMiddleware>;

#[derive(Debug)]
struct Buckets {
    creates: Bucket,
    looks: Bucket,
    others: Bucket,
}

impl Buckets {
    fn new(config: &LimitsConfig, factor: NonZeroU32) -> Self {
        let bucket = |count: NonZeroU32| RateLimiter::keyed(Quota::per_minute(count.saturating_mul(factor))).with_middleware();
        Self { creates: bucket(config.creates), looks: bucket(config.looks), others: bucket(config.others) }
    }

    const fn of(&self, class: Class) -> &Bucket {
        match class {
            Class::Create => &self.creates,
            Class::Look => &self.looks,
            Class::Other => &self.others,
        }
    }
}

/// The buckets of this gateway: several gateways allow so much each.
#[derive(Debug)]
pub(crate) struct Limits {
    everyone: Buckets,
    operators: Buckets,
}

/// What is left to a token, for the headers of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    remaining: u32,
    reset_seconds: u64,
}

/// Where the check, deep in a handler's extractors, leaves the standing for the answer.
#[derive(Clone, Debug, Default)]
struct Noted(Arc<OnceLock<Standing>>);

impl Limits {
    pub fn new(config: &LimitsConfig) -> Self {
        Self { everyone: Buckets::new(config, NonZeroU32::MIN), operators: Buckets::new(config, config.operator_factor) }
    }

    /// Counts a call of this caller.
    pub fn check(&self, caller: &Caller, parts: &Parts) -> Result<(), Refused> {
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let buckets = if caller.may(Scope::Operator) { &self.operators } else { &self.everyone };
        let checked = buckets.of(Class::of(&parts.method, route)).check_key(&caller.token_id);
        let standing = match &checked {
            Ok(left) => {
                let quota = left.quota();
                let used = quota.burst_size().get().saturating_sub(left.remaining_burst_capacity());
                Standing { remaining: left.remaining_burst_capacity(), reset_seconds: whole(quota.replenish_interval() * used) }
            }
            Err(not_yet) => Standing { remaining: 0, reset_seconds: whole(not_yet.wait_time_from(DefaultClock::default().now())) },
        };
        if let Some(Noted(noted)) = parts.extensions.get() {
            let _ = noted.set(standing);
        }
        checked.map(|_| ()).map_err(|_| throttled(standing.reset_seconds).into())
    }

    /// Forgets the tokens whose buckets are full again.
    pub fn forget_idle(&self) {
        for buckets in [&self.everyone, &self.operators] {
            for bucket in [&buckets.creates, &buckets.looks, &buckets.others] {
                bucket.retain_recent();
            }
        }
    }
}

fn throttled(seconds: u64) -> Problem {
    let detail = format!("Request was throttled. Your rate limit resets in ~{seconds}s.");
    Problem { retry_after: Some(seconds), ..Problem::new(429, "Too many requests", detail) }
}

/// Rounded up: who comes back after it is let in.
fn whole(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Tells a caller in the answer's headers what is left to it.
pub(crate) async fn tell(mut request: Request, next: Next) -> Response {
    let noted = Noted::default();
    request.extensions_mut().insert(noted.clone());
    let mut response = next.run(request).await;
    if let Some(standing) = noted.0.get() {
        let headers = response.headers_mut();
        headers.insert(REMAINING, HeaderValue::from(standing.remaining));
        headers.insert(RESET, HeaderValue::from(standing.reset_seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_and_creating_do_not_eat_into_each_other() {
        let class = |method, route| Class::of(&method, route);
        assert_eq!(class(Method::POST, "/v1/predictions"), Class::Create);
        assert_eq!(class(Method::POST, "/v1/models/{owner}/{name}/predictions"), Class::Create);
        assert_eq!(class(Method::POST, "/openai/v1/chat/completions"), Class::Create);
        assert_eq!(class(Method::POST, "/v1/predictions/{id}/cancel"), Class::Other);
        assert_eq!(class(Method::GET, "/v1/predictions/{id}"), Class::Look);
        assert_eq!(class(Method::GET, "/v1/predictions"), Class::Other);
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole(Duration::from_millis(1)), 1);
        assert_eq!(whole(Duration::from_secs(5)), 5);
        assert_eq!(whole(Duration::ZERO), 0);
    }
}
