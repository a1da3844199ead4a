//! TLS handshakes: how one begins, goes on and ends, and how many may be under way.

use std::collections::VecDeque;
use std::time::Duration;

use super::Reactor;
use super::receive::Read;
use crate::connection::{Life, Origin, ServiceIndex};
use crate::driver::Driver;
use crate::host::Call;
use crate::id::ConnId;
use crate::reason::TlsError;
use crate::timers::NEVER;
use crate::trace::event::Event;
use crate::transport::{Handshake, Tls};

/// The loop's half of TLS on one connection.
pub(super) struct Secure {
    pub(super) tls: Tls,
    /// Invariant: whether it is counted among its service's handshakes under way.
    has_turn: bool,
    /// Bytes that came after the end, and were not looked at.
    pub(super) discarded: usize,
}

/// The handshakes of one service's clients that cost something: from the first message to the last.
#[derive(Default)]
pub(super) struct Handshakes {
    under_way: usize,
    /// Whose turn is yet to come. Some may be gone.
    waiting: VecDeque<ConnId>,
}

impl Secure {
    /// Whether its client has greeted, and waits for its turn: it is not read meanwhile.
    #[cfg(feature = "sim")]
    pub(super) fn waits_for_turn(&self) -> bool {
        self.tls.handshake() == Handshake::Greeted && !self.has_turn
    }
}

impl<D: Driver> Reactor<D> {
    /// A stream stands that is to speak TLS. Its handler hears of it when the handshake is over.
    pub(super) fn begin_handshake(&mut self, id: ConnId, tls: Tls, patience: Duration) {
        self.sessions.insert(id, Box::new(Secure { tls, has_turn: false, discarded: 0 }));
        if self.cipher.is_empty() {
            self.cipher.resize(self.config.block_size, 0);
        }
        self.core.table.tap.note(|| Event::Handshaking { connection: id });
        let timeout = self.handshake_timeout(id).min(patience);
        self.core.table.set_loop_deadline(id, timeout);
        self.note_owed(id);
    }

    fn handshake_timeout(&self, id: ConnId) -> Duration {
        let service = self.core.table.get(id).map(|connection| connection.service);
        let limits = service.and_then(|service| self.core.table.limits(service));
        match limits.map(|limits| limits.handshake_timeout) {
            Some(timeout) if !timeout.is_zero() => timeout,
            _ => Duration::MAX,
        }
    }

    /// The handshake goes on by what has arrived.
    pub(super) fn shake_hands(&mut self, id: ConnId, budget: usize) -> Read {
        let Some(secure) = self.sessions.get_mut(id) else { return Read::Done };
        if secure.tls.handshake() == Handshake::Greeted {
            if !secure.has_turn {
                return Read::Done;
            }
            let result = secure.tls.begin();
            self.handshake_went_on(id, result);
            return Read::More(0);
        }
        match self.read_cipher(id, budget) {
            Ok(0) => {
                self.truncated(id);
                Read::Done
            }
            Ok(count) => {
                let Some(secure) = self.sessions.get_mut(id) else { return Read::Done };
                let cipher = self.cipher.get(..count).unwrap_or_default();
                let (_, result) = secure.tls.feed(cipher, &mut []);
                self.handshake_went_on(id, result);
                Read::More(count)
            }
            Err(read) => read,
        }
    }

    fn handshake_went_on(&mut self, id: ConnId, result: Result<(), TlsError>) {
        let Some(secure) = self.sessions.get_mut(id) else { return };
        match (result, secure.tls.handshake()) {
            (Err(error), _) => self.broke(id, error),
            (Ok(()), Handshake::UnderWay) => self.note_owed(id),
            (Ok(()), Handshake::Done) => self.handshake_done(id),
            (Ok(()), Handshake::Greeted) if self.take_turn(id) => self.core.table.mark_ready(id),
            (Ok(()), Handshake::Greeted) => self.core.table.set_loop_deadline(id, Duration::MAX),
        }
    }

    /// Whether a client that has greeted may begin what is costly. If not, it will be its turn later.
    fn take_turn(&mut self, id: ConnId) -> bool {
        let Some(service) = self.core.table.get(id).map(|connection| connection.service) else {
            return false;
        };
        let max = self.core.table.limits(service).map_or(0, |limits| limits.handshakes_max);
        let Some(handshakes) = self.handshakes.get_mut(usize::from(service)) else { return false };
        if max != 0 && handshakes.under_way >= max {
            handshakes.waiting.push_back(id);
            return false;
        }
        handshakes.under_way += 1;
        if let Some(secure) = self.sessions.get_mut(id) {
            secure.has_turn = true;
        }
        true
    }

    /// A handshake is over, one way or the other: it is the next one's turn.
    pub(super) fn leave_turn(&mut self, id: ConnId, service: ServiceIndex) {
        let Some(secure) = self.sessions.get_mut(id) else { return };
        if !std::mem::take(&mut secure.has_turn) {
            return;
        }
        let Some(handshakes) = self.handshakes.get_mut(usize::from(service)) else { return };
        handshakes.under_way -= 1;
        while let Some(next) = handshakes.waiting.pop_front() {
            if let Some(secure) = self.sessions.get_mut(next)
                && self.core.table.get(next).is_some_and(|next| next.life == Life::Handshaking)
            {
                secure.has_turn = true;
                handshakes.under_way += 1;
                let timeout = self.handshake_timeout(next);
                self.core.table.set_loop_deadline(next, timeout);
                return self.core.table.mark_ready(next);
            }
        }
    }

    /// Both sides may speak: the handler hears of it.
    fn handshake_done(&mut self, id: ConnId) {
        let now = self.core.table.now;
        let info = self.sessions.get_mut(id).and_then(|secure| secure.tls.info());
        let Some(connection) = self.core.table.get_mut(id) else { return };
        connection.life = Life::Open;
        connection.opened = true;
        connection.deadline = NEVER;
        connection.last_activity = now;
        let (service, origin) = (connection.service, connection.origin);
        self.leave_turn(id, service);
        let is_resumed = info.as_ref().is_some_and(|info| info.is_resumed());
        if let Some(info) = info {
            self.core.table.infos.insert(id, Box::new(info));
        }
        self.core.table.counters.handshakes().increment();
        self.core.table.counters.handshakes_resumed().add(u64::from(is_resumed));
        if origin == Origin::Connected {
            self.core.table.counters.connected().increment();
            self.core.table.tap.note(|| Event::Connected { connection: id });
        }
        self.core.table.arm(id);
        self.core.table.tap.note(|| Event::ShookHands { connection: id, is_resumed });
        self.note_owed(id);
        self.hosts.call(&mut self.core, service, Call::Open(id));
        self.core.table.mark_ready(id);
        self.core.table.mark_dirty(id);
    }
}
