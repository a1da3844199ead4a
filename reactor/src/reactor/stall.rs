//! The end of a turn: its time is taken, and told if it was too long.

use std::time::Duration;

use super::Reactor;
use crate::driver::Driver;
use crate::trace::event::Event;
use crate::trace::stall::Stall;

impl<D: Driver> Reactor<D> {
    pub(super) fn end_turn(&mut self) {
        let busy = self.clock().saturating_sub(self.core.table.now);
        let counters = &self.core.table.counters;
        counters.busy_nanoseconds().add(busy);
        let tap = &mut self.core.table.tap;
        tap.verbs_ended();
        if busy > self.stall {
            tap.note(|| Event::Stalled { took: busy });
        }
        tap.turn_ended(|| counters.queued_bytes().get());
        if busy > self.stall {
            self.stalled(Duration::from_nanos(busy));
        }
    }

    #[cold]
    fn stalled(&self, took: Duration) {
        let table = &self.core.table;
        table.counters.stalls().increment();
        let turn = table.counters.turns().get();
        let longest = table.tap.longest(turn);
        let stall = Stall { loop_number: table.loop_number(), turn, took, longest };
        log::warn!("{stall}");
        if let Some(hook) = &self.config.on_stall {
            hook.call(&stall);
        }
    }
}
