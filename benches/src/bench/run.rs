//! Rounds, in which all take turns.

use std::io;
use std::time::Duration;

use super::cells::{Cell, Unit};
use super::peers::{Ready, Role};
use super::results::{CellResult, Column, LeftOut, Results, Sample};
use crate::load::{self, Kind, Load, Outcome, Sources, Watch};
use crate::machine::Machine;
use crate::process::Process;
use crate::server::Cores;

/// How long an answer may take before a round has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub rounds: usize,
    pub duration: Duration,
    pub warm_up: Duration,
    pub cores: Cores,
}

/// Measures all cells; `told` hears of each as it begins and ends.
pub fn run(
    settings: &Settings,
    peers: &[Ready],
    left_out: Vec<LeftOut>,
    cells: &[Cell],
    mut told: impl FnMut(&str),
) -> Results {
    let mut results = Results {
        machine: Machine::here(),
        rounds: settings.rounds,
        seconds_per_round: settings.duration.as_secs_f64(),
        server_core: settings.cores.server,
        load_core: settings.cores.load,
        left_out,
        cells: Vec::new(),
        failures: Vec::new(),
    };
    for cell in cells {
        let mut result = row(cell, peers);
        for round in 1..=settings.rounds {
            told(&format!("{}, round {round} of {}", cell.name, settings.rounds));
            for column in &mut result.columns {
                let ready = peers.iter().find(|ready| ready.peer.name == column.peer);
                let Some(ready) = ready else { continue };
                let sample = measure(settings, ready, cell);
                if let Err(why) = &sample {
                    let failure = format!("{}: {}, round {round}: {why}", cell.name, column.peer);
                    told(&failure);
                    results.failures.push(failure);
                }
                column.samples.push(sample.ok());
            }
        }
        results.cells.push(result);
    }
    results
}

/// A row without samples: those who can do the work.
fn row(cell: &Cell, peers: &[Ready]) -> CellResult {
    let able = peers.iter().filter(|ready| ready.command(cell.framed).is_some());
    let column = |ready: &Ready| Column {
        peer: ready.peer.name.to_owned(),
        is_floor: ready.peer.role == Role::Floor,
        is_floor_again: ready.peer.role == Role::FloorAgain,
        is_ours: ready.peer.role == Role::Ours,
        samples: Vec::new(),
    };
    CellResult {
        name: cell.name.to_owned(),
        unit: cell.unit.name().to_owned(),
        is_ratio: cell.unit != Unit::Memory,
        connections: cell.connections,
        is_scale: matches!(
            cell.kind,
            Kind::Echo { size: 64, in_flight: 1, lines: false, rate: None, bulk: 0 }
        ),
        target: cell.target,
        columns: able.map(column).collect(),
    }
}

/// One round of one peer: a process of its own, from its start to its end.
fn measure(settings: &Settings, ready: &Ready, cell: &Cell) -> Result<Sample, String> {
    let command = ready.command(cell.framed).ok_or("it cannot do this")?;
    let server = settings.cores.start(command)?;
    let process = server.process();
    let mut meter = Meter::new(process).map_err(|error| error.to_string())?;
    let load = Load {
        target: server.target().clone(),
        sources: sources(&cell.kind),
        kind: cell.kind,
        connections: cell.connections,
        warm_up: settings.warm_up,
        duration: settings.duration,
        count: None,
        patience: PATIENCE,
        everyone: true,
    };
    let outcome = load::run(&load, &mut meter).map_err(|error| error.to_string())?;
    if let Some((name, count)) = outcome.errors.first_key_value() {
        return Err(format!("{count} x {name}"));
    }
    sample(cell.unit, &meter, &outcome)
}

fn sample(unit: Unit, meter: &Meter, outcome: &Outcome) -> Result<Sample, String> {
    let nanoseconds = meter.cpu_time.as_secs_f64() * 1e9;
    let (amount, count) = match unit {
        Unit::Message | Unit::Connection => (nanoseconds, outcome.operations as f64),
        Unit::Kibibyte => (nanoseconds, outcome.bytes as f64 / 1024.0),
        Unit::Memory => (meter.grown, outcome.connections_answered as f64),
    };
    if count < 1.0 {
        return Err("nothing came back while it was measured".to_owned());
    }
    let (p50_ns, p99_ns) = outcome.latency.map_or((0, 0), |it| (it.p50_ns, it.p99_ns));
    Ok(Sample { cost: amount / count, per_second: outcome.per_second, p50_ns, p99_ns })
}

/// Short connections leave their ports behind for a while: there are more of them than one address has.
fn sources(kind: &Kind) -> Sources {
    match kind {
        Kind::Accept | Kind::Churn { .. } => {
            Sources::Range { first: std::net::Ipv4Addr::LOCALHOST, count: 16 }
        }
        _ => Sources::Any,
    }
}

/// Reads the server's clock and memory at the moments that count.
struct Meter {
    process: Process,
    /// Before the first connection.
    before: f64,
    since: Duration,
    cpu_time: Duration,
    grown: f64,
}

impl Meter {
    fn new(process: Process) -> io::Result<Self> {
        let before = process.held()?.anonymous as f64;
        Ok(Self { process, before, since: Duration::ZERO, cpu_time: Duration::ZERO, grown: 0.0 })
    }
}

impl Watch for Meter {
    fn started(&mut self) -> io::Result<()> {
        self.since = self.process.cpu_time()?;
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        self.cpu_time = self.process.cpu_time()?.saturating_sub(self.since);
        self.grown = self.process.held()?.anonymous as f64 - self.before;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_for_one_of_the_unit() {
        let mut meter = Meter::new(Process::new(std::process::id())).unwrap();
        (meter.cpu_time, meter.grown) = (Duration::from_millis(1), 4000.0);
        let outcome = Outcome {
            operations: 100,
            bytes: 51_200,
            connections_answered: 20,
            ..Outcome::default()
        };
        let cost = |unit| sample(unit, &meter, &outcome).unwrap().cost;
        assert_eq!(cost(Unit::Message), 10_000.0);
        assert_eq!(cost(Unit::Kibibyte), 20_000.0);
        assert_eq!(cost(Unit::Memory), 200.0);
        assert!(sample(Unit::Message, &meter, &Outcome::default()).is_err());
    }
}
