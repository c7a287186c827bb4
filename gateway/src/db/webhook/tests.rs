//! The laws of the outbox, on both engines.

use super::*;
use crate::db::prediction;
use crate::db::prediction::tests::row;
use protocol::webhook::DeliveryState;
use protocol::{Clock, Entropy};
use store::testing::on_both_engines;

fn delivery(event: WebhookEvent, created_at: i64) -> NewDelivery {
    let entropy = Entropy::system();
    NewDelivery {
        id: protocol::id::prefixed("msg", &Clock::fixed(moment(created_at)), &entropy),
        prediction_id: PredictionId::new(&Clock::system(), &entropy),
        account_id: "acc_ada".to_owned(),
        url: "https://ada.example/hook".to_owned(),
        endpoint: "https://ada.example".to_owned(),
        event,
        body: r#"{"output":"\u0000 \"quoted\" 😀"}"#.to_owned(),
        tries_left: 2,
        created_at,
    }
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn tried(claimed: &Claimed, verdict: Verdict) -> Tried {
    Tried {
        id: claimed.id.clone(),
        number: claimed.number,
        at: moment(50),
        duration_us: 1_500_000,
        status: Some(500),
        error: Some("it answered with status 500".to_owned()),
        verdict,
    }
}

fn ids(due: &[Due]) -> Vec<&str> {
    due.iter().map(|due| due.id.as_str()).collect()
}

#[tokio::test]
async fn a_delivery_is_claimed_once_and_its_tries_are_logged_until_it_is_delivered() {
    on_both_engines(|db| async move {
        let new = delivery(WebhookEvent::Completed, 10);
        db.write(move |tx| {
            let new = new.clone();
            Box::pin(async move {
                insert_all(tx, &[&new]).await?;
                assert!(find_due(tx, moment(9), &[], 10).await?.is_empty());
                let due = find_due(tx, moment(10), &[], 10).await?;
                assert_eq!(ids(&due), [new.id.as_str()]);
                let first = claim(tx, &due, moment(10), moment(100)).await?.pop().unwrap();
                assert_eq!((first.body.as_str(), first.number, first.tries_left), (new.body.as_str(), 1, 1));
                assert!(claim(tx, &due, moment(10), moment(100)).await?.is_empty(), "another gateway was later");
                assert!(find_due(tx, moment(99), &[], 10).await?.is_empty());

                assert!(settle(tx, &tried(&first, Verdict::TryAgain { at: moment(60) }), moment(51)).await?);
                assert_eq!(next_due(tx, moment(51)).await?, Some(moment(60)));
                let due = find_due(tx, moment(60), &[], 10).await?;
                let second = claim(tx, &due, moment(60), moment(160)).await?.pop().unwrap();
                assert_eq!((second.number, second.tries_left), (2, 0));
                let delivered = Tried { status: Some(204), error: None, ..tried(&second, Verdict::Delivered) };
                assert!(settle(tx, &delivered, moment(70)).await?);
                assert!(find_due(tx, moment(1_000), &[], 10).await?.is_empty());
                assert_eq!(next_due(tx, moment(51)).await?, None);

                let shown = find(tx, &new.id, "acc_ada").await?.unwrap();
                assert_eq!((shown.state, shown.delivered_at), (DeliveryState::Delivered, Some(moment(70))));
                assert_eq!((shown.last_status, &shown.last_error, shown.next_try_at), (Some(204), &None, None));
                assert_eq!(shown.attempts.iter().map(|one| (one.number, one.status)).collect::<Vec<_>>(), [(1, Some(500)), (2, Some(204))]);
                assert_eq!(shown.body, serde_json::from_str(&new.body).ok());
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_runs_out_is_due_again_and_its_late_answer_changes_nothing() {
    on_both_engines(|db| async move {
        let new = delivery(WebhookEvent::Completed, 10);
        db.write(move |tx| {
            let new = new.clone();
            Box::pin(async move {
                insert_all(tx, &[&new]).await?;
                let due = find_due(tx, moment(10), &[], 10).await?;
                let lost = claim(tx, &due, moment(10), moment(100)).await?.pop().unwrap();
                let due = find_due(tx, moment(100), &[], 10).await?;
                let again = claim(tx, &due, moment(100), moment(200)).await?.pop().unwrap();
                assert_eq!((lost.number, again.number), (1, 2));
                assert!(!settle(tx, &tried(&lost, Verdict::Abandoned), moment(110)).await?);
                assert_eq!(find(tx, &new.id, "acc_ada").await?.unwrap().state, DeliveryState::Pending);
                assert!(settle(tx, &tried(&again, Verdict::Abandoned), moment(120)).await?);
                assert_eq!(find(tx, &new.id, "acc_ada").await?.unwrap().state, DeliveryState::Abandoned);
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_predictions_events_are_due_in_their_order_and_a_full_endpoint_holds_up_no_other() {
    on_both_engines(|db| async move {
        let start = delivery(WebhookEvent::Start, 10);
        let completed = NewDelivery { prediction_id: start.prediction_id, ..delivery(WebhookEvent::Completed, 20) };
        let other = NewDelivery {
            endpoint: "http://bob.example:81".to_owned(),
            account_id: "acc_bob".to_owned(),
            ..delivery(WebhookEvent::Completed, 30)
        };
        db.write(move |tx| {
            let (start, completed, other) = (start.clone(), completed.clone(), other.clone());
            Box::pin(async move {
                insert_all(tx, &[&other, &completed, &start]).await?;
                let due = find_due(tx, moment(100), &[], 10).await?;
                assert_eq!(ids(&due), [&start.id, &other.id]);
                assert_eq!(ids(&find_due(tx, moment(100), &[], 1).await?), [&start.id]);
                for full in ["https://ada.example", "acc_ada"] {
                    assert_eq!(ids(&find_due(tx, moment(100), &[full.to_owned()], 10).await?), [&other.id]);
                }
                let claimed = claim(tx, &due[..1], moment(100), moment(200)).await?.pop().unwrap();
                assert_eq!(ids(&find_due(tx, moment(100), &[], 10).await?), [&other.id], "the start is under way");
                settle(tx, &tried(&claimed, Verdict::Abandoned), moment(110)).await?;
                assert_eq!(ids(&find_due(tx, moment(110), &[], 10).await?), [&completed.id, &other.id]);
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_latest_output_replaces_one_that_waits_and_the_end_replaces_both() {
    on_both_engines(|db| async move {
        let running = row();
        let id = running.id;
        let event = move |kind, at| NewDelivery { prediction_id: id, ..delivery(kind, at) };
        db.write(move |tx| {
            let running = running.clone();
            let [sent, waits, latest, logs, completed] = [
                event(WebhookEvent::Output, 10),
                event(WebhookEvent::Output, 20),
                event(WebhookEvent::Output, 30),
                event(WebhookEvent::Logs, 40),
                event(WebhookEvent::Completed, 50),
            ];
            Box::pin(async move {
                assert!(!insert_latest(tx, &sent).await?, "there is no such prediction");
                let lease = prediction::Lease { driver: "boot".to_owned(), until: moment(9) };
                prediction::insert_all(tx, &[&running], &lease).await?;
                assert!(insert_latest(tx, &sent).await?);
                let due = find_due(tx, moment(10), &[], 10).await?;
                assert_eq!(claim(tx, &due, moment(10), moment(100)).await?.len(), 1);
                for next in [&waits, &latest, &logs] {
                    assert!(insert_latest(tx, next).await?);
                }
                let listed = |rows: Vec<protocol::webhook::WebhookDelivery>| rows.into_iter().map(|one| one.id).collect::<Vec<_>>();
                let all = Deliveries { account_id: "acc_ada".to_owned(), prediction: Some(running.id), after: None, most: 10 };
                assert_eq!(sorted(listed(list(tx, &all).await?)), sorted(vec![sent.id.clone(), latest.id, logs.id]));

                let ended =
                    prediction::PredictionRow { state: protocol::prediction::State::Succeeded, completed_at: Some(moment(50)), ..running };
                prediction::finish_all(tx, &[&ended]).await?;
                drop_superseded(tx, &[&completed]).await?;
                insert_all(tx, &[&completed]).await?;
                assert!(!insert_latest(tx, &waits).await?, "it has ended");
                assert_eq!(sorted(listed(list(tx, &all).await?)), sorted(vec![sent.id, completed.id]));
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn the_log_is_paged_filtered_and_for_its_own_account_only() {
    on_both_engines(|db| async move {
        let all: Vec<NewDelivery> = (0..5).map(|n| delivery(WebhookEvent::Completed, n * 1_000)).collect();
        db.write(move |tx| {
            let all = all.clone();
            Box::pin(async move {
                insert_all(tx, &all.iter().collect::<Vec<_>>()).await?;
                let mut page = Deliveries { account_id: "acc_ada".to_owned(), prediction: None, after: None, most: 2 };
                let mut seen = Vec::new();
                loop {
                    let rows = list(tx, &page).await?;
                    let Some(last) = rows.last() else { break };
                    page.after = Some(last.id.clone());
                    seen.extend(rows.into_iter().map(|one| one.id));
                }
                assert_eq!(seen, all.iter().rev().map(|one| one.id.clone()).collect::<Vec<_>>());
                let of_one = Deliveries { prediction: Some(all[3].prediction_id), after: None, most: 9, ..page.clone() };
                assert_eq!(list(tx, &of_one).await?.len(), 1);
                let foreign = Deliveries { account_id: "acc_eve".to_owned(), after: None, ..page };
                assert!(list(tx, &foreign).await?.is_empty());
                assert!(find(tx, &all[0].id, "acc_eve").await?.is_none());
                assert!(!redeliver(tx, &all[0].id, "acc_eve", moment(9)).await?);
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_was_abandoned_is_sent_once_more_when_that_is_asked_for() {
    on_both_engines(|db| async move {
        let new = NewDelivery { tries_left: 1, ..delivery(WebhookEvent::Completed, 10) };
        db.write(move |tx| {
            let new = new.clone();
            Box::pin(async move {
                insert_all(tx, &[&new]).await?;
                let due = find_due(tx, moment(10), &[], 10).await?;
                let first = claim(tx, &due, moment(10), moment(100)).await?.pop().unwrap();
                assert!(redeliver(tx, &new.id, "acc_ada", moment(20)).await?);
                assert!(find_due(tx, moment(20), &[], 10).await?.is_empty(), "it is under way");
                settle(tx, &tried(&first, Verdict::Abandoned), moment(30)).await?;
                assert!(redeliver(tx, &new.id, "acc_ada", moment(40)).await?);
                let due = find_due(tx, moment(40), &[], 10).await?;
                let again = claim(tx, &due, moment(40), moment(140)).await?.pop().unwrap();
                assert_eq!((again.number, again.tries_left, &again.body), (2, 0, &new.body));
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn old_deliveries_go_with_their_attempts_and_newer_ones_stay() {
    on_both_engines(|db| async move {
        let (old, new) = (delivery(WebhookEvent::Completed, 10), delivery(WebhookEvent::Completed, 20));
        db.write(move |tx| {
            let (old, new) = (old.clone(), new.clone());
            Box::pin(async move {
                insert_all(tx, &[&old, &new]).await?;
                let due = find_due(tx, moment(10), &[], 1).await?;
                let claimed = claim(tx, &due, moment(10), moment(100)).await?.pop().unwrap();
                settle(tx, &tried(&claimed, Verdict::Abandoned), moment(30)).await?;
                assert!(prune(tx, moment(20)).await?);
                assert!(!prune(tx, moment(20)).await?);
                assert!(find(tx, &old.id, "acc_ada").await?.is_none());
                assert!(find(tx, &new.id, "acc_ada").await?.is_some());
                forget(tx, &[new.prediction_id.to_string()]).await?;
                assert!(find(tx, &new.id, "acc_ada").await?.is_none(), "its prediction's data was removed");
                let left = sqlx::query("select delivery_id from webhook_attempt").fetch_all(tx).await?;
                assert!(left.is_empty());
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    })
    .await;
}
