//! The end of a turn: its time is taken, and told if it was too long.

use std::time::Duration;

use super::Reactor;
use crate::config::Config;
use crate::driver::Driver;
use crate::timers::{NEVER, Nanos, after};
use crate::trace::event::Event;
use crate::trace::stall::Stall;

/// Who writes a log makes the loop wait, and a loop that is slow in all its turns has nothing new to say.
/// So it is told of so many in a second, and of the number of the others.
const COMPLAINTS_PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// What the log was told of stalls.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// When the second is over in which so many more may be told.
    until: Nanos,
    left: u32,
    /// Stalls that were not told since.
    untold: u64,
}

impl Complaints {
    /// What is logged of it; nothing if enough is said. `now` is when its turn began to work.
    fn line(&mut self, stall: &Stall, now: Nanos) -> Option<String> {
        let ended = after(now, stall.took);
        if ended >= self.until {
            (self.until, self.left) = (after(ended, SECOND), COMPLAINTS_PER_SECOND);
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.untold += 1;
            return None;
        };
        self.left = left;
        Some(match std::mem::take(&mut self.untold) {
            0 => stall.to_string(),
            untold => format!("{stall}; not told since the last such line: {untold}"),
        })
    }
}

/// How long a turn must have taken for anything to be done about it: any turn will do while turns are
/// recorded.
pub(super) fn notable(config: &Config, is_recording: bool) -> Nanos {
    if is_recording { 0 } else { limit(config).saturating_add(1) }
}

fn limit(config: &Config) -> Nanos {
    if config.stall.is_zero() { NEVER } else { after(0, config.stall) }
}

impl<D: Driver> Reactor<D> {
    pub(super) fn end_turn(&mut self) {
        let busy = self.clock().saturating_sub(self.core.table.now);
        self.core.table.counters.busy_nanoseconds().add(busy);
        if busy >= self.notable {
            self.tell_turn(busy);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_turn(&mut self, took: Nanos) {
        let stalled = took > limit(&self.config);
        let table = &mut self.core.table;
        if stalled {
            table.tap.note(|| Event::Stalled { took });
        }
        table.tap.end_turn(table.counters.queued_bytes().get());
        if !stalled {
            return;
        }
        table.counters.stalls().increment();
        let turn = table.counters.turns().get();
        let (longest, took) = (table.tap.longest(turn), Duration::from_nanos(took));
        let stall = Stall { loop_number: table.loop_number(), turn, took, longest };
        if let Some(line) = self.complaints.line(&stall, table.now) {
            log::warn!("{line}");
        }
        if let Some(hook) = &self.config.on_stall {
            hook.call(&stall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Nanos = 1_000_000;

    fn stall(turn: u64, milliseconds: u64) -> Stall {
        let took = Duration::from_millis(milliseconds);
        Stall { loop_number: 3, turn, took, longest: None }
    }

    #[test]
    fn the_log_is_told_of_ten_stalls_a_second_and_how_many_it_was_not_told() {
        let mut complaints = Complaints::default();
        let told = |turn| format!("turn {turn} of loop 3 took 1ms, and called nobody back");
        let lines: Vec<_> = (0..=2000)
            .filter_map(|turn| complaints.line(&stall(turn, 1), turn * MILLISECOND))
            .collect();
        let first = |turn| told(turn) + "; not told since the last such line: 990";
        let mut wanted: Vec<_> = (0..10).map(told).collect();
        wanted.push(first(1000));
        wanted.extend((1001..1010).map(told));
        wanted.push(first(2000));
        assert_eq!(lines, wanted);
        let late = complaints.line(&stall(2001, 1), 9000 * MILLISECOND);
        assert_eq!(late, Some(told(2001)), "nothing was left out");
    }

    #[test]
    fn a_stall_of_a_second_is_always_told() {
        let mut complaints = Complaints::default();
        (0..20).for_each(|turn| drop(complaints.line(&stall(turn, 1), 0)));
        assert!(complaints.line(&stall(21, 999), MILLISECOND).is_none());
        assert!(complaints.line(&stall(22, 1000), MILLISECOND).is_some());
    }
}
