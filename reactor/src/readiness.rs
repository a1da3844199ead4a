//! What a driver tells the loop of: readiness of sources, and signals.

/// What has become possible on a source. Hints, all of them: only a read or a write tells for sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Readiness {
    /// A read would not block: there are bytes, a connection to accept, the end, or an error.
    pub readable: bool,
    /// A write would not block, or would fail.
    pub writable: bool,
    /// The peer has finished sending; bytes may lie before that.
    pub hang_up: bool,
    /// There is an error to ask the socket for.
    pub error: bool,
    /// There is something out of band: TCP's urgent byte, past which a read does not go.
    pub urgent: bool,
}

impl std::ops::BitOr for Readiness {
    type Output = Self;

    /// What either tells.
    fn bitor(self, other: Self) -> Self {
        Self {
            readable: self.readable | other.readable,
            writable: self.writable | other.writable,
            hang_up: self.hang_up | other.hang_up,
            error: self.error | other.error,
            urgent: self.urgent | other.urgent,
        }
    }
}

/// The signals that a loop can tell of; see signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: control-C.
    Interrupt,
    /// SIGTERM: please end.
    Terminate,
    /// SIGHUP: the terminal is gone, or, to a daemon: read your configuration again.
    HangUp,
    /// SIGUSR1: yours to define.
    User1,
}
