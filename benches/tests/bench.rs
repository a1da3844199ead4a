//! What `bench` does without measuring: the rest needs a machine for itself.

#![cfg(feature = "kit")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::{Command, Output};

use benches::bench::{CellResult, Column, Results, Sample};
use benches::machine::Machine;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap()
}

fn column(peer: &str, costs: [f64; 3]) -> Column {
    let sample = |cost| Some(Sample { cost, per_second: 1.0, p50_ns: 10_000, p99_ns: 20_000 });
    Column {
        peer: peer.to_owned(),
        is_floor: peer == "epoll",
        is_floor_again: peer == "epoll again",
        is_ours: peer == "reactor",
        samples: costs.into_iter().map(sample).collect(),
    }
}

fn results() -> Results {
    let cell = CellResult {
        name: "echo 64/1/64".to_owned(),
        unit: "ns per message".to_owned(),
        is_ratio: true,
        connections: 64,
        scale: Some("CPU time".to_owned()),
        target: Some(1.05),
        columns: vec![
            column("epoll", [1000.0, 2000.0, 1000.0]),
            column("reactor", [1020.0, 2060.0, 1040.0]),
            column("epoll again", [1010.0, 1980.0, 1000.0]),
        ],
    };
    Results {
        machine: Machine::here(),
        rounds: 3,
        seconds_per_round: 1.0,
        server_core: 0,
        load_core: 1,
        left_out: Vec::new(),
        cells: vec![cell],
        pairs: Vec::new(),
        failures: Vec::new(),
    }
}

#[test]
fn a_table_and_pictures_are_made_of_what_was_written() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-from");
    std::fs::create_dir_all(&folder).unwrap();
    let (file, out) = (folder.join("in.json"), folder.join("out"));
    std::fs::write(&file, serde_json::to_vec(&results()).unwrap()).unwrap();
    let output = bench(&["--from", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("1.03 (1.02-1.04)") && text.contains("1000 ns per message"), "{text}");
    assert_eq!(std::fs::read_to_string(out.join("table.md")).unwrap(), text);
    for picture in ["ratios.svg", "scale.svg"] {
        assert!(std::fs::read_to_string(out.join(picture)).unwrap().contains("reactor"));
    }
}

#[test]
fn peers_and_cells_are_named_and_chosen() {
    let list = |arguments: &[&str]| {
        let output = bench(&[&["--list"], arguments].concat());
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let all = list(&[]);
    for name in [
        "peer epoll\n",
        "peer epoll again\n",
        "peer tokio, 64 KiB\n",
        "peer gnet\n",
        "cell idle 19000\n",
        "pair echo 1/1/64, --spin 50us to without, p50, reactor\n",
    ] {
        assert!(all.contains(name), "{name}");
    }
    let few = list(&["--peers", "libuv;asyncio", "--cells", "bulk,"]);
    assert_eq!(
        few,
        "peer epoll\npeer libuv\npeer asyncio\npeer epoll again\ncell bulk, 64 KiB writes\n"
    );
    let chat = list(&["--chat"]);
    for name in ["peer naive mio again\n", "peer threads\n", "cell growth, 10000 listeners\n"] {
        assert!(chat.contains(name), "{name}");
    }
    assert!(list(&["--quick"]).lines().count() < all.lines().count() / 2 + 1);
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    for (arguments, code, why) in [
        (&["--peers", "nobody"][..], 2, "no peer"),
        (&["--cells", "nothing"], 2, "no cell"),
        (&["--from", "/no/such/file"], 1, "/no/such/file"),
        (&["--from", "Cargo.toml"], 1, "Cargo.toml"),
        (&["--from", "x", "--quick"], 2, "cannot be used with"),
    ] {
        let output = bench(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(why), "{stderr}");
    }
}
