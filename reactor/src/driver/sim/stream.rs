//! One end of a simulated byte stream, and how bytes, FIN and RST come to the other.
//!
//! ```text
//!   write --> [ leaving ..send buffer ] --Transmit--> [ arrived ..receive buffer ] --> read
//!                    ^                                           |
//!                    +------------ room, when it was full -------+
//! ```
//!
//! After Linux: tcp(7), epoll(7), and of its sources `tcp_recvmsg`, `tcp_sendmsg`, `tcp_poll`, `tcp_reset`,
//! `tcp_close` and `sk_stream_write_space`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::network::{Happening, Network, Owner, Source};
use crate::id::Id;
use crate::readiness::Readiness;
use crate::socket::address::Address;

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
    /// Invariant: at most `receive_buffer`.
    arrived: VecDeque<u8>,
    receive_buffer: usize,
    /// Invariant: at most `send_buffer`.
    leaving: VecDeque<u8>,
    send_buffer: usize,
    /// FIN is to follow what is leaving, and has followed it.
    finishing: bool,
    finished: bool,
    /// The other end's FIN has arrived.
    ended: bool,
    /// RST has arrived, or the connect has failed: nothing moves any more.
    dead: bool,
    /// What the owner has not been told yet.
    error: Option<io::ErrorKind>,
    /// The owner has closed it; it lives on until its FIN has arrived.
    closed: bool,
    /// It was full when somebody asked: an edge is owed when there is room (`SOCK_NOSPACE`).
    wants_room: bool,
    /// What a short call left is held back, as if it had not arrived or drained yet.
    read_held: bool,
    write_held: bool,
    /// Invariant: whether a `Transmit` is scheduled.
    on_its_way: bool,
    /// A fault has cut it, or will: nobody is to blame for what got lost.
    pub(crate) harmed: bool,
    /// The turn in which a loop last used it, the bytes it read then, and whether a write was taken whole.
    used_in: u64,
    read_in_turn: usize,
    wrote_whole: bool,
}

impl Endpoint {
    pub(super) fn new(
        owner: Owner,
        local: Address,
        remote: Address,
        buffers: (usize, usize),
    ) -> Self {
        Self {
            owner,
            listed: false,
            local,
            remote,
            other: None,
            stands: false,
            arrived: VecDeque::new(),
            receive_buffer: buffers.0.max(1),
            leaving: VecDeque::new(),
            send_buffer: buffers.1.max(1),
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
        }
    }

    /// What poll(2) would say of it now. Who asks and hears that there is no room is told when there is.
    pub(super) fn level(&mut self) -> Readiness {
        let shows = !self.read_held;
        let writable = self.dead || self.finishing || (self.stands && self.is_writable());
        self.wants_room |= !writable;
        Readiness {
            readable: self.dead || shows && (self.ended || !self.arrived.is_empty()),
            writable,
            hang_up: self.dead || shows && self.ended,
            error: self.error.is_some(),
            urgent: false,
        }
    }

    fn is_unix(&self) -> bool {
        matches!(self.remote, Address::Unix(_))
    }

    /// A third of the buffer is free; of a Unix socket's, three quarters.
    fn is_writable(&self) -> bool {
        let limit = if self.is_unix() { self.send_buffer / 4 } else { self.send_buffer / 3 * 2 };
        !self.write_held && self.leaving.len() <= limit
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

/// Moves up to `count` bytes from the front of one to the back of the other.
fn move_front(from: &mut VecDeque<u8>, to: &mut VecDeque<u8>, count: usize) {
    if to.is_empty() && from.len() <= count {
        return std::mem::swap(from, to);
    }
    let mut left = count;
    for part in <[_; 2]>::from(from.as_slices()) {
        let part = part.get(..left.min(part.len())).unwrap_or_default();
        to.extend(part);
        left -= part.len();
    }
    from.drain(..count - left);
}

impl Network {
    fn is_a_loops(&self, id: Id) -> bool {
        matches!(self.endpoints.get(id).map(|endpoint| endpoint.owner), Some(Owner::Loop { .. }))
    }

    pub(crate) fn read(&mut self, id: Id, room: &mut [u8]) -> io::Result<usize> {
        let faulty = self.is_a_loops(id);
        if faulty {
            self.count_call();
            self.may_be_interrupted()?;
        }
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        if endpoint.arrived.is_empty() || endpoint.read_held {
            return endpoint.read_nothing();
        }
        if faulty && self.random.chance(self.faults.would_block) {
            self.hold(id, |endpoint| endpoint.read_held = true);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let wanted = room.len().min(endpoint.arrived.len());
        let short = faulty && wanted > 1 && self.random.chance(self.faults.short_read);
        let count = if short { self.random.size(1..wanted) } else { wanted };
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        let count = endpoint.take_arrived(room.get_mut(..count).unwrap_or_default());
        if let Some(other) = endpoint.other {
            self.carry_on(other); // its window has opened
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
        let turn = self.turn;
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.use_in(turn);
        endpoint.read_in_turn += count;
        let read = endpoint.read_in_turn;
        if let Owner::Loop { number, .. } = endpoint.owner
            && let Some(budget) = self.loops.get(number).map(|side| side.budget_of_bytes())
            && read > budget
        {
            self.complain(|| format!("{read} bytes read from one stream in one turn, of {budget}"));
        }
    }

    /// A loop writes once to a stream in a turn, and again only when a part was taken.
    fn check_write(&mut self, id: Id, whole: bool) {
        self.progress += 1;
        let turn = self.turn;
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.use_in(turn);
        if std::mem::replace(&mut endpoint.wrote_whole, whole) {
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
        let room = endpoint.send_buffer.saturating_sub(endpoint.leaving.len()).min(total);
        let (would_block, short) = (self.faults.would_block, self.faults.short_write);
        if total > 0 && (room == 0 || faulty && self.random.chance(would_block)) {
            return self.no_room(id);
        }
        let short = faulty && room > 1 && self.random.chance(short);
        let mut left = if short { self.random.size(1..room) } else { room };
        let count = left;
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        for slice in slices {
            let part = slice.get(..left.min(slice.len())).unwrap_or_default();
            endpoint.leaving.extend(part);
            left -= part.len();
        }
        endpoint.wants_room |= count < total;
        self.carry_on(id);
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
            if endpoint.leaving.len() < endpoint.send_buffer {
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
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            (endpoint.read_held, endpoint.write_held) = (false, false);
            self.edge(Source::Stream(id));
        }
    }

    pub(crate) fn finish(&mut self, id: Id) -> io::Result<()> {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        if endpoint.dead || !endpoint.stands || endpoint.finished && endpoint.ended {
            return Err(io::ErrorKind::NotConnected.into());
        }
        endpoint.finishing = true;
        self.carry_on(id);
        self.edge(Source::Stream(id)); // a write would not block any more: it would fail
        Ok(())
    }

    pub(super) fn connected(&mut self, id: Id) -> io::Result<bool> {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return Err(gone()) };
        match endpoint.take_error() {
            Some(error) => Err(error),
            None => Ok(endpoint.stands && !endpoint.dead),
        }
    }

    pub(super) fn take_error(&mut self, id: Id) -> Option<io::Error> {
        self.endpoints.get_mut(id)?.take_error()
    }

    /// The owner closes it: FIN after what is leaving, or RST if something has arrived and was not read.
    pub(crate) fn close(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.closed = true;
        let (unread, stands) = (!endpoint.arrived.is_empty(), endpoint.stands);
        if endpoint.dead || !stands {
            self.remove(id);
        } else if unread {
            self.reset(id);
        } else {
            endpoint.finishing = true;
            self.carry_on(id);
            self.leave_if_done(id);
        }
    }

    /// RST: what is leaving may just make it, or is destroyed.
    pub(crate) fn reset(&mut self, id: Id) {
        if self.random.chance(0.5) {
            self.move_bytes(id);
        }
        self.remove(id);
    }

    /// One end is gone without a FIN, and the other learns of it by RST.
    fn remove(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.remove(id) else { return };
        if let Some(other) = endpoint.other {
            if let Some(other) = self.endpoints.get_mut(other) {
                other.other = None;
            }
            self.send_off(Happening::Reset(other));
        }
    }

    /// Cuts a connection in the middle: both ends are told by RST.
    pub(super) fn cut(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.harmed = true;
        if let Some(other) = endpoint.other.take() {
            if let Some(other) = self.endpoints.get_mut(other) {
                (other.harmed, other.other) = (true, None);
            }
            self.send_off(Happening::Reset(other));
        }
        self.send_off(Happening::Reset(id));
    }

    pub(super) fn reset_arrives(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.other = None;
        if endpoint.closed {
            self.endpoints.remove(id);
        } else if !endpoint.dead && !(endpoint.ended && endpoint.finished) {
            (endpoint.dead, endpoint.read_held) = (true, false); // what has arrived is still read first
            endpoint.leaving.clear();
            endpoint.error = Some(match (endpoint.stands, endpoint.ended) {
                (false, _) => io::ErrorKind::ConnectionRefused,
                (true, true) => io::ErrorKind::BrokenPipe,
                (true, false) => io::ErrorKind::ConnectionReset,
            });
            self.edge(Source::Stream(id));
        }
    }

    /// Schedules a `Transmit`, if there is something to transmit and none is scheduled.
    pub(super) fn carry_on(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let pending = !endpoint.leaving.is_empty() || endpoint.finishing && !endpoint.finished;
        if pending && endpoint.stands && !endpoint.dead && !endpoint.on_its_way {
            endpoint.on_its_way = true;
            self.send_off(Happening::Transmit(id));
        }
    }

    pub(super) fn transmit(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.on_its_way = false;
        let Some(other) = endpoint.other else { return };
        if self.random.chance(self.faults.reset) {
            return self.cut(id);
        }
        let is_heard = self.endpoints.get(other).is_some_and(|other| !other.closed);
        let has_bytes = self.endpoints.get(id).is_some_and(|sender| !sender.leaving.is_empty());
        if has_bytes && !is_heard {
            // Nobody is there to read it: RST comes back.
            if let Some(sender) = self.endpoints.get_mut(id) {
                sender.other = None;
            }
            self.endpoints.remove(other);
            return self.send_off(Happening::Reset(id));
        }
        let moved = self.move_bytes(id);
        let finished = self.move_fin(id, moved);
        if moved || finished {
            self.edge(Source::Stream(other));
        }
        let has_window = self
            .endpoints
            .get(other)
            .is_some_and(|other| other.arrived.len() < other.receive_buffer);
        if has_window {
            self.carry_on(id); // otherwise the other end's next read does
        }
        if finished {
            self.leave_if_done(id);
            self.leave_if_done(other);
        }
    }

    /// Moves what fits, or a part of it. Whether anything moved.
    fn move_bytes(&mut self, id: Id) -> bool {
        let Some(sender) = self.endpoints.get_mut(id) else { return false };
        let Some(other) = sender.other else { return false };
        let mut leaving = std::mem::take(&mut sender.leaving);
        let before = leaving.len();
        if let Some(receiver) = self.endpoints.get_mut(other) {
            let window = receiver.receive_buffer.saturating_sub(receiver.arrived.len());
            let mut count = before.min(window);
            if count > 1 && self.random.chance(self.faults.segmented) {
                count = self.random.size(1..count);
            }
            move_front(&mut leaving, &mut receiver.arrived, count);
        }
        let moved = before - leaving.len();
        self.tally.bytes += moved as u64;
        if let Some(sender) = self.endpoints.get_mut(id) {
            sender.leaving = leaving;
            if moved > 0 && sender.wants_room && sender.is_writable() {
                sender.wants_room = false;
                self.edge(Source::Stream(id));
            }
        }
        moved > 0
    }

    /// FIN arrives after the last byte: with it, or as often by itself. Whether it did.
    fn move_fin(&mut self, id: Id, with_bytes: bool) -> bool {
        let alone = !with_bytes || self.random.chance(0.5);
        let Some(sender) = self.endpoints.get_mut(id) else { return false };
        if !(alone && sender.finishing && !sender.finished && sender.leaving.is_empty()) {
            return false;
        }
        sender.finished = true;
        if let Some(receiver) = sender.other.and_then(|other| self.endpoints.get_mut(other)) {
            receiver.ended = true;
        }
        true
    }

    /// An end that is closed leaves when its FIN has arrived; who still sends to it is reset.
    fn leave_if_done(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get(id) else { return };
        if !endpoint.closed || !endpoint.finished {
            return;
        }
        let other = endpoint.other;
        let other_left = other.is_none_or(|other| {
            self.endpoints.get(other).is_none_or(|other| other.closed && other.finished)
        });
        // While the other end may send, this one stays, to answer with RST.
        if other_left || endpoint.ended {
            self.endpoints.remove(id);
            if let Some(other) = other.and_then(|other| self.endpoints.get_mut(other)) {
                other.other = None;
            }
            if let Some(other) = other {
                self.leave_if_done(other);
            }
        }
    }
}

impl Endpoint {
    /// What a read says when there is nothing to read.
    fn read_nothing(&mut self) -> io::Result<usize> {
        if self.ended && !self.read_held {
            return Ok(0); // before the error: a read after FIN never tells of a later RST
        }
        match self.take_error() {
            Some(error) => Err(error),
            None if self.dead => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn may_write(&mut self) -> io::Result<()> {
        match self.take_error() {
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
