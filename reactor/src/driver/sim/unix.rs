//! How bytes and the end come to the other end of a Unix stream: at once, and nothing is ever lost.
//!
//! After Linux: `unix_stream_connect`, `unix_stream_sendmsg`, `unix_write_space`, `unix_shutdown` and
//! `unix_release_sock`.

use std::io;

use super::network::{Network, Source};
use crate::id::Id;

impl Network {
    /// What was written is in the other end's queue.
    pub(super) fn deliver(&mut self, id: Id) {
        let Some(sender) = self.endpoints.get_mut(id) else { return };
        let Some(other) = sender.other else { return };
        let count = sender.leaving.len();
        if count == 0 {
            return;
        }
        sender.unread += count;
        let mut leaving = std::mem::take(&mut sender.leaving);
        if let Some(receiver) = self.endpoints.get_mut(other) {
            match receiver.arrived.is_empty() {
                true => std::mem::swap(&mut receiver.arrived, &mut leaving),
                false => receiver.arrived.append(&mut leaving),
            }
        }
        self.tally.bytes += count as u64;
        if let Some(sender) = self.endpoints.get_mut(id) {
            sender.leaving = leaving; // empty, but it has the memory for what is written next
        }
        self.edge(Source::Stream(other));
    }

    /// So much of what it wrote was read. It is told whenever there is plenty of room, even if it never
    /// lacked any.
    pub(super) fn make_room(&mut self, id: Id, count: usize) {
        if let Some(writer) = self.endpoints.get_mut(id) {
            writer.unread = writer.unread.saturating_sub(count);
            if writer.is_writable() {
                self.edge(Source::Stream(id));
            }
        }
    }

    /// It has finished sending, and the other end knows.
    pub(super) fn end_at_once(&mut self, id: Id) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.finished = true;
        if let Some(other) = endpoint.other
            && let Some(receiver) = self.endpoints.get_mut(other)
        {
            receiver.ended = true;
            self.edge(Source::Stream(other));
        }
    }

    /// It is gone, and the other end knows. There it is an error if something was not read here, or if
    /// nobody has accepted it.
    pub(super) fn hang_up(&mut self, id: Id, was_waiting: bool) {
        let Some(endpoint) = self.endpoints.remove(id) else { return };
        let Some(other) = endpoint.other else { return };
        if let Some(left) = self.endpoints.get_mut(other) {
            (left.other, left.unread) = (None, 0);
            (left.ended, left.dead) = (true, true);
            (left.read_held, left.write_held) = (false, false);
            if was_waiting || !endpoint.arrived.is_empty() {
                left.error = Some(io::ErrorKind::ConnectionReset);
            }
        }
        self.edge(Source::Stream(other));
    }
}
