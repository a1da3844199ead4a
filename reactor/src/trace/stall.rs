//! A turn that took too long, and who is to blame.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::trace::event::{Callback, Source};

/// A turn that took longer than [`Config::stall`](crate::Config::stall).
///
/// It prints as one line: `turn 17 of loop 0 took 120ms, on_data of connection 4.1 alone 118ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The loop's [number](crate::Config::loop_number).
    pub loop_number: u16,
    /// The number of the turn.
    pub turn: u64,
    /// How long it took, without the wait.
    pub took: Duration,
    /// The callback that took the longest; `None` if none was called.
    pub longest: Option<LongestCallback>,
}

/// The callback of a turn that took the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LongestCallback {
    /// Which it was.
    pub callback: Callback,
    /// What it was about.
    pub about: Source,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {} of loop {} took {:?}, ", self.turn, self.loop_number, self.took)?;
        match &self.longest {
            Some(LongestCallback { callback, about, took }) => {
                write!(f, "{} of {about} alone {took:?}", callback.name())
            }
            None => f.write_str("and called nobody back"),
        }
    }
}

/// What is called after a turn that stalled, on the loop's thread: whatever it does, the loop waits for.
///
/// ```
/// use reactor::{Config, StallHook};
/// use std::sync::mpsc::channel;
/// use std::time::Duration;
///
/// let (stalls, stalled) = channel();
/// let config = Config {
///     trace_records: 10_000,
///     stall: Duration::from_millis(100),
///     on_stall: Some(StallHook::new(move |stall| {
///         let _ = stalls.send(stall.clone()); // another thread writes the trace
///     })),
///     ..Config::default()
/// };
/// # drop((config, stalled));
/// ```
#[derive(Clone)]
pub struct StallHook(Arc<Act>);

type Act = dyn Fn(&Stall) + Send + Sync;

impl StallHook {
    /// This is called.
    pub fn new(act: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    pub(crate) fn call(&self, stall: &Stall) {
        (self.0)(stall);
    }
}

impl fmt::Debug for StallHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StallHook(..)")
    }
}
