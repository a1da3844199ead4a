//! How a loop is made, and what a service is added with.

use std::time::Duration;

use crate::handle::Inbox;
use crate::host::Panics;
use crate::limits::{Admission, Budgets, Limits};
use crate::trace::stall::StallHook;

/// How a loop is made. All of it has a default.
///
/// ```
/// use reactor::{Config, Reactor};
/// use std::time::Duration;
///
/// let reactor = Reactor::with_config(Config { grace: Duration::from_secs(3), ..Config::default() })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The number that this loop's ids carry, below 1,024 (more is taken modulo). Loops that hear of
    /// each other's ids want different ones; [`Pool`](crate::Pool) gives them. Default: 0.
    pub loop_number: u16,
    /// Bytes that one read may take: the size of the loop's one block. Default: 64 KiB; at least 1 KiB.
    /// A datagram that is longer is cut.
    pub block_size: usize,
    /// For how many connections the tables have room from the start. More fit; then tables grow, and a turn in
    /// which one does copies it. What is not used yet takes addresses and no memory, where the system gives memory
    /// by the page; about 200 bytes each. Default: 0, they grow as they are filled.
    pub connections_expected: usize,
    /// What one turn does for one source.
    pub budgets: Budgets,
    /// The limits of services that are added without any.
    pub limits: Limits,
    /// What is done when a callback panics. Default: that connection closes.
    pub panics: Panics,
    /// How long a loop that is asked to [stop](crate::Handle::stop) may drain. Default: 10 s; zero: not at
    /// all, everything is cut off; [`Duration::MAX`]: as long as it takes.
    pub grace: Duration,
    /// How long the loop may look for work before it sleeps: less latency for more CPU. It looks only
    /// while that pays: while work comes within this time, and the loop has waited for it longer than it has worked, of late. A
    /// busy loop sleeps at once, and serves in batches what has come meanwhile. Default: 0, it sleeps.
    pub spin: Duration,
    /// Whether the time in callbacks is estimated, for [`Statistics::handler_nanoseconds`]: one in 251 is
    /// measured, which costs it two looks at the clock, about 50 ns, and the others nothing. Default: no.
    ///
    /// [`Statistics::handler_nanoseconds`]: crate::Statistics::handler_nanoseconds
    pub time_handlers: bool,
    /// How many records the [flight recorder](crate::Recorder) keeps, of 32 bytes each. Their memory is
    /// taken when the loop is made. It makes all callbacks be timed too. Default: 0, nothing is recorded;
    /// without the feature `trace`, nothing ever is.
    pub trace_records: usize,
    /// A turn whose work, without the wait, takes longer than this is counted as [`Statistics::stalls`],
    /// and logged as a warning, with the callback that took the longest: ten times a second at most, with
    /// the number of those that were not told. It makes all callbacks be timed too. Default: 0, none is.
    ///
    /// [`Statistics::stalls`]: crate::Statistics::stalls
    pub stall: Duration,
    /// What is called after each such turn. Default: nothing.
    pub on_stall: Option<StallHook>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            loop_number: 0,
            block_size: 64 * 1024,
            connections_expected: 0,
            budgets: Budgets::default(),
            limits: Limits::default(),
            panics: Panics::Isolate,
            grace: Duration::from_secs(10),
            spin: Duration::ZERO,
            time_handlers: false,
            trace_records: 0,
            stall: Duration::ZERO,
            on_stall: None,
        }
    }
}

/// What a service is added with, beside its handler.
///
/// ```
/// use reactor::{Admission, Limits, ServiceConfig};
///
/// let config: ServiceConfig<u32> = ServiceConfig::new()
///     .limits(Limits { max_per_ip: 4, ..Limits::default() })
///     .admission(Admission::new());
/// ```
#[derive(Debug)]
pub struct ServiceConfig<M> {
    pub(crate) limits: Option<Limits>,
    pub(crate) admission: Admission,
    pub(crate) inbox: Option<Inbox<M>>,
}

/// Messages that the inbox of a service holds unless it is given one.
pub(crate) const INBOX_CAPACITY: usize = 1024;

impl<M> ServiceConfig<M> {
    /// The loop's limits, an admission and an inbox (of 1,024 messages) of its own.
    pub fn new() -> Self {
        Self { limits: None, admission: Admission::new(), inbox: None }
    }

    /// What it allows its connections.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The count that its limits are held against, to be shared with the same service of other loops.
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// The inbox that it hears; see [`inbox`](crate::inbox).
    pub fn inbox(mut self, inbox: Inbox<M>) -> Self {
        self.inbox = Some(inbox);
        self
    }
}

impl<M> Default for ServiceConfig<M> {
    fn default() -> Self {
        Self::new()
    }
}
