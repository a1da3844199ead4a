//! Wishes to connect: a name becomes addresses, one of them a stream that stands, or a reason why not.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::Reactor;
use super::wait::Link;
use crate::connection::Life;
use crate::driver::{Driver, Stream};
use crate::host::Call;
use crate::id::{ConnId, Id, Kind};
use crate::readiness::Readiness;
use crate::reason::{CloseReason, ConnectError, TlsError};
use crate::socket::address::{Address, Target};
use crate::socket::connect::Connect;
use crate::timers::{NEVER, Nanos, after};
use crate::trace::event::{Event, Outcome};
use crate::transport::{Tls, Transport};

/// An outgoing connection that does not stand yet.
pub(super) struct Attempt<S> {
    connect: Connect,
    /// Addresses that are still to be tried.
    addresses: VecDeque<Address>,
    /// The one that is being tried; `None` while the name is looked up.
    current: Option<(S, Address)>,
    /// What events have told of it so far.
    readiness: Readiness,
    /// When the time for all of it is over.
    pub(super) give_up: Nanos,
    /// How the last address failed.
    error: ConnectError,
    /// How all of it failed.
    failed: Option<ConnectError>,
}

impl<D: Driver> Reactor<D> {
    /// Begins what handlers have wished for in this turn.
    pub(super) fn begin_connects(&mut self) {
        if self.phase.is_draining() {
            return self.drop_connects();
        }
        for (id, service, connect) in std::mem::take(&mut self.core.connects) {
            match self.core.table.get(id) {
                Some(connection) if connection.life == Life::Gone => {} // cancelled in the same turn
                Some(_) => self.begin_connect(id, connect),
                None if id != ConnId(Id::nobody()) => {} // ended in the same turn, and reaped
                None => {
                    // The table had no slot left to name it by.
                    let call = Call::ConnectFailed(id, ConnectError::Limit);
                    self.hosts.call(&mut self.core, service, call);
                }
            }
        }
    }

    /// Nobody answers a wish that comes too late: whoever connects again whenever a connection fails
    /// would keep the loop from ever stopping.
    pub(super) fn drop_connects(&mut self) {
        for (id, ..) in self.core.connects.drain(..) {
            self.core.table.remove(id);
        }
    }

    fn begin_connect(&mut self, id: ConnId, connect: Connect) {
        let target = connect.target.clone();
        self.core.table.set_loop_deadline(id, connect.timeout);
        self.attempts.insert(id, Attempt::new(connect, self.core.table.now));
        if self.is_stopping() {
            return self.fail_connect(id, ConnectError::Cancelled);
        }
        if !self.admit_outgoing(id) {
            return self.fail_connect(id, ConnectError::Limit);
        }
        if let Some(error) = self.fault_of_name(id) {
            return self.fail_connect(id, error);
        }
        let address = match target {
            Target::Ip(address) => Address::Ip(address),
            Target::Unix(path) => Address::Unix(Some(path.into())),
            Target::Name(name) => return self.look_up(id, &name),
        };
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.addresses.push_back(address);
        }
        self.try_next(id);
    }

    /// Under TLS it must be known whose certificate the server is to have.
    fn fault_of_name(&self, id: ConnId) -> Option<ConnectError> {
        let connect = &self.attempts.get(&id)?.connect;
        connect.tls.as_ref()?;
        let name = connect.name_of_server();
        let text = || format!("'{name}' is no name that a TLS server can have");
        (!Tls::is_fit_for(&name)).then(|| ConnectError::Invalid(text()))
    }

    fn look_up(&mut self, id: ConnId, name: &str) {
        let asked = self.core.table.tap.call(
            || {
                Target::host_and_port(name).and_then(|(host, port)| {
                    self.driver.resolve(host, port, id.0.token(Kind::Connection))
                })
            },
            |result, took| Event::LookUp { connection: id, outcome: Outcome::done(result), took },
        );
        match asked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                self.fail_connect(id, ConnectError::Limit);
            }
            Err(error) => self.fail_connect(id, ConnectError::from(&error)),
        }
    }

    fn admit_outgoing(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.core.table.get_mut(id) else { return false };
        let service = usize::from(connection.service);
        match (self.admissions.get(service), self.core.table.limits.get(service)) {
            (Some(_), Some(limits)) if !limits.counts_outgoing => {}
            (Some(admission), Some(limits)) if admission.take_place(limits) => {}
            _ => return false,
        }
        if let Some(connection) = self.core.table.get_mut(id) {
            connection.admitted = true;
        }
        self.core.table.counters.open().increment();
        true
    }

    /// Tries the next address, as long as there is one that can be tried at all.
    fn try_next(&mut self, id: ConnId) {
        let now = self.core.table.now;
        loop {
            let Some(attempt) = self.attempts.get_mut(&id) else { return };
            attempt.current = None;
            attempt.readiness = Readiness::default();
            let left = attempt.give_up.saturating_sub(now);
            let share = left / (attempt.addresses.len() as u64).max(1);
            let Some(address) = attempt.addresses.pop_front() else {
                let error = attempt.error.clone();
                return self.fail_connect(id, error);
            };
            let token = id.0.token(Kind::Connection);
            let result = self.core.table.tap.call(
                || self.driver.connect(&address, &attempt.connect, token),
                |result, took| Event::Connect {
                    connection: id,
                    outcome: Outcome::done(result),
                    took,
                },
            );
            match result {
                Ok(stream) => {
                    attempt.current = Some((stream, address));
                    self.core.table.set_loop_deadline(id, Duration::from_nanos(share));
                    // It may stand already, as Unix sockets do, and then there may be no edge to come.
                    self.ready_attempts.push(id);
                    return;
                }
                Err(error) => attempt.error = ConnectError::from(&error),
            }
        }
    }

    /// The time for this address, or for the name, is over.
    pub(super) fn attempt_expired(&mut self, id: ConnId) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            self.core.table.tap.note(|| Event::ConnectTimedOut { connection: id });
            attempt.error = ConnectError::TimedOut;
            if self.core.table.now >= attempt.give_up {
                attempt.addresses.clear();
            }
            self.try_next(id);
        }
    }

    /// Look-ups that have ended, and attempts of which an event told.
    pub(super) fn finish_connects(&mut self) {
        while let Some((token, found)) = self.driver.resolved() {
            let id = ConnId(token.id(self.core.table.loop_number()));
            let Some(attempt) = self.attempts.get_mut(&id) else { continue };
            if !self.core.table.is_connecting(id) {
                continue; // cancelled, and still to be reaped
            }
            let outcome = Outcome::counted(&found, Vec::len);
            self.core.table.tap.note(|| Event::LookedUp { connection: id, outcome });
            match found {
                Ok(addresses) => attempt.addresses.extend(addresses.into_iter().map(Address::Ip)),
                Err(error) => attempt.error = ConnectError::from(&error),
            }
            self.try_next(id);
        }
        for id in std::mem::take(&mut self.ready_attempts) {
            self.finish_connect(id);
        }
    }

    fn finish_connect(&mut self, id: ConnId) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if !self.core.table.is_connecting(id) {
            return; // cancelled, and still to be reaped
        }
        let Some((stream, _)) = &mut attempt.current else { return };
        let result = self.core.table.tap.call(
            || stream.connected(),
            |result, took| Event::CheckConnect {
                connection: id,
                outcome: Outcome::counted(result, |stands| usize::from(*stands)),
                took,
            },
        );
        match result {
            Ok(false) => {}
            Ok(true) => {
                if let Some(attempt) = self.attempts.remove(&id)
                    && let Some((stream, address)) = attempt.current
                {
                    self.stands(id, stream, address, attempt.readiness);
                    match &attempt.connect.tls {
                        None => self.open_connected(id),
                        Some(client) => {
                            let name = attempt.connect.name_of_server();
                            let limit = self.core.table.queue_high(id);
                            let tls = Tls::connect(client, &name, limit);
                            self.greet(id, tls, attempt.give_up);
                        }
                    }
                }
            }
            Err(error) => {
                attempt.error = ConnectError::from(&error);
                self.try_next(id);
            }
        }
    }

    fn stands(&mut self, id: ConnId, stream: D::Stream, address: Address, told: Readiness) {
        let now = self.core.table.now;
        let Some(connection) = self.core.table.get_mut(id) else { return };
        connection.peer = address;
        connection.last_activity = now;
        let mut link = Link::new(Transport { stream, has_tls: false });
        // The edge that told of the connection may have told of its first bytes too, and of its end.
        link.note(told, id, &mut self.core.table);
        link.readable = true;
        self.links.insert(id, link);
    }

    fn open_connected(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.get_mut(id) else { return };
        connection.life = Life::Open;
        connection.opened = true;
        connection.deadline = NEVER;
        let service = connection.service;
        self.core.table.arm(id);
        self.core.table.counters.connected().increment();
        self.core.table.tap.note(|| Event::Connected { connection: id });
        self.hosts.call(&mut self.core, service, Call::Open(id));
        self.core.table.mark_ready(id);
        self.core.table.mark_dirty(id);
    }

    /// We speak first, and TLS.
    fn greet(&mut self, id: ConnId, tls: Result<Tls, TlsError>, give_up: Nanos) {
        let patience = Duration::from_nanos(give_up.saturating_sub(self.core.table.now));
        if let Some(connection) = self.core.table.get_mut(id) {
            connection.life = Life::Handshaking;
        }
        match tls {
            Ok(tls) => {
                if let Some(link) = self.links.get_mut(id) {
                    link.transport.has_tls = true;
                }
                self.begin_handshake(id, tls, patience);
                self.core.table.mark_ready(id);
            }
            Err(error) => self.core.table.end(id, CloseReason::Tls(error)),
        }
    }

    /// It will never stand: it leaves with this turn, and its handler is told why.
    fn fail_connect(&mut self, id: ConnId, error: ConnectError) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            let told = || Box::new(error.clone());
            self.core.table.tap.note(|| Event::ConnectFailed { connection: id, error: told() });
            attempt.failed = Some(error);
            self.core.table.end(id, CloseReason::Aborted);
        }
    }
}

impl<S> Attempt<S> {
    pub(super) fn note(&mut self, readiness: Readiness) {
        self.readiness = self.readiness | readiness;
    }

    fn new(connect: Connect, now: Nanos) -> Self {
        Self {
            addresses: VecDeque::new(),
            current: None,
            readiness: Readiness::default(),
            give_up: after(now, connect.timeout),
            error: ConnectError::NotFound,
            failed: None,
            connect,
        }
    }

    /// Why it did not come to stand; if nothing failed, somebody did not want it any more.
    pub(super) fn into_error(self) -> ConnectError {
        self.failed.unwrap_or(ConnectError::Cancelled)
    }
}
