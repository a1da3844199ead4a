//! What measures time within a turn.

use std::time::Instant;

use crate::timers::Nanos;

/// Measures what happens within a turn: how long a callback took, when a record was made.
///
/// The loop's own clock, [`Driver::now`](crate::Driver::now), is read once a turn; this is read oftener,
/// but only while [records are kept](crate::Config::trace_records) or callbacks are timed.
///
/// ```
/// use reactor::Stopwatch;
///
/// let of_the_system = Stopwatch::system();
/// let of_a_simulated_world = Stopwatch::still();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    /// When it was started; `None`: it stands still.
    began: Option<Instant>,
}

impl Stopwatch {
    /// The system's clock, from now on. It is for drivers whose [`now`](crate::Driver::now) is the system's
    /// too.
    pub fn system() -> Self {
        Self { began: Some(Instant::now()) }
    }

    /// It stands still: what happens within a turn takes no time, and all records of a turn carry the
    /// turn's own. It is for drivers whose time is not the system's: what they record is the same each
    /// time.
    pub fn still() -> Self {
        Self { began: None }
    }

    /// What it shows, where the loop's clock showed `now` at the beginning of the turn.
    pub(crate) fn read(self, now: Nanos) -> Nanos {
        match self.began {
            Some(began) => u64::try_from(began.elapsed().as_nanos()).unwrap_or(Nanos::MAX),
            None => now,
        }
    }
}
