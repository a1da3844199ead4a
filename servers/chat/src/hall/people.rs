//! Who is there, and what they are called.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use reactor::ConnMap;

use super::{RoomId, Seat};
use crate::names::SERVER;

/// One who takes part.
#[derive(Debug)]
pub(super) struct Person {
    /// The number of the guest that it was at first.
    pub(super) guest: u64,
    pub(super) name: Rc<str>,
    pub(super) address: Option<IpAddr>,
    /// Who it is, once it has logged in.
    pub(super) account: Option<Rc<str>>,
    pub(super) is_operator: bool,
    /// Where it is; nowhere until it has logged in, if that is required.
    pub(super) room: Option<RoomId>,
    /// A login of its own is being checked.
    pub(super) is_claiming: bool,
}

impl Person {
    pub(super) fn guest(guest: u64, name: Rc<str>, address: Option<IpAddr>) -> Self {
        let (account, is_operator, room) = (None, false, None);
        Self { guest, name, address, account, is_operator, room, is_claiming: false }
    }

    pub(super) fn server() -> Self {
        Self { is_operator: true, ..Self::guest(0, SERVER.into(), None) }
    }
}

/// All who take part.
#[derive(Debug)]
pub(super) struct People {
    /// By the number of the loop.
    peers: Vec<ConnMap<Person>>,
    console: Option<Person>,
    /// Invariant: exactly the names of all who are there, each once.
    names: BTreeMap<Rc<str>, Seat>,
    /// Invariant: exactly those who have logged in.
    accounts: BTreeMap<Rc<str>, Seat>,
}

impl People {
    pub(super) fn new(loops: usize) -> Self {
        Self {
            peers: (0..loops).map(|_| ConnMap::new()).collect(),
            console: None,
            names: BTreeMap::new(),
            accounts: BTreeMap::new(),
        }
    }

    /// The name must be nobody's.
    pub(super) fn insert(&mut self, seat: Seat, person: Person) {
        self.names.insert(Rc::clone(&person.name), seat);
        match seat {
            Seat::Peer(number, id) => {
                if let Some(peers) = self.peers.get_mut(usize::from(number)) {
                    peers.insert(id, person);
                }
            }
            Seat::Console => self.console = Some(person),
        }
    }

    pub(super) fn remove(&mut self, seat: Seat) -> Option<Person> {
        let person = match seat {
            Seat::Peer(number, id) => self.peers.get_mut(usize::from(number))?.remove(id),
            Seat::Console => self.console.take(),
        }?;
        self.names.remove(&person.name);
        if let Some(account) = &person.account {
            self.accounts.remove(account);
        }
        Some(person)
    }

    pub(super) fn get(&self, seat: Seat) -> Option<&Person> {
        match seat {
            Seat::Peer(number, id) => self.peers.get(usize::from(number))?.get(id),
            Seat::Console => self.console.as_ref(),
        }
    }

    pub(super) fn get_mut(&mut self, seat: Seat) -> Option<&mut Person> {
        match seat {
            Seat::Peer(number, id) => self.peers.get_mut(usize::from(number))?.get_mut(id),
            Seat::Console => self.console.as_mut(),
        }
    }

    pub(super) fn contains(&self, seat: Seat) -> bool {
        self.get(seat).is_some()
    }

    /// Who is called this.
    pub(super) fn named(&self, name: &str) -> Option<Seat> {
        self.names.get(name).copied()
    }

    /// Who is called this and is in a room: nobody else is there for others.
    pub(super) fn present(&self, name: &str) -> Option<(Seat, &Person)> {
        let seat = self.named(name)?;
        Some((seat, self.get(seat).filter(|person| person.room.is_some())?))
    }

    /// Who has logged in as this user.
    pub(super) fn logged_in(&self, user: &str) -> Option<Seat> {
        self.accounts.get(user).copied()
    }

    /// The name must be nobody's.
    pub(super) fn rename(&mut self, seat: Seat, name: &Rc<str>) {
        let Some(person) = self.get_mut(seat) else { return };
        let old = std::mem::replace(&mut person.name, Rc::clone(name));
        self.names.remove(&old);
        self.names.insert(Rc::clone(name), seat);
    }

    /// The account must be nobody's at present.
    pub(super) fn log_in(&mut self, seat: Seat, user: &Rc<str>, is_operator: bool) {
        let Some(person) = self.get_mut(seat) else { return };
        person.is_operator = is_operator;
        let before = person.account.replace(Rc::clone(user));
        if let Some(before) = before {
            self.accounts.remove(&before);
        }
        self.accounts.insert(Rc::clone(user), seat);
    }

    /// Those who are in no room.
    pub(super) fn outside(&self) -> Vec<Seat> {
        let is_outside = |seat: &Seat| self.get(*seat).is_some_and(|person| person.room.is_none());
        self.names.values().copied().filter(is_outside).collect()
    }
}
