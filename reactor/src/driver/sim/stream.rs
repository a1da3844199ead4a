//! One end of a simulated byte stream, and what its owner does with it. How bytes come to the other end:
//! `tcp.rs` and `unix.rs`.
//!
//! ```text
//!   TCP    write --> [ leaving ..send buffer ] --Transmit--> [ arrived ..receive buffer ] --> read
//!                         ^                                         |
//!                         +------------ room, when it was full -----+
//!   Unix   write --at once--> [ arrived ..the writer's send buffer ] --> read
//! ```
//!
//! After Linux: tcp(7), unix(7), epoll(7), and of its sources `tcp_recvmsg`, `tcp_sendmsg`, `tcp_poll`,
//! `unix_stream_read_generic`, `unix_stream_sendmsg` and `unix_poll`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::network::{Happening, Network, Owner, Source};
use crate::id::Id;
use crate::readiness::Readiness;
use crate::socket::address::Address;
use crate::timers::Nanos;

/// The sizes of a socket's buffers, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Buffers {
    pub(crate) receive: usize,
    pub(crate) send: usize,
}

pub(crate) struct Endpoint {
    pub(super) owner: Owner,
    /// Invariant: whether it is on the ready list of its owner.
    pub(super) listed: bool,
    pub(super) local: Address,
    pub(super) remote: Address,
    /// The other end, until it is gone.
    pub(super) other: Option<Id>,
    /// The connect has been answered.
    pub(super) stands: bool,
    /// Invariant: of TCP, at most `receive_buffer`.
    pub(super) arrived: VecDeque<u8>,
    pub(super) receive_buffer: usize,
    /// What TCP has to send. Invariant: at most `send_buffer`.
    pub(super) leaving: VecDeque<u8>,
    /// What a Unix stream has written and its other end has not read. Invariant: at most `send_buffer`;
    /// as much as has arrived there.
    pub(super) unread: usize,
    pub(super) send_buffer: usize,
    /// FIN is to follow what is leaving, and has followed it.
    pub(super) finishing: bool,
    pub(super) finished: bool,
    /// The other end's FIN has arrived.
    pub(super) ended: bool,
    /// RST has arrived, the other end of a Unix stream is closed, or the connect has failed: nothing
    /// moves any more.
    pub(super) dead: bool,
    /// What the owner has not been told yet.
    pub(super) error: Option<io::ErrorKind>,
    /// The owner has closed it; it lives on until its FIN has arrived.
    pub(super) closed: bool,
    /// It was full when somebody asked: an edge is owed when there is room (`SOCK_NOSPACE`).
    pub(super) wants_room: bool,
    /// What a short call left is held back, as if it had not arrived or drained yet.
    pub(super) read_held: bool,
    pub(super) write_held: bool,
    /// Invariant: whether a `Transmit` is scheduled.
    pub(super) on_its_way: bool,
    /// A fault has cut it, or will: nobody is to blame for what got lost.
    pub(crate) harmed: bool,
    /// The turn in which a loop last used it, the bytes it read then, and whether a write was taken whole.
    used_in: u64,
    read_in_turn: usize,
    wrote_whole: bool,
    /// When a loop last read from it or wrote to it.
    moved_at: Nanos,
}

impl Endpoint {
    pub(super) fn new(owner: Owner, local: Address, remote: Address, buffers: Buffers) -> Self {
        Self {
            owner,
            listed: false,
            local,
            remote,
            other: None,
            stands: false,
            arrived: VecDeque::new(),
            receive_buffer: buffers.receive.max(1),
            leaving: VecDeque::new(),
            unread: 0,
            send_buffer: buffers.send.max(1),
            finishing: false,
            finished: false,
            ended: false,
            dead: false,
            error: None,
            closed: false,
            wants_room: false,
            read_held: false,
            write_held: false,
            on_its_way: false,
            harmed: false,
            used_in: 0,
            read_in_turn: 0,
            wrote_whole: false,
            moved_at: 0,
        }
    }

    /// What poll(2) would say of it now. Who asks and hears that there is no room is told when there is.
    pub(super) fn level(&mut self) -> Readiness {
        let shows = !self.read_held;
        let cannot_block = self.dead || self.finishing && !self.is_unix();
        let writable = cannot_block || self.stands && self.is_writable();
        self.wants_room |= !writable;
        Readiness {
            readable: self.dead || shows && (self.ended || !self.arrived.is_empty()),
            writable,
            hang_up: self.dead || shows && self.ended,
            error: self.error.is_some(),
            urgent: false,
        }
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self.remote, Address::Unix(_))
    }

    /// A third of the buffer is free; of a Unix socket's, three quarters.
    pub(super) fn is_writable(&self) -> bool {
        let limit = if self.is_unix() { self.send_buffer / 4 } else { self.send_buffer / 3 * 2 };
        !self.write_held && self.used() <= limit
    }

    /// Neither direction will have anything more.
    pub(super) fn is_over(&self) -> bool {
        self.dead || self.finished && self.ended
    }

    /// How much of the send buffer is in use.
    fn used(&self) -> usize {
        self.leaving.len() + self.unread
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.error.take().map(io::Error::from)
    }

    fn take_arrived(&mut self, room: &mut [u8]) -> usize {
        let count = copy_front(&self.arrived, room);
        self.arrived.drain(..count);
        count
    }

    /// Notes that a loop uses it in this turn.
    fn use_in(&mut self, turn: u64) {
        if self.used_in != turn {
            (self.used_in, self.read_in_turn, self.wrote_whole) = (turn, 0, false);
        }
    }

    pub(super) fn refuse(&mut self, kind: io::ErrorKind) {
        self.dead = true;
        self.error = Some(kind);
    }
}

/// Copies from the front as much as `room` holds. How much that was.
fn copy_front(bytes: &VecDeque<u8>, room: &mut [u8]) -> usize {
    let mut copied = 0;
    for part in <[_; 2]>::from(bytes.as_slices()) {
        let rest = room.get_mut(copied..).unwrap_or_default();
        let count = part.len().min(rest.len());
        if let (Some(to), Some(from)) = (rest.get_mut(..count), part.get(..count)) {
            to.copy_from_slice(from);
        }
        copied += count;
    }
    copied
}

impl Network {
    fn is_a_loops(&self, id: Id) -> bool {
        matches!(self.endpoints.get(id).map(|endpoint| endpoint.owner), Some(Owner::Loop { .. }))
    }

    /// When a loop last moved a byte to or from this peer.
    pub(crate) fn moved_at(&self, peer: &Address) -> Option<Nanos> {
        let ends = self.endpoints.iter().map(|(_, endpoint)| endpoint);
        ends.filter(|end| end.remote == *peer && matches!(end.owner, Owner::Loop { .. }))
            .map(|end| end.moved_at)
            .max()
    }

    /// Whether a loop holds a TCP stream that stood, and has been reset.
    pub(crate) fn holds_dead(&self) -> bool {
        self.endpoints.iter().any(|(_, end)| {
            let is_watched = matches!(end.owner, Owner::Loop { token: Some(_), .. });
            is_watched && end.dead && end.stands && !end.is_unix()
        })
    }

    /// Whether a loop's end of the connection of this TCP peer is still there, or went by FIN.
    pub(crate) fn was_not_reset(&self, peer: &Address) -> bool {
        let mut ends = self.endpoints.iter().map(|(_, endpoint)| endpoint);
        ends.any(|end| end.local == *peer && !end.is_unix() && end.other.is_some())
    }

    pub(crate) fn read(&mut self, id: Id, room: &mut [u8]) -> io::Result<usize> {
        let faulty = self.is_a_loops(id);
        if faulty {
            self.count_call();
            self.may_be_interrupted()?;
        }
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        if room.is_empty() {
            return Ok(0);
        }
        if endpoint.arrived.is_empty() || endpoint.read_held {
            return endpoint.read_nothing();
        }
        // What may have been told to be all is not held back any more.
        let may_hold = faulty && !endpoint.ended && !endpoint.dead;
        if may_hold && self.random.chance(self.faults.would_block) {
            self.hold(id, |endpoint| endpoint.read_held = true);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let wanted = room.len().min(endpoint.arrived.len());
        let short = may_hold && wanted > 1 && self.random.chance(self.faults.short_read);
        let count = if short { self.random.size(1..wanted) } else { wanted };
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        let count = endpoint.take_arrived(room.get_mut(..count).unwrap_or_default());
        match endpoint.other {
            Some(other) if endpoint.is_unix() => self.make_room(other, count),
            Some(other) => self.carry_on(other), // its window has opened
            None => {}
        }
        if short {
            self.hold(id, |endpoint| endpoint.read_held = true);
        }
        if faulty {
            self.check_read(id, count);
        }
        Ok(count)
    }

    /// A loop reads no more from one stream in a turn than its budget says.
    fn check_read(&mut self, id: Id, count: usize) {
        self.progress += 1;
        let (turn, now) = (self.turn, self.now);
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.use_in(turn);
        endpoint.moved_at = now;
        endpoint.read_in_turn += count;
        let read = endpoint.read_in_turn;
        let owner = endpoint.owner;
        let Some(budget) = self.budgets(owner).map(|budgets| budgets.bytes.max(1)) else { return };
        if read > budget {
            self.complain(|| format!("{read} bytes read from one stream in one turn, of {budget}"));
        }
    }

    /// A loop writes once to a stream in a turn, and again only when a part was taken.
    fn check_write(&mut self, id: Id, whole: bool) {
        self.progress += 1;
        let (turn, now) = (self.turn, self.now);
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.use_in(turn);
        endpoint.moved_at = now;
        let (owner, again) = (endpoint.owner, std::mem::replace(&mut endpoint.wrote_whole, whole));
        if again && self.budgets(owner).is_some() {
            self.complain(|| "two writes to one stream in one turn".to_owned());
        }
    }

    pub(crate) fn write(&mut self, id: Id, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let faulty = self.is_a_loops(id);
        if faulty {
            self.count_call();
            self.may_be_interrupted()?;
        }
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        endpoint.may_write()?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = endpoint.send_buffer.saturating_sub(endpoint.used()).min(total);
        // A Unix stream of which all has been read has all its room.
        let may_hold = faulty && (endpoint.unread > 0 || !endpoint.is_unix());
        let (would_block, short) = (self.faults.would_block, self.faults.short_write);
        if total > 0 && (room == 0 || may_hold && self.random.chance(would_block)) {
            return self.no_room(id);
        }
        let short = may_hold && room > 1 && self.random.chance(short);
        let mut left = if short { self.random.size(1..room) } else { room };
        let count = left;
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        for slice in slices {
            let part = slice.get(..left.min(slice.len())).unwrap_or_default();
            endpoint.leaving.extend(part);
            left -= part.len();
        }
        endpoint.wants_room |= count < total;
        match endpoint.is_unix() {
            true => self.deliver(id),
            false => self.carry_on(id),
        }
        if faulty {
            self.check_write(id, count == total);
        }
        if short {
            self.hold(id, |endpoint| endpoint.write_held = true);
        }
        Ok(count)
    }

    fn no_room(&mut self, id: Id) -> io::Result<usize> {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.wants_room = true;
            if endpoint.used() < endpoint.send_buffer {
                self.hold(id, |endpoint| endpoint.write_held = true);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// What a short call left is there a little later, and an edge with it.
    fn hold(&mut self, id: Id, hold: impl FnOnce(&mut Endpoint)) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let is_held = endpoint.read_held || endpoint.write_held;
            hold(endpoint);
            if !is_held {
                self.send_off(Happening::Release(id));
            }
        }
    }

    pub(super) fn release(&mut self, id: Id) {
        if let Some(endpoint) = self.endpoints.get_mut(id)
            && (endpoint.read_held || endpoint.write_held)
        {
            (endpoint.read_held, endpoint.write_held) = (false, false);
            self.edge(Source::Stream(id));
        }
    }

    pub(crate) fn finish(&mut self, id: Id) -> io::Result<()> {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        let can_finish = endpoint.stands && (endpoint.is_unix() || !endpoint.is_over());
        if can_finish {
            endpoint.finishing = true;
            match endpoint.is_unix() {
                true => self.end_at_once(id),
                false => self.carry_on(id),
            }
        }
        self.edge(Source::Stream(id)); // a write would not block any more: it would fail
        if can_finish { Ok(()) } else { Err(gone()) }
    }

    pub(super) fn connected(&mut self, id: Id) -> io::Result<bool> {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        match endpoint.take_error() {
            Some(error) => Err(error),
            None => Ok(endpoint.stands && (endpoint.is_unix() || !endpoint.dead)),
        }
    }

    pub(super) fn take_error(&mut self, id: Id) -> Option<io::Error> {
        self.endpoints.get_mut(id)?.take_error()
    }

    /// The owner closes it: FIN after what is leaving, or RST if something has arrived and was not read.
    pub(crate) fn close(&mut self, id: Id) {
        match self.endpoints.get(id) {
            Some(endpoint) if endpoint.is_unix() => self.hang_up(id, false),
            Some(_) => self.close_tcp(id),
            None => {}
        }
    }

    /// RST, where there is such a thing.
    pub(crate) fn reset(&mut self, id: Id) {
        match self.endpoints.get(id) {
            Some(endpoint) if endpoint.is_unix() => self.hang_up(id, false),
            Some(_) => self.reset_tcp(id),
            None => {}
        }
    }
}

impl Endpoint {
    /// What a read says when there is nothing to read.
    fn read_nothing(&mut self) -> io::Result<usize> {
        // Of TCP before the error: a read after FIN never tells of a later RST.
        let is_end = self.ended && !self.read_held;
        if is_end && !(self.is_unix() && self.error.is_some()) {
            return Ok(0);
        }
        match self.take_error() {
            Some(error) => Err(error),
            None if self.dead => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn may_write(&mut self) -> io::Result<()> {
        // A write to a Unix stream tells of no error but its own.
        let told = if self.is_unix() { None } else { self.take_error() };
        match told {
            Some(error) => Err(error),
            None if self.dead || self.finishing => Err(io::ErrorKind::BrokenPipe.into()),
            None if !self.stands || self.write_held => {
                self.wants_room = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            None => Ok(()),
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
