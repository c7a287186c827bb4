//! How long it takes from the order to the end of a program that does nothing, with and without walls.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use gpu_runner::sandbox::{Exit, IsolationWish, Launch, Sandbox, wipe};
use tokio::runtime::Runtime;

fn launch(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let home = tempfile::tempdir().expect("a directory can be made");
    let project = home.path().join("project");
    std::fs::create_dir(&project).expect("a directory can be made");
    for (name, wish) in [("sandbox", IsolationWish::Auto), ("plain", IsolationWish::Off)] {
        let sandbox = runtime.block_on(Sandbox::probe(wish, &launcher())).expect("a process can be started");
        eprintln!("{name}: {}", sandbox.describe());
        c.bench_function(&format!("launch_to_exit/{name}"), |b| {
            b.to_async(&runtime).iter_custom(async |times| {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    // Cold starts do not follow on each other's heels: the next launcher has had time to get ready.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    let begun = Instant::now();
                    run(&sandbox, &project, home.path().join("scratch")).await;
                    taken += begun.elapsed();
                }
                taken
            });
        });
    }
}

async fn run(sandbox: &Sandbox, project: &Path, scratch: PathBuf) {
    let launch = Launch {
        argv: vec!["/bin/true".to_owned()],
        env: Vec::new(),
        project: project.to_owned(),
        read_only: Vec::new(),
        scratch: scratch.clone(),
        memory_bytes_max: 1 << 30,
        gpus: Vec::new(),
        seat: 1,
        doors: sandbox.doors().expect("ports are free"),
    };
    let confined = sandbox.launch(launch).await.expect("the program starts");
    assert_eq!(confined.exited().await, Exit(0));
    wipe(&scratch).await.expect("the scratch can be removed");
}

/// Cargo builds examples beside the benchmarks: `cargo build --examples` first, in the same profile.
fn launcher() -> PathBuf {
    let own = std::env::current_exe().expect("a program has a path");
    own.parent().and_then(Path::parent).expect("cargo puts it in deps").join("examples/confine")
}

criterion_group!(benches, launch);
criterion_main!(benches);
