//! `receive`: what has arrived goes to the handlers.

use std::io;

use super::accept::outcome_of_opening;
use super::{Opened, Reactor};
use crate::connection::{Life, ServiceIndex, Table};
use crate::context::{Core, Outbox};
use crate::driver::{DatagramSocket, Driver, Stream};
use crate::host::Call;
use crate::id::{ConnId, Id, Kind, SocketId};
use crate::read_buffer::ReadBuffer;
use crate::readiness::Readiness;
use crate::reason::{CloseReason, ListenError};
use crate::socket::listen::Bind;
use crate::trace::event::{Event, Outcome, Source, Verb};

/// What one read came to.
pub(super) enum Read {
    /// So many bytes, and there may be more.
    More(usize),
    /// Nothing more for now: the socket is empty or at its end, or nobody wants to hear.
    Done,
}

/// A remainder in a block this many times its size is moved to a smaller one.
const REST_SPARSE: usize = 4;

impl<D: Driver> Reactor<D> {
    pub(super) fn receive(&mut self) {
        self.core.table.tap.verb(Verb::Receive);
        // Who becomes ready meanwhile, or has spent its budget, goes on the new list: the next turn's.
        let empty = std::mem::take(&mut self.batch);
        let mut ready = std::mem::replace(&mut self.core.table.ready, empty);
        for id in ready.drain(..) {
            self.receive_from(id);
            self.flush_own(id);
        }
        self.batch = ready;
        for id in std::mem::take(&mut self.ready_sockets) {
            self.receive_datagrams(id);
        }
    }

    fn receive_from(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.take_ready(id) else { return };
        let offer = std::mem::take(&mut connection.offer);
        if offer && connection.hears() && connection.rest.is_some() {
            self.block.clear();
            self.offer(id);
        }
        let mut budget = self.config.budgets.bytes.max(1);
        while budget > 0 {
            match self.read(id, budget) {
                Read::More(count) => budget = budget.saturating_sub(count),
                Read::Done => return,
            }
        }
        self.core.table.tap.note(|| Event::BudgetSpent { source: Source::Connection(id) });
        self.core.table.mark_ready(id);
    }

    /// One read, and what it yields to the handler.
    fn read(&mut self, id: ConnId, budget: usize) -> Read {
        let Some(link) = self.links.get_mut(id) else { return Read::Done };
        let Some(connection) = self.core.table.get(id) else { return Read::Done };
        let (hears, discards) = (connection.hears(), connection.discards());
        if link.transport.has_tls {
            return self.read_under_tls(id, budget);
        }
        if !hears && !discards {
            self.ask_for_error(id);
            return Read::Done;
        }
        if !link.readable {
            return Read::Done;
        }
        let limit = self.core.table.may_read(connection, budget);
        clear_block(&mut self.block, &mut self.core.table);
        let room = self.block.room(limit);
        let size = room.len();
        let result = self.core.table.tap.call(
            || link.transport.stream.read(room),
            |result, took| Event::Read {
                connection: id,
                outcome: Outcome::counted(result, |count| *count),
                took,
            },
        );
        match result {
            Ok(0) => {
                link.readable = false;
                self.ended(id);
                Read::Done
            }
            Ok(count) => {
                // A short read has emptied the socket, as a rule, and a new edge will tell of more. But the
                // end may have come on the edge that told of these bytes.
                link.readable = count == size || link.reads_may_be_short;
                let is_done = !link.readable && !link.error;
                self.block.filled(count);
                self.received(id, count, hears);
                if is_done { Read::Done } else { Read::More(count) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.readable = false;
                Read::Done
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Read::More(0),
            Err(error) => {
                self.fail(id, error.kind());
                Read::Done
            }
        }
    }

    pub(super) fn received(&mut self, id: ConnId, count: usize, hears: bool) {
        self.core.table.counters.bytes_in().add(count as u64);
        let now = self.core.table.now;
        if let Some(connection) = self.core.table.get_mut(id) {
            connection.last_activity = now;
        }
        match hears {
            true => self.offer(id),
            false => self.core.table.discard(count),
        }
    }

    /// Lends the handler what the connection has left and what is in the loop's block.
    fn offer(&mut self, id: ConnId) {
        let Self { core, hosts, block, .. } = self;
        let Some(connection) = core.table.get_mut(id) else { return };
        let service = connection.service;
        match connection.rest.take() {
            Some(mut rest) => {
                rest.append(block.as_slice());
                hosts.call(core, service, Call::Data(id, &mut rest));
                keep(core, id, rest);
            }
            None => {
                hosts.call(core, service, Call::Data(id, block));
                if !block.is_empty() {
                    keep(core, id, Box::new(ReadBuffer::from(block.as_slice())));
                }
            }
        }
    }

    /// The peer has finished.
    pub(super) fn ended(&mut self, id: ConnId) {
        let Self { core, hosts, block, .. } = self;
        let Some(connection) = core.table.get_mut(id) else { return };
        connection.read_ended = true;
        match connection.life {
            Life::Open => {
                let service = connection.service;
                let mut rest = connection.rest.take();
                block.clear();
                let input = rest.as_deref_mut().unwrap_or(block);
                hosts.call(core, service, Call::Eof(id, input));
                core.table.discard(input.len());
                // If our FIN has gone before, nothing is left to be done: `flush` sees to it.
                core.table.mark_dirty(id);
            }
            Life::Lingering => {
                let reason = connection.reason.clone();
                core.table.end(id, reason);
            }
            Life::Connecting | Life::Handshaking | Life::Closing | Life::Gone => {}
        }
    }

    /// A read or a write has failed for good.
    pub(super) fn fail(&mut self, id: ConnId, kind: io::ErrorKind) {
        let Some(connection) = self.core.table.get(id) else { return };
        let reason = match connection.life {
            // All that was owed has been handed over; how the peer goes makes no difference.
            Life::Lingering => connection.reason.clone(),
            _ => CloseReason::Io(kind),
        };
        self.core.table.end(id, reason);
    }

    /// A connection that is not read may be told of an error all the same, and would never find out.
    pub(super) fn ask_for_error(&mut self, id: ConnId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !std::mem::take(&mut link.error) {
            return;
        }
        let error = self.core.table.tap.call(
            || link.transport.stream.take_error(),
            |result, took| Event::TakeError {
                connection: id,
                outcome: result.as_ref().map_or(Outcome::Done(0), Outcome::failed),
                took,
            },
        );
        if let Some(error) = error {
            self.fail(id, error.kind());
        }
    }
}

/// Makes the loop's block empty, and whole again if it was moved out.
#[inline]
pub(super) fn clear_block(block: &mut ReadBuffer, table: &mut Table) {
    if block.capacity() < table.block_size {
        block.refill(table.spares.block(), table.block_size);
    }
    block.clear();
}

/// What the handler has left stays with the connection, within its limit.
fn keep(core: &mut Core, id: ConnId, mut rest: Box<ReadBuffer>) {
    let Some(connection) = core.table.get_mut(id) else { return };
    if rest.is_empty() {
        return;
    }
    if connection.life != Life::Open {
        return core.table.discard(rest.len());
    }
    if rest.capacity() / REST_SPARSE > rest.len() {
        *rest = ReadBuffer::from(rest.as_slice());
    }
    let (len, service, waits) = (rest.len(), connection.service, connection.hears());
    connection.rest = Some(rest);
    let max = core.table.limits(service).map_or(0, |limits| limits.input_max);
    if waits && max != 0 && len > max {
        core.table.close(id, CloseReason::InputTooLarge);
    }
}

/// The loop's half of a datagram socket.
pub(super) struct DatagramLink<S> {
    pub(super) socket: S,
    service: ServiceIndex,
    /// Invariant: whether it is on the loop's list of ready ones.
    listed: bool,
    /// The kernel had no room for a datagram: an edge will tell when it has.
    pub(super) blocked: bool,
}

impl<S> DatagramLink<S> {
    pub(super) fn note(
        &mut self,
        readiness: Readiness,
        id: SocketId,
        ready: &mut Vec<SocketId>,
        core: &mut Core,
    ) {
        if readiness.readable && !std::mem::replace(&mut self.listed, true) {
            ready.push(id);
        }
        if readiness.writable && std::mem::take(&mut self.blocked) {
            core.dirty_sockets.push(id);
        }
    }
}

impl<D: Driver> Reactor<D> {
    pub(super) fn open_socket(
        &mut self,
        service: ServiceIndex,
        bind: Bind,
    ) -> Result<Opened<SocketId>, ListenError> {
        if self.is_stopping() {
            return Err(bind.refused_by_stopping_loop());
        }
        let outbox = Outbox { service, queue: Default::default(), bytes: 0 };
        let id = self.core.outboxes.insert(outbox).unwrap_or(Id::nobody());
        let result = self.core.table.tap.call(
            || self.driver.bind(bind, id.token(Kind::Socket)),
            |result, took| Event::Bind {
                socket: SocketId(id),
                outcome: outcome_of_opening(result),
                took,
            },
        );
        match result {
            Ok((socket, address)) => {
                let id = SocketId(id);
                let link = DatagramLink { socket, service, listed: true, blocked: false };
                self.sockets.insert(id, link);
                self.ready_sockets.push(id);
                Ok(Opened { id, address })
            }
            Err(error) => {
                self.core.outboxes.remove(id);
                Err(error)
            }
        }
    }

    /// Closes a datagram socket; what it still had to send is dropped. Whether there was such a socket.
    pub fn close_socket(&mut self, id: SocketId) -> bool {
        self.core.outboxes.remove(id.0);
        self.core.dirty_sockets.retain(|&dirty| dirty != id);
        match self.sockets.remove(&id) {
            Some(link) => {
                self.core.table.tap.note(|| Event::CloseSocket { socket: id });
                self.driver.close_socket(link.socket);
                true
            }
            None => false,
        }
    }

    fn receive_datagrams(&mut self, id: SocketId) {
        let Self { core, hosts, block, sockets, config, .. } = self;
        let Some(link) = sockets.get_mut(&id) else { return };
        link.listed = false;
        for _ in 0..config.budgets.datagrams.max(1) {
            clear_block(block, &mut core.table);
            let result = core.table.tap.call(
                || link.socket.receive(block.room(usize::MAX)),
                |result, took| Event::Receive {
                    socket: id,
                    outcome: Outcome::counted(result, |(count, _)| *count),
                    took,
                },
            );
            match result {
                Ok((count, from)) => {
                    block.filled(count);
                    core.table.counters.datagrams_in().increment();
                    core.table.counters.bytes_in().add(count as u64);
                    hosts.call(core, link.service, Call::Datagram(id, &from, block.as_slice()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An error is about a datagram of the past; the next call is about the next.
                Err(error) => log::debug!("a datagram was lost: {error}"),
            }
        }
        link.listed = true;
        core.table.tap.note(|| Event::BudgetSpent { source: Source::Socket(id) });
        self.ready_sockets.push(id);
    }
}
