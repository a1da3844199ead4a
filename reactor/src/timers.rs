//! Deadlines and timers: one heap for the loop, one entry an owner.
//!
//! An owner (a connection, a timer of a service, a paused listener) keeps its real deadlines in fields
//! of its own, and beside them `armed`: when its entry in the heap is due. Moving a deadline *later*,
//! which is what every byte does to an idle timeout, writes a field and leaves the heap alone; the entry
//! then comes up early, is looked at, and is armed anew. Only moving a deadline *earlier* pushes. The
//! entry left behind is stale: it no longer agrees with `armed`, and is dropped when it comes up, or
//! when the stale outnumber the live.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::id::Token;

/// Nanoseconds since the loop was made. 584 years fit; sums saturate, and the far end means never.
pub(crate) type Nanos = u64;

/// Later than everything.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// `now + after`, or [`NEVER`].
pub(crate) fn after(now: Nanos, after: Duration) -> Nanos {
    now.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(NEVER))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due: Nanos,
    owner: Token,
}

#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    /// Invariant: how many entries of the heap do not agree with their owner's `armed`.
    stale: usize,
}

/// Below this many entries a rebuild is not worth its walk.
const REBUILD_MIN: usize = 64;

impl Timers {
    /// Makes sure that `owner` is looked at no later than `due`.
    pub(crate) fn arm(&mut self, armed: &mut Nanos, due: Nanos, owner: Token) {
        if due >= *armed {
            return;
        }
        self.disarm(armed);
        self.heap.push(Reverse(Entry { due, owner }));
        *armed = due;
    }

    /// The owner goes, or has nothing to wait for any more.
    pub(crate) fn disarm(&mut self, armed: &mut Nanos) {
        if *armed != NEVER {
            self.stale += 1;
            *armed = NEVER;
        }
    }

    /// Takes out the earliest entry if it is due: its owner, and what the owner's `armed` must say for
    /// the entry to count.
    pub(crate) fn pop_due(&mut self, now: Nanos) -> Option<(Token, Nanos)> {
        let Reverse(entry) = *self.heap.peek()?;
        if entry.due > now {
            return None;
        }
        self.heap.pop();
        Some((entry.owner, entry.due))
    }

    /// What [`pop_due`](Self::pop_due) gave was stale.
    pub(crate) fn was_stale(&mut self) {
        self.stale = self.stale.saturating_sub(1);
    }

    /// Drops stale entries from the top, and all of them once they outnumber the live ones.
    /// `armed` tells what an owner's field says; `NEVER` if it is gone.
    pub(crate) fn tidy(&mut self, armed: impl Fn(Token) -> Nanos) {
        if self.stale == 0 {
            return;
        }
        if self.heap.len() > REBUILD_MIN && self.stale * 2 > self.heap.len() {
            self.heap.retain(|Reverse(entry)| armed(entry.owner) == entry.due);
            self.stale = 0;
            self.heap.shrink_to(self.heap.len() * 2);
        }
        while let Some(Reverse(entry)) = self.heap.peek()
            && armed(entry.owner) != entry.due
        {
            self.heap.pop();
            self.was_stale();
        }
    }

    /// When the earliest entry is due, stale or not.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(entry)| entry.due)
    }

    /// How many entries agree with their owners.
    #[cfg(feature = "sim")]
    pub(crate) fn live(&self) -> usize {
        self.heap.len() - self.stale
    }

    /// Bytes of memory that the heap takes.
    pub(crate) fn memory(&self) -> usize {
        self.heap.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Arena, Kind};
    use proptest::prelude::*;

    #[test]
    fn the_far_future_saturates() {
        assert_eq!(after(5, Duration::MAX), NEVER);
        assert_eq!(after(5, Duration::from_secs(30 * 24 * 3600)), 2_592_000_000_000_005);
    }

    #[test]
    fn stale_entries_never_outnumber_live_ones_for_long() {
        let mut timers = Timers::default();
        let owner = Arena::new(0).insert(()).unwrap().token(Kind::Timer);
        let mut armed = NEVER;
        for round in 0..100_000 {
            timers.disarm(&mut armed);
            timers.arm(&mut armed, round + 10, owner);
            timers.tidy(|_| armed);
        }
        assert!(timers.heap.len() <= REBUILD_MIN + 1, "{}", timers.heap.len());
    }

    /// An owner as the loop keeps it: what it waits for, and when its entry is due.
    #[derive(Clone, Copy)]
    struct Owner {
        token: Token,
        deadline: Nanos,
        armed: Nanos,
    }

    proptest! {
        /// Against the list of all deadlines: each fires once, never early, and in order.
        #[test]
        fn timers_are_a_sorted_list(
            steps in prop::collection::vec((0usize..8, 0u64..50, 0u8..4), 1..400)
        ) {
            let mut arena = Arena::new(0);
            let mut owners: Vec<Owner> = (0..8)
                .map(|_| arena.insert(()).unwrap().token(Kind::Timer))
                .map(|token| Owner { token, deadline: NEVER, armed: NEVER })
                .collect();
            let (mut timers, mut now) = (Timers::default(), 0);
            for (which, amount, action) in steps {
                let owner = &mut owners[which];
                match action {
                    0 => {
                        owner.deadline = now + amount;
                        timers.arm(&mut owner.armed, owner.deadline, owner.token);
                    }
                    1 => {
                        owner.deadline = NEVER;
                        timers.disarm(&mut owner.armed);
                    }
                    _ => now += amount,
                }
                let expected = owners.iter().filter(|o| o.deadline <= now).count();
                let mut fired = 0;
                while let Some((token, due)) = timers.pop_due(now) {
                    let owner = owners.iter_mut().find(|o| o.token == token).unwrap();
                    if owner.armed != due {
                        timers.was_stale();
                        continue;
                    }
                    owner.armed = NEVER;
                    if owner.deadline <= now {
                        owner.deadline = NEVER;
                        fired += 1;
                    } else {
                        timers.arm(&mut owner.armed, owner.deadline, token);
                    }
                }
                prop_assert_eq!(fired, expected);
                timers.tidy(|token| owners.iter().find(|o| o.token == token).unwrap().armed);
                let earliest = owners.iter().map(|o| o.armed).filter(|&armed| armed != NEVER).min();
                prop_assert_eq!(timers.next_due(), earliest);
                let live = owners.iter().filter(|o| o.armed != NEVER).count();
                prop_assert_eq!(timers.heap.len() - timers.stale, live);
                for owner in &owners {
                    prop_assert!(owner.armed <= owner.deadline);
                }
            }
        }
    }
}
