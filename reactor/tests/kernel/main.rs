//! The table that a driver is held to: scripts of operations, and the set of what may be seen after each.
//! Here it is played on the system's sockets, on loopback.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::manual_assert,
    reason = "a test panics where something is not as it should be"
)]

mod buffers;
mod compare;
mod connects;
mod datagrams;
mod edges;
mod ground;
mod halves;
mod language;
mod listeners;
mod loopback;
mod names;
mod play;
mod resets;
mod script;
#[cfg(feature = "sim")]
mod simulated;
mod watch;

use std::collections::HashSet;
use std::process::Command;
use std::sync::Mutex;

use compare::Difference;
use language::Kind;
use loopback::Loopback;
use script::Scenario;

/// The whole table.
fn table() -> Vec<Scenario> {
    let rooms = [
        edges::table(),
        halves::table(),
        resets::table(),
        connects::table(),
        listeners::table(),
        buffers::table(),
        datagrams::table(),
        names::table(),
    ];
    rooms.into_iter().flatten().collect()
}

/// What is not as it is written.
fn play_all(
    scenarios: Vec<(Scenario, Kind)>,
    threads: usize,
    play: impl Fn(&Scenario, Kind) -> Vec<Difference> + Sync,
) -> Vec<String> {
    let (work, found) = (Mutex::new(scenarios), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // A statement of its own: the lock is not held while it is played.
                while let Some((scenario, kind)) = { work.lock().unwrap().pop() } {
                    let differences = play(&scenario, kind);
                    let differences = differences.iter().map(ToString::to_string);
                    found.lock().unwrap().extend(differences);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// What the kernel does that is not allowed.
fn play_on_loopback(exhausts: bool, threads: usize) -> Vec<String> {
    let mut scenarios = by_kind();
    scenarios.retain(|(scenario, _)| scenario.exhausts() == exhausts);
    play_all(scenarios, threads, |scenario, kind| {
        let run = play::play(scenario, kind, &mut Loopback::new());
        compare::violations(scenario, kind, &run)
    })
}

fn by_kind() -> Vec<(Scenario, Kind)> {
    let rows = table().into_iter();
    rows.flat_map(|scenario| scenario.kinds.iter().map(move |&kind| (scenario.clone(), kind)))
        .collect()
}

#[test]
fn the_table_is_as_long_as_it_should_be_and_says_what_rules() {
    let table = table();
    assert!(table.len() >= 60, "{} scenarios", table.len());
    let names: HashSet<_> = table.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), table.len(), "a name for each");
    for scenario in &table {
        assert!(!scenario.rule.is_empty() && !scenario.kinds.is_empty(), "{}", scenario.name);
        for step in &scenario.steps {
            for &kind in scenario.kinds {
                let set = step.allowed.of(kind);
                assert!(!set.is_empty(), "{} allows nothing for {kind:?}", scenario.name);
                assert_eq!(set.iter().collect::<HashSet<_>>().len(), set.len());
            }
        }
    }
}

#[test]
fn the_kernel_does_what_is_written() {
    let found = play_on_loopback(false, 8);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

const CHILD: &str = "REACTOR_KERNEL_CHILD";

#[test]
fn the_kernel_does_what_is_written_without_descriptors() {
    // Alone in a process of its own, which may open few: nobody else is to run out of them.
    let child = "the_kernel_does_what_is_written_without_descriptors";
    if std::env::var_os(CHILD).is_some() {
        let found = play_on_loopback(true, 1);
        assert!(found.is_empty(), "{}", found.join("\n"));
        return;
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 60 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(child)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
