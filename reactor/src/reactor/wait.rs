//! `wait`: sleep until something is possible, and note what.

use std::io;
use std::time::Duration;

use super::Reactor;
use crate::connection::Table;
use crate::driver::{Driver, Stream};
use crate::id::{ConnId, Kind, ListenerId, SocketId};
use crate::readiness::Readiness;
use crate::trace::event::{Event, Source};
use crate::transport::Transport;

impl<D: Driver> Reactor<D> {
    pub(super) fn wait(&mut self, max_wait: Option<Duration>) -> io::Result<()> {
        let now = self.clock();
        self.core.table.tap.set_now(now);
        self.core.table.tap.turn_began(self.core.table.counters.turns().get() + 1);
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
        self.read_clock();
        self.core.table.turn = self.core.table.turn.wrapping_add(1);
        self.core.table.counters.turns().increment();
        Ok(())
    }

    /// Looks for work again and again before it sleeps, as long as that pays.
    fn spin(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let until = timeout.map_or(self.config.spin, |timeout| timeout.min(self.config.spin));
        let began = self.driver.now();
        let elapsed = |this: &Self| this.driver.now().saturating_duration_since(began);
        while self.spin_pays && elapsed(self) < until {
            if self.poll(Some(Duration::ZERO))? {
                return Ok(());
            }
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(elapsed(self)));
        let slept = self.driver.now();
        self.poll(left)?;
        self.spin_pays = self.driver.now().saturating_duration_since(slept) < self.config.spin;
        Ok(())
    }

    /// Waits, and notes what the driver tells. Whether anything came, be it for the driver alone.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let Self { driver, core, links, .. } = self;
        let Self { acceptors, sockets, attempts, .. } = self;
        let Self { ready_acceptors, ready_sockets, ready_attempts, .. } = self;
        let loop_number = core.table.loop_number();
        let mut events = 0;
        let came = driver.wait(timeout, |token, readiness| {
            events += 1;
            // Whoever an event is about may be gone, and its slot another's: then nobody is found.
            let id = token.id(loop_number);
            let known = match token.kind() {
                Some(Kind::Connection) => match links.get_mut(ConnId(id)) {
                    Some(link) => {
                        link.note(readiness, ConnId(id), &mut core.table);
                        true
                    }
                    None => {
                        let attempt = attempts.get_mut(&ConnId(id));
                        let noted = attempt.map(|attempt| attempt.note(readiness));
                        noted.map(|()| ready_attempts.push(ConnId(id))).is_some()
                    }
                },
                Some(Kind::Listener) => {
                    let acceptor = acceptors.get_mut(id);
                    acceptor.map(|it| it.note(ListenerId(id), ready_acceptors)).is_some()
                }
                Some(Kind::Socket) => {
                    let link = sockets.get_mut(&SocketId(id));
                    link.map(|it| it.note(readiness, SocketId(id), ready_sockets, core)).is_some()
                }
                Some(Kind::Timer) | None => false,
            };
            let source = || Source::of(token, loop_number);
            core.table.tap.note(|| Event::Ready { source: source(), readiness, known });
        })?;
        core.table.counters.events().add(events);
        Ok(came)
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
        let reads_may_be_short = !transport.short_read_empties();
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
