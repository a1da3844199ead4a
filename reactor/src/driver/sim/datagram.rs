//! Simulated datagram sockets: whole or not at all, in any order, lost or doubled on the way.

use std::collections::VecDeque;
use std::io;

use super::listen::no_memory;
use super::network::{Happening, Network, Owner, Source};
use super::stream::Buffers;
use crate::id::Id;
use crate::readiness::Readiness;
use crate::socket::address::Address;

pub(crate) struct Mailbox {
    pub(super) owner: Owner,
    /// Invariant: whether it is on the ready list of its owner.
    pub(super) listed: bool,
    address: Address,
    arrived: VecDeque<Letter>,
    /// What that takes of the buffer, [`OVERHEAD`] for each counted in.
    bytes: usize,
    buffers: Buffers,
    /// A send was told that there is no room; an edge follows.
    full: bool,
    /// What ICMP had to say.
    error: Option<io::ErrorKind>,
    /// The turn in which a loop last received here, and how often.
    used_in: u64,
    received_in_turn: usize,
}

/// What a datagram takes of a receive buffer beside its bytes.
const OVERHEAD: usize = 512;

/// A few datagrams always fit.
const BUFFER_MIN: usize = 4096;

/// A UDP datagram has no more bytes.
const UDP_MAX: usize = 65_507;

/// More than so many do not wait in a Unix socket (`net.unix.max_dgram_qlen`, and one).
const UNIX_QUEUE: usize = 11;

#[derive(Clone, Debug)]
struct Letter {
    sender: Id,
    from: Address,
    bytes: Vec<u8>,
}

/// A UDP datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    letter: Letter,
    to: Address,
    is_lost: bool,
}

impl Mailbox {
    pub(super) fn level(&self) -> Readiness {
        Readiness {
            readable: !self.arrived.is_empty(),
            writable: !self.full,
            error: self.error.is_some(),
            ..Readiness::default()
        }
    }
}

impl Network {
    pub(crate) fn bind(
        &mut self,
        owner: Owner,
        address: &Address,
        buffers: Buffers,
    ) -> io::Result<Id> {
        if matches!(owner, Owner::Loop { .. }) {
            self.descriptor()?;
        }
        self.take_file(address);
        if self.mailboxes.iter().any(|(_, mailbox)| mailbox.address == *address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let mailbox = Mailbox {
            owner,
            listed: false,
            address: address.clone(),
            arrived: VecDeque::new(),
            bytes: 0,
            buffers: Buffers {
                receive: buffers.receive.max(BUFFER_MIN),
                send: buffers.send.max(BUFFER_MIN),
            },
            full: false,
            error: None,
            used_in: 0,
            received_in_turn: 0,
        };
        let id = self.mailboxes.insert(mailbox).ok_or_else(no_memory)?;
        self.edge(Source::Socket(id)); // it has room
        Ok(id)
    }

    pub(crate) fn unbind(&mut self, id: Id) {
        let Some(mailbox) = self.mailboxes.remove(id) else { return };
        mailbox.arrived.iter().for_each(|letter| self.freed(letter));
    }

    pub(crate) fn receive(&mut self, id: Id, room: &mut [u8]) -> io::Result<(usize, Address)> {
        self.count_call_of(id);
        let Some(mailbox) = self.mailboxes.get_mut(id) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(error) = mailbox.error.take() {
            return Err(error.into());
        }
        let Some(letter) = mailbox.arrived.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        mailbox.bytes -= letter.bytes.len() + OVERHEAD;
        self.freed(&letter);
        self.check_receive(id);
        let count = letter.bytes.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), letter.bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok((count, letter.from))
    }

    /// If the socket is a loop's, it makes a call.
    fn count_call_of(&mut self, id: Id) {
        let owner = self.mailboxes.get(id).map(|mailbox| mailbox.owner);
        if let Some(Owner::Loop { .. }) = owner {
            self.count_call();
        }
    }

    /// A loop receives no more from one socket in a turn than its budget says.
    fn check_receive(&mut self, id: Id) {
        let turn = self.turn;
        let Some(mailbox) = self.mailboxes.get_mut(id) else { return };
        if std::mem::replace(&mut mailbox.used_in, turn) != turn {
            mailbox.received_in_turn = 0;
        }
        mailbox.received_in_turn += 1;
        let (received, owner) = (mailbox.received_in_turn, mailbox.owner);
        let Some(budget) = self.budgets(owner).map(|budgets| budgets.datagrams.max(1)) else {
            return;
        };
        self.progress += 1;
        if received > budget {
            self.complain(|| {
                format!("{received} datagrams received at one socket in one turn, of {budget}")
            });
        }
    }

    /// A Unix datagram counts to its sender's buffer until then, and the sender is told of its room.
    fn freed(&mut self, letter: &Letter) {
        if matches!(letter.from, Address::Unix(_)) {
            self.tell_of_room(letter.sender);
        }
    }

    /// A loop is told of room even if it never lacked any. Peers wait for none.
    fn tell_of_room(&mut self, id: Id) {
        if self.mailboxes.get(id).is_some_and(|sender| matches!(sender.owner, Owner::Loop { .. })) {
            self.edge(Source::Socket(id));
        }
    }

    pub(crate) fn send(&mut self, id: Id, bytes: &[u8], to: &Address) -> io::Result<()> {
        self.count_call_of(id);
        let Some(mailbox) = self.mailboxes.get_mut(id) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let faulty = matches!(mailbox.owner, Owner::Loop { .. });
        if faulty && self.random.chance(self.faults.interrupted) {
            return Err(io::Error::from_raw_os_error(libc::EINTR));
        }
        if let Some(error) = mailbox.error.take() {
            return Err(error.into());
        }
        if mailbox.full || faulty && self.random.chance(self.faults.would_block) {
            if !std::mem::replace(&mut mailbox.full, true) {
                self.send_off(Happening::Room(id));
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let from = mailbox.address.clone();
        let most = mailbox.buffers.send;
        let letter = Letter { sender: id, from, bytes: bytes.to_vec() };
        match to {
            Address::Ip(_) if bytes.len() > UDP_MAX => Err(too_large()),
            Address::Ip(_) => {
                self.post(letter, to);
                Ok(())
            }
            Address::Unix(_) if bytes.len() > most => Err(too_large()),
            Address::Unix(_) => self.hand_over(letter, to),
        }
    }

    /// UDP: it goes on its way, and nobody knows what becomes of it.
    fn post(&mut self, letter: Letter, to: &Address) {
        let post = Post { letter, to: to.clone(), is_lost: false };
        if self.random.chance(self.faults.datagram_duplicate) {
            self.send_off(Happening::Post(Box::new(post.clone())));
        }
        let is_lost = self.random.chance(self.faults.datagram_loss);
        self.send_off(Happening::Post(Box::new(Post { is_lost, ..post })));
    }

    /// Unix: it is there, or it is an error.
    fn hand_over(&mut self, letter: Letter, to: &Address) -> io::Result<()> {
        let sender = letter.sender;
        let found = self.mailboxes.iter_mut().find(|(_, mailbox)| mailbox.address == *to);
        let Some((id, mailbox)) = found else { return Err(self.nobody_at(to).into()) };
        if mailbox.arrived.len() >= UNIX_QUEUE {
            // It is told of the room that this one would have taken: who tries again is told again.
            self.tell_of_room(sender);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.put(id, letter);
        Ok(())
    }

    fn put(&mut self, id: Id, letter: Letter) {
        if let Some(mailbox) = self.mailboxes.get_mut(id) {
            mailbox.bytes += letter.bytes.len() + OVERHEAD;
            self.tally.bytes += letter.bytes.len() as u64;
            mailbox.arrived.push_back(letter);
            self.edge(Source::Socket(id));
        }
    }

    pub(super) fn has_room(&mut self, id: Id) {
        if let Some(mailbox) = self.mailboxes.get_mut(id) {
            mailbox.full = false;
            self.edge(Source::Socket(id));
        }
    }

    /// It arrives, or would have: its sender's buffer is free of it. What overflows is dropped; whatever
    /// there is room for, however little, is taken whole (`__udp_enqueue_schedule_skb`).
    pub(super) fn post_arrives(&mut self, post: Post) {
        let Post { letter, to, is_lost } = post;
        self.tell_of_room(letter.sender);
        if is_lost {
            return;
        }
        let found = self.mailboxes.iter().find(|(_, mailbox)| mailbox.address == to);
        match found {
            Some((id, mailbox)) if mailbox.bytes <= mailbox.buffers.receive => self.put(id, letter),
            Some(_) => {}
            None => self.undeliverable(letter.sender),
        }
    }

    fn undeliverable(&mut self, sender: Id) {
        let told = self.random.chance(self.faults.datagram_refused);
        if let Some(mailbox) = self.mailboxes.get_mut(sender).filter(|_| told) {
            mailbox.error = Some(io::ErrorKind::ConnectionRefused);
            self.edge(Source::Socket(sender));
        }
    }
}

fn too_large() -> io::Error {
    io::Error::from_raw_os_error(libc::EMSGSIZE)
}
