//! The loop.

mod accept;
#[cfg(feature = "sim")]
mod check;
mod connect;
mod deliver;
mod expire;
mod flush;
mod handshake;
mod reap;
mod receive;
mod secure;
mod shutdown;
mod spin;
mod stall;
mod wait;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::accept::Acceptor;
use self::connect::Attempt;
use self::handshake::{Handshakes, Secure};
use self::receive::DatagramLink;
use self::shutdown::Phase;
use self::spin::Spin;
use self::wait::Link;
use crate::config::{Config, INBOX_CAPACITY, ServiceConfig};
use crate::connection::{ServiceIndex, Table};
use crate::context::{Context, Core};
use crate::counters::Counters;
use crate::driver::Driver;
use crate::driver::mio::MioDriver;
use crate::handle::{Alarm, Handle, Port, inbox};
use crate::handler::Handler;
use crate::host::{HostOf, Hosts, Service, Timing};
use crate::id::{Arena, ConnId, ConnMap, ListenerId, SocketId, Token};
use crate::limits::Admission;
use crate::read_buffer::ReadBuffer;
use crate::readiness::Signal;
use crate::reason::{ListenError, ShutdownReport};
use crate::socket::address::Address;
use crate::socket::connect::Connect;
use crate::socket::listen::{Bind, Listen};
use crate::timers::{NEVER, Nanos};
use crate::trace::Recorder;
use crate::trace::event::Event;
use crate::trace::tap::Tap;

/// A listener or a datagram socket that has been opened: its name, and where it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened<Id> {
    /// Its name.
    pub id: Id,
    /// Its address, with the port that the system chose if it was asked for port 0.
    pub address: Address,
}

/// What a turn came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// On with the next.
    Ran,
    /// A signal that is [watched](Reactor::watch_signals) has arrived. What it means is the caller's to
    /// decide; the loop itself goes on.
    Signal(Signal),
    /// The loop has stopped, as it was asked to; further turns say so again.
    Stopped(ShutdownReport),
}

/// Who holds how much memory, in bytes. Kernel buffers, handlers and shared bytes are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Tables of connections, sockets, sessions and timers; they follow the most that there ever were.
    pub tables: usize,
    /// What waits to leave, in the connections' queues.
    pub queues: usize,
    /// What handlers have left unconsumed.
    pub inputs: usize,
    /// The loop's block, and memory kept for the next use. Bounded.
    pub spares: usize,
}

/// A loop: it waits until something is possible, does it, and lets the handlers know.
///
/// # The turn
/// [`turn`](Self::turn) is the whole of it, in the order in which a byte travels: *wait, accept, receive,
/// deliver, expire, flush, reap*.
///
/// # Guarantees
/// 1. **Edge-triggered, and never stalled.** A source is registered once; readiness is remembered. A
///    source left before `WouldBlock` (a budget spent, a pause, a full queue, accepting paused) stays on
///    the loop's own list, and the loop does not sleep over it. After running out of descriptors it
///    tries again ten times a second, and as soon as a connection leaves, and says so once.
/// 2. **Fair.** [`Budgets`](crate::Budgets) bound what one turn does for one source.
/// 3. **Bounded.** [`Limits`](crate::Limits) bound every queue and table; [`memory`](Self::memory) says who holds how
///    much.
/// 4. **Nothing is lost on close**: see [`ConnContext::close`](crate::ConnContext::close).
/// 5. **Every connection ends with one typed reason**, and 6. **a panic in a callback about a connection
///    closes that connection**: see [`Handler`].
/// 7. **Shutdown is a reported state machine**: see [`shutdown`](Self::shutdown).
/// 8. **Embeddable**: see [below](#embedding).
/// 9. **A stale id is harmless**: see [`ConnId`].
/// 10. **Small when idle**: an idle plain connection owns no heap buffer, and spare memory is bounded.
///
/// One write call per connection and turn is the rule. What a connection's own callbacks send in
/// `receive` is gathered, and leaves right after them; what else is sent leaves in `flush`, or, to one that
/// was written to in this turn already, in the next, which does not sleep. Where the kernel takes only a
/// part, the rest leaves when it has room again.
///
/// # Embedding
/// A reactor has no global state, takes no thread (but for the first name that is looked up), ends no
/// process, and watches no signals unless it is asked to. A program with a loop of its own polls the
/// reactor's descriptor ([`AsFd`]) for readability, until [`next_deadline`](Self::next_deadline), and
/// then calls `turn(Some(Duration::ZERO))`.
///
/// # Not guaranteed
/// - A callback that takes long makes everybody wait: the loop has one thread. What is timed from the
///   beginning of a turn may be over by its end.
/// - Who drops a reactor without [`shutdown`](Self::shutdown) cuts all connections off, and no
///   `on_close` is called.
///
/// ```
/// use reactor::{ConnContext, Handler, ReadBuffer, Reactor};
/// use std::io::{Read, Write};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, cx: &mut ConnContext<'_>) {
///         cx.send(format!("hello, {}\n", cx.peer()).as_bytes());
///         cx.close();
///         cx.stop(); // one guest is enough
///     }
///     fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
/// }
///
/// let mut reactor = Reactor::new()?;
/// let greeter = reactor.add(Greeter);
/// let address = reactor.listen(&greeter, "127.0.0.1:0")?.address.socket_address().unwrap();
/// let client = std::thread::spawn(move || {
///     let mut text = String::new();
///     std::net::TcpStream::connect(address)?.read_to_string(&mut text)?;
///     Ok::<_, std::io::Error>(text)
/// });
/// let report = reactor.run()?;
/// assert_eq!(report.drained, 1);
/// assert!(client.join().unwrap()?.starts_with("hello, 127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reactor<D: Driver = MioDriver> {
    driver: D,
    config: Config,
    /// The handlers, and what their contexts reach; all else of the loop is out of their sight.
    hosts: Hosts,
    core: Core,
    /// Whose connections count as one, by service.
    admissions: Vec<Admission>,
    /// The socket halves of connections that stand.
    links: ConnMap<Link<D::Stream>>,
    /// TLS of those that have it.
    sessions: ConnMap<Box<Secure>>,
    /// TLS handshakes of clients, by service.
    handshakes: Vec<Handshakes>,
    /// The socket halves of those that do not yet.
    attempts: HashMap<ConnId, Attempt<D::Stream>>,
    acceptors: Arena<Acceptor<D::Listener>>,
    sockets: BTreeMap<SocketId, DatagramLink<D::Socket>>,
    /// What has become possible for listeners, attempts and datagram sockets; connections have their
    /// lists in the table.
    ready_acceptors: Vec<ListenerId>,
    ready_attempts: Vec<ConnId>,
    ready_sockets: Vec<SocketId>,
    /// What is read into, if the connection has nothing left over.
    block: ReadBuffer,
    /// What ciphertext is read into; it takes no memory before the first TLS connection.
    cipher: Vec<u8>,
    alarm: Arc<Alarm>,
    /// A service has more messages than one turn delivers.
    more_messages: bool,
    phase: Phase,
    /// A turn that takes at least so long is recorded, or told of.
    notable: Nanos,
    complaints: stall::Complaints,
    /// Signals that have arrived and were not told yet. Invariant: each once.
    signals: VecDeque<Signal>,
    spin: Spin,
    /// The lists and batches that are being worked off, kept for their memory.
    batch: Vec<ConnId>,
    due: Vec<Token>,
}

impl Reactor {
    /// A loop on the system's sockets.
    ///
    /// # Errors
    /// No descriptors are left for it.
    pub fn new() -> io::Result<Self> {
        Self::with_config(Config::default())
    }

    /// The same, with a configuration.
    ///
    /// # Errors
    /// No descriptors are left for it.
    pub fn with_config(config: Config) -> io::Result<Self> {
        Ok(Self::with_driver(config, MioDriver::new()?))
    }
}

impl<D: Driver> Reactor<D> {
    /// A loop on a driver of your own.
    pub fn with_driver(mut config: Config, driver: D) -> Self {
        config.block_size = config.block_size.max(1024);
        let loop_number = config.loop_number % crate::id::LOOPS_MAX;
        let alarm = Arc::new(Alarm::new(driver.waker()));
        let origin = driver.now();
        let tap = Tap::new(loop_number, origin, config.trace_records, driver.stopwatch());
        let timing = timing(&config, tap.is_on());
        let notable = stall::notable(&config, tap.is_on());
        let core = Core {
            table: Table::new(loop_number, config.connections_expected, config.block_size, tap),
            timers: Arena::new(loop_number),
            outboxes: Arena::new(loop_number),
            connects: Vec::new(),
            dirty_sockets: Vec::new(),
            turn_ends: Vec::new(),
            listeners: Vec::new(),
            ports: Vec::new(),
            stop: None,
            grace: config.grace,
            origin,
        };
        Self {
            hosts: Hosts::new(config.panics, timing),
            block: ReadBuffer::with_capacity(config.block_size),
            acceptors: Arena::new(loop_number),
            driver,
            links: ConnMap::with_capacity(config.connections_expected),
            config,
            core,
            admissions: Vec::new(),
            sessions: ConnMap::new(),
            handshakes: Vec::new(),
            cipher: Vec::new(),
            attempts: HashMap::new(),
            sockets: BTreeMap::new(),
            ready_acceptors: Vec::new(),
            ready_attempts: Vec::new(),
            ready_sockets: Vec::new(),
            alarm,
            more_messages: false,
            phase: Phase::Running,
            notable,
            complaints: stall::Complaints::default(),
            signals: VecDeque::new(),
            spin: Spin::new(),
            batch: Vec::new(),
            due: Vec::new(),
        }
    }

    /// One turn of the loop, in the order in which a byte travels. It sleeps for at most `max_wait`
    /// (`None`: until something happens), and not at all while there is work.
    ///
    /// # Errors
    /// The driver cannot wait any more: the loop is at its end.
    pub fn turn(&mut self, max_wait: Option<Duration>) -> io::Result<Turn> {
        let Phase::Stopped(report) = &self.phase else {
            self.wait(max_wait)?; // sleep until a socket is ready, a deadline is due, or another thread calls
            self.accept(); // listeners and finished connects -> connections; on_open
            self.receive(); // sockets -> read buffers -> handlers
            self.deliver(); // other threads' messages -> handlers
            self.expire(); // deadlines and timers that have passed -> handlers
            self.flush(); // on_turn_end; wishes to connect; write queues and datagrams -> sockets
            self.reap(); // ended connections leave, on_close tells why; what that causes is the next turn's
            return Ok(self.outcome());
        };
        Ok(Turn::Stopped(report.clone()))
    }

    /// Turns until the loop has stopped: asked by [`Handle::stop`], [`Context::stop`], or a signal, if
    /// [`watch_signals`](Self::watch_signals) was told to watch any: SIGINT and SIGTERM shut down with
    /// [`Config::grace`], a second one at once; others are ignored.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn run(&mut self) -> io::Result<ShutdownReport> {
        loop {
            match self.turn(None)? {
                Turn::Ran => {}
                Turn::Stopped(report) => return Ok(report),
                Turn::Signal(Signal::Interrupt | Signal::Terminate) => {
                    let grace = if self.is_stopping() { Duration::ZERO } else { self.config.grace };
                    self.shutdown(grace);
                }
                Turn::Signal(signal) => log::debug!("{signal:?} is ignored"),
            }
        }
    }

    /// What a turn came to, and the last of its work: time is taken, shutdown goes on.
    fn outcome(&mut self) -> Turn {
        self.core.table.tap.verb(None);
        self.advance_shutdown();
        while let Some(signal) = self.driver.signal() {
            if !self.signals.contains(&signal) {
                self.signals.push_back(signal);
                self.core.table.tap.note(|| Event::Signalled(signal));
            }
        }
        self.end_turn();
        match &self.phase {
            // A signal has nothing to say to a loop that has stopped, and may not hide that it has.
            Phase::Stopped(report) => Turn::Stopped(report.clone()),
            _ => self.signals.pop_front().map_or(Turn::Ran, Turn::Signal),
        }
    }

    /// Whether there is something to do without waiting for anything.
    fn has_work(&self) -> bool {
        let Self { core, .. } = self;
        !core.table.ready.is_empty()
            || !core.table.dirty.is_empty()
            || !core.table.gone.is_empty()
            || !core.connects.is_empty()
            || !core.turn_ends.is_empty()
            || !core.dirty_sockets.is_empty()
            || !self.ready_acceptors.is_empty()
            || !self.ready_attempts.is_empty()
            || !self.ready_sockets.is_empty()
            || self.more_messages
            || !self.signals.is_empty()
            || core.stop.is_some()
            || self.phase.has_work()
    }

    fn next_due(&self) -> Option<Nanos> {
        let due = self.core.table.timers.next_due().unwrap_or(NEVER).min(self.phase.deadline());
        (due != NEVER).then_some(due)
    }

    /// When the next turn has something to do, if nothing happens before; `None`: not before something
    /// happens, or not at all, because it has stopped. An instant that has passed while there is work.
    pub fn next_deadline(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Stopped(_)) {
            return None;
        }
        if self.has_work() {
            return Some(self.core.origin);
        }
        self.core.origin.checked_add(Duration::from_nanos(self.next_due()?))
    }

    /// The clock now. The handlers' is that of the turn.
    fn clock(&self) -> Nanos {
        let since = self.driver.now().saturating_duration_since(self.core.origin);
        u64::try_from(since.as_nanos()).unwrap_or(NEVER)
    }

    /// Adds a service with the loop's [`Config::limits`].
    pub fn add<H: Handler>(&mut self, handler: H) -> Service<H> {
        self.add_with(handler, ServiceConfig::new())
    }

    /// Adds a service with limits, an admission or an inbox of its own.
    ///
    /// # Panics
    /// After 65,536 services.
    pub fn add_with<H: Handler>(
        &mut self,
        handler: H,
        config: ServiceConfig<H::Message>,
    ) -> Service<H> {
        let inbox = config.inbox.unwrap_or_else(|| inbox(INBOX_CAPACITY).1);
        inbox.attach(&self.alarm);
        let index = self.core.ports.len();
        let service = Service::new(ServiceIndex::try_from(index).unwrap_or_else(|_| too_many()));
        self.core.ports.push(Arc::new(Port::new(Arc::clone(&self.alarm))));
        let limits = config.limits.unwrap_or_else(|| self.config.limits.clone());
        let sessions =
            ConnMap::with_capacity(limits.connections_of(self.config.connections_expected));
        self.core.table.limits.push(Arc::new(limits.in_order()));
        self.handshakes.push(Handshakes::default());
        self.admissions.push(config.admission);
        self.hosts.push(Box::new(HostOf::new(handler, service.index, inbox, sessions)));
        service
    }

    /// Opens a listener, and gives its connections to `service`. A *name* is looked up here and now, which
    /// may take seconds; an address is not.
    ///
    /// # Errors
    /// The address, and what the system said; a loop that [stops](Self::is_stopping) opens none.
    pub fn listen<H: Handler>(
        &mut self,
        service: &Service<H>,
        listen: impl Into<Listen>,
    ) -> Result<Opened<ListenerId>, ListenError> {
        self.host(service); // a service of another reactor is a mistake that should not go unnoticed
        self.open_acceptor(service.index, listen.into())
    }

    /// Opens a datagram socket, and gives what it receives to `service`. As with
    /// [`listen`](Self::listen), a name is looked up here and now. A datagram that is longer than
    /// [`Config::block_size`] is cut.
    ///
    /// # Errors
    /// The address, and what the system said; a loop that [stops](Self::is_stopping) opens none.
    pub fn bind<H: Handler>(
        &mut self,
        service: &Service<H>,
        bind: impl Into<Bind>,
    ) -> Result<Opened<SocketId>, ListenError> {
        self.host(service);
        self.open_socket(service.index, bind.into())
    }

    /// Connects to somewhere on behalf of `service`: what [`Context::connect`] does, from outside.
    pub fn connect<H: Handler>(&mut self, service: &Service<H>, to: impl Into<Connect>) -> ConnId {
        self.with(service, |_, cx| cx.connect(to))
    }

    /// Speaks to `service` from any thread.
    pub fn handle<H: Handler>(&self, service: &Service<H>) -> Handle<H::Message> {
        self.host(service).inbox().handle()
    }

    /// Looks inside a service.
    pub fn get<H: Handler>(&self, service: &Service<H>) -> &H {
        &self.host(service).handler
    }

    /// Acts within a service, between turns. What is wished for is fulfilled in the next.
    ///
    /// ```
    /// # use reactor::{ConnContext, Handler, ReadBuffer, Reactor};
    /// # struct Quiet;
    /// # impl Handler for Quiet {
    /// #     type Session = ();
    /// #     type Message = std::convert::Infallible;
    /// #     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
    /// #     fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
    /// # }
    /// let mut reactor = Reactor::new()?;
    /// let quiet = reactor.add(Quiet);
    /// reactor.with(&quiet, |_handler, cx| cx.stop());
    /// assert_eq!(reactor.run()?.drained, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with<H: Handler, R>(
        &mut self,
        service: &Service<H>,
        act: impl FnOnce(&mut H, &mut Context<'_>) -> R,
    ) -> R {
        self.core.table.now = self.clock();
        self.core.table.tap.set_now(self.core.table.now);
        let Some(host) = self.hosts.get_mut(*service) else { stranger(service) };
        act(&mut host.handler, &mut Context::new(&mut self.core, service.index))
    }

    /// What the loop asks of the world, for the one who made that world.
    pub(crate) fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    pub(crate) fn connection_of(&self, token: Token) -> ConnId {
        ConnId(token.id(self.core.table.loop_number()))
    }

    /// Whether there is such a connection.
    pub(crate) fn has_connection(&self, id: ConnId) -> bool {
        self.core.table.get(id).is_some()
    }

    fn host<H: Handler>(&self, service: &Service<H>) -> &HostOf<H> {
        match self.hosts.get(*service) {
            Some(host) => host,
            None => stranger(service),
        }
    }

    /// From now on, [`turn`](Self::turn) tells of these signals, and they do nothing else.
    ///
    /// # Errors
    /// What the system said.
    pub fn watch_signals(&mut self, signals: &[Signal]) -> io::Result<()> {
        self.driver.watch_signals(signals)
    }

    /// What the loop has done so far, live.
    pub fn counters(&self) -> Counters {
        self.core.table.counters.clone()
    }

    /// What the loop does, step by step, live: see [`Config::trace_records`].
    pub fn recorder(&self) -> Recorder {
        self.core.table.tap.recorder().clone()
    }

    /// Who holds how much memory. It walks the table: not for every turn.
    pub fn memory(&self) -> Memory {
        let (table, queues, inputs) = self.core.table.memory();
        let links = self.links.memory()
            + self.sessions.memory()
            + self.acceptors.memory()
            + self.core.outboxes.memory();
        Memory {
            tables: table + links + self.core.timers.memory() + self.hosts.memory(),
            queues,
            inputs,
            spares: self.core.table.spares.memory()
                + self.block.capacity()
                + self.cipher.capacity(),
        }
    }
}

/// Which callbacks are timed.
fn timing(config: &Config, is_recording: bool) -> Timing {
    match config.time_handlers {
        _ if !config.stall.is_zero() || is_recording => Timing::ALL,
        true => Timing::SAMPLES,
        false => Timing::NONE,
    }
}

/// Services are added by the program, not by its input.
#[expect(clippy::panic, reason = "documented on `add_with`; there is no value to answer with")]
fn too_many() -> ! {
    panic!("more than 65,536 services");
}

/// A service of another reactor was named: a mistake in the program, which no input can cause.
#[expect(clippy::panic, reason = "documented on `Service`; there is no value to answer with")]
fn stranger<H>(service: &Service<H>) -> ! {
    panic!("{service:?} is not a service of this reactor");
}

impl<D: Driver> Drop for Reactor<D> {
    /// Who is dropped with the loop leaves its [`Admission`], which other loops may share.
    fn drop(&mut self) {
        for id in self.core.table.ids() {
            self.release(id);
        }
    }
}

impl<D: Driver + AsFd> AsFd for Reactor<D> {
    /// Readable when [`turn`](Self::turn) has something to do that came from outside.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

impl<D: Driver> std::fmt::Debug for Reactor<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let services = self.core.ports.len();
        write!(f, "Reactor({} connections, {services} services)", self.core.table.len())
    }
}
