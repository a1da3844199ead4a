//! `wait`: sleep until something is possible, and note what.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use super::Reactor;
use super::accept::Acceptor;
use super::connect::Attempt;
use super::receive::DatagramLink;
use crate::connection::Table;
use crate::context::Core;
use crate::driver::{Driver, Stream};
use crate::id::{Arena, ConnId, ConnMap, Kind, ListenerId, SocketId, Token};
use crate::readiness::Readiness;
use crate::trace::event::{Event, Source};
use crate::transport::Transport;

impl<D: Driver> Reactor<D> {
    pub(super) fn wait(&mut self, max_wait: Option<Duration>) -> io::Result<()> {
        let now = self.clock();
        let Table { tap, counters, .. } = &mut self.core.table;
        tap.turn_began(now, || counters.turns().get() + 1);
        let due = self.next_due().map(|due| Duration::from_nanos(due.saturating_sub(now)));
        let timeout = match (max_wait, due) {
            _ if self.has_work() => Some(Duration::ZERO),
            (Some(max_wait), Some(due)) => Some(max_wait.min(due)),
            (max_wait, due) => max_wait.or(due),
        };
        if self.config.spin.is_zero() {
            self.poll(timeout)?;
        } else {
            self.spin(timeout)?;
        }
        self.core.table.now = self.clock();
        self.core.table.turn = self.core.table.turn.wrapping_add(1);
        self.core.table.counters.turns().increment();
        self.core.table.waited();
        Ok(())
    }

    /// Looks for work again and again before it sleeps, as long as that pays.
    fn spin(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let began = self.driver.now();
        let may = self.config.spin;
        let until = timeout.map_or(may, |timeout| timeout.min(may));
        let mut elapsed = Duration::ZERO;
        let mut came = false;
        if self.spin.begins(began) {
            while !came && elapsed < until {
                came = self.poll(Some(Duration::ZERO))?;
                elapsed = self.driver.now().saturating_duration_since(began);
            }
        }
        if !came {
            self.poll(timeout.map(|timeout| timeout.saturating_sub(elapsed)))?;
        }
        self.spin.ended(began, self.driver.now(), may);
        Ok(())
    }

    /// Waits, and notes what the driver tells. Whether anything came, be it for the driver alone.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let is_recording = self.core.table.tap.is_on();
        let loop_number = self.core.table.loop_number();
        let mut intake: Intake<'_, D> = Intake {
            links: &mut self.links,
            attempts: &mut self.attempts,
            acceptors: &mut self.acceptors,
            sockets: &mut self.sockets,
            ready_acceptors: &mut self.ready_acceptors,
            ready_attempts: &mut self.ready_attempts,
            ready_sockets: &mut self.ready_sockets,
            core: &mut self.core,
            loop_number,
            events: 0,
        };
        let came = self.driver.wait(timeout, |token, readiness| match is_recording {
            true => intake.note_and_record(token, readiness),
            false => _ = intake.note(token, readiness),
        })?;
        let events = intake.events;
        self.core.table.counters.events().add(events);
        Ok(came)
    }
}

/// Where it is noted what has become possible.
struct Intake<'a, D: Driver> {
    links: &'a mut ConnMap<Link<D::Stream>>,
    attempts: &'a mut HashMap<ConnId, Attempt<D::Stream>>,
    acceptors: &'a mut Arena<Acceptor<D::Listener>>,
    sockets: &'a mut BTreeMap<SocketId, DatagramLink<D::Socket>>,
    ready_acceptors: &'a mut Vec<ListenerId>,
    ready_attempts: &'a mut Vec<ConnId>,
    ready_sockets: &'a mut Vec<SocketId>,
    core: &'a mut Core,
    loop_number: u16,
    events: u64,
}

impl<D: Driver> Intake<'_, D> {
    /// Whoever an event is about may be gone, and its slot another's: then nobody is found. Whether
    /// somebody was.
    #[inline(always)]
    fn note(&mut self, token: Token, readiness: Readiness) -> bool {
        self.events += 1;
        let id = token.id(self.loop_number);
        match token.kind() {
            Some(Kind::Connection) => match self.links.get_mut(ConnId(id)) {
                Some(link) => link.note(readiness, ConnId(id), &mut self.core.table),
                None => return self.note_attempt(ConnId(id), readiness),
            },
            Some(Kind::Listener) => match self.acceptors.get_mut(id) {
                Some(acceptor) => acceptor.note(ListenerId(id), self.ready_acceptors),
                None => return false,
            },
            Some(Kind::Socket) => match self.sockets.get_mut(&SocketId(id)) {
                Some(link) => link.note(readiness, SocketId(id), self.ready_sockets, self.core),
                None => return false,
            },
            Some(Kind::Timer) | None => return false,
        }
        true
    }

    fn note_attempt(&mut self, id: ConnId, readiness: Readiness) -> bool {
        let Some(attempt) = self.attempts.get_mut(&id) else { return false };
        attempt.note(readiness);
        self.ready_attempts.push(id);
        true
    }

    #[cold]
    #[inline(never)]
    fn note_and_record(&mut self, token: Token, readiness: Readiness) {
        let known = self.note(token, readiness);
        let source = Source::of(token, self.loop_number);
        self.core.table.tap.note(|| Event::Ready { source, readiness, known });
    }
}

/// The socket half of a connection that stands, and what is known of its readiness.
pub(super) struct Link<S> {
    pub(super) transport: Transport<S>,
    /// A read may yield something.
    pub(super) readable: bool,
    /// A write may take something.
    pub(super) writable: bool,
    /// A read may be short with more behind it: the peer has finished, or there is urgent data, or the
    /// stream is of a kind of which that is always so. Once it is set it stays.
    pub(super) reads_may_be_short: bool,
    /// There is an error to ask for.
    pub(super) error: bool,
}

impl<S: Stream> Link<S> {
    pub(super) fn new(transport: Transport<S>) -> Self {
        // Room to write is assumed: the first write that is refused makes an edge come.
        let reads_may_be_short = !transport.stream.short_read_empties();
        Self { transport, readable: false, writable: true, reads_may_be_short, error: false }
    }

    /// Remembers what an event tells, until it is used up.
    pub(super) fn note(&mut self, readiness: Readiness, id: ConnId, table: &mut Table) {
        self.readable |= readiness.readable;
        self.reads_may_be_short |= readiness.hang_up | readiness.urgent;
        self.error |= readiness.error;
        if self.readable || self.error {
            table.mark_ready(id);
        }
        if readiness.writable && !std::mem::replace(&mut self.writable, true) {
            table.mark_dirty(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of the system is as large as this one, in a release build.
    #[test]
    fn promise_10_the_flag_for_tls_takes_no_room_in_the_table_of_sockets() {
        type Link = super::Link<[u32; 2]>;
        assert!(size_of::<Option<(ConnId, Link)>>() <= 24);
        assert!(size_of::<Option<(ConnId, [u32; 2], [bool; 4])>>() == 24, "without it");
    }
}
