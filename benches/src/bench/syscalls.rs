//! System calls of a message: two runs under strace, one twice as long, so that starting is not in it.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::peers::{Mode, Ready};
use crate::load::{self, Kind, Load, Others, Sources, Target};
use crate::machine::root;
use crate::server::Server;

/// Messages of the shorter run.
const MESSAGES: u64 = 20_000;

/// Calls of each kind for one message, with this many connections and one in flight on each.
///
/// A server that is traced is slower, so that more connections are ready at a time, and a wait serves more of
/// them than it otherwise would.
///
/// # Errors
/// A text that says why not.
pub fn count(ready: &Ready, connections: usize) -> Result<BTreeMap<String, f64>, String> {
    let (short, few) = traced(ready, connections, MESSAGES)?;
    let (long, many) = traced(ready, connections, 2 * MESSAGES)?;
    let more = many.saturating_sub(few).max(1) as f64;
    let calls =
        |calls: &BTreeMap<String, u64>, name: &str| calls.get(name).copied().unwrap_or(0) as f64;
    let each = |name: &String| (name.clone(), (calls(&long, name) - calls(&short, name)) / more);
    Ok(long.keys().map(each).filter(|(_, count)| *count >= 0.001).collect())
}

/// All calls of a run, and all its messages.
fn traced(
    ready: &Ready,
    connections: usize,
    messages: u64,
) -> Result<(BTreeMap<String, u64>, u64), String> {
    let page = root().join(format!("target/strace-{}.txt", std::process::id()));
    let inner = ready.command(Mode::Plain).ok_or("it cannot do this")?;
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&page).arg(inner.get_program()).args(inner.get_args());
    let tracer = Server::start({
        command.stderr(Stdio::null());
        command
    })?;
    let answered = answered(tracer.target(), connections, messages);
    // strace writes its page when the server has ended; killed itself, it would leave the server behind.
    for child in tracer.process().children() {
        let child = i32::try_from(child).ok().and_then(Pid::from_raw);
        child
            .map_or(Ok(()), |child| kill_process(child, Signal::KILL))
            .map_err(|error| error.to_string())?;
    }
    tracer.wait().map_err(|error| error.to_string())?;
    let text =
        fs::read_to_string(&page).map_err(|error| format!("strace has told nothing: {error}"))?;
    let _ = fs::remove_file(&page);
    Ok((parse(&text), answered?))
}

/// Has at least so many messages sent back, one in flight on each connection, while the server is slowed down by
/// whoever watches it. How many it were.
///
/// # Errors
/// What went wrong, also with one of them.
pub(super) fn answered(target: &Target, connections: usize, messages: u64) -> Result<u64, String> {
    let load = Load {
        tls: None,
        target: target.clone(),
        sources: Sources::Any,
        kind: Kind::Echo {
            size: 64,
            in_flight: 1,
            lines: false,
            rate: None,
            others: Others::default(),
        },
        connections,
        warm_up: Duration::from_millis(100),
        duration: Duration::from_secs(120),
        count: Some(messages),
        patience: Duration::from_secs(20),
        everyone: true,
    };
    let outcome = load::run(&load, &mut ()).map_err(|error| error.to_string())?;
    match outcome.errors.first_key_value() {
        Some((name, count)) => Err(format!("{count} x {name}")),
        None => Ok(outcome.operations_in_all),
    }
}

/// The counts of strace's page, whose columns are `% time, seconds, usecs/call, calls, errors, syscall`, where
/// errors may be missing.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, calls, .., name] = words.as_slice() else { return None };
        let count = calls.parse().ok()?;
        (*name != "total").then(|| ((*name).to_owned(), count))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_strace_is_read() {
        let page = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           1     20000           sendto
 39.00    0.000390           1     20005         5 recvfrom
  1.00    0.000010           1       300           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1     40305         5 total
";
        let expected = [("epoll_wait", 300), ("recvfrom", 20_005), ("sendto", 20_000)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(parse(page), BTreeMap::from(expected));
    }
}
