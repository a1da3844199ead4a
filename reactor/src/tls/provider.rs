//! Who does the cryptography, and what tickets are sealed with.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

/// Who does the cryptography.
///
/// The default is aws-lc-rs with the feature `tls-aws-lc`, and ring otherwise; there is none with `tls`
/// alone, and then one is made `From` an `Arc<rustls::crypto::CryptoProvider>`.
#[derive(Clone)]
pub struct Provider {
    pub(super) crypto: Arc<CryptoProvider>,
    tickets: Option<NewTickets>,
}

type NewTickets = fn() -> Result<Arc<dyn ProducesTickets>, rustls::Error>;

impl Provider {
    /// AWS-LC.
    #[cfg(feature = "tls-aws-lc")]
    pub fn aws_lc() -> Self {
        Self {
            crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            tickets: Some(rustls::crypto::aws_lc_rs::Ticketer::new),
        }
    }

    /// ring.
    #[cfg(feature = "tls-ring")]
    pub fn ring() -> Self {
        Self {
            crypto: Arc::new(rustls::crypto::ring::default_provider()),
            tickets: Some(rustls::crypto::ring::Ticketer::new),
        }
    }
}

#[cfg(feature = "tls-aws-lc")]
impl Default for Provider {
    fn default() -> Self {
        Self::aws_lc()
    }
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
impl Default for Provider {
    fn default() -> Self {
        Self::ring()
    }
}

impl From<Arc<CryptoProvider>> for Provider {
    /// One of your own. It makes no [`Tickets`]: bring those too.
    fn from(crypto: Arc<CryptoProvider>) -> Self {
        Self { crypto, tickets: None }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({} cipher suites)", self.crypto.cipher_suites.len())
    }
}

/// What session tickets are sealed with, so that clients may resume a session without the server having
/// to remember it.
///
/// The keys are made here, never leave memory, and change every six hours; a ticket is good for twelve. Clones
/// are the same keys. All loops that share a [`Server`](super::Server) share its tickets; who makes a new one on
/// reload hands the old tickets on, or its clients start anew.
///
/// ```
/// # #[cfg(feature = "tls-aws-lc")] {
/// use reactor::tls::{Provider, Tickets};
///
/// assert!(Tickets::new(&Provider::default()).is_some());
/// # }
/// ```
#[derive(Clone)]
pub struct Tickets(pub(super) Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys; `None` if the provider is one of your own, or has no randomness.
    pub fn new(provider: &Provider) -> Option<Self> {
        provider.tickets.and_then(|new| new().ok()).map(Self)
    }
}

impl From<Arc<dyn ProducesTickets>> for Tickets {
    fn from(tickets: Arc<dyn ProducesTickets>) -> Self {
        Self(tickets)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}
