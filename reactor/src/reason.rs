//! Why a connection ended, why one never began, and why a listener could not be had: closed lists.

mod tls;

use std::fmt;
use std::io;
use std::time::Duration;

pub use self::tls::{CertificateFault, TlsError};

/// Which deadline of a connection has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// No byte moved in either direction for the connection's idle timeout.
    Idle,
    /// The one that the handler set by [`set_deadline`](crate::ConnContext::set_deadline).
    Set,
    /// The connection was closing, and the peer took none of what was still queued for
    /// [`Limits::drain_timeout`](crate::Limits::drain_timeout).
    Drain,
    /// The TLS handshake was not over within [`Limits::handshake_timeout`](crate::Limits::handshake_timeout).
    Handshake,
}

/// Why a connection ended. Each connection ends with exactly one of these.
///
/// Where several things happened, it is the one that decided: a connection that was asked to close and
/// was then reset before its queue had drained ended by the reset, because bytes were lost by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// A handler asked for it; everything queued before was handed to the kernel.
    Asked,
    /// A handler asked for it to end at once, by [`abort`](crate::ConnContext::abort).
    Aborted,
    /// The peer finished sending, and then our side finished too.
    Eof,
    /// A deadline passed.
    Deadline(Deadline),
    /// The peer did not read, and more than [`Limits::queue_max`](crate::Limits::queue_max) was queued.
    SlowConsumer,
    /// The handler left more than [`Limits::input_max`](crate::Limits::input_max) unconsumed.
    InputTooLarge,
    /// The system refused a read or a write; `ConnectionReset` is a peer that is gone.
    Io(io::ErrorKind),
    /// TLS failed. What was queued is dropped, and the peer is told by an alert, if it was not the peer who
    /// told us.
    Tls(TlsError),
    /// The peer's FIN came without the word that ends TLS (close_notify): what it sent may have been cut
    /// short by somebody else.
    Truncated,
    /// A callback about this connection panicked.
    Panicked,
    /// The loop stopped.
    Shutdown,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("closed by the handler"),
            Self::Aborted => f.write_str("aborted by the handler"),
            Self::Eof => f.write_str("the peer finished"),
            Self::Deadline(Deadline::Idle) => f.write_str("idle for too long"),
            Self::Deadline(Deadline::Set) => f.write_str("the handler's deadline passed"),
            Self::Deadline(Deadline::Drain) => f.write_str("the peer did not read what was left"),
            Self::Deadline(Deadline::Handshake) => f.write_str("the TLS handshake took too long"),
            Self::SlowConsumer => f.write_str("the peer reads too slowly"),
            Self::InputTooLarge => f.write_str("too much input that cannot be consumed"),
            Self::Io(kind) => write!(f, "{kind}"),
            Self::Tls(error) => write!(f, "{error}"),
            Self::Truncated => f.write_str("the connection was cut off without TLS's close_notify"),
            Self::Panicked => f.write_str("the handler panicked"),
            Self::Shutdown => f.write_str("the loop is stopping"),
        }
    }
}

/// Why an outgoing connection never stood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectError {
    /// The name has no address, or the Unix socket's file does not exist.
    NotFound,
    /// Nobody listens there; a TCP connection that found itself counts as that too.
    Refused,
    /// The time given by [`Connect::timeout`](crate::Connect::timeout) passed.
    TimedOut,
    /// No route leads there.
    Unreachable,
    /// The peer reset it before it stood.
    Reset,
    /// It was closed, or the loop stopped, before it stood.
    Cancelled,
    /// It stood, and [`on_open`](crate::Handler::on_open) panicked over it.
    Panicked,
    /// A limit of this loop was met: [`Limits::max_connections`](crate::Limits::max_connections), or too
    /// many look-ups under way.
    Limit,
    /// What is to be connected to is no address; the text says why.
    Invalid(String),
    /// It stood, and TLS failed.
    Tls(TlsError),
    /// It stood, and the peer hung up in the TLS handshake without a word.
    ClosedEarly,
    /// Anything else that the system said.
    Io(io::ErrorKind),
}

impl From<&io::Error> for ConnectError {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            // A Unix listener with a full backlog says WouldBlock, and tells nobody when it has room.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::InvalidInput => Self::Invalid(describe(error)),
            kind => Self::Io(kind),
        }
    }
}

impl From<&CloseReason> for ConnectError {
    /// Why it never stood, if it ended for this reason.
    fn from(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Tls(error) => Self::Tls(*error),
            CloseReason::Truncated => Self::ClosedEarly,
            CloseReason::Deadline(_) => Self::TimedOut,
            CloseReason::Io(kind) => Self::from(&io::Error::from(*kind)),
            _ => Self::Cancelled,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("name not found"),
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Reset => f.write_str("connection reset"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Panicked => f.write_str("the handler panicked"),
            Self::Limit => f.write_str("too many connections"),
            Self::Invalid(why) => f.write_str(why),
            Self::Tls(error) => write!(f, "{error}"),
            Self::ClosedEarly => f.write_str("closed early, in the TLS handshake"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A listener or a datagram socket could not be had.
///
/// It prints as one line that names the address:
/// `cannot listen on 127.0.0.1:9002: address in use`.
#[derive(Debug)]
pub struct ListenError {
    pub(crate) address: String,
    pub(crate) error: io::Error,
}

impl ListenError {
    /// What was asked for, as it was written.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the system said.
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, describe(&self.error))
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// An I/O error in a few words: the kind's, where the system has nothing more to say.
///
/// ```
/// let error = std::io::Error::from_raw_os_error(98); // EADDRINUSE on Linux
/// # #[cfg(target_os = "linux")]
/// assert_eq!(reactor::describe(&error), "address in use");
/// let error = std::io::Error::from_raw_os_error(24); // EMFILE
/// assert_eq!(reactor::describe(&error), "too many open files");
/// ```
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        _ if error.raw_os_error().is_none() => error.to_string(),
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::InvalidInput => "invalid address".to_owned(),
        kind if has_name(kind) => kind.to_string(),
        _ => without_number(error.to_string()),
    }
}

/// The system's own words, without the number that the standard library puts behind them.
fn without_number(text: String) -> String {
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// Whether the standard library has a name for it: those without are told by the system's own text.
fn has_name(kind: io::ErrorKind) -> bool {
    !matches!(format!("{kind:?}").as_str(), "Uncategorized" | "Other")
}

/// How a loop stopped.
///
/// Every connection that was open when it was asked to is counted once, as drained or as forced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections whose queue was handed to the kernel in full, followed by FIN.
    pub drained: usize,
    /// Connections that ended otherwise: the grace had passed, the peer was gone, a handler aborted.
    pub forced: usize,
    /// Bytes that were queued for those, and were dropped.
    pub bytes_dropped: u64,
    /// How long it took.
    pub took: Duration,
}

impl ShutdownReport {
    /// Counts another loop's report in: sums, and the longer of the times.
    pub fn merge(&mut self, other: &ShutdownReport) {
        self.drained += other.drained;
        self.forced += other.forced;
        self.bytes_dropped += other.bytes_dropped;
        self.took = self.took.max(other.took);
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drained, forced, bytes_dropped, .. } = self;
        write!(f, "{drained} drained, {forced} forced, {bytes_dropped} bytes dropped")
    }
}
