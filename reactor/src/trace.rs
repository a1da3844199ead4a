//! The flight recorder: what each turn of a loop did, in a ring of small records.
//!
//! ```text
//!   the loop's thread                         any thread
//!   Tap::note --> [ r r r ..trace_records ] --> Recorder::trace --> sentences, JSON Lines, Chrome
//! ```

mod chrome;
pub(crate) mod event;
mod explain;
pub(crate) mod format;
mod json;
mod spans;
pub(crate) mod stall;
mod step;
pub(crate) mod stopwatch;
pub(crate) mod tap;

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::event::Event;
use crate::timers::Nanos;

/// One step of the loop, and when it was. 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Nanoseconds since the loop was made.
    pub at: u64,
    /// What was done, or happened.
    pub event: Event,
}

/// The flight recorder of one loop, live: clones are the same recorder, and any thread may look at it,
/// also while the loop hangs in a callback.
///
/// It keeps the last [`Config::trace_records`](crate::Config::trace_records) records; older ones are
/// overwritten.
///
/// # Guarantees
/// - The loop allocates no memory for a record, but for the reason of a failed connect.
/// - Nothing that is recorded depends on addresses in memory or on the order of a hash map. On a driver
///   that does the same each time, and whose [stopwatch](crate::Driver::stopwatch) stands still, the
///   records are the same each time.
///
/// # Not guaranteed
/// - Which records a turn makes: that changes as the loop does.
/// - While a trace is [taken](Self::trace), a loop that wants to record something waits: some 10 ns for
///   each record that is kept.
///
/// ```
/// use reactor::{Config, ConnContext, Handler, Panics, ReadBuffer, ServiceConfig, Stage};
///
/// struct Echo;
/// impl Handler for Echo {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         cx.forward(input);
///     }
/// }
///
/// let config = Config { trace_records: 1000, ..Config::default() };
/// let mut stage = Stage::with_config(Echo, config, ServiceConfig::new());
/// let recorder = stage.reactor().recorder();
/// let peer = stage.open();
/// stage.deliver(peer, b"hello");
/// let trace = recorder.trace();
/// # #[cfg(feature = "trace")]
/// assert!(trace.records().iter().any(|record| matches!(record.event, reactor::Event::Read { .. })));
/// ```
#[derive(Clone)]
pub struct Recorder {
    loop_number: u16,
    /// The instant that the times of the records count from.
    origin: Instant,
    ring: Arc<Mutex<Ring>>,
}

struct Ring {
    /// Invariant: at most `capacity`, the latest last.
    records: VecDeque<Record>,
    capacity: usize,
    /// How many there ever were.
    total: u64,
    hasher: Fold,
}

impl Recorder {
    pub(crate) fn new(loop_number: u16, origin: Instant, capacity: usize) -> Self {
        let records = VecDeque::with_capacity(capacity);
        let ring = Ring { records, capacity, total: 0, hasher: Fold(FOLD) };
        Self { loop_number, origin, ring: Arc::new(Mutex::new(ring)) }
    }

    /// What is kept now.
    pub fn trace(&self) -> Trace {
        let ring = self.lock();
        Trace {
            loop_number: self.loop_number,
            origin: self.origin,
            overwritten: ring.total - ring.records.len() as u64,
            records: ring.records.iter().cloned().collect(),
        }
    }

    /// A number for all records since the loop was made, also those that are overwritten: two runs that
    /// did the same at the same times have the same.
    ///
    /// It means something within one build only: another compiler, or another version of this library,
    /// gives other numbers to the same records.
    pub fn hash(&self) -> u64 {
        self.lock().hasher.finish()
    }

    fn push(&self, record: Record) {
        self.lock().push(record);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Nothing that can panic runs under the lock.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.lock();
        write!(f, "Recorder({} of {} records)", ring.records.len(), ring.total)
    }
}

impl Ring {
    fn push(&mut self, record: Record) {
        record.hash(&mut self.hasher);
        self.total += 1;
        if self.records.len() >= self.capacity {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }
}

/// The records of one loop, as they were when [`Recorder::trace`] was called.
#[derive(Clone, Debug)]
pub struct Trace {
    loop_number: u16,
    origin: Instant,
    overwritten: u64,
    records: Vec<Record>,
}

impl Trace {
    /// The loop's [number](crate::Config::loop_number).
    pub fn loop_number(&self) -> u16 {
        self.loop_number
    }

    /// The instant of the driver's clock that the records' times count from: when the loop was made.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// The records, in order. Between a turn's end and the next one's beginning stands what was done from
    /// outside, as by [`Reactor::with`](crate::Reactor::with).
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    fn count_from(&mut self, origin: Instant) {
        let earlier = self.origin.saturating_duration_since(origin);
        let earlier = u64::try_from(earlier.as_nanos()).unwrap_or(Nanos::MAX);
        self.origin = origin;
        for record in &mut self.records {
            record.at = record.at.saturating_add(earlier);
            record.event.count_from(earlier);
        }
    }

    /// How many older records there were, and are gone.
    pub fn overwritten(&self) -> u64 {
        self.overwritten
    }
}

/// The same traces, with all times counted from the instant at which the first of the loops was made.
fn aligned(traces: &[Trace]) -> Vec<Trace> {
    let mut traces = traces.to_vec();
    if let Some(first) = traces.iter().map(|trace| trace.origin).min() {
        traces.iter_mut().for_each(|trace| trace.count_from(first));
    }
    traces
}

/// A hash for words, without a key: the same for the same records. It is not made to withstand those who
/// choose the records.
struct Fold(u64);

/// An odd number with ones and zeros all over, 2^64 divided by the golden ratio. It is where the hash
/// begins, too: from 0, words of 0 would not be seen.
const FOLD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(FOLD);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        // The high bits are the mixed ones.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(capacity: usize) -> Recorder {
        Recorder::new(0, Instant::now(), capacity)
    }

    fn turns(recorder: &Recorder, turns: std::ops::Range<u64>) {
        turns.for_each(|turn| {
            recorder.push(Record { at: turn * 10, event: Event::TurnBegan { turn } });
        });
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Record>() <= 32, "{} bytes", size_of::<Record>());
    }

    #[test]
    fn the_ring_keeps_the_latest_in_order_and_counts_the_others() {
        let recorder = recorder(4);
        turns(&recorder, 0..3);
        assert_eq!((recorder.trace().records().len(), recorder.trace().overwritten()), (3, 0));
        turns(&recorder, 3..11);
        let trace = recorder.trace();
        assert_eq!(trace.overwritten(), 7);
        let kept: Vec<u64> = trace.records().iter().map(|record| record.at).collect();
        assert_eq!(kept, [70, 80, 90, 100]);
    }

    #[test]
    fn the_hash_covers_what_is_overwritten_and_does_not_depend_on_how_much_is_kept() {
        let (small, large, other) = (recorder(2), recorder(100), recorder(2));
        turns(&small, 0..50);
        turns(&large, 0..50);
        turns(&other, 1..50); // the same two are kept
        assert_eq!(small.trace().records(), other.trace().records());
        assert_eq!(small.hash(), large.hash());
        assert_ne!(small.hash(), other.hash());
    }

    #[test]
    fn the_hash_tells_times_orders_and_fields_apart() {
        let hash = |records: &[(u64, Event)]| {
            let recorder = recorder(10);
            records.iter().cloned().for_each(|(at, event)| recorder.push(Record { at, event }));
            recorder.hash()
        };
        let turn = |turn| Event::TurnBegan { turn };
        let all = [
            hash(&[]),
            hash(&[(0, turn(1))]),
            hash(&[(1, turn(1))]),
            hash(&[(0, turn(1)), (0, turn(2))]),
            hash(&[(0, turn(2)), (0, turn(1))]),
            hash(&[(0, Event::Stalled { took: 1 })]),
            hash(&[(0, Event::Draining)]),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
