//! How bytes, FIN and RST come to the other end over TCP: after a while, as far as there is a window.
//!
//! After Linux: `tcp_close`, `tcp_reset`, `tcp_disconnect`, `sk_stream_write_space`; RFC 9293.

use std::collections::VecDeque;
use std::io;

use super::network::{Happening, Network, Source};
use crate::id::Id;

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
    /// FIN after what is leaving, or RST if something has arrived and was not read.
    pub(super) fn close_tcp(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.closed = true;
        let (unread, stands) = (!endpoint.arrived.is_empty(), endpoint.stands);
        if endpoint.dead || !stands {
            self.remove(id);
        } else if unread {
            self.reset_tcp(id);
        } else {
            endpoint.finishing = true;
            self.carry_on(id);
            self.leave_if_done(id);
        }
    }

    /// RST: what is leaving may just make it, or is destroyed.
    pub(super) fn reset_tcp(&mut self, id: Id) {
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
        } else if !endpoint.is_over() {
            endpoint.dead = true; // what has arrived is still read first
            (endpoint.read_held, endpoint.write_held) = (false, false);
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
        if finished {
            self.edge(Source::Stream(id)); // when its FIN has been acknowledged
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
