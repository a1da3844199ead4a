//! Deadlines and timers: one heap for the loop, one entry an owner.
//!
//! An owner (a connection, a timer of a service, a paused listener) keeps its real deadlines in fields
//! of its own, and beside them `armed`: when its entry in the heap is due. Moving a deadline *later*,
//! which is what every byte does to an idle timeout, writes a field and leaves the heap alone; the entry
//! then comes up early, is looked at, and is armed anew. Only moving a deadline *earlier* pushes. The
//! entry left behind is stale: it no longer agrees with `armed`, unless its owner comes back to that very
//! time and has two there. It is dropped when it comes up, or when the stale outnumber the live.

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
    /// Invariant: how many entries the heap has more than there are owners that are armed.
    stale: usize,
}

/// Below this many entries a rebuild is not worth its walk.
const REBUILD_MIN: usize = 64;

impl Timers {
    /// With room for so many owners.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { heap: BinaryHeap::with_capacity(capacity), stale: 0 }
    }

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
            self.rebuild(&armed);
        }
        while let Some(Reverse(entry)) = self.heap.peek()
            && armed(entry.owner) != entry.due
        {
            self.heap.pop();
            self.was_stale();
        }
    }

    fn rebuild(&mut self, armed: impl Fn(Token) -> Nanos) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.retain(|Reverse(entry)| armed(entry.owner) == entry.due);
        // An owner that has come back to a time agrees with what it had left there, too.
        entries.sort_unstable();
        entries.dedup();
        entries.shrink_to(entries.len() * 2);
        self.heap = entries.into();
        self.stale = 0;
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
    use std::collections::BTreeSet;

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
        deadline: Nanos,
        armed: Nanos,
    }

    /// Owners with their timers, and beside them a sorted list of all that is to come.
    struct World {
        arena: Arena<Owner>,
        timers: Timers,
        now: Nanos,
        expected: BTreeSet<(Nanos, Token)>,
        rebuilds: usize,
    }

    impl World {
        fn new(now: Nanos) -> Self {
            let (arena, timers) = (Arena::new(0), Timers::default());
            Self { arena, timers, now, expected: BTreeSet::new(), rebuilds: 0 }
        }

        fn add(&mut self) -> Token {
            self.arena.insert(Owner { deadline: NEVER, armed: NEVER }).unwrap().token(Kind::Timer)
        }

        /// The owner goes; its entry stays behind, and its slot gets a new one.
        fn replace(&mut self, token: Token) -> Token {
            let mut owner = self.arena.remove(token.id(0)).unwrap();
            self.timers.disarm(&mut owner.armed);
            self.expected.remove(&(owner.deadline, token));
            self.add()
        }

        fn set(&mut self, token: Token, delay: Duration) {
            let owner = self.arena.get_mut(token.id(0)).unwrap();
            self.expected.remove(&(owner.deadline, token));
            owner.deadline = after(self.now, delay);
            if owner.deadline != NEVER {
                self.expected.insert((owner.deadline, token));
            }
            self.timers.arm(&mut owner.armed, owner.deadline, token);
        }

        fn clear(&mut self, token: Token) {
            let owner = self.arena.get_mut(token.id(0)).unwrap();
            self.expected.remove(&(owner.deadline, token));
            owner.deadline = NEVER;
            self.timers.disarm(&mut owner.armed);
        }

        /// Takes out what is due, as the loop does, and holds it against the list.
        fn expire(&mut self) {
            let (mut fired, mut last) = (BTreeSet::new(), 0);
            while let Some((token, due)) = self.timers.pop_due(self.now) {
                assert!(last <= due && due <= self.now, "in order, and never early");
                last = due;
                let owner = self.arena.get_mut(token.id(0)).filter(|owner| owner.armed == due);
                let Some(owner) = owner else {
                    self.timers.was_stale();
                    continue;
                };
                owner.armed = NEVER;
                if owner.deadline <= self.now {
                    assert!(fired.insert((owner.deadline, token)), "once");
                    owner.deadline = NEVER;
                } else {
                    self.timers.arm(&mut owner.armed, owner.deadline, token);
                }
            }
            let later = self.expected.split_off(&(self.now + 1, Token::from_number(0)));
            assert_eq!(fired, std::mem::replace(&mut self.expected, later));
        }

        fn tidy(&mut self) {
            let before = self.timers.heap.len();
            self.timers
                .tidy(|token| self.arena.get(token.id(0)).map_or(NEVER, |owner| owner.armed));
            let heap = &self.timers.heap;
            self.rebuilds += usize::from(before > REBUILD_MIN && heap.len() * 2 < before);
            let owners = || self.arena.iter().map(|(_, owner)| owner);
            assert_eq!(
                self.timers.next_due(),
                owners().map(|o| o.armed).filter(|&at| at != NEVER).min()
            );
            assert!(owners().all(|owner| owner.armed <= owner.deadline));
            let live = owners().filter(|owner| owner.armed != NEVER).count();
            assert_eq!(heap.len() - self.timers.stale, live);
            assert!(heap.len() <= REBUILD_MIN.max(2 * live), "{} of {live}", heap.len());
        }
    }

    fn against_the_list(now: Nanos, steps: Vec<(usize, u64, u8)>) -> World {
        let mut world = World::new(now);
        let mut tokens: Vec<Token> = (0..8).map(|_| world.add()).collect();
        for (which, amount, action) in steps {
            let token = tokens[which];
            match action {
                0 => world.set(token, Duration::from_nanos(amount)),
                // At times that others, and the same one, come back to.
                1 | 2 => {
                    let delay = (world.now.saturating_add(amount) | 0x3F) - world.now;
                    world.set(token, Duration::from_nanos(delay));
                }
                3 => world.set(token, Duration::MAX),
                // Ever earlier: each leaves a stale entry, some of them at the same time as others.
                4 => (amount / 2..amount).rev().for_each(|delay| {
                    world.set(token, Duration::from_nanos(delay));
                }),
                5 => world.clear(token),
                6 => tokens[which] = world.replace(token),
                // The last moment of all is the one that does not come.
                _ => world.now = world.now.saturating_add(amount / 8).min(NEVER - 1),
            }
            if action > 6 {
                world.expire();
            }
            world.tidy();
        }
        world
    }

    #[test]
    fn a_rebuild_leaves_the_live_entries() {
        let steps = (0..8).map(|which| (which, 49, 4));
        let world = against_the_list(0, steps.collect());
        assert!(world.rebuilds > 0);
        assert_eq!(world.expected.len(), 8);
    }

    proptest! {
        /// Against the list of all deadlines: each fires once, never early, and in order; also near the
        /// end of time, where sums saturate.
        #[test]
        fn timers_are_a_sorted_list(
            steps in prop::collection::vec((0usize..8, 0u64..60, 0u8..10), 1..400),
            begin in prop_oneof![Just(0), NEVER - 2000..NEVER]
        ) {
            against_the_list(begin, steps);
        }
    }
}
