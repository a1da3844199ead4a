//! Compares what the micro-benchmarks take with what they took. See `instructions --help`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use benches::baseline::{Baseline, Comparison, MORE_MAX};
use benches::machine::{Machine, root};
use clap::Parser;
use serde_json::Value;
use servers_common::Failure;

/// Counts the instructions of the micro-benchmarks, and compares them with benches/baseline.json.
///
/// It fails if any takes over 5 % more, unless another compiler made the baseline. It needs valgrind, and builds
/// gungraun's runner into target/tools, which takes a minute the first time.
#[derive(Parser)]
#[command(name = "instructions", version)]
struct Arguments {
    /// Makes today's figures the baseline. Whoever accepts more than before says why in the changelog
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    servers_common::run(&[], act)
}

fn act(arguments: Arguments) -> Result<(), Failure> {
    let file = root().join("benches/baseline.json");
    let new = count().map_err(Failure::run)?;
    let old = read(&file);
    if arguments.write {
        let text = serde_json::to_string_pretty(&new).map_err(Failure::run)?;
        fs::write(&file, text + "\n").map_err(|error| cannot("write", &file, error))?;
    }
    let comparison = match old {
        Ok(old) => Comparison::new(old, new),
        Err(_) if arguments.write => return Ok(()),
        Err(failure) => return Err(failure),
    };
    print!("{comparison}");
    if arguments.write { Ok(()) } else { judge(&comparison) }
}

fn judge(comparison: &Comparison) -> Result<(), Failure> {
    const ACCEPT: &str = "cargo run --release --bin instructions -- --write";
    let (over, unpaired) = (comparison.over().join(", "), comparison.unpaired().join(", "));
    if !unpaired.is_empty() {
        return Err(Failure::run(format!("only one figure of {unpaired}; to accept it: {ACCEPT}")));
    }
    if over.is_empty() {
        return Ok(());
    }
    let over = format!("over {MORE_MAX} % more instructions than the baseline: {over}");
    if comparison.is_binding() {
        return Err(Failure::run(format!(
            "{over}; if that is worth it, say why in CHANGELOG.md, and accept it: {ACCEPT}"
        )));
    }
    eprintln!("warning: {over}; but another compiler made that, and the difference may be its own");
    Ok(())
}

fn read(file: &Path) -> Result<Baseline, Failure> {
    let text = fs::read(file).map_err(|error| cannot("read", file, error))?;
    serde_json::from_slice(&text).map_err(|error| cannot("read", file, error))
}

fn cannot(verb: &str, file: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::run(format!("cannot {verb} {}: {error}", file.display()))
}

/// Runs the micro-benchmarks.
fn count() -> Result<Baseline, String> {
    let runner = runner()?;
    let mut cargo = cargo();
    cargo.args(["bench", "--quiet", "-p", "benches", "--bench", "micro"]);
    cargo.args(["--", "--output-format=json"]).env("GUNGRAUN_RUNNER", runner);
    let lines = told(&mut cargo)?;
    let instructions = lines.lines().map(figure).collect::<Result<BTreeMap<_, _>, _>>()?;
    let rustc = Machine::here().rustc;
    Ok(Baseline { rustc, architecture: std::env::consts::ARCH.to_owned(), instructions })
}

/// One benchmark's name and instructions, of gungraun's summary of it.
fn figure(line: &str) -> Result<(String, u64), String> {
    let summary: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
    let name = summary.get("function_name").and_then(Value::as_str);
    let count = summary.pointer("/profiles/0/data/total/metrics/Ir/values/new");
    let (Some(name), Some(count)) = (name, count.and_then(Value::as_u64)) else {
        return Err(format!("gungraun tells no instructions: {line}"));
    };
    Ok(match summary.get("id").and_then(Value::as_str) {
        Some(id) => (format!("{name} {id}"), count),
        None => (name.to_owned(), count),
    })
}

/// Gungraun's other half, of just the version of the library; it is built unless it is there.
fn runner() -> Result<PathBuf, String> {
    let name = told(cargo().args(["pkgid", "gungraun"]))?;
    let (_, version) = name.trim().rsplit_once('@').ok_or("gungraun has no version")?;
    let tools = root().join("target/tools");
    let mut install = cargo();
    // It counts nothing itself, and is built in half the time like this.
    install.args(["install", "--quiet", "--locked", "--debug", "gungraun-runner", "--version"]);
    told(install.arg(format!("={version}")).arg("--root").arg(&tools))?;
    Ok(tools.join("bin/gungraun-runner"))
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or(OsString::from("cargo")));
    cargo.current_dir(root()).stderr(Stdio::inherit());
    cargo
}

fn told(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("cannot run {name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name} has failed: {command:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_gungraun_is_read() {
        let line = |id| {
            format!(
                r#"{{"function_name": "turn", {id} "profiles": [{{"data": {{"total":
                {{"metrics": {{"Ir": {{"values": {{"new": 7, "old": 8}}}}}}}}}}}}]}}"#
            )
        };
        assert_eq!(figure(&line("")), Ok(("turn".to_owned(), 7)));
        assert_eq!(figure(&line(r#""id": "of_64","#)), Ok(("turn of_64".to_owned(), 7)));
        assert!(figure("{}").is_err() && figure("Compiling").is_err());
    }
}
