//! What a load has found, as a page and as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::Outcome;
use crate::process::Held;

/// What one run of `loadgen` tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub target: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    pub memory: Option<Memory>,
}

/// What the server held, before the first connection, with all of them, and after the last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub before: Held,
    pub during: Held,
    pub after: Held,
    /// Of its own memory, in user space; the kernel's sockets are not in it.
    pub anonymous_per_connection: f64,
}

impl Memory {
    pub fn new(before: Held, during: Held, after: Held, connections: usize) -> Self {
        let grown = during.anonymous as f64 - before.anonymous as f64;
        Self { before, during, after, anonymous_per_connection: grown / connections.max(1) as f64 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = &self.outcome;
        writeln!(f, "{} to {}", outcome.mode, self.target)?;
        let (answered, asked) = (outcome.connections_answered, outcome.connections);
        match outcome.mode.as_str() {
            "accept" | "churn" => {
                writeln!(f, "connections  {answered} answered, {asked} at a time")?;
            }
            _ => writeln!(f, "connections  {answered} of {asked} answered")?,
        }
        writeln!(f, "measured     {:.3} s", outcome.seconds)?;
        let what = match outcome.mode.as_str() {
            "accept" | "churn" | "expire" => "connections",
            "bulk" => "bytes",
            "chat" => "deliveries",
            _ => "messages",
        };
        if outcome.mode != "idle" {
            write!(
                f,
                "operations   {} {what}, {:.0} a second",
                outcome.operations, outcome.per_second
            )?;
            if let Some(asked) = outcome.asked_per_second {
                write!(
                    f,
                    " of {asked:.0} asked for ({:.1} %)",
                    outcome.per_second / asked * 100.0
                )?;
            }
            writeln!(f)?;
            let mebibytes = outcome.bytes_per_second / f64::from(1 << 20);
            writeln!(f, "bytes        {} back, {mebibytes:.1} MiB a second", outcome.bytes)?;
        }
        if let Some(latency) = outcome.latency {
            let [p50, p99, p999, max] =
                [latency.p50_ns, latency.p99_ns, latency.p999_ns, latency.max_ns].map(time);
            writeln!(f, "latency      p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}")?;
        }
        if let Some(memory) = &self.memory {
            memory.fmt(f)?;
        }
        let errors: u64 = outcome.errors.values().sum();
        writeln!(f, "errors       {errors}")?;
        for (name, count) in &outcome.errors {
            writeln!(f, "             {count} x {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, held) in
            [("before", self.before), ("during", self.during), ("after", self.after)]
        {
            writeln!(
                f,
                "{name:<12} {} KiB own, {} KiB resident, {} descriptors, {} threads",
                held.anonymous / 1024,
                held.resident / 1024,
                held.descriptors,
                held.threads
            )?;
        }
        writeln!(f, "memory       {:.0} bytes per connection", self.anonymous_per_connection)
    }
}

/// Nanoseconds in a unit that suits them.
pub fn time(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{value:.0} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_that_suit_them() {
        let told = [999, 1_500, 2_000_000, 3_000_000_000].map(time);
        assert_eq!(told, ["999 ns", "1.5 us", "2.0 ms", "3.00 s"]);
    }

    #[test]
    fn memory_is_told_for_each_connection() {
        let [before, during] = [1000, 3000].map(|anonymous| Held { anonymous, ..Held::default() });
        assert_eq!(Memory::new(before, during, before, 10).anonymous_per_connection, 200.0);
        assert_eq!(Memory::new(during, before, before, 10).anonymous_per_connection, -200.0);
    }
}
