//! What a loop has done so far, in numbers that any thread may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a loop has done so far: a copy, taken by [`Counters::read`].
        ///
        /// All but `open` and `queued_bytes` only grow.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Statistics {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Statistics {
            /// Adds another loop's numbers to these.
            pub fn merge(&mut self, other: &Statistics) {
                $(self.$name += other.$name;)*
            }
        }

        #[derive(Debug, Default)]
        struct Cells {
            $($name: Cell,)*
        }

        impl Counters {
            /// All numbers as they are now; those of one turn may be half there.
            pub fn read(&self) -> Statistics {
                Statistics { $($name: self.0.$name.get(),)* }
            }
            $(pub(crate) fn $name(&self) -> &Cell { &self.0.$name })*
        }
    };
}

counters! {
    /// Connections that are under way, open, closing or lingering, in both directions.
    open,
    /// Connections accepted, and not refused.
    accepted,
    /// Connections accepted and closed at once because of a limit on their address.
    refused,
    /// Outgoing connections that stood.
    connected,
    /// Outgoing connections that never stood.
    connect_failures,
    /// Bytes read from streams and datagram sockets; under TLS, of plaintext.
    bytes_in,
    /// Bytes written to them; under TLS, of plaintext.
    bytes_out,
    /// Bytes read from streams, of `bytes_in`, that no handler consumed: what came after a close, and what
    /// was left unconsumed at the end.
    bytes_discarded,
    /// Bytes that wait in the queues of connections.
    queued_bytes,
    /// Datagrams received.
    datagrams_in,
    /// Datagrams sent.
    datagrams_out,
    /// Datagrams that were not sent: the queue was full, or the system refused them.
    datagrams_dropped,
    /// Messages of other threads delivered.
    messages,
    /// Turns of the loop.
    turns,
    /// Readiness events that the driver gave.
    events,
    /// Nanoseconds spent in turns, but for waiting: the loop's own work and the handlers'.
    busy_nanoseconds,
    /// Callbacks of handlers; a batch of messages is one.
    callbacks,
    /// Nanoseconds spent in them: an estimate with [`Config::time_handlers`](crate::Config::time_handlers), measured
    /// with one of its options that make all callbacks be timed; otherwise 0.
    handler_nanoseconds,
    /// How often accepting paused, for want of descriptors or because of a limit; tries in vain to go on
    /// are not counted.
    accept_pauses,
    /// TLS handshakes that came to their end, in both directions.
    handshakes,
    /// Those of `handshakes` that resumed an earlier session.
    handshakes_resumed,
    /// TLS handshakes that failed; outgoing ones are counted in `connect_failures` too.
    handshakes_failed,
    /// Clients, of `handshakes_failed`, that did not speak TLS at all.
    not_tls,
    /// Callbacks that panicked.
    panics,
    /// Turns that took longer than [`Config::stall`](crate::Config::stall).
    stalls,
}

/// A loop's [`Statistics`], live: clones are the same numbers, and any thread may read them.
///
/// The loop is the only writer, so counting costs it no more than a plain addition.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Cells>);

/// One number, with one writer and any number of readers.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, amount: u64) {
        // Not fetch_add: with one writer there is nothing to lock the bus for.
        self.0.store(self.get().wrapping_add(amount), Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn subtract(&self, amount: u64) {
        self.add(amount.wrapping_neg());
    }
}

impl Statistics {
    /// Time spent in turns, but for waiting.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanoseconds)
    }
}
