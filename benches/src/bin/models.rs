//! One protocol served in six ways, beside each other. See `models --help`.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use benches::machine::root;
use benches::models::{
    Comparison, Model, Service, Settings, compare, plot, serve, serve_standard_input, table,
};
use benches::server::usable;
use clap::{Args, Parser, Subcommand};
use servers_common::{Failure, parse_duration, run};

/// Serves lines in six ways, with 1 to 1,000 clients, and tells what each costs and bears.
///
/// The models: blocking (one connection at a time), threads (one for each), pool, processes (one for each),
/// reactor (one loop), loops (several).
#[derive(Parser)]
#[command(name = "models", version)]
struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    comparing: Comparing,
}

#[derive(Subcommand)]
enum Action {
    /// Serves in one way, until it is ended
    Serve {
        /// blocking, threads, pool, processes, reactor or loops
        model: Model,
        /// At which port of 127.0.0.1; 0: a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Squares that are added up for each line
        #[arg(long, default_value_t = 0)]
        work: u64,
        #[command(flatten)]
        sizes: Sizes,
    },
    /// Serves the connection that is its standard input
    #[command(hide = true)]
    Child {
        #[arg(long)]
        work: u64,
    },
}

#[derive(Args)]
struct Sizes {
    /// Threads of the pool
    #[arg(long, default_value_t = 16)]
    pool: usize,
    /// Loops [default: one for each core]
    #[arg(long)]
    loops: Option<usize>,
}

#[derive(Args)]
struct Comparing {
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 300, 1000])]
    clients: Vec<usize>,
    /// Amounts of work: squares that are added up for each line
    #[arg(long, value_delimiter = ',', default_values_t = [0, 100_000])]
    work: Vec<u64>,
    /// Models
    #[arg(long, value_delimiter = ',', default_values_t = Model::ALL)]
    models: Vec<Model>,
    /// How long each is measured
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    duration: Duration,
    /// How long it is waited for clients that may never be served
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    timeout: Duration,
    /// Few and short
    #[arg(long, conflicts_with_all = ["clients", "duration"])]
    quick: bool,
    #[command(flatten)]
    sizes: Sizes,
    /// Makes the table and the picture of figures that an earlier run has written, and measures nothing
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Where models.json, models.md and models.svg go [default: target/bench]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(&[], |arguments: Arguments| match arguments.action {
        Some(Action::Serve { model, port, work, sizes }) => {
            let service = Service { work, pool: sizes.pool.max(1), loops: sizes.loops()? };
            serve(model, service, port).map_err(Failure::run)
        }
        Some(Action::Child { work }) => serve_standard_input(work).map_err(Failure::run),
        None => arguments.comparing.act(),
    })
}

impl Sizes {
    fn loops(&self) -> Result<usize, Failure> {
        let cores = usable().map_err(Failure::run)?.len();
        Ok(self.loops.unwrap_or(cores).max(1))
    }
}

impl Comparing {
    fn act(&self) -> Result<(), Failure> {
        let comparison = match &self.from {
            None => self.measure()?,
            Some(file) => {
                let read = || -> Result<Comparison, Box<dyn Error>> {
                    Ok(serde_json::from_slice(&fs::read(file)?)?)
                };
                let cannot_read = |error| format!("cannot read {}: {error}", file.display());
                read().map_err(|error| Failure::run(cannot_read(error)))?
            }
        };
        let table = table(&comparison);
        io::stdout().write_all(table.as_bytes()).map_err(Failure::run)?;
        let out = self.out.clone().unwrap_or_else(|| root().join("target/bench"));
        let write = || -> Result<(), Box<dyn Error>> {
            fs::create_dir_all(&out)?;
            if self.from.is_none() {
                let text = serde_json::to_string_pretty(&comparison)?;
                fs::write(out.join("models.json"), format!("{text}\n"))?;
            }
            fs::write(out.join("models.md"), &table)?;
            plot(&comparison, &out.join("models.svg"))
        };
        write()
            .map_err(|error| Failure::run(format!("cannot write to {}: {error}", out.display())))?;
        match comparison.rows.iter().filter(|row| row.failure.is_some()).count() {
            0 => Ok(()),
            count => Err(Failure::run(format!("{count} rows have no figures"))),
        }
    }

    fn measure(&self) -> Result<Comparison, Failure> {
        if self.clients.contains(&0) || self.duration.is_zero() {
            return Err(Failure::usage("--clients and --duration must be above 0"));
        }
        let (clients, duration) = match self.quick {
            true => (vec![1, 30], Duration::from_millis(100)),
            false => (self.clients.clone(), self.duration),
        };
        let settings = Settings {
            program: std::env::current_exe().map_err(Failure::run)?,
            models: self.models.clone(),
            clients,
            work: self.work.clone(),
            pool: self.sizes.pool.max(1),
            loops: self.sizes.loops()?,
            duration,
            patience: if self.quick {
                self.timeout.min(Duration::from_secs(1))
            } else {
                self.timeout
            },
        };
        compare(&settings, tell).map_err(Failure::run)
    }
}

/// On a terminal, one line that changes; else a line each.
fn tell(text: &str) {
    let end = if io::stderr().is_terminal() { "\x1b[K\r" } else { "\n" };
    let _ = write!(io::stderr(), "{text}{end}");
}
