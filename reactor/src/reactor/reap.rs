//! `reap`: ended connections leave, and their handlers are told why.

use super::Reactor;
use super::connect::Attempt;
use crate::connection::{Origin, ServiceIndex};
use crate::driver::{Driver, Stream};
use crate::host::Call;
use crate::id::{ConnId, Kind};
use crate::reason::{CloseReason, ConnectError};
use crate::timers::NEVER;
use crate::trace::event::{Event, Verb};

impl<D: Driver> Reactor<D> {
    pub(super) fn reap(&mut self) {
        // Whom a handler ends while it hears of another's end is the next turn's.
        let empty = std::mem::take(&mut self.batch);
        let mut gone = std::mem::replace(&mut self.core.table.gone, empty);
        if !gone.is_empty() {
            self.core.table.tap.verb(Verb::Reap);
            self.retry_paused_acceptors();
        }
        for id in gone.drain(..) {
            self.reap_connection(id);
        }
        self.batch = gone;
        self.tidy_timers();
    }

    fn reap_connection(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.get(id) else { return };
        let (service, reset, opened) = (connection.service, connection.reset, connection.opened);
        let (origin, reason) = (connection.origin, connection.reason.clone());
        self.count_for_shutdown(id);
        // The descriptor is free before the handler hears of it.
        let link = self.links.remove(id);
        let stood = link.is_some();
        if let Some(link) = link {
            if link.transport.has_tls {
                self.leave_turn(id, service);
                self.sessions.remove(id);
            }
            let close = || if reset { link.transport.stream.reset() } else { drop(link) };
            self.core.table.tap.call(close, |(), took| Event::Close {
                connection: id,
                reset,
                took,
            });
        }
        let attempt = self.attempts.remove(&id).map(Attempt::into_error);
        if opened {
            self.tell_close(id, service, origin, &reason);
        } else {
            self.tell_failure(id, stood, attempt, &reason);
        }
        self.release(id);
    }

    /// It never stood; or it did, and the handshake failed. Who accepts it never heard of it.
    fn tell_failure(
        &mut self,
        id: ConnId,
        stood: bool,
        attempt: Option<ConnectError>,
        reason: &CloseReason,
    ) {
        let Some(connection) = self.core.table.get(id) else { return };
        let (service, origin) = (connection.service, connection.origin);
        if stood {
            log::debug!("the TLS handshake with {} failed: {reason}", connection.peer);
            self.core.table.counters.handshakes_failed().increment();
        }
        if origin == Origin::Connected {
            let error = attempt.unwrap_or_else(|| ConnectError::from(reason));
            self.core.table.counters.connect_failures().increment();
            self.hosts.call(&mut self.core, service, Call::ConnectFailed(id, error));
        }
    }

    /// Whoever wished for a connection hears of its end, even if `on_open` panicked over it.
    fn tell_close(
        &mut self,
        id: ConnId,
        service: ServiceIndex,
        origin: Origin,
        reason: &CloseReason,
    ) {
        let call = match origin {
            Origin::Connected if !self.hosts.has_session(service, id) => {
                Call::ConnectFailed(id, ConnectError::Panicked)
            }
            _ => Call::Close(id, reason),
        };
        self.hosts.call(&mut self.core, service, call);
    }

    /// The name is nobody's from now on.
    pub(super) fn release(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.remove(id) else { return };
        if !connection.admitted {
            return;
        }
        self.core.table.counters.open().subtract(1);
        let service = usize::from(connection.service);
        if let (Some(admission), Some(limits)) =
            (self.admissions.get(service), self.core.table.limits.get(service))
        {
            let is_accepted = matches!(connection.origin, Origin::Accepted(_));
            if is_accepted || limits.counts_outgoing {
                admission.leave_place();
            }
            if is_accepted {
                admission.leave_address(connection.peer.ip(), limits);
            }
        }
    }

    fn tidy_timers(&mut self) {
        let Self { core, acceptors, .. } = self;
        let loop_number = core.table.loop_number();
        let mut timers = std::mem::take(&mut core.table.timers);
        timers.tidy(|owner| match owner.kind() {
            Some(Kind::Connection) => core.table.armed(owner),
            Some(Kind::Timer) => {
                core.timers.get(owner.id(loop_number)).map_or(NEVER, |owner| owner.armed)
            }
            Some(Kind::Listener) => {
                acceptors.get(owner.id(loop_number)).map_or(NEVER, |owner| owner.armed)
            }
            Some(Kind::Socket) | None => NEVER,
        });
        core.table.timers = timers;
    }
}
