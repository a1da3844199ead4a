//! The world as it is: sockets of the system, watched by a [`Selector`].

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::resolver::Resolver;
use super::signals::SignalSource;
use super::{DatagramSocket, Driver, Signal, Stream};
use crate::id::Token;
use crate::readiness::Readiness;
use crate::reason::ListenError;
use crate::selector::{Interest, Selector};
use crate::socket::address::Address;
use crate::socket::connect::Connect;
use crate::socket::listen::{Bind, Listen, OpenSocket};
use crate::socket::unix::SocketFile;

/// Keys of the driver's own sources; tokens are below 2^56.
const WAKER: usize = usize::MAX;
const SIGNALS: usize = usize::MAX - 1;

/// The driver that a [`Reactor`](crate::Reactor) has unless it is given another: the system's sockets,
/// its clock, its resolver (in a thread that the first look-up begins) and its signals.
pub struct MioDriver {
    selector: Selector,
    waker: Waker,
    resolver: Resolver,
    signals: SignalSource,
}

impl MioDriver {
    /// A driver of its own poll.
    ///
    /// # Errors
    /// No descriptors are left for it.
    pub fn new() -> io::Result<Self> {
        let selector = Selector::new()?;
        let waker = selector.waker(WAKER)?;
        let resolver = Resolver::new(waker.clone());
        Ok(Self { selector, waker, resolver, signals: SignalSource::default() })
    }

    fn watch(&self, source: &impl AsFd, token: Token) -> io::Result<()> {
        self.selector.register(source, key(token), Interest::ReadWrite)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "lib.rs lets nobody build this for 32 bits")]
fn key(token: Token) -> usize {
    token.number() as usize
}

impl Driver for MioDriver {
    type Stream = MioStream;
    type Listener = MioListener;
    type Socket = MioSocket;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        let mut came = false;
        for (key, readiness) in self.selector.select(timeout)? {
            came = true;
            match key {
                WAKER => {} // it has done its work
                SIGNALS => self.signals.arrived(),
                key => on_event(Token::from_number(key as u64), readiness),
            }
        }
        Ok(came)
    }

    fn listen(
        &mut self,
        listen: Listen,
        token: Token,
    ) -> Result<(MioListener, Address), ListenError> {
        let open = listen.open()?;
        let address = open.address.clone();
        let named = |error| ListenError { address: address.to_string(), error };
        let listener = MioListener::new(open).map_err(named)?;
        self.selector.register(&listener.kind, key(token), Interest::Read).map_err(named)?;
        Ok((listener, address))
    }

    fn close_listener(&mut self, listener: MioListener) {
        if let Err(error) = self.selector.unregister(&listener.kind) {
            log::debug!("cannot unregister a listener: {error}");
        }
    }

    fn accept(&mut self, listener: &mut MioListener) -> io::Result<(MioStream, Address)> {
        Ok(match &listener.kind {
            ListenerKind::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                (MioStream(StreamKind::Tcp(stream)), Address::Ip(peer))
            }
            ListenerKind::Unix(listener) => {
                let (stream, peer) = listener.accept()?;
                (MioStream(StreamKind::Unix(stream)), Address::from_unix(&peer))
            }
        })
    }

    fn register(&mut self, stream: &mut MioStream, token: Token) -> io::Result<()> {
        self.watch(stream, token)
    }

    fn connect(&mut self, to: &Address, options: &Connect, token: Token) -> io::Result<MioStream> {
        let (domain, address) = match to {
            Address::Ip(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Address::Unix(Some(path)) => (Domain::UNIX, SockAddr::unix(path)?),
            Address::Unix(None) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match to {
            Address::Ip(_) => options.options.apply_tcp(SockRef::from(&socket))?,
            Address::Unix(_) => options.options.apply_buffers(SockRef::from(&socket))?,
        }
        match socket.connect(&address) {
            Err(error) if !is_under_way(&error) => return Err(error),
            _ => {}
        }
        let socket = OwnedFd::from(socket);
        let stream = match to {
            Address::Ip(_) => StreamKind::Tcp(TcpStream::from_std(socket.into())),
            Address::Unix(_) => StreamKind::Unix(UnixStream::from_std(socket.into())),
        };
        let stream = MioStream(stream);
        self.watch(&stream, token)?;
        Ok(stream)
    }

    fn bind(&mut self, bind: Bind, token: Token) -> Result<(MioSocket, Address), ListenError> {
        let open = bind.open()?;
        let address = open.address.clone();
        let named = |error| ListenError { address: address.to_string(), error };
        let socket = MioSocket::new(open).map_err(named)?;
        self.watch(&socket, token).map_err(named)?;
        Ok((socket, address))
    }

    fn close_socket(&mut self, socket: MioSocket) {
        if let Err(error) = self.selector.unregister(&socket) {
            log::debug!("cannot unregister a datagram socket: {error}");
        }
    }

    fn resolve(&mut self, host: &str, port: u16, token: Token) -> io::Result<()> {
        self.resolver.ask(host, port, token)
    }

    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)> {
        self.resolver.answer()
    }

    fn watch_signals(&mut self, signals: &[Signal]) -> io::Result<()> {
        self.signals.watch(self.selector.registry(), SIGNALS, signals)
    }

    fn signal(&mut self) -> Option<Signal> {
        self.signals.next()
    }
}

/// The usual answers of a connect that does not block: it goes on.
fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

impl AsFd for MioDriver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.selector.as_fd()
    }
}

/// A listener of the system. Opaque: it is here for the sake of [`Driver`].
pub struct MioListener {
    kind: ListenerKind,
    /// Goes with the last listener that shares it.
    _file: Option<Arc<SocketFile>>,
}

enum ListenerKind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl MioListener {
    fn new(open: Arc<OpenSocket>) -> io::Result<Self> {
        let OpenSocket { socket, address, file } = OpenSocket::into_own(open)?;
        let socket = OwnedFd::from(socket);
        let kind = match address {
            Address::Ip(_) => ListenerKind::Tcp(TcpListener::from_std(socket.into())),
            Address::Unix(_) => ListenerKind::Unix(UnixListener::from_std(socket.into())),
        };
        Ok(Self { kind, _file: file })
    }
}

impl AsFd for ListenerKind {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A stream of the system. Opaque: it is here for the sake of [`Driver`].
pub struct MioStream(StreamKind);

enum StreamKind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<std::net::TcpStream> for MioStream {
    /// A connected stream, which must be non-blocking.
    fn from(stream: std::net::TcpStream) -> Self {
        Self(StreamKind::Tcp(TcpStream::from_std(stream)))
    }
}

impl Stream for MioStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            StreamKind::Tcp(stream) => stream.read(room),
            StreamKind::Unix(stream) => stream.read(room),
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (&mut self.0, slices) {
            // send(2) is a little cheaper than writev(2), and one chunk is the rule.
            (StreamKind::Tcp(stream), [slice]) => stream.write(slice),
            (StreamKind::Unix(stream), [slice]) => stream.write(slice),
            (StreamKind::Tcp(stream), slices) => stream.write_vectored(slices),
            (StreamKind::Unix(stream), slices) => stream.write_vectored(slices),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            StreamKind::Tcp(stream) => stream.shutdown(Shutdown::Write),
            StreamKind::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        let stands = match &mut self.0 {
            StreamKind::Tcp(stream) => {
                let peer = stream.peer_addr();
                // A port of our own that was free is where the attempt itself may have come from.
                if let (Ok(peer), Ok(local)) = (&peer, stream.local_addr())
                    && *peer == local
                {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                peer.map(drop)
            }
            StreamKind::Unix(stream) => stream.peer_addr().map(drop),
        };
        match stands {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            stands => stands.map(|()| true),
        }
    }

    fn short_read_empties(&self) -> bool {
        matches!(self.0, StreamKind::Tcp(_))
    }

    fn take_error(&mut self) -> Option<io::Error> {
        match &mut self.0 {
            StreamKind::Tcp(stream) => stream.take_error(),
            StreamKind::Unix(stream) => stream.take_error(),
        }
        .unwrap_or_else(Some)
    }

    fn reset(self) {
        // Without it, the close that follows would be a FIN: nothing to be done about that.
        if let Err(error) = SockRef::from(&self).set_linger(Some(Duration::ZERO)) {
            log::debug!("cannot reset a connection: {error}");
        }
    }
}

impl AsFd for MioStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            StreamKind::Tcp(stream) => stream.as_fd(),
            StreamKind::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A datagram socket of the system. Opaque: it is here for the sake of [`Driver`].
pub struct MioSocket {
    kind: SocketKind,
    _file: Option<Arc<SocketFile>>,
}

enum SocketKind {
    Udp(mio::net::UdpSocket),
    Unix(mio::net::UnixDatagram),
}

impl MioSocket {
    fn new(open: Arc<OpenSocket>) -> io::Result<Self> {
        let OpenSocket { socket, address, file } = OpenSocket::into_own(open)?;
        let socket = OwnedFd::from(socket);
        let kind = match address {
            Address::Ip(_) => SocketKind::Udp(mio::net::UdpSocket::from_std(socket.into())),
            Address::Unix(_) => SocketKind::Unix(mio::net::UnixDatagram::from_std(socket.into())),
        };
        Ok(Self { kind, _file: file })
    }
}

impl DatagramSocket for MioSocket {
    fn receive(&mut self, room: &mut [u8]) -> io::Result<(usize, Address)> {
        Ok(match &self.kind {
            SocketKind::Udp(socket) => {
                let (count, from) = socket.recv_from(room)?;
                (count, Address::Ip(from))
            }
            SocketKind::Unix(socket) => {
                let (count, from) = socket.recv_from(room)?;
                (count, Address::from_unix(&from))
            }
        })
    }

    fn send(&mut self, datagram: &[u8], to: &Address) -> io::Result<()> {
        match (&self.kind, to) {
            (SocketKind::Udp(socket), Address::Ip(to)) => socket.send_to(datagram, *to),
            (SocketKind::Unix(socket), Address::Unix(Some(to))) => socket.send_to(datagram, to),
            _ => Err(io::ErrorKind::InvalidInput.into()), // to somebody who has no address of this kind
        }
        .map(drop)
    }
}

impl AsFd for MioSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            SocketKind::Udp(socket) => socket.as_fd(),
            SocketKind::Unix(socket) => socket.as_fd(),
        }
    }
}
