//! All models beside each other.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Model, Service};
use crate::load::{self, Kind, Load, Others, Sources, Watch};
use crate::machine::Machine;
use crate::process::{Held, Process};
use crate::server::{Server, pin, usable};

/// Bytes of a line, its ending among them.
const LINE: usize = 64;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program that serves with `serve MODEL`.
    pub program: PathBuf,
    pub models: Vec<Model>,
    pub clients: Vec<usize>,
    pub work: Vec<u64>,
    pub pool: usize,
    pub loops: usize,
    pub duration: Duration,
    /// How long it is waited for clients that may never be served.
    pub patience: Duration,
}

/// All that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    pub machine: Machine,
    pub seconds: f64,
    pub pool: usize,
    pub loops: usize,
    pub rows: Vec<Row>,
}

/// One model with so many clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub model: String,
    pub work: u64,
    pub clients: usize,
    /// How many clients were ever answered; the others waited for nothing.
    pub clients_answered: usize,
    pub lines_per_second: f64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    /// CPU time for a line, of the server and its children.
    pub cpu_ns: f64,
    /// While all clients were there, of all processes; what several share is counted once.
    pub resident: u64,
    pub threads: u64,
    /// Connections that failed, timed out, or were refused.
    pub errors: u64,
    /// Why there are no figures.
    pub failure: Option<String>,
}

/// Serves and measures each model with each number of clients. Servers have all cores; the load has the last.
///
/// # Errors
/// If cores cannot be had. What goes wrong with a model is in its row.
pub fn compare(settings: &Settings, mut told: impl FnMut(&str)) -> io::Result<Comparison> {
    let cores = usable()?;
    let mut comparison = Comparison {
        machine: Machine::here(),
        seconds: settings.duration.as_secs_f64(),
        pool: settings.pool,
        loops: settings.loops,
        rows: Vec::new(),
    };
    for &work in &settings.work {
        for &clients in &settings.clients {
            for &model in &settings.models {
                told(&format!("{model}, {clients} clients, {work} squares"));
                pin(&cores)?;
                let mut row = Row::new(model, work, clients);
                if let Err(why) = row.measure(settings, model, &cores) {
                    row.failure = Some(why);
                }
                comparison.rows.push(row);
            }
        }
    }
    pin(&cores)?;
    Ok(comparison)
}

impl Row {
    fn new(model: Model, work: u64, clients: usize) -> Self {
        Self {
            model: model.to_string(),
            work,
            clients,
            clients_answered: 0,
            lines_per_second: 0.0,
            p50_ns: 0,
            p99_ns: 0,
            cpu_ns: 0.0,
            resident: 0,
            threads: 0,
            errors: 0,
            failure: None,
        }
    }

    fn measure(
        &mut self,
        settings: &Settings,
        model: Model,
        cores: &[usize],
    ) -> Result<(), String> {
        let service = Service { work: self.work, pool: settings.pool, loops: settings.loops };
        let server = start(settings, model, service)?;
        let last = cores.last().copied().unwrap_or(0);
        pin(&[last]).map_err(|error| error.to_string())?;
        let mut meter =
            Meter { process: server.process(), time: Duration::ZERO, held: Held::default() };
        let load = Load {
            tls: None,
            target: server.target().clone(),
            sources: Sources::Any,
            kind: Kind::Echo {
                size: LINE,
                in_flight: 1,
                lines: true,
                rate: None,
                others: Others::default(),
            },
            connections: self.clients,
            warm_up: settings.duration.min(Duration::from_millis(200)),
            duration: settings.duration,
            count: None,
            patience: settings.patience,
            everyone: false,
        };
        let outcome = load::run(&load, &mut meter).map_err(|error| error.to_string())?;
        self.clients_answered = outcome.connections_answered;
        self.lines_per_second = outcome.per_second;
        self.cpu_ns = meter.time.as_secs_f64() * 1e9 / outcome.operations.max(1) as f64;
        self.resident = meter.held.resident;
        self.threads = meter.held.threads;
        self.errors = outcome.errors.values().sum();
        if let Some(latency) = outcome.latency {
            (self.p50_ns, self.p99_ns) = (latency.p50_ns, latency.p99_ns);
        }
        Ok(())
    }
}

fn start(settings: &Settings, model: Model, service: Service) -> Result<Server, String> {
    let mut command = Command::new(&settings.program);
    command.args(["serve", model.name()]);
    command.args(["--work", &service.work.to_string()]);
    command.args(["--pool", &service.pool.to_string()]);
    command.args(["--loops", &service.loops.to_string()]);
    Server::start(command)
}

struct Meter {
    process: Process,
    time: Duration,
    held: Held,
}

impl Meter {
    /// Of the process and its children.
    fn cpu_time(&self) -> io::Result<Duration> {
        let children = self.process.children().into_iter().map(Process::new);
        let children: Duration = children.filter_map(|child| child.cpu_time().ok()).sum();
        Ok(self.process.cpu_time()? + children)
    }
}

impl Watch for Meter {
    fn started(&mut self) -> io::Result<()> {
        self.time = self.cpu_time()?;
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        self.time = self.cpu_time()?.saturating_sub(self.time);
        self.held = self.process.held_with_children()?;
        Ok(())
    }
}
