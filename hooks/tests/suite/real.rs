//! The two hooks that ship with the project do what they say.

use bytes::Bytes;
use hooks::{AfterAction, BeforeAction, Exports, FieldError, HookError, Item, Metric, Outcome, Step};

use crate::guests::{PROMPT_TEMPLATE, REDACT, call, engine, open};

fn text(text: &str) -> Item {
    Item::Text(text.to_owned())
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.to_owned(), value }
}

#[tokio::test]
async fn the_prompt_template_wraps_the_prompt_and_counts_it() {
    let hook = open(&engine(), PROMPT_TEMPLATE).await.expect("the hook opens");
    assert_eq!(hook.exports(), Exports { before: true, after: false, stream: false });
    let call = call(r#"{"template": "Q: {prompt}\nA:", "system_prompt": "Be brief."}"#);
    let before = hook.before(&call, r#"{"prompt":"why?","seed":1.0}"#).await.expect("a sound prompt");
    let expected = r#"{"prompt":"Q: why?\nA:","seed":1.0,"system_prompt":"Be brief."}"#;
    assert_eq!(before.action, BeforeAction::Replace(expected.to_owned()));
    assert_eq!(before.metrics, [metric("prompt_tokens_estimate", 6.0)]);
    assert_eq!(before.report.outcome, Outcome::Replaced);
    assert!(before.report.duration_us > 0 && before.report.memory_peak_bytes > 0, "{:?}", before.report);
}

#[tokio::test]
async fn the_prompt_template_passes_what_needs_no_change() {
    let hook = open(&engine(), PROMPT_TEMPLATE).await.expect("the hook opens");
    let before = hook.before(&call("{}"), r#"{"prompt":"hello"}"#).await.expect("a sound prompt");
    assert_eq!((before.action, before.report.outcome), (BeforeAction::Pass, Outcome::Passed));
}

#[tokio::test]
async fn an_empty_or_long_prompt_is_the_callers_fault_and_names_its_field() {
    let hook = open(&engine(), PROMPT_TEMPLATE).await.expect("the hook opens");
    for (input, code) in [(r#"{"prompt":"  "}"#, "empty"), (r#"{"prompt":"four"}"#, "too_long"), ("{}", "missing")] {
        let failure = hook.before(&call(r#"{"prompt_chars_max": 3}"#), input).await.expect_err("an unsound prompt");
        assert_eq!(failure.report.outcome, Outcome::Invalid);
        let HookError::Invalid(fields) = failure.error else { panic!("{:?}", failure.error) };
        assert!(matches!(&fields[..], [FieldError { pointer, code: c, .. }] if pointer == "/prompt" && c == code), "{fields:?}");
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_the_hooks_own_fault() {
    let hook = open(&engine(), PROMPT_TEMPLATE).await.expect("the hook opens");
    let failure = hook.before(&call(r#"{"templat":"x"}"#), r#"{"prompt":"p"}"#).await.expect_err("a typo in the configuration");
    assert!(matches!(&failure.error, HookError::Internal(message) if message.contains("templat")), "{failure:?}");
    assert_eq!(failure.error.fault(), hooks::Fault::Hook);
}

#[tokio::test]
async fn a_part_that_a_hook_lacks_is_said_to_be_missing() {
    let hook = open(&engine(), PROMPT_TEMPLATE).await.expect("the hook opens");
    let failure = hook.after(&call("{}"), "{}", "{}").await.expect_err("the hook has no `after`");
    assert_eq!(failure.error, HookError::NotExported("post"));
}

#[tokio::test]
async fn redact_takes_addresses_and_card_numbers_out_of_a_whole_output() {
    let hook = open(&engine(), REDACT).await.expect("the hook opens");
    let output = r#"["Mail ada@exam","ple.com, pay 4111 1111 1111 1111."]"#;
    let after = hook.after(&call("{}"), "{}", output).await.expect("an output");
    let expected = r#"["Mail ","[e-mail removed], pay [card number removed]."]"#;
    assert_eq!(after.action, AfterAction::Replace(expected.to_owned()));
    assert_eq!(after.metrics, [metric("redacted_emails", 1.0), metric("redacted_cards", 1.0)]);
    let clean = hook.after(&call("{}"), "{}", r#"["nothing here"]"#).await.expect("an output");
    assert_eq!(clean.action, AfterAction::Pass);
}

#[tokio::test]
async fn redact_takes_an_address_split_over_tokens_out_of_a_stream() {
    let engine = engine();
    let hook = open(&engine, REDACT).await.expect("the hook opens");
    let mut stream = hook.open_stream(&call("{}"), "{}").await.expect("a stream");
    assert_eq!(stream.push(vec![text("ada@exam")]).await.expect("a push"), Step::Hold);
    let step = stream.push(vec![text("ple.com"), text(" wrote ")]).await.expect("a push");
    assert_eq!(step, Step::Emit(vec![text("[e-mail removed] wrote ")]));
    let items = vec![text("to you: "), Item::Value("{\"a\":1}".to_owned()), text("fine.\n")];
    assert_eq!(stream.push(items.clone()).await.expect("a push"), Step::Pass(items));
    assert_eq!(stream.push(vec![text("bye")]).await.expect("a push"), Step::Hold);
    let closing = stream.finish().await.expect("an end");
    assert_eq!(closing.items, [text("bye")]);
    assert_eq!(closing.metrics, [metric("redacted_emails", 1.0), metric("redacted_cards", 0.0)]);
    assert_eq!(closing.report.outcome, Outcome::Replaced);
    assert_eq!(engine.sandboxes_free(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_do_not_mix() {
    let hook = open(&engine(), REDACT).await.expect("the hook opens");
    let streams: Vec<_> = (0..12)
        .map(|n| {
            let hook = hook.clone();
            tokio::spawn(async move {
                let mut stream = hook.open_stream(&call("{}"), "{}").await.expect("a stream");
                let mut out = String::new();
                for token in ["from ", "ada", "@example", ".com", &format!(" no. {n}\n")] {
                    match stream.push(vec![text(token)]).await.expect("a push") {
                        Step::Pass(items) | Step::Emit(items) => out.extend(items.iter().map(Item::as_str)),
                        Step::Hold => {}
                        Step::Stop(_) => panic!("the hook never stops a stream"),
                    }
                    tokio::task::yield_now().await;
                }
                out.extend(stream.finish().await.expect("an end").items.iter().map(Item::as_str));
                (n, out)
            })
        })
        .collect();
    for stream in streams {
        let (n, out) = stream.await.expect("no stream panics");
        assert_eq!(out, format!("from [e-mail removed] no. {n}\n"));
    }
}

#[tokio::test]
async fn large_documents_pass_both_ways() {
    let hook = open(&engine(), PROMPT_TEMPLATE).await.expect("the hook opens");
    let prompt = "word ".repeat(20_000);
    let call = call(r#"{"template": "{prompt}!", "prompt_chars_max": 100000}"#);
    let before = hook.before(&call, &format!(r#"{{"prompt":"{prompt}"}}"#)).await.expect("a long prompt");
    assert_eq!(before.action, BeforeAction::Replace(format!(r#"{{"prompt":"{prompt}!"}}"#)));
}

#[tokio::test]
async fn a_hook_opens_from_bytes_of_any_kind() {
    assert!(open(&engine(), Bytes::from_static(REDACT)).await.is_ok());
}
