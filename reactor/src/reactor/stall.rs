//! The end of a turn: its time is taken, and told if it was too long.

use std::time::Duration;

use super::Reactor;
use crate::config::Config;
use crate::driver::Driver;
use crate::timers::{NEVER, Nanos, after};
use crate::trace::event::Event;
use crate::trace::stall::Stall;

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
        log::warn!("{stall}");
        if let Some(hook) = &self.config.on_stall {
            hook.call(&stall);
        }
    }
}
