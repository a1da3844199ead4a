//! A world that is none: a network in memory, with a clock that jumps, and chance from a seed.
//!
//! No thread, no real clock, no real socket. The loop cannot tell the difference, and the same seed gives
//! the same run.

pub(crate) mod by_hand;
pub(crate) mod datagram;
pub(crate) mod edges;
pub(crate) mod faults;
pub(crate) mod listen;
pub(crate) mod network;
pub(crate) mod random;
pub(crate) mod stream;
pub(crate) mod tcp;
pub(crate) mod unix;

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use self::network::{Happening, Owner, Shared};
use super::{DatagramSocket, Driver, Signal, Stream};
use crate::id::{Id, Token};
use crate::readiness::Readiness;
use crate::reason::ListenError;
use crate::socket::address::{Address, Target};
use crate::socket::connect::Connect;
use crate::socket::listen::{Bind, Listen};
use crate::trace::stopwatch::Stopwatch;

/// The driver of a loop in a simulated network: [`World`](crate::sim::World) makes them.
///
/// It keeps all rules of [`Driver`], and behaves as Linux does wherever handlers or the loop could see a
/// difference; a table of scenarios holds it against the kernel.
///
/// # Not guaranteed
/// Time passes only when the world lets it: a wait returns at once.
pub struct SimDriver {
    network: Shared,
    number: usize,
    waker: Arc<Bell>,
    edges: Vec<(Token, Readiness)>,
}

/// The waker of a simulated loop.
struct Bell(Arc<AtomicBool>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl SimDriver {
    pub(crate) fn new(network: &Shared) -> Self {
        let rung = Arc::new(AtomicBool::new(false));
        let number = network.borrow_mut().add_loop(Arc::clone(&rung));
        let waker = Arc::new(Bell(rung));
        Self { network: Rc::clone(network), number, waker, edges: Vec::new() }
    }

    fn owner(&self, token: Token) -> Owner {
        Owner::Loop { number: self.number, token: Some(token) }
    }

    /// Its own address: each loop is a host of its own, as far as outgoing connections go.
    fn local(&self) -> Address {
        let number = u16::try_from(self.number).unwrap_or(u16::MAX).to_be_bytes();
        let [high, low] = number;
        let port = self.network.borrow_mut().free_port();
        Address::Ip(SocketAddr::from((Ipv4Addr::new(10, 0, high, low), port)))
    }

    /// Where to listen or bind: names are looked up here and now.
    fn place(&self, target: &Target) -> io::Result<Address> {
        let address = match target {
            Target::Ip(address) => Address::Ip(*address),
            Target::Unix(path) => Address::Unix(Some(path.as_path().into())),
            Target::Name(name) => {
                let (host, port) = Target::host_and_port(name)?;
                let found = self.network.borrow().look_up(host, port)?;
                Address::Ip(found.first().copied().ok_or(io::ErrorKind::NotFound)?)
            }
        };
        Ok(self.network.borrow_mut().settle_port(address))
    }
}

impl Driver for SimDriver {
    type Stream = SimStream;
    type Listener = SimListener;
    type Socket = SimSocket;

    fn now(&self) -> Instant {
        self.network.borrow().instant()
    }

    fn stopwatch(&self) -> Stopwatch {
        Stopwatch::still()
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.waker).into()
    }

    fn wait(
        &mut self,
        _: Option<Duration>,
        mut on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        let rung = self.waker.0.swap(false, Ordering::AcqRel);
        let mut network = self.network.borrow_mut();
        let came = rung || network.has_news(self.number);
        network.take_edges(self.number, &mut self.edges);
        drop(network);
        self.edges.drain(..).for_each(|(token, readiness)| on_event(token, readiness));
        Ok(came)
    }

    fn listen(
        &mut self,
        listen: Listen,
        token: Token,
    ) -> Result<(SimListener, Address), ListenError> {
        let named = |error| ListenError { address: listen.target().to_string(), error };
        let address = self.place(listen.target()).map_err(named)?;
        let backlog = listen.backlog_size();
        let mut network = self.network.borrow_mut();
        let buffers = network.buffers(listen.options());
        let id = network.listen(self.owner(token), &address, backlog, buffers).map_err(named)?;
        drop(network);
        Ok((SimListener { network: Rc::clone(&self.network), id }, address))
    }

    fn close_listener(&mut self, listener: SimListener) {
        drop(listener);
    }

    fn accept(&mut self, listener: &mut SimListener) -> io::Result<(SimStream, Address)> {
        let (id, peer) = self.network.borrow_mut().accept(listener.id)?;
        Ok((SimStream::new(&self.network, id, &peer), peer))
    }

    fn register(&mut self, stream: &mut SimStream, token: Token) -> io::Result<()> {
        self.network.borrow_mut().register(stream.id, token)
    }

    fn connect(&mut self, to: &Address, with: &Connect, token: Token) -> io::Result<SimStream> {
        let local = match to {
            Address::Ip(_) => self.local(),
            Address::Unix(_) => Address::Unix(None),
        };
        let mut network = self.network.borrow_mut();
        let buffers = network.buffers(&with.options);
        let id = network.connect(self.owner(token), local, to, buffers)?;
        drop(network);
        Ok(SimStream::new(&self.network, id, to))
    }

    fn bind(&mut self, bind: Bind, token: Token) -> Result<(SimSocket, Address), ListenError> {
        let named = |error| ListenError { address: bind.target().to_string(), error };
        let address = self.place(bind.target()).map_err(named)?;
        let mut network = self.network.borrow_mut();
        let buffers = network.buffers(bind.options());
        let id = network.bind(self.owner(token), &address, buffers).map_err(named)?;
        drop(network);
        Ok((SimSocket { network: Rc::clone(&self.network), id }, address))
    }

    fn close_socket(&mut self, socket: SimSocket) {
        drop(socket);
    }

    fn resolve(&mut self, host: &str, port: u16, token: Token) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        let (mut delay, found) = (network.latency(), network.look_up(host, port));
        let (failed, slow) = (network.faults.name_failed, network.faults.name_slow);
        if network.random.chance(slow) {
            delay += network.random.time(&(Duration::ZERO..Duration::from_secs(10)));
        }
        let found = match network.random.chance(failed) {
            true => Err(io::ErrorKind::NotFound.into()),
            false => found,
        };
        let number = self.number;
        network.schedule(delay, Happening::Resolved { number, token, found });
        Ok(())
    }

    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)> {
        self.network.borrow_mut().loops.get_mut(self.number)?.resolved.pop_front()
    }

    fn watch_signals(&mut self, _: &[Signal]) -> io::Result<()> {
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        self.network.borrow_mut().loops.get_mut(self.number)?.signals.pop_front()
    }
}

/// A stream of a simulated network. Opaque: it is here for the sake of [`Driver`].
pub struct SimStream {
    network: Shared,
    id: Id,
    is_tcp: bool,
}

impl SimStream {
    fn new(network: &Shared, id: Id, peer: &Address) -> Self {
        Self { network: Rc::clone(network), id, is_tcp: peer.ip().is_some() }
    }
}

impl Stream for SimStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.network.borrow_mut().read(self.id, room)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.network.borrow_mut().write(self.id, slices)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.network.borrow_mut().finish(self.id)
    }

    fn connected(&mut self) -> io::Result<bool> {
        self.network.borrow_mut().connected(self.id)
    }

    fn short_read_empties(&self) -> bool {
        self.is_tcp
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.network.borrow_mut().take_error(self.id)
    }

    fn reset(self) {
        self.network.borrow_mut().reset(self.id);
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.network.borrow_mut().close(self.id);
    }
}

/// A listener of a simulated network. Opaque: it is here for the sake of [`Driver`].
pub struct SimListener {
    network: Shared,
    id: Id,
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.network.borrow_mut().close_listener(self.id);
    }
}

/// A datagram socket of a simulated network. Opaque: it is here for the sake of [`Driver`].
pub struct SimSocket {
    network: Shared,
    id: Id,
}

impl DatagramSocket for SimSocket {
    fn receive(&mut self, room: &mut [u8]) -> io::Result<(usize, Address)> {
        self.network.borrow_mut().receive(self.id, room)
    }

    fn send(&mut self, datagram: &[u8], to: &Address) -> io::Result<()> {
        self.network.borrow_mut().send(self.id, datagram, to)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.network.borrow_mut().unbind(self.id);
    }
}
