//! The limits of the command line, as limits of the library.

use reactor::Limits;
use rustix::process::{Resource, getrlimit};

use crate::failure::Failure;
use crate::options::ServerOptions;
use crate::page::CONNECTIONS_MAX;

/// How a service comes to have bytes waiting for a peer; it decides what `--queue-limit` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// It answers its peers: it stops reading well below the limit, and so never reaches it.
    Answers,
    /// It tells many what one has said: whoever reaches the limit is closed.
    FansOut,
}

/// Descriptors that a program needs whatever it serves: standard streams, signals, and some that it has
/// inherited.
const DESCRIPTORS_OWN: usize = 10;
/// Descriptors of the loop that hears signals after loop 0 has stopped; one loop alone has none.
const DESCRIPTORS_WAITER: usize = 6;
/// Descriptors of one loop: its poll, its waker, and room for what it has just accepted to refuse it.
const DESCRIPTORS_PER_LOOP: usize = 3;

/// Where many descriptors are allowed, not all of them are expected to be used.
const EXPECTED_MAX: usize = 65_536;

impl ServerOptions {
    /// What the options allow each connection of the service, and all of them together.
    pub fn limits(&self, traffic: Traffic) -> Limits {
        let defaults = Limits::default();
        let limits = Limits {
            max_connections: self.max_connections.unwrap_or_else(|| self.connections_possible()),
            max_per_ip: self.max_per_ip,
            idle_timeout: self.idle_timeout,
            drain_timeout: match self.idle_timeout.is_zero() {
                true => defaults.drain_timeout,
                false => self.idle_timeout,
            },
            ..defaults
        };
        match (traffic, self.queue_limit) {
            // Without a limit there still is a mark at which a service that answers stops to read.
            (Traffic::Answers, 0) => Limits { queue_max: 0, ..limits },
            (Traffic::Answers, limit) => Limits {
                queue_high: (limit / 2).max(1),
                queue_low: limit / 4,
                queue_max: 0,
                ..limits
            },
            (Traffic::FansOut, limit) => Limits { queue_max: limit, ..limits },
        }
    }

    /// Whether there are descriptors enough to start at all.
    ///
    /// # Errors
    /// What there are too many of, and the limit.
    pub(crate) fn check_descriptors(&self) -> Result<(), Failure> {
        self.check_within(descriptors())
    }

    fn check_within(&self, descriptors: Option<usize>) -> Result<(), Failure> {
        match descriptors {
            // The last one is for a connection.
            Some(limit) if self.descriptors_needed() >= limit => {
                let what = match (self.loops, self.listen.len()) {
                    (1, 0 | 1) => "run a loop".to_owned(),
                    (1, listeners) => format!("open {listeners} listeners"),
                    (loops, _) => format!("run {loops} loops"),
                };
                Err(Failure::run(format!("cannot {what}: the descriptor limit is {limit}")))
            }
            _ => Ok(()),
        }
    }

    /// What to say of a limit that the descriptors will not let be reached.
    pub(crate) fn descriptors_warning(&self) -> Option<String> {
        self.warning_within(descriptors())
    }

    fn warning_within(&self, descriptors: Option<usize>) -> Option<String> {
        let (asked, limit) = (self.max_connections?, descriptors?);
        let possible = connections_within(Some(limit), self.reserve());
        (asked > possible).then(|| {
            format!(
                "--max-connections {asked} is more than there will be: \
                 the descriptor limit, {limit}, allows {possible}"
            )
        })
    }

    /// For how many connections a loop has room before it must grow.
    pub(crate) fn connections_expected(&self) -> usize {
        let possible = self.connections_possible();
        let allowed = self.max_connections.filter(|max| *max != 0).unwrap_or(possible);
        allowed.min(possible).min(EXPECTED_MAX)
    }

    fn connections_possible(&self) -> usize {
        connections_within(descriptors(), self.reserve())
    }

    /// Descriptors that are not for connections of the service.
    fn reserve(&self) -> usize {
        let page = if self.metrics.is_some() { CONNECTIONS_MAX } else { 0 };
        self.descriptors_needed() + page
    }

    /// Descriptors that there must be before the first connection.
    fn descriptors_needed(&self) -> usize {
        let loops = usize::from(self.loops);
        let sockets = (self.listen.len() + 1) * loops;
        let waiter = if loops > 1 { DESCRIPTORS_WAITER } else { 0 };
        DESCRIPTORS_OWN + loops * DESCRIPTORS_PER_LOOP + sockets + waiter
    }
}

/// The soft limit; `None` where the system sets none.
fn descriptors() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// 0, which is none, where the system sets no limit.
fn connections_within(descriptors: Option<usize>, reserve: usize) -> usize {
    descriptors.map_or(0, |descriptors| descriptors.saturating_sub(reserve).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::parse;
    use std::time::Duration;

    #[test]
    fn the_descriptor_limit_leaves_a_reserve_and_at_least_one() {
        assert_eq!(connections_within(Some(20_000), 100), 19_900);
        assert_eq!(connections_within(Some(64), 100), 1);
        assert_eq!(connections_within(None, 100), 0);
        let possible = parse(&[]).unwrap().limits(Traffic::Answers).max_connections;
        assert!(possible > 0);
        let limits = parse(&["--max-connections", "7"]).unwrap().limits(Traffic::Answers);
        assert_eq!(limits.max_connections, 7);
        let limits = parse(&["--max-connections", "0"]).unwrap().limits(Traffic::Answers);
        assert_eq!(limits.max_connections, 0);
    }

    #[test]
    fn too_few_descriptors_are_told_before_anything_is_opened() {
        let refused = |arguments: &[&str], limit| {
            let checked = parse(arguments).unwrap().check_within(Some(limit));
            checked.err().map(|failure| failure.to_string())
        };
        let text = "error: cannot run 30 loops: the descriptor limit is 64";
        assert_eq!(refused(&["--loops=30", "--listen=127.0.0.1:0"], 64).unwrap(), text);
        assert_eq!(refused(&["--loops=30", "--listen=127.0.0.1:0"], 1024), None);
        assert_eq!(refused(&["--listen=127.0.0.1:0"], 64), None);
        let text = "error: cannot run a loop: the descriptor limit is 5";
        assert_eq!(refused(&["--listen=127.0.0.1:0"], 5).unwrap(), text);
        let many = ["--listen=127.0.0.1:0"; 60];
        let text = "error: cannot open 60 listeners: the descriptor limit is 64";
        assert_eq!(refused(&many, 64).unwrap(), text);
        assert!(parse(&["--loops=1024"]).unwrap().check_within(None).is_ok());
    }

    #[test]
    fn more_connections_than_descriptors_are_warned_of() {
        let warning =
            |asked, limit| parse(&["--max-connections", asked]).unwrap().warning_within(limit);
        let text = warning("2000", Some(1024)).unwrap();
        assert!(text.starts_with("--max-connections 2000 ") && text.contains("1024"), "{text}");
        assert_eq!(warning("500", Some(1024)), None);
        assert_eq!(warning("0", Some(1024)), None);
        assert_eq!(warning("2000", None), None);
        assert_eq!(parse(&[]).unwrap().warning_within(Some(64)), None);
    }

    #[test]
    fn who_answers_stops_below_the_limit_and_who_fans_out_closes_at_it() {
        let marks = |limit, traffic| {
            let limits = parse(&["--queue-limit", limit]).unwrap().limits(traffic);
            (limits.queue_high, limits.queue_low, limits.queue_max)
        };
        assert_eq!(marks("1MiB", Traffic::Answers), (1 << 19, 1 << 18, 0));
        assert_eq!(marks("1", Traffic::Answers), (1, 0, 0));
        let defaults = Limits::default();
        let usual = (defaults.queue_high, defaults.queue_low);
        assert_eq!(marks("0", Traffic::Answers), (usual.0, usual.1, 0));
        assert_eq!(marks("2MiB", Traffic::FansOut), (usual.0, usual.1, 2 << 20));
        assert_eq!(marks("0", Traffic::FansOut), (usual.0, usual.1, 0));
    }

    #[test]
    fn draining_takes_as_long_as_silence_may() {
        let limits =
            |timeout| parse(&["--idle-timeout", timeout]).unwrap().limits(Traffic::Answers);
        assert_eq!(limits("7s").idle_timeout, Duration::from_secs(7));
        assert_eq!(limits("7s").drain_timeout, Duration::from_secs(7));
        assert_eq!(limits("0").idle_timeout, Duration::ZERO);
        assert_eq!(limits("0").drain_timeout, Limits::default().drain_timeout);
    }
}
