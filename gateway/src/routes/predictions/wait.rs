//! `Prefer: wait`: how long a caller prefers to wait for the end, and what it is told then.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use protocol::prediction::{Prediction, Status};
use serde_json::Value;

use crate::Gateway;
use crate::live::Live;
use crate::origin::Origin;
use crate::render;
use crate::routes::predictions::inline;

/// The longest that a caller may ask to wait: some clients give up at 60 s, and then ask again.
const WAIT_MAX: Duration = Duration::from_secs(58);

/// How long a caller prefers to wait.
pub(super) struct Wait {
    at_most: Duration,
    /// What `Preference-Applied` says.
    pub applied: String,
}

impl Wait {
    /// Reads `wait` and `wait=N` among the preferences; any N is taken and kept within our limit.
    pub fn asked_by(headers: &HeaderMap) -> Option<Self> {
        headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split([',', ';'])).find_map(
            |preference| match preference.trim().split_once('=') {
                None => (preference.trim() == "wait").then(|| Self { at_most: WAIT_MAX, applied: "wait".to_owned() }),
                Some(("wait", seconds)) => {
                    let seconds: f64 = seconds.trim().trim_matches('"').parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
                    let at_most = Duration::from_secs_f64(seconds.clamp(1.0, WAIT_MAX.as_secs_f64()));
                    Some(Self { at_most, applied: format!("wait={}", at_most.as_secs()) })
                }
                Some(_) => None,
            },
        )
    }

    /// The prediction at its end, or as one that still starts: released clients take any other status for finished.
    pub async fn for_end_of(&self, gateway: &Gateway, origin: &Origin, live: &Arc<Live>) -> Prediction {
        let in_time = tokio::time::timeout(self.at_most, live.ended()).await.is_ok();
        let mut row = live.row();
        if row.state.is_terminal() {
            inline::small_files(gateway, &mut row.output).await;
        }
        let mut shown = render::prediction(gateway, origin, row);
        if !in_time && !shown.status.is_terminal() {
            shown.status = Status::Starting;
            shown.output = Value::Null;
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(prefer: &str) -> Option<(u64, String)> {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", prefer.parse().unwrap());
        Wait::asked_by(&headers).map(|wait| (wait.at_most.as_secs(), wait.applied))
    }

    #[test]
    fn any_wish_to_wait_is_taken_and_kept_within_bounds() {
        assert_eq!(waits("wait"), Some((58, "wait".to_owned())));
        assert_eq!(waits("wait=5"), Some((5, "wait=5".to_owned())));
        assert_eq!(waits("respond-async, wait=3"), Some((3, "wait=3".to_owned())));
        assert_eq!(waits("wait=100000"), Some((58, "wait=58".to_owned())));
        assert_eq!(waits("wait=0"), Some((1, "wait=1".to_owned())));
        assert_eq!(waits("wait=soon"), None);
        assert_eq!(waits("respond-async"), None);
    }
}
