//! The main road: the real Cog runs the test projects.

use std::time::{Duration, Instant};

use protocol::wire::{FailCode, Outcome};
use serde_json::{Value, json};

use crate::house::{House, Ran, cancel, in_the_house};

const STOPPED_WITHIN: Duration = Duration::from_secs(2);

fn text() -> Value {
    json!({"type": "string"})
}

fn file() -> Value {
    json!({"type": "string", "format": "uri"})
}

/// A predictor of a few lines, under a name of its own.
fn small(house: &House, predict: &str, output: &Value) -> std::sync::Arc<protocol::wire::Bundle> {
    let script = format!(
        "import os, sys, tempfile\nfrom typing import *\nfrom cog import BasePredictor, BaseModel, Path, ConcatenateIterator\n{predict}\n"
    );
    house.predictor(&[("predict.py", script.as_bytes())], &json!({}), &json!({"text": text(), "file": file()}), output)
}

#[test]
fn the_first_prediction_is_told_what_its_cold_start_took_and_the_second_is_warm() {
    in_the_house(|house| async move {
        let echo = house.project("echo", "cold", &json!({"text": text()}), &text());
        let first = house.run(&echo, json!({"text": "olá"})).await.succeeded();
        assert_eq!(first.outputs, [json!("olá")]);
        let cold = first.started.as_ref().unwrap().cold.unwrap();
        assert!(cold.start_us > 0 && cold.setup_us > 0, "{cold:?}");
        let second = house.run(&echo, json!({"text": "again"})).await.succeeded();
        let started = second.started.as_ref().unwrap();
        assert_eq!((started.cold, started.hardware.as_str()), (None, "cpu"));
        assert!(started.queue_us < 1_000_000 && second.run_us() > 0 && second.run_us() < 1_000_000, "{second:?}");
    });
}

#[test]
fn an_iterators_words_arrive_one_by_one_and_in_order() {
    in_the_house(|house| async move {
        let output = json!({"type": "array", "items": text(), "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"});
        let words = house.project("stream-words", "", &json!({"text": text(), "delay": {"type": "number"}}), &output);
        let ran = house.run(&words, json!({"text": "one two three", "delay": 0.05})).await.succeeded();
        assert_eq!(ran.outputs, [json!("one"), json!(" two"), json!(" three")]);
        // From the model's word that it has begun, which a busy machine may hear late, to its end: at least what lies between three words.
        assert!(ran.run_us() >= 100_000, "{}", ran.run_us());
    });
}

#[test]
fn a_list_is_one_output() {
    in_the_house(|house| async move {
        let list = small(
            house,
            "class Predictor(BasePredictor):\n    def predict(self, text: str) -> List[str]:\n        return list(text)",
            &json!({"type": "array", "items": text()}),
        );
        assert_eq!(house.run(&list, json!({"text": "abc"})).await.succeeded().outputs, [json!(["a", "b", "c"])]);
        assert_eq!(house.run(&list, json!({"text": ""})).await.succeeded().outputs, [json!([])]);
    });
}

#[test]
fn a_file_goes_in_and_another_comes_out() {
    in_the_house(|house| async move {
        house.platform.keep_input("f1/abc.txt", b"abc");
        let files = house.project("files", "", &json!({"file": file()}), &file());
        let ran = house.run(&files, json!({"file": "/runner/inputs/f1/abc.txt"})).await.succeeded();
        let location = &ran.outputs[0];
        assert!(location.as_str().unwrap().ends_with("?signed=1"), "the location is kept whole: {location}");
        assert_eq!(house.platform.upload(location), ("reversed.txt".to_owned(), "cba".into()));
        let inline = house.run(&files, json!({"file": "data:text/plain;base64,eHl6"})).await.succeeded();
        assert_eq!(house.platform.upload(&inline.outputs[0]).1, "zyx");
    });
}

#[test]
fn an_input_file_that_cannot_be_had_is_why_the_prediction_failed() {
    in_the_house(|house| async move {
        let files = house.project("files", "", &json!({"file": file()}), &file());
        for address in ["/runner/inputs/gone/a.txt", "http://127.0.0.1:1/a.txt", "https://localhost/a.txt"] {
            let ran = house.run(&files, json!({"file": address})).await;
            let (code, message) = ran.failure();
            assert_eq!(code, FailCode::FetchFailed, "{address}: {message}");
            assert!(message.starts_with("a.txt could not be fetched"), "{message}");
        }
    });
}

#[test]
fn the_files_of_a_list_keep_their_order_and_files_in_objects_are_uploaded() {
    in_the_house(|house| async move {
        let several = "
def made(name, content):
    path = Path(tempfile.mkdtemp()) / name
    path.write_bytes(content)
    return path
";
        let list = format!(
            "{several}\nclass Predictor(BasePredictor):\n    def predict(self) -> List[Path]:\n        return [made('out.txt', b'x' * (9 - n) * 1000 + bytes([48 + n])) for n in range(9)]"
        );
        let list = small(house, &list, &json!({"type": "array", "items": file()}));
        let ran = house.run(&list, json!({})).await.succeeded();
        let ends: Vec<u8> = ran.outputs[0].as_array().unwrap().iter().map(|at| *house.platform.upload(at).1.last().unwrap()).collect();
        assert_eq!(ends, b"012345678");

        let object = format!(
            "{several}\nclass Out(BaseModel):\n    label: str\n    file: Path\n\nclass Predictor(BasePredictor):\n    def predict(self) -> Out:\n        return Out(label='data:text', file=made('out.txt', b'hello'))"
        );
        let object = small(house, &object, &json!({"type": "object", "properties": {"label": text(), "file": file()}}));
        let ran = house.run(&object, json!({})).await.succeeded();
        assert_eq!(ran.outputs[0]["label"], "data:text");
        assert_eq!(house.platform.upload(&ran.outputs[0]["file"]).1, "hello");
    });
}

#[test]
fn a_model_that_hears_a_cancel_stops_and_its_instance_stays() {
    in_the_house(|house| async move {
        let sleepy = house.project("sleepy", "hears", &json!({"seconds": {"type": "number"}, "deaf": {"type": "boolean"}}), &text());
        let mut line = house.call(&sleepy, "a", json!({"seconds": 60}));
        Ran::until_logged(&mut line, "asleep").await;
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(ran.logs.contains("cancel heard") && took < STOPPED_WITHIN, "{took:?} {}", ran.logs);
        let after = house.run(&sleepy, json!({"seconds": 0})).await.succeeded();
        assert_eq!(after.started.unwrap().cold, None, "the instance is warm still");
    });
}

#[test]
fn a_model_deaf_to_a_cancel_is_ended_within_two_seconds_and_replaced() {
    in_the_house(|house| async move {
        let sleepy = house.project("sleepy", "deaf", &json!({"seconds": {"type": "number"}, "deaf": {"type": "boolean"}}), &text());
        let mut line = house.call(&sleepy, "a", json!({"seconds": 60, "deaf": true}));
        Ran::until_logged(&mut line, "asleep").await;
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(took < STOPPED_WITHIN, "{took:?}");
        let version = sleepy.version;
        house.wait_for_card(|card| card.versions.iter().any(|on_it| on_it.version == version && on_it.slots_idle == 1)).await;
        assert_eq!(
            house.run(&sleepy, json!({"seconds": 0})).await.succeeded().started.unwrap().cold,
            None,
            "it was replaced before anybody asked"
        );
    });
}

#[test]
fn a_prediction_that_runs_too_long_is_stopped() {
    in_the_house(|house| async move {
        let predict = std::fs::read(crate::house::projects().join("sleepy/predict.py")).unwrap();
        let limits = json!({"limits": {"run_seconds_max": 1, "setup_seconds_max": 120}});
        let sleepy = house.predictor(
            &[("predict.py", &predict)],
            &limits,
            &json!({"seconds": {"type": "number"}, "deaf": {"type": "boolean"}}),
            &text(),
        );
        for deaf in [false, true] {
            let ran = house.run(&sleepy, json!({"seconds": 60, "deaf": deaf})).await;
            assert_eq!(ran.failure(), (FailCode::Timeout, "the prediction ran longer than 1 s"));
            assert!((1_000_000..3_000_000).contains(&ran.run_us()), "{}", ran.run_us());
        }
    });
}

#[test]
fn a_worker_that_dies_fails_its_prediction_and_is_replaced() {
    in_the_house(|house| async move {
        let mortal = house.project("kills-itself", "", &json!({"die": {"type": "boolean"}}), &text());
        let ran = house.run(&mortal, json!({"die": true})).await;
        assert_eq!(ran.failure().0, FailCode::Killed, "{:?}", ran.outcome());
        assert_eq!(house.run(&mortal, json!({"die": false})).await.succeeded().outputs, [json!("alive")]);
    });
}

#[test]
fn a_setup_that_raises_fails_all_that_wait_with_its_error() {
    in_the_house(|house| async move {
        let raises = house.project("setup-raises", "", &json!({"text": text()}), &text());
        let mut lines: Vec<_> = (0..3).map(|_| house.call(&raises, "a", json!({"text": "x"}))).collect();
        for line in &mut lines {
            let ran = Ran::listen(line).await;
            assert_eq!(ran.failure(), (FailCode::SetupFailed, "the model's setup failed: FileNotFoundError: weights/model.bin is missing"));
            assert_eq!((ran.started.is_none(), ran.run_us()), (true, 0));
        }
    });
}

#[test]
fn a_predict_that_raises_keeps_its_logs_and_its_instance() {
    in_the_house(|house| async move {
        let raises = house.project("predict-raises", "", &json!({"message": text()}), &text());
        let ran = house.run(&raises, json!({"message": "boom"})).await;
        assert_eq!(ran.failure(), (FailCode::ModelError, "ValueError: boom"));
        assert_eq!(ran.logs, "about to fail\n");
        assert_eq!(house.run(&raises, json!({"message": "again"})).await.started.unwrap().cold, None);
    });
}

#[test]
fn a_hundred_megabytes_of_logs_neither_block_the_model_nor_fill_the_memory() {
    in_the_house(|house| async move {
        let chatty = house.project("chatty", "", &json!({"kibibytes": {"type": "integer"}}), &json!({"type": "integer"}));
        let began = Instant::now();
        let ran = house.run(&chatty, json!({"kibibytes": 102_400})).await.succeeded();
        assert_eq!(ran.outputs, [json!(102_400)]);
        assert!(ran.logs.len() < 1_200_000 && ran.logs.contains("bytes of logs are left out here"), "{}", ran.logs.len());
        eprintln!("100 MiB of logs: {:?}, {} bytes kept", began.elapsed(), ran.logs.len());
    });
}

#[test]
fn an_iterator_faster_than_cogs_own_stream_is_told_whole() {
    in_the_house(|house| async move {
        let output = json!({"type": "array", "items": text(), "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"});
        let script = "class Predictor(BasePredictor):\n    def predict(self) -> ConcatenateIterator[str]:\n        for n in range(30_000):\n            yield f'{n} '";
        let fast = small(house, script, &output);
        let ran = house.run(&fast, json!({})).await.succeeded();
        let said: String = ran.outputs.iter().map(|chunk| chunk.as_str().unwrap()).collect();
        assert_eq!(said, (0..30_000).map(|n| n.to_string() + " ").collect::<String>());
    });
}

#[test]
fn what_one_prediction_leaves_in_its_scratch_the_next_does_not_see() {
    in_the_house(|house| async move {
        let leaves = small(
            house,
            "class Predictor(BasePredictor):\n    def setup(self):\n        open('/tmp/of-setup', 'w').close()\n\n    def predict(self) -> str:\n        seen = sorted(name for name in os.listdir(tempfile.gettempdir()) if name.startswith('of-'))\n        open(tempfile.gettempdir() + '/of-predict', 'w').close()\n        return ' '.join(seen)",
            &text(),
        );
        for _ in 0..2 {
            assert_eq!(house.run(&leaves, json!({})).await.succeeded().outputs, [json!("of-setup")]);
        }
    });
}

#[test]
fn a_worker_that_dies_while_nobody_looks_costs_no_prediction() {
    in_the_house(|house| async move {
        let script = "import threading, time, signal\n\nclass Predictor(BasePredictor):\n    def predict(self, text: str) -> str:\n        if text:\n            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n        return 'served'";
        let mortal = small(house, script, &text());
        let version = mortal.version;
        let warm = |card: &protocol::wire::RunnerCard| {
            card.versions.iter().find(|on_it| on_it.version == version).map_or(0, |on_it| on_it.instances_warm)
        };
        house.run(&mortal, json!({"text": "die soon"})).await.succeeded();
        house.wait_for_card(|card| warm(card) == 0).await;
        house.run(&mortal, json!({"text": ""})).await.succeeded();
    });
}

#[test]
fn a_model_that_eats_its_memory_is_told_apart_from_one_that_dies() {
    in_the_house(|house| async move {
        if !house.card().unwrap().isolation.contains("memory limit") {
            return;
        }
        let script = b"from cog import BasePredictor\n\nclass Predictor(BasePredictor):\n    def predict(self) -> int:\n        return len(bytearray(1 << 30).replace(b'\\0', b'x'))";
        let hungry = house.predictor(
            &[("predict.py", script)],
            &json!({"resources": {"memory_bytes": 300 << 20}}),
            &json!({}),
            &json!({"type": "integer"}),
        );
        let ran = house.run(&hungry, json!({})).await;
        assert_eq!(ran.failure(), (FailCode::Oom, "the model ran out of memory"));
    });
}

#[test]
fn an_async_predictor_runs_several_at_a_time_and_stops_one_of_them() {
    in_the_house(|house| async move {
        let script = b"import asyncio\nfrom cog import BasePredictor\n\nclass Predictor(BasePredictor):\n    async def predict(self, seconds: float) -> str:\n        print('asleep')\n        await asyncio.sleep(seconds)\n        return 'awake'";
        let input = json!({"seconds": {"type": "number"}});
        let sleepers = house.predictor(&[("predict.py", script)], &json!({"concurrency": 3}), &input, &text());
        house.run(&sleepers, json!({"seconds": 0})).await.succeeded();
        let mut lines: Vec<_> = (0..3).map(|n| house.call(&sleepers, "a", json!({"seconds": if n == 0 { 60.0 } else { 0.5 }}))).collect();
        Ran::until_logged(&mut lines[0], "asleep").await;
        let (stopped, took) = cancel(&mut lines[0]).await;
        assert_eq!(stopped.outcome(), &Outcome::Canceled);
        assert!(took < Duration::from_secs(1), "{took:?}");
        for line in &mut lines[1..] {
            let ran = Ran::listen(line).await.succeeded();
            assert_eq!(ran.started.unwrap().cold, None, "all in one instance");
        }
    });
}

#[test]
fn back_to_back_predictions_all_run_in_one_instance() {
    in_the_house(|house| async move {
        let echo = house.project("echo", "back to back", &json!({"text": text()}), &text());
        house.run(&echo, json!({"text": "warm"})).await.succeeded();
        let began = Instant::now();
        for n in 0..100 {
            let ran = house.run(&echo, json!({"text": n.to_string()})).await.succeeded();
            assert_eq!((ran.outputs, ran.started.unwrap().cold), (vec![json!(n.to_string())], None));
        }
        eprintln!("100 warm predictions one after the other: {:?}", began.elapsed());
    });
}
