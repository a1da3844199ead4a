//! What the metrics page tells of a chat.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes, and any thread may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.set(self.get().wrapping_add(count));
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.set(self.get().saturating_sub(count));
    }

    pub(crate) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }
}

/// The numbers of a chat, live.
#[derive(Debug, Default)]
pub struct ChatCounters {
    /// Who is there, the console too.
    pub people: Count,
    /// Rooms with somebody in them.
    pub rooms: Count,
    /// Messages that were said in rooms.
    pub messages: Count,
    /// The same, each counted once for each listener.
    pub deliveries: Count,
    /// Listeners that were closed because they did not keep up.
    pub dropped_slow: Count,
}
