//! Each model serves as many clients at a time as it can, and no more.

#![cfg(feature = "kit")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::{Command, Output};

use benches::models::{Comparison, Model, Row};

fn models(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_models")).args(arguments).output().unwrap()
}

#[test]
fn each_model_serves_whom_it_can() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("models");
    let output = models(&[
        "--clients",
        "3",
        "--pool",
        "2",
        "--loops",
        "2",
        "--work",
        "10",
        "--duration",
        "50ms",
        "--timeout",
        "2s",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    let json = std::fs::read(out.join("models.json")).unwrap();
    let comparison: Comparison = serde_json::from_slice(&json).unwrap();
    let row = |model: Model| -> &Row {
        comparison.rows.iter().find(|row| row.model == model.name()).unwrap()
    };
    // The blocking loop ends only with its first client; the pool has a thread for two of them.
    for (model, answered, threads) in [
        (Model::Blocking, 1, 1),
        (Model::Threads, 3, 4),
        (Model::Pool, 2, 3),
        (Model::Processes, 3, 4),
        (Model::Reactor, 3, 1),
        (Model::Loops, 3, 3),
    ] {
        let row = row(model);
        assert_eq!((row.clients_answered, row.threads), (answered, threads), "{row:?}");
        assert!(row.lines_per_second > 0.0 && row.cpu_ns > 0.0 && row.resident > 0, "{row:?}");
    }
    let again = out.join("again");
    let from = out.join("models.json");
    let shown = models(&["--from", from.to_str().unwrap(), "--out", again.to_str().unwrap()]);
    assert_eq!(String::from_utf8(shown.stdout), String::from_utf8(output.stdout));
    assert!(again.join("models.svg").exists() && !again.join("models.json").exists());
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    for (arguments, code, why) in [
        (&["serve", "forks"][..], 2, "processes"),
        (&["--clients", "0"], 2, "above 0"),
        (&["--from", "/no/such/file"], 1, "/no/such/file"),
        (&["serve", "reactor", "--port", "65536"], 2, "65536"),
    ] {
        let output = models(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(why), "{stderr}");
    }
}
