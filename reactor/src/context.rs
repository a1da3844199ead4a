//! What an author may ask for.
//!
//! A context is the loop's record of wishes, lent for one callback. Nothing here does any I/O.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::connection::{Life, Origin, Outgoing, ServiceIndex, Table};
use crate::handle::{Handle, Port, SendError};
use crate::id::{Arena, ConnId, Id, Kind, ListenerId, SocketId, TimerId};
use crate::read_buffer::{Block, ReadBuffer};
use crate::reason::CloseReason;
use crate::socket::address::Address;
use crate::socket::connect::Connect;
use crate::timers::{NEVER, Nanos, after};
use crate::tls::Info;
use crate::trace::event::Event;
use crate::trace::tap::saturated;

/// All that contexts reach: the handlers' half of the loop.
pub(crate) struct Core {
    pub(crate) table: Table,
    pub(crate) timers: Arena<ServiceTimer>,
    pub(crate) outboxes: Arena<Outbox>,
    /// Connections that are to be begun, and for whom.
    pub(crate) connects: Vec<(ConnId, ServiceIndex, Connect)>,
    /// Datagram sockets with something to send. Invariant: each once.
    pub(crate) dirty_sockets: Vec<SocketId>,
    /// Services that asked for the end of this turn. Invariant: each once.
    pub(crate) turn_ends: Vec<ServiceIndex>,
    /// Where listeners are.
    pub(crate) listeners: Vec<(ListenerId, Address)>,
    /// For each service, how it is told of room in other loops' inboxes.
    pub(crate) ports: Vec<Arc<Port>>,
    /// Whether the loop is to stop, and how long it may drain.
    pub(crate) stop: Option<Duration>,
    /// How long it may if nobody says.
    pub(crate) grace: Duration,
    /// The instant that all [`Nanos`] count from.
    pub(crate) origin: Instant,
}

/// A timer of a service.
pub(crate) struct ServiceTimer {
    pub(crate) service: ServiceIndex,
    pub(crate) due: Nanos,
    pub(crate) armed: Nanos,
}

/// Datagrams on their way to one socket.
pub(crate) struct Outbox {
    pub(crate) service: ServiceIndex,
    pub(crate) queue: VecDeque<(Address, Vec<u8>)>,
    /// Invariant: the sum of the datagrams' lengths.
    pub(crate) bytes: usize,
}

/// What a handler may ask of the loop where no connection is meant.
///
/// All of it are wishes: they are fulfilled in this turn, after the handlers, and none of them fails
/// loudly. Where it matters whether one was taken, the method says so.
pub struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) service: ServiceIndex,
}

impl<'a> Context<'a> {
    pub(crate) fn new(core: &'a mut Core, service: ServiceIndex) -> Self {
        Self { core, service }
    }

    /// The time at which this turn began. It does not move during a turn.
    pub fn now(&self) -> Instant {
        let since = Duration::from_nanos(self.core.table.now);
        self.core.origin.checked_add(since).unwrap_or(self.core.origin)
    }

    /// Stands at another connection of this loop, also of another service; `None` if it is gone.
    ///
    /// ```
    /// # use reactor::{ConnId, Context};
    /// fn hang_up(other: ConnId, cx: &mut Context<'_>) {
    ///     if let Some(mut other) = cx.at(other) {
    ///         other.send(b"bye\n");
    ///         other.close();
    ///     }
    /// }
    /// ```
    pub fn at(&mut self, id: ConnId) -> Option<ConnContext<'_>> {
        match self.core.table.get(id)?.life {
            Life::Gone => None,
            _ => Some(ConnContext::new(self.core, self.service, id, CloseReason::Asked)),
        }
    }

    /// Queues a copy of `bytes` for a connection. Whether they were taken: not if it is gone or closing,
    /// and not if they made its queue exceed [`Limits::queue_max`](crate::Limits::queue_max), which
    /// closes it.
    pub fn send_to(&mut self, id: ConnId, bytes: &[u8]) -> bool {
        self.core.table.send(id, Outgoing::Copied(bytes))
    }

    /// The same for bytes that others may hold too: they are shared, not copied, if they are not few.
    pub fn send_shared_to(&mut self, id: ConnId, bytes: Bytes) -> bool {
        self.core.table.send(id, Outgoing::Shared(bytes))
    }

    /// Connects to somewhere. The answer is the name that the connection will have; what is sent to it
    /// before it stands waits. It ends in exactly one of an [`on_open`](crate::Handler::on_open) that returns
    /// and [`on_connect_failed`](crate::Handler::on_connect_failed), never before this callback returns.
    ///
    /// Closing it before it stands cancels it.
    pub fn connect(&mut self, to: impl Into<Connect>) -> ConnId {
        let peer = Address::Unix(None); // not known yet
        let inserted =
            self.core.table.insert(self.service, peer, Origin::Connected, Life::Connecting);
        // A name that nobody has or will have: the loop finds nobody there, and tells of the limit.
        let id = inserted.unwrap_or(ConnId(Id::nobody()));
        self.core.connects.push((id, self.service, to.into()));
        self.core.table.tap.note(|| Event::Connecting { connection: id });
        id
    }

    /// Calls [`on_timer`](crate::Handler::on_timer) once, no earlier than `delay` from the beginning of
    /// this turn. [`Duration::MAX`] is never; zero is the next turn.
    ///
    /// A service may have any number of timers; each is told at most once per turn.
    ///
    /// A loop can have 16.7 million of them. One more is not set, and its id is nobody's.
    pub fn set_timer(&mut self, delay: Duration) -> TimerId {
        let timer = ServiceTimer { service: self.service, due: NEVER, armed: NEVER };
        let id = TimerId(self.core.timers.insert(timer).unwrap_or(Id::nobody()));
        self.rearm_timer(id, delay);
        id
    }

    /// Moves a timer: it passes after `delay` from the beginning of this turn, and not when it would
    /// have. Whether there was such a timer; within its own `on_timer` there still is.
    pub fn rearm_timer(&mut self, id: TimerId, delay: Duration) -> bool {
        let core = &mut *self.core;
        let Some(timer) = core.timers.get_mut(id.0) else { return false };
        let due = after(core.table.now, delay);
        timer.due = due;
        core.table.tap.note(|| Event::TimerSet { timer: id, due });
        core.table.timers.arm(&mut timer.armed, timer.due, id.0.token(Kind::Timer));
        true
    }

    /// Removes a timer. Whether there was such a timer.
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        let Some(mut timer) = self.core.timers.remove(id.0) else { return false };
        self.core.table.timers.disarm(&mut timer.armed);
        self.core.table.tap.note(|| Event::TimerCancelled { timer: id });
        true
    }

    /// Sends a datagram from `socket`. Whether it was taken: not if the socket is not of this loop, or
    /// has [`Limits::datagram_queue_max`](crate::Limits::datagram_queue_max) bytes waiting. As with all
    /// datagrams, being taken is no promise that it arrives: to a Unix peer whose queue is full it is
    /// dropped, so that others do not wait for it.
    pub fn send_datagram(&mut self, socket: SocketId, to: &Address, datagram: &[u8]) -> bool {
        let core = &mut *self.core;
        let Some(outbox) = core.outboxes.get_mut(socket.0) else { return false };
        let max = core.table.limits(outbox.service).map_or(0, |limits| limits.datagram_queue_max);
        // An empty datagram is one too: the queue is bounded by their number as well.
        if outbox.bytes + datagram.len() > max || outbox.queue.len() >= max.max(1) {
            core.table.counters.datagrams_dropped().increment();
            core.table.tap.note(|| Event::DatagramDropped { socket });
            return false;
        }
        if outbox.queue.is_empty() {
            core.dirty_sockets.push(socket);
        }
        outbox.bytes += datagram.len();
        let bytes = saturated(datagram.len() as u64);
        core.table.tap.note(|| Event::DatagramQueued { socket, bytes });
        outbox.queue.push_back((to.clone(), datagram.to_vec()));
        true
    }

    /// Says something to a service of another loop, without waiting.
    ///
    /// # Errors
    /// [`SendError::Closed`]; or [`SendError::Full`], and then
    /// [`on_inbox_drained`](crate::Handler::on_inbox_drained) is called as soon as there is room.
    pub fn send_message<M>(&mut self, to: &Handle<M>, message: M) -> Result<(), SendError<M>> {
        match self.core.ports.get(usize::from(self.service)) {
            Some(port) => to.send_or_wait(message, port),
            None => to.send(message),
        }
    }

    /// Asks for [`on_turn_end`](crate::Handler::on_turn_end), once, at the end of this turn.
    pub fn at_turn_end(&mut self) {
        if !self.core.turn_ends.contains(&self.service) {
            self.core.turn_ends.push(self.service);
        }
    }

    /// Stops the loop, as [`Reactor::shutdown`](crate::Reactor::shutdown) does, with the grace of its
    /// [`Config`](crate::Config).
    pub fn stop(&mut self) {
        self.shutdown(self.core.grace);
    }

    /// Stops the loop, as [`Reactor::shutdown`](crate::Reactor::shutdown) does.
    pub fn shutdown(&mut self, grace: Duration) {
        self.core.stop = Some(self.core.stop.map_or(grace, |other| other.min(grace)));
    }

    /// Where a listener of this loop is: [`Origin::Accepted`] names it. `None` once it is closed.
    pub fn listener_address(&self, id: ListenerId) -> Option<&Address> {
        let mut listeners = self.core.listeners.iter();
        listeners.find(|(listener, _)| *listener == id).map(|(_, address)| address)
    }

    /// How many connections the loop has, of all services and in all states.
    pub fn connections(&self) -> usize {
        self.core.table.len()
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context(service {})", self.service)
    }
}

/// What a handler may ask of the loop where one connection is meant: it stands at that connection, and
/// can do all that [`Context`] can.
pub struct ConnContext<'a> {
    cx: Context<'a>,
    id: ConnId,
    /// What `close` gives as the reason: what this callback is about.
    cause: CloseReason,
}

impl<'a> ConnContext<'a> {
    pub(crate) fn new(
        core: &'a mut Core,
        service: ServiceIndex,
        id: ConnId,
        cause: CloseReason,
    ) -> Self {
        Self { cx: Context::new(core, service), id, cause }
    }

    /// The connection's name.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The peer's address. While an outgoing connection does not stand it has none (`unix:`).
    pub fn peer(&self) -> Address {
        let connection = self.cx.core.table.get(self.id);
        connection.map_or(Address::Unix(None), |connection| connection.peer.clone())
    }

    /// Accepted where, or connected by us.
    pub fn origin(&self) -> Origin {
        self.cx.core.table.get(self.id).map_or(Origin::Connected, |connection| connection.origin)
    }

    /// What was agreed on under TLS: version, application protocol, who the peer is. `None` without TLS, and
    /// before an outgoing connection stands.
    pub fn tls(&self) -> Option<&Info> {
        self.cx.core.table.infos.get(self.id).map(|info| &**info)
    }

    /// The chain of certificates by which the peer has shown who it is, its own first, each in DER: verified, and
    /// never empty. `None` without TLS, and for a client that has shown none.
    pub fn peer_identity(&self) -> Option<&[Box<[u8]>]> {
        self.tls().map(Info::peer_certificates).filter(|chain| !chain.is_empty())
    }

    /// Queues a copy of `bytes`. All that this callback sends leaves in one write. Whether it was taken:
    /// see [`send_to`](Context::send_to).
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.cx.send_to(self.id, bytes)
    }

    /// Queues a block itself, without a copy.
    pub fn send_block(&mut self, block: impl Into<Block>) -> bool {
        self.cx.core.table.send(self.id, Outgoing::Moved(block.into()))
    }

    /// Queues bytes that others may hold too: they are shared, not copied, if they are not few.
    pub fn send_shared(&mut self, bytes: Bytes) -> bool {
        self.cx.send_shared_to(self.id, bytes)
    }

    /// Sends all that is in `input` to this connection, and consumes it: moved where that is cheaper
    /// than copying. It need not be this connection's own input.
    pub fn forward(&mut self, input: &mut ReadBuffer) -> bool {
        match input.detach() {
            Some(block) => self.send_block(block),
            None => self.send(input.take()),
        }
    }

    /// How many bytes wait for the peer here; those that the kernel has taken are not counted.
    pub fn queued(&self) -> usize {
        self.cx.core.table.get(self.id).map_or(0, |connection| connection.queued())
    }

    /// Whether the queue has reached [`Limits::queue_high`](crate::Limits::queue_high), and has not
    /// fallen to [`Limits::queue_low`](crate::Limits::queue_low) since. It is not read then. Whoever has
    /// more to say stops here and goes on in [`on_drained`](crate::Handler::on_drained); input that is
    /// left is offered again by itself.
    pub fn is_full(&self) -> bool {
        self.cx.core.table.get(self.id).is_some_and(|connection| connection.full)
    }

    /// Whether its handler is to hear of anything but its end.
    #[cfg(feature = "sim")]
    pub(crate) fn is_open(&self) -> bool {
        self.cx.core.table.get(self.id).is_some_and(|connection| connection.life == Life::Open)
    }

    /// How long no byte may move before it is idle; 0: for ever.
    #[cfg(feature = "sim")]
    pub(crate) fn idle_timeout(&self) -> Nanos {
        self.cx.core.table.get(self.id).map_or(0, |connection| connection.idle_timeout)
    }

    /// Whether its handler may be given bytes now.
    #[cfg(feature = "sim")]
    pub(crate) fn may_be_read(&self) -> bool {
        self.cx.core.table.get(self.id).is_some_and(|connection| connection.hears())
    }

    /// Whether what is sent is still taken: not after [`close`](Self::close), [`finish`](Self::finish)
    /// or the end.
    pub fn can_send(&self) -> bool {
        self.cx.core.table.get(self.id).is_some_and(|connection| connection.takes_sends())
    }

    /// Closes, and **nothing is lost**: the queue drains, then FIN, then it waits for the peer's FIN
    /// within [`Limits::linger_timeout`](crate::Limits::linger_timeout). What the peer still sends is
    /// discarded, and what is sent from now on is refused.
    ///
    /// # Not guaranteed
    /// That the peer *reads* it: what the kernel has taken is out of our hands.
    pub fn close(&mut self) {
        let cause = self.cause.clone();
        self.cx.core.table.close(self.id, cause);
    }

    /// Ends at once: what is queued is dropped, and the peer sees a reset.
    pub fn abort(&mut self) {
        self.cx.core.table.end(self.id, CloseReason::Aborted);
    }

    /// Finishes sending: FIN follows what is queued, and sends are refused from now on; the peer may go
    /// on, and is heard. When both sides have finished, the connection ends as
    /// [`Eof`](CloseReason::Eof).
    pub fn finish(&mut self) {
        self.cx.core.table.finish(self.id);
    }

    /// Reads no more until [`resume`](Self::resume): what the peer sends fills the kernel's buffers, and
    /// then the peer waits. [`on_data`](crate::Handler::on_data) and [`on_eof`](crate::Handler::on_eof)
    /// are not called meanwhile.
    pub fn pause(&mut self) {
        self.cx.core.table.pause(self.id);
    }

    /// Whether it is read although its queue is full: see
    /// [`Limits::reads_when_full`](crate::Limits::reads_when_full), which it is set to at first.
    pub fn read_when_full(&mut self, reads: bool) {
        if let Some(connection) = self.cx.core.table.get_mut(self.id) {
            connection.reads_when_full = reads;
        }
        self.cx.core.table.mark_ready(self.id);
    }

    /// Ends a [`pause`](Self::pause). What was left in the input is offered at once.
    pub fn resume(&mut self) {
        self.cx.core.table.resume(self.id);
    }

    /// Calls [`on_deadline`](crate::Handler::on_deadline) with [`Deadline::Set`](crate::Deadline::Set), once, `delay` from the
    /// beginning of this turn; in place of the deadline that was set before. [`Duration::MAX`]: never.
    /// An outgoing connection takes no deadline before it stands: it has that of its
    /// [`Connect`].
    pub fn set_deadline(&mut self, delay: Duration) {
        let deadline = after(self.cx.core.table.now, delay);
        if let Some((connection, _, tap)) = self.cx.core.table.get_with_means(self.id)
            && connection.life == Life::Open
        {
            connection.deadline = deadline;
            tap.note(|| Event::DeadlineSet { connection: self.id, due: deadline });
        }
        self.cx.core.table.arm(self.id);
    }

    /// Takes the deadline back.
    pub fn clear_deadline(&mut self) {
        self.set_deadline(Duration::MAX);
    }

    /// How long no byte may move in either direction before
    /// [`on_deadline`](crate::Handler::on_deadline) with [`Deadline::Idle`](crate::Deadline::Idle); zero: for ever. It is
    /// [`Limits::idle_timeout`](crate::Limits::idle_timeout) unless it is set.
    pub fn set_idle_timeout(&mut self, timeout: Duration) {
        if let Some(connection) = self.cx.core.table.get_mut(self.id) {
            connection.idle_timeout = after(0, timeout);
        }
        self.cx.core.table.arm(self.id);
    }
}

impl<'a> Deref for ConnContext<'a> {
    type Target = Context<'a>;

    fn deref(&self) -> &Context<'a> {
        &self.cx
    }
}

impl<'a> DerefMut for ConnContext<'a> {
    fn deref_mut(&mut self) -> &mut Context<'a> {
        &mut self.cx
    }
}

impl fmt::Debug for ConnContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnContext({})", self.id)
    }
}
