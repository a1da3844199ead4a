//! `sim`: runs a service in simulated networks, one for each seed, and replays the one that failed.

mod museum;
mod run;
mod services;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::services::Service;

/// Runs a service in simulated networks, one for each seed.
///
/// Everything that happens is drawn from the seed, so a seed that fails is a bug report: the same seed does
/// the same again, byte for byte. Exit 0: no promise was broken; 1: one was; 2: wrong usage.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    run: RunOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct RunOptions {
    /// What is run.
    #[arg(long, value_enum, default_value_t = Service::Echo)]
    service: Service,
    /// How many seeds are run.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Runs this seed alone.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Prints what the loops of this seed did, in sentences, on standard output.
    #[arg(long, requires = "seed")]
    explain: bool,
    /// Runs each seed twice, and compares the traces.
    #[arg(long)]
    twice: bool,
    /// Threads to run on; each seed is one thread's.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Puts classic bugs of readiness loops back into a copy of the library, one at a time, and sees
    /// whether the simulator finds them.
    Museum(MuseumOptions),
}

#[derive(Debug, Args)]
struct MuseumOptions {
    /// Numbers of exhibits; all, unless some are named.
    numbers: Vec<u32>,
    /// Seeds of each service within which a bug must show.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Where the project's sources are.
    #[arg(long, value_name = "DIR", default_value = ".")]
    sources: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.command {
        Some(Command::Museum(museum)) => museum::visit(museum),
        None => run::run(&options.run),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}
