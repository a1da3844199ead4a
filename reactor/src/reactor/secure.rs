//! TLS in the loop: what `receive` and `flush` do for those that have it.
//!
//! The state machine knows no socket ([`Tls`](crate::transport::Tls)); here it is given what the socket yields, and
//! what it has to say is written. One block of ciphertext serves all connections: what is read into it is fed in the
//! same breath.

use std::io;

use super::Reactor;
use super::receive::{Read, clear_block};
use crate::connection::{Life, Outgoing, Table};
use crate::driver::{Driver, Stream};
use crate::id::ConnId;
use crate::reason::{CloseReason, TlsError};
use crate::trace::event::{Event, Outcome};
use crate::transport::Plaintext;

/// No read of ciphertext is smaller unless the budget is, however little plaintext is wanted: records have a head and a
/// tail, and what is too much waits.
const CIPHER_MIN: usize = 4 * 1024;

/// Who has broken TLS and goes on sending is listened to no longer than for so many bytes: long enough for the alert
/// to reach who does not know yet.
const BROKEN_MAX: usize = 256 * 1024;

/// What who speaks HTTP to a port that speaks TLS is told.
const NO_HTTP: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
This port speaks TLS: use https.\n";

impl<D: Driver> Reactor<D> {
    /// TLS is at its end: the peer is told, if it was not the peer who told us.
    pub(super) fn broke(&mut self, id: ConnId, error: TlsError) {
        let Some(connection) = self.core.table.get(id) else { return };
        let service = connection.service;
        self.leave_turn(id, service);
        if matches!(error, TlsError::NotTls | TlsError::PlainHttp) {
            self.core.table.counters.not_tls().increment();
        }
        let reason = CloseReason::Tls(error);
        if error == TlsError::PlainHttp {
            self.sessions.remove(id);
            if let Some(link) = self.links.get_mut(id) {
                link.transport.has_tls = false;
            }
            self.core.table.send(id, Outgoing::Copied(NO_HTTP));
            return self.core.table.begin_close(id, reason);
        }
        self.note_owed(id);
        self.core.table.break_off(id, reason);
    }

    /// FIN without close_notify.
    pub(super) fn truncated(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.get_mut(id) else { return };
        connection.read_ended = true;
        match connection.life {
            Life::Handshaking => self.core.table.end(id, CloseReason::Truncated),
            _ => self.core.table.close(id, CloseReason::Truncated),
        }
    }

    /// Reading makes bytes to send too: they leave with what the handler sends.
    pub(super) fn note_owed(&mut self, id: ConnId) {
        let owes = self.sessions.get(id).is_some_and(|secure| secure.tls.wants_write());
        if let Some(connection) = self.core.table.get_mut(id) {
            connection.owes = owes;
        }
        if owes {
            self.core.table.mark_dirty(id);
        }
    }

    /// Reads into the block for ciphertext; 0 is the peer's FIN.
    pub(super) fn read_cipher(&mut self, id: ConnId, size: usize) -> Result<usize, Read> {
        let Some(link) = self.links.get_mut(id).filter(|link| link.readable) else {
            return Err(Read::Done);
        };
        let size = size.min(self.cipher.len());
        let room = self.cipher.get_mut(..size).unwrap_or_default();
        let result = self.core.table.tap.call(
            || link.transport.stream.read(room),
            |result, took| Event::Read {
                connection: id,
                outcome: Outcome::counted(result, |count| *count),
                took,
            },
        );
        match result {
            Ok(count) => {
                // As with a plain read: a short one has emptied the socket, as a rule.
                link.readable = count > 0 && (count == size || link.reads_may_be_short);
                let now = self.core.table.now;
                if let Some(connection) = self.core.table.get_mut(id) {
                    connection.last_activity = now;
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.readable = false;
                Err(Read::Done)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Read::More(0)),
            Err(error) => {
                self.fail(id, error.kind());
                Err(Read::Done)
            }
        }
    }

    pub(super) fn read_under_tls(&mut self, id: ConnId, budget: usize) -> Read {
        let Some(connection) = self.core.table.get(id) else { return Read::Done };
        if connection.life == Life::Handshaking {
            self.shake_hands(id, budget)
        } else if connection.hears() {
            let limit = self.core.table.may_read(connection, budget);
            self.read_sealed(id, limit, budget)
        } else if connection.discards() {
            self.discard_cipher(id, budget)
        } else {
            self.ask_for_error(id);
            Read::Done
        }
    }

    /// One read of ciphertext, and what plaintext it yields to the handler; or what was there already.
    fn read_sealed(&mut self, id: ConnId, limit: usize, budget: usize) -> Read {
        clear_block(&mut self.block, &mut self.core.table);
        let Some(secure) = self.sessions.get_mut(id) else { return Read::Done };
        if secure.tls.holds_news() {
            let (plaintext, result) = secure.tls.read(self.block.room(limit));
            match plaintext {
                Plaintext::Bytes(count) => return self.unsealed(id, count, count, result),
                Plaintext::Ended => {
                    self.ended(id);
                    return Read::Done;
                }
                Plaintext::Nothing => return self.unsealed(id, 0, 0, result),
            }
        }
        let count = match self.read_cipher(id, limit.max(CIPHER_MIN).min(budget)) {
            Ok(0) => {
                self.truncated(id);
                return Read::Done;
            }
            Ok(count) => count,
            Err(read) => return read,
        };
        let Some(secure) = self.sessions.get_mut(id) else { return Read::Done };
        let cipher = self.cipher.get(..count).unwrap_or_default();
        let (plain, result) = secure.tls.feed(cipher, self.block.room(limit));
        self.unsealed(id, plain, count, result)
    }

    /// So much plaintext is in the block, and the handler's.
    fn unsealed(
        &mut self,
        id: ConnId,
        plain: usize,
        cost: usize,
        result: Result<(), TlsError>,
    ) -> Read {
        self.note_owed(id);
        if plain > 0 {
            self.block.filled(plain);
            self.received(id, plain, true);
        }
        if let Err(error) = result {
            self.broke(id, error);
            return Read::Done;
        }
        Read::More(cost)
    }

    /// What a peer still sends to a connection that closes is read, so that the close is none, and not looked at.
    fn discard_cipher(&mut self, id: ConnId, budget: usize) -> Read {
        match self.read_cipher(id, budget) {
            Ok(0) => {
                self.ended(id);
                Read::Done
            }
            Ok(count) => {
                let Some(secure) = self.sessions.get_mut(id) else { return Read::Done };
                secure.discarded += count;
                if secure.tls.is_broken() && secure.discarded > BROKEN_MAX {
                    let reason =
                        self.core.table.get(id).map(|connection| connection.reason.clone());
                    self.core.table.end(id, reason.unwrap_or(CloseReason::Aborted));
                    return Read::Done;
                }
                Read::More(count)
            }
            Err(read) => read,
        }
    }

    /// Seals what is queued and writes it, until both are empty or the kernel takes no more. Whether the
    /// connection still lives.
    pub(super) fn write_sealed(&mut self, id: ConnId) -> bool {
        let Self { links, sessions, core, .. } = self;
        let Table { now, turn, block_size, .. } = core.table;
        let (Some(link), Some(secure)) = (links.get_mut(id), sessions.get_mut(id)) else {
            return false;
        };
        let Some((connection, spares, tap)) = core.table.get_with_means(id) else { return false };
        let queue = connection.queue.get_or_insert_with(|| spares.queue());
        connection.written_in = turn;
        let is_last = connection.life == Life::Closing || connection.finish;
        let may_seal = connection.life != Life::Handshaking;
        let before = queue.len();
        let mut failed = None;
        while link.writable && failed.is_none() {
            if may_seal && let Err(error) = secure.tls.seal(queue, is_last) {
                failed = Some(error.kind());
                break;
            }
            if !secure.tls.wants_write() {
                break;
            }
            let event = |result: &io::Result<usize>, took| Event::Write {
                connection: id,
                outcome: Outcome::counted(result, |count| *count),
                took,
            };
            let result = secure
                .tls
                .write(queue, |slices| tap.call(|| link.transport.stream.write(slices), event));
            match result {
                Ok(()) => {
                    connection.last_activity = now;
                    if !secure.tls.wants_write() {
                        break; // one write a turn: what is more than one batch leaves in the next
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => link.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failed = Some(error.kind()),
            }
        }
        connection.owes = secure.tls.wants_write();
        let (written, closing) = (before - queue.len(), connection.life == Life::Closing);
        let has_more = may_seal && link.writable && !queue.is_empty();
        spares.written(&mut connection.queue, block_size);
        if has_more {
            core.table.mark_dirty(id);
        }
        self.wrote(id, written, closing, failed)
    }

    /// Says close_notify, if it is not said. Whether it has left, so that FIN may follow; `None`: the connection has failed.
    pub(super) fn say_close_notify(&mut self, id: ConnId) -> Option<bool> {
        if !self.write_sealed(id) {
            return None;
        }
        self.core.table.get(id).map(|connection| !connection.owes)
    }
}
