//! Rounds, in which all take turns.

use std::io;
use std::time::Duration;

use super::cells::{Cell, Unit, Work};
use super::pairs::{Pair, Side};
use super::peers::{Mode, Ready, Role};
use super::results::{CellResult, Column, LeftOut, PairResult, Results, Sample};
use super::secure::client;
use crate::load::{self, Kind, Load, Outcome, Progress, Sources, Watch};
use crate::machine::Machine;
use crate::process::Process;
use crate::server::{Cores, Server};

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

/// Measures all cells and pairs; `told` hears of each as it begins, and of what fails.
pub fn run(
    settings: &Settings,
    peers: &[Ready],
    left_out: Vec<LeftOut>,
    (cells, pairs): (&[Cell], &[Pair]),
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
        pairs: Vec::new(),
        failures: Vec::new(),
    };
    let mut rounds = |name: &str, failures: &mut Vec<String>, act: Act<'_>| {
        for round in 1..=settings.rounds {
            told(&format!("{name}, round {round} of {}", settings.rounds));
            act(&mut |peer: &str, why: String| {
                let failure = format!("{name}: {peer}, round {round}: {why}");
                told(&failure);
                failures.push(failure);
            });
        }
    };
    for cell in cells {
        let mut result = row(cell, peers);
        rounds(&cell.name, &mut results.failures, &mut |failed| {
            measure_row(settings, peers, cell, &mut result, failed);
        });
        results.cells.push(result);
    }
    for pair in pairs {
        let Some(ready) = peers.iter().find(|ready| ready.peer.name == pair.peer) else { continue };
        let mut result = PairResult {
            name: pair.name.clone(),
            peer: pair.peer.to_owned(),
            figure: pair.figure,
            target: pair.target,
            rounds: Vec::new(),
        };
        rounds(&pair.name, &mut results.failures, &mut |failed| {
            let round = measure_pair(settings, ready, pair);
            result.rounds.push(round.map_err(|why| failed(pair.peer, why)).ok());
        });
        results.pairs.push(result);
    }
    results
}

/// Hears of a peer that has failed, and why.
type Failed<'a> = &'a mut dyn FnMut(&str, String);

/// Does one round.
type Act<'a> = &'a mut dyn FnMut(Failed<'_>);

/// A row without samples: those who can do the work.
fn row(cell: &Cell, peers: &[Ready]) -> CellResult {
    let able = peers.iter().filter(|ready| {
        let is_asked = cell.only.is_empty() || cell.only.contains(&ready.peer.name);
        is_asked && ready.command(cell.mode).is_some()
    });
    let is_base = |ready: &Ready, role, again: &str| match cell.base {
        Some(base) => ready.peer.name.strip_suffix(again) == Some(base),
        None => ready.peer.role == role,
    };
    let column = |ready: &Ready| Column {
        peer: ready.peer.name.to_owned(),
        is_floor: is_base(ready, Role::Floor, ""),
        is_floor_again: is_base(ready, Role::FloorAgain, " again"),
        is_ours: ready.peer.role == Role::Ours,
        samples: Vec::new(),
    };
    CellResult {
        name: cell.name.clone(),
        unit: cell.unit.name().to_owned(),
        is_ratio: cell.unit.is_ratio(),
        connections: cell.work.connections_in_all(),
        scale: cell.scale.map(|scale| scale.name().to_owned()),
        target: cell.target,
        columns: able.map(column).collect(),
    }
}

/// One round of a row: each of its peers in turn.
fn measure_row(
    settings: &Settings,
    peers: &[Ready],
    cell: &Cell,
    result: &mut CellResult,
    failed: Failed<'_>,
) {
    for column in &mut result.columns {
        let ready = peers.iter().find(|ready| ready.peer.name == column.peer);
        let sample = ready
            .and_then(|ready| ready.command(cell.mode))
            .ok_or_else(|| "it cannot do this".to_owned())
            .and_then(|command| settings.cores.start(command))
            .and_then(|server| measure(settings, &server, &cell.work, cell.unit));
        column.samples.push(sample.map_err(|why| failed(&column.peer, why)).ok());
    }
}

/// One round of a pair: the first, the second, the second again.
fn measure_pair(settings: &Settings, ready: &Ready, pair: &Pair) -> Result<[Sample; 3], String> {
    let measure = |side: &Side| {
        let mut command = ready.command(Mode::Plain).ok_or("it cannot do this")?;
        command.args(side.more);
        let server = match side.anywhere {
            true => settings.cores.start_anywhere(command)?,
            false => settings.cores.start(command)?,
        };
        measure(settings, &server, &side.work, Unit::Message)
    };
    Ok([measure(&pair.first)?, measure(&pair.second)?, measure(&pair.second)?])
}

/// What a server that has just been started makes of its work.
fn measure(
    settings: &Settings,
    server: &Server,
    work: &Work,
    unit: Unit,
) -> Result<Sample, String> {
    let mut meter = Meter::new(server.process()).map_err(|error| error.to_string())?;
    let load = Load {
        tls: work.tls.map(client).transpose()?,
        target: server.target().clone(),
        sources: sources(&work.kind),
        kind: work.kind,
        connections: work.connections,
        warm_up: settings.warm_up,
        duration: work.duration.unwrap_or(settings.duration),
        count: None,
        patience: PATIENCE,
        everyone: true,
    };
    let outcome = load::run(&load, &mut meter).map_err(|error| error.to_string())?;
    if let Some((name, count)) = outcome.errors.first_key_value() {
        return Err(format!("{count} x {name}"));
    }
    sample(unit, &meter, &outcome)
}

fn sample(unit: Unit, meter: &Meter, outcome: &Outcome) -> Result<Sample, String> {
    let nanoseconds = meter.cpu_time.as_secs_f64() * 1e9;
    let (amount, count) = match unit {
        Unit::Message | Unit::Connection | Unit::Expiry | Unit::Delivery | Unit::DeliveryTime => {
            (nanoseconds, outcome.operations as f64)
        }
        Unit::Kibibyte => (nanoseconds, outcome.bytes as f64 / 1024.0),
        Unit::Memory => (meter.grown, outcome.connections_answered as f64),
        Unit::MemoryAtMost => (meter.most, 1.0),
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
    /// Of all looks.
    most: f64,
}

impl Meter {
    fn new(process: Process) -> io::Result<Self> {
        let before = process.held()?.anonymous as f64;
        let (since, cpu_time) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { process, before, since, cpu_time, grown: 0.0, most: before })
    }
}

impl Watch for Meter {
    fn started(&mut self) -> io::Result<()> {
        self.since = self.process.cpu_time()?;
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        self.cpu_time = self.process.cpu_time()?.saturating_sub(self.since);
        let held = self.process.held()?.anonymous as f64;
        self.grown = held - self.before;
        self.most = self.most.max(held);
        Ok(())
    }

    fn progress(&mut self, _: &Progress) {
        // Who is gone is missed at the end.
        if let Ok(held) = self.process.held() {
            self.most = self.most.max(held.anonymous as f64);
        }
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
