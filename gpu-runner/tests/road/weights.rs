//! The files of versions on a runner's disk: shared, limited, and no others than those that were published.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use protocol::wire::{Bundle, FailCode};
use protocol::{Clock, Entropy, PredictionId};
use serde_json::json;

use crate::house::{House, Ran, cancel, in_a_house};

const ODD: &[u8] = include_bytes!("fakes/odd_cog.py");

/// Bytes that no earlier run of the tests has left in the cache.
fn fresh(length: usize) -> Vec<u8> {
    let salt = PredictionId::new(&Clock::system(), &Entropy::system()).to_string();
    salt.bytes().cycle().take(length).collect()
}

fn version(house: &House, files: &[(&str, &[u8])]) -> Arc<Bundle> {
    let config = json!({
        "protocol": "cog",
        "command": ["python3", "server.py"],
        "openapi_schema": {"components": {"schemas": {"Output": {"type": "string"}}}},
    });
    house.version(&[&[("server.py", ODD)], files].concat(), &config)
}

#[test]
fn two_versions_share_a_file_and_move_it_once() {
    in_a_house(
        "shares",
        |_| {},
        |house| async move {
            let (shared, own) = (fresh(300_000), fresh(20));
            let (one, two) = (version(&house, &[("a.bin", &shared)]), version(&house, &[("b.bin", &shared), ("own", &own)]));
            house.run(&one, json!({})).await.succeeded();
            house.run(&two, json!({})).await.succeeded();
            assert_eq!((house.platform.asked(&shared), house.platform.asked(&own)), (1, 1));
            house.close().await;
        },
    );
}

#[test]
fn a_cached_file_that_was_changed_is_fetched_again_before_anything_runs() {
    let weights = fresh(200_000);
    let run = |house: House| async {
        let bundle = version(&house, &[("a.bin", &weights)]);
        house.run(&bundle, json!({})).await.succeeded();
        assert_eq!(house.platform.asked(&weights), 1);
        assert!(fs::read(house.blob(&weights)).unwrap() == weights);
        let cached = house.blob(&weights);
        house.close().await;
        fs::set_permissions(&cached, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&cached, vec![7; weights.len()]).unwrap();
    };
    in_a_house("changed", |_| {}, run);
    in_a_house("changed", |_| {}, run);
}

#[test]
fn the_limit_lets_go_what_was_used_least_recently_and_never_what_runs() {
    in_a_house(
        "limit",
        |config| {
            config.instances_max = 1;
            config.weights_bytes_max = Some(500_000);
        },
        |house| async move {
            let weights: Vec<Vec<u8>> = (0..3).map(|_| fresh(200_000)).collect();
            let versions: Vec<_> = weights.iter().map(|content| version(&house, &[("a.bin", content)])).collect();
            for bundle in [&versions[0], &versions[1], &versions[0]] {
                house.run(bundle, json!({})).await.succeeded();
            }
            let mut runs = house.call(&versions[2], "a", json!({"do": "hang"}));
            let mut ran = Ran::default();
            while ran.started.is_none() {
                ran.hear(&mut runs).await.expect("it starts");
            }
            let kept: Vec<bool> = weights.iter().map(|content| house.blob(content).exists()).collect();
            assert_eq!(kept, [true, false, true]);
            cancel(&mut runs).await;

            let too_large = fresh(600_000);
            let ran = house.run(&version(&house, &[("a.bin", &too_large)]), json!({})).await;
            let (code, message) = ran.failure();
            assert!(code == FailCode::FetchFailed && message.contains("at most 500000"), "{message}");
            assert_eq!(house.platform.asked(&too_large), 0);
            house.close().await;
        },
    );
}
