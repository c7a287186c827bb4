//! How long it takes from the order until a program runs, and until one that does nothing has ended, with and without walls.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use gpu_runner::sandbox::{Exit, IsolationWish, Launch, Sandbox, wipe};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn launch(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    for (name, wish) in [("sandbox", IsolationWish::Auto), ("plain", IsolationWish::Off)] {
        let bed = runtime.block_on(Bed::new(wish));
        eprintln!("{name}: {}", bed.sandbox.describe());
        let mut measure = |what: &str, phase: fn(&Times) -> Duration| {
            c.bench_function(&format!("{what}/{name}"), |b| b.to_async(&runtime).iter_custom(|times| bed.sum(times, phase)));
        };
        measure("order_to_running", |times| times.running);
        measure("order_to_ended", |times| times.ended);
    }
}

struct Bed {
    sandbox: Sandbox,
    home: TempDir,
}

/// Since the order.
struct Times {
    running: Duration,
    ended: Duration,
}

impl Bed {
    async fn new(wish: IsolationWish) -> Self {
        let home = tempfile::tempdir().expect("a directory can be made");
        std::fs::create_dir(home.path().join("project")).expect("a directory can be made");
        Self { sandbox: Sandbox::probe(wish, &launcher()).await.expect("a process can be started"), home }
    }

    async fn sum(&self, times: u64, phase: fn(&Times) -> Duration) -> Duration {
        let mut taken = Duration::ZERO;
        for _ in 0..times {
            // Cold starts do not follow on each other's heels: the next launcher has had time to get ready.
            tokio::time::sleep(Duration::from_millis(30)).await;
            taken += phase(&self.run().await);
        }
        taken
    }

    async fn run(&self) -> Times {
        let scratch = self.home.path().join("scratch");
        let launch = Launch {
            argv: vec!["/bin/true".to_owned()],
            env: Vec::new(),
            project: self.home.path().join("project"),
            read_only: Vec::new(),
            scratch: scratch.clone(),
            memory_bytes_max: 1 << 30,
            scratch_bytes_max: 1 << 30,
            gpus: Vec::new(),
            seat: 1,
            doors: self.sandbox.doors().expect("ports are free"),
            hears: false,
        };
        let ordered_at = Instant::now();
        let confined = self.sandbox.launch(launch).await.expect("the program starts");
        let running = ordered_at.elapsed();
        assert_eq!(confined.exited().await, Exit(0));
        let ended = ordered_at.elapsed();
        wipe(&scratch).await.expect("the scratch can be removed");
        Times { running, ended }
    }
}

/// Cargo builds examples beside the benchmarks: `cargo build --examples` first, in the same profile.
fn launcher() -> PathBuf {
    let own = std::env::current_exe().expect("a program has a path");
    own.parent().and_then(Path::parent).expect("cargo puts it in deps").join("examples/confine")
}

criterion_group!(benches, launch);
criterion_main!(benches);
