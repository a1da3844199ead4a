//! `accept`: who waits at a listener becomes a connection.

use std::io;
use std::time::Duration;

use super::wait::Link;
use super::{Opened, Reactor};
use crate::connection::{Life, Origin, ServiceIndex};
use crate::driver::Driver;
use crate::host::Call;
use crate::id::{ConnId, Id, Kind, ListenerId};
use crate::reason::{CloseReason, ListenError, describe};
use crate::socket::address::Address;
use crate::socket::listen::Listen;
use crate::timers::{NEVER, Nanos, after};
use crate::tls::Server;
use crate::trace::event::{Event, Outcome, Source, Verb};
use crate::transport::{Tls, Transport};

/// How long accepting pauses when there is no room for one more. The kernel tells of a backlog once: if
/// nobody asked again, who waits there would wait until somebody else came.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// How long the log has nothing new to say about a pause.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// A listener, and what is known of it.
pub(super) struct Acceptor<L> {
    pub(super) listener: Option<L>,
    /// For the log.
    address: Option<Address>,
    pub(super) service: ServiceIndex,
    /// How it speaks TLS, if it does.
    tls: Option<Server>,
    /// Invariant: whether it is on the loop's list of ready ones.
    listed: bool,
    /// There was no room: until a retry is due, or a connection leaves.
    paused: bool,
    /// It has not accepted anybody since it paused. A pause is counted once, however often it is tried
    /// in vain to end it.
    starved: bool,
    /// When its entry among the timers is due.
    pub(super) armed: Nanos,
    /// When the log was told of a pause.
    complained: Option<Nanos>,
}

impl<L> Acceptor<L> {
    #[cfg(feature = "sim")]
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    pub(super) fn note(&mut self, id: ListenerId, ready: &mut Vec<ListenerId>) {
        self.paused = false;
        if !std::mem::replace(&mut self.listed, true) {
            ready.push(id);
        }
    }
}

/// Why accepting stopped for this turn.
enum Stop {
    /// Nobody waits.
    Empty,
    /// There may be more; others have their turn first.
    Budget,
    /// No place for one more. Whether another loop may free one.
    Full { shared: bool, limit: usize },
    /// The system has nothing left for one more.
    Exhausted(io::Error),
}

impl<D: Driver> Reactor<D> {
    pub(super) fn open_acceptor(
        &mut self,
        service: ServiceIndex,
        listen: Listen,
    ) -> Result<Opened<ListenerId>, ListenError> {
        if self.is_stopping() {
            return Err(listen.refused_by_stopping_loop());
        }
        let acceptor = Acceptor {
            listener: None,
            address: None,
            service,
            tls: listen.tls_server().cloned(),
            listed: false,
            paused: false,
            starved: false,
            armed: NEVER,
            complained: None,
        };
        let id = self.acceptors.insert(acceptor).unwrap_or(Id::nobody());
        let result = self.core.table.tap.call(
            || self.driver.listen(listen, id.token(Kind::Listener)),
            |result, took| Event::Listen {
                listener: ListenerId(id),
                outcome: outcome_of_opening(result),
                took,
            },
        );
        match result {
            Ok((listener, address)) => {
                if let Some(acceptor) = self.acceptors.get_mut(id) {
                    acceptor.listener = Some(listener);
                    acceptor.address = Some(address.clone());
                    self.core.listeners.push((ListenerId(id), address.clone()));
                    // The first event may be lost to a driver that watched before it listened.
                    acceptor.note(ListenerId(id), &mut self.ready_acceptors);
                }
                Ok(Opened { id: ListenerId(id), address })
            }
            Err(error) => {
                self.acceptors.remove(id);
                Err(error)
            }
        }
    }

    /// Closes a listener: its address is free, and who waited in its backlog is turned away. Connections
    /// that it has accepted live on. Whether there was such a listener.
    pub fn close_listener(&mut self, id: ListenerId) -> bool {
        let Some(mut acceptor) = self.acceptors.remove(id.0) else { return false };
        self.core.listeners.retain(|(listener, _)| *listener != id);
        self.core.table.timers.disarm(&mut acceptor.armed);
        self.core.table.tap.note(|| Event::CloseListener { listener: id });
        if let Some(listener) = acceptor.listener {
            self.driver.close_listener(listener);
        }
        true
    }

    pub(super) fn accept(&mut self) {
        self.core.table.tap.verb(Verb::Accept);
        for id in std::mem::take(&mut self.ready_acceptors) {
            self.accept_from(id);
        }
        self.finish_connects();
    }

    fn accept_from(&mut self, id: ListenerId) {
        match self.acceptors.get_mut(id.0) {
            Some(acceptor) => acceptor.listed = false,
            None => return,
        }
        match self.accept_some(id) {
            Stop::Empty => {}
            Stop::Budget => {
                self.core.table.tap.note(|| Event::BudgetSpent { source: Source::Listener(id) });
                if let Some(acceptor) = self.acceptors.get_mut(id.0) {
                    acceptor.note(id, &mut self.ready_acceptors);
                }
            }
            // A place of our own is free when one of our connections leaves, and `reap` sees to that.
            Stop::Full { shared, limit } => {
                self.pause_accepting(id, shared, || format!("{limit} open, which is the limit"));
            }
            Stop::Exhausted(error) => self.pause_accepting(id, true, || describe(&error)),
        }
    }

    fn pause_accepting(&mut self, id: ListenerId, retries: bool, why: impl Fn() -> String) {
        let Self { acceptors, core, .. } = self;
        let Some(acceptor) = acceptors.get_mut(id.0) else { return };
        let now = core.table.now;
        acceptor.paused = true;
        if retries {
            let due = after(now, RETRY);
            core.table.timers.arm(&mut acceptor.armed, due, id.0.token(Kind::Listener));
        }
        if !std::mem::replace(&mut acceptor.starved, true) {
            core.table.counters.accept_pauses().increment();
            core.table.tap.note(|| Event::AcceptPaused { listener: id });
        }
        if acceptor.complained.is_none_or(|at| now >= after(at, COMPLAINT_INTERVAL)) {
            acceptor.complained = Some(now);
            let at = acceptor.address.as_ref().map_or_else(String::new, Address::to_string);
            log::warn!("accepting at {at} pauses, who comes waits in the backlog: {}", why());
        }
    }

    fn accept_some(&mut self, id: ListenerId) -> Stop {
        for _ in 0..self.config.budgets.accepts.max(1) {
            let Some(acceptor) = self.acceptors.get_mut(id.0) else { return Stop::Empty };
            let Some(listener) = &mut acceptor.listener else { return Stop::Empty };
            let service = usize::from(acceptor.service);
            let (Some(admission), Some(limits)) =
                (self.admissions.get(service), self.core.table.limits.get(service))
            else {
                return Stop::Empty;
            };
            if !admission.take_place(limits) {
                return Stop::Full { shared: admission.is_shared(), limit: limits.max_connections };
            }
            let result = self.core.table.tap.call(
                || self.driver.accept(listener),
                |result, took| Event::Accept {
                    listener: id,
                    outcome: Outcome::counted(result, |_| 1),
                    took,
                },
            );
            match result {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut acceptor.starved) {
                        self.core.table.tap.note(|| Event::AcceptResumed { listener: id });
                    }
                    self.admit(id, stream, peer);
                }
                Err(error) => {
                    admission.leave_place();
                    match error.kind() {
                        io::ErrorKind::WouldBlock => return Stop::Empty,
                        _ if concerns_one_client(&error) => {
                            log::debug!("a client was gone before it was accepted: {error}");
                        }
                        _ => return Stop::Exhausted(error),
                    }
                }
            }
        }
        Stop::Budget
    }

    /// One that has its place already becomes a connection, unless its address has too many.
    fn admit(&mut self, listener: ListenerId, stream: D::Stream, peer: Address) {
        let Some(acceptor) = self.acceptors.get(listener.0) else { return };
        let service = acceptor.service;
        let index = usize::from(service);
        let (Some(admission), Some(limits)) =
            (self.admissions.get(index), self.core.table.limits.get(index).cloned())
        else {
            return;
        };
        let (ip, limits) = (peer.ip(), &*limits);
        if !admission.take_address(ip, limits) {
            admission.leave_place();
            log::debug!("{peer} is refused: its address has {} connections", limits.max_per_ip);
            self.core.table.counters.refused().increment();
            self.core.table.tap.note(|| Event::Refused { listener });
            return;
        }
        let origin = Origin::Accepted(listener);
        let tls = acceptor.tls.clone();
        let life = if tls.is_some() { Life::Handshaking } else { Life::Open };
        let Some(id) = self.core.table.insert(service, peer, origin, life) else {
            admission.leave_address(ip, limits);
            admission.leave_place();
            return;
        };
        if let Some(connection) = self.core.table.get_mut(id) {
            connection.admitted = true;
        }
        self.core.table.counters.accepted().increment();
        self.core.table.tap.note(|| Event::Accepted { connection: id, listener });
        self.core.table.counters.open().increment();
        self.watch_and_open(id, service, stream, tls);
    }

    fn watch_and_open(
        &mut self,
        id: ConnId,
        service: ServiceIndex,
        mut stream: D::Stream,
        tls: Option<Server>,
    ) {
        let watched = self.core.table.tap.call(
            || self.driver.register(&mut stream, id.0.token(Kind::Connection)),
            |result, took| Event::Register { connection: id, outcome: Outcome::done(result), took },
        );
        let transport = Transport { stream, has_tls: tls.is_some() };
        self.links.insert(id, Link::new(transport));
        match (watched, tls) {
            (Ok(()), Some(server)) => {
                let limit = self.core.table.queue_high(id);
                self.begin_handshake(id, Tls::accept(server, limit), Duration::MAX);
            }
            (Ok(()), None) => {
                self.hosts.call(&mut self.core, service, Call::Open(id));
            }
            (Err(error), _) => {
                log::warn!("cannot watch a connection: {}", describe(&error));
                self.core.table.end(id, CloseReason::Io(error.kind()));
            }
        }
    }

    /// Somebody has left: who was turned away for want of room may come.
    pub(super) fn retry_paused_acceptors(&mut self) {
        for (id, acceptor) in self.acceptors.iter_mut().filter(|(_, acceptor)| acceptor.paused) {
            acceptor.note(ListenerId(id), &mut self.ready_acceptors);
        }
    }
}

/// Of a listener or a datagram socket.
pub(super) fn outcome_of_opening<T>(result: &Result<T, ListenError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done(0),
        Err(error) => Outcome::failed(error.io_error()),
    }
}

/// Whether accept(2) speaks of one client that is lost, rather than of a lack that all meet. Its manual
/// wants pending network errors to be treated like `EAGAIN`, and lists them.
fn concerns_one_client(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    ) || matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}
