//! How a world goes on: turns, peers' acts, and a clock that jumps from one thing to the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::peer::PeerContext;
use super::verdict::{Promise, Violation};
use super::{Member, Player, World};
use crate::driver::sim::network::{Network, Shared};
use crate::reactor::Turn;
use crate::readiness::Signal;
use crate::timers::{NEVER, Nanos, after};

/// How long a turn takes at most: what happens meanwhile, the next one is told together.
const TURN_TIME: Duration = Duration::from_micros(20);

impl World {
    /// Something happens, if anything does until then.
    pub(super) fn step(&mut self, until: Nanos) -> Result<bool, Violation> {
        let mut turned = false;
        for number in 0..self.loops.len() {
            if self.is_due(number) {
                self.turn(number)?;
                turned = true;
            }
        }
        if turned || self.let_peers_act() {
            return Ok(true);
        }
        let next = self.next_at();
        let mut network = self.network.borrow_mut();
        if next > until {
            network.now = until.max(network.now);
            return Ok(false);
        }
        network.now = next.max(network.now);
        network.happen();
        Ok(true)
    }

    fn next_at(&self) -> Nanos {
        let network = self.network.borrow();
        let loops = (0..self.loops.len()).map(|number| self.due_at(number, &network));
        loops.chain(network.next_at()).min().unwrap_or(NEVER)
    }

    /// When a loop has its next turn.
    fn due_at(&self, number: usize, network: &Network) -> Nanos {
        let Some(member) = self.loops.get(number) else { return NEVER };
        if member.stopped.is_some() {
            return NEVER;
        }
        if network.has_news(number) || network.is_rung(number) {
            return member.busy_until.max(network.now);
        }
        match member.reactor.next_deadline() {
            Some(deadline) => network.since_origin(deadline).max(member.busy_until),
            None => NEVER,
        }
    }

    fn is_due(&self, number: usize) -> bool {
        let network = self.network.borrow();
        self.due_at(number, &network) <= network.now
    }

    fn turn(&mut self, number: usize) -> Result<(), Violation> {
        let Some(member) = self.loops.get_mut(number) else { return Ok(()) };
        let before = progress(&self.network, member);
        let says_there_is_work = member.reactor.next_deadline() == Some(member.reactor.origin());
        let was_due = is_overdue(&self.network, member);
        self.network.borrow_mut().begin_turn(number, &member.budgets);
        let reactor = &mut member.reactor;
        let turn = catch_unwind(AssertUnwindSafe(|| reactor.turn(Some(Duration::ZERO))));
        let Ok(Ok(turn)) = turn else {
            let text = format!("a turn of loop {number} does not end, failed or panicked");
            return Err(self.violation(Promise::Rest, text));
        };
        match turn {
            Turn::Ran | Turn::Signal(Signal::HangUp | Signal::User1) => {}
            Turn::Stopped(report) => member.stopped = Some(report),
            Turn::Signal(Signal::Interrupt | Signal::Terminate) => {
                let again = member.reactor.is_stopping();
                let grace = if again { Duration::ZERO } else { member.grace };
                member.stops_by = after(self.network.borrow().now, grace).min(member.stops_by);
                member.reactor.shutdown(grace);
            }
        }
        // A turn that comes because its time has come is not for nothing, unless that time stays.
        let is_in_vain = says_there_is_work || was_due && is_overdue(&self.network, member);
        let is_barren = is_in_vain && before == progress(&self.network, member);
        member.barren = if is_barren { member.barren + 1 } else { 0 };
        let mut network = self.network.borrow_mut();
        network.tally.turns += 1;
        let mut time = network.random.time(&(Duration::ZERO..TURN_TIME));
        let stall = network.faults.stall;
        if network.random.chance(stall) {
            let most = network.faults.stall_time;
            time += network.random.time(&(Duration::ZERO..most));
        }
        member.busy_until = after(network.now, time);
        drop(network);
        self.check_turn(number)
    }

    fn let_peers_act(&mut self) -> bool {
        let mut network = self.network.borrow_mut();
        while let Some((peer, stream)) = network.arrivals.pop_front() {
            if let Some(player) = self.peers.get_mut(peer) {
                player.accepted.push_back(stream);
                network.acts.push_back(peer);
            }
        }
        let Some(peer) = network.acts.pop_front() else { return false };
        if let Some(Player { peer: actor, accepted }) = self.peers.get_mut(peer) {
            let calm = self.calm;
            actor.act(&mut PeerContext { network: &mut network, peer, accepted, calm });
        }
        true
    }
}

/// Whether a deadline of its has passed, and nothing is listed to be done about it.
fn is_overdue(network: &Shared, member: &Member) -> bool {
    let network = network.borrow();
    let due = member.reactor.next_deadline();
    due != Some(member.reactor.origin())
        && due.is_some_and(|due| network.since_origin(due) <= network.now)
}

/// What grows whenever a loop gets somewhere.
fn progress(network: &Shared, member: &Member) -> [u64; 4] {
    let statistics = member.reactor.counters().read();
    let network = network.borrow();
    [network.progress, network.tally.events, statistics.callbacks, statistics.open]
}
