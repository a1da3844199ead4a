//! Every bound, with its name, its unit and its default.
//!
//! [`Limits`] belong to a service and bound each of its connections, and all of them together;
//! [`Budgets`] belong to the loop and bound what one turn does for one peer before the others have
//! theirs. In both, a bound that can be switched off is switched off by 0 (or [`Duration::ZERO`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What one service allows its connections.
///
/// ```
/// use reactor::Limits;
///
/// let limits = Limits { max_connections: 100, ..Limits::default() };
/// assert_eq!(limits.queue_low, 64 * 1024);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of this service, in both directions, under way and while they linger, over all loops
    /// that share its [`Admission`]. At the limit accepting pauses, and clients wait in the backlog.
    /// Default: 0, none but what the system allows.
    pub max_connections: usize,
    /// Whether outgoing connections count in `max_connections`. Default: yes. A proxy, which makes one for each
    /// client, says no: otherwise clients could take all places, and none would be left to serve them by.
    pub counts_outgoing: bool,
    /// Accepted connections from one IP address; an IPv4-mapped IPv6 address counts as its IPv4 address.
    /// Over it a client is accepted, closed and counted as refused. Default: 0, none.
    pub max_per_ip: usize,
    /// Bytes. At this many queued for a peer, nothing more is read from it. Default: 256 KiB. It is
    /// lowered to half of `queue_max`, so that what is answered to one more read fits.
    pub queue_high: usize,
    /// Bytes. When the queue has fallen to this, reading goes on. Default: 64 KiB, and never more than
    /// `queue_high`.
    pub queue_low: usize,
    /// Whether a peer is read although this much is queued for it. Default: no, which bounds whoever
    /// answers what it reads. A client wants it: if neither side read while it cannot write, both would
    /// wait for ever.
    pub reads_when_full: bool,
    /// Bytes. More than this queued for a peer closes it as [`SlowConsumer`](crate::CloseReason).
    /// Default: 1 MiB; 0: none, for a service that answers its peers one answer at a time and stops when
    /// [`is_full`](crate::ConnContext::is_full), and so is bounded by `queue_high` and one answer.
    pub queue_max: usize,
    /// Bytes that a handler may leave unconsumed, while it is neither paused nor full, before the
    /// connection closes as [`InputTooLarge`](crate::CloseReason). Default: 1 MiB; 0: none.
    pub input_max: usize,
    /// How long no byte may move, in either direction, before
    /// [`on_deadline`](crate::Handler::on_deadline). Default: 0, for ever.
    pub idle_timeout: Duration,
    /// How long a closing connection may fail to take any of what is queued for it. Default: 60 s;
    /// 0: for ever.
    pub drain_timeout: Duration,
    /// How long a closed connection waits for the peer's FIN after its own. Default: 2 s; 0: not at all,
    /// and what the peer still sends may destroy what is on its way to it.
    pub linger_timeout: Duration,
    /// How long a TLS handshake may take, from the moment a client is accepted, or an outgoing connection
    /// stands. While it waits for its turn (see `handshakes_max`) its time stands still. Default: 5 s; 0: as
    /// long as it likes.
    pub handshake_timeout: Duration,
    /// TLS handshakes of clients that may be under way at once, on each loop: from a client's whole first
    /// message to the last. Over it, who comes waits, unread, until another's is over. Default: 256; 0: none.
    pub handshakes_max: usize,
    /// Bytes that wait to leave through one datagram socket; a datagram that would exceed it is dropped
    /// and counted. Default: 256 KiB.
    pub datagram_queue_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 0,
            counts_outgoing: true,
            max_per_ip: 0,
            queue_high: 256 * 1024,
            queue_low: 64 * 1024,
            reads_when_full: false,
            queue_max: 1024 * 1024,
            input_max: 1024 * 1024,
            idle_timeout: Duration::ZERO,
            drain_timeout: Duration::from_secs(60),
            linger_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 256,
            datagram_queue_max: 256 * 1024,
        }
    }
}

impl Limits {
    /// So many connections as are expected, as far as they are allowed.
    pub(crate) fn connections_of(&self, expected: usize) -> usize {
        match self.max_connections {
            0 => expected,
            max => expected.min(max),
        }
    }

    /// The same, with marks that make sense together.
    pub(crate) fn in_order(mut self) -> Self {
        if self.queue_max != 0 {
            self.queue_high = self.queue_high.min(self.queue_max / 2);
        }
        self.queue_high = self.queue_high.max(1);
        self.queue_low = self.queue_low.min(self.queue_high - 1);
        self
    }
}

/// What one turn of the loop does for one source before the next source has its share.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Bytes read from one connection. Default: 256 KiB.
    pub bytes: usize,
    /// Connections accepted from one listener. Default: 64.
    pub accepts: usize,
    /// Datagrams received from one socket. Default: 64.
    pub datagrams: usize,
    /// Messages of other threads delivered to one service. Default: 256.
    pub messages: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { bytes: 256 * 1024, accepts: 64, datagrams: 64, messages: 256 }
    }
}

/// Who is in: the count that [`Limits::max_connections`] and [`Limits::max_per_ip`] are held against.
///
/// Each service has one of its own. The same service on several loops shares one (clones are the same
/// count), by [`ServiceConfig::admission`](crate::ServiceConfig::admission), so that the limits hold
/// over all of them.
///
/// ```
/// let admission = reactor::Admission::new();
/// assert_eq!(admission.clone().connections(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Admission(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    connections: AtomicUsize,
    /// Invariant: no count is 0. Touched only where `max_per_ip` is on.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    /// Nobody is in.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are in.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Whether nobody is in, under any address either.
    #[cfg(feature = "sim")]
    pub(crate) fn is_empty(&self) -> bool {
        self.connections() == 0 && self.addresses().is_empty()
    }

    /// Whether no more are in than `limits` say, in all and under any address.
    #[cfg(feature = "sim")]
    pub(crate) fn is_within(&self, limits: &Limits) -> bool {
        let Limits { max_connections, max_per_ip, .. } = *limits;
        let fits = |count: usize, max: usize| max == 0 || count <= max;
        fits(self.connections(), max_connections)
            && self.addresses().values().all(|&count| fits(count, max_per_ip))
    }

    /// Whether somebody else holds it too.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Takes a place, unless [`Limits::max_connections`] are taken. It is asked for before a client is
    /// accepted: over the limit, clients wait in the backlog.
    pub(crate) fn take_place(&self, limits: &Limits) -> bool {
        let before = self.0.connections.fetch_add(1, Ordering::Relaxed);
        let has_room = limits.max_connections == 0 || before < limits.max_connections;
        if !has_room {
            self.leave_place();
        }
        has_room
    }

    pub(crate) fn leave_place(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a client under its address, unless that has [`Limits::max_per_ip`] already.
    pub(crate) fn take_address(&self, address: Option<IpAddr>, limits: &Limits) -> bool {
        let Some(address) = address.filter(|_| limits.max_per_ip != 0) else { return true };
        let mut addresses = self.addresses();
        let count = addresses.entry(address.to_canonical()).or_insert(0);
        let has_room = *count < limits.max_per_ip;
        *count += usize::from(has_room);
        has_room
    }

    pub(crate) fn leave_address(&self, address: Option<IpAddr>, limits: &Limits) {
        let Some(address) = address.filter(|_| limits.max_per_ip != 0) else { return };
        let address = address.to_canonical();
        let mut addresses = self.addresses();
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_mapped_address_counts_as_ipv4_and_nobody_stays_in_the_table() {
        let limits = Limits { max_per_ip: 2, ..Limits::default() };
        let admission = Admission::new();
        let (plain, mapped) = ("10.0.0.1".parse().ok(), "::ffff:10.0.0.1".parse().ok());
        assert!(admission.take_address(plain, &limits));
        assert!(admission.take_address(mapped, &limits));
        assert!(!admission.take_address(plain, &limits));
        assert!(admission.take_address("::1".parse().ok(), &limits));
        assert!(admission.take_address(None, &limits), "a Unix peer has no address to count");
        for address in [plain, mapped, "::1".parse().ok(), None] {
            admission.leave_address(address, &limits);
        }
        assert!(admission.addresses().is_empty());
    }

    #[test]
    fn clones_count_the_same_places() {
        let limits = Limits { max_connections: 2, ..Limits::default() };
        let admission = Admission::new();
        let clone = admission.clone();
        assert!(admission.take_place(&limits) && clone.take_place(&limits));
        assert!(!admission.take_place(&limits) && !clone.take_place(&limits));
        admission.leave_place();
        assert_eq!(clone.connections(), 1);
    }
}
