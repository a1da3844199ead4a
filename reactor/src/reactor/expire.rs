//! `expire`: deadlines and timers that have passed go to the handlers.

use super::Reactor;
use crate::connection::Life;
use crate::driver::Driver;
use crate::host::Call;
use crate::id::{ConnId, Kind, ListenerId, TimerId, Token};
use crate::reason::{CloseReason, Deadline};
use crate::timers::{NEVER, Nanos};
use crate::trace::event::{Event, Verb};

impl<D: Driver> Reactor<D> {
    /// All that is due is taken from the heap before the first handler hears of it: whatever it arms
    /// anew, for zero too, is the next turn's. So nobody is told twice in a turn, and nobody starves I/O.
    pub(super) fn expire(&mut self) {
        let now = self.core.table.now;
        let mut due = std::mem::take(&mut self.due);
        while let Some((owner, at)) = self.core.table.timers.pop_due(now) {
            match self.armed_mut(owner) {
                Some(armed) if *armed == at => {
                    *armed = NEVER;
                    due.push(owner);
                }
                _ => self.core.table.timers.was_stale(),
            }
        }
        for owner in due.drain(..) {
            self.core.table.tap.verb(Verb::Expire);
            let id = owner.id(self.core.table.loop_number());
            match owner.kind() {
                Some(Kind::Connection) => self.expire_connection(ConnId(id)),
                Some(Kind::Timer) => self.expire_timer(TimerId(id)),
                Some(Kind::Listener) => {
                    if let Some(acceptor) = self.acceptors.get_mut(id) {
                        acceptor.note(ListenerId(id), &mut self.ready_acceptors);
                    }
                }
                Some(Kind::Socket) | None => {}
            }
        }
        self.due = due;
    }

    /// What the owner of an entry says about it.
    fn armed_mut(&mut self, owner: Token) -> Option<&mut Nanos> {
        let id = owner.id(self.core.table.loop_number());
        match owner.kind()? {
            Kind::Connection => self.core.table.get_mut(ConnId(id)).map(|owner| &mut owner.armed),
            Kind::Timer => self.core.timers.get_mut(id).map(|owner| &mut owner.armed),
            Kind::Listener => self.acceptors.get_mut(id).map(|owner| &mut owner.armed),
            Kind::Socket => None,
        }
    }

    fn expire_timer(&mut self, id: TimerId) {
        let Some(timer) = self.core.timers.get_mut(id.0) else { return };
        let service = timer.service;
        if timer.due > self.core.table.now {
            // It was moved to a later time.
            let due = timer.due;
            self.core.table.timers.arm(&mut timer.armed, due, id.0.token(Kind::Timer));
            return;
        }
        timer.due = NEVER;
        self.hosts.call(&mut self.core, service, Call::Timer(id));
        if self.core.timers.get(id.0).is_some_and(|timer| timer.due == NEVER)
            && let Some(mut timer) = self.core.timers.remove(id.0)
        {
            self.core.table.timers.disarm(&mut timer.armed);
        }
    }

    fn expire_connection(&mut self, id: ConnId) {
        let now = self.core.table.now;
        let Some(connection) = self.core.table.get_mut(id) else { return };
        if connection.due() <= now {
            match connection.life {
                Life::Connecting => self.attempt_expired(id),
                Life::Open => self.expire_open(id),
                Life::Handshaking => {
                    let deadline = Deadline::Handshake;
                    self.core.table.tap.note(|| Event::DeadlinePassed { connection: id, deadline });
                    self.core.table.end(id, CloseReason::Deadline(deadline));
                }
                Life::Closing => {
                    let deadline = Deadline::Drain;
                    self.core.table.tap.note(|| Event::DeadlinePassed { connection: id, deadline });
                    self.core.table.end(id, CloseReason::Deadline(deadline));
                }
                Life::Lingering => {
                    let reason = connection.reason.clone();
                    self.core.table.end(id, reason);
                }
                Life::Gone => {}
            }
        }
        self.core.table.arm(id);
    }

    fn expire_open(&mut self, id: ConnId) {
        let now = self.core.table.now;
        let Some(connection) = self.core.table.get_mut(id) else { return };
        let service = connection.service;
        let deadline = if connection.deadline <= now {
            connection.deadline = NEVER;
            Deadline::Set
        } else {
            connection.last_activity = now;
            Deadline::Idle
        };
        self.core.table.tap.note(|| Event::DeadlinePassed { connection: id, deadline });
        self.hosts.call(&mut self.core, service, Call::Deadline(id, deadline));
    }
}
