//! TLS over real sockets, against rustls driven by hand at the other end: what the loop promises holds under it,
//! the traps of rustls are stepped over, and hostile peers get nowhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

#[path = "../support/mod.rs"]
mod support;

mod by_hand;
mod certificates;
mod closing;
mod configured;
mod echo;
mod hostile;
mod outgoing;
mod sealed;
mod traps;
