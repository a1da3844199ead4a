//! What can be recorded.

use std::fmt;
use std::io;

use crate::id::{ConnId, Kind, ListenerId, SocketId, TimerId, Token};
use crate::readiness::{Readiness, Signal};
use crate::reason::{CloseReason, ConnectError, Deadline};
use crate::timers::Nanos;

/// The phases of a turn, in their order; see [`Reactor::turn`](crate::Reactor::turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Sleep until something is possible.
    Wait,
    /// Listeners and finished connects become connections.
    Accept,
    /// What has arrived goes to the handlers.
    Receive,
    /// What other threads have said goes to the handlers.
    Deliver,
    /// Deadlines and timers that have passed go to the handlers.
    Expire,
    /// What was wished for leaves.
    Flush,
    /// Ended connections leave, and their handlers are told why.
    Reap,
}

impl Verb {
    /// The word itself: `wait`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Accept => "accept",
            Self::Receive => "receive",
            Self::Deliver => "deliver",
            Self::Expire => "expire",
            Self::Flush => "flush",
            Self::Reap => "reap",
        }
    }
}

/// The callbacks of a [`Handler`](crate::Handler).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of `Handler` that has its name")]
pub enum Callback {
    Open,
    Data,
    Eof,
    Drained,
    Deadline,
    Close,
    ConnectFailed,
    Message,
    InboxDrained,
    Datagram,
    Timer,
    TurnEnd,
    Shutdown,
}

impl Callback {
    /// Its name in the trait: `on_data`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "on_open",
            Self::Data => "on_data",
            Self::Eof => "on_eof",
            Self::Drained => "on_drained",
            Self::Deadline => "on_deadline",
            Self::Close => "on_close",
            Self::ConnectFailed => "on_connect_failed",
            Self::Message => "on_message",
            Self::InboxDrained => "on_inbox_drained",
            Self::Datagram => "on_datagram",
            Self::Timer => "on_timer",
            Self::TurnEnd => "on_turn_end",
            Self::Shutdown => "on_shutdown",
        }
    }
}

/// What a record is about. It prints as `connection 4.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A connection.
    Connection(ConnId),
    /// A listener.
    Listener(ListenerId),
    /// A datagram socket.
    Socket(SocketId),
    /// A timer of a service.
    Timer(TimerId),
    /// A service, by its number on the loop: they count from 0, in the order in which they were added.
    Service(u16),
    /// Nothing that this loop has named.
    Nobody,
}

impl Source {
    pub(crate) fn of(token: Token, loop_number: u16) -> Self {
        let id = token.id(loop_number);
        match token.kind() {
            Some(Kind::Connection) => Self::Connection(ConnId(id)),
            Some(Kind::Listener) => Self::Listener(ListenerId(id)),
            Some(Kind::Socket) => Self::Socket(SocketId(id)),
            Some(Kind::Timer) => Self::Timer(TimerId(id)),
            None => Self::Nobody,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(id) => write!(f, "connection {id}"),
            Self::Listener(id) => write!(f, "listener {id}"),
            Self::Socket(id) => write!(f, "socket {id}"),
            Self::Timer(id) => write!(f, "timer {id}"),
            Self::Service(index) => write!(f, "service {index}"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// What a system call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields of a failure are told with it")]
pub enum Outcome {
    /// It was done: so many bytes, addresses or sockets, or 0 where there is nothing to count.
    Done(u32),
    /// It failed, which `WouldBlock` is too. The code is the system's, or 0 if the error is none of its
    /// own: it tells apart what is of no [`io::ErrorKind`], as a lack of descriptors.
    Failed { kind: io::ErrorKind, code: i32 },
}

impl Outcome {
    pub(crate) fn of(count: usize) -> Self {
        Self::Done(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Of a call that counts nothing.
    pub(crate) fn done<T>(result: &io::Result<T>) -> Self {
        Self::counted(result, |_| 0)
    }

    pub(crate) fn counted<T>(result: &io::Result<T>, count: impl FnOnce(&T) -> usize) -> Self {
        match result {
            Ok(value) => Self::of(count(value)),
            Err(error) => Self::failed(error),
        }
    }

    pub(crate) fn failed(error: &io::Error) -> Self {
        Self::Failed { kind: error.kind(), code: error.raw_os_error().unwrap_or(0) }
    }
}

/// One step of the loop.
///
/// `took` is in nanoseconds, and stops at 4.3 seconds. A system call is recorded when it has returned,
/// under the time at which it was begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[rustfmt::skip]
#[expect(missing_docs, reason = "the fields of a step are told with it")]
pub enum Event {
    /// A turn begins; they count from 1.
    TurnBegan { turn: u64 },
    /// It ends. So many connections were ready when it came to `receive`, and so many bytes are queued
    /// for all connections now.
    TurnEnded { ready: u32, queued: u64 },
    /// The turn took longer than [`Config::stall`](crate::Config::stall), in nanoseconds without the wait.
    Stalled { took: u64 },
    /// A phase of the turn begins. Only those in which something happens are recorded, and `wait`.
    VerbBegan(Verb),
    /// It is over.
    VerbEnded(Verb),
    /// A callback begins. That of [`on_message`](crate::Handler::on_message) stands for a batch.
    CallbackBegan { callback: Callback, about: Source },
    /// It has returned, or panicked.
    CallbackEnded { callback: Callback, about: Source, took: u32, panicked: bool },

    /// The driver told of readiness. What is not `known` is gone already, or never was.
    Ready { source: Source, readiness: Readiness, known: bool },
    /// Another thread has something to say.
    Woken,
    /// A signal has arrived.
    Signalled(Signal),

    /// A listener is opened.
    Listen { listener: ListenerId, outcome: Outcome, took: u32 },
    /// A listener is closed.
    CloseListener { listener: ListenerId },
    /// A datagram socket is opened.
    Bind { socket: SocketId, outcome: Outcome, took: u32 },
    /// A datagram socket is closed.
    CloseSocket { socket: SocketId },
    /// accept(2).
    Accept { listener: ListenerId, outcome: Outcome, took: u32 },
    /// The driver begins to watch an accepted connection.
    Register { connection: ConnId, outcome: Outcome, took: u32 },
    /// The name is given to the resolver.
    LookUp { connection: ConnId, outcome: Outcome, took: u32 },
    /// The resolver has answered, with so many addresses.
    LookedUp { connection: ConnId, outcome: Outcome },
    /// connect(2), to the next of the addresses.
    Connect { connection: ConnId, outcome: Outcome, took: u32 },
    /// Does it stand? 1 if it does, 0 if it does not yet.
    CheckConnect { connection: ConnId, outcome: Outcome, took: u32 },
    /// read(2); 0 bytes are the peer's FIN.
    Read { connection: ConnId, outcome: Outcome, took: u32 },
    /// write(2).
    Write { connection: ConnId, outcome: Outcome, took: u32 },
    /// Our FIN: shutdown(2).
    Finish { connection: ConnId, outcome: Outcome, took: u32 },
    /// The socket is asked for its error, which is the outcome.
    TakeError { connection: ConnId, outcome: Outcome, took: u32 },
    /// close(2), with RST or without.
    Close { connection: ConnId, reset: bool, took: u32 },
    /// recvfrom(2).
    Receive { socket: SocketId, outcome: Outcome, took: u32 },
    /// sendto(2).
    Send { socket: SocketId, outcome: Outcome, took: u32 },

    /// A client has become a connection.
    Accepted { connection: ConnId, listener: ListenerId },
    /// A client was closed at once, because of a limit on its address.
    Refused { listener: ListenerId },
    /// Accepting pauses: there is no room for one more.
    AcceptPaused { listener: ListenerId },
    /// It has accepted somebody again.
    AcceptResumed { listener: ListenerId },
    /// A handler wished for a connection.
    Connecting { connection: ConnId },
    /// It stands.
    Connected { connection: ConnId },
    /// Its stream stands, and the two sides begin to agree on TLS.
    Handshaking { connection: ConnId },
    /// They have agreed, by resuming an earlier session or anew.
    ShookHands { connection: ConnId, is_resumed: bool },
    /// The time for one of its addresses, or for its name, has passed.
    ConnectTimedOut { connection: ConnId },
    /// It will never stand.
    ConnectFailed { connection: ConnId, error: Box<ConnectError> },
    /// No more is taken for it: our FIN is to follow what is queued.
    Finishing { connection: ConnId },
    /// It closes: what is queued is to leave, and then our FIN.
    Closing { connection: ConnId, reason: CloseReason },
    /// Our FIN is sent; the peer's is waited for.
    Lingering { connection: ConnId },
    /// It has ended, for good and for this reason.
    Ended { connection: ConnId, reason: CloseReason },

    /// So many bytes are sent to it: they are at the end of its queue, which holds so many now.
    Queued { connection: ConnId, bytes: u32, queued: u64 },
    /// A datagram of so many bytes is sent: it is at the end of the socket's queue.
    DatagramQueued { socket: SocketId, bytes: u32 },
    /// A budget of the turn is spent: there may be more, and others have their turn first.
    BudgetSpent { source: Source },
    /// The queue has reached its high mark, with so many bytes.
    Full { connection: ConnId, queued: u64 },
    /// It has fallen to its low mark.
    Drained { connection: ConnId },
    /// The handler wants no input for now.
    Paused { connection: ConnId },
    /// It wants input again.
    Resumed { connection: ConnId },
    /// So many messages were taken out of the inbox of a service.
    Messages { service: u16, count: u32 },
    /// A datagram was not taken, because the queue was full, or is dropped, because it cannot be sent.
    DatagramDropped { socket: SocketId },

    /// A timer is set, for a time of the loop in nanoseconds.
    TimerSet { timer: TimerId, due: u64 },
    /// A timer is removed before its time.
    TimerCancelled { timer: TimerId },
    /// A deadline of a connection is set, for a time of the loop in nanoseconds; the greatest is never.
    DeadlineSet { connection: ConnId, due: u64 },
    /// A deadline has passed.
    DeadlinePassed { connection: ConnId, deadline: Deadline },

    /// The loop is asked to stop, and may drain for so many nanoseconds; the greatest is for ever.
    Stopping { grace: u64 },
    /// The handlers have said their last; the connections close.
    Draining,
    /// Patience is over: what is left is cut off.
    Forced,
    /// The loop has stopped.
    Stopped,
}

impl Event {
    /// Counts its times from so much earlier.
    pub(super) fn count_from(&mut self, earlier: Nanos) {
        match self {
            Self::TimerSet { due, .. } | Self::DeadlineSet { due, .. } => {
                *due = due.saturating_add(earlier); // never stays never
            }
            _ => {}
        }
    }
}
