//! Logs, on stderr, which may have nobody who reads it: then lines are lost, and nothing waits.

use std::io::Write;

use clap::{ArgAction, Args};
use env_logger::{Builder, Target};
use log::LevelFilter;

use crate::escape::Escaped;
use crate::stderr::Stderr;

/// How much is told on stderr.
#[derive(Args, Clone, Debug, Default)]
pub struct LogOptions {
    /// Log more: -v for each connection, -vv for everything
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log errors alone
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

impl LogOptions {
    /// Begins to log. `RUST_LOG` counts where neither option is given.
    ///
    /// A stderr that is closed or that nobody reads loses the log, and nothing else: it never blocks.
    /// Control characters are escaped, wherever they come from, so that each record is one line.
    pub fn start(&self) {
        start(self.level(), LevelFilter::Info);
    }

    /// The same for a client, whose stderr belongs to the one line that tells what went wrong: it logs
    /// what `RUST_LOG` asks for, and nothing else.
    pub fn start_for_client() {
        start(None, LevelFilter::Off);
    }

    /// What the options say, if they say anything.
    fn level(&self) -> Option<LevelFilter> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(LevelFilter::Error),
            (false, 0) => None,
            (false, 1) => Some(LevelFilter::Debug),
            (false, _) => Some(LevelFilter::Trace),
        }
    }
}

/// `RUST_LOG` counts before the default, and what was asked for before both.
fn start(level: Option<LevelFilter>, default: LevelFilter) {
    let mut builder = Builder::new();
    match (level, std::env::var("RUST_LOG")) {
        (None, Ok(filters)) if !filters.is_empty() => builder.parse_filters(&filters),
        (level, _) => {
            let level = level.unwrap_or(default);
            // What it warns of is what peers have sent: one connection more is not news.
            let of_tls =
                if level > LevelFilter::Info { level } else { level.min(LevelFilter::Error) };
            builder.filter_level(level).filter_module("rustls", of_tls)
        }
    };
    builder.format(|out, record| {
        let (time, level, target) = (out.timestamp(), record.level(), record.target());
        let text = Escaped(record.args());
        writeln!(out, "[{time} {level:<5} {target}] {text}")
    });
    builder.target(Target::Pipe(Box::new(Stderr)));
    // Somebody who embeds the program may log in a way of their own already.
    let _ = builder.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_say_how_much() {
        let level = |verbose, quiet| LogOptions { verbose, quiet }.level();
        assert_eq!(level(0, false), None);
        assert_eq!(level(1, false), Some(LevelFilter::Debug));
        assert_eq!(level(2, false), Some(LevelFilter::Trace));
        assert_eq!(level(9, false), Some(LevelFilter::Trace));
        assert_eq!(level(0, true), Some(LevelFilter::Error));
    }
}
