//! A stage for one handler: peers without sockets, time by hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::config::{Config, ServiceConfig};
use crate::context::Context;
use crate::driver::{DatagramSocket, Driver, Stream};
use crate::handler::Handler;
use crate::host::{Panics, Service};
use crate::id::{ConnId, Kind, ListenerId, SocketId, Token};
use crate::reactor::{Opened, Reactor, Turn};
use crate::readiness::{Readiness, Signal};
use crate::reason::ListenError;
use crate::socket::address::Address;
use crate::socket::connect::Connect;
use crate::socket::listen::{Bind, Listen};
use crate::trace::stopwatch::Stopwatch;

/// Tests a handler without sockets, threads or waiting: the real loop, in a world of one's own.
///
/// Peers are played by the test, and time passes when it says so. After each method everything that
/// follows from it has happened, as far as no time is needed for it.
///
/// # Guarantees
/// - The loop is the one that serves sockets: limits, deadlines, back-pressure and closing are real.
/// - A panic of the handler goes on to the test, unless the [`Config`] says otherwise.
///
/// # Not guaranteed
/// The network is ideal: writes are never short unless a peer is [stalled](Self::stall), and nothing is
/// lost or late.
///
/// ```
/// use reactor::{ConnContext, Deadline, Handler, ReadBuffer, Stage};
/// use std::time::Duration;
///
/// struct Patient;
/// impl Handler for Patient {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, cx: &mut ConnContext<'_>) {
///         cx.set_deadline(Duration::from_secs(60));
///     }
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         cx.forward(input);
///     }
///     fn on_deadline(&mut self, _: &mut (), _: Deadline, cx: &mut ConnContext<'_>) {
///         cx.send(b"too late\n");
///         cx.close();
///     }
/// }
///
/// let mut stage = Stage::new(Patient);
/// let peer = stage.open();
/// stage.deliver(peer, b"hello");
/// assert_eq!(stage.sent(peer), b"hello");
/// stage.pass(Duration::from_secs(60));
/// assert_eq!(stage.sent(peer), b"too late\n");
/// assert!(stage.has_finished(peer), "FIN followed");
/// ```
pub struct Stage<H: Handler> {
    reactor: Reactor<StageDriver>,
    service: Service<H>,
    listener: ListenerId,
    clients: u16,
}

/// After so many turns without coming to rest, the handler never will: it arms a timer for zero again and
/// again, say. Time goes on all the same.
const TURNS_MAX: usize = 10_000;

impl<H: Handler> Stage<H> {
    /// With the default limits.
    pub fn new(handler: H) -> Self {
        let config = Config { panics: Panics::Propagate, ..Config::default() };
        Self::with_config(handler, config, ServiceConfig::new())
    }

    /// With limits and all else of one's own.
    pub fn with_config(handler: H, config: Config, service: ServiceConfig<H::Message>) -> Self {
        let mut reactor = Reactor::with_driver(config, StageDriver::new());
        let service = reactor.add_with(handler, service);
        let listener = match reactor.listen(&service, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))) {
            Ok(Opened { id, .. }) => id,
            Err(_) => unreachable!("a stage's listener needs nothing of the system"),
        };
        let mut stage = Self { reactor, service, listener, clients: 0 };
        stage.settle();
        stage
    }

    /// A client connects, from 127.0.0.1 and a port of its own. If it is accepted, this is its name; if it
    /// waits in the backlog or is refused, the name is nobody's.
    pub fn open(&mut self) -> ConnId {
        self.clients = self.clients.wrapping_add(1);
        self.open_from(SocketAddr::from((Ipv4Addr::LOCALHOST, self.clients)).into())
    }

    /// A client connects from this address.
    pub fn open_from(&mut self, peer: Address) -> ConnId {
        let line = Rc::new(RefCell::new(Line { stands: Ok(true), ..Line::default() }));
        self.world().backlog.push_back((Rc::clone(&line), peer));
        let token = self.listener.0.token(Kind::Listener);
        self.world().edges.push((token, Readiness { readable: true, ..Readiness::default() }));
        self.settle();
        let token = line.borrow().token;
        self.name(token)
    }

    /// The peer sends bytes.
    pub fn deliver(&mut self, id: ConnId, bytes: &[u8]) {
        self.change(id, |line| line.arrived.extend(bytes));
    }

    /// The peer finishes sending: FIN.
    pub fn finish(&mut self, id: ConnId) {
        self.change(id, |line| line.ended = true);
    }

    /// The peer is gone: what is done with it from now on fails as `ConnectionReset`.
    pub fn reset(&mut self, id: ConnId) {
        self.change(id, |line| line.stands = Err(io::ErrorKind::ConnectionReset));
    }

    /// From now on the peer takes `bytes` more bytes, and then no more.
    pub fn stall(&mut self, id: ConnId, bytes: usize) {
        self.change(id, |line| line.room = bytes);
    }

    /// What has been sent to the peer since the last time.
    pub fn sent(&mut self, id: ConnId) -> Vec<u8> {
        self.line(id).map(|line| std::mem::take(&mut line.borrow_mut().sent)).unwrap_or_default()
    }

    /// Whether FIN has been sent to the peer, or the connection has ended.
    pub fn has_finished(&mut self, id: ConnId) -> bool {
        self.line(id).is_none_or(|line| line.borrow().finished)
    }

    /// Whether the connection has not ended: it may be closing, or lingering, too.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.reactor.has_connection(id)
    }

    /// Outgoing connections that the handler wishes for and the test has not answered, and where to.
    /// Names stand for the address 192.0.2.1.
    pub fn connects(&mut self) -> Vec<(ConnId, Address)> {
        let pending: Vec<_> = self
            .world()
            .lines
            .iter()
            .filter_map(|(&token, line)| match &*line.borrow() {
                Line { stands: Ok(false), to: Some(to), finished: false, .. } => {
                    Some((token, to.clone()))
                }
                _ => None,
            })
            .collect();
        pending.into_iter().map(|(token, to)| (self.name(Some(token)), to)).collect()
    }

    /// An outgoing connection stands.
    pub fn accept(&mut self, id: ConnId) {
        self.change(id, |line| line.stands = Ok(true));
    }

    /// An outgoing connection fails, as the system would say it.
    pub fn refuse(&mut self, id: ConnId, error: io::ErrorKind) {
        self.change(id, |line| line.stands = Err(error));
    }

    /// Opens a datagram socket for the handler.
    pub fn bind(&mut self) -> SocketId {
        let bound = self.reactor.bind(&self.service, SocketAddr::from((Ipv4Addr::LOCALHOST, 2)));
        self.settle();
        match bound {
            Ok(Opened { id, .. }) => id,
            Err(_) => unreachable!("a stage's socket needs nothing of the system"),
        }
    }

    /// A datagram arrives.
    pub fn datagram(&mut self, socket: SocketId, from: &Address, bytes: &[u8]) {
        let token = socket.0.token(Kind::Socket);
        if let Some(mailbox) = self.world().mailboxes.get(&token) {
            mailbox.borrow_mut().arrived.push_back((bytes.to_vec(), from.clone()));
            let edge = Readiness { readable: true, ..Readiness::default() };
            self.world().edges.push((token, edge));
        }
        self.settle();
    }

    /// What has been sent from a datagram socket since the last time, and to whom.
    pub fn sent_datagrams(&mut self, socket: SocketId) -> Vec<(Vec<u8>, Address)> {
        let mailbox = self.world().mailboxes.get(&socket.0.token(Kind::Socket));
        mailbox.map(|mailbox| std::mem::take(&mut mailbox.borrow_mut().sent)).unwrap_or_default()
    }

    /// Another thread says something.
    pub fn message(&mut self, message: H::Message) {
        // A stage is at rest between calls, so its inbox is empty.
        let _ = self.reactor.handle(&self.service).send(message);
        self.settle();
    }

    /// Time passes; what is due on the way happens in its order.
    pub fn pass(&mut self, time: Duration) {
        let until = self.world().now + time;
        loop {
            let now = self.world().now;
            match self.reactor.next_deadline() {
                Some(due) if due > now && due <= until => self.world().now = due,
                // It is due now, and did not come to rest: time goes on over it.
                Some(due) if due <= now && now < until => {
                    self.world().now = until.min(now + Duration::from_millis(1));
                }
                _ => break,
            }
            self.settle();
        }
        self.world().now = until;
        self.settle();
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        self.reactor.get(&self.service)
    }

    /// Acts within the handler.
    pub fn with<R>(&mut self, act: impl FnOnce(&mut H, &mut Context<'_>) -> R) -> R {
        let result = self.reactor.with(&self.service, act);
        self.settle();
        result
    }

    /// The loop itself.
    pub fn reactor(&mut self) -> &mut Reactor<impl Driver + use<H>> {
        &mut self.reactor
    }

    /// Turns until there is nothing to do.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let turn = self.reactor.turn(Some(Duration::ZERO));
            let now = self.world().now;
            let rests = self.reactor.next_deadline().is_none_or(|due| due > now);
            if matches!(turn, Ok(Turn::Stopped(_)) | Err(_)) || (rests && self.world().is_quiet()) {
                return;
            }
        }
    }

    fn world(&mut self) -> &mut StageDriver {
        self.reactor.driver_mut()
    }

    fn line(&mut self, id: ConnId) -> Option<Rc<RefCell<Line>>> {
        self.world().lines.get(&id.0.token(Kind::Connection)).cloned()
    }

    fn name(&self, token: Option<Token>) -> ConnId {
        token.map_or(ConnId(crate::id::Id::nobody()), |token| self.reactor.connection_of(token))
    }

    /// Changes a line, and lets the loop know by an edge that tells of everything.
    fn change(&mut self, id: ConnId, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line(id) {
            change(&mut line.borrow_mut());
            let edge = line.borrow().readiness();
            self.world().edges.push((id.0.token(Kind::Connection), edge));
        }
        self.settle();
    }
}

impl<H: Handler> std::fmt::Debug for Stage<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({:?})", self.reactor)
    }
}

/// A world of memory: what has arrived stays until it is read, what is sent until the test takes it.
struct StageDriver {
    now: Instant,
    edges: Vec<(Token, Readiness)>,
    backlog: VecDeque<(Rc<RefCell<Line>>, Address)>,
    lines: BTreeMap<Token, Rc<RefCell<Line>>>,
    mailboxes: BTreeMap<Token, Rc<RefCell<Mailbox>>>,
    resolved: VecDeque<(Token, SocketAddr)>,
}

/// A connection, as its peer has it.
struct Line {
    token: Option<Token>,
    /// Where it was to go, if it is outgoing.
    to: Option<Address>,
    stands: Result<bool, io::ErrorKind>,
    arrived: VecDeque<u8>,
    ended: bool,
    sent: Vec<u8>,
    finished: bool,
    /// How many more bytes the peer takes.
    room: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            token: None,
            to: None,
            stands: Ok(false),
            arrived: VecDeque::new(),
            ended: false,
            sent: Vec::new(),
            finished: false,
            room: usize::MAX,
        }
    }
}

impl Line {
    fn readiness(&self) -> Readiness {
        let error = self.stands.is_err();
        Readiness {
            readable: error || self.ended || !self.arrived.is_empty(),
            writable: error || self.room > 0,
            hang_up: self.ended,
            error,
            urgent: false,
        }
    }
}

#[derive(Default)]
struct Mailbox {
    arrived: VecDeque<(Vec<u8>, Address)>,
    sent: Vec<(Vec<u8>, Address)>,
}

struct StageStream(Rc<RefCell<Line>>);

struct StageSocket(Rc<RefCell<Mailbox>>);

impl StageDriver {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            edges: Vec::new(),
            backlog: VecDeque::new(),
            lines: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            resolved: VecDeque::new(),
        }
    }

    fn is_quiet(&self) -> bool {
        self.edges.is_empty() && self.resolved.is_empty()
    }

    fn watch(&mut self, line: &Rc<RefCell<Line>>, token: Token) {
        line.borrow_mut().token = Some(token);
        self.edges.push((token, line.borrow().readiness()));
        self.lines.insert(token, Rc::clone(line));
    }
}

impl Driver for StageDriver {
    type Stream = StageStream;
    type Listener = ();
    type Socket = StageSocket;

    fn now(&self) -> Instant {
        self.now
    }

    fn stopwatch(&self) -> Stopwatch {
        Stopwatch::still()
    }

    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }

    fn wait(
        &mut self,
        _: Option<Duration>,
        mut on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        let came = !self.edges.is_empty();
        self.edges.drain(..).for_each(|(token, readiness)| on_event(token, readiness));
        Ok(came)
    }

    fn listen(&mut self, _: Listen, _: Token) -> Result<((), Address), ListenError> {
        Ok(((), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into()))
    }

    fn close_listener(&mut self, (): ()) {}

    fn accept(&mut self, (): &mut ()) -> io::Result<(StageStream, Address)> {
        let (line, peer) = self.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((StageStream(line), peer))
    }

    fn register(&mut self, stream: &mut StageStream, token: Token) -> io::Result<()> {
        self.watch(&Rc::clone(&stream.0), token);
        Ok(())
    }

    fn connect(&mut self, to: &Address, _: &Connect, token: Token) -> io::Result<StageStream> {
        let line = Rc::new(RefCell::new(Line { to: Some(to.clone()), ..Line::default() }));
        self.watch(&line, token);
        Ok(StageStream(line))
    }

    fn bind(&mut self, _: Bind, token: Token) -> Result<(StageSocket, Address), ListenError> {
        let mailbox = Rc::<RefCell<Mailbox>>::default();
        self.mailboxes.insert(token, Rc::clone(&mailbox));
        Ok((StageSocket(mailbox), SocketAddr::from((Ipv4Addr::LOCALHOST, 2)).into()))
    }

    fn close_socket(&mut self, _: StageSocket) {}

    fn resolve(&mut self, _: &str, port: u16, token: Token) -> io::Result<()> {
        self.resolved.push_back((token, (Ipv4Addr::new(192, 0, 2, 1), port).into()));
        Ok(())
    }

    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)> {
        self.resolved.pop_front().map(|(token, address)| (token, Ok(vec![address])))
    }

    fn watch_signals(&mut self, _: &[Signal]) -> io::Result<()> {
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }
}

impl Stream for StageStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        line.stands?;
        if line.arrived.is_empty() {
            return if line.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        io::Read::read(&mut line.arrived, room)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        line.stands?;
        let before = line.sent.len();
        for slice in slices {
            let count = slice.len().min(line.room);
            line.sent.extend_from_slice(slice.get(..count).unwrap_or_default());
            line.room -= count;
        }
        match line.sent.len() - before {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut line = self.0.borrow_mut();
        line.stands?;
        line.finished = true;
        Ok(())
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(self.0.borrow().stands?)
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.0.borrow().stands.err().map(io::Error::from)
    }

    fn reset(self) {
        self.0.borrow_mut().finished = true;
    }
}

impl Drop for StageStream {
    fn drop(&mut self) {
        self.0.borrow_mut().finished = true;
    }
}

impl DatagramSocket for StageSocket {
    fn receive(&mut self, room: &mut [u8]) -> io::Result<(usize, Address)> {
        let (bytes, from) =
            self.0.borrow_mut().arrived.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let count = io::Read::read(&mut &bytes[..], room)?;
        Ok((count, from))
    }

    fn send(&mut self, datagram: &[u8], to: &Address) -> io::Result<()> {
        self.0.borrow_mut().sent.push((datagram.to_vec(), to.clone()));
        Ok(())
    }
}
