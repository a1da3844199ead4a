//! What a load has found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies above this are recorded as this.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// What a load has found. `operations` are those of its [`Kind`](super::Kind).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub mode: String,
    /// Asked for.
    pub connections: usize,
    /// How many connections were ever answered.
    pub connections_answered: usize,
    /// How long it was measured.
    pub seconds: f64,
    /// Done while it was measured.
    pub operations: u64,
    /// With those of the warm-up and after the end.
    pub operations_in_all: u64,
    pub per_second: f64,
    /// The open loop's rate.
    pub asked_per_second: Option<f64>,
    /// That came back while it was measured.
    pub bytes: u64,
    pub bytes_per_second: f64,
    pub latency: Option<Latency>,
    /// How often each went wrong.
    pub errors: BTreeMap<String, u64>,
}

/// Latencies to three digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean_ns: f64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub phase: &'static str,
    pub elapsed: Duration,
    pub connections_answered: usize,
    pub operations: u64,
    pub errors: u64,
}

/// Counts while it goes on.
pub(super) struct Tally {
    pub(super) connections_answered: usize,
    pub(super) operations: u64,
    pub(super) operations_in_all: u64,
    pub(super) bytes: u64,
    pub(super) errors: BTreeMap<String, u64>,
    latencies: Histogram<u64>,
    /// What counts: from the first to before the second.
    from: Option<Instant>,
    to: Option<Instant>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let limit = nanoseconds(LATENCY_MAX);
        Self {
            connections_answered: 0,
            operations: 0,
            operations_in_all: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            // Three digits and an hour are in its range, so it can be made.
            latencies: Histogram::new_with_bounds(1, limit, 3)
                .unwrap_or_else(|_| unreachable!("bounds that fit each other")),
            from: None,
            to: None,
        }
    }

    pub(super) fn measure(&mut self, from: Instant) {
        self.from = Some(from);
    }

    pub(super) fn end(&mut self, to: Instant) {
        self.to = Some(to);
    }

    fn counts(&self, time: Instant) -> bool {
        self.from.is_some_and(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    /// An operation that was due then and is done now. When it is done says whether it counts, when it was
    /// due whether its latency does: in the closed loop a moment apart, in the open loop perhaps long.
    pub(super) fn operation(&mut self, due: Instant, now: Instant) {
        self.operations(1, now);
        self.latency_since(due, now);
    }

    /// So many operations that are done now, whatever their latency.
    pub(super) fn operations(&mut self, count: u64, now: Instant) {
        self.operations_in_all += count;
        if self.counts(now) {
            self.operations += count;
        }
    }

    /// The latency of one that was due then and is done now.
    pub(super) fn latency_since(&mut self, due: Instant, now: Instant) {
        if self.counts(due) {
            self.latency(now.duration_since(due));
        }
    }

    /// An operation that is not done and never will be: its latency is at least what it has waited.
    pub(super) fn unanswered(&mut self, due: Instant, now: Instant) {
        if self.counts(due) {
            self.error("unanswered".to_owned());
            self.latency(now.duration_since(due));
        }
    }

    fn latency(&mut self, latency: Duration) {
        self.latencies.saturating_record(nanoseconds(latency).max(1));
    }

    pub(super) fn arrived(&mut self, bytes: usize, now: Instant) {
        if self.counts(now) {
            self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        }
    }

    pub(super) fn error(&mut self, name: String) {
        *self.errors.entry(name).or_default() += 1;
    }

    pub(super) fn latencies(&self) -> Option<Latency> {
        let latencies = &self.latencies;
        (!latencies.is_empty()).then(|| Latency {
            count: latencies.len(),
            mean_ns: latencies.mean(),
            p50_ns: latencies.value_at_quantile(0.5),
            p99_ns: latencies.value_at_quantile(0.99),
            p999_ns: latencies.value_at_quantile(0.999),
            max_ns: latencies.max(),
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_due_in_the_window_has_its_latency_recorded_however_late_it_is_done() {
        let start = Instant::now();
        let mut tally = Tally::new();
        tally.operation(start, start + SECOND); // the warm-up
        tally.measure(start + SECOND);
        tally.end(start + 2 * SECOND);
        tally.operation(start, start + SECOND); // due too early, but done in time
        tally.operation(start + SECOND, start + SECOND + SECOND / 4);
        tally.operation(start + SECOND, start + 5 * SECOND); // late
        tally.operation(start + 2 * SECOND, start + 3 * SECOND); // due too late
        tally.unanswered(start + SECOND, start + 9 * SECOND);
        tally.unanswered(start + 2 * SECOND, start + 9 * SECOND);
        let latency = tally.latencies().unwrap();
        assert_eq!((tally.operations, tally.operations_in_all, latency.count), (2, 5, 3));
        let is_about = |ns: u64, seconds: f64| (ns as f64 / 1e9 / seconds - 1.0).abs() < 1e-3;
        assert!(is_about(latency.p50_ns, 4.0) && is_about(latency.max_ns, 8.0), "{latency:?}");
        assert_eq!(tally.errors.get("unanswered"), Some(&1));
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let start = Instant::now();
        let mut tally = Tally::new();
        assert_eq!(tally.latencies(), None);
        tally.measure(start);
        for micros in 1..=1000 {
            tally.operation(start, start + Duration::from_micros(micros));
        }
        let latency = tally.latencies().unwrap();
        for (value, micros) in [
            (latency.p50_ns, 500),
            (latency.p99_ns, 990),
            (latency.p999_ns, 999),
            (latency.max_ns, 1000),
        ] {
            assert!(value.abs_diff(micros * 1000) <= micros, "{value} for {micros} us");
        }
        assert!((latency.mean_ns / 500_500.0 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn bytes_count_while_it_is_measured() {
        let start = Instant::now();
        let mut tally = Tally::new();
        tally.arrived(1, start);
        tally.measure(start);
        tally.end(start + SECOND);
        tally.arrived(10, start);
        tally.arrived(100, start + SECOND);
        assert_eq!(tally.bytes, 10);
    }
}
