//! One room: what is said in it goes to everybody else in it.

use std::collections::HashMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::context::Context;
use crate::id::ConnId;

/// A slice of the turn's bytes is shared if it is at least this part of them, else copied: ten bytes in
/// a slow listener's queue must not pin a megabyte.
const SHARED_PART: usize = 4;

/// A room. What is said in a turn stands once, and every member gets one shared buffer of it, less its
/// own lines.
///
/// ```text
///  the turn's bytes:  | alice: hi | bob: ho | alice: bye |
///  carol gets          ^--------------- all -------------^   one buffer, shared by all who were silent
///  bob gets            ^--------- ^         ^------------^   the slices around his own
/// ```
///
/// It lives in the handler, which calls [`flush`](Self::flush) from
/// [`on_turn_end`](crate::Handler::on_turn_end); [`say`](Self::say) asks for that.
///
/// # Guarantees
/// - Every member hears all that others say while it is a member: in order, nothing twice, nothing
///   missing; unless its queue exceeds [`Limits::queue_max`](crate::Limits::queue_max), which closes it.
/// - What is sent to a member by [`send_to`](Self::send_to) comes after all that was said before.
/// - What is said in a turn is held once, however many listen.
///
/// # Not guaranteed
/// What is sent past the room, by [`Context::send_to`], may overtake what was said in the same turn.
///
/// ```
/// use reactor::{Broadcast, CloseReason, ConnContext, Context, Handler, ReadBuffer};
///
/// /// Everybody hears everybody else.
/// #[derive(Default)]
/// struct Party { room: Broadcast }
///
/// impl Handler for Party {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, cx: &mut ConnContext<'_>) {
///         self.room.join(cx.id());
///     }
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         self.room.say(Some(cx.id()), &[input.take()], cx);
///     }
///     fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
///         self.room.leave(cx.id(), cx);
///     }
///     fn on_turn_end(&mut self, cx: &mut Context<'_>) {
///         self.room.flush(cx);
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Broadcast {
    /// Those who are in, close together: a room of three takes no more time, and no more room, because
    /// it is one of thousands.
    members: Vec<Member>,
    /// Where each stands among them. Invariant: exactly those.
    places: HashMap<ConnId, usize>,
    /// What was said since the last flush.
    turn: BytesMut,
    /// Who said which part of it. Invariant: in order, without overlap, by members and former members.
    spoken: Vec<Spoken>,
}

#[derive(Debug)]
struct Member {
    id: ConnId,
    /// How much of the turn it has heard. Invariant: 0 after a flush.
    heard: usize,
    /// Its latest entry in `spoken`: one more than the index, 0 for none. Invariant: 0 after a flush.
    latest: usize,
}

#[derive(Debug)]
struct Spoken {
    range: Range<usize>,
    /// The same speaker's entry before: one more than its index, 0 for none.
    before: usize,
}

impl Broadcast {
    /// An empty room.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets one in; it hears what is said from now on. Whether it was out.
    pub fn join(&mut self, id: ConnId) -> bool {
        if self.contains(id) {
            return false;
        }
        self.places.insert(id, self.members.len());
        self.members.push(Member { id, heard: self.turn.len(), latest: 0 });
        true
    }

    /// Lets one go; what was said before still reaches it, if it is still open. Whether it was in.
    pub fn leave(&mut self, id: ConnId, cx: &mut Context<'_>) -> bool {
        self.catch_up(id, cx);
        let Some(place) = self.places.remove(&id) else { return false };
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(moved.id, place);
        }
        true
    }

    /// Whether it is in.
    pub fn contains(&self, id: ConnId) -> bool {
        self.places.contains_key(&id)
    }

    /// How many are in.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who is in.
    pub fn members(&self) -> impl Iterator<Item = ConnId> {
        self.members.iter().map(|member| member.id)
    }

    /// Bytes that were said since the last [`flush`](Self::flush).
    pub fn waiting(&self) -> usize {
        self.turn.len()
    }

    /// Says `parts`, one after the other, to everybody but `from`; to everybody if that is `None`.
    pub fn say(&mut self, from: Option<ConnId>, parts: &[&[u8]], cx: &mut Context<'_>) {
        let start = self.turn.len();
        parts.iter().for_each(|part| self.turn.extend_from_slice(part));
        let range = start..self.turn.len();
        if range.is_empty() {
            return;
        }
        let place = from.and_then(|from| self.places.get(&from).copied());
        if let Some(member) = place.and_then(|place| self.members.get_mut(place)) {
            let is_latest = member.latest == self.spoken.len();
            match self.spoken.last_mut() {
                // Who speaks on has said one thing.
                Some(last) if is_latest && last.range.end == start => {
                    last.range.end = range.end;
                }
                _ => {
                    self.spoken.push(Spoken { range, before: member.latest });
                    member.latest = self.spoken.len();
                }
            }
        }
        cx.at_turn_end();
    }

    /// Sends something to one member alone, behind all that was said before. Whether it was taken.
    pub fn send_to(&mut self, id: ConnId, bytes: &[u8], cx: &mut Context<'_>) -> bool {
        self.catch_up(id, cx);
        cx.send_to(id, bytes)
    }

    /// Sends everybody what was said since the last time.
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        let all = self.turn.split().freeze();
        if all.is_empty() {
            return;
        }
        for member in &mut self.members {
            for range in heard_by(member, all.len(), &self.spoken) {
                cx.send_shared_to(member.id, slice_of(&all, range));
            }
            (member.heard, member.latest) = (0, 0);
        }
        self.spoken.clear();
    }

    /// Sends one member what it has not heard of this turn yet.
    fn catch_up(&mut self, id: ConnId, cx: &mut Context<'_>) {
        let place = self.places.get(&id).copied();
        let Some(member) = place.and_then(|place| self.members.get_mut(place)) else { return };
        for range in heard_by(member, self.turn.len(), &self.spoken) {
            cx.send_to(id, self.turn.get(range).unwrap_or_default());
        }
        member.heard = self.turn.len();
    }
}

/// The parts of the turn that a member is still to hear: all from where it stands, but for its own.
fn heard_by(
    member: &Member,
    until: usize,
    spoken: &[Spoken],
) -> impl Iterator<Item = Range<usize>> + use<> {
    let mut own = Vec::new();
    let mut latest = member.latest;
    while let Some(entry) = latest.checked_sub(1).and_then(|index| spoken.get(index)) {
        if entry.range.end <= member.heard {
            break;
        }
        own.push(entry.range.clone());
        latest = entry.before;
    }
    let mut at = member.heard;
    let end = std::iter::once(until..until);
    own.into_iter()
        .rev()
        .chain(end)
        .map(move |own| {
            let range = at..own.start;
            at = own.end;
            range
        })
        .filter(|range| !range.is_empty())
}

fn slice_of(all: &Bytes, range: Range<usize>) -> Bytes {
    if range.len() * SHARED_PART < all.len() {
        Bytes::copy_from_slice(all.get(range).unwrap_or_default())
    } else {
        all.slice(range)
    }
}
