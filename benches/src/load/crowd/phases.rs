//! When one phase ends and the next begins, and what was found at the end.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::{Crowd, TICK};
use crate::load::client::{Client, Fault, State};
use crate::load::outcome::{Outcome, Progress};
use crate::load::scheme::Scheme;
use crate::load::{Kind, LoadError, Watch};

#[derive(Clone, Copy)]
pub(super) enum Phase {
    Opening { from: Instant },
    WarmUp { until: Instant },
    Measuring { from: Instant },
    Draining { measured: Duration, until: Instant },
}

impl<S: Scheme> Crowd<'_, S> {
    /// Goes on to the next phase when it is time; `Some` at the end: how long it was measured.
    pub(super) fn step(
        &mut self,
        now: Instant,
        watch: &mut dyn Watch,
    ) -> Result<Option<Duration>, LoadError> {
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now, watch);
        }
        let watched = |error: io::Error| LoadError::new(format_args!("cannot measure: {error}"));
        match self.phase {
            Phase::Opening { from } => {
                if self.is_open(now.duration_since(from))? {
                    self.phase = Phase::WarmUp { until: now + self.load.warm_up };
                    self.begin(now);
                }
            }
            Phase::WarmUp { until } if now >= until => {
                watch.started().map_err(watched)?;
                let from = Instant::now();
                self.tally.measure(from);
                self.phase = Phase::Measuring { from };
            }
            Phase::Measuring { from } if now >= from + self.load.duration || self.is_enough() => {
                // What was due in time is asked for, late as it is: else a slow load would forgive itself.
                while self.hand_out(now).is_some_and(|next| next <= now) {}
                // The time ends before the server is looked at, which may take a while for many processes.
                self.tally.end(now);
                watch.ended().map_err(watched)?;
                self.clients.iter_mut().for_each(|(_, client)| self.scheme.stop(client));
                let measured = now.duration_since(from);
                let until = Instant::now() + self.load.patience;
                self.phase = Phase::Draining { measured, until };
            }
            Phase::Draining { measured, until } => {
                if !self.load.everyone {
                    return Ok(Some(measured));
                }
                if now >= until || self.is_quiet() {
                    for (_, client) in &self.clients {
                        self.scheme.unanswered(client, now, &mut self.tally);
                    }
                    return Ok(Some(measured));
                }
            }
            Phase::WarmUp { .. } | Phase::Measuring { .. } => {}
        }
        Ok(None)
    }

    fn is_open(&self, elapsed: Duration) -> Result<bool, LoadError> {
        let (answered, asked) = (self.tally.connections_answered, self.load.connections_in_all());
        let target = &self.load.target;
        if let Some(error) = self.tally.errors.keys().next().filter(|_| self.load.everyone) {
            let why =
                format_args!("cannot use {target}: {error}; {answered} connections were answered");
            return Err(LoadError::new(why));
        }
        if answered >= asked {
            return Ok(true);
        }
        if elapsed < self.load.patience {
            return Ok(false);
        }
        if self.load.everyone || answered == 0 {
            let why =
                format_args!("timed out: {target} has answered {answered} of {asked} connections");
            return Err(LoadError::new(why));
        }
        Ok(true)
    }

    fn begin(&mut self, now: Instant) {
        let piece = self.piece();
        let mut begun = Vec::new();
        for (key, client) in &mut self.clients {
            if client.state == State::Open {
                self.scheme.begin(client, now);
                begun.push((key, client.write(&self.pattern, piece)));
            }
        }
        for (key, written) in begun {
            match written {
                Ok(()) => self.list(key),
                Err(fault) => self.fail(key, &fault),
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.load.count.is_some_and(|count| self.tally.operations >= count)
            || (self.clients.is_empty() && !S::REPLACES)
    }

    /// Nothing is on its way.
    fn is_quiet(&self) -> bool {
        let is_quiet = |client: &Client| match client.state {
            State::Connecting | State::Finishing => false,
            State::Open => client.received >= client.allowed,
        };
        self.clients.iter().all(|(_, client)| is_quiet(client))
    }

    /// Whether more is sent than the first message of each connection.
    pub(super) fn is_running(&self) -> bool {
        match self.phase {
            Phase::Opening { .. } => S::REPLACES,
            Phase::WarmUp { .. } | Phase::Measuring { .. } => true,
            Phase::Draining { .. } => false,
        }
    }

    fn tick(&mut self, now: Instant, watch: &mut dyn Watch) {
        let patience = self.load.patience;
        let is_late = |client: &Client| {
            (client.state != State::Open || S::REPLACES)
                && now.duration_since(client.since) > patience
        };
        let late = self.clients.iter().filter(|(_, client)| is_late(client));
        let late: Vec<usize> = late.map(|(key, _)| key).collect();
        let timed_out = Fault::Io(ErrorKind::TimedOut.into());
        late.into_iter().for_each(|key| self.fail(key, &timed_out));
        let (phase, elapsed) = match self.phase {
            Phase::Opening { from } => ("opening", now.duration_since(from)),
            Phase::WarmUp { .. } => ("warming up", Duration::ZERO),
            Phase::Measuring { from } => ("measuring", now.duration_since(from)),
            Phase::Draining { measured, .. } => ("draining", measured),
        };
        watch.progress(&Progress {
            phase,
            elapsed,
            connections_answered: self.tally.connections_answered,
            operations: self.tally.operations,
            errors: self.tally.errors.values().sum(),
        });
    }

    pub(super) fn outcome(&self, measured: Duration) -> Outcome {
        let tally = &self.tally;
        let seconds = measured.max(Duration::from_nanos(1)).as_secs_f64();
        let operations = match self.load.kind {
            Kind::Bulk { .. } => tally.bytes,
            _ => tally.operations,
        };
        Outcome {
            mode: self.load.kind.name().to_owned(),
            connections: self.load.connections_in_all(),
            connections_answered: tally.connections_answered,
            seconds,
            operations,
            operations_in_all: tally.operations_in_all,
            per_second: operations as f64 / seconds,
            asked_per_second: match self.load.kind {
                Kind::Echo { rate, .. } => rate,
                _ => None,
            },
            bytes: tally.bytes,
            bytes_per_second: tally.bytes as f64 / seconds,
            latency: tally.latencies(),
            errors: tally.errors.clone(),
        }
    }
}
