//! What a handler may see and change of a connection, and the table of them all.
//!
//! A connection has two halves under one [`ConnId`]. This is the half that handlers reach through their
//! contexts: queue, state, deadlines, peer. It names no driver and touches no socket. The other half,
//! the socket, lives with the loop.

#[cfg(feature = "sim")]
mod check;
mod ending;
mod spares;

use std::sync::Arc;

use bytes::Bytes;

use self::spares::Spares;
use crate::counters::Counters;
use crate::id::{Arena, ConnId, ConnMap, Kind, ListenerId, Token};
use crate::limits::Limits;
use crate::read_buffer::{Block, ReadBuffer};
use crate::reason::CloseReason;
use crate::socket::address::Address;
use crate::timers::{NEVER, Nanos, Timers, after};
use crate::tls::Info;
use crate::trace::event::Event;
use crate::trace::tap::{Tap, saturated};
use crate::write_queue::WriteQueue;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Accepted by this listener.
    Accepted(ListenerId),
    /// An outgoing connection of our own.
    Connected,
}

/// The number of a service on its loop.
pub(crate) type ServiceIndex = u16;

/// How far a connection is.
///
/// ```text
///  Connecting --> Handshaking --> Open --> Closing --> Lingering --> Gone
///       |              |            |         |                       ^
///       +--------------+------------+---------+-----------------------+   failed, cancelled, aborted
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Outgoing, and does not stand yet. What is sent waits.
    Connecting,
    /// The two sides agree on TLS. The handler of an accepted one does not know of it yet.
    Handshaking,
    /// Handlers hear and speak.
    Open,
    /// Asked to close: the queue drains, what the peer sends is discarded.
    Closing,
    /// Our FIN is sent: waits for the peer's.
    Lingering,
    /// Ended, and on the list of those that leave.
    Gone,
}

pub(crate) struct Connection {
    pub(crate) peer: Address,
    pub(crate) origin: Origin,
    /// Invariant: `None` when nothing is queued, once the loop has flushed.
    pub(crate) queue: Option<Box<WriteQueue>>,
    /// What the handler has left. Invariant: not empty, and only while open.
    pub(crate) rest: Option<Box<ReadBuffer>>,
    /// When a byte last moved.
    pub(crate) last_activity: Nanos,
    /// While open, the handler's own; otherwise the loop's: for the attempt, the drain or the linger.
    pub(crate) deadline: Nanos,
    /// 0: none.
    pub(crate) idle_timeout: Nanos,
    /// When its entry among the timers is due. Invariant: no later than [`due`](Self::due).
    pub(crate) armed: Nanos,
    /// The turn in which it was last written to.
    pub(crate) written_in: u32,
    pub(crate) service: ServiceIndex,
    pub(crate) life: Life,
    /// Why it closes, from `Closing` on.
    pub(crate) reason: CloseReason,
    /// The handler wants no input at present.
    pub(crate) paused: bool,
    /// The queue reached its high mark, and has not fallen to its low mark since: it is not read.
    pub(crate) full: bool,
    /// It is read all the same.
    pub(crate) reads_when_full: bool,
    /// What was left is to be offered again without new bytes.
    pub(crate) offer: bool,
    /// The peer's FIN has been read.
    pub(crate) read_ended: bool,
    /// Our FIN is to follow the queue.
    pub(crate) finish: bool,
    /// TLS has bytes of its own that are to leave, or the sealed form of what is queued.
    pub(crate) owes: bool,
    /// Our FIN is sent.
    pub(crate) write_ended: bool,
    /// It has stood: its handler is owed `on_close`, not `on_connect_failed`.
    pub(crate) opened: bool,
    /// It ends with RST, not FIN.
    pub(crate) reset: bool,
    /// It has a place in its service's admission.
    pub(crate) admitted: bool,
    /// Invariant: whether it is on the table's `ready` list.
    listed_ready: bool,
    /// Invariant: whether it is on the table's `dirty` list.
    listed_dirty: bool,
}

impl Connection {
    /// When the next of its deadlines passes.
    pub(crate) fn due(&self) -> Nanos {
        match self.life {
            Life::Open if self.idle_timeout == 0 => self.deadline,
            Life::Open => self.deadline.min(self.last_activity.saturating_add(self.idle_timeout)),
            Life::Connecting | Life::Handshaking | Life::Closing | Life::Lingering => self.deadline,
            Life::Gone => NEVER,
        }
    }

    /// Whether its handler is to hear what the peer sends.
    pub(crate) fn hears(&self) -> bool {
        let may_read = !self.full || self.reads_when_full;
        self.life == Life::Open && !self.paused && may_read && !self.read_ended
    }

    /// Whether what the peer sends is read and thrown away.
    pub(crate) fn discards(&self) -> bool {
        matches!(self.life, Life::Closing | Life::Lingering) && !self.read_ended
    }

    /// Whether what a handler sends is taken.
    pub(crate) fn takes_sends(&self) -> bool {
        matches!(self.life, Life::Connecting | Life::Handshaking | Life::Open) && !self.finish
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }
}

/// Bytes as a handler may hand them over.
pub(crate) enum Outgoing<'a> {
    Copied(&'a [u8]),
    Moved(Block),
    Shared(Bytes),
}

impl Outgoing<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Copied(bytes) => bytes.is_empty(),
            Self::Moved(block) => block.is_empty(),
            Self::Shared(bytes) => bytes.is_empty(),
        }
    }
}

/// All connections of a loop, and the lists of those that something is to be done about.
///
/// Whoever changes a connection puts it on a list; nobody walks the table to find out.
pub(crate) struct Table {
    connections: Arena<Connection>,
    /// The limits of each service, by its index.
    pub(crate) limits: Vec<Arc<Limits>>,
    /// To be read, or to be offered what was left.
    pub(crate) ready: Vec<ConnId>,
    /// Something to write, to finish or to close.
    pub(crate) dirty: Vec<ConnId>,
    /// Ended.
    pub(crate) gone: Vec<ConnId>,
    /// What those with TLS have agreed on.
    pub(crate) infos: ConnMap<Box<Info>>,
    pub(crate) timers: Timers,
    pub(crate) spares: Spares,
    pub(crate) counters: Counters,
    /// The clock, as it was read at the beginning of the turn.
    pub(crate) now: Nanos,
    /// The number of the turn; it wraps.
    pub(crate) turn: u32,
    /// Bytes that were queued for connections that ended without them.
    pub(crate) bytes_dropped: u64,
    pub(crate) block_size: usize,
    /// Where the loop records what it does.
    pub(crate) tap: Tap,
    loop_number: u16,
}

impl Table {
    /// With room for so many connections as are expected.
    pub(crate) fn new(loop_number: u16, expected: usize, block_size: usize, tap: Tap) -> Self {
        Self {
            connections: Arena::with_capacity(loop_number, expected),
            limits: Vec::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
            gone: Vec::new(),
            infos: ConnMap::new(),
            timers: Timers::with_capacity(expected),
            spares: Spares::default(),
            counters: Counters::default(),
            now: 0,
            turn: 0,
            bytes_dropped: 0,
            block_size,
            tap,
            loop_number,
        }
    }

    /// `None` when every slot is taken.
    pub(crate) fn insert(
        &mut self,
        service: ServiceIndex,
        peer: Address,
        origin: Origin,
        life: Life,
    ) -> Option<ConnId> {
        let idle_timeout = self.limits(service).map_or(0, |limits| after(0, limits.idle_timeout));
        let id = self.connections.insert(Connection {
            peer,
            origin,
            queue: None,
            rest: None,
            last_activity: self.now,
            deadline: NEVER,
            idle_timeout,
            armed: NEVER,
            written_in: self.turn.wrapping_sub(1),
            service,
            life,
            reason: CloseReason::Asked,
            paused: false,
            full: false,
            reads_when_full: self.limits(service).is_some_and(|limits| limits.reads_when_full),
            offer: false,
            read_ended: false,
            finish: false,
            owes: false,
            write_ended: false,
            opened: life == Life::Open,
            reset: false,
            admitted: false,
            listed_ready: false,
            listed_dirty: false,
        })?;
        let id = ConnId(id);
        self.arm(id);
        Some(id)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(id.0)
    }

    /// A connection, where memory comes from and goes to, and where is recorded what is done.
    pub(crate) fn get_with_means(
        &mut self,
        id: ConnId,
    ) -> Option<(&mut Connection, &mut Spares, &mut Tap)> {
        Some((self.connections.get_mut(id.0)?, &mut self.spares, &mut self.tap))
    }

    pub(crate) fn is_connecting(&self, id: ConnId) -> bool {
        self.get(id).is_some_and(|connection| connection.life == Life::Connecting)
    }

    /// It leaves the table; its memory goes back.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        let mut connection = self.connections.remove(id.0)?;
        self.timers.disarm(&mut connection.armed);
        self.infos.remove(id);
        Some(connection)
    }

    pub(crate) fn loop_number(&self) -> u16 {
        self.loop_number
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.connections.iter().map(|(id, connection)| (ConnId(id), connection))
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.iter().map(|(id, _)| id).collect()
    }

    pub(crate) fn limits(&self, service: ServiceIndex) -> Option<&Limits> {
        self.limits.get(usize::from(service)).map(|limits| &**limits)
    }

    /// The high mark of its queue.
    pub(crate) fn queue_high(&self, id: ConnId) -> usize {
        let limits = self.get(id).and_then(|connection| self.limits(connection.service));
        limits.map_or(0, |limits| limits.queue_high)
    }

    /// How much may be read at once: who answers byte for byte never queues more than the high mark.
    #[inline(always)]
    pub(crate) fn may_read(&self, connection: &Connection, budget: usize) -> usize {
        let high = self.limits(connection.service).map_or(0, |limits| limits.queue_high);
        match connection.life == Life::Open && !connection.reads_when_full {
            true => high.saturating_sub(connection.queued()).max(1).min(budget),
            false => budget,
        }
    }

    pub(crate) fn mark_ready(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0)
            && !std::mem::replace(&mut connection.listed_ready, true)
        {
            self.ready.push(id);
        }
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0)
            && !std::mem::replace(&mut connection.listed_dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// The wait is over: who is ready is recorded. Some of those on the list may be gone.
    #[inline(always)]
    pub(crate) fn waited(&mut self) {
        let Self { connections, ready, tap, now, .. } = self;
        tap.waited(*now, || ready.iter().filter(|id| connections.get(id.0).is_some()).count());
    }

    /// Takes this one off the dirty list, if it was the last to come onto it.
    pub(crate) fn take_last_dirty(&mut self, id: ConnId) -> bool {
        self.dirty.pop_if(|last| *last == id).is_some() && self.take_dirty(id).is_some()
    }

    /// The ready list is being worked off, and has come to this one.
    pub(crate) fn take_ready(&mut self, id: ConnId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(id.0)?;
        connection.listed_ready = false;
        Some(connection)
    }

    /// The dirty list is being worked off, and has come to this one.
    pub(crate) fn take_dirty(&mut self, id: ConnId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(id.0)?;
        connection.listed_dirty = false;
        Some(connection)
    }

    /// After a deadline has moved.
    pub(crate) fn arm(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            let due = connection.due();
            if due < connection.armed {
                self.timers.arm(&mut connection.armed, due, id.0.token(Kind::Connection));
            }
        }
    }

    /// What the entry of this owner must say to count.
    pub(crate) fn armed(&self, token: Token) -> Nanos {
        self.connections
            .get(token.id(self.loop_number))
            .map_or(NEVER, |connection| connection.armed)
    }

    /// Queues bytes; whether they were taken.
    pub(crate) fn send(&mut self, id: ConnId, bytes: Outgoing<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(id.0) else { return false };
        if !connection.takes_sends() {
            return false;
        }
        if bytes.is_empty() {
            return true; // and no queue is made for nothing
        }
        let queue = connection.queue.get_or_insert_with(|| self.spares.queue());
        let before = queue.len();
        match bytes {
            Outgoing::Copied(bytes) => queue.push(bytes),
            Outgoing::Moved(block) => queue.push_block(block),
            Outgoing::Shared(bytes) => queue.push_shared(bytes),
        }
        let queued = queue.len();
        let added = (queued - before) as u64;
        self.counters.queued_bytes().add(added);
        self.tap.note(|| Event::Queued {
            connection: id,
            bytes: saturated(added),
            queued: queued as u64,
        });
        if let Some(limits) = self.limits.get(usize::from(connection.service)) {
            if queued >= limits.queue_high.max(1) && !connection.full {
                connection.full = true;
                self.tap.note(|| Event::Full { connection: id, queued: queued as u64 });
            }
            if limits.queue_max != 0 && queued > limits.queue_max {
                self.end(id, CloseReason::SlowConsumer);
                return false;
            }
        }
        if !std::mem::replace(&mut connection.listed_dirty, true) {
            self.dirty.push(id);
        }
        true
    }

    pub(crate) fn pause(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.paused = true;
            self.tap.note(|| Event::Paused { connection: id });
        }
    }

    pub(crate) fn resume(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0)
            && connection.paused
        {
            connection.paused = false;
            connection.offer = true;
            self.tap.note(|| Event::Resumed { connection: id });
            self.mark_ready(id);
        }
    }

    /// The queue fell below its low mark: it is read again.
    pub(crate) fn drained(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.full = false;
            connection.offer = true;
            self.tap.note(|| Event::Drained { connection: id });
            self.mark_ready(id);
        }
    }

    /// Bytes of memory in the table and its lists, in queues, and in what handlers left.
    pub(crate) fn memory(&self) -> (usize, usize, usize) {
        let ids = self.ready.capacity() + self.dirty.capacity() + self.gone.capacity();
        let (mut queues, mut rests) = (0, 0);
        for (_, connection) in self.iter() {
            queues += connection.queue.as_ref().map_or(0, |queue| queue.memory());
            rests += connection.rest.as_ref().map_or(0, |rest| rest.capacity());
        }
        let table = self.connections.memory() + self.timers.memory() + ids * size_of::<ConnId>();
        (table, queues, rests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twice what it is now would still be within what the whole of an idle connection may cost.
    #[test]
    fn promise_10_a_connection_is_small() {
        assert!(size_of::<Connection>() <= 120, "{} bytes", size_of::<Connection>());
    }
}
