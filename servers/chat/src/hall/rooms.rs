//! The rooms: who is in them, and what was said there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use slab::Slab;

use crate::protocol::Framing;

/// The number of a room, for as long as somebody is in it.
pub(crate) type RoomId = usize;

/// All rooms. Each has somebody in it: an empty room is gone.
#[derive(Debug)]
pub(super) struct Rooms {
    rooms: Slab<Room>,
    ids: BTreeMap<Rc<str>, RoomId>,
    /// Messages that each remembers.
    history: usize,
}

#[derive(Debug)]
struct Room {
    name: Rc<str>,
    people: BTreeSet<Rc<str>>,
    /// As they were said, framed. Invariant: at most `Rooms::history`.
    said: VecDeque<Vec<u8>>,
}

impl Rooms {
    pub(super) fn new(history: usize) -> Self {
        Self { rooms: Slab::new(), ids: BTreeMap::new(), history }
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// In the order of their names.
    pub(super) fn ids(&self) -> impl Iterator<Item = RoomId> {
        self.ids.values().copied()
    }

    pub(super) fn find(&self, name: &str) -> Option<RoomId> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, room: RoomId) -> &str {
        self.rooms.get(room).map_or("", |room| &room.name)
    }

    /// How many are in it.
    pub(super) fn people(&self, room: RoomId) -> usize {
        self.rooms.get(room).map_or(0, |room| room.people.len())
    }

    /// The names of all who are in it, in order.
    pub(super) fn names(&self, room: RoomId) -> impl Iterator<Item = &str> {
        self.rooms.get(room).into_iter().flat_map(|room| room.people.iter().map(|name| &**name))
    }

    /// Lets one in; the room is made if there is none of that name.
    pub(super) fn enter(&mut self, name: &str, person: &Rc<str>) -> RoomId {
        let id = self.find(name).unwrap_or_else(|| {
            let name: Rc<str> = name.into();
            let (people, said) = (BTreeSet::new(), VecDeque::new());
            let id = self.rooms.insert(Room { name: Rc::clone(&name), people, said });
            self.ids.insert(name, id);
            id
        });
        if let Some(room) = self.rooms.get_mut(id) {
            room.people.insert(Rc::clone(person));
        }
        id
    }

    /// Lets one go; a room that is empty then is gone.
    pub(super) fn leave(&mut self, id: RoomId, person: &str) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.people.remove(person);
        if room.people.is_empty() {
            self.ids.remove(&room.name);
            self.rooms.remove(id);
        }
    }

    pub(super) fn rename(&mut self, id: RoomId, old: &str, new: &Rc<str>) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.people.remove(old);
            room.people.insert(Rc::clone(new));
        }
    }

    /// Remembers what was said. How many are in the room.
    pub(super) fn remember(&mut self, id: RoomId, wire: &[u8]) -> usize {
        let history = self.history;
        let Some(room) = self.rooms.get_mut(id) else { return 0 };
        if history > 0 {
            // The memory of what is forgotten serves for what is remembered.
            let forgotten = if room.said.len() < history { None } else { room.said.pop_front() };
            let mut said = forgotten.unwrap_or_default();
            said.clear();
            said.shrink_to(4 * wire.len());
            said.extend_from_slice(wire);
            room.said.push_back(said);
        }
        room.people.len()
    }

    /// Appends what was said lately; nothing at all if nothing was.
    pub(super) fn recall(&self, id: RoomId, framing: Framing, out: &mut Vec<u8>) {
        let Some(room) = self.rooms.get(id).filter(|room| !room.said.is_empty()) else { return };
        let title = format!("* last {} messages in {}", room.said.len(), room.name);
        framing.frame(out, |out| out.extend_from_slice(title.as_bytes()));
        room.said.iter().for_each(|said| out.extend_from_slice(said));
        framing.frame(out, |out| out.extend_from_slice(b"* end of history"));
    }

    /// Names, and how many are in each, in order.
    pub(super) fn list(&self) -> impl Iterator<Item = (&str, usize)> {
        self.ids.iter().map(|(name, &id)| (&**name, self.people(id)))
    }
}
