//! Shutdown: a state machine beside the turn, and its report.

use std::time::Duration;

use super::Reactor;
use crate::connection::Life;
use crate::driver::Driver;
use crate::host::Call;
use crate::id::{ConnId, ListenerId};
use crate::reason::{CloseReason, ShutdownReport};
use crate::timers::{NEVER, Nanos, after};
use crate::trace::event::Event;

/// How far the loop is in stopping.
///
/// ```text
/// Running --shutdown--> Asked --on_shutdown--> Announced --close all--> Draining --all gone--> Stopped
///                                                                          +--grace over: force--+
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    Running,
    /// The listeners are closed. The handlers are told in the coming `deliver`.
    Asked(Stopping),
    /// What they say to it leaves in this turn's `flush`; then the connections close.
    Announced(Stopping),
    Draining(Stopping),
    Stopped(ShutdownReport),
}

#[derive(Clone, Debug)]
pub(super) struct Stopping {
    began: Nanos,
    deadline: Nanos,
    report: ShutdownReport,
    /// [`Table::bytes_dropped`](crate::connection::Table) as it was before.
    dropped_before: u64,
}

impl Phase {
    /// When patience ends.
    pub(super) fn deadline(&self) -> Nanos {
        match self {
            Self::Draining(stopping) => stopping.deadline,
            Self::Running | Self::Asked(_) | Self::Announced(_) | Self::Stopped(_) => NEVER,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self, Self::Draining(_))
    }

    /// Whether the next turn has something to do for it.
    pub(super) fn has_work(&self) -> bool {
        matches!(self, Self::Asked(_) | Self::Announced(_))
    }

    fn stopping(&mut self) -> Option<&mut Stopping> {
        match self {
            Self::Asked(stopping) | Self::Announced(stopping) | Self::Draining(stopping) => {
                Some(stopping)
            }
            Self::Running | Self::Stopped(_) => None,
        }
    }
}

impl<D: Driver> Reactor<D> {
    /// Begins to stop. It takes turns, as everything does: go on until one is
    /// [`Turn::Stopped`](crate::Turn::Stopped), which brings the report.
    ///
    /// 1. The listeners close. What other threads have said before is delivered.
    /// 2. [`on_shutdown`](crate::Handler::on_shutdown) is the handlers' last chance to say something.
    /// 3. Connects that do not stand are cancelled. Every connection [closes](crate::ConnContext::close), with
    ///    [`Shutdown`](CloseReason::Shutdown) as the reason: its queue drains, FIN, linger.
    /// 4. What is left after `grace` is cut off.
    /// 5. Datagram sockets and inboxes close.
    ///
    /// Asked again, it keeps the earlier of the two deadlines: `shutdown(Duration::ZERO)` forces.
    ///
    /// From step 3 on, wishes to [connect](crate::Context::connect) are dropped and not answered.
    pub fn shutdown(&mut self, grace: Duration) {
        let now = self.clock();
        let deadline = after(now, grace);
        self.core.table.tap.note(|| Event::Stopping { grace: after(0, grace) });
        if let Some(stopping) = self.phase.stopping() {
            stopping.deadline = stopping.deadline.min(deadline);
        } else if matches!(self.phase, Phase::Running) {
            let listeners: Vec<_> = self.acceptors.iter().map(|(id, _)| id).collect();
            for id in listeners {
                self.close_listener(ListenerId(id));
            }
            let dropped_before = self.core.table.bytes_dropped;
            let report = ShutdownReport::default();
            self.phase = Phase::Asked(Stopping { began: now, deadline, report, dropped_before });
        }
    }

    /// Whether it has been asked to stop.
    pub fn is_stopping(&self) -> bool {
        !matches!(self.phase, Phase::Running)
    }

    /// Tells the handlers, once: after all that other threads had said before.
    pub(super) fn announce_shutdown(&mut self) {
        if let Some(grace) = self.core.stop.take() {
            self.shutdown(grace);
        }
        if let Phase::Asked(stopping) = &self.phase
            && (!self.more_messages || self.core.table.now >= stopping.deadline)
        {
            self.phase = Phase::Announced(stopping.clone());
            for service in self.hosts.indices() {
                self.hosts.call(&mut self.core, service, Call::Shutdown);
            }
        }
    }

    /// One connection leaves: drained if all of it was handed over, and our FIN too.
    pub(super) fn count_for_shutdown(&mut self, id: ConnId) {
        let Some(connection) = self.core.table.get(id) else { return };
        let (opened, drained) = (connection.opened, connection.write_ended);
        if let Some(stopping) = self.phase.stopping()
            && opened
        {
            stopping.report.drained += usize::from(drained);
            stopping.report.forced += usize::from(!drained);
        }
    }

    /// At the end of each turn: on to the next phase, if this one is over.
    pub(super) fn advance_shutdown(&mut self) {
        if let Phase::Announced(stopping) = &self.phase {
            self.phase = Phase::Draining(stopping.clone());
            self.core.table.tap.note(|| Event::Draining);
            for id in self.core.table.ids() {
                self.core.table.close(id, CloseReason::Shutdown);
            }
        }
        let now = self.clock();
        if self.phase.is_draining() {
            self.drop_connects();
        }
        match &self.phase {
            Phase::Draining(stopping) if self.is_drained() => {
                let mut report = stopping.report.clone();
                report.bytes_dropped = self.core.table.bytes_dropped - stopping.dropped_before;
                report.took = Duration::from_nanos(now.saturating_sub(stopping.began));
                self.phase = Phase::Stopped(report);
                self.core.table.tap.note(|| Event::Stopped);
                self.hosts.close_inboxes();
                for id in self.sockets.keys().copied().collect::<Vec<_>>() {
                    self.close_socket(id);
                }
            }
            Phase::Draining(stopping) if now >= stopping.deadline => self.force(),
            _ => {}
        }
    }

    fn is_drained(&self) -> bool {
        self.core.table.len() == 0
            && self.core.outboxes.iter().all(|(_, outbox)| outbox.queue.is_empty())
    }

    /// Patience is over: all that is left ends; the next turn reaps it.
    fn force(&mut self) {
        self.core.table.tap.note(|| Event::Forced);
        for id in self.core.table.ids() {
            let life = self.core.table.get(id).map(|connection| connection.life);
            self.core.table.end(id, CloseReason::Shutdown);
            if let Some(connection) = self.core.table.get_mut(id) {
                connection.reset |= matches!(life, Some(Life::Open | Life::Closing));
            }
        }
        for (_, outbox) in self.core.outboxes.iter_mut() {
            self.core.table.bytes_dropped += outbox.bytes as u64;
            outbox.queue.clear();
            outbox.bytes = 0;
        }
    }
}
