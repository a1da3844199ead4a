//! What lies between a socket and a handler: nothing, or TLS.
//!
//! A plain transport is its stream. One with TLS has a state machine beside it, in a table of the loop: [`Tls`],
//! which knows no socket. It turns bytes that have arrived into plaintext, and what is queued into bytes to send.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod heads;
#[cfg(feature = "tls")]
mod tls;

#[cfg(not(feature = "tls"))]
pub(crate) use self::absent::Tls;
#[cfg(feature = "tls")]
pub(crate) use self::tls::Tls;
use crate::reason::TlsError;

pub(crate) struct Transport<S> {
    pub(crate) stream: S,
    /// Invariant: whether there is a [`Tls`] for it.
    pub(crate) has_tls: bool,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody shakes hands without TLS"))]
pub(crate) enum Handshake {
    /// The peer's word is awaited.
    UnderWay,
    /// A client's whole first message is there: the costly part may [begin](Tls::begin).
    Greeted,
    /// It is over, and both sides may speak.
    Done,
}

/// What [`Tls`] has for a handler.
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody reads without TLS"))]
pub(crate) enum Plaintext {
    Bytes(usize),
    /// The peer has said close_notify: there will be no more.
    Ended,
    /// Nothing, until more ciphertext comes.
    Nothing,
}

/// What feeding came to: bytes of plaintext, and what was wrong behind them.
pub(crate) type Fed = (usize, Result<(), TlsError>);

/// The end of the sealed bytes: a system call, and how many bytes it was offered and did not take.
#[cfg(feature = "tls")]
pub(crate) struct Outlet<W> {
    pub(crate) write: W,
    pub(crate) left: usize,
}
