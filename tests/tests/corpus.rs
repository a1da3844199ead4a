//! What the fuzzer has found interesting, run as an ordinary test: see docs/TESTING.md.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

use std::fs;

use interop::root;

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "the targets reach it from another crate")]
mod fuzz;

fn run(target: &str, body: fn(&[u8])) {
    let folder = root().join("tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        assert!(data.len() < 4096, "{} is too large to keep", path.display());
        println!("{}", path.display()); // shown if the body panics
        body(&data);
        count += 1;
    }
    assert!((10..=60).contains(&count), "{count} files");
}

#[test]
fn read_buffer() {
    run("read_buffer", fuzz::read_buffer);
}

#[test]
fn lines() {
    run("lines", fuzz::lines);
}

#[test]
fn lengths() {
    run("lengths", fuzz::lengths);
}

#[test]
fn write_queue() {
    run("write_queue", fuzz::write_queue);
}
