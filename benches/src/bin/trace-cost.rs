//! What the flight recorder costs: instructions per echoed message, counted by callgrind.
//!
//! ```sh
//! cargo run --release --bin trace-cost
//! ```
//!
//! It builds itself twice, with the recorder and without the feature `trace`, and runs an echo on a
//! driver that is memory alone. It needs `valgrind`. Instructions are counted for two runs, one with
//! twice as many turns, and the difference is told: what starting costs is not in it. There is no system
//! in it either, whose calls would make the recorder's share look smaller than it is.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use benches::callgrind::{collected, counted};
use benches::memory::{MESSAGE, echo};

/// Turns of the shorter run; the longer has twice as many.
const TURNS: usize = 2_000;

/// Connections that each say something in each turn.
const CROWDS: [usize; 3] = [1, 16, 256];

/// Records that are kept where any are.
const RECORDS: usize = 65_536;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => compare(),
        [connections, turns, records] => {
            run(connections.parse()?, turns.parse()?, records.parse()?)
        }
        _ => Err("usage: trace-cost".into()),
    }
}

fn compare() -> Result<()> {
    let with = build("with", &[])?;
    let without = build("without", &["--no-default-features"])?;
    println!("instructions per message of {MESSAGE} bytes, and beside those without the recorder");
    println!("{:>11}  {:>12}  {:>18}  {:>18}", "connections", "compiled out", "off", "on");
    for connections in CROWDS {
        let none = per_message(&without, connections, 0)?;
        let off = per_message(&with, connections, 0)?;
        let on = per_message(&with, connections, RECORDS)?;
        let beside = |count: f64| format!("{count:.1} {:+7.2} %", (count / none - 1.0) * 100.0);
        println!("{connections:>11}  {none:>12.1}  {:>18}  {:>18}", beside(off), beside(on));
    }
    Ok(())
}

/// Builds this program in a folder of its own; where it is then.
fn build(folder: &str, features: &[&str]) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let target = root.join("target/trace-cost").join(folder);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "-p", "benches", "--bin", "trace-cost"])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !built.success() {
        return Err("it cannot be built".into());
    }
    Ok(target.join("release/trace-cost"))
}

fn per_message(program: &Path, connections: usize, records: usize) -> Result<f64> {
    let short = instructions(program, connections, TURNS, records)?;
    let long = instructions(program, connections, 2 * TURNS, records)?;
    Ok(long.saturating_sub(short) as f64 / (TURNS * connections) as f64)
}

fn instructions(program: &Path, connections: usize, turns: usize, records: usize) -> Result<u64> {
    let mut command = Command::new(program);
    command.args([connections, turns, records].map(|number| number.to_string()));
    let log = program.with_extension("log");
    let status = counted(&command, &log).status();
    if !status.map_err(|error| format!("cannot run valgrind: {error}"))?.success() {
        return Err("it has failed".into());
    }
    Ok(collected(&log)?)
}

/// As many turns as are asked for, in each of which each connection says something and hears it again.
fn run(connections: usize, turns: usize, records: usize) -> Result<()> {
    let mut reactor = echo(connections, records)?;
    for _ in 0..turns {
        reactor.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}
