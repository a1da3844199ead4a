//! Where to connect to.

use std::time::Duration;

use super::address::Target;
use super::options::{KeepAlive, StreamOptions, stream_option_methods};

/// An outgoing connection as it is wished for: where to, how long to try, with which options.
///
/// ```
/// use reactor::Connect;
/// use std::time::Duration;
///
/// let plain: Connect = "localhost:9002".into();
/// let patient = Connect::to("unix:/run/x.sock").timeout(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct Connect {
    pub(crate) target: Target,
    pub(crate) timeout: Duration,
    pub(crate) options: StreamOptions,
}

impl Connect {
    /// To `HOST:PORT` or `unix:PATH`, for at most 10 s.
    pub fn to(target: impl Into<Target>) -> Self {
        Self {
            target: target.into(),
            timeout: Duration::from_secs(10),
            options: StreamOptions::default(),
        }
    }

    /// How long the look-up of the name and the attempts at its addresses may take together; each
    /// address has its share of what is left, so that a silent one does not use up the others' time.
    /// [`Duration::MAX`]: as long as the system tries.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    stream_option_methods!();
}

impl<T: Into<Target>> From<T> for Connect {
    fn from(target: T) -> Self {
        Self::to(target)
    }
}
