//! Puts a load on an echo server or a chat, and tells how it bore it. See `loadgen --help`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::load::{
    self, Kind, Load, Others, Outcome, Progress, Room, Sources, Target, Tls, Watch,
};
use benches::process::{Held, Process};
use benches::report::{Memory, Report};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use servers_common::{Failure, parse_duration, parse_size, run};

/// Puts a load on an echo server, verifies each byte that comes back, and tells how long it took.
///
/// Any server will do that sends back what it is sent; for `chat`, one that tells each line to everyone else. It uses one thread, and stops by itself.
#[derive(Parser)]
#[command(name = "loadgen", version)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Messages that come back: so many at a time (closed loop), or so many a second (open loop)
    Echo {
        /// Bytes of a message
        #[arg(long, default_value = "64", value_parser = parse_positive_size)]
        size: usize,
        /// Messages on their way on each connection, in the closed loop
        #[arg(long, default_value_t = 1, value_parser = parse_positive, conflicts_with = "rate")]
        in_flight: usize,
        /// Messages are lines: the last byte of each is LF
        #[arg(long)]
        lines: bool,
        /// Messages a second over all connections (open loop): latency counts from when each was due
        #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
        rate: Option<f64>,
        /// So many connections more send and read beside them, as fast as they can
        #[arg(long, value_name = "N", default_value_t = 0)]
        bulk: usize,
        /// So many connections more are held beside them, and say nothing
        #[arg(long, value_name = "N", default_value_t = 0)]
        idle: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Connections that are opened, send a byte, have it back, and are closed
    Accept {
        #[command(flatten)]
        common: Common,
    },
    /// Connections that come, exchange a few messages, and end by FIN, by FIN from both sides, or by RST
    Churn {
        /// Bytes of a message
        #[arg(long, default_value = "64", value_parser = parse_positive_size)]
        size: usize,
        /// How many messages a connection exchanges at most
        #[arg(long, default_value_t = 10, value_parser = parse_positive)]
        messages: usize,
        /// Of the random numbers: the same makes the same choices
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Connections that exchange one byte and are held for the duration
    Idle {
        #[command(flatten)]
        common: Common,
    },
    /// Connections that exchange one byte and wait for the server to end them; an operation is one that it has
    /// ended
    Expire {
        #[command(flatten)]
        common: Common,
    },
    /// Numbered lines of 64 bytes in one room of a chat with line framing; an operation is a line that one has
    /// said and another has heard, in its order. -n are those who only listen
    Chat {
        /// Who say the lines, and hear those of the others
        #[arg(long, default_value_t = 10, value_parser = parse_positive)]
        senders: usize,
        /// Lines a second of all senders together; latency counts from when each was due [default: as many as go]
        #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
        rate: Option<f64>,
        /// How many lines a sender may be ahead of the slowest listener
        #[arg(long, value_name = "LINES", default_value_t = Room::AHEAD, value_parser = parse_positive)]
        ahead: usize,
        #[command(flatten)]
        common: Common,
    },
    /// All that TLS costs, one after the other: full handshakes, resumed ones, echo of 64 bytes and of 16 KiB, and
    /// idle connections
    Tls {
        #[command(flatten)]
        common: Common,
    },
    /// As many bytes as go
    Bulk {
        /// Bytes of a write
        #[arg(long, default_value = "64KiB", value_parser = parse_positive_size)]
        size: usize,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// The server: HOST:PORT, or unix:PATH
    #[arg(value_name = "ADDR", value_parser = str::parse::<Target>)]
    target: Target,
    /// Speaks TLS, to a server for `localhost` whose certificate one in this file (PEM) has signed
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Resumes sessions; otherwise each handshake is a full one
    #[arg(long, requires = "tls")]
    resume: bool,
    /// Connections at a time
    #[arg(long, short = 'n', default_value_t = 64, value_parser = parse_positive)]
    connections: usize,
    /// How long it is measured; 5s, or with --count 10m
    #[arg(long, short = 'd', value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Ends once so many operations have been measured
    #[arg(long)]
    count: Option<u64>,
    /// How long it runs before it is measured
    #[arg(long, default_value = "200ms", value_parser = parse_duration)]
    warm_up: Duration,
    /// How long an answer may take before that is an error
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// The address that connections come from, or the first of --sources
    #[arg(long, value_name = "IPV4")]
    source: Option<Ipv4Addr>,
    /// How many addresses they come from, counted up from --source [default: 1; of the loopback network 16
    /// where connections are replaced]
    #[arg(long)]
    sources: Option<u32>,
    /// Tells what this process, the server, holds before, during and after
    #[arg(long)]
    pid: Option<u32>,
    /// Writes the figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(&[], |arguments: Arguments| act(arguments.mode))
}

fn act(mode: Mode) -> Result<(), Failure> {
    let (kind, common) = match mode {
        Mode::Echo { size, in_flight, lines, rate, bulk, idle, common } => {
            let others = Others { bulk, idle };
            (Kind::Echo { size, in_flight, lines, rate, others }, common)
        }
        Mode::Accept { common } => (Kind::Accept, common),
        Mode::Churn { size, messages, seed, common } => {
            (Kind::Churn { size, messages, seed }, common)
        }
        Mode::Idle { common } => (Kind::Idle, common),
        Mode::Expire { common } => (Kind::Expire, common),
        Mode::Chat { senders, rate, ahead, common } => {
            if senders > Room::SENDERS_MAX {
                return Err(Failure::usage(format!("--senders: at most {}", Room::SENDERS_MAX)));
            }
            (Kind::Chat(Room { senders, rate, ahead }), common)
        }
        Mode::Tls { common } => return act_all(common),
        Mode::Bulk { size, common } => (Kind::Bulk { size }, common),
    };
    let report = report(&common, kind, common.resume)?;
    if let Some(path) = &common.json {
        write_json(path, &report)?;
    }
    judge([&report])
}

/// What TLS is judged by.
fn act_all(common: Common) -> Result<(), Failure> {
    if common.tls.is_none() {
        return Err(Failure::usage(
            "tls needs --tls FILE: the certificate that the server's is signed by",
        ));
    }
    let echo = |size| Kind::Echo {
        size,
        in_flight: 1,
        lines: false,
        rate: None,
        others: Others::default(),
    };
    let mut reports = Vec::new();
    for (what, kind, resumes) in [
        ("full handshakes", Kind::Accept, false),
        ("resumed handshakes", Kind::Accept, true),
        ("64 bytes", echo(64), true),
        ("16 KiB", echo(16 * 1024), true),
        ("idle", Kind::Idle, true),
    ] {
        let _ = writeln!(io::stdout(), "== {what}");
        reports.push(report(&common, kind, resumes)?);
    }
    if let Some(path) = &common.json {
        write_json(path, &reports)?;
    }
    judge(&reports)
}

/// Puts on one load, and prints what it found.
fn report(common: &Common, kind: Kind, resumes: bool) -> Result<Report, Failure> {
    let load = common.load(kind, resumes)?;
    let mut watch = Observer::new(common.pid)?;
    let outcome = load::run(&load, &mut watch);
    watch.clear_line();
    let outcome = outcome.map_err(Failure::run)?;
    let report =
        Report { target: load.target.to_string(), memory: watch.memory(&outcome)?, outcome };
    let _ = io::stdout().write_all(report.to_string().as_bytes());
    if watch.process.is_some() && report.outcome.operations > 0 {
        let each = watch.busy.as_nanos() as f64 / report.outcome.operations as f64;
        let _ = writeln!(
            io::stdout(),
            "server       {:.3} us of CPU an operation, at most {} KiB own",
            each / 1e3,
            watch.most / 1024
        );
    }
    if let Some(tls) = &load.tls {
        let (full, resumed) = tls.handshakes();
        let _ = writeln!(io::stdout(), "handshakes   {full} full, {resumed} resumed");
    }
    Ok(report)
}

fn judge<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Result<(), Failure> {
    let errors = reports.into_iter().flat_map(|report| &report.outcome.errors);
    let errors: Vec<String> = errors.map(|(name, count)| format!("{count} x {name}")).collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::run(format!("not all went well: {}", errors.join(", ")))),
    }
}

fn write_json(path: &Path, found: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(found).map_err(io::Error::from);
    text.and_then(|text| fs::write(path, text + "\n"))
        .map_err(|error| Failure::run(format!("cannot write {}: {error}", path.display())))
}

impl Common {
    fn load(&self, kind: Kind, resumes: bool) -> Result<Load, Failure> {
        let is_loopback = matches!(&self.target, Target::Ip(address) if address.ip().is_loopback() && address.is_ipv4());
        let replaces = matches!(kind, Kind::Accept | Kind::Churn { .. });
        let sources = match (self.source, self.sources) {
            (None, None) if is_loopback && replaces => {
                Sources::Range { first: Ipv4Addr::LOCALHOST, count: 16 }
            }
            (None, None) => Sources::Any,
            (first, count) => Sources::Range {
                first: first.unwrap_or(Ipv4Addr::LOCALHOST),
                count: count.unwrap_or(1),
            },
        };
        let bound = if self.count.is_some() { 600 } else { 5 };
        let tls = match (&self.tls, &self.target) {
            (Some(_), Target::Unix(_)) => {
                return Err(Failure::usage("--tls: a Unix socket speaks none"));
            }
            (Some(path), _) => Some(Tls::new(path, resumes).map_err(|error| {
                Failure::run(format!("cannot use {}: {error}", path.display()))
            })?),
            (None, _) => None,
        };
        Ok(Load {
            target: self.target.clone(),
            sources,
            tls,
            kind,
            connections: self.connections,
            warm_up: self.warm_up,
            duration: self.duration.unwrap_or(Duration::from_secs(bound)),
            count: self.count,
            patience: self.timeout,
            everyone: true,
        })
    }
}

/// Looks at the server's process, and tells a terminal how far it is.
struct Observer {
    process: Option<Process>,
    before: Held,
    during: Held,
    /// The most that it held of its own at any look.
    most: u64,
    /// The CPU time that it took while it was measured.
    busy: Duration,
    is_terminal: bool,
}

impl Observer {
    fn new(pid: Option<u32>) -> Result<Self, Failure> {
        let process = pid.map(Process::new);
        let before = process.map_or(Ok(Held::default()), Process::held).map_err(|error| {
            Failure::run(format!("cannot look at process {}: {error}", pid.unwrap_or_default()))
        })?;
        let is_terminal = io::stderr().is_terminal();
        Ok(Self {
            process,
            before,
            during: before,
            most: before.anonymous,
            busy: Duration::ZERO,
            is_terminal,
        })
    }

    fn clear_line(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn memory(&self, outcome: &Outcome) -> Result<Option<Memory>, Failure> {
        let Some(process) = self.process else { return Ok(None) };
        let after =
            process.held().map_err(|error| Failure::run(format!("the server is gone: {error}")))?;
        Ok(Some(Memory::new(self.before, self.during, after, outcome.connections_answered)))
    }
}

impl Watch for Observer {
    fn started(&mut self) -> io::Result<()> {
        if let Some(process) = self.process {
            self.busy = process.cpu_time()?;
        }
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        if let Some(process) = self.process {
            self.busy = process.cpu_time()?.saturating_sub(self.busy);
            self.during = process.held()?;
            self.most = self.most.max(self.during.anonymous);
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        // Who is gone is missed when the run ends.
        if let Some(Ok(held)) = self.process.map(Process::held) {
            self.most = self.most.max(held.anonymous);
        }
        if self.is_terminal {
            let Progress { phase, elapsed, connections_answered, operations, errors } = progress;
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{phase} {:.1} s, {connections_answered} connections, {operations} operations, {errors} errors",
                elapsed.as_secs_f64()
            );
        }
    }
}

fn parse_positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it must be a whole number above 0".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn parse_positive_size(text: &str) -> Result<usize, String> {
    const MOST: usize = 64 << 20;
    match parse_size(text)? {
        0 => Err("it must be above 0".to_owned()),
        size if size > MOST => Err("it must be at most 64MiB".to_owned()),
        size => Ok(size),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1e-3..=1e7).contains(&rate) => Ok(rate),
        _ => Err("it must be a number from 0.001 to 10000000".to_owned()),
    }
}
