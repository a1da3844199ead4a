//! Who is not a loop: clients, servers elsewhere, threads that have something to say.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use super::LoopNumber;
use crate::driver::sim::network::{Network, Owner};
use crate::driver::sim::random::Random;
use crate::id::Id;
use crate::readiness::Signal;
use crate::socket::address::Address;

/// A scripted peer: a program of its own in the simulated network, which acts when it has news.
///
/// It has plain, non-blocking sockets, which meet no faults but those of the network itself.
///
/// ```
/// use reactor::sim::{Peer, PeerContext, PeerStream};
///
/// /// Connects, says one word, and hangs up.
/// #[derive(Default)]
/// struct Caller(Option<PeerStream>);
///
/// impl Peer for Caller {
///     fn act(&mut self, cx: &mut PeerContext<'_>) {
///         let stream = *self.0.get_or_insert_with(|| cx.connect("10.1.0.1:80"));
///         if cx.write(stream, b"hello").is_ok() {
///             cx.close(stream);
///         }
///     }
///
///     fn is_done(&self) -> bool {
///         self.0.is_some()
///     }
/// }
/// ```
pub trait Peer {
    /// Something has happened to one of its sockets, or the time that it asked for has come; first of all,
    /// it has just begun. It may be called for no reason.
    fn act(&mut self, cx: &mut PeerContext<'_>);

    /// Whether it has done all that it wanted. Once nothing goes wrong any more, every peer must come to
    /// that.
    fn is_done(&self) -> bool;

    /// What it has to complain of.
    ///
    /// # Errors
    /// A sentence: what it was owed and did not get.
    fn verdict(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A stream of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStream(pub(crate) Id);

/// A datagram socket of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSocket(pub(crate) Id);

/// What a [`Peer`] can do.
pub struct PeerContext<'a> {
    pub(crate) network: &'a mut Network,
    pub(crate) peer: Id,
    /// Connections to its listeners that it has not asked for yet.
    pub(crate) accepted: &'a mut VecDeque<Id>,
    pub(crate) calm: bool,
}

impl PeerContext<'_> {
    /// The time since the world began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.network.now)
    }

    /// Whether nothing goes wrong any more: time to come to an end.
    pub fn is_calm(&self) -> bool {
        self.calm
    }

    /// The world's chance.
    pub fn random(&mut self) -> &mut Random {
        &mut self.network.random
    }

    /// Acts again after this time, at the latest.
    pub fn wake_after(&mut self, time: Duration) {
        self.network.wake_peer(self.peer, time);
    }

    /// Begins to connect. It stands when a write does not say `WouldBlock`; how it fails, a read tells.
    pub fn connect(&mut self, to: impl Into<PeerAddress>) -> PeerStream {
        let to = to.into().0;
        let local = self.network.peer_address(self.peer, &to);
        let owner = Owner::Peer(self.peer);
        PeerStream(self.network.connect_peer(owner, local, &to))
    }

    /// Listens; who connects is [accepted](Self::accepted) at once.
    pub fn listen(&mut self, at: impl Into<PeerAddress>) {
        self.network.listen_peer(Owner::Peer(self.peer), &at.into().0);
    }

    /// The next one who has connected to it.
    pub fn accepted(&mut self) -> Option<PeerStream> {
        self.accepted.pop_front().map(PeerStream)
    }

    /// Reads into `room`; 0 is the end.
    ///
    /// # Errors
    /// As [`Stream::read`](crate::Stream::read).
    pub fn read(&mut self, stream: PeerStream, room: &mut [u8]) -> io::Result<usize> {
        self.network.read(stream.0, room)
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// As [`Stream::write`](crate::Stream::write).
    pub fn write(&mut self, stream: PeerStream, bytes: &[u8]) -> io::Result<usize> {
        self.network.write(stream.0, &[IoSlice::new(bytes)])
    }

    /// FIN, after what was written.
    ///
    /// # Errors
    /// It does not stand, or not any more.
    pub fn finish(&mut self, stream: PeerStream) -> io::Result<()> {
        self.network.finish(stream.0)
    }

    /// Closes it: FIN after what was written, or RST if something has arrived and was not read.
    pub fn close(&mut self, stream: PeerStream) {
        self.network.close(stream.0);
    }

    /// RST.
    pub fn reset(&mut self, stream: PeerStream) {
        self.network.reset(stream.0);
    }

    /// Whether a fault has cut it, so that nobody is to blame for what it lost.
    pub fn is_harmed(&self, stream: PeerStream) -> bool {
        self.network.is_harmed(stream.0)
    }

    /// Opens a datagram socket; `None` if the address is taken.
    pub fn bind(&mut self, at: impl Into<PeerAddress>) -> Option<PeerSocket> {
        let buffers = self.network.usual_buffers();
        self.network.bind(Owner::Peer(self.peer), &at.into().0, buffers).ok().map(PeerSocket)
    }

    /// Receives a datagram into `room`.
    ///
    /// # Errors
    /// As [`DatagramSocket::receive`](crate::DatagramSocket::receive).
    pub fn receive(&mut self, socket: PeerSocket, room: &mut [u8]) -> io::Result<(usize, Address)> {
        self.network.receive(socket.0, room)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// As [`DatagramSocket::send`](crate::DatagramSocket::send).
    pub fn send(
        &mut self,
        socket: PeerSocket,
        datagram: &[u8],
        to: impl Into<PeerAddress>,
    ) -> io::Result<()> {
        self.network.send(socket.0, datagram, &to.into().0)
    }

    /// A signal arrives at a loop, as if this peer were who runs it.
    pub fn signal(&mut self, number: LoopNumber, signal: Signal) {
        self.network.raise(number.0, signal);
    }

    /// Closes a datagram socket.
    pub fn unbind(&mut self, socket: PeerSocket) {
        self.network.unbind(socket.0);
    }
}

/// Where a peer connects to: an [`Address`], or one as it is written (`10.1.0.1:80`, `unix:/x`).
///
/// Text that is no address is the Unix socket of nobody.
#[derive(Clone, Debug)]
pub struct PeerAddress(Address);

impl From<Address> for PeerAddress {
    fn from(address: Address) -> Self {
        Self(address)
    }
}

impl From<&Address> for PeerAddress {
    fn from(address: &Address) -> Self {
        Self(address.clone())
    }
}

impl From<std::net::SocketAddr> for PeerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.into())
    }
}

impl From<&str> for PeerAddress {
    fn from(text: &str) -> Self {
        Self(match (text.parse(), text.strip_prefix("unix:")) {
            (Ok(address), _) => Address::Ip(address),
            (_, Some(path)) => Address::Unix(Some(std::path::Path::new(path).into())),
            _ => Address::Unix(None),
        })
    }
}
