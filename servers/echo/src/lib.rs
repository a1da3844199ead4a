//! Echo: what comes in goes back, as bytes or line by line.
//!
//! ```
//! use echo::{Echo, Modes};
//! use reactor::Stage;
//!
//! let modes = Modes { prefix: Some("Echo: ".to_owned()), upper: true, ..Modes::default() };
//! let mut stage = Stage::new(Echo::new(modes));
//! let peer = stage.open();
//! stage.deliver(peer, b"hello\r\n");
//! assert_eq!(stage.sent(peer), b"Echo: HELLO\r\n");
//! ```
//!
//! | | |
//! |---|---|
//! | `protocol.rs` | what a line is answered with, and how far an exchange is: pure |
//! | `handler.rs` | the service: [`Echo`] |
//! | `client.rs` | the client: [`EchoClient`] |

#![deny(missing_docs)]

mod client;
mod handler;
mod protocol;

pub use client::{ClientMessage, ClientPlan, EchoClient};
pub use handler::Echo;
pub use protocol::{Exchange, Modes, Verdict};
