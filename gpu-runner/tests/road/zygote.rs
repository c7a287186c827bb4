//! The same road from a zygote: a version that starts from one is in every way what it is when it starts as ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gpu_runner::IsolationWish;
use protocol::prediction::{Errand, Rung};
use protocol::wire::{Bundle, FailCode, Outcome};
use serde_json::{Value, json};

use crate::house::{House, Ran, cancel, in_a_house, in_the_house_of_zygotes, projects};

/// A zygote is prepared in half of one; this only ends what hangs.
const TRIES_MAX: usize = 20;

fn text() -> Value {
    json!({"type": "string"})
}

fn file() -> Value {
    json!({"type": "string", "format": "uri"})
}

/// Every version is a new one: none of another run of the tests is warm.
fn salt() -> String {
    format!("{:?} {}", Instant::now(), std::process::id())
}

fn small(house: &House, predict: &str, more: &[(&str, &[u8])]) -> Arc<Bundle> {
    let (script, salt) = (format!("import os, sys\nfrom cog import BasePredictor, Path\n{predict}\n"), salt());
    let mut files: Vec<(&str, &[u8])> = vec![("predict.py", script.as_bytes()), ("salt", salt.as_bytes())];
    files.extend_from_slice(more);
    house.predictor(&files, &json!({}), &json!({"text": text()}), &text())
}

fn rung(ran: &Ran) -> Rung {
    ran.started.as_ref().expect("it started").cold.expect("it was a cold start").rung
}

#[track_caller]
fn from_zygote(ran: Ran) -> Ran {
    let ran = ran.succeeded();
    assert_eq!(rung(&ran), Rung::Zygote);
    ran
}

#[test]
fn a_version_answers_and_says_that_it_came_from_a_zygote_and_another_zygote_is_prepared() {
    in_the_house_of_zygotes(|house| async move {
        for _ in 0..2 {
            house.wait_for_card(|card| card.zygotes > 0).await;
            let echo = house.project("echo", &salt(), &json!({"text": text()}), &text());
            let ran = from_zygote(house.run(&echo, json!({"text": "olá"})).await);
            assert_eq!(ran.outputs, [json!("olá")]);
            eprintln!("from a zygote: {:?}", ran.started.as_ref().and_then(|started| started.cold));
            assert_eq!(house.run(&echo, json!({"text": "again"})).await.succeeded().started.expect("it ran").cold, None);
        }
    });
}

#[test]
fn words_arrive_one_by_one() {
    in_the_house_of_zygotes(|house| async move {
        let output = json!({"type": "array", "items": text(), "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"});
        let words = house.project("stream-words", &salt(), &json!({"text": text(), "delay": {"type": "number"}}), &output);
        let ran = from_zygote(house.run(&words, json!({"text": "one two three", "delay": 0.05})).await);
        assert_eq!(ran.outputs, [json!("one"), json!(" two"), json!(" three")]);
    });
}

#[test]
fn files_come_in_and_go_out() {
    in_the_house_of_zygotes(|house| async move {
        house.platform.keep_input("z1/abc.txt", b"abc");
        let files = house.project("files", &salt(), &json!({"file": file()}), &file());
        let ran = from_zygote(house.run(&files, json!({"file": "/runner/inputs/z1/abc.txt"})).await);
        assert_eq!(house.platform.upload(&ran.outputs[0]), ("reversed.txt".to_owned(), "cba".into()));
    });
}

#[test]
fn a_cancel_is_heard_and_one_that_is_not_ends_the_process() {
    in_the_house_of_zygotes(|house| async move {
        let sleepy = house.project("sleepy", &salt(), &json!({"seconds": {"type": "number"}, "deaf": {"type": "boolean"}}), &text());
        let mut line = house.call(&sleepy, "a", json!({"seconds": 60}));
        Ran::until_logged(&mut line, "asleep").await;
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(ran.logs.contains("cancel heard") && took < Duration::from_secs(2), "{took:?} {}", ran.logs);
        let mut line = house.call(&sleepy, "a", json!({"seconds": 60, "deaf": true}));
        let again = Ran::until_logged(&mut line, "asleep").await;
        assert_eq!(again.started.expect("it started").cold, None, "the instance was kept");
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(took < Duration::from_secs(2), "{took:?}");
        house.run(&sleepy, json!({"seconds": 0})).await.succeeded();
    });
}

#[test]
fn a_training_runs() {
    in_the_house_of_zygotes(|house| async move {
        let read = |name: &str| std::fs::read(projects().join("trainable").join(name)).expect("the project has it");
        let (predict, train, salt) = (read("predict.py"), read("train.py"), salt());
        let files: [(&str, &[u8]); 3] = [("predict.py", &predict), ("train.py", &train), ("salt", salt.as_bytes())];
        let schemas = json!({
            "Input": {"type": "object", "properties": {"letter": text()}},
            "Output": text(),
            "TrainingInput": {"type": "object", "properties": {"text": file(), "epochs": {"type": "integer"}, "pause": {"type": "number"}}},
            "TrainingOutput": {"type": "object", "properties": {"weights": file()}},
        });
        let more = json!({"trainer": "train.py:train", "openapi_schema": {"components": {"schemas": schemas}}});
        let bundle = house.predictor(&files, &more, &json!({}), &text());
        let input = json!({"text": "data:text/plain;base64,YWI=", "epochs": 1});
        let ran = from_zygote(Ran::listen(&mut house.call_for(&bundle, Errand::Train, None, input)).await);
        assert_eq!(house.platform.upload(&ran.outputs[0]["weights"]).0, "weights.json");
    });
}

#[test]
fn a_worker_that_is_killed_fails_its_prediction_or_costs_none_and_is_replaced() {
    in_the_house_of_zygotes(|house| async move {
        let script = "import threading, signal\n\nclass Predictor(BasePredictor):\n    def predict(self, text: str) -> str:\n        if text == 'now':\n            os.kill(os.getpid(), signal.SIGKILL)\n        if text == 'soon':\n            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n        return 'served'";
        let mortal = small(house, script, &[]);
        let version = mortal.version;
        from_zygote(house.run(&mortal, json!({"text": "soon"})).await);
        let warm =
            |card: &protocol::wire::RunnerCard| card.versions.iter().any(|on_it| on_it.version == version && on_it.instances_warm > 0);
        house.wait_for_card(|card| !warm(card)).await;
        house.run(&mortal, json!({"text": ""})).await.succeeded();
        house.wait_for_card(|card| card.zygotes > 0).await;
        let fresh = small(house, script, &[]);
        let ran = house.run(&fresh, json!({"text": "now"})).await;
        assert_eq!((ran.failure().0, rung(&ran)), (FailCode::Killed, Rung::Zygote));
        assert_eq!(house.run(&fresh, json!({"text": ""})).await.succeeded().outputs, [json!("served")]);
    });
}

#[test]
fn a_setup_that_fails_keeps_its_error_and_its_prints_and_the_zygote_is_not_tried_again() {
    in_the_house_of_zygotes(|house| async move {
        let script = "class Predictor(BasePredictor):\n    def setup(self):\n        print('looking for weights', flush=True)\n        import time\n        time.sleep(0.5)\n        raise FileNotFoundError('no weights')\n\n    def predict(self, text: str) -> str:\n        return text";
        let raises = small(house, script, &[]);
        for zygotes_left in [0, 1] {
            house.wait_for_card(|card| card.zygotes > 0).await;
            let ran = house.run(&raises, json!({"text": "x"})).await;
            assert_eq!(ran.failure(), (FailCode::SetupFailed, "the model's setup failed: FileNotFoundError: no weights"));
            assert!(ran.logs.contains("looking for weights"), "{}", ran.logs);
            house.wait_for_card(|card| card.zygotes >= zygotes_left).await;
        }
    });
}

/// What a process can know of how it was started.
const TELLS: &str = "
import json, resource, signal, stat, warnings
import own_helper

def kind(fd):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    return stat.S_IFMT(mode)

class Predictor(BasePredictor):
    def setup(self):
        self.environment = dict(os.environ)

    def predict(self, text: str) -> str:
        here = os.getcwd()
        status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
        return json.dumps({
            'environment': {name: value for name, value in self.environment.items() if name not in ('MODEL_UPLOAD_URL', 'PORT')},
            'here': sorted(os.listdir('.')), 'is_here': os.path.dirname(os.path.abspath(__file__)) == here,
            'arguments': sys.argv, 'original': sys.orig_argv, 'path': [entry.replace(here, 'HERE') for entry in sys.path],
            'executable': sys.executable, 'flags': list(sys.flags), 'main': sorted(vars(sys.modules['__main__'])),
            'files': [kind(fd) for fd in range(3)], 'mask': os.umask(0o22),
            'signals': [str(signal.getsignal(n)) for n in range(1, 32)],
            'limits': [resource.getrlimit(n) for n in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_DATA)],
            'status': {name: status[name].strip() for name in ('NoNewPrivs', 'Seccomp', 'CapEff', 'CapPrm', 'SigBlk', 'Groups')},
            'filters': len(warnings.filters), 'recursion': sys.getrecursionlimit(),
            'own': sorted(name for name in sys.modules if name.startswith('own_')), 'helper': own_helper.NAME,
        })
";

/// Runs versions made alike until one has started on this rung.
async fn told_on(house: &House, wanted: Rung, helpers: &[(&str, &[u8])]) -> Value {
    for _ in 0..TRIES_MAX {
        if wanted == Rung::Zygote {
            house.wait_for_card(|card| card.zygotes > 0).await;
        }
        let ran = house.run(&small(house, TELLS, helpers), json!({"text": ""})).await.succeeded();
        if rung(&ran) == wanted {
            return serde_json::from_str(ran.outputs[0].as_str().expect("it is text")).expect("it is JSON");
        }
    }
    panic!("no start was on {wanted:?}");
}

#[test]
fn a_version_finds_itself_started_as_ever_and_nothing_of_the_version_before_it() {
    in_the_house_of_zygotes(|house| async move {
        let helpers: [(&str, &[u8]); 2] = [("own_helper.py", b"import own_other\nNAME = 'first'"), ("own_other.py", b"")];
        let from_zygote = told_on(house, Rung::Zygote, &helpers).await;
        let stock = told_on(house, Rung::EnvironmentHit, &helpers).await;
        for (name, value) in stock.as_object().expect("it is an object") {
            assert_eq!(&from_zygote[name], value, "{name}");
        }
        assert_eq!(told_on(house, Rung::Zygote, &[("own_helper.py", b"NAME = 'second'")]).await["own"], json!(["own_helper"]));
    });
}

#[test]
fn a_module_of_the_versions_own_comes_before_one_that_a_zygote_has_imported() {
    in_the_house_of_zygotes(|house| async move {
        let script =
            "import calendar\n\nclass Predictor(BasePredictor):\n    def predict(self, text: str) -> str:\n        return calendar.OWN";
        let own = small(house, script, &[("calendar.py", b"OWN = 'mine'\ntimegm = None\n")]);
        let ran = house.run(&own, json!({"text": ""})).await.succeeded();
        assert_eq!(
            (ran.outputs, ran.started.expect("it started").cold.expect("it was cold").rung),
            (vec![json!("mine")], Rung::EnvironmentHit)
        );
    });
}

#[test]
fn the_walls_hold() {
    in_the_house_of_zygotes(|house| async move {
        if house.card().expect("it has one").isolation.starts_with("none") {
            return;
        }
        let script = "
import ctypes, json, socket

def tried(f):
    try:
        return repr(f())
    except BaseException as error:
        return type(error).__name__

class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        here = os.getcwd()
        libc = ctypes.CDLL(None, use_errno=True)
        return json.dumps({
            'write': tried(lambda: open('x', 'w')), 'change': tried(lambda: os.chmod('predict.py', 0o777)),
            'link': tried(lambda: os.unlink('predict.py')), 'up': sorted(os.listdir(os.path.dirname(here))),
            'tools': tried(lambda: os.unlink(os.path.join(os.path.dirname(here), '..', 'zygotes', 'python'))),
            'mount': libc.mount(b'x', b'/tmp', b'tmpfs', 0, None), 'unshare': libc.unshare(0x10000000),
            'host': tried(lambda: socket.create_connection(('127.0.0.1', 22), 1)), 'out': tried(lambda: socket.create_connection(('1.1.1.1', 80), 1)),
            'processes': sum(name.isdigit() for name in os.listdir('/proc')), 'user': os.getuid(),
            'parent': tried(lambda: open('/proc/1/environ').read()), 'sockets': [line.split()[-1] for line in open('/proc/net/unix') if '/' in line],
        })
";
        let ran = from_zygote(house.run(&small(house, script, &[]), json!({"text": ""})).await);
        let told: Value = serde_json::from_str(ran.outputs[0].as_str().expect("it is text")).expect("it is JSON");
        for refused in ["write", "change", "link", "tools", "host", "out", "parent"] {
            assert!(told[refused].as_str().expect("it is text").ends_with("Error"), "{refused}: {told}");
        }
        assert_eq!((told["mount"].as_i64(), told["unshare"].as_i64()), (Some(-1), Some(-1)), "{told}");
        assert_eq!(told["up"].as_array().map(Vec::len), Some(1), "{told}");
        // The launcher, the server, the minder, the worker, and what the server takes for the worker.
        assert!(told["processes"].as_u64() <= Some(5) && told["user"].as_u64() >= Some(260_000), "{told}");
        assert_eq!(told["sockets"], json!([]));
    });
}

#[test]
fn a_machine_without_walls_has_zygotes_too() {
    in_a_house(
        "zygotes-plain",
        |config| (config.zygotes_max, config.isolation) = (1, IsolationWish::Off),
        |house| async move {
            for wanted in [Rung::EnvironmentHit, Rung::Zygote] {
                let echo = house.project("echo", &salt(), &json!({"text": text()}), &text());
                let ran = house.run(&echo, json!({"text": "x"})).await.succeeded();
                assert_eq!(rung(&ran) == Rung::Zygote, wanted == Rung::Zygote, "{ran:?}");
                house.wait_for_card(|card| card.zygotes == 1).await;
            }
            let runner = house.runner.clone();
            house.close().await;
            assert_eq!(named(&runner), 0, "no process is left");
        },
    );
}

#[test]
fn zygotes_end_with_their_runner() {
    in_a_house(
        "zygotes-end",
        |config| config.zygotes_max = 1,
        |house| async move {
            let echo = house.project("echo", &salt(), &json!({"text": text()}), &text());
            house.run(&echo, json!({"text": "x"})).await.succeeded();
            house.wait_for_card(|card| card.zygotes == 1).await;
            let runner = house.runner.clone();
            assert!(named(&runner) > 0);
            house.close().await;
            assert_eq!(named(&runner), 0, "no process is left");
        },
    );
}

/// Processes of this machine whose command line names the runner's home.
fn named(runner: &str) -> usize {
    let home = format!("homes/{runner}/");
    let names_it = |entry: std::io::Result<std::fs::DirEntry>| {
        let line = entry.ok().and_then(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        line.is_some_and(|line| String::from_utf8_lossy(&line).contains(&home))
    };
    std::fs::read_dir("/proc").expect("the machine tells").map(names_it).filter(|found| *found).count()
}
