//! Two connections joined: what arrives on one leaves through the other.

use slab::Slab;

use crate::context::{ConnContext, Context};
use crate::id::{ConnId, ConnMap};
use crate::read_buffer::ReadBuffer;

/// What a pipe carried: from the first end to the second, and back, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// From the end that was named first.
    pub forward: u64,
    /// Towards it.
    pub backward: u64,
}

/// Both ends and their state, in one record.
struct Pipe {
    ends: [ConnId; 2],
    /// Bytes that left each end for the other.
    carried: [u64; 2],
}

/// The pipes of a service: pairs of connections that are joined. Every proxy is that.
///
/// It lives in the handler, which passes on what it hears of connections that may be joined.
///
/// # Guarantees
/// - **Back-pressure both ways**: an end whose peer's queue is full is paused, so a stalled side costs
///   no more than its queue's high mark and one read. The two directions do not hold each other up.
/// - **Half-close both ways**: the end of one direction is passed on behind its bytes; the other
///   direction goes on.
/// - **No half stays**: when an end goes, or could not be connected, the other closes, after what is
///   queued for it; if it does not stand yet, it is cancelled.
///
/// # Not guaranteed
/// - A reset on one side is an ordinary close on the other.
/// - An end that is [paused](ConnContext::pause) by hand is resumed when its peer has room.
///
/// ```
/// use reactor::{CloseReason, Connect, ConnContext, ConnId, ConnectError, Context, Handler, Pipes};
/// use reactor::{Origin, ReadBuffer};
///
/// /// Forwards every client to one upstream.
/// struct Forwarder { upstream: Connect, pipes: Pipes }
///
/// impl Handler for Forwarder {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, cx: &mut ConnContext<'_>) {
///         if matches!(cx.origin(), Origin::Accepted(_)) {
///             let upstream = cx.connect(self.upstream.clone());
///             self.pipes.join(cx.id(), upstream, cx);
///         }
///     }
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         self.pipes.on_data(input, cx);
///     }
///     fn on_eof(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         self.pipes.on_eof(input, cx);
///     }
///     fn on_drained(&mut self, _: &mut (), cx: &mut ConnContext<'_>) {
///         self.pipes.on_drained(cx);
///     }
///     fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
///         self.pipes.on_end(cx.id(), cx);
///     }
///     fn on_connect_failed(&mut self, id: ConnId, _: ConnectError, cx: &mut Context<'_>) {
///         self.pipes.on_end(id, cx);
///     }
/// }
/// ```
#[derive(Default)]
pub struct Pipes {
    pipes: Slab<Pipe>,
    /// Invariant: both ends of each pipe are here, under its key, and nobody else.
    keys: ConnMap<usize>,
}

impl Pipes {
    /// No pipes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Joins two connections; either may still be connecting. What each has left in its input is
    /// offered again, to go to the other. An end that is joined to another is parted from it, and that
    /// one closes. An end of input that the handler has heard of before is not passed on.
    ///
    /// Whether both are there to be joined; if one has gone or is closing, the other closes.
    pub fn join(&mut self, first: ConnId, second: ConnId, cx: &mut Context<'_>) -> bool {
        if self.peer_of(first) == Some(second) {
            return true;
        }
        for end in [first, second] {
            self.on_end(end, cx);
        }
        let mut is_there = |end| cx.at(end).is_some_and(|end| end.can_send());
        if first == second || !is_there(first) || !is_there(second) {
            for end in [first, second] {
                cx.at(end).as_mut().map(ConnContext::close);
            }
            return false;
        }
        let key = self.pipes.insert(Pipe { ends: [first, second], carried: [0; 2] });
        for end in [first, second] {
            self.keys.insert(end, key);
            if let Some(mut end) = cx.at(end) {
                // What it sends goes to the other: its own queue has no say in that. If it had, two
                // sides that write before they read would wait for each other for ever.
                end.read_when_full(true);
                end.pause();
                end.resume();
            }
        }
        true
    }

    /// The other end, if this one is joined.
    pub fn peer_of(&self, end: ConnId) -> Option<ConnId> {
        let pipe = self.pipes.get(*self.keys.get(end)?)?;
        pipe.ends.into_iter().find(|&other| other != end)
    }

    /// What has been carried so far.
    pub fn carried(&self, end: ConnId) -> Option<Carried> {
        let [forward, backward] = self.pipes.get(*self.keys.get(end)?)?.carried;
        Some(Carried { forward, backward })
    }

    /// How many pipes there are.
    pub fn len(&self) -> usize {
        self.pipes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pipes.is_empty()
    }

    /// Bytes have arrived at the end where `cx` stands: they go to the other. Whether it is joined.
    pub fn on_data(&mut self, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) -> bool {
        let id = cx.id();
        let Some(peer) = self.peer_of(id) else { return false };
        self.count(id, input.len());
        let full = match cx.at(peer) {
            Some(mut peer) => {
                peer.forward(input);
                peer.is_full()
            }
            None => {
                input.take();
                false
            }
        };
        if full {
            cx.pause();
        }
        true
    }

    /// The peer of this end has finished: so do we, towards the other's. Whether it is joined.
    pub fn on_eof(&mut self, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) -> bool {
        if !self.on_data(input, cx) {
            return false;
        }
        if let Some(peer) = self.peer_of(cx.id())
            && let Some(mut peer) = cx.at(peer)
        {
            peer.finish();
        }
        true
    }

    /// The queue of this end has room again: the other is read again. Whether it is joined.
    pub fn on_drained(&mut self, cx: &mut ConnContext<'_>) -> bool {
        let Some(peer) = self.peer_of(cx.id()) else { return false };
        cx.at(peer).as_mut().map(ConnContext::resume);
        true
    }

    /// This end has gone, or never stood: the pipe is no more, and the other end closes. With what the
    /// pipe carried, if it was joined.
    pub fn on_end(&mut self, end: ConnId, cx: &mut Context<'_>) -> Option<Carried> {
        let carried = self.carried(end)?;
        let peer = self.peer_of(end)?;
        self.pipes.try_remove(*self.keys.get(end)?);
        self.keys.remove(end);
        self.keys.remove(peer);
        cx.at(peer).as_mut().map(ConnContext::close);
        Some(carried)
    }

    fn count(&mut self, from: ConnId, bytes: usize) {
        if let Some(&key) = self.keys.get(from)
            && let Some(Pipe { ends: [first, _], carried: [forward, backward] }) =
                self.pipes.get_mut(key)
        {
            *if *first == from { forward } else { backward } += bytes as u64;
        }
    }
}

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipes({})", self.pipes.len())
    }
}
