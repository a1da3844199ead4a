//! What a world holds its loops to.

use std::fmt;
use std::time::Duration;

use super::audit::Audit;
use super::{LoopNumber, Member, World};
use crate::timers::{Nanos, after};

/// Turns in a row that may come to nothing: one to take what was listed in vain off its list, and a few for
/// spurious wake-ups.
const BARREN_MAX: u32 = 16;

/// No loop is busy for so long, but for stalls that are faults.
const LATE: Duration = Duration::from_secs(1);

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// When, since the world began.
    at: Nanos,
    /// What was seen, in a sentence.
    pub text: String,
}

/// What a [`World`] holds a loop to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// The invariants of its tables hold between turns.
    Invariants,
    /// A turn does no more for one source than its budgets say.
    Budgets,
    /// It takes no turns for nothing.
    Rest,
    /// Callbacks come in their order, each `on_open` with one `on_close`, and none too early.
    Callbacks,
    /// Every byte arrives, or is dropped for a reason.
    Bytes,
    /// Once nothing goes wrong, everything comes to its end.
    Liveness,
    /// What is over leaves nothing behind.
    Release,
}

impl Promise {
    fn name(self) -> &'static str {
        match self {
            Self::Invariants => "invariants",
            Self::Budgets => "budgets",
            Self::Rest => "rest",
            Self::Callbacks => "callbacks",
            Self::Bytes => "bytes",
            Self::Liveness => "liveness",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos(self.at);
        write!(f, "{} violated at {at:?}: {}", self.promise.name(), self.text)
    }
}

impl std::error::Error for Violation {}

/// What is checked.
impl World {
    pub(super) fn violation(&self, promise: Promise, text: String) -> Violation {
        Violation { promise, at: self.network.borrow().now, text }
    }

    pub(super) fn check_turn(&self, number: usize) -> Result<(), Violation> {
        let Some(member) = self.loops.get(number) else { return Ok(()) };
        let complaint = self.network.borrow_mut().complaint.take();
        if let Some(text) = complaint {
            return Err(self.violation(Promise::Budgets, text));
        }
        let complaint = self.complaints.take();
        if let Some(text) = complaint {
            return Err(self.violation(Promise::Callbacks, text));
        }
        if member.barren > BARREN_MAX {
            let text = format!("loop {number} has taken {} turns for nothing", member.barren);
            return Err(self.violation(Promise::Rest, text));
        }
        let network = self.network.borrow();
        let slack = LATE.saturating_add(network.faults.stall_time);
        if network.now > after(member.stops_by, slack) {
            let text = format!("loop {number} does not stop within its grace");
            drop(network);
            return Err(self.violation(Promise::Liveness, text));
        }
        drop(network);
        member.reactor.check().map_err(|text| self.violation(Promise::Invariants, text))
    }

    fn check_audits(&self, number: LoopNumber, member: &Member) -> Result<(), Violation> {
        let mut sum = Audit::default();
        let mut services = 0;
        for (_, audit) in self.audits.iter().filter(|(of, _)| *of == number) {
            let audit = audit.borrow();
            audit.check_calls().map_err(|text| self.violation(Promise::Callbacks, text))?;
            sum.add(&audit);
            services += 1;
        }
        // Of services that are not audited nobody knows what they consumed.
        if services < member.reactor.services() {
            return Ok(());
        }
        let sums = sum.check_sums(&member.reactor.counters().read());
        sums.map_err(|text| self.violation(Promise::Bytes, text))
    }

    pub(super) fn peers_are_done(&self) -> bool {
        self.peers.iter().all(|(_, player)| player.peer.is_done())
    }

    pub(super) fn who_is_not_done(&self) -> String {
        let waiting = self.peers.iter().filter(|(_, player)| !player.peer.is_done());
        let complaints: Vec<String> =
            waiting.filter_map(|(_, player)| player.peer.verdict().err()).take(3).collect();
        format!("peers wait for ever: {}", complaints.join("; "))
    }

    pub(super) fn hear_verdicts(&self) -> Result<(), Violation> {
        let verdicts = self.peers.iter().map(|(_, player)| player.peer.verdict());
        match verdicts.filter_map(Result::err).next() {
            Some(text) => Err(self.violation(Promise::Bytes, text)),
            None => Ok(()),
        }
    }

    /// Whoever hears of a reset lets go, even if it reads nothing.
    pub(super) fn check_held(&self) -> Result<(), Violation> {
        match self.network.borrow().holds_dead() {
            false => Ok(()),
            true => {
                let text = "a loop holds a connection that was reset".to_owned();
                Err(self.violation(Promise::Liveness, text))
            }
        }
    }

    pub(super) fn check_end(&self) -> Result<(), Violation> {
        for (number, member) in self.loops.iter().enumerate() {
            let released = member.reactor.check_released();
            released.map_err(|text| self.violation(Promise::Release, text))?;
            self.check_audits(LoopNumber(number), member)?;
        }
        match self.network.borrow().leftovers() {
            Some(text) => Err(self.violation(Promise::Release, format!("left behind: {text}"))),
            None => Ok(()),
        }
    }
}
