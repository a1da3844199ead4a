//! What goes wrong in a simulated network, and how often.

use std::ops::Range;
use std::time::Duration;

use super::random::Random;

/// What goes wrong, and how often. Probabilities are from 0 to 1, each of one occasion: one call, one
/// segment, one datagram.
///
/// Nothing here is a lie: each of them is what epoll(7), select(2), tcp(7), udp(7), accept(2), connect(2),
/// recv(2) and send(2) allow a system to do, and what real ones do under load. Unix sockets meet those that
/// need no network: nothing of theirs is on its way, lost or cut.
///
/// ```
/// # use reactor::sim::Faults;
/// let lossy = Faults { datagram_loss: 0.2, ..Faults::none() };
/// # assert!(lossy.reset == 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// How long a segment, an answer or a datagram is on its way.
    pub latency: Range<Duration>,
    /// A read yields fewer bytes than there are, as if the rest had come a little later; an edge follows.
    /// Not once the end has come: what is all is not less again.
    pub short_read: f64,
    /// A write takes fewer bytes than there is room for, as if the rest of the room had come later; an edge
    /// follows.
    pub short_write: f64,
    /// A call says `WouldBlock` although it need not, as if what was told had been spurious (select(2), BUGS),
    /// or memory were short; an edge follows. Not a read once the end has come.
    pub would_block: f64,
    /// A call is interrupted by a signal.
    pub interrupted: f64,
    /// A wait tells of a stream that has nothing new, and that it is readable.
    pub spurious: f64,
    /// A segment goes only in part, and the rest of it later.
    pub segmented: f64,
    /// A segment meets a network that resets the connection, both ends of it.
    pub reset: f64,
    /// A loop is busy for a while after a turn, or has no processor.
    pub stall: f64,
    /// For how long at most.
    pub stall_time: Duration,
    /// The system has no descriptors left, for a while, beginning at some time in each second.
    pub no_descriptors: f64,
    /// An accept finds a client that is gone (`ECONNABORTED`).
    pub accept_aborted: f64,
    /// A connection that is accepted cannot be watched (`ENOSPC`, `ENOMEM` of epoll_ctl(2)).
    pub register_failed: f64,
    /// A connect is lost on its way, and nobody answers: after 127 s it has timed out.
    pub connect_lost: f64,
    /// A datagram is lost.
    pub datagram_loss: f64,
    /// A datagram arrives twice.
    pub datagram_duplicate: f64,
    /// A datagram that could not be delivered is told as `ConnectionRefused` by a later call, as udp(7)
    /// allows; Linux tells connected sockets alone.
    pub datagram_refused: f64,
    /// A look-up of a name fails.
    pub name_failed: f64,
    /// A look-up of a name takes up to ten seconds longer.
    pub name_slow: f64,
    /// A callback of an [audited](crate::sim::World::serve) handler panics.
    pub panic: f64,
}

impl Faults {
    /// Nothing goes wrong, and everything takes from 50 to 200 microseconds.
    pub fn none() -> Self {
        Self {
            latency: Duration::from_micros(50)..Duration::from_micros(200),
            short_read: 0.0,
            short_write: 0.0,
            would_block: 0.0,
            interrupted: 0.0,
            spurious: 0.0,
            segmented: 0.0,
            reset: 0.0,
            stall: 0.0,
            stall_time: Duration::ZERO,
            no_descriptors: 0.0,
            accept_aborted: 0.0,
            register_failed: 0.0,
            connect_lost: 0.0,
            datagram_loss: 0.0,
            datagram_duplicate: 0.0,
            datagram_refused: 0.0,
            name_failed: 0.0,
            name_slow: 0.0,
            panic: 0.0,
        }
    }

    /// Each kind of fault is left out or has a rate of its own, as the generator says: some networks are
    /// only slow, some only lossy, and a few are everything at once.
    pub fn drawn(random: &mut Random) -> Self {
        let slowest = Duration::from_micros(1 << random.below_range(1..17));
        let mut rate = |most: f64| match random.below(3) {
            0 => 0.0,
            1 => most / 16.0,
            _ => most,
        };
        Self {
            latency: Duration::ZERO..slowest,
            short_read: rate(0.2),
            short_write: rate(0.2),
            would_block: rate(0.1),
            interrupted: rate(0.1),
            spurious: rate(0.1),
            segmented: rate(0.3),
            reset: rate(0.002),
            stall: rate(0.1),
            stall_time: Duration::from_millis(20),
            no_descriptors: rate(0.5),
            accept_aborted: rate(0.05),
            register_failed: rate(0.02),
            connect_lost: rate(0.1),
            datagram_loss: rate(0.2),
            datagram_duplicate: rate(0.1),
            datagram_refused: rate(0.1),
            name_failed: rate(0.2),
            name_slow: rate(0.2),
            panic: rate(0.005),
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}
