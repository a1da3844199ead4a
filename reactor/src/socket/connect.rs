//! Where to connect to.

use std::time::Duration;

use super::address::Target;
use super::options::{KeepAlive, StreamOptions, stream_option_methods};
use crate::tls::Client;

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
    pub(crate) tls: Option<Client>,
    server_name: Option<String>,
}

impl Connect {
    /// To `HOST:PORT` or `unix:PATH`, for at most 10 s.
    pub fn to(target: impl Into<Target>) -> Self {
        Self {
            target: target.into(),
            timeout: Duration::from_secs(10),
            options: StreamOptions::default(),
            tls: None,
            server_name: None,
        }
    }

    /// How long the look-up of the name and the attempts at its addresses may take together; each
    /// address has its share of what is left, so that a silent one does not use up the others' time.
    /// [`Duration::MAX`]: as long as the system tries.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Speaks TLS: a [`tls::Client`](crate::tls::Client), or a whole `Arc<rustls::ClientConfig>`. The server's
    /// certificate must be good for the host that is connected to, be it a name or an IP address, unless another
    /// is [named](Self::server_name). With the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, client: impl Into<Client>) -> Self {
        self.tls = Some(client.into());
        self
    }

    /// The name that the server is asked for (SNI), **and that its certificate must be good for**, in place of the
    /// host that is connected to. A Unix socket needs one. With the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Whose certificate the server is to have: empty for a Unix socket, unless it is named.
    pub(crate) fn name_of_server(&self) -> String {
        match (&self.server_name, &self.target) {
            (Some(name), _) => name.clone(),
            (None, Target::Ip(address)) => address.ip().to_string(),
            (None, Target::Name(name)) => Target::host_and_port(name)
                .map_or_else(|_| String::new(), |(host, _)| host.to_owned()),
            (None, Target::Unix(_)) => String::new(),
        }
    }

    stream_option_methods!();
}

impl<T: Into<Target>> From<T> for Connect {
    fn from(target: T) -> Self {
        Self::to(target)
    }
}
