//! The committed contract is the one that the handlers make.

#[test]
fn the_committed_contract_is_not_stale() {
    let committed = include_str!("../../openapi/openapi.json");
    assert!(
        committed == gateway::openapi_document(),
        "openapi/openapi.json is stale: run `cargo run --release -p gateway --example openapi > openapi/openapi.json`"
    );
}
