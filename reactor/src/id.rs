//! Names for what lives on a loop, and the two tables that are keyed by them.
//!
//! A name is never reused: it carries the slot that its owner sits in, the slot's generation, and the
//! number of the loop. Whoever keeps the name of something that is gone finds nothing, also when the
//! slot has a new owner.
//!
//! ```text
//!  63        54 53                          24 23                    0
//! +------------+------------------------------+-----------------------+
//! | loop 0..1k |     generation 1..2^30 - 1   |   slot 0..16.7M       |   an id
//! +------------+------------------------------+-----------------------+
//! | kind       |     generation               |   slot                |   a token, as the kernel keeps it
//! +------------+------------------------------+-----------------------+
//! ```

use std::fmt;
use std::num::NonZeroU64;

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 30;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const GENERATION_MAX: u64 = (1 << GENERATION_BITS) - 1;
const NAME_BITS: u32 = SLOT_BITS + GENERATION_BITS;
const NAME_MASK: u64 = (1 << NAME_BITS) - 1;

/// How many loops can have names of their own: numbers from 0 to 1,023.
pub(crate) const LOOPS_MAX: u16 = 1 << (64 - NAME_BITS);

/// Slot, generation and loop, packed as the module's picture shows.
///
/// Never 0, because generations begin at 1: an `Option` of it takes no more room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(NonZeroU64);

impl Id {
    fn new(slot: usize, generation: u64, loop_number: u16) -> Self {
        let slot = slot as u64 & SLOT_MASK;
        Self::from_bits(u64::from(loop_number) << NAME_BITS | generation << SLOT_BITS | slot)
    }

    fn from_bits(bits: u64) -> Self {
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// A name that no table gives: the last slot, with more generations than there are.
    pub(crate) fn nobody() -> Self {
        Self::from_bits(u64::MAX)
    }

    pub(crate) fn slot(self) -> usize {
        (self.0.get() & SLOT_MASK) as usize
    }

    pub(crate) fn generation(self) -> u64 {
        (self.0.get() & NAME_MASK) >> SLOT_BITS
    }

    pub(crate) fn loop_number(self) -> u64 {
        self.0.get() >> NAME_BITS
    }

    pub(crate) fn token(self, kind: Kind) -> Token {
        Token((kind as u64) << NAME_BITS | self.0.get() & NAME_MASK)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())?;
        match self.loop_number() {
            0 => Ok(()),
            number => write!(f, "@{number}"),
        }
    }
}

/// What a [`Token`] is the token of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connection = 0,
    Listener = 1,
    Socket = 2,
    Timer = 3,
}

/// What a driver hands back with an event: opaque to the driver, a name of something to the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    pub(crate) fn kind(self) -> Option<Kind> {
        match self.0 >> NAME_BITS {
            0 => Some(Kind::Connection),
            1 => Some(Kind::Listener),
            2 => Some(Kind::Socket),
            3 => Some(Kind::Timer),
            _ => None,
        }
    }

    pub(crate) fn id(self, loop_number: u16) -> Id {
        Id::from_bits(u64::from(loop_number) << NAME_BITS | self.0 & NAME_MASK)
    }

    /// The token as a number, for a driver whose poller keeps numbers. It is below 2^56, so a driver
    /// may use the numbers above for itself.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The token that has this [`number`](Token::number).
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) Id);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

public_id! {
    /// The name of one connection, for as long as it lives and for ever after.
    ///
    /// # Guarantees
    /// - A name is not used twice: a slot counts its owners, and a slot that has run out of numbers
    ///   (after 2^30 owners) is retired. **A stale id is harmless**: whatever is asked of it does
    ///   nothing and says so.
    /// - It is a plain value: it can be copied, compared, sent to other threads and used as a key.
    ///
    /// # Not guaranteed
    /// Two reactors that were given the same [number](crate::Config::loop_number) give equal ids to
    /// different connections.
    ConnId
}
public_id! {
    /// The name of a listener; see [`Reactor::listen`](crate::Reactor::listen).
    ListenerId
}
public_id! {
    /// The name of a datagram socket; see [`Reactor::bind`](crate::Reactor::bind).
    SocketId
}
public_id! {
    /// The name of a service's timer; see [`Context::set_timer`](crate::Context::set_timer).
    TimerId
}

/// A table that names what is put into it.
pub(crate) struct Arena<T> {
    loop_number: u16,
    slots: Vec<Slot<T>>,
    /// Vacant slots, the most recently left last: it is the one whose memory is still warm.
    /// Invariant: exactly the vacant slots that are not retired, once each.
    free: Vec<usize>,
    /// Invariant: the number of slots with a value.
    len: usize,
}

struct Slot<T> {
    /// The name of the present owner, or of the last one.
    id: Id,
    value: Option<T>,
}

impl<T> Arena<T> {
    pub(crate) fn new(loop_number: u16) -> Self {
        Self::with_capacity(loop_number, 0)
    }

    pub(crate) fn with_capacity(loop_number: u16, capacity: usize) -> Self {
        Self { loop_number, slots: Vec::with_capacity(capacity), free: Vec::new(), len: 0 }
    }

    /// `None` when all 16.7 million slots are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        let id = match self.free.pop() {
            Some(slot) => {
                let slot = self.slots.get_mut(slot)?;
                slot.id = Id::new(slot.id.slot(), slot.id.generation() + 1, self.loop_number);
                slot.value = Some(value);
                slot.id
            }
            None if self.slots.len() as u64 > SLOT_MASK => return None,
            None => {
                let id = Id::new(self.slots.len(), 1, self.loop_number);
                self.slots.push(Slot { id, value: Some(value) });
                id
            }
        };
        self.len += 1;
        Some(id)
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let slot = self.slots.get(id.slot())?;
        if slot.id == id { slot.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.id == id { slot.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.id != id {
            return None;
        }
        let value = slot.value.take()?;
        if id.generation() + 1 < GENERATION_MAX {
            self.free.push(id.slot());
        }
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots.iter().filter_map(|slot| Some((slot.id, slot.value.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        self.slots.iter_mut().filter_map(|slot| Some((slot.id, slot.value.as_mut()?)))
    }

    /// Bytes of memory that the table itself takes.
    pub(crate) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>() + self.free.capacity() * size_of::<usize>()
    }
}

/// A dense map by [`ConnId`], in which a stale id finds nothing.
///
/// It is a vector by slot: a look-up is one index and one comparison, which is what makes it the
/// place for a service's own tables (who is in which room, which connection belongs to which).
///
/// # Guarantees
/// - [`get`](ConnMap::get) answers only to the id that the value was put under.
/// - An id that is older than the present owner of its slot cannot push that owner out.
///
/// # Not guaranteed
/// - A value outlives its connection until it is removed, or until a newer connection's value takes
///   its place; remove it in [`on_close`](crate::Handler::on_close).
/// - It is meant for the ids of one loop: ids of several loops in one map get in each other's way.
/// - Memory follows the highest slot that was ever put in, at `size_of::<T>()` and 8 bytes each.
///
/// ```
/// # use reactor::{ConnMap, Handler, ConnContext, ReadBuffer, CloseReason};
/// /// Counts what each connection has said.
/// #[derive(Default)]
/// struct Counter { said: ConnMap<usize> }
///
/// impl Handler for Counter {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, cx: &mut ConnContext<'_>) {
///         self.said.insert(cx.id(), 0);
///     }
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         if let Some(said) = self.said.get_mut(cx.id()) {
///             *said += input.take().len();
///         }
///     }
///     fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
///         self.said.remove(cx.id());
///     }
/// }
/// ```
pub struct ConnMap<T> {
    slots: Vec<Option<Entry<T>>>,
    /// Invariant: the number of slots that are `Some`.
    len: usize,
}

struct Entry<T> {
    id: ConnId,
    value: T,
}

impl<T> Default for ConnMap<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

impl<T> ConnMap<T> {
    /// An empty map; it takes no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map with room for the ids of so many connections at a time.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { slots: Vec::with_capacity(capacity), len: 0 }
    }

    /// Puts `value` under `id`. What the same id had before is given back; what an older owner of the
    /// slot left is dropped. If the slot belongs to a newer id, nothing changes, and `value` itself is
    /// given back.
    pub fn insert(&mut self, id: ConnId, value: T) -> Option<T> {
        let index = id.0.slot();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let slot = self.slots.get_mut(index)?;
        match slot {
            Some(entry) if entry.id > id => Some(value),
            Some(entry) if entry.id == id => Some(std::mem::replace(&mut entry.value, value)),
            _ => {
                self.len += usize::from(slot.is_none());
                *slot = Some(Entry { id, value });
                None
            }
        }
    }

    /// The value under `id`.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.slots.get(id.0.slot())?.as_ref()?;
        (entry.id == id).then_some(&entry.value)
    }

    /// The value under `id`, to be changed.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.slots.get_mut(id.0.slot())?.as_mut()?;
        (entry.id == id).then_some(&mut entry.value)
    }

    /// Whether there is a value under `id`.
    pub fn contains(&self, id: ConnId) -> bool {
        self.get(id).is_some()
    }

    /// Takes the value under `id` out.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let slot = self.slots.get_mut(id.0.slot())?;
        let entry = slot.take_if(|entry| entry.id == id)?;
        self.len -= 1;
        Some(entry.value)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().flatten().map(|entry| (entry.id, &entry.value))
    }

    /// All of them, to be changed, in the order of their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.slots.iter_mut().flatten().map(|entry| (entry.id, &mut entry.value))
    }

    /// Bytes of memory that the map itself takes.
    pub(crate) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Entry<T>>>()
    }
}

impl<T: fmt::Debug> fmt::Debug for ConnMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_token_remembers_kind_and_name() {
        let mut arena = Arena::new(1023);
        arena.insert('a');
        let id = arena.insert('b').unwrap();
        for kind in [Kind::Connection, Kind::Listener, Kind::Socket, Kind::Timer] {
            let token = Token::from_number(id.token(kind).number());
            assert_eq!((token.kind(), token.id(1023)), (Some(kind), id));
            assert!(token.number() < 1 << 56);
        }
        assert_eq!(Token::from_number(u64::MAX).kind(), None);
        assert_eq!(format!("{id:?}"), "1.1@1023");
    }

    #[test]
    fn a_slot_out_of_generations_is_retired() {
        let mut arena = Arena::new(0);
        let first = arena.insert(()).unwrap();
        arena.slots[0].id = Id::new(0, GENERATION_MAX - 1, 0);
        assert!(arena.get(first).is_none());
        assert!(arena.remove(Id::new(0, GENERATION_MAX - 1, 0)).is_some());
        assert_eq!(arena.insert(()).unwrap().slot(), 1);
    }

    #[test]
    fn an_older_id_does_not_push_a_newer_one_out() {
        let (old, new) = (ConnId(Id::new(3, 1, 0)), ConnId(Id::new(3, 2, 0)));
        let mut map = ConnMap::new();
        assert_eq!(map.insert(new, "new"), None);
        assert_eq!(map.insert(old, "old"), Some("old"));
        assert_eq!((map.get(new), map.get(old), map.len()), (Some(&"new"), None, 1));
        assert_eq!(map.remove(old), None);
        assert_eq!(map.remove(new), Some("new"));
        assert!(map.is_empty());
    }

    impl<T> Arena<T> {
        fn check(&self) {
            let vacant = |index: &usize| {
                let slot = &self.slots[*index];
                slot.value.is_none() && slot.id.generation() + 1 < GENERATION_MAX
            };
            let mut free = self.free.clone();
            free.sort_unstable();
            assert!(free.into_iter().eq((0..self.slots.len()).filter(vacant)));
            assert_eq!(self.len, self.slots.iter().flat_map(|slot| &slot.value).count());
            assert!(self.slots.iter().enumerate().all(|(index, slot)| slot.id.slot() == index));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Remove(prop::sample::Index),
        Change(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Insert),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => any::<prop::sample::Index>().prop_map(Step::Change),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        /// Against a map whose keys are never reused; also where slots run out of generations.
        #[test]
        fn an_arena_is_a_map_by_names_that_do_not_come_back(
            begin in prop_oneof![Just(1), GENERATION_MAX - 8..GENERATION_MAX], steps in steps()
        ) {
            let (mut arena, mut model, mut names) = (Arena::new(5), BTreeMap::new(), Vec::new());
            (0..3).for_each(|_| assert!(arena.insert(0).is_some()));
            for slot in 0..3 {
                let id = Id::new(slot, begin, 5);
                arena.slots[slot].id = id;
                arena.remove(id).unwrap();
                names.push(id);
            }
            for (value, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert => {
                        let id = arena.insert(value).unwrap();
                        prop_assert!(!names.contains(&id), "a name came back");
                        prop_assert!(id.generation() < GENERATION_MAX && id.loop_number() == 5);
                        model.insert(id, value);
                        names.push(id);
                    }
                    Step::Remove(which) => {
                        let id = *which.get(&names);
                        prop_assert_eq!(arena.remove(id), model.remove(&id));
                    }
                    Step::Change(which) => {
                        let id = *which.get(&names);
                        let changed = arena.get_mut(id).map(|old| std::mem::replace(old, value));
                        prop_assert_eq!(changed, model.get_mut(&id).map(|old| std::mem::replace(old, value)));
                    }
                }
                arena.check();
                prop_assert_eq!(arena.len(), model.len());
                for id in &names {
                    prop_assert_eq!(arena.get(*id), model.get(id));
                    prop_assert_eq!(arena.get(Id::new(id.slot(), id.generation(), 6)), None);
                }
                let found: BTreeMap<_, _> = arena.iter().map(|(id, value)| (id, *value)).collect();
                prop_assert_eq!(&found, &model);
                prop_assert!(arena.iter_mut().map(|(id, value)| (id, *value)).eq(arena_order(&model)));
            }
            prop_assert_eq!(arena.get(Id::nobody()), None);
            prop_assert_eq!(arena.remove(Id::nobody()), None);
        }

        /// Against a map in which each slot belongs to the newest name that was ever put there since it
        /// was empty.
        #[test]
        fn a_conn_map_is_a_map_in_which_the_newest_of_a_slot_stays(
            steps in prop::collection::vec((0u8..4, 0usize..6, 1u64..5), 1..200)
        ) {
            let (mut map, mut model) = (ConnMap::new(), BTreeMap::<usize, (ConnId, usize)>::new());
            for (value, (action, slot, generation)) in steps.into_iter().enumerate() {
                let id = ConnId(Id::new(slot, generation, 0));
                let owner = model.get(&slot).copied();
                match action {
                    0 | 1 => {
                        let expected = match owner {
                            Some((other, _)) if other > id => Some(value),
                            Some((other, old)) if other == id => Some(old),
                            _ => None,
                        };
                        prop_assert_eq!(map.insert(id, value), expected);
                        if owner.is_none_or(|(other, _)| other <= id) {
                            model.insert(slot, (id, value));
                        }
                    }
                    2 => {
                        let owned = owner.filter(|(other, _)| *other == id);
                        prop_assert_eq!(map.remove(id), owned.map(|(_, old)| old));
                        if owned.is_some() {
                            model.remove(&slot);
                        }
                    }
                    _ => if let Some(old) = map.get_mut(id) {
                        *old = value;
                        prop_assert_eq!(owner.map(|(other, _)| other), Some(id));
                        model.insert(slot, (id, value));
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                for slot in 0..6 {
                    for generation in 1..5 {
                        let id = ConnId(Id::new(slot, generation, 0));
                        let owned = model.get(&slot).filter(|(other, _)| *other == id);
                        prop_assert_eq!(map.get(id), owned.map(|(_, value)| value));
                        prop_assert_eq!(map.contains(id), owned.is_some());
                    }
                }
                prop_assert!(map.iter().map(|(id, value)| (id, *value)).eq(model.values().copied()));
                prop_assert!(map.iter_mut().map(|(id, value)| (id, *value)).eq(model.values().copied()));
            }
        }
    }

    /// What a table goes through slot by slot.
    fn arena_order(model: &BTreeMap<Id, usize>) -> impl Iterator<Item = (Id, usize)> {
        let by_slot: BTreeMap<_, _> =
            model.iter().map(|(id, value)| (id.slot(), (*id, *value))).collect();
        by_slot.into_values()
    }
}
