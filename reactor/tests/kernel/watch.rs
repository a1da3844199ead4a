//! What is kept of edges and of bytes while a scenario is played.

use std::collections::{HashMap, HashSet};

use reactor::{Readiness, Token};

use crate::ground::{Hope, Watcher};
use crate::language::{Bits, Seen, Who};

/// Edges that nobody has looked at yet.
#[derive(Default)]
pub(crate) struct Edges {
    pub(crate) came: HashMap<Who, Vec<Bits>>,
    /// What an earlier look allowed, but did not see: it may still come, and then is no news.
    late: HashMap<Who, Vec<Bits>>,
}

impl Edges {
    fn event(&mut self, token: Token, readiness: Readiness) {
        let Some(who) = Who::of(token) else { panic!("an event for {token:?}") };
        let came = self.came.entry(who).or_default();
        let bits = Bits::from(readiness);
        if came.last() != Some(&bits) {
            came.push(bits);
        }
    }

    /// What there is to see, if this is allowed: late ones in front are left out where that helps.
    fn look(&self, who: Who, allowed: &[Seen]) -> Seen {
        let came = self.came.get(&who).map_or(&[][..], |came| came);
        let late = self.late.get(&who).map_or(&[][..], |late| late);
        let skips = came.iter().take_while(|bits| late.contains(bits)).count();
        (0..=skips)
            .map(|skip| Seen::Edges(came[skip..].to_vec()))
            .find(|seen| allowed.contains(seen))
            .unwrap_or_else(|| Seen::Edges(came.to_vec()))
    }

    pub(crate) fn take(&mut self, who: Who, allowed: &[Seen]) -> Seen {
        let seen = self.look(who, allowed);
        self.came.remove(&who);
        self.late.insert(who, rests(&seen, allowed).flatten().copied().collect());
        seen
    }
}

/// What could follow.
fn rests<'a>(seen: &'a Seen, allowed: &'a [Seen]) -> impl Iterator<Item = &'a [Bits]> {
    allowed.iter().filter_map(move |other| match (seen, other) {
        (Seen::Edges(seen), Seen::Edges(other)) => {
            other.strip_prefix(&seen[..]).filter(|rest| !rest.is_empty())
        }
        _ => None,
    })
}

/// Waits for an allowed row of edges.
pub(crate) struct Look<'a> {
    pub(crate) edges: &'a mut Edges,
    pub(crate) who: Who,
    pub(crate) allowed: &'a [Seen],
}

impl Watcher for Look<'_> {
    fn event(&mut self, token: Token, readiness: Readiness) {
        self.edges.event(token, readiness);
    }

    fn hope(&self) -> Hope {
        let seen = self.edges.look(self.who, self.allowed);
        if !self.allowed.contains(&seen) {
            Hope::Missing
        } else if seen == Seen::Edges(Vec::new()) || rests(&seen, self.allowed).next().is_some() {
            Hope::Optional
        } else {
            Hope::Fulfilled
        }
    }
}

/// Waits until nothing more comes.
pub(crate) struct Rest<'a> {
    pub(crate) edges: &'a mut Edges,
}

impl Watcher for Rest<'_> {
    fn event(&mut self, token: Token, readiness: Readiness) {
        self.edges.event(token, readiness);
    }

    fn hope(&self) -> Hope {
        Hope::Optional
    }
}

/// Waits for any edge of one source.
pub(crate) struct Await<'a> {
    pub(crate) edges: &'a mut Edges,
    pub(crate) who: Who,
}

impl Watcher for Await<'_> {
    fn event(&mut self, token: Token, readiness: Readiness) {
        self.edges.event(token, readiness);
    }

    fn hope(&self) -> Hope {
        match self.edges.came.contains_key(&self.who) {
            true => Hope::Fulfilled,
            false => Hope::Missing,
        }
    }
}

/// Who is connected with whom, and how far each has written and read.
#[derive(Default)]
pub(crate) struct Wires {
    /// Clients that nobody has accepted, as far as is known.
    waiting: Vec<Who>,
    /// Invariant: the peer's peer is oneself. Until the first byte it is a guess.
    pub(crate) peers: HashMap<Who, Who>,
    written: HashMap<Who, usize>,
    read: HashMap<Who, usize>,
    /// Who will not write any more.
    finished: HashSet<Who>,
}

impl Wires {
    pub(crate) fn connecting(&mut self, who: Who) {
        self.waiting.push(who);
    }

    pub(crate) fn accepted(&mut self, who: Who) {
        if !self.waiting.is_empty() {
            self.join(who, self.waiting[0]);
        }
    }

    fn join(&mut self, server: Who, client: Who) {
        self.waiting.retain(|&waiting| waiting != client);
        let former = self.peers.insert(server, client).filter(|&former| former != client);
        let other = self.peers.insert(client, server).filter(|&other| other != server);
        match (former, other) {
            (Some(former), Some(other)) => {
                self.peers.insert(other, former);
                self.peers.insert(former, other);
            }
            (Some(former), None) => {
                self.peers.remove(&former);
                self.waiting.insert(0, former);
            }
            (None, Some(other)) => {
                self.peers.remove(&other);
            }
            (None, None) => {}
        }
    }

    pub(crate) fn written(&self, who: Who) -> usize {
        self.written.get(&who).copied().unwrap_or(0)
    }

    pub(crate) fn write(&mut self, who: Who, count: usize) {
        *self.written.entry(who).or_default() += count;
    }

    /// Bytes that its peer has written and it has not read.
    pub(crate) fn under_way(&self, who: Who) -> usize {
        let Some(peer) = self.peers.get(&who) else { return 0 };
        self.written(*peer).saturating_sub(self.read.get(&who).copied().unwrap_or(0))
    }

    pub(crate) fn finish(&mut self, who: Who) {
        self.finished.insert(who);
    }

    /// Whether a read that finds nothing will find something later.
    pub(crate) fn is_owed(&self, who: Who) -> bool {
        let finished = self.peers.get(&who).is_some_and(|peer| self.finished.contains(peer));
        finished || self.under_way(who) > 0
    }

    /// Notes bytes that were read, and whether they are what the peer wrote there.
    pub(crate) fn read(&mut self, who: Who, bytes: &[u8]) -> bool {
        let place = self.read.get(&who).copied().unwrap_or(0);
        if place == 0
            && let Some(writer) = Who::ALL.into_iter().find(|writer| writer.says(0) == bytes[0])
            && self.peers.get(&who) != Some(&writer)
        {
            self.join(who, writer);
        }
        let Some(peer) = self.peers.get(&who) else { return false };
        let is_right = (place..).zip(bytes).all(|(place, &byte)| peer.says(place) == byte)
            && place + bytes.len() <= self.written(*peer);
        self.read.insert(who, place + bytes.len());
        is_right
    }
}
