//! Simulated datagram sockets: whole or not at all, in any order, lost or doubled on the way.

use std::collections::VecDeque;
use std::io;

use super::listen::no_memory;
use super::network::{Happening, Network, Owner, Source};
use crate::id::Id;
use crate::readiness::Readiness;
use crate::socket::address::Address;

pub(crate) struct Mailbox {
    pub(super) owner: Owner,
    /// Invariant: whether it is on the ready list of its owner.
    pub(super) listed: bool,
    address: Address,
    /// Invariant: at most `receive_buffer` bytes, [`OVERHEAD`] for each counted in; what comes then is dropped.
    arrived: VecDeque<(Vec<u8>, Address)>,
    bytes: usize,
    receive_buffer: usize,
    /// A send was told that there is no room; an edge follows.
    full: bool,
    /// What ICMP had to say.
    error: Option<io::ErrorKind>,
}

/// What a datagram takes of a receive buffer beside its bytes.
const OVERHEAD: usize = 512;

/// A few datagrams always fit.
const RECEIVE_BUFFER_MIN: usize = 4096;

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    sender: Id,
    from: Address,
    to: Address,
    bytes: Vec<u8>,
}

impl Mailbox {
    pub(super) fn level(&self) -> Readiness {
        let error = self.error.is_some();
        let readable = error || !self.arrived.is_empty();
        Readiness { readable, writable: !self.full, error, ..Readiness::default() }
    }
}

impl Network {
    pub(crate) fn bind(&mut self, owner: Owner, address: &Address) -> io::Result<Id> {
        self.descriptor()?;
        if self.mailboxes.iter().any(|(_, mailbox)| mailbox.address == *address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let mailbox = Mailbox {
            owner,
            listed: false,
            address: address.clone(),
            arrived: VecDeque::new(),
            bytes: 0,
            receive_buffer: self.receive_buffer.max(RECEIVE_BUFFER_MIN),
            full: false,
            error: None,
        };
        let id = self.mailboxes.insert(mailbox).ok_or_else(no_memory)?;
        self.edge(Source::Socket(id)); // it has room
        Ok(id)
    }

    pub(crate) fn unbind(&mut self, id: Id) {
        self.mailboxes.remove(id);
    }

    pub(crate) fn receive(&mut self, id: Id, room: &mut [u8]) -> io::Result<(usize, Address)> {
        self.tally.calls += 1;
        let Some(mailbox) = self.mailboxes.get_mut(id) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(error) = mailbox.error.take() {
            return Err(error.into());
        }
        let Some((bytes, from)) = mailbox.arrived.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        mailbox.bytes -= bytes.len() + OVERHEAD;
        let count = bytes.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok((count, from))
    }

    pub(crate) fn send(&mut self, id: Id, bytes: &[u8], to: &Address) -> io::Result<()> {
        self.tally.calls += 1;
        self.may_be_interrupted()?;
        let Some(mailbox) = self.mailboxes.get_mut(id) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(error) = mailbox.error.take() {
            return Err(error.into());
        }
        if mailbox.full || self.random.chance(self.faults.would_block) {
            if !std::mem::replace(&mut mailbox.full, true) {
                self.send_off(Happening::Room(id));
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let from = mailbox.address.clone();
        let post = Post { sender: id, from, to: to.clone(), bytes: bytes.to_vec() };
        if self.random.chance(self.faults.datagram_duplicate) {
            self.send_off(Happening::Post(Box::new(post.clone())));
        }
        if !self.random.chance(self.faults.datagram_loss) {
            self.send_off(Happening::Post(Box::new(post)));
        }
        Ok(())
    }

    pub(super) fn has_room(&mut self, id: Id) {
        if let Some(mailbox) = self.mailboxes.get_mut(id) {
            mailbox.full = false;
            self.edge(Source::Socket(id));
        }
    }

    pub(super) fn post_arrives(&mut self, post: Post) {
        let Post { sender, from, to, bytes } = post;
        let found = self.mailboxes.iter_mut().find(|(_, mailbox)| mailbox.address == to);
        let Some((id, mailbox)) = found else { return self.undeliverable(sender) };
        if mailbox.bytes + bytes.len() + OVERHEAD > mailbox.receive_buffer {
            return;
        }
        mailbox.bytes += bytes.len() + OVERHEAD;
        self.tally.bytes += bytes.len() as u64;
        mailbox.arrived.push_back((bytes, from));
        self.edge(Source::Socket(id));
    }

    fn undeliverable(&mut self, sender: Id) {
        let told = self.random.chance(self.faults.datagram_refused);
        if let Some(mailbox) = self.mailboxes.get_mut(sender).filter(|_| told) {
            mailbox.error = Some(io::ErrorKind::ConnectionRefused);
            self.edge(Source::Socket(sender));
        }
    }
}
