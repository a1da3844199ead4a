//! What must be true of the loop between any two turns.

use super::Reactor;
use super::accept::RETRY;
use super::shutdown::Phase;
use super::wait::Link;
use crate::connection::{Connection, Life};
use crate::driver::Driver;
use crate::id::ConnId;
use crate::timers::{NEVER, after};

impl<D: Driver> Reactor<D> {
    /// The first invariant that does not hold.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        let table = &self.core.table;
        table.check()?;
        for (id, connection) in table.iter() {
            self.check_halves(id, connection)
                .map_err(|text| format!("connection {id} ({:?}): {text}", connection.life))?;
        }
        self.check_timers()?;
        self.check_listeners()?;
        self.check_sockets()?;
        if self.hosts.has_messages() && !self.more_messages && !self.alarm.is_rung() {
            return Err("somebody has said something, and nobody will hear it".to_owned());
        }
        let listed = table.ready.len() + table.dirty.len() + table.gone.len();
        let goes_on = !matches!(self.phase, Phase::Stopped(_));
        if goes_on && listed > 0 && self.next_deadline() != Some(self.origin()) {
            return Err(format!("{listed} connections are on lists, and the loop would sleep"));
        }
        let mut admissions = self.admissions.iter().zip(&table.limits);
        if !admissions.all(|(admission, limits)| admission.is_within(limits)) {
            return Err("more are in than the limits of their service allow".to_owned());
        }
        let admitted = table.iter().filter(|(_, connection)| connection.admitted).count() as u64;
        match table.counters.open().get() {
            open if open == admitted => Ok(()),
            open => Err(format!("{open} connections are counted as open, and {admitted} are")),
        }
    }

    fn check_halves(&self, id: ConnId, connection: &Connection) -> Result<(), &'static str> {
        let link = self.links.get(id);
        if self.attempts.get(&id).is_some_and(|attempt| {
            connection.life == Life::Connecting && connection.deadline > attempt.give_up
        }) {
            return Err("it may take too long to connect");
        }
        let is_begun = self.attempts.contains_key(&id)
            || self.core.connects.iter().any(|(wished, ..)| *wished == id);
        match (connection.life, link) {
            (Life::Connecting, _) if !is_begun => Err("nobody tries to connect it"),
            (Life::Connecting | Life::Gone, _) => Ok(()),
            (_, None) => Err("it has no socket"),
            (_, Some(link)) => self.check_stalls(id, connection, link),
        }
    }

    /// Never stalled: what is possible and wanted is on a list, since no edge may come for it again.
    fn check_stalls(
        &self,
        id: ConnId,
        connection: &Connection,
        link: &Link<D::Stream>,
    ) -> Result<(), &'static str> {
        let (is_ready, is_dirty) = self.core.table.listed(id);
        let discards = matches!(connection.life, Life::Closing | Life::Lingering);
        let session = self.sessions.get(id);
        let shakes = connection.life == Life::Handshaking
            && session.is_some_and(|session| !session.waits_for_turn());
        let is_wanted = connection.hears() || shakes || discards && !connection.read_ended;
        let holds = connection.hears() && session.is_some_and(|session| session.tls.holds_news());
        if (link.readable || holds) && is_wanted && !is_ready {
            return Err("there is something to read, and nobody will");
        }
        let waits = match connection.life {
            Life::Handshaking => connection.owes,
            _ => connection.queued() > 0 || connection.owes,
        };
        if link.writable && waits && !is_dirty {
            return Err("there is something to write and room for it, and nobody will");
        }
        Ok(())
    }

    fn check_timers(&self) -> Result<(), String> {
        let timers = self.core.timers.iter().filter(|(_, timer)| timer.armed != NEVER).count();
        let listeners = self.acceptors.iter().filter(|(_, found)| found.armed != NEVER).count();
        let armed = self.core.table.armed_count() + timers + listeners;
        let now = self.core.table.now;
        for (id, timer) in self.core.timers.iter() {
            if timer.due < now || timer.armed > timer.due {
                return Err(format!("timer {id:?} does not pass when it is due"));
            }
        }
        match self.core.table.timers.live() {
            live if live == armed => Ok(()),
            live => {
                Err(format!("{live} entries among the timers count, and {armed} owners think so"))
            }
        }
    }

    fn check_listeners(&self) -> Result<(), String> {
        for (id, acceptor) in self.acceptors.iter() {
            if acceptor.armed != NEVER && acceptor.armed > after(self.core.table.now, RETRY) {
                return Err(format!("listener {id:?} may wait too long until it tries again"));
            }
            let times = self.ready_acceptors.iter().filter(|ready| ready.0 == id).count();
            if times != usize::from(acceptor.is_listed()) {
                return Err(format!("listener {id:?} is on the ready list {times} times"));
            }
        }
        Ok(())
    }

    fn check_sockets(&self) -> Result<(), String> {
        for (&id, link) in &self.sockets {
            let waits = self.core.outboxes.get(id.0).is_some_and(|outbox| !outbox.queue.is_empty());
            let times = self.core.dirty_sockets.iter().filter(|&&dirty| dirty == id).count();
            if times > 1 || waits && times == 0 && !link.blocked {
                return Err(format!("datagrams wait at {id:?}, and nobody will send them"));
            }
        }
        Ok(())
    }

    /// What `next_deadline` says while there is work.
    pub(crate) fn origin(&self) -> std::time::Instant {
        self.core.origin
    }

    /// How many services there are.
    pub(crate) fn services(&self) -> usize {
        self.core.ports.len()
    }

    /// What is still held after a loop has stopped: nothing may be.
    ///
    /// # Errors
    /// What is left, in a sentence.
    pub(crate) fn check_released(&self) -> Result<(), String> {
        let left = [
            ("connections", self.core.table.len()),
            ("sockets of connections", self.links.len()),
            ("attempts to connect", self.attempts.len()),
            ("sessions", self.hosts.sessions()),
            ("bytes in queues", self.memory().queues),
            ("bytes of input", self.memory().inputs),
        ];
        if let Some((what, count)) = left.into_iter().find(|(_, count)| *count != 0) {
            return Err(format!("{count} {what} are left"));
        }
        match self.admissions.iter().all(|admission| admission.is_empty()) {
            true => Ok(()),
            false => Err("places are taken, and nobody is there".to_owned()),
        }
    }
}
