//! The options that all servers have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use reactor::{Config, Target};

use crate::address::{ListenAddress, parse_peer};
use crate::failure::Failure;
use crate::logging::LogOptions;
use crate::tls::TlsOptions;
use crate::trace::{RECORDS, TraceFile};
use crate::units::{parse_duration, parse_size};

/// What a loop's number may be, and so how many of them there are at most.
const LOOPS_MAX: u64 = 1024;

/// The options that all servers have.
#[derive(Args, Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen.
    #[arg(
        long,
        value_name = "ADDR",
        help = "Where, repeatable: HOST:PORT (a name: its first address; port 0: any), [::]:PORT, \
                unix:PATH, udp:HOST:PORT"
    )]
    pub listen: Vec<ListenAddress>,
    /// How many connections there may be; what the descriptor limit allows if it is not given.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help = "How many connections there may be; the others wait in the backlog; 0: any number \
                [default: what the descriptor limit allows]"
    )]
    pub max_connections: Option<usize>,
    /// How many of them may come from one IP address; who comes over it is closed; 0: any
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub max_per_ip: usize,
    /// How long no byte may move, in either direction, on a connection; 0: for ever
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = parse_duration,
          allow_hyphen_values = true)]
    pub idle_timeout: Duration,
    /// How many clients may wait to be accepted; 0: as many as the system allows
    #[arg(long, value_name = "N", default_value_t = 1024, allow_negative_numbers = true)]
    pub backlog: u32,
    /// How many bytes may wait for one peer (where lines are answered, and one answer); 0: any
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size,
          allow_hyphen_values = true)]
    pub queue_limit: usize,
    /// How many event loops to run, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = RangedU64ValueParser::<u16>::new().range(1..=LOOPS_MAX))]
    pub loops: u16,
    /// How long a loop may look for work before it sleeps: less latency for more CPU
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration,
          allow_hyphen_values = true)]
    pub spin: Duration,
    /// Serve a Prometheus page at http://ADDR/metrics
    #[arg(long, value_name = "ADDR", value_parser = parse_metrics)]
    pub metrics: Option<Target>,
    /// Write what each turn of the loops did, at the end and on SIGUSR1: .json (opens in Perfetto), .jsonl
    /// or .txt
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Log turns that take longer, with the callback to blame, and write the trace; 0: none
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration,
          allow_hyphen_values = true)]
    pub stall: Duration,
    /// How long connections may drain when the server stops; 0: as long as they take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration,
          allow_hyphen_values = true)]
    pub grace: Duration,
    /// How much is logged.
    #[command(flatten)]
    pub log: LogOptions,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
}

impl ServerOptions {
    /// The same for a service that always speaks TLS, as if `--tls` had been given.
    pub fn with_tls(mut self) -> Self {
        self.tls.tls = true;
        self
    }

    /// Whether the options make sense together.
    ///
    /// # Errors
    /// The option that does not.
    pub fn check(&self) -> Result<(), Failure> {
        self.tls.check()
    }

    /// How each loop is made.
    pub(crate) fn config(&self, trace: Option<&Arc<TraceFile>>) -> Config {
        Config {
            trace_records: if trace.is_some() { RECORDS } else { 0 },
            stall: self.stall,
            on_stall: trace.map(TraceFile::hook),
            spin: self.spin,
            grace: if self.grace.is_zero() { Duration::MAX } else { self.grace },
            time_handlers: self.metrics.is_some(),
            connections_expected: self.connections_expected(),
            ..Config::default()
        }
    }
}

fn parse_metrics(text: &str) -> Result<Target, String> {
    match parse_peer(text) {
        Ok(target @ (Target::Ip(_) | Target::Name(_))) => Ok(target),
        _ => Err("it is not HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        server: ServerOptions,
    }

    pub(crate) fn parse(arguments: &[&str]) -> Result<ServerOptions, clap::Error> {
        Arguments::try_parse_from([&["server"], arguments].concat())
            .map(|arguments| arguments.server)
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let options = parse(&[]).unwrap();
        assert!(options.listen.is_empty() && options.max_connections.is_none());
        assert_eq!((options.max_per_ip, options.backlog, options.loops), (0, 1024, 1));
        assert_eq!(options.idle_timeout, Duration::from_secs(120));
        assert_eq!(options.queue_limit, 1 << 20);
        assert_eq!((options.spin, options.grace), (Duration::ZERO, Duration::from_secs(10)));
        assert!(options.metrics.is_none() && options.check().is_ok());
    }

    #[test]
    fn wrong_values_are_refused_with_the_option_and_the_way_to_write_it() {
        for (arguments, told) in [
            (["--grace", "10"], "'10' for '--grace <DURATION>'"),
            (["--queue-limit", "1MB"], "64KiB"),
            (["--loops", "0"], "--loops"),
            (["--loops", "1025"], "--loops"),
            (["--listen", "nonsense"], "HOST:PORT"),
            (["--metrics", "unix:/run/x.sock"], "HOST:PORT"),
            (["--max-connections", "many"], "--max-connections"),
            (["--max-connections", "-1"], "invalid value '-1' for '--max-connections <N>'"),
            (["--max-per-ip", "-1"], "invalid value '-1' for '--max-per-ip <N>'"),
            (["--backlog", "-1"], "invalid value '-1' for '--backlog <N>'"),
            (["--loops", "-1"], "invalid value '-1' for '--loops <N>'"),
            (["--grace", "-1s"], "invalid value '-1s' for '--grace <DURATION>'"),
            (["--idle-timeout", "-1s"], "invalid value '-1s' for '--idle-timeout <DURATION>'"),
            (["--spin", "-1us"], "invalid value '-1us' for '--spin <DURATION>'"),
            (["--queue-limit", "-1KiB"], "invalid value '-1KiB' for '--queue-limit <SIZE>'"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn every_line_of_the_help_is_short_enough_to_read() {
        let help = Arguments::try_parse_from(["server", "--help"]).err().unwrap().to_string();
        for line in help.lines() {
            assert!(line.chars().count() < 160, "{line}");
        }
        assert!(help.contains("a name: its first address"), "{help}");
    }

    #[test]
    fn files_without_tls_are_a_mistake() {
        for arguments in [
            &["--cert", "c.pem", "--key", "k.pem"][..],
            &["--tls-dir", "d"],
            &["--client-ca", "ca.pem"],
        ] {
            let options = parse(arguments).unwrap();
            let failure = options.check().unwrap_err();
            assert_eq!(failure.to_string(), format!("error: {} needs --tls", arguments[0]));
            assert!(matches!(failure, Failure::Usage(_)));
            assert!(options.with_tls().check().is_ok());
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        for (arguments, missing) in [
            (["--tls", "--cert", "c.pem"], "--key <FILE>"),
            (["--tls", "--key", "k.pem"], "--cert <FILE>"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    #[test]
    fn handlers_are_timed_only_for_those_who_look_at_the_metrics() {
        let config = parse(&[]).unwrap().config(None);
        assert!(!config.time_handlers && config.trace_records == 0 && config.stall.is_zero());
        let options = parse(&["--metrics", "127.0.0.1:0", "--spin", "50us"]).unwrap();
        assert!(options.config(None).time_handlers);
        assert_eq!(options.config(None).spin, Duration::from_micros(50));
        let options = parse(&["--stall", "100ms"]).unwrap();
        assert_eq!(options.config(None).stall, Duration::from_millis(100));
    }
}
