//! Simulated listeners, and how a connect comes to one.
//!
//! ```text
//!   connect --Syn--> a listener with room --Established--> the client stands; the backlog has one more
//!               |--> a full backlog: nothing; the client tries again after 1 s, 2 s, 4 s ...
//!               +--> nobody: Refused
//!
//!   connect over a Unix socket: it stands at once, or fails at once
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::network::{Happening, Network, Owner, Source};
use super::stream::{Buffers, Endpoint};
use crate::id::{Id, Token};
use crate::readiness::Readiness;
use crate::socket::address::Address;

pub(crate) struct Listening {
    pub(super) owner: Owner,
    /// Invariant: whether it is on the ready list of its owner.
    pub(super) listed: bool,
    address: Address,
    /// Invariant: with those that are about to stand, at most one more than `backlog`.
    queue: VecDeque<Id>,
    backlog: usize,
    /// Those of the streams that it accepts.
    buffers: Buffers,
    /// Connects that have been answered and do not stand yet.
    answered: usize,
    /// The turn in which a loop last accepted here, and how often.
    used_in: u64,
    accepted_in_turn: usize,
}

impl Listening {
    pub(super) fn level(&self) -> Readiness {
        Readiness { readable: !self.queue.is_empty(), ..Readiness::default() }
    }
}

/// How often a connect is tried before it has timed out (`tcp_syn_retries`), after 1 s, 2 s, 4 s ...
const ATTEMPTS: u32 = 7;

/// When that is.
const GIVEN_UP: Duration = Duration::from_secs(127);

impl Network {
    /// Listens. An address that somebody else listens at may be shared, as loops share one.
    pub(crate) fn listen(
        &mut self,
        owner: Owner,
        address: &Address,
        backlog: usize,
        buffers: Buffers,
    ) -> io::Result<Id> {
        self.descriptor()?;
        self.take_file(address);
        self.add_listener(owner, address, backlog, buffers).ok_or_else(no_memory)
    }

    /// Nobody's file is removed before one of that name is made.
    pub(super) fn take_file(&mut self, address: &Address) {
        if let Address::Unix(Some(path)) = address {
            self.files.remove(path.as_ref());
        }
    }

    fn add_listener(
        &mut self,
        owner: Owner,
        address: &Address,
        backlog: usize,
        buffers: Buffers,
    ) -> Option<Id> {
        let queue = VecDeque::new();
        let address = address.clone();
        let listening = Listening {
            owner,
            listed: false,
            address,
            queue,
            backlog,
            buffers,
            answered: 0,
            used_in: 0,
            accepted_in_turn: 0,
        };
        self.listeners.insert(listening)
    }

    /// The address with a port of its own, if any port will do.
    pub(super) fn settle_port(&mut self, mut address: Address) -> Address {
        if let Address::Ip(ip) = &mut address
            && ip.port() == 0
        {
            ip.set_port(self.free_port());
        }
        address
    }

    pub(super) fn close_listener(&mut self, id: Id) {
        let Some(listening) = self.listeners.remove(id) else { return };
        for waiting in listening.queue {
            match self.endpoints.get(waiting) {
                Some(endpoint) if endpoint.is_unix() => self.hang_up(waiting, true),
                _ => self.reset(waiting),
            }
        }
    }

    pub(super) fn accept(&mut self, id: Id) -> io::Result<(Id, Address)> {
        self.count_call();
        self.descriptor()?; // looked for before the queue is
        let first = self.listeners.get(id).and_then(|listening| listening.queue.front());
        let Some(&server) = first else { return Err(io::ErrorKind::WouldBlock.into()) };
        self.may_be_interrupted()?;
        self.check_accept(id);
        if let Some(listening) = self.listeners.get_mut(id) {
            listening.queue.pop_front();
        }
        match self.endpoints.get(server).map(|endpoint| endpoint.remote.clone()) {
            Some(remote) if !self.is_aborted(server) => Ok((server, remote)),
            _ => {
                self.reset(server);
                Err(io::Error::from_raw_os_error(libc::ECONNABORTED))
            }
        }
    }

    /// Whether a connection is reset as it is accepted. One that is reset by then may be told so, too.
    fn is_aborted(&mut self, server: Id) -> bool {
        let Some(endpoint) = self.endpoints.get(server) else { return true };
        let (is_unix, is_reset) = (endpoint.is_unix(), endpoint.dead);
        if is_unix || is_reset {
            return !is_unix && self.random.chance(0.5);
        }
        let cut = self.random.chance(self.faults.accept_aborted);
        if cut {
            self.harm(server);
        }
        cut
    }

    /// A loop accepts no more from one listener in a turn than its budget says.
    fn check_accept(&mut self, id: Id) {
        self.progress += 1;
        let turn = self.turn;
        let Some(listening) = self.listeners.get_mut(id) else { return };
        if std::mem::replace(&mut listening.used_in, turn) != turn {
            listening.accepted_in_turn = 0;
        }
        listening.accepted_in_turn += 1;
        let accepted = listening.accepted_in_turn;
        let owner = listening.owner;
        let Some(budget) = self.budgets(owner).map(|budgets| budgets.accepts.max(1)) else {
            return;
        };
        if accepted > budget {
            self.complain(|| {
                format!("{accepted} accepts at one listener in one turn, of {budget}")
            });
        }
    }

    /// Nobody is to blame for what this connection loses.
    pub(super) fn harm(&mut self, id: Id) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.harmed = true;
            if let Some(other) = endpoint.other.and_then(|other| self.endpoints.get_mut(other)) {
                other.harmed = true;
            }
        }
    }

    pub(super) fn register(&mut self, id: Id, token: Token) -> io::Result<()> {
        self.count_call();
        if self.random.chance(self.faults.register_failed) {
            self.harm(id);
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        if let Some(endpoint) = self.endpoints.get_mut(id)
            && let Owner::Loop { token: watched, .. } = &mut endpoint.owner
        {
            *watched = Some(token);
        }
        self.edge(Source::Stream(id)); // what is so already is told
        Ok(())
    }

    /// The same for the one whose peer has this address; of Unix peers several may have none.
    pub(crate) fn harm_whose(&mut self, peer: &Address) {
        let found = self.endpoints.iter().filter(|(_, endpoint)| endpoint.local == *peer);
        let found: Vec<Id> = found.map(|(id, _)| id).collect();
        found.into_iter().for_each(|id| self.harm(id));
    }

    /// Begins to connect from `local`.
    pub(crate) fn connect(
        &mut self,
        owner: Owner,
        local: Address,
        to: &Address,
        buffers: Buffers,
    ) -> io::Result<Id> {
        self.descriptor()?;
        let listener = match to {
            Address::Unix(_) => Some(self.unix_listener(to)?),
            Address::Ip(_) => None,
        };
        let endpoint = Endpoint::new(owner, local, to.clone(), buffers);
        let id = self.endpoints.insert(endpoint).ok_or_else(no_memory)?;
        if let Some(listener) = listener {
            self.answer(id, listener);
        } else if self.random.chance(self.faults.connect_lost) {
            self.harm(id);
            self.schedule(GIVEN_UP, Happening::Syn(id, ATTEMPTS + 1));
        } else {
            self.send_off(Happening::Syn(id, 1));
        }
        Ok(id)
    }

    /// The listener to which a Unix connect comes: it fails here and now.
    fn unix_listener(&mut self, to: &Address) -> io::Result<Id> {
        let Some(listener) = self.listener_at(to) else { return Err(self.nobody_at(to).into()) };
        match self.listeners.get(listener).is_some_and(Listening::has_room) {
            true => Ok(listener),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// What a call says that looks for the owner of a Unix socket's file.
    pub(super) fn nobody_at(&self, to: &Address) -> io::ErrorKind {
        match to {
            Address::Unix(Some(path)) if !self.files.contains(path.as_ref()) => {
                io::ErrorKind::NotFound
            }
            _ => io::ErrorKind::ConnectionRefused,
        }
    }

    /// One of those who listen there.
    fn listener_at(&mut self, to: &Address) -> Option<Id> {
        let at_address = self.listeners.iter().filter(|(_, listening)| listening.serves(to));
        let found: Vec<Id> = at_address.map(|(id, _)| id).collect();
        self.random.pick(&found).copied()
    }

    pub(super) fn syn_arrives(&mut self, client: Id, attempt: u32) {
        let Some(endpoint) = self.endpoints.get_mut(client) else { return };
        if attempt > ATTEMPTS {
            endpoint.refuse(io::ErrorKind::TimedOut);
            return self.edge(Source::Stream(client));
        }
        let to = endpoint.remote.clone();
        if to.ip().is_some_and(|address| self.silent.contains(&address)) {
            return self.schedule(GIVEN_UP, Happening::Syn(client, ATTEMPTS + 1));
        }
        let Some(listener) = self.listener_at(&to) else {
            return self.send_off(Happening::Refused(client));
        };
        if self.listeners.get(listener).is_some_and(Listening::has_room) {
            return self.answer(client, listener);
        }
        let pause = Duration::from_secs(1 << (attempt - 1).min(6));
        self.schedule(pause, Happening::Syn(client, attempt + 1));
    }

    /// The listener has room: a Unix stream stands at once, of TCP when the answer is there.
    fn answer(&mut self, client: Id, listener: Id) {
        let Some(endpoint) = self.endpoints.get(client) else { return };
        let (to, from) = (endpoint.remote.clone(), endpoint.local.clone());
        let at_once = endpoint.is_unix();
        let Some(listening) = self.listeners.get_mut(listener) else { return };
        listening.answered += 1;
        let owner = listening.owner.unwatched();
        let mut server = Endpoint::new(owner, to, from, listening.buffers);
        server.stands = true;
        let Some(server) = self.endpoints.insert(server) else { return };
        match at_once {
            true => self.established(client, server, listener),
            false => self.send_off(Happening::Established { client, server, listener }),
        }
    }

    pub(super) fn refused(&mut self, client: Id) {
        if let Some(endpoint) = self.endpoints.get_mut(client) {
            endpoint.refuse(io::ErrorKind::ConnectionRefused);
            self.edge(Source::Stream(client));
        }
    }

    pub(super) fn established(&mut self, client: Id, server: Id, listener: Id) {
        let Some(listening) = self.listeners.get_mut(listener) else {
            // Closed in the meantime: the client hears RST.
            self.endpoints.remove(server);
            return self.refused(client);
        };
        listening.answered -= 1;
        let owner = listening.owner;
        let Some(endpoint) = self.endpoints.get_mut(client) else {
            self.endpoints.remove(server); // it has given up
            return;
        };
        (endpoint.stands, endpoint.other) = (true, Some(server));
        let harmed = endpoint.harmed;
        if let Some(endpoint) = self.endpoints.get_mut(server) {
            (endpoint.other, endpoint.harmed) = (Some(client), harmed);
        }
        self.edge(Source::Stream(client));
        match owner {
            Owner::Peer(peer) => self.arrivals.push_back((peer, server)),
            Owner::Loop { .. } => {
                if let Some(listening) = self.listeners.get_mut(listener) {
                    listening.queue.push_back(server);
                }
                self.edge(Source::Listener(listener));
            }
        }
    }
}

impl Listening {
    /// One more than the backlog may wait.
    fn has_room(&self) -> bool {
        self.queue.len() + self.answered <= self.backlog
    }

    /// An address without an IP serves all of that port.
    fn serves(&self, to: &Address) -> bool {
        match (&self.address, to) {
            (Address::Ip(own), Address::Ip(to)) => {
                own.port() == to.port() && (own.ip().is_unspecified() || own.ip() == to.ip())
            }
            (own, to) => own == to,
        }
    }
}

impl Owner {
    /// The same owner of something that is not watched yet.
    fn unwatched(self) -> Self {
        match self {
            Self::Loop { number, .. } => Self::Loop { number, token: None },
            peer => peer,
        }
    }
}

pub(super) fn no_memory() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOMEM)
}

/// What peers do is done whatever goes wrong: they are not what is tested.
impl Network {
    /// A name of nobody if there is no memory, which there is.
    pub(crate) fn connect_peer(&mut self, owner: Owner, local: Address, to: &Address) -> Id {
        let buffers = self.usual_buffers();
        let endpoint = Endpoint::new(owner, local, to.clone(), buffers);
        let id = self.endpoints.insert(endpoint).unwrap_or(Id::nobody());
        self.send_off(Happening::Syn(id, 1));
        id
    }

    pub(crate) fn listen_peer(&mut self, owner: Owner, address: &Address) {
        let buffers = self.usual_buffers();
        self.add_listener(owner, address, usize::MAX, buffers);
    }

    /// Each peer is a host of its own, as far as there are hosts, and has a name of its own on those that
    /// have Unix sockets.
    pub(crate) fn peer_address(&mut self, peer: Id, to: &Address) -> Address {
        if matches!(to, Address::Unix(_)) {
            let name = format!("/run/peer-{}-{}", peer.slot(), self.free_port());
            return Address::Unix(Some(Path::new(&name).into()));
        }
        let host = peer.slot() as u64 % self.hosts.max(1);
        let [_, _, _, _, _, high, middle, low] = host.to_be_bytes();
        let port = self.free_port();
        Address::Ip((Ipv4Addr::new(172, 16 | high & 15, middle, low), port).into())
    }

    pub(crate) fn is_harmed(&self, id: Id) -> bool {
        self.endpoints.get(id).is_none_or(|endpoint| endpoint.harmed)
    }
}
