//! Who is told of what, and when: edges, as epoll(7) has them.
//!
//! What happens puts a source on the ready list of its loop, once; a wait empties the list, and tells of each
//! what its level is by then.

use super::network::{Happening, Network, Owner, Source};
use crate::id::{Id, Token};
use crate::readiness::Readiness;

impl Network {
    /// There is news for the owner of a source: what it is, its level tells when somebody looks.
    pub(super) fn edge(&mut self, source: Source) {
        let (owner, listed) = match source {
            Source::Stream(id) => match self.endpoints.get_mut(id) {
                Some(endpoint) => (endpoint.owner, &mut endpoint.listed),
                None => return,
            },
            Source::Listener(id) => match self.listeners.get_mut(id) {
                Some(listener) => (listener.owner, &mut listener.listed),
                None => return,
            },
            Source::Socket(id) => match self.mailboxes.get_mut(id) {
                Some(mailbox) => (mailbox.owner, &mut mailbox.listed),
                None => return,
            },
        };
        match owner {
            Owner::Loop { number, token: Some(_) } if !*listed => {
                if let Some(side) = self.loops.get_mut(number) {
                    *listed = true;
                    side.ready.push(source);
                }
            }
            Owner::Loop { .. } => {}
            Owner::Peer(peer) => {
                if !std::mem::replace(&mut self.mark(peer).has_news, true) {
                    self.send_off(Happening::Act(peer));
                }
            }
        }
    }

    /// Whether a wait would find something.
    pub(crate) fn has_news(&self, number: usize) -> bool {
        self.loops.get(number).is_some_and(|side| {
            !side.ready.is_empty() || !side.resolved.is_empty() || !side.signals.is_empty()
        })
    }

    /// Takes a loop's edges, as epoll_wait(2) does: what is told of a source is its level now, and
    /// nothing is told of one whose level is nothing.
    pub(super) fn take_edges(&mut self, number: usize, edges: &mut Vec<(Token, Readiness)>) {
        self.calls_in_turn = 0;
        let Some(side) = self.loops.get_mut(number) else { return };
        let mut ready = std::mem::take(&mut side.ready);
        for source in ready.drain(..) {
            if let Some((token, level)) = self.take_edge(source)
                && level != Readiness::default()
            {
                edges.push((token, level));
            }
        }
        if let Some(side) = self.loops.get_mut(number) {
            side.ready = ready;
        }
        if self.random.chance(self.faults.spurious) {
            self.add_spurious(number, edges);
        }
        self.tally.events += edges.len() as u64;
    }

    fn take_edge(&mut self, source: Source) -> Option<(Token, Readiness)> {
        let (owner, level) = match source {
            Source::Stream(id) => {
                let endpoint = self.endpoints.get_mut(id)?;
                endpoint.listed = false;
                (endpoint.owner, endpoint.level())
            }
            Source::Listener(id) => {
                let listener = self.listeners.get_mut(id)?;
                listener.listed = false;
                (listener.owner, listener.level())
            }
            Source::Socket(id) => {
                let mailbox = self.mailboxes.get_mut(id)?;
                mailbox.listed = false;
                (mailbox.owner, mailbox.level())
            }
        };
        match owner {
            Owner::Loop { token: Some(token), .. } => Some((token, level)),
            _ => None,
        }
    }

    /// A word about a stream of which there is nothing new to say: its level, and that it is readable,
    /// which may turn out to be wrong (select(2), BUGS).
    fn add_spurious(&mut self, number: usize, edges: &mut Vec<(Token, Readiness)>) {
        let watched = self.endpoints.iter().filter_map(|(id, endpoint)| match endpoint.owner {
            Owner::Loop { number: owner, token } if owner == number && endpoint.stands => {
                Some((id, token?))
            }
            _ => None,
        });
        let watched: Vec<(Id, Token)> = watched.collect();
        if let Some(&(id, token)) = self.random.pick(&watched)
            && let Some(endpoint) = self.endpoints.get_mut(id)
        {
            edges.push((token, Readiness { readable: true, ..endpoint.level() }));
        }
    }
}
