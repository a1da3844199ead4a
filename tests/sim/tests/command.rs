//! The command, as a user has it.

#![allow(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::path::Path;
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

#[test]
fn clean_seeds_end_well_and_are_counted() {
    for service in ["echo", "everything", "tls"] {
        let run = sim(&["--service", service, "--seeds", "60"]);
        let told = text(&run.stdout);
        assert!(run.status.success(), "{told}");
        assert!(told.starts_with(&format!("{service}: 60 seeds, no promise broken\n")), "{told}");
        assert!(told.contains("seeds/s") && told.contains("events/s"), "{told}");
        assert!(told.contains("s of virtual time"), "{told}");
        assert_eq!(text(&run.stderr), "", "progress is for terminals");
    }
}

#[test]
fn seeds_count_from_one_and_threads_share_them() {
    let one = sim(&["--seeds", "20", "--jobs", "1"]);
    let three = sim(&["--seeds", "20", "--jobs", "3"]);
    let from = sim(&["--seeds", "20", "--from", "21"]);
    let simulated = |run: &Output| text(&run.stdout).lines().nth(2).unwrap().to_owned();
    assert_eq!(simulated(&one), simulated(&three));
    assert_ne!(simulated(&one), simulated(&from));
}

#[test]
fn a_trace_is_the_same_each_time_and_alone_on_standard_output() {
    for service in ["echo", "everything", "tls"] {
        let mut traces = Vec::new();
        for seed in ["1", "2", "3", "4", "5"] {
            let explain = || sim(&["--service", service, "--seed", seed, "--explain"]);
            let (one, two) = (explain(), explain());
            assert!(one.status.success());
            assert_eq!(one.stdout, two.stdout);
            let trace = text(&one.stdout).to_owned();
            assert!(trace.starts_with("loop "), "{}", trace.lines().next().unwrap());
            assert!(!trace.contains("seeds/s"), "figures are for standard error");
            traces.push(trace);
        }
        assert!(traces.iter().any(|trace| trace.contains("on_data of connection")));
        traces.dedup();
        assert_eq!(traces.len(), 5, "each seed is another run");
    }
}

#[test]
fn running_twice_compares_traces() {
    let run = sim(&["--seeds", "20", "--twice"]);
    assert!(run.status.success());
    assert!(text(&run.stdout).contains("each seed was run twice: no trace differed"));
}

#[test]
fn wrong_usage_is_told_as_such() {
    for arguments in
        [&["--service", "nothing"][..], &["--seeds", "0"], &["--explain"], &["--seed", "x"]]
    {
        let run = sim(arguments);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        assert!(text(&run.stderr).starts_with("error: "), "{}", text(&run.stderr));
    }
    let nowhere = sim(&["museum", "--sources", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).starts_with("error: cannot find /nowhere: "));
}

/// Whoever changes the loop mends the museum; whether the bugs are found takes longer, and is the command's.
#[test]
fn each_patch_of_the_museum_applies_and_says_what_it_is() {
    let folder = workspace().join("docs/museum");
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        numbers.push(name.split('-').next().unwrap().parse::<usize>().unwrap());
        let patch = std::fs::read_to_string(&path).unwrap();
        let header: Vec<&str> =
            patch.lines().take_while(|line| !line.starts_with("diff ")).collect();
        assert!(header.iter().filter(|line| !line.is_empty()).count() >= 6, "{name}: five lines");
        let mut git = Command::new("git");
        let checked = git.current_dir(workspace()).args(["apply", "--check"]).arg(&path).output();
        let checked = checked.unwrap();
        assert!(checked.status.success(), "{name}: {}", text(&checked.stderr));
    }
    numbers.sort_unstable();
    assert!(numbers.len() >= 20, "{}", numbers.len());
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "{numbers:?}");
}
