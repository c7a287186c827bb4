//! The laws of the prediction row, on both engines.

use super::*;
use serde_json::json;
use store::testing::on_both_engines;

/// A prediction that has just been admitted.
pub(crate) fn row() -> PredictionRow {
    PredictionRow {
        id: PredictionId::new(&protocol::Clock::system(), &protocol::Entropy::system()),
        account_id: "acc_ada".to_owned(),
        token_id: "tok_1".to_owned(),
        model: "feira/hello-world".parse().unwrap(),
        version: "00".repeat(32).parse().unwrap(),
        source: Source::Api,
        errand: Errand::Predict,
        deployment: None,
        destination: None,
        webhook: None,
        streams: Streams::Values,
        origin: None,
        input: json!({"name": "Ada \"quoted\" \u{1F600}"}),
        model_input: None,
        pricing: Pricing::Second,
        output: Value::Null,
        logs: String::new(),
        error: None,
        code: None,
        state: State::Leased,
        metrics: Map::new(),
        hooks: Vec::new(),
        cost: None,
        cost_lines: Vec::new(),
        hold: Credits(5),
        data_removed: false,
        cancel_requested: false,
        created_at: Timestamp::from_micros(1_000),
        started_at: None,
        completed_at: None,
        deadline_at: None,
        fence: 1,
        attempt: 1,
        emitted: false,
        hardware: "cpu".to_owned(),
        region: "local".to_owned(),
        runner: None,
        timings: None,
        event_log: None,
    }
}

pub(crate) fn lease(until: i64) -> Lease {
    Lease { driver: "boot".to_owned(), until: Timestamp::from_micros(until) }
}

pub(crate) fn finished(mut row: PredictionRow) -> PredictionRow {
    row.state = State::Succeeded;
    row.output = json!(["hello", " Ada"]);
    row.logs = "line\n".to_owned();
    row.started_at = Some(Timestamp::from_micros(2_000));
    row.completed_at = Some(Timestamp::from_micros(3_000));
    row.cost = Some(Credits(4));
    row.timings = Some(Timings { predict_us: 1_000, ..Timings::default() });
    row.event_log = Some("l5 o2".to_owned());
    row
}

#[tokio::test]
async fn a_row_reads_back_as_it_was_admitted_and_finished() {
    on_both_engines(|db| async move {
        let webhook = Webhook { url: "https://ada.example/h".to_owned(), events: vec![WebhookEvent::Start, WebhookEvent::Completed] };
        let admitted = PredictionRow { webhook: Some(webhook), origin: Some("https://feira.example".to_owned()), ..row() };
        let ended = finished(admitted.clone());
        db.write(move |tx| {
            let (admitted, ended) = (admitted.clone(), ended.clone());
            Box::pin(async move {
                insert_all(tx, &[&admitted], &lease(9)).await?;
                assert_eq!(find(tx, admitted.id, "acc_ada").await?.as_ref(), Some(&admitted));
                assert_eq!(find(tx, admitted.id, "acc_eve").await?, None);
                assert_eq!(finish_all(tx, &[&ended]).await?, [ended.id.to_string()]);
                assert_eq!(find_any(tx, ended.id).await?.as_ref(), Some(&ended));
                assert_eq!(warm_runs(tx, &ended.model, 10).await?, [(1_000, Credits(4))]);
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn only_the_first_end_counts_and_only_with_the_fence_of_the_day() {
    on_both_engines(|db| async move {
        let admitted = row();
        db.write(move |tx| {
            let admitted = admitted.clone();
            Box::pin(async move {
                insert_all(tx, &[&admitted], &lease(9)).await?;
                let now = Timestamp::from_micros(10);
                let orphans = find_orphans(tx, now, 10).await?;
                assert_eq!(orphans.len(), 1);
                assert!(take_over(tx, &orphans[0], &lease(20), now).await?);
                assert!(!take_over(tx, &orphans[0], &lease(20), now).await?);
                let stale = finished(admitted.clone());
                assert!(finish_all(tx, &[&stale]).await?.is_empty());
                let progress = Progress { id: admitted.id, fence: 1, started_at: 5, emitted: 1 };
                assert!(advance_all(tx, &[progress]).await?.is_empty());
                let mut fresh = stale;
                fresh.fence = 2;
                assert_eq!(finish_all(tx, &[&fresh]).await?.len(), 1);
                fresh.state = State::Failed;
                assert!(finish_all(tx, &[&fresh]).await?.is_empty());
                assert_eq!(find_any(tx, fresh.id).await?.map(|row| row.state), Some(State::Succeeded));
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_list_pages_through_rows_of_the_same_moment_without_loss() {
    on_both_engines(|db| async move {
        db.write(move |tx| {
            Box::pin(async move {
                let rows: Vec<PredictionRow> = (0..5).map(|_| row()).collect();
                insert_all(tx, &rows.iter().collect::<Vec<_>>(), &lease(9)).await?;
                let mut listing = Listing {
                    account_id: "acc_ada".to_owned(),
                    errand: Errand::Predict,
                    created_after: Some(Timestamp::from_micros(1_000)),
                    created_before: None,
                    source: Some(Source::Api),
                    after: None,
                    most: 2,
                };
                let mut seen = Vec::new();
                loop {
                    let page = list(tx, &listing).await?;
                    let Some(last) = page.last() else { break };
                    listing.after = Some((last.created_at, last.id));
                    seen.extend(page.into_iter().map(|row| row.id));
                }
                let mut expected: Vec<PredictionId> = rows.iter().map(|row| row.id).collect();
                expected.sort_unstable();
                expected.reverse();
                assert_eq!(seen, expected);
                listing.after = None;
                listing.created_before = Some(Timestamp::from_micros(1_000));
                assert!(list(tx, &listing).await?.is_empty());
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}
