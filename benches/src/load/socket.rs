//! Where connections go, where they come from, and the sockets.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

use super::secure::{Tls, TlsStream};

/// Descriptors that are needed for other things than connections.
const DESCRIPTORS_OTHER: usize = 32;

/// The server: `HOST:PORT`, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("it has no path".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        let mut found = text.to_socket_addrs().map_err(|error| {
            format!("it is no HOST:PORT and no unix:PATH that can be found: {error}")
        })?;
        found.next().map(Self::Ip).ok_or_else(|| "the name has no address".to_owned())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Addresses that connections come from, in turn. One address has about 28,000 ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// As the system likes.
    Any,
    /// So many IPv4 addresses from this one on; of the loopback network any can be had.
    Range { first: Ipv4Addr, count: u32 },
}

impl Sources {
    fn pick(&self, number: usize) -> Option<SocketAddr> {
        match *self {
            Self::Any => None,
            Self::Range { first, count } => {
                let step = u32::try_from(number % usize::try_from(count.max(1)).unwrap_or(1));
                let address = u32::from(first).wrapping_add(step.unwrap_or(0));
                Some((IpAddr::V4(address.into()), 0).into())
            }
        }
    }
}

/// How many connections one process can hold: its descriptor limit, which is raised as far as it goes, less
/// what else is open.
pub fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.saturating_sub(DESCRIPTORS_OTHER)
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

/// Begins to connect; `WouldBlock` says that there is no room in the server's backlog.
pub(super) fn connect(
    target: &Target,
    sources: &Sources,
    tls: Option<&Tls>,
    number: usize,
) -> io::Result<Stream> {
    let address = match target {
        Target::Unix(path) => return UnixStream::connect(path).map(Stream::Unix),
        Target::Ip(address) => *address,
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = sources.pick(number).filter(|_| address.is_ipv4()) {
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => {
            let stream = TcpStream::from_std(socket.into());
            match tls {
                Some(tls) => Ok(Stream::Tls(Box::new(tls.begin(stream)?))),
                None => Ok(Stream::Tcp(stream)),
            }
        }
    }
}

impl Stream {
    /// Whether the connection stands by now.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Self::Tcp(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
            Self::Tls(tls) => (tls.stream.take_error()?, tls.stream.peer_addr().map(drop)),
            Self::Unix(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            (None, peer) => peer.map(|()| true),
        }
    }

    /// Sends FIN.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(tls) => {
                tls.say_close_notify()?;
                tls.stream.shutdown(Shutdown::Write)
            }
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// It is to be dropped: the last word of TLS, if it is spoken.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Tls(tls) = self {
            let _ = tls.say_close_notify(); // who is gone need not hear it
        }
    }

    /// Dropping it will send RST; a Unix socket has none.
    pub(super) fn reset_on_drop(&self) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(tls) => &tls.stream,
            Self::Unix(_) => return,
        };
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }

    /// Whether a read that does not fill the room has found all that there was.
    pub(super) fn short_read_empties(&self) -> bool {
        !matches!(self, Self::Tls(_))
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(room),
            Self::Tls(tls) => tls.read(room),
            Self::Unix(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(tls) => tls.flush(),
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }
}

impl Stream {
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Tls(tls) => tls.stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_the_servers_print_them() {
        let ip = Target::Ip(([127, 0, 0, 1], 9002).into());
        for text in ["127.0.0.1:9002", "tcp://127.0.0.1:9002"] {
            assert_eq!(text.parse(), Ok(ip.clone()));
        }
        assert_eq!("unix:/x".parse(), Ok(Target::Unix("/x".into())));
        for text in ["", "127.0.0.1", "unix:", "127.0.0.1:99999"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn sources_come_in_turn() {
        let sources = Sources::Range { first: Ipv4Addr::new(127, 0, 0, 255), count: 2 };
        let picked: Vec<String> = (0..3)
            .filter_map(|number| sources.pick(number))
            .map(|it| it.ip().to_string())
            .collect();
        assert_eq!(picked, ["127.0.0.255", "127.0.1.0", "127.0.0.255"]);
        assert_eq!(Sources::Any.pick(5), None);
    }
}
