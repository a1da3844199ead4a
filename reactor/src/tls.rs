//! TLS: what a connection agreed on, and, with the feature `tls`, how it is to be spoken.
//!
//! A service listens with TLS by one word, `Listen::tls`, and connects with it by `Connect::tls`; its handler does
//! not know. It hears of a connection when the handshake is over, is lent plaintext, and sends plaintext; [`close`](crate::ConnContext::close) and
//! [`finish`](crate::ConnContext::finish) say close_notify before FIN. All limits and budgets hold, counted in
//! plaintext. Who wants to know asks [`ConnContext::tls`](crate::ConnContext::tls).
//!
//! # Features
//! `tls-aws-lc` and `tls-ring` each bring `tls` and a provider of cryptography. `tls` alone is for those who
//! bring their own, in an `Arc<rustls::ServerConfig>`. The provider is always passed on explicitly: **nothing
//! here installs a process-wide one**, or needs one.
//!
//! # What is promised
//! - TLS 1.2 and 1.3. Renegotiation is refused, early data (0-RTT) is never taken.
//! - A handshake has its own deadline, [`Limits::handshake_timeout`](crate::Limits::handshake_timeout), and so
//!   many may be under way, [`Limits::handshakes_max`](crate::Limits::handshakes_max). One that fails is counted
//!   and logged (debug); the handler of an accepted connection never hears of it.
//! - Nothing is lost on close: data, close_notify, FIN, linger, in this order.
//! - A FIN without close_notify ends the connection as [`Truncated`](crate::CloseReason::Truncated), without
//!   [`on_eof`](crate::Handler::on_eof): what came may have been cut short. What is queued still leaves.
//! - An idle connection owns what rustls holds for it, and a few hundred bytes.
//!
//! # What is not
//! - That a peer which does not read costs its queue alone: up to [`Limits::queue_high`](crate::Limits::queue_high)
//!   of it (a record at least, 64 at most) is sealed already, and held as ciphertext beside it.
//! - [`abort`](crate::ConnContext::abort) says nothing: the peer sees a reset.

#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod identity;
#[cfg(feature = "tls")]
mod provider;
#[cfg(feature = "tls")]
mod server;

#[cfg(feature = "tls")]
pub use self::{
    client::{Client, ClientBuilder},
    identity::{ConfigError, Identity},
    provider::{Provider, Tickets},
    server::{ClientCertificates, Server, ServerBuilder},
};

/// Without the feature `tls` nobody has one.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(crate) struct Server(pub(crate) std::convert::Infallible);

/// Without the feature `tls` nobody has one.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(crate) struct Client(pub(crate) std::convert::Infallible);

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.2, RFC 5246.
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// What the two sides of a TLS connection have agreed on: [`ConnContext::tls`](crate::ConnContext::tls).
///
/// ```
/// use reactor::ConnContext;
///
/// fn greet(cx: &mut ConnContext<'_>) {
///     let text = match cx.tls() {
///         Some(tls) if tls.peer_certificates().is_empty() => format!("{}, stranger\n", tls.version()),
///         Some(tls) => format!("{}, with a certificate\n", tls.version()),
///         None => "no TLS\n".to_owned(),
///     };
///     cx.send(text.as_bytes());
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub(crate) version: Version,
    pub(crate) cipher_suite: &'static str,
    pub(crate) is_resumed: bool,
    pub(crate) alpn: Box<[u8]>,
    pub(crate) server_name: Box<str>,
    pub(crate) peer_certificates: Box<[Box<[u8]>]>,
}

impl Info {
    /// The version of the protocol.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The cipher suite, by its name in the registry of IANA: `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher_suite(&self) -> &'static str {
        self.cipher_suite
    }

    /// Whether an earlier session was resumed, so that no certificate was sent this time.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The application protocol (ALPN), if one was agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        (!self.alpn.is_empty()).then_some(&*self.alpn)
    }

    /// The name of the server (SNI) that the client asked for, in lower case, if it did.
    pub fn server_name(&self) -> Option<&str> {
        (!self.server_name.is_empty()).then_some(&*self.server_name)
    }

    /// The chain that the peer has shown, and that was verified: its own certificate first, each in DER. Empty
    /// if it showed none. In a resumed session it is that of the first.
    pub fn peer_certificates(&self) -> &[Box<[u8]>] {
        &self.peer_certificates
    }
}
