//! Kills a process that writes, again and again, and looks for answers that the disk does not hold.
//!
//! It is a program of its own because it starts itself as the process to kill. A kill leaves the page cache alone: that the sync comes
//! before the answer is `SQLite`'s doing under `synchronous = full`, which a test of `store` reads back.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use sqlx::Row;
use store::{Db, StoreError};

const ROUNDS: usize = 5;
const ANSWERS_BEFORE_KILL: usize = 200;
const CALLERS: i64 = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match arguments.as_slice() {
        [_, role, url, first] if role == "--write-until-killed" => {
            runtime.block_on(write_until_killed(url, first.parse().expect("the first number is a number")));
        }
        _ => runtime.block_on(every_answer_survives_kill_9()),
    }
}

async fn every_answer_survives_kill_9() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let url = format!("sqlite://{}", home.path().join("feira.db").display());
    let mut answered = 0;
    for round in 0..ROUNDS {
        let answers = answers_before_kill(&url, round);
        let db = Db::open(&url).await.expect("the database opens after a kill");
        for id in &answers {
            assert!(holds(&db, id.clone()).await, "answered, and lost: {id}");
        }
        db.close().await;
        answered += answers.len();
    }
    println!("kill -9: {ROUNDS} kills, {answered} answers, 0 lost");
}

/// Starts the writer, kills it in the middle of its work, and returns every id that it had answered.
fn answers_before_kill(url: &str, round: usize) -> Vec<String> {
    let itself = std::env::current_exe().expect("the test knows its own path");
    let mut writer = Command::new(itself)
        .args(["--write-until-killed", url, &(round * 1_000_000).to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the writer starts");
    let mut lines = BufReader::new(writer.stdout.take().expect("its output is piped")).lines();
    let mut answers: Vec<String> = lines.by_ref().take(ANSWERS_BEFORE_KILL).map_while(Result::ok).collect();
    writer.kill().expect("the writer still runs");
    answers.extend(lines.map_while(Result::ok).filter(|line| line.ends_with('.')));
    writer.wait().expect("the writer ended");
    assert!(answers.len() >= ANSWERS_BEFORE_KILL);
    answers
}

async fn write_until_killed(url: &str, first: i64) {
    let db = Db::open(url).await.expect("the database opens");
    let batch = db.batch("keep", |tx, ids: &[String]| {
        Box::pin(async move {
            for id in ids {
                let insert = "insert into balance (account, amount) values ($1, 1)";
                sqlx::query(insert).bind(id.as_str()).execute(&mut *tx).await?;
            }
            Ok(ids.to_vec())
        })
    });
    let callers = (0..CALLERS).map(|caller| {
        let batch = batch.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let id = format!("{}.", first + caller * 10_000 + n);
                println!("{}", batch.send(id).await.expect("the command is applied"));
            }
        })
    });
    futures::future::join_all(callers.collect::<Vec<_>>()).await;
}

async fn holds(db: &Db, id: String) -> bool {
    let count = db.read(|tx| {
        Box::pin(async move {
            let count = sqlx::query("select count(*) as n from balance where account = $1").bind(id).fetch_one(tx).await?;
            Ok::<i64, StoreError>(count.get("n"))
        })
    });
    count.await.expect("the balance can be read") == 1
}
