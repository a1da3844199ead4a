//! A world of several loops and many peers, with one clock and one source of chance.
//!
//! ```text
//!   the next thing that happens in the network  --+
//!   the next deadline of a loop  -----------------+--> the clock jumps there --> turns, peers' acts, checks
//!   what peers asked for  ------------------------+
//! ```

mod audit;
mod client;
mod peer;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use self::audit::Audit;
pub use self::audit::{Audited, AuditedSession, Complaints};
pub use self::client::{Chatter, Client, Ending, Operator};
pub use self::peer::{Peer, PeerAddress, PeerContext, PeerSocket, PeerStream};
use crate::config::{Config, ServiceConfig};
use crate::driver::sim::SimDriver;
use crate::driver::sim::faults::Faults;
use crate::driver::sim::network::{Network, Shared, Tally};
use crate::driver::sim::random::Random;
use crate::handler::Handler;
use crate::host::Service;
use crate::id::{Arena, Id};
use crate::limits::Budgets;
use crate::reactor::{Reactor, Turn};
use crate::readiness::Signal;
use crate::reason::ShutdownReport;
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
/// Then, within this time, loops that are asked to stop have stopped: longer than anybody lingers.
const STOP: Duration = Duration::from_secs(30);
/// Turns in a row that may come to nothing: one to take what was listed in vain off its list, and a few for
/// spurious wake-ups.
const BARREN_MAX: u32 = 16;
/// How long a turn takes at most: what happens meanwhile, the next one is told together.
const TURN_TIME: Duration = Duration::from_micros(20);

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// When, since the world began.
    at: Nanos,
    /// What was seen, in a sentence.
    pub text: String,
}

/// What a [`World`] holds a loop to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// The invariants of its tables hold between turns.
    Invariants,
    /// A turn does no more for one source than its budgets say.
    Budgets,
    /// It takes no turns for nothing.
    Rest,
    /// Callbacks come in their order, each `on_open` with one `on_close`, and none too early.
    Callbacks,
    /// Every byte arrives, or is dropped for a reason.
    Bytes,
    /// Once nothing goes wrong, everything comes to its end.
    Liveness,
    /// What is over leaves nothing behind.
    Release,
}

impl Promise {
    fn name(self) -> &'static str {
        match self {
            Self::Invariants => "invariants",
            Self::Budgets => "budgets",
            Self::Rest => "rest",
            Self::Callbacks => "callbacks",
            Self::Bytes => "bytes",
            Self::Liveness => "liveness",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos(self.at);
        write!(f, "{} violated at {at:?}: {}", self.promise.name(), self.text)
    }
}

impl std::error::Error for Violation {}

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
    /// for sending. At least 1; 64 KiB each, unless this is called.
    pub fn set_buffers(&mut self, receive: usize, send: usize) {
        let mut network = self.network.borrow_mut();
        (network.receive_buffer, network.send_buffer) = (receive.max(1), send.max(1));
    }

    /// From now on a name has these addresses.
    pub fn set_name(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().collect();
        self.network.borrow_mut().names.insert(name.to_owned(), addresses);
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
        let budgets = config.budgets.clone();
        let reactor = Reactor::with_driver(config, SimDriver::new(&self.network));
        let member = Member { reactor, budgets, busy_until: 0, stopped: None, barren: 0 };
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
    /// The address cannot be listened at.
    pub fn serve<H: Handler>(
        &mut self,
        number: LoopNumber,
        handler: H,
        config: ServiceConfig<H::Message>,
        listen: impl Into<crate::Listen>,
    ) -> Result<Service<Audited<H>>, crate::ListenError> {
        let service = self.add(number, handler, config);
        let listen = listen.into();
        // For want of descriptors it may take some tries, as for anybody.
        for _ in 0..1000 {
            match self.reactor(number).listen(&service, listen.clone()) {
                Ok(_) => break,
                Err(error) if error.error.raw_os_error() == Some(libc::EMFILE) => {
                    self.advance(Duration::from_millis(100));
                }
                Err(error) => return Err(error),
            }
        }
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
        let audited = Audited::new(handler, audit, self.complaints(), &self.network);
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
        self.stop_loops()?;
        self.check_end()?;
        Ok(self.tally())
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

    /// Something happens, if anything does until then.
    fn step(&mut self, until: Nanos) -> Result<bool, Violation> {
        let mut turned = false;
        for number in 0..self.loops.len() {
            if self.is_due(number) {
                self.turn(number)?;
                turned = true;
            }
        }
        if turned || self.let_peers_act() {
            return Ok(true);
        }
        let next = self.next_at();
        let mut network = self.network.borrow_mut();
        if next > until {
            network.now = until.max(network.now);
            return Ok(false);
        }
        network.now = next.max(network.now);
        network.happen();
        Ok(true)
    }

    fn next_at(&self) -> Nanos {
        let network = self.network.borrow();
        let loops = (0..self.loops.len()).map(|number| self.due_at(number, &network));
        loops.chain(network.next_at()).min().unwrap_or(NEVER)
    }

    /// When a loop has its next turn.
    fn due_at(&self, number: usize, network: &Network) -> Nanos {
        let Some(member) = self.loops.get(number) else { return NEVER };
        if member.stopped.is_some() {
            return NEVER;
        }
        if network.has_news(number) || network.is_rung(number) {
            return member.busy_until.max(network.now);
        }
        match member.reactor.next_deadline() {
            Some(deadline) => network.since_origin(deadline).max(member.busy_until),
            None => NEVER,
        }
    }

    fn is_due(&self, number: usize) -> bool {
        let network = self.network.borrow();
        self.due_at(number, &network) <= network.now
    }

    fn turn(&mut self, number: usize) -> Result<(), Violation> {
        let Some(member) = self.loops.get_mut(number) else { return Ok(()) };
        let before = progress(&self.network, member);
        // A turn that comes because its time has come is not for nothing: somebody asked for it.
        let says_there_is_work = member.reactor.next_deadline() == Some(member.reactor.origin());
        self.network.borrow_mut().begin_turn(number, &member.budgets);
        let reactor = &mut member.reactor;
        let turn = catch_unwind(AssertUnwindSafe(|| reactor.turn(Some(Duration::ZERO))));
        let Ok(turn) = turn else {
            let text = format!("a turn of loop {number} does not end, or panicked");
            return Err(self.violation(Promise::Rest, text));
        };
        match turn {
            Ok(Turn::Ran) | Err(_) => {}
            Ok(Turn::Stopped(report)) => member.stopped = Some(report),
            Ok(Turn::Signal(Signal::Interrupt | Signal::Terminate)) => {
                let again = member.reactor.is_stopping();
                let grace = if again { Duration::ZERO } else { Duration::from_secs(10) };
                member.reactor.shutdown(grace);
            }
            Ok(Turn::Signal(_)) => {}
        }
        let is_barren = says_there_is_work && before == progress(&self.network, member);
        member.barren = if is_barren { member.barren + 1 } else { 0 };
        let mut network = self.network.borrow_mut();
        network.tally.turns += 1;
        let mut time = network.random.time(&(Duration::ZERO..TURN_TIME));
        let stall = network.faults.stall;
        if network.random.chance(stall) {
            let most = network.faults.stall_time;
            time += network.random.time(&(Duration::ZERO..most));
        }
        member.busy_until = after(network.now, time);
        drop(network);
        self.check_turn(number)
    }

    fn let_peers_act(&mut self) -> bool {
        let mut network = self.network.borrow_mut();
        while let Some((peer, stream)) = network.arrivals.pop_front() {
            if let Some(player) = self.peers.get_mut(peer) {
                player.accepted.push_back(stream);
                network.acts.push_back(peer);
            }
        }
        let Some(peer) = network.acts.pop_front() else { return false };
        if let Some(Player { peer: actor, accepted }) = self.peers.get_mut(peer) {
            let calm = self.calm;
            actor.act(&mut PeerContext { network: &mut network, peer, accepted, calm });
        }
        true
    }

    /// Time passes, and nothing else is waited for.
    fn advance(&mut self, time: Duration) {
        let until = self.after(time);
        while matches!(self.step(until), Ok(true)) {}
    }

    fn after(&self, time: Duration) -> Nanos {
        after(self.network.borrow().now, time)
    }
}

/// What grows whenever a loop gets somewhere.
fn progress(network: &Shared, member: &Member) -> [u64; 4] {
    let statistics = member.reactor.counters().read();
    let network = network.borrow();
    [network.progress, network.tally.events, statistics.callbacks, statistics.open]
}

/// A number of another world: a mistake in the program, which no input can cause.
#[expect(clippy::panic, reason = "documented on `reactor`; there is no value to answer with")]
fn stranger(number: LoopNumber) -> ! {
    panic!("{number:?} is not a loop of this world");
}

/// What is checked.
impl World {
    fn violation(&self, promise: Promise, text: String) -> Violation {
        Violation { promise, at: self.network.borrow().now, text }
    }

    fn check_turn(&self, number: usize) -> Result<(), Violation> {
        let Some(member) = self.loops.get(number) else { return Ok(()) };
        if let Some(text) = self.network.borrow_mut().complaint.take() {
            return Err(self.violation(Promise::Budgets, text));
        }
        if let Some(text) = self.complaints.take() {
            return Err(self.violation(Promise::Callbacks, text));
        }
        if member.barren > BARREN_MAX {
            let text = format!("loop {number} has taken {} turns for nothing", member.barren);
            return Err(self.violation(Promise::Rest, text));
        }
        member.reactor.check().map_err(|text| self.violation(Promise::Invariants, text))
    }

    fn check_audits(&self, number: LoopNumber, member: &Member) -> Result<(), Violation> {
        let mut sum = Audit::default();
        let mut services = 0;
        for (_, audit) in self.audits.iter().filter(|(of, _)| *of == number) {
            let audit = audit.borrow();
            audit.check_calls().map_err(|text| self.violation(Promise::Callbacks, text))?;
            sum.add(&audit);
            services += 1;
        }
        // Of services that are not audited nobody knows what they consumed.
        if services < member.reactor.services() {
            return Ok(());
        }
        let sums = sum.check_sums(&member.reactor.counters().read());
        sums.map_err(|text| self.violation(Promise::Bytes, text))
    }

    fn peers_are_done(&self) -> bool {
        self.peers.iter().all(|(_, player)| player.peer.is_done())
    }

    fn who_is_not_done(&self) -> String {
        let waiting = self.peers.iter().filter(|(_, player)| !player.peer.is_done());
        let complaints: Vec<String> =
            waiting.filter_map(|(_, player)| player.peer.verdict().err()).take(3).collect();
        format!("peers wait for ever: {}", complaints.join("; "))
    }

    fn hear_verdicts(&self) -> Result<(), Violation> {
        let verdicts = self.peers.iter().map(|(_, player)| player.peer.verdict());
        match verdicts.filter_map(Result::err).next() {
            Some(text) => Err(self.violation(Promise::Bytes, text)),
            None => Ok(()),
        }
    }

    fn check_end(&self) -> Result<(), Violation> {
        for (number, member) in self.loops.iter().enumerate() {
            let released = member.reactor.check_released();
            released.map_err(|text| self.violation(Promise::Release, text))?;
            self.check_audits(LoopNumber(number), member)?;
        }
        match self.network.borrow().leftovers() {
            Some(text) => Err(self.violation(Promise::Release, format!("left behind: {text}"))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (loops, peers) = (self.loops.len(), self.peers.len());
        write!(f, "World({loops} loops, {peers} peers, at {:?})", self.now())
    }
}
