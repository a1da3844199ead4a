//! A world without a system: an echo service, and clients of memory that have something to say whenever they are
//! asked. What instructions are counted in must do the same each time.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use reactor_bare::{
    Address, Bind, Config, ConnContext, Connect, DatagramSocket, Driver, Handler, Listen,
    ListenError, Reactor, ReadBuffer, Readiness, Signal, Stream, Token,
};

/// Bytes of a message.
pub const MESSAGE: usize = 64;

/// An echo service on a loop of such a world, which has not turned yet; `records` are kept of what it does.
///
/// # Errors
/// None, in fact: this world refuses nothing.
pub fn echo(clients: usize, records: usize) -> Result<Reactor<Memory>, ListenError> {
    let config = Config { trace_records: records, ..Config::default() };
    let mut reactor = Reactor::with_driver(config, Memory::new(clients));
    let service = reactor.add(Echo);
    reactor.listen(&service, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))?;
    Ok(reactor)
}

/// Sends back what comes.
pub struct Echo;

impl Handler for Echo {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        cx.forward(input);
    }
}

/// A driver whose clients have something to say whenever it waits.
pub struct Memory {
    now: Instant,
    clients: usize,
    listener: Option<Token>,
    lines: Vec<(Token, Rc<Cell<usize>>)>,
}

/// How many bytes have arrived at a connection.
pub struct Line(Rc<Cell<usize>>);

pub struct NoSocket;

impl Memory {
    /// A world of so many clients, who come as soon as somebody listens.
    pub fn new(clients: usize) -> Self {
        Self { now: Instant::now(), clients, listener: None, lines: Vec::new() }
    }
}

const READABLE: Readiness =
    Readiness { readable: true, writable: false, hang_up: false, error: false, urgent: false };

impl Driver for Memory {
    type Stream = Line;
    type Listener = ();
    type Socket = NoSocket;

    fn now(&self) -> Instant {
        self.now
    }

    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }

    fn wait(
        &mut self,
        _: Option<Duration>,
        mut on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        if let Some(listener) = self.listener.filter(|_| self.clients > 0) {
            on_event(listener, READABLE);
        }
        for (token, arrived) in &self.lines {
            arrived.set(MESSAGE);
            on_event(*token, READABLE);
        }
        Ok(true)
    }

    fn listen(&mut self, _: Listen, token: Token) -> Result<((), Address), ListenError> {
        self.listener = Some(token);
        Ok(((), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into()))
    }

    fn close_listener(&mut self, (): ()) {}

    fn accept(&mut self, (): &mut ()) -> io::Result<(Line, Address)> {
        self.clients = self.clients.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        Ok((Line(Rc::default()), SocketAddr::from((Ipv4Addr::LOCALHOST, 2)).into()))
    }

    fn register(&mut self, line: &mut Line, token: Token) -> io::Result<()> {
        self.lines.push((token, Rc::clone(&line.0)));
        Ok(())
    }

    fn connect(&mut self, _: &Address, _: &Connect, _: Token) -> io::Result<Line> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bind(&mut self, _: Bind, _: Token) -> Result<(NoSocket, Address), ListenError> {
        Ok((NoSocket, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into()))
    }

    fn close_socket(&mut self, _: NoSocket) {}

    fn resolve(&mut self, _: &str, _: u16, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)> {
        None
    }

    fn watch_signals(&mut self, _: &[Signal]) -> io::Result<()> {
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }
}

// As opaque to the compiler as a system call is.
impl Stream for Line {
    #[inline(never)]
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.0.take() {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            arrived => {
                let count = arrived.min(room.len());
                room.iter_mut().take(count).for_each(|byte| *byte = b'x');
                Ok(count)
            }
        }
    }

    #[inline(never)]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn short_read_empties(&self) -> bool {
        true
    }

    fn take_error(&mut self) -> Option<io::Error> {
        None
    }

    fn reset(self) {}
}

impl DatagramSocket for NoSocket {
    fn receive(&mut self, _: &mut [u8]) -> io::Result<(usize, Address)> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, _: &[u8], _: &Address) -> io::Result<()> {
        Ok(())
    }
}
