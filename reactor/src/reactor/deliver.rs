//! `deliver`: what other threads have said goes to the handlers.

use super::Reactor;
use crate::driver::Driver;
use crate::host::Call;
use crate::trace::event::{Event, Verb};

impl<D: Driver> Reactor<D> {
    pub(super) fn deliver(&mut self) {
        self.core.table.tap.verb(Verb::Deliver);
        // The answer comes before the look into the inboxes: who speaks after the look rings again.
        let is_woken = self.alarm.answer();
        if is_woken || self.more_messages {
            if is_woken {
                self.core.table.tap.note(|| Event::Woken);
            }
            if self.alarm.take_stop() {
                self.core.stop.get_or_insert(self.core.grace);
            }
            self.deliver_messages();
        }
        self.announce_shutdown();
    }

    fn deliver_messages(&mut self) {
        self.more_messages = false;
        for service in self.hosts.indices() {
            let messages = Call::Messages(self.config.budgets.messages.max(1));
            self.more_messages |= self.hosts.call(&mut self.core, service, messages);
            let port = self.core.ports.get(usize::from(service));
            if port.is_some_and(|port| port.take_room()) {
                self.hosts.call(&mut self.core, service, Call::InboxDrained);
            }
        }
    }
}
