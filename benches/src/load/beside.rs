//! Connections of one scheme, and others beside them that are not measured.

use std::time::Instant;

use super::Others;
use super::client::Client;
use super::outcome::Tally;
use super::scheme::{Bulk, Idle, Next, Scheme};

/// Numbers below `connections` follow the scheme; above them come those that send as much as goes, and then those that
/// are idle.
pub(super) struct Beside<S> {
    scheme: S,
    connections: usize,
    others: Others,
}

enum Role {
    Measured,
    Bulk,
    Idle,
}

impl<S> Beside<S> {
    pub(super) fn new(scheme: S, connections: usize, others: Others) -> Self {
        Self { scheme, connections, others }
    }

    fn role(&self, client: &Client) -> Role {
        match client.number {
            number if number < self.connections => Role::Measured,
            number if number < self.connections + self.others.bulk => Role::Bulk,
            _ => Role::Idle,
        }
    }
}

impl<S: Scheme> Scheme for Beside<S> {
    fn opened(&mut self, client: &mut Client, now: Instant) {
        match self.role(client) {
            Role::Measured => self.scheme.opened(client, now),
            Role::Bulk => Bulk.opened(client, now),
            Role::Idle => Idle.opened(client, now),
        }
    }

    fn begin(&mut self, client: &mut Client, now: Instant) {
        match self.role(client) {
            Role::Measured => self.scheme.begin(client, now),
            Role::Bulk => Bulk.begin(client, now),
            Role::Idle => Idle.begin(client, now),
        }
    }

    fn advance(
        &mut self,
        client: &mut Client,
        now: Instant,
        running: bool,
        tally: &mut Tally,
    ) -> Next {
        match self.role(client) {
            Role::Measured => self.scheme.advance(client, now, running, tally),
            Role::Bulk => Bulk.advance(client, now, running, tally),
            Role::Idle => Idle.advance(client, now, running, tally),
        }
    }

    fn due(&mut self, now: Instant, numbers: &mut Vec<usize>) -> Option<Instant> {
        self.scheme.due(now, numbers)
    }

    fn message(&self) -> usize {
        self.scheme.message()
    }

    fn stop(&mut self, client: &mut Client) {
        match self.role(client) {
            Role::Measured => self.scheme.stop(client),
            Role::Bulk => Bulk.stop(client),
            Role::Idle => Idle.stop(client),
        }
    }

    fn unanswered(&self, client: &Client, now: Instant, tally: &mut Tally) {
        match self.role(client) {
            Role::Measured => self.scheme.unanswered(client, now, tally),
            Role::Bulk => Bulk.unanswered(client, now, tally),
            Role::Idle => Idle.unanswered(client, now, tally),
        }
    }
}
