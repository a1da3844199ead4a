//! Clients by the thousand on one thread, which verify each byte that comes back.
//!
//! ```text
//!   opening ---> warm-up ---> measuring ---> draining ---> done
//!   each connection     what is done      what was asked for
//!   is answered once    here counts       may still come back
//! ```
//!
//! Latency is counted from when a message was *due*. In the closed loop that is when its predecessor came
//! back; with a rate it is a time that nobody can postpone, so a server that stops for a second has a
//! second's worth of late messages, and not one.

mod beside;
mod chat;
mod client;
mod crowd;
mod outcome;
mod pattern;
mod scheme;
mod secure;
mod socket;

use std::fmt;
use std::io;
use std::time::Duration;

pub use chat::Room;
pub use outcome::{Latency, Outcome, Progress};
pub use secure::Tls;
pub use socket::{Sources, Target, connections_max};

/// What is asked of a server, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    pub target: Target,
    pub sources: Sources,
    /// Over TCP alone.
    pub tls: Option<Tls>,
    pub kind: Kind,
    /// How many connections are held at a time.
    pub connections: usize,
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// It ends earlier once so many operations have been measured.
    pub count: Option<u64>,
    /// How long an answer that is due may take before that is an error.
    pub patience: Duration,
    /// Whether each connection must be answered before anything is measured. Otherwise it goes on after
    /// `patience` with those that were, and does not wait for the rest at the end.
    pub everyone: bool,
}

impl Load {
    /// Those that are asked for, and those beside them.
    fn connections_in_all(&self) -> usize {
        self.kind.connections_in_all(self.connections)
    }
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A message of `size` bytes that comes back.
    Echo {
        size: usize,
        /// Of each connection at a time, in the closed loop.
        in_flight: usize,
        /// Each message is a line: its last byte is LF.
        lines: bool,
        /// Messages a second over all connections, due at even distances: the open loop.
        rate: Option<f64>,
        /// Connections beside them.
        others: Others,
    },
    /// A connection that is opened, sends a byte, has it back, and is closed.
    Accept,
    /// A connection of one to `messages` messages of `size` bytes, which then ends in one of three ways.
    Churn { size: usize, messages: usize, seed: u64 },
    /// A connection that has had one byte back, and is held.
    Idle,
    /// As [`Idle`](Self::Idle), until the server ends it; an operation is one that has ended.
    Expire,
    /// A byte that comes back; as many are on their way as the sockets take, in writes of `size`.
    Bulk { size: usize },
    /// A line that one says in a room and another hears.
    Chat(Room),
}

impl Kind {
    /// Those that are measured, and those beside them.
    pub fn connections_in_all(&self, connections: usize) -> usize {
        match self {
            Self::Echo { others: Others { bulk, idle }, .. } => {
                connections.saturating_add(*bulk).saturating_add(*idle)
            }
            Self::Chat(Room { senders, .. }) => connections.saturating_add(*senders),
            _ => connections,
        }
    }

    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo { .. } => "echo",
            Self::Accept => "accept",
            Self::Churn { .. } => "churn",
            Self::Idle => "idle",
            Self::Expire => "expire",
            Self::Bulk { .. } => "bulk",
            Self::Chat(_) => "chat",
        }
    }
}

/// Connections that are held beside those that are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// So many do as [`Kind::Bulk`]; their bytes count, their messages do not.
    pub bulk: usize,
    /// So many do as [`Kind::Idle`].
    pub idle: usize,
}

/// What somebody else does at the moments that matter.
pub trait Watch {
    /// The first moment that counts.
    ///
    /// # Errors
    /// They end the run.
    fn started(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The last moment that counts; connections are still open.
    ///
    /// # Errors
    /// They end the run.
    fn ended(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Twice a second or more often.
    fn progress(&mut self, _: &Progress) {}
}

impl Watch for () {}

/// Why a load could not be put on a server.
#[derive(Debug)]
pub struct LoadError(String);

impl LoadError {
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

/// Puts a load on a server. It ends by itself: after `duration`, `warm_up` and twice `patience` at most.
///
/// # Errors
/// If the connections do not fit, cannot be opened, or are not answered. What goes wrong after that is
/// counted in [`Outcome::errors`].
pub fn run(load: &Load, watch: &mut dyn Watch) -> Result<Outcome, LoadError> {
    use beside::Beside;
    use scheme::{Accept, Bulk, Churn, ClosedLoop, Expire, Idle, OpenLoop};
    match load.kind {
        Kind::Echo { size, in_flight, rate: None, others, .. } => {
            let scheme = ClosedLoop { size, in_flight };
            crowd::run(load, Beside::new(scheme, load.connections, others), watch)
        }
        Kind::Echo { size, rate: Some(rate), others, .. } => {
            let scheme = OpenLoop::new(size, rate, load.connections);
            crowd::run(load, Beside::new(scheme, load.connections, others), watch)
        }
        Kind::Accept => crowd::run(load, Accept, watch),
        Kind::Churn { size, messages, seed } => {
            crowd::run(load, Churn::new(size, messages, seed), watch)
        }
        Kind::Idle => crowd::run(load, Idle, watch),
        Kind::Expire => crowd::run(load, Expire, watch),
        Kind::Bulk { .. } => crowd::run(load, Bulk, watch),
        Kind::Chat(room) => chat::run(load, room, watch),
    }
}
