//! A readiness loop that one can read, embed and trust.
//!
//! Write a [`Handler`]; the [`Reactor`] does the rest: it accepts, reads, writes, keeps time, and calls
//! back. **A handler never touches a socket.** It is lent the bytes that have arrived and a context
//! through which it states wishes; the loop fulfils them.
//!
//! ```
//! use reactor::{ConnContext, Handler, ReadBuffer, Reactor};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Session = ();                           // nothing is kept per connection
//!     type Message = std::convert::Infallible;     // and other threads have nothing to say
//!
//!     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
//!
//!     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
//!         cx.forward(input);
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! let echo = reactor.add(Echo);
//! reactor.listen(&echo, "127.0.0.1:0")?;
//! # reactor.with(&echo, |_, cx| cx.stop());
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The path of one byte
//! 1. [`Driver`] tells the loop that a socket is readable, and `wait` notes it (`reactor/wait.rs`).
//! 2. `receive` reads it into the loop's one block (`reactor/receive.rs`), and lends that to
//! 3. [`Handler::on_data`], which answers by [`ConnContext::send`]: into the connection's
//!    [`WriteQueue`], and the connection onto the list of dirty ones (`connection.rs`).
//! 4. The queue is written right after that, in one call; `flush` writes those that others have sent to
//!    (`reactor/flush.rs`).
//!
//! # What there is
//! | | |
//! |---|---|
//! | the loop | [`Reactor`], [`Config`], [`Limits`], [`Budgets`], [`Turn`], [`ShutdownReport`] |
//! | what you write | [`Handler`], [`Context`], [`ConnContext`] |
//! | bytes | [`ReadBuffer`], [`WriteQueue`], [`Block`], [`framing`] |
//! | TLS | [`tls`], `Listen::tls`, `Connect::tls`, [`ConnContext::tls`] |
//! | addresses | [`Listen`], [`Bind`], [`Connect`], [`Target`], [`Address`] |
//! | names and tables | [`ConnId`], [`ConnMap`] |
//! | what many services need | [`Pipes`] (two connections joined), [`Broadcast`] (one room) |
//! | other threads | [`Handle`], [`inbox`], [`Pool`] (several loops) |
//! | tests | [`Stage`] |
//! | what the loop did | [`Recorder`], [`Trace`], [`TraceFormat`], [`Event`]; [`Stall`] |
//! | below the loop | [`Selector`] (Python's `selectors`), [`Driver`] |
//!
//! # Platforms
//! Unix with 64 bits; developed and measured on Linux. `SIGPIPE` must be ignored, as the Rust runtime
//! does; a host program in another language sees to it itself.

#![deny(missing_docs)]

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("this crate is for Unix with 64 bits");

// In this order: each uses only what stands above it.
mod read_buffer;
mod write_queue;
pub mod framing;
mod id;
mod timers;
mod reason;
mod limits;
mod counters;
pub mod tls;
mod socket;
mod readiness;
mod trace;
mod connection;
mod handle;
mod context;
mod handler;
mod pipe;
mod broadcast;
mod host;
mod selector;
mod driver;
mod transport;
mod config;
mod reactor;
mod pool;
mod stage;
#[cfg(feature = "sim")]
mod world;

pub use broadcast::Broadcast;
pub use bytes::Bytes;
pub use config::{Config, ServiceConfig};
pub use connection::Origin;
pub use context::{ConnContext, Context};
pub use counters::{Counters, Statistics};
pub use driver::mio::{MioDriver, MioListener, MioSocket, MioStream};
pub use driver::{DatagramSocket, Driver, Stream};
pub use handle::{Handle, Inbox, SendError, inbox};
pub use handler::Handler;
pub use host::{Panics, Service};
pub use id::{ConnId, ConnMap, ListenerId, SocketId, TimerId, Token};
pub use limits::{Admission, Budgets, Limits};
pub use pipe::{Carried, Pipes};
pub use pool::{Pool, Setup};
pub use reactor::{Memory, Opened, Reactor, Turn};
pub use read_buffer::{Block, ReadBuffer};
pub use readiness::{Readiness, Signal};
pub use reason::{
    CertificateFault, CloseReason, ConnectError, Deadline, ListenError, ShutdownReport, TlsError,
    describe,
};
pub use selector::{Interest, Selector};
pub use socket::address::{Address, Target};
pub use socket::connect::Connect;
pub use socket::listen::{Bind, Listen};
pub use socket::options::KeepAlive;
pub use stage::Stage;
pub use trace::event::{Callback, Event, Outcome, Source, Verb};
pub use trace::format::TraceFormat;
pub use trace::stall::{LongestCallback, Stall, StallHook};
pub use trace::stopwatch::Stopwatch;
pub use trace::{Record, Recorder, Trace};
pub use write_queue::WriteQueue;

/// A simulated network: a world in which any handler runs unchanged, and in which a failing seed is the bug
/// report. With the feature `sim`.
#[cfg(feature = "sim")]
pub mod sim {
    pub use crate::driver::sim::by_hand::SimNetwork;
    pub use crate::driver::sim::faults::Faults;
    pub use crate::driver::sim::network::Tally;
    pub use crate::driver::sim::random::Random;
    pub use crate::driver::sim::{SimDriver, SimListener, SimSocket, SimStream};
    pub use crate::world::{
        Audited, AuditedSession, Chatter, Client, Complaints, Ending, LoopNumber, Operator, Peer,
        PeerAddress, PeerContext, PeerSocket, PeerStream, Promise, Violation, World,
    };
}

/// The README's program is compiled like any other example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
