//! How a connection ends: by our FIN, by a close that loses nothing, or at once.

use std::time::Duration;

use super::{Life, Table};
use crate::id::ConnId;
use crate::limits::Limits;
use crate::reason::{CloseReason, Deadline};
use crate::timers::after;
use crate::trace::event::Event;

impl Table {
    /// FIN after what is queued; the peer may go on sending.
    pub(crate) fn finish(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id.0)
            && connection.takes_sends()
        {
            connection.finish = true;
            self.tap.note(|| Event::Finishing { connection: id });
            self.mark_dirty(id);
        }
    }

    /// Drain, FIN, linger.
    pub(crate) fn close(&mut self, id: ConnId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        match connection.life {
            Life::Connecting | Life::Handshaking => self.end(id, reason),
            Life::Open => self.begin_close(id, reason),
            Life::Closing | Life::Lingering | Life::Gone => {}
        }
    }

    pub(crate) fn begin_close(&mut self, id: ConnId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        connection.life = Life::Closing;
        connection.reason = reason;
        let rest = connection.rest.take();
        let reason = &connection.reason;
        self.tap.note(|| Event::Closing { connection: id, reason: reason.clone() });
        self.discard(rest.map_or(0, |rest| rest.len()));
        self.await_drain(id);
        self.mark_dirty(id);
        self.mark_ready(id); // what is unread must not turn the close into a reset
    }

    /// What is queued can never leave; what TLS still has to say can. Then FIN, and linger.
    pub(crate) fn break_off(&mut self, id: ConnId, reason: CloseReason) {
        self.drop_queue(id);
        match self.get(id).map(|connection| connection.life) {
            Some(Life::Handshaking | Life::Open) => self.begin_close(id, reason),
            Some(Life::Closing) => {
                self.mark_dirty(id);
                if let Some(connection) = self.get_mut(id) {
                    connection.reason = reason; // what was to leave is lost
                }
            }
            _ => {}
        }
    }

    fn drop_queue(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        if let Some(mut queue) = connection.queue.take() {
            let dropped = queue.len() as u64;
            queue.clear();
            self.bytes_dropped += dropped;
            self.counters.queued_bytes().subtract(dropped);
            self.spares.keep_queue(queue);
        }
    }

    /// Bytes were read that no handler has consumed, and none will.
    pub(crate) fn discard(&mut self, count: usize) {
        self.counters.bytes_discarded().add(count as u64);
    }

    /// A closing connection has made progress, or has begun to close: its time runs anew.
    pub(crate) fn await_drain(&mut self, id: ConnId) {
        let timeout = self.timeout(id, |limits| limits.drain_timeout);
        self.set_loop_deadline(id, if timeout.is_zero() { Duration::MAX } else { timeout });
    }

    /// Our FIN is sent: the peer's is waited for.
    pub(crate) fn linger(&mut self, id: ConnId) {
        let timeout = self.timeout(id, |limits| limits.linger_timeout);
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.life = Life::Lingering;
            self.tap.note(|| Event::Lingering { connection: id });
        }
        self.set_loop_deadline(id, timeout);
        self.mark_ready(id);
    }

    fn timeout(&self, id: ConnId, which: impl Fn(&Limits) -> Duration) -> Duration {
        let limits = self.get(id).and_then(|connection| self.limits(connection.service));
        limits.map_or(Duration::ZERO, which)
    }

    pub(crate) fn set_loop_deadline(&mut self, id: ConnId, timeout: Duration) {
        let deadline = after(self.now, timeout);
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.deadline = deadline;
        }
        self.arm(id);
    }

    /// Ends at once; the reason is final. What is queued is dropped.
    pub(crate) fn end(&mut self, id: ConnId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        if connection.life == Life::Gone {
            return;
        }
        connection.reset = matches!(
            reason,
            CloseReason::Aborted
                | CloseReason::SlowConsumer
                | CloseReason::Deadline(Deadline::Drain)
        );
        connection.reason = reason;
        connection.life = Life::Gone;
        let rest = connection.rest.take();
        self.counters.bytes_discarded().add(rest.map_or(0, |rest| rest.len()) as u64);
        let reason = &connection.reason;
        self.tap.note(|| Event::Ended { connection: id, reason: reason.clone() });
        self.drop_queue(id);
        self.gone.push(id);
    }

    /// A callback about it panicked. What was sent before still leaves.
    pub(crate) fn panicked(&mut self, id: ConnId) {
        self.close(id, CloseReason::Panicked);
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.reason = CloseReason::Panicked;
        }
    }
}
