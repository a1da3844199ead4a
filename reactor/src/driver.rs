//! All that the loop asks of the world: readiness, sockets, time, names and signals.
//!
//! [`MioDriver`](mio::MioDriver) asks the system. A driver of your own can be anything that keeps the
//! rules written here: a simulated network, a recorder, a test. The loop is generic over it, so the
//! real one costs nothing for it.

pub(crate) mod mio;
mod resolver;
mod signals;
#[cfg(feature = "sim")]
pub(crate) mod sim;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::id::Token;
use crate::readiness::{Readiness, Signal};
use crate::reason::ListenError;
use crate::socket::address::Address;
use crate::socket::connect::Connect;
use crate::socket::listen::{Bind, Listen};
use crate::trace::stopwatch::Stopwatch;

/// What the loop asks of the world.
///
/// # Rules that the loop relies on
/// - **Edges**: a source is registered once, for both directions. The first event tells what is ready
///   already; afterwards an event is due when something *new* is ready: bytes after a read said
///   `WouldBlock` (or returned less than it was given room for), room after a write said `WouldBlock`, a
///   connection after accept did, the end, an error. Several may come as one; spurious ones are allowed.
/// - **Nothing blocks**, but [`wait`](Self::wait).
/// - **A driver never advances time** but in [`wait`](Self::wait): within a turn, [`now`](Self::now) moves
///   no more than the turn takes.
/// - Tokens mean nothing to a driver. It hands them back.
pub trait Driver: 'static {
    /// A byte stream: an accepted or an outgoing connection.
    type Stream: Stream;
    /// Where streams are accepted.
    type Listener;
    /// A datagram socket.
    type Socket: DatagramSocket;

    /// The present instant; it does not go back.
    fn now(&self) -> Instant;

    /// What measures time within a turn, for the [recorder](crate::Recorder) and for whoever wants to know
    /// how long callbacks take. It is asked for once, when the loop is made. The default is the system's
    /// clock: a driver whose time is another gives one that [stands still](Stopwatch::still).
    fn stopwatch(&self) -> Stopwatch {
        Stopwatch::system()
    }

    /// Wakes [`wait`](Self::wait), from any thread.
    fn waker(&self) -> Waker;

    /// Waits until there is an event, a look-up has ended, a signal has arrived or the waker was used,
    /// but no longer than `timeout` (`None`: for ever), and passes on the events. Whether any of these
    /// came.
    ///
    /// # Errors
    /// Only what ends the loop: an interrupted wait is none.
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool>;

    /// Opens a listener and watches it. With its address, which has the port that it really has.
    ///
    /// # Errors
    /// The address and what the system said.
    fn listen(
        &mut self,
        listen: Listen,
        token: Token,
    ) -> Result<(Self::Listener, Address), ListenError>;

    /// Closes a listener, and watches it no longer: also if others share its socket.
    fn close_listener(&mut self, listener: Self::Listener);

    /// Accepts one connection, which is not watched yet: its token depends on whether it may stay.
    ///
    /// # Errors
    /// `WouldBlock` when nobody waits; what else accept(2) says.
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, Address)>;

    /// Watches a stream that was accepted.
    ///
    /// # Errors
    /// The system has no room for one more.
    fn register(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;

    /// Begins to connect, and watches the stream: it is writable when it stands or has failed, and
    /// [`Stream::connected`] tells which.
    ///
    /// # Errors
    /// It cannot even begin.
    fn connect(
        &mut self,
        to: &Address,
        options: &Connect,
        token: Token,
    ) -> io::Result<Self::Stream>;

    /// Opens a datagram socket and watches it.
    ///
    /// # Errors
    /// The address and what the system said.
    fn bind(&mut self, bind: Bind, token: Token) -> Result<(Self::Socket, Address), ListenError>;

    /// Closes a datagram socket, and watches it no longer.
    fn close_socket(&mut self, socket: Self::Socket);

    /// Begins to look up a name. The answer comes from [`resolved`](Self::resolved), with `token`.
    ///
    /// # Errors
    /// Too many are under way.
    fn resolve(&mut self, host: &str, port: u16, token: Token) -> io::Result<()>;

    /// The next look-up that has ended.
    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)>;

    /// From now on these signals are told by [`signal`](Self::signal), instead of what they do.
    ///
    /// # Errors
    /// What sigaction(2) says.
    fn watch_signals(&mut self, signals: &[Signal]) -> io::Result<()>;

    /// The next signal that has arrived.
    fn signal(&mut self) -> Option<Signal>;
}

/// A byte stream that never blocks.
pub trait Stream {
    /// Reads into `room`; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock`, `Interrupted`, or what ends the connection.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize>;

    /// Writes from `slices`, in order; as much as fits.
    ///
    /// # Errors
    /// `WouldBlock`, `Interrupted`, or what ends the connection.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Finishes sending: FIN.
    ///
    /// # Errors
    /// The connection is gone.
    fn finish(&mut self) -> io::Result<()>;

    /// Whether an outgoing stream stands: `Ok(false)` while it does not.
    ///
    /// # Errors
    /// Why it never will. A stream that is connected to itself was refused.
    fn connected(&mut self) -> io::Result<bool>;

    /// Whether a read that yields less than it was given room for has emptied the stream, if the end and
    /// urgent data are not near. It is so for TCP (epoll(7)), and not for Unix sockets on which
    /// descriptors are passed. The default is the careful one.
    fn short_read_empties(&self) -> bool {
        false
    }

    /// The error that an event told of, if there is one.
    fn take_error(&mut self) -> Option<io::Error>;

    /// Ends it at once, with RST where there is such a thing.
    fn reset(self);
}

/// A datagram socket that never blocks.
pub trait DatagramSocket {
    /// Receives one datagram into `room`; what does not fit is lost.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; what else recvfrom(2) says.
    fn receive(&mut self, room: &mut [u8]) -> io::Result<(usize, Address)>;

    /// Sends one datagram, whole or not at all.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; what else sendto(2) says.
    fn send(&mut self, datagram: &[u8], to: &Address) -> io::Result<()>;
}
