//! `flush`: what was wished for leaves.

use std::io;

use super::Reactor;
use crate::connection::{Life, Table};
use crate::driver::{DatagramSocket, Driver, Stream};
use crate::host::Call;
use crate::id::{ConnId, SocketId};
use crate::reason::CloseReason;
use crate::trace::event::{Event, Outcome, Verb};

impl<D: Driver> Reactor<D> {
    pub(super) fn flush(&mut self) {
        self.core.table.tap.verb(Verb::Flush);
        for service in std::mem::take(&mut self.core.turn_ends) {
            self.hosts.call(&mut self.core, service, Call::TurnEnd);
        }
        self.begin_connects();
        // Who is told that its queue has drained, and sends again, is on the new list: the next turn's.
        let empty = std::mem::take(&mut self.batch);
        let mut dirty = std::mem::replace(&mut self.core.table.dirty, empty);
        for id in dirty.drain(..) {
            self.flush_connection(id);
        }
        self.batch = dirty;
        for id in std::mem::take(&mut self.core.dirty_sockets) {
            self.flush_datagrams(id);
        }
    }

    /// What a connection's own callbacks have sent leaves right after them: its block is still in the
    /// cache, and free for the next connection.
    pub(super) fn flush_own(&mut self, id: ConnId) {
        if self.core.table.take_last_dirty(id) {
            self.write_and_settle(id);
        }
    }

    fn flush_connection(&mut self, id: ConnId) {
        let turn = self.core.table.turn;
        let Some(connection) = self.core.table.take_dirty(id) else { return };
        if connection.written_in != turn || connection.queue.is_none() {
            self.write_and_settle(id);
        } else if self.links.get(id).is_some_and(|link| link.writable) {
            // One write a turn: what came after it leaves in the next, which does not sleep.
            self.core.table.mark_dirty(id);
        } // else an edge will tell when there is room for the rest
    }

    fn write_and_settle(&mut self, id: ConnId) {
        if self.write(id) {
            self.settle(id);
        }
    }

    /// Writes until the queue is empty or the kernel takes no more. Whether the connection stands.
    fn write(&mut self, id: ConnId) -> bool {
        let Self { core, links, .. } = self;
        let Table { now, turn, block_size, .. } = core.table;
        let Some((connection, spares, tap)) = core.table.get_with_means(id) else { return false };
        match connection.life {
            Life::Connecting | Life::Gone => return false,
            Life::Handshaking => {
                // What is queued waits for the end of the handshake; what TLS has to say for it does not.
                self.write_sealed(id);
                return false;
            }
            Life::Open | Life::Closing | Life::Lingering => {}
        }
        let Some(link) = links.get_mut(id) else { return false };
        if link.transport.has_tls {
            return (connection.queue.is_none() && !connection.owes) || self.write_sealed(id);
        }
        let Some(queue) = &mut connection.queue else { return true };
        connection.written_in = turn;
        let before = queue.len();
        let mut failed = None;
        while link.writable && !queue.is_empty() {
            let result = queue.write(|slices| {
                tap.call(
                    || link.transport.stream.write(slices),
                    |result, took| Event::Write {
                        connection: id,
                        outcome: Outcome::counted(result, |count| *count),
                        took,
                    },
                )
            });
            match result {
                Ok(_) => {} // a short write proves nothing: the next one says WouldBlock
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => link.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error.kind());
                    break;
                }
            }
        }
        let written = before - queue.len();
        if written > 0 {
            connection.last_activity = now;
        }
        let closing = connection.life == Life::Closing;
        spares.written(&mut connection.queue, block_size);
        self.wrote(id, written, closing, failed)
    }

    /// So much of a queue has left. Whether the connection still lives.
    #[inline]
    pub(super) fn wrote(
        &mut self,
        id: ConnId,
        written: usize,
        closing: bool,
        failed: Option<io::ErrorKind>,
    ) -> bool {
        let written = written as u64;
        self.core.table.counters.queued_bytes().subtract(written);
        self.core.table.counters.bytes_out().add(written);
        match failed {
            Some(kind) => self.fail(id, kind),
            None if closing && written > 0 => self.core.table.await_drain(id),
            None => {}
        }
        failed.is_none()
    }

    /// What follows when the queue has become shorter: FIN, the end, or word to the handler.
    fn settle(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.get(id) else { return };
        let finishes = connection.life == Life::Closing || connection.finish;
        if !finishes && !connection.full && !connection.write_ended {
            return;
        }
        let (queued, service) = (connection.queued(), connection.service);
        if queued == 0 && finishes && !connection.write_ended && !self.send_fin(id) {
            return;
        }
        self.leave_if_done(id);
        let Some(connection) = self.core.table.get(id) else { return };
        let low = self.core.table.limits(service).map_or(0, |limits| limits.queue_low);
        if connection.full && queued <= low {
            self.core.table.drained(id);
            let speaks =
                self.core.table.get(id).is_some_and(|connection| connection.life == Life::Open);
            if speaks {
                self.hosts.call(&mut self.core, service, Call::Drained(id));
            }
        }
    }

    /// Whether it could be sent.
    fn send_fin(&mut self, id: ConnId) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        if link.transport.has_tls {
            match self.say_close_notify(id) {
                Some(true) => {}
                Some(false) => return true, // an edge will tell when it can leave
                None => return false,
            }
        }
        let Some(link) = self.links.get_mut(id) else { return false };
        let result = self.core.table.tap.call(
            || link.transport.stream.finish(),
            |result, took| Event::Finish { connection: id, outcome: Outcome::done(result), took },
        );
        match result {
            Ok(()) => {
                if let Some(connection) = self.core.table.get_mut(id) {
                    connection.write_ended = true;
                }
                true
            }
            // Nobody is there to finish to: a reset has come in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.fail(id, io::ErrorKind::ConnectionReset);
                false
            }
            Err(error) => {
                self.fail(id, error.kind());
                false
            }
        }
    }

    /// With both FINs nothing is left to happen; with ours alone, a closed connection waits for theirs.
    fn leave_if_done(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.get(id) else { return };
        if !connection.write_ended {
            return;
        }
        match connection.life {
            Life::Open if connection.read_ended => self.core.table.end(id, CloseReason::Eof),
            Life::Closing if connection.read_ended => {
                let reason = connection.reason.clone();
                self.core.table.end(id, reason);
            }
            Life::Closing => self.core.table.linger(id),
            _ => {}
        }
    }

    fn flush_datagrams(&mut self, id: SocketId) {
        let Some(link) = self.sockets.get_mut(&id) else { return };
        let Some(outbox) = self.core.outboxes.get_mut(id.0) else { return };
        let Table { counters, tap, .. } = &mut self.core.table;
        while let Some((to, datagram)) = outbox.queue.front() {
            let result = tap.call(
                || link.socket.send(datagram, to),
                |result, took| Event::Send {
                    socket: id,
                    outcome: Outcome::counted(result, |()| datagram.len()),
                    took,
                },
            );
            match result {
                Ok(()) => {
                    counters.datagrams_out().increment();
                    counters.bytes_out().add(datagram.len() as u64);
                }
                // To an IP peer it means that the socket has no room. To a Unix peer it means that *that
                // peer* has none, and no edge tells when it has: the others do not wait for it.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && to.socket_address().is_some() =>
                {
                    link.blocked = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::debug!("a datagram to {to} was not sent: {error}");
                    counters.datagrams_dropped().increment();
                    tap.note(|| Event::DatagramDropped { socket: id });
                }
            }
            outbox.bytes -= datagram.len();
            outbox.queue.pop_front();
        }
    }
}
