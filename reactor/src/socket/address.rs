//! Addresses: of peers, of listeners, and as people write them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a socket is: an IP address and a port, or a path.
///
/// It prints as it is written on a command line: `127.0.0.1:9002`, `[::1]:9002`, `unix:/run/x.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP or UDP.
    Ip(SocketAddr),
    /// A Unix socket; a client's has no path as a rule.
    Unix(Option<Arc<Path>>),
}

impl Address {
    /// The IP address, for those that have one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// IP address and port, for those that have them.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    pub(crate) fn from_unix(address: &std::os::unix::net::SocketAddr) -> Self {
        Self::Unix(address.as_pathname().map(Arc::from))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// An address as it is written: `HOST:PORT`, where `HOST` may be a name, or `unix:PATH`.
///
/// ```
/// use reactor::Target;
///
/// assert_eq!(Target::from("[::1]:80"), Target::Ip("[::1]:80".parse().unwrap()));
/// assert_eq!(Target::from("localhost:80"), Target::Name("localhost:80".to_owned()));
/// assert_eq!(Target::from("unix:/run/x.sock"), Target::Unix("/run/x.sock".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A name and a port, yet to be looked up.
    Name(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Host name and port of a [`Name`](Target::Name).
    ///
    /// # Errors
    /// `InvalidInput`, with a text that names what was written, unless it is `HOST:PORT`.
    pub(crate) fn host_and_port(name: &str) -> io::Result<(&str, u16)> {
        let invalid = || {
            let text = format!("'{name}' is not HOST:PORT or unix:PATH");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let (host, port) = name.rsplit_once(':').ok_or_else(invalid)?;
        // A host with a colon is an IPv6 address without its brackets, and its last part no port.
        if host.is_empty() || host.contains([':', '[', ']', '/', '\0']) {
            return Err(invalid());
        }
        Ok((host, port.parse().map_err(|_| invalid())?))
    }

    /// The first address of an IP target; a name is looked up, which may take seconds.
    pub(crate) fn resolve_now(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Ip(address) => Ok(*address),
            Self::Name(name) => {
                let not_found = || io::Error::new(io::ErrorKind::NotFound, "name not found");
                let mut found =
                    Self::host_and_port(name)?.to_socket_addrs().map_err(|_| not_found())?;
                found.next().ok_or_else(not_found)
            }
            Self::Unix(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "a path is no IP address"))
            }
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match (text.strip_prefix("unix:"), text.parse()) {
            (Some(path), _) => Self::Unix(path.into()),
            (None, Ok(address)) => Self::Ip(address),
            (None, Err(_)) => Self::Name(text.to_owned()),
        }
    }
}

impl From<&String> for Target {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<&Address> for Target {
    fn from(address: &Address) -> Self {
        match address {
            Address::Ip(address) => Self::Ip(*address),
            Address::Unix(path) => Self::Unix(path.as_deref().unwrap_or(Path::new("")).into()),
        }
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        Self::from(&address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_by_its_name() {
        for text in ["", "localhost", ":80", "::1:80", "a:b", "a:70000", "a/b:1", "[::1]", "[x]:1"]
        {
            let Target::Name(name) = Target::from(text) else { panic!("{text} was taken") };
            let error = Target::host_and_port(&name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
        assert_eq!(Target::host_and_port("example.test:80").unwrap(), ("example.test", 80));
    }
}
