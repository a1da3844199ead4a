//! Simulated listeners, and how a connect comes to one.
//!
//! ```text
//!   connect --Syn--> a listener with room --Established--> the client stands; the backlog has one more
//!               |--> a full backlog: nothing; the client tries again after 1 s, 2 s, 4 s ...
//!               +--> nobody: Refused
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::network::{Happening, Network, Owner, Source};
use super::stream::Endpoint;
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

/// How often a connect is tried before it has timed out (`tcp_syn_retries`).
const ATTEMPTS: u32 = 7;

impl Network {
    /// Listens. An address that somebody else listens at may be shared, as loops share one.
    pub(crate) fn listen(
        &mut self,
        owner: Owner,
        address: &Address,
        backlog: usize,
    ) -> io::Result<Id> {
        self.descriptor()?;
        self.add_listener(owner, address, backlog).ok_or_else(no_memory)
    }

    fn add_listener(&mut self, owner: Owner, address: &Address, backlog: usize) -> Option<Id> {
        let queue = VecDeque::new();
        let address = address.clone();
        let listening = Listening {
            owner,
            listed: false,
            address,
            queue,
            backlog,
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
            self.reset(waiting);
        }
    }

    pub(super) fn accept(&mut self, id: Id) -> io::Result<(Id, Address)> {
        self.count_call();
        let is_empty = self.listeners.get(id).is_none_or(|listening| listening.queue.is_empty());
        if is_empty {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.may_be_interrupted()?;
        self.descriptor()?;
        self.check_accept(id);
        let aborted = self.random.chance(self.faults.accept_aborted);
        let Some(server) = self.listeners.get_mut(id).and_then(|found| found.queue.pop_front())
        else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if aborted {
            self.harm(server);
            self.reset(server);
            return Err(io::Error::from_raw_os_error(libc::ECONNABORTED));
        }
        match self.endpoints.get(server) {
            Some(endpoint) => Ok((server, endpoint.remote.clone())),
            // It was reset while it waited, by a network that cuts connections.
            None => Err(io::Error::from_raw_os_error(libc::ECONNABORTED)),
        }
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
        if let Owner::Loop { number, .. } = listening.owner
            && let Some(budget) = self.loops.get(number).map(|side| side.budget_of_accepts())
            && accepted > budget
        {
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

    /// The same for the one whose peer has this address.
    pub(crate) fn harm_whose(&mut self, peer: &Address) {
        let found = self.endpoints.iter().find(|(_, endpoint)| endpoint.local == *peer);
        if let Some((id, _)) = found {
            self.harm(id);
        }
    }

    /// Begins to connect from `local`.
    pub(crate) fn connect(&mut self, owner: Owner, local: Address, to: &Address) -> io::Result<Id> {
        self.descriptor()?;
        let buffers = (self.receive_buffer, self.send_buffer);
        let endpoint = Endpoint::new(owner, local, to.clone(), buffers);
        let id = self.endpoints.insert(endpoint).ok_or_else(no_memory)?;
        if matches!(owner, Owner::Loop { .. }) && self.random.chance(self.faults.connect_lost) {
            self.harm(id);
        } else {
            self.send_off(Happening::Syn(id, 1));
        }
        Ok(id)
    }

    pub(super) fn syn_arrives(&mut self, client: Id, attempt: u32) {
        let Some(endpoint) = self.endpoints.get(client) else { return };
        let (to, from) = (endpoint.remote.clone(), endpoint.local.clone());
        let at_address = self.listeners.iter().filter(|(_, listening)| listening.serves(&to));
        let found: Vec<Id> = at_address.map(|(id, _)| id).collect();
        let Some(&listener) = self.random.pick(&found) else {
            return self.send_off(Happening::Refused(client));
        };
        let Some(listening) = self.listeners.get_mut(listener) else { return };
        if listening.queue.len() + listening.answered > listening.backlog {
            return self.try_again(client, attempt);
        }
        listening.answered += 1;
        let buffers = (self.receive_buffer, self.send_buffer);
        let mut server = Endpoint::new(listening.owner.unwatched(), to, from, buffers);
        server.stands = true;
        let Some(server) = self.endpoints.insert(server) else { return };
        self.send_off(Happening::Established { client, server, listener });
    }

    fn try_again(&mut self, client: Id, attempt: u32) {
        if attempt < ATTEMPTS {
            let pause = Duration::from_secs(1 << (attempt - 1).min(6));
            return self.schedule(pause, Happening::Syn(client, attempt + 1));
        }
        if let Some(endpoint) = self.endpoints.get_mut(client) {
            endpoint.refuse(io::ErrorKind::TimedOut);
            self.edge(Source::Stream(client));
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
        let buffers = (self.receive_buffer, self.send_buffer);
        let endpoint = Endpoint::new(owner, local, to.clone(), buffers);
        let id = self.endpoints.insert(endpoint).unwrap_or(Id::nobody());
        self.send_off(Happening::Syn(id, 1));
        id
    }

    pub(crate) fn listen_peer(&mut self, owner: Owner, address: &Address) {
        self.add_listener(owner, address, usize::MAX);
    }

    /// Each peer is a host of its own, as far as there are hosts.
    pub(crate) fn peer_address(&mut self, peer: Id) -> Address {
        let host = peer.slot() as u64 % self.hosts.max(1);
        let [_, _, _, _, _, high, middle, low] = host.to_be_bytes();
        let port = self.free_port();
        Address::Ip((Ipv4Addr::new(172, 16 | high & 15, middle, low), port).into())
    }

    pub(crate) fn is_harmed(&self, id: Id) -> bool {
        self.endpoints.get(id).is_none_or(|endpoint| endpoint.harmed)
    }
}
