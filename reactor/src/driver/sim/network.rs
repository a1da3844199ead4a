//! The simulated network as a whole: its clock, what is yet to happen, and who is told of what.
//!
//! ```text
//!   a loop's calls --+                                  +--> edges --> the ready list of a loop's driver
//!                    +--> schedule (a heap, by time) ---+
//!   a peer's acts ---+    Transmit, Syn, Reset, ...     +--> acts  --> the peers that have news
//! ```

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::datagram::{Mailbox, Post};
use super::faults::Faults;
use super::listen::Listening;
use super::random::Random;
use super::stream::{Buffers, Endpoint};
use crate::driver::Signal;
use crate::id::{Arena, Id, Token};
use crate::limits::Budgets;
use crate::socket::options::StreamOptions;
use crate::timers::{NEVER, Nanos, after};

/// A network, as its drivers and streams hold it.
pub(crate) type Shared = Rc<RefCell<Network>>;

/// One end of a stream, a listener or a datagram socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stream(Id),
    Listener(Id),
    Socket(Id),
}

/// Whose a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A loop's, and watched under this token once it is registered.
    Loop { number: usize, token: Option<Token> },
    /// A scripted peer's.
    Peer(Id),
}

/// What is yet to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// What an endpoint has to send goes on its way, and arrives.
    Transmit(Id),
    /// RST arrives at an endpoint.
    Reset(Id),
    /// The first segment of a connect arrives, for the so manieth time.
    Syn(Id, u32),
    /// Nobody listens where an endpoint connects to.
    Refused(Id),
    /// The answer to a connect arrives, and with it the connection at the listener.
    Established { client: Id, server: Id, listener: Id },
    /// What was held back from an endpoint's owner, for a short call, is there.
    Release(Id),
    /// A datagram arrives.
    Post(Box<Post>),
    /// A datagram socket that was said to have no room has room.
    Room(Id),
    /// A look-up of a name has ended.
    Resolved { number: usize, token: Token, found: io::Result<Vec<SocketAddr>> },
    /// A peer has news.
    Act(Id),
    /// The time has come that a peer asked for.
    Wake(Id),
    /// The system's descriptors are used up, or there are some again.
    Descriptors { left: bool },
}

struct Scheduled {
    at: Nanos,
    /// What was scheduled first happens first.
    order: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What one loop's driver has of the network.
pub(super) struct LoopSide {
    /// Sources with an edge. Invariant: each once, and its `listed` says so.
    pub(super) ready: Vec<Source>,
    /// Set by the loop's waker.
    pub(super) rung: Arc<AtomicBool>,
    pub(super) resolved: VecDeque<(Token, io::Result<Vec<SocketAddr>>)>,
    pub(super) signals: VecDeque<Signal>,
    /// Those of its turn; of a driver that is called by hand there are none.
    budgets: Option<Budgets>,
}

/// Calls that one turn may make: budgets bound each source, and worlds have thousands of them at most.
const CALLS_MAX: u32 = 1_000_000;

/// When a peer acts next.
pub(super) struct Mark {
    /// Invariant: whether an `Act` is scheduled.
    pub(super) has_news: bool,
    /// The earliest `Wake` that is scheduled and counts.
    wakes_at: Nanos,
}

impl Default for Mark {
    fn default() -> Self {
        Self { has_news: false, wakes_at: NEVER }
    }
}

/// What a [`World`](crate::sim::World) did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What happened in the network: arrivals, answers, resets, peers' acts, edges told to a loop.
    pub events: u64,
    /// Calls that loops made to it: reads, writes, accepts and so on.
    pub calls: u64,
    /// Turns of all loops.
    pub turns: u64,
    /// Bytes that arrived at one end or another.
    pub bytes: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.calls += other.calls;
        self.turns += other.turns;
        self.bytes += other.bytes;
    }
}

pub(crate) struct Network {
    origin: Instant,
    pub(crate) now: Nanos,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    schedule: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    pub(super) endpoints: Arena<Endpoint>,
    pub(super) listeners: Arena<Listening>,
    pub(super) mailboxes: Arena<Mailbox>,
    pub(super) loops: Vec<LoopSide>,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses where nobody answers, be it with a refusal.
    pub(crate) silent: BTreeSet<IpAddr>,
    /// Files of Unix sockets that nobody has any more.
    pub(crate) files: BTreeSet<PathBuf>,
    /// The last port that was given to somebody who asked for any.
    pub(super) port: u16,
    pub(crate) descriptors_left: bool,
    /// Sizes of the buffers of streams that are made from now on.
    pub(crate) receive_buffer: usize,
    pub(crate) send_buffer: usize,
    /// How many addresses peers have together.
    pub(crate) hosts: u64,
    /// By the peers' slots: no peer ever leaves.
    marks: Vec<Mark>,
    /// Peers that have news, in this order.
    pub(crate) acts: VecDeque<Id>,
    /// Connections that a listener of a peer has accepted, and the peer.
    pub(crate) arrivals: VecDeque<(Id, Id)>,
    pub(crate) tally: Tally,
    /// The number of the turn, of all loops.
    pub(crate) turn: u64,
    /// Calls of loops that came to something.
    pub(crate) progress: u64,
    pub(super) calls_in_turn: u32,
    /// The first thing that a loop did and should not have.
    pub(crate) complaint: Option<String>,
}

impl Network {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut network = Self {
            // Only what differs between two instants means anything, so this one shows nowhere.
            origin: Instant::now(),
            now: 0,
            random: Random::new(seed),
            faults,
            schedule: BinaryHeap::new(),
            order: 0,
            endpoints: Arena::new(0),
            listeners: Arena::new(0),
            mailboxes: Arena::new(0),
            loops: Vec::new(),
            names: BTreeMap::new(),
            silent: BTreeSet::new(),
            files: BTreeSet::new(),
            port: 40_000,
            descriptors_left: true,
            receive_buffer: 64 * 1024,
            send_buffer: 64 * 1024,
            hosts: u64::MAX,
            marks: Vec::new(),
            acts: VecDeque::new(),
            arrivals: VecDeque::new(),
            tally: Tally::default(),
            turn: 0,
            progress: 0,
            calls_in_turn: 0,
            complaint: None,
        };
        if network.faults.no_descriptors > 0.0 {
            network.schedule_descriptors(true);
        }
        network
    }

    pub(crate) fn instant(&self) -> Instant {
        self.origin.checked_add(Duration::from_nanos(self.now)).unwrap_or(self.origin)
    }

    pub(crate) fn since_origin(&self, instant: Instant) -> Nanos {
        after(0, instant.saturating_duration_since(self.origin))
    }

    pub(super) fn add_loop(&mut self, rung: Arc<AtomicBool>) -> usize {
        let (resolved, signals, budgets) = Default::default();
        self.loops.push(LoopSide { ready: Vec::new(), rung, resolved, signals, budgets });
        self.loops.len() - 1
    }

    /// A loop's next turn begins; it may do as much as `budgets` say.
    pub(crate) fn begin_turn(&mut self, number: usize, budgets: &Budgets) {
        self.turn += 1;
        if let Some(side) = self.loops.get_mut(number) {
            side.budgets = Some(budgets.clone());
        }
    }

    /// A peer acts after this time, at the latest.
    pub(crate) fn wake_peer(&mut self, peer: Id, delay: Duration) {
        let at = after(self.now, delay);
        if at < self.mark(peer).wakes_at {
            self.mark(peer).wakes_at = at;
            self.schedule(delay, Happening::Wake(peer));
        }
    }

    pub(super) fn mark(&mut self, peer: Id) -> &mut Mark {
        let slot = peer.slot();
        if slot >= self.marks.len() {
            self.marks.resize_with(slot + 1, Mark::default);
        }
        match self.marks.get_mut(slot) {
            Some(mark) => mark,
            None => unreachable!("it was made just now"),
        }
    }

    /// Whether a loop's waker was used.
    pub(crate) fn is_rung(&self, number: usize) -> bool {
        self.loops.get(number).is_some_and(|side| side.rung.load(Ordering::Acquire))
    }

    pub(crate) fn raise(&mut self, number: usize, signal: Signal) {
        if let Some(side) = self.loops.get_mut(number) {
            side.signals.push_back(signal);
        }
    }

    /// What its owner may do in a turn, if it is a loop that takes turns.
    pub(super) fn budgets(&self, owner: Owner) -> Option<&Budgets> {
        match owner {
            Owner::Loop { number, .. } => self.loops.get(number)?.budgets.as_ref(),
            Owner::Peer(_) => None,
        }
    }

    /// A loop makes a call. A turn without an end has to be ended somewhere, and that is here.
    pub(super) fn count_call(&mut self) {
        self.tally.calls += 1;
        self.calls_in_turn += 1;
        if self.calls_in_turn > CALLS_MAX {
            std::panic::resume_unwind(Box::new("a turn without an end"));
        }
    }

    /// Something that no loop should do has been done to the network.
    pub(super) fn complain(&mut self, text: impl FnOnce() -> String) {
        self.complaint.get_or_insert_with(text);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&mut self) {
        self.faults = Faults { latency: self.faults.latency.clone(), ..Faults::none() };
        self.descriptors_left = true;
    }

    pub(super) fn schedule(&mut self, delay: Duration, what: Happening) {
        self.order += 1;
        let at = after(self.now, delay);
        self.schedule.push(Reverse(Scheduled { at, order: self.order, what }));
    }

    /// After as long as a segment takes.
    pub(super) fn send_off(&mut self, what: Happening) {
        let delay = self.latency();
        self.schedule(delay, what);
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Nanos> {
        self.schedule.peek().map(|Reverse(next)| next.at)
    }

    /// Lets one thing happen that is due. Whether there was one.
    pub(crate) fn happen(&mut self) -> bool {
        match self.schedule.peek() {
            Some(Reverse(next)) if next.at <= self.now => {}
            _ => return false,
        }
        if let Some(Reverse(next)) = self.schedule.pop() {
            self.tally.events += 1;
            self.dispatch(next.what);
        }
        true
    }

    fn dispatch(&mut self, what: Happening) {
        match what {
            Happening::Transmit(id) => self.transmit(id),
            Happening::Reset(id) => self.reset_arrives(id),
            Happening::Syn(id, attempt) => self.syn_arrives(id, attempt),
            Happening::Refused(id) => self.refused(id),
            Happening::Established { client, server, listener } => {
                self.established(client, server, listener);
            }
            Happening::Release(id) => self.release(id),
            Happening::Post(post) => self.post_arrives(*post),
            Happening::Room(id) => self.has_room(id),
            Happening::Resolved { number, token, found } => {
                if let Some(side) = self.loops.get_mut(number) {
                    side.resolved.push_back((token, found));
                }
            }
            Happening::Act(peer) => {
                self.mark(peer).has_news = false;
                self.acts.push_back(peer);
            }
            Happening::Wake(peer) => {
                let now = self.now;
                if self.mark(peer).wakes_at == now {
                    self.mark(peer).wakes_at = NEVER;
                    self.acts.push_back(peer);
                } // else it was asked for an earlier time since
            }
            Happening::Descriptors { left } => self.descriptors_change(left),
        }
    }

    /// Within each second, if the dice say so, there are no descriptors for up to half a second.
    fn schedule_descriptors(&mut self, left: bool) {
        let delay = match left {
            true => self.random.time(&(Duration::ZERO..Duration::from_secs(1))),
            false => self.random.time(&(Duration::ZERO..Duration::from_millis(500))),
        };
        self.schedule(delay, Happening::Descriptors { left: !left });
    }

    fn descriptors_change(&mut self, left: bool) {
        if self.faults.no_descriptors > 0.0 {
            self.descriptors_left = left || !self.random.chance(self.faults.no_descriptors);
            self.schedule_descriptors(left);
        }
    }

    pub(super) fn descriptor(&self) -> io::Result<()> {
        match self.descriptors_left {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        }
    }

    /// A call may be interrupted before it does anything.
    pub(super) fn may_be_interrupted(&mut self) -> io::Result<()> {
        match self.random.chance(self.faults.interrupted) {
            true => Err(io::Error::from_raw_os_error(libc::EINTR)),
            false => Ok(()),
        }
    }

    /// The addresses of a name, or the one that it is.
    pub(super) fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.names.get(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(found.iter().map(|&address| SocketAddr::new(address, port)).collect())
    }

    /// The sizes of the buffers of a socket with these options.
    pub(super) fn buffers(&self, options: &StreamOptions) -> Buffers {
        let Buffers { receive, send } = self.usual_buffers();
        Buffers {
            receive: options.receive_buffer.unwrap_or(receive),
            send: options.send_buffer.unwrap_or(send),
        }
    }

    pub(crate) fn usual_buffers(&self) -> Buffers {
        Buffers { receive: self.receive_buffer, send: self.send_buffer }
    }

    /// How long something is on its way.
    pub(super) fn latency(&mut self) -> Duration {
        self.random.time(&self.faults.latency)
    }

    /// A port for somebody who asks for any.
    pub(super) fn free_port(&mut self) -> u16 {
        self.port = self.port.checked_add(1).unwrap_or(40_001);
        self.port
    }

    /// What is left of streams, and of loops' listeners and datagram sockets, in a word each.
    pub(crate) fn leftovers(&self) -> Option<String> {
        let is_a_loops = |owner: &Owner| matches!(owner, Owner::Loop { .. });
        let streams = self.endpoints.len();
        let listeners = self.listeners.iter().filter(|(_, found)| is_a_loops(&found.owner)).count();
        let sockets = self.mailboxes.iter().filter(|(_, found)| is_a_loops(&found.owner)).count();
        (streams + listeners + sockets > 0).then(|| {
            format!("{streams} streams, {listeners} listeners, {sockets} datagram sockets")
        })
    }
}
