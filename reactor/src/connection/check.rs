//! What must be true of the table between any two turns: the invariants on its fields, in code.

use std::collections::BTreeSet;

use super::{Connection, Life, Table};
use crate::id::ConnId;
use crate::limits::Limits;
use crate::timers::{NEVER, after};

impl Table {
    /// The first thing that is not as it must be.
    ///
    /// # Errors
    /// The connection, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_list("ready", &self.ready, |connection| connection.listed_ready)?;
        self.check_list("dirty", &self.dirty, |connection| connection.listed_dirty)?;
        self.check_list("gone", &self.gone, |connection| connection.life == Life::Gone)?;
        for (id, connection) in self.iter() {
            self.check_connection(connection)
                .map_err(|text| format!("connection {id} ({:?}): {text}", connection.life))?;
        }
        let queued: usize = self.iter().map(|(_, connection)| connection.queued()).sum();
        match self.counters.queued_bytes().get() {
            counted if counted == queued as u64 => Ok(()),
            counted => Err(format!("{counted} bytes are counted as queued, and {queued} are")),
        }
    }

    /// Each connection that says so is on the list, and nobody is on it twice. Those that are gone from
    /// the table may still be there.
    fn check_list(
        &self,
        name: &str,
        list: &[ConnId],
        says_so: impl Fn(&Connection) -> bool,
    ) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for &id in list {
            let Some(connection) = self.get(id) else { continue };
            if !says_so(connection) {
                return Err(format!("connection {id} is {name} and does not know it"));
            }
            if !seen.insert(id) {
                return Err(format!("connection {id} is on the {name} list twice"));
            }
        }
        match self.iter().find(|(id, connection)| says_so(connection) && !seen.contains(id)) {
            Some((id, _)) => Err(format!("connection {id} is {name}, and on no list")),
            None => Ok(()),
        }
    }

    fn check_bounds(&self, connection: &Connection, limits: &Limits) -> Result<(), &'static str> {
        let queued = connection.queued();
        let lives = matches!(connection.life, Life::Open | Life::Closing);
        let wrong = [
            (limits.queue_max != 0 && queued > limits.queue_max, "its queue is over the limit"),
            (queued >= limits.queue_high && !connection.full, "its queue is full, and it is not"),
            (
                lives && connection.full && queued <= limits.queue_low && !connection.listed_dirty,
                "its queue has drained, and it is full",
            ),
            (
                limits.input_max != 0
                    && connection.hears()
                    && !connection.offer
                    && connection.rest.as_ref().is_some_and(|rest| rest.len() > limits.input_max),
                "its unconsumed input is over the limit",
            ),
        ];
        first(&wrong)
    }

    /// What is due has passed by the end of a turn, and nobody waits for longer than it may.
    fn check_deadlines(
        &self,
        connection: &Connection,
        limits: &Limits,
    ) -> Result<(), &'static str> {
        let Connection { life, deadline, .. } = *connection;
        let (drain, linger) = (limits.drain_timeout, limits.linger_timeout);
        let drains_by = if drain.is_zero() { NEVER } else { after(self.now, drain) };
        let lingers_by = after(self.now, linger);
        first(&[
            (life != Life::Gone && deadline < self.now, "its deadline has passed, and it stays"),
            (life == Life::Closing && deadline > drains_by, "it may take too long to drain"),
            (life == Life::Lingering && deadline > lingers_by, "it may linger for too long"),
        ])
    }

    fn check_connection(&self, connection: &Connection) -> Result<(), &'static str> {
        let Some(limits) = self.limits(connection.service) else { return Err("of no service") };
        self.check_bounds(connection, limits)?;
        self.check_deadlines(connection, limits)?;
        let queued = connection.queued();
        let ends = connection.life == Life::Closing || connection.finish;
        let lives = matches!(connection.life, Life::Open | Life::Closing);
        let wrong = [
            (connection.queue.is_some() && queued == 0, "it holds an empty queue"),
            (connection.rest.as_ref().is_some_and(|rest| rest.is_empty()), "an empty remainder"),
            (connection.rest.is_some() && connection.life != Life::Open, "a remainder for nobody"),
            (connection.armed > connection.due(), "its timer is due after its deadline"),
            (
                connection.offer
                    && connection.hears()
                    && connection.rest.is_some()
                    && !connection.listed_ready,
                "what was left is to be offered again, and nobody will",
            ),
            (
                ends && queued == 0
                    && !connection.owes
                    && !connection.write_ended
                    && lives
                    && !connection.listed_dirty,
                "its FIN is due, and nobody will send it",
            ),
            (
                connection.write_ended
                    && connection.read_ended
                    && lives
                    && !connection.listed_dirty,
                "both directions have ended, and it stays",
            ),
            (
                connection.life == Life::Lingering && !connection.write_ended,
                "it lingers without having finished",
            ),
        ];
        first(&wrong)
    }

    /// How many connections have an entry among the timers.
    pub(crate) fn armed_count(&self) -> usize {
        self.iter().filter(|(_, connection)| connection.armed != NEVER).count()
    }

    /// Whether it is on the ready list, and on the dirty one.
    pub(crate) fn listed(&self, id: ConnId) -> (bool, bool) {
        self.get(id).map_or((false, false), |found| (found.listed_ready, found.listed_dirty))
    }
}

/// The first thing that is wrong.
fn first(wrong: &[(bool, &'static str)]) -> Result<(), &'static str> {
    match wrong.iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, text)) => Err(text),
        None => Ok(()),
    }
}
