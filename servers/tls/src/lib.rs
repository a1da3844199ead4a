//! TLS for those who have none: a terminator in front of any service, a greeter to try it with, and a client.
//!
//! None of the handlers knows that it is TLS: the loop speaks it. So they are tested without.
//!
//! ```
//! use reactor::Stage;
//! use tls::Greeter;
//!
//! let mut stage = Stage::new(Greeter::new("hello"));
//! let peer = stage.open();
//! stage.deliver(peer, b"anything");
//! assert_eq!(stage.sent(peer), b"hello\n");
//! assert!(stage.has_finished(peer));
//! ```
//!
//! | | |
//! |---|---|
//! | `protocol.rs` | PROXY headers, and a session in one line: pure |
//! | `handler.rs` | the services: [`Greeter`], [`Forwarder`] |
//! | `client.rs` | the client: [`TlsClient`] |

#![deny(missing_docs)]

mod client;
mod handler;
mod protocol;

pub use client::{ClientMessage, ClientPlan, TlsClient};
pub use handler::{Forwarder, Greeter};
pub use protocol::{ProxyVersion, describe_session, proxy_header};
