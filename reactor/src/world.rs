//! A world of several loops and many peers, with one clock and one source of chance.
//!
//! ```text
//!   the next thing that happens in the network  --+
//!   the next deadline of a loop  -----------------+--> the clock jumps there --> turns, peers' acts, checks
//!   what peers asked for  ------------------------+
//! ```

mod audit;
mod client;
mod clockwork;
mod peer;
mod verdict;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use self::audit::Audit;
pub use self::audit::{Audited, AuditedSession, Complaints};
pub use self::client::{Chatter, Client, Ending, Operator};
pub use self::peer::{Peer, PeerAddress, PeerContext, PeerSocket, PeerStream};
pub use self::verdict::{Promise, Violation};
use crate::config::{Config, ServiceConfig};
use crate::driver::sim::SimDriver;
use crate::driver::sim::faults::Faults;
use crate::driver::sim::network::{Network, Shared, Tally};
use crate::driver::sim::random::Random;
use crate::handler::Handler;
use crate::host::Service;
use crate::id::{Arena, Id};
use crate::limits::Budgets;
use crate::reactor::Reactor;
use crate::readiness::Signal;
use crate::reason::{ListenError, ShutdownReport};
use crate::socket::listen::Listen;
use crate::timers::{NEVER, Nanos, after};
use crate::trace::Recorder;

/// A deterministic world: loops, scripted [peers](Peer), a network between them, and a clock that jumps.
///
/// Any handler runs in it unchanged. The same seed gives the same run, byte for byte; so a failing seed is
/// a bug report.
///
/// # What is checked
/// - After each turn: the invariants of connections, queues, timers and lists; the budgets of a turn; that
///   a loop that takes turns gets somewhere.
/// - When nothing goes wrong any more ([`settle`](Self::settle)): every peer comes to its end, with what it
///   was owed; the loops stop; each `on_open` had its one `on_close`; every byte that was read was consumed, or
///   dropped for a reason; no connection, socket, timer or buffer is left.
///
/// # Not guaranteed
/// That another version of this library makes the same run of a seed.
///
/// ```
/// use reactor::sim::{Client, Ending, World};
/// use reactor::{Config, ConnContext, Handler, ReadBuffer, ServiceConfig};
///
/// struct Echo;
/// impl Handler for Echo {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         cx.forward(input);
///     }
/// }
///
/// for seed in 1..=10 {
///     let mut world = World::new(seed); // what goes wrong is drawn from the seed, too
///     let server = world.add_loop(Config::default());
///     world.serve(server, Echo, ServiceConfig::new(), "10.0.0.1:7")?;
///     for _ in 0..100 {
///         world.add_peer(Client::new("10.0.0.1:7", b"hello", b"hello"));
///     }
///     world.run()?; // a violation names the promise and the time
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct World {
    network: Shared,
    loops: Vec<Member>,
    peers: Arena<Player>,
    /// The audits of all services, and whose loop each is on.
    audits: Vec<(LoopNumber, Rc<RefCell<Audit>>)>,
    complaints: Complaints,
    calm: bool,
}

/// A loop of the world, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopNumber(usize);

/// A loop, and how it is doing.
struct Member {
    reactor: Reactor<SimDriver>,
    budgets: Budgets,
    /// How long it may take to stop, and until when, once a signal has come.
    grace: Duration,
    stops_by: Nanos,
    /// It is about something else, or has no processor, until then.
    busy_until: Nanos,
    stopped: Option<ShutdownReport>,
    /// Turns in a row that came to nothing.
    barren: u32,
}

struct Player {
    peer: Box<dyn Peer>,
    accepted: VecDeque<Id>,
}

/// How long bad times last, in [`World::run`]. Half of the peers come within the first second of it.
const STORM: Duration = Duration::from_secs(2);
/// Within this time everything must have come to its end, once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(3600);
/// So long it takes at most until what the last peers did is known everywhere.
const LAST: Duration = Duration::from_secs(1);
/// Then, within this time, loops that are asked to stop have stopped: longer than anybody lingers.
const STOP: Duration = Duration::from_secs(30);

impl World {
    /// A world in which [what goes wrong](Faults::drawn) is drawn from the seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let faults = Faults::drawn(&mut random);
        Self::with_faults(random.number(), faults)
    }

    /// A world in which these things go wrong.
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        let network = Rc::new(RefCell::new(Network::new(seed, faults)));
        let (loops, audits, complaints) = Default::default();
        Self { network, loops, peers: Arena::new(0), audits, complaints, calm: false }
    }

    /// The sizes of the socket buffers of streams that are made from now on, in bytes: for receiving, and
    /// for sending, unless their options say otherwise. At least 1; 64 KiB each, unless this is called.
    pub fn set_buffers(&mut self, receive: usize, send: usize) {
        let mut network = self.network.borrow_mut();
        (network.receive_buffer, network.send_buffer) = (receive.max(1), send.max(1));
    }

    /// From now on peers share so many IP addresses, which are otherwise their own. At least 1.
    pub fn set_hosts(&mut self, count: u64) {
        self.network.borrow_mut().hosts = count;
    }

    /// From now on a name has these addresses.
    pub fn set_name(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().collect();
        self.network.borrow_mut().names.insert(name.to_owned(), addresses);
    }

    /// From now on nobody answers at this address, as behind a firewall: who connects there waits until its
    /// time is over.
    pub fn set_silent(&mut self, address: IpAddr) {
        self.network.borrow_mut().silent.insert(address);
    }

    /// Where handlers may complain.
    pub fn complaints(&self) -> Complaints {
        self.complaints.clone()
    }

    /// What goes wrong at present.
    pub fn faults(&self) -> Faults {
        self.network.borrow().faults.clone()
    }

    /// The world's chance, for who makes things up.
    pub fn random(&mut self) -> Random {
        Random::new(self.network.borrow_mut().random.number())
    }

    /// A loop, on a host of its own. Its number as a loop is the world's unless the configuration says one.
    pub fn add_loop(&mut self, config: Config) -> LoopNumber {
        let number = self.loops.len();
        let (budgets, grace) = (config.budgets.clone(), config.grace);
        let reactor = Reactor::with_driver(config, SimDriver::new(&self.network));
        let (stops_by, stopped) = (NEVER, None);
        let member =
            Member { reactor, budgets, grace, stops_by, busy_until: 0, stopped, barren: 0 };
        self.loops.push(member);
        LoopNumber(number)
    }

    /// The loop itself: to add services without an audit, to look at handlers, counters and memory.
    ///
    /// # Panics
    /// It is a loop of another world.
    pub fn reactor(&mut self, number: LoopNumber) -> &mut Reactor<SimDriver> {
        match self.loops.get_mut(number.0) {
            Some(member) => &mut member.reactor,
            None => stranger(number),
        }
    }

    /// Adds a service that is [audited](Audited), and has it listen.
    ///
    /// # Errors
    /// The address cannot be listened at; once the world has gone on, also for want of descriptors.
    pub fn serve<H: Handler>(
        &mut self,
        number: LoopNumber,
        handler: H,
        config: ServiceConfig<H::Message>,
        listen: impl Into<Listen>,
    ) -> Result<Service<Audited<H>>, ListenError> {
        let service = self.add(number, handler, config);
        self.reactor(number).listen(&service, listen)?;
        Ok(service)
    }

    /// Adds a service that is audited, and listens nowhere.
    pub fn add<H: Handler>(
        &mut self,
        number: LoopNumber,
        handler: H,
        config: ServiceConfig<H::Message>,
    ) -> Service<Audited<H>> {
        let audit = Rc::new(RefCell::new(Audit::default()));
        self.audits.push((number, Rc::clone(&audit)));
        let budget = self.loops.get(number.0).map_or(0, |member| member.budgets.messages);
        let audited = Audited::new(handler, audit, self.complaints(), &self.network, budget);
        self.reactor(number).add_with(audited, config)
    }

    /// Adds a peer, which begins at once.
    pub fn add_peer(&mut self, peer: impl Peer + 'static) {
        self.add_peer_after(Duration::ZERO, peer);
    }

    /// Adds a peer, which begins after this time.
    pub fn add_peer_after(&mut self, time: Duration, peer: impl Peer + 'static) {
        let player = Player { peer: Box::new(peer), accepted: VecDeque::new() };
        if let Some(id) = self.peers.insert(player) {
            self.network.borrow_mut().wake_peer(id, time);
        }
    }

    /// A signal arrives at a loop. SIGINT and SIGTERM shut it down, a second one at once, as
    /// [`Reactor::run`] does.
    pub fn signal(&mut self, number: LoopNumber, signal: Signal) {
        self.network.borrow_mut().raise(number.0, signal);
    }

    /// What the loops have recorded, if their configurations say that they record: their
    /// [traces](Recorder::trace), and a [hash](Recorder::hash) that is the same for the same run.
    pub fn recorders(&self) -> Vec<Recorder> {
        self.loops.iter().map(|member| member.reactor.recorder()).collect()
    }

    /// What has been done so far, in numbers.
    pub fn tally(&self) -> Tally {
        self.network.borrow().tally
    }

    /// The time since the world began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.network.borrow().now)
    }

    /// Bad times for two seconds, or until all peers have done; then everything [settles](Self::settle).
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn run(&mut self) -> Result<Tally, Violation> {
        self.storm(STORM)?;
        self.settle()
    }

    /// Lets the world go on for this long, or until all peers have done.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn storm(&mut self, time: Duration) -> Result<(), Violation> {
        let until = self.after(time);
        while !self.peers_are_done() && self.step(until)? {}
        Ok(())
    }

    /// From now on nothing goes wrong. All peers have to come to their end, and then all loops.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn settle(&mut self) -> Result<Tally, Violation> {
        self.calm = true;
        self.network.borrow_mut().calm();
        let peers: Vec<Id> = self.peers.iter().map(|(id, _)| id).collect();
        peers.iter().for_each(|&id| self.network.borrow_mut().wake_peer(id, Duration::ZERO));
        let until = self.after(CALM);
        while !self.peers_are_done() {
            if !self.step(until)? {
                return Err(self.violation(Promise::Liveness, self.who_is_not_done()));
            }
        }
        self.hear_verdicts()?;
        self.storm_on(LAST)?;
        self.check_held()?;
        self.stop_loops()?;
        self.check_end()?;
        Ok(self.tally())
    }

    /// Whoever has done or not, everything goes on for this long.
    fn storm_on(&mut self, time: Duration) -> Result<(), Violation> {
        let until = self.after(time);
        while self.step(until)? {}
        Ok(())
    }

    fn stop_loops(&mut self) -> Result<(), Violation> {
        for member in &mut self.loops {
            member.reactor.shutdown(Duration::from_secs(300));
        }
        let until = self.after(STOP);
        while self.loops.iter().any(|member| member.stopped.is_none()) {
            if !self.step(until)? {
                return Err(self.violation(Promise::Liveness, "a loop does not stop".to_owned()));
            }
        }
        // FINs and resets that are still on their way.
        let until = self.after(CALM);
        while self.network.borrow().next_at().is_some() && self.step(until)? {}
        Ok(())
    }

    fn after(&self, time: Duration) -> Nanos {
        after(self.network.borrow().now, time)
    }
}

/// A number of another world: a mistake in the program, which no input can cause.
#[expect(clippy::panic, reason = "documented on `reactor`; there is no value to answer with")]
fn stranger(number: LoopNumber) -> ! {
    panic!("{number:?} is not a loop of this world");
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (loops, peers) = (self.loops.len(), self.peers.len());
        write!(f, "World({loops} loops, {peers} peers, at {:?})", self.now())
    }
}
