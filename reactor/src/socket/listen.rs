//! Where to listen, for connections and for datagrams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::address::{Address, Target};
use super::options::{KeepAlive, StreamOptions, stream_option_methods};
use super::unix::SocketFile;
use crate::reason::ListenError;
use crate::tls::Server;

/// A listener as it is wished for: where, and with which options.
///
/// A string is the plainest: `"127.0.0.1:9002"`, `"[::]:0"` (IPv6 and IPv4, a free port) or
/// `"unix:/run/x.sock"`. A name is looked up when the listener is opened, which blocks.
///
/// ```
/// use reactor::Listen;
///
/// let listen = Listen::at("[::1]:0").backlog(64).only_v6(true);
/// let [listen] = &listen.open_for(1)?[..] else { unreachable!() };
/// assert_ne!(listen.address().unwrap().socket_address().unwrap().port(), 0);
/// # Ok::<(), reactor::ListenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Listen {
    place: Place,
    options: StreamOptions,
    backlog: u32,
    tls: Option<Server>,
}

/// A datagram socket as it is wished for: where, and with which options. Strings are as in [`Listen`].
///
/// ```
/// let bind = reactor::Bind::at("127.0.0.1:0").receive_buffer(1 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Bind {
    place: Place,
    options: StreamOptions,
}

/// What both kinds of bound socket have.
#[derive(Clone, Debug)]
struct Place {
    target: Target,
    reuse_address: bool,
    reuse_port: bool,
    only_v6: bool,
    unix_mode: u32,
    /// The socket itself, once it is open.
    open: Option<Arc<OpenSocket>>,
}

/// A bound socket, and the file that it made if it is a Unix one.
#[derive(Debug)]
pub(crate) struct OpenSocket {
    pub(crate) socket: Socket,
    pub(crate) address: Address,
    pub(crate) file: Option<Arc<SocketFile>>,
}

macro_rules! place_methods {
    () => {
        /// Whether a port that a former connection still occupies may be taken (`SO_REUSEADDR`).
        /// Default: yes for listeners, no for datagrams, where it would let two servers share a port.
        pub fn reuse_address(mut self, reuse: bool) -> Self {
            self.place.reuse_address = reuse;
            self
        }

        /// Whether other sockets of the same user may have the same port and share what arrives
        /// (`SO_REUSEPORT`). Default: no. For loops of one program, [`open_for`](Self::open_for) is
        /// better: it refuses an address that is in use.
        pub fn reuse_port(mut self, reuse: bool) -> Self {
            self.place.reuse_port = reuse;
            self
        }

        /// Whether an IPv6 address refuses IPv4 (`IPV6_V6ONLY`). Default: no, `[::]` serves both.
        pub fn only_v6(mut self, only: bool) -> Self {
            self.place.only_v6 = only;
            self
        }

        /// Permissions of a Unix socket's file. Default: 0o660.
        pub fn unix_mode(mut self, mode: u32) -> Self {
            self.place.unix_mode = mode;
            self
        }

        /// Where it is, once it is [open](Self::open_for): with the port that the system chose.
        pub fn address(&self) -> Option<&Address> {
            self.place.open.as_ref().map(|open| &open.address)
        }

        /// Where it is to be, for a driver that opens no socket of the system.
        #[cfg(feature = "sim")]
        pub(crate) fn target(&self) -> &Target {
            &self.place.target
        }

        /// Opens it now, for so many loops: the same description as often, each with its own socket.
        ///
        /// An IP socket is opened once for each, and the kernel shares out what arrives
        /// (`SO_REUSEPORT`); a Unix socket is duplicated, and the loops take turns. The address must be
        /// free: another program's socket on it is an error, also one that would share. (Later, a
        /// program of the same user that asks for `SO_REUSEPORT` itself can join; see socket(7).)
        ///
        /// # Errors
        /// The address and what the system said. No loops at all is `InvalidInput`.
        pub fn open_for(self, loops: usize) -> Result<Vec<Self>, ListenError> {
            let address = self.place.target.to_string();
            self.try_open_for(loops).map_err(|error| ListenError { address, error })
        }

        /// What is said when a loop that stops is asked to open it.
        pub(crate) fn refused_by_stopping_loop(&self) -> ListenError {
            let error = io::Error::other("the loop is stopping");
            ListenError { address: self.place.target.to_string(), error }
        }

        /// The socket itself, opened if it is not.
        pub(crate) fn open(self) -> Result<Arc<OpenSocket>, ListenError> {
            match self.place.open.clone() {
                Some(open) => Ok(open),
                None => {
                    let address = self.place.target.to_string();
                    self.try_open(false, None)
                        .map(Arc::new)
                        .map_err(|error| ListenError { address, error })
                }
            }
        }

        fn try_open_for(self, loops: usize) -> io::Result<Vec<Self>> {
            if loops == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "no loop to listen on"));
            }
            let shared = loops > 1 && !matches!(self.place.target, Target::Unix(_));
            let first = self.try_open(shared, None)?;
            let mut all = Vec::with_capacity(loops);
            for number in 0..loops {
                let open = match (number, &first.address) {
                    (0, _) => continue,
                    (_, Address::Ip(_)) => self.try_open(shared, Some(&first))?,
                    (_, Address::Unix(_)) => first.duplicate()?,
                };
                all.push(self.clone().with_open(open));
            }
            all.insert(0, self.with_open(first));
            Ok(all)
        }

        fn with_open(mut self, open: OpenSocket) -> Self {
            self.place.open = Some(Arc::new(open));
            self
        }
    };
}

impl Listen {
    /// At `HOST:PORT` or `unix:PATH`.
    pub fn at(target: impl Into<Target>) -> Self {
        Self {
            place: Place::new(target.into(), true),
            options: StreamOptions::default(),
            backlog: 1024,
            tls: None,
        }
    }

    /// Speaks TLS with who is accepted: a [`tls::Server`](crate::tls::Server), or a whole
    /// `Arc<rustls::ServerConfig>`. With the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, server: impl Into<Server>) -> Self {
        self.tls = Some(server.into());
        self
    }

    pub(crate) fn tls_server(&self) -> Option<&Server> {
        self.tls.as_ref()
    }

    /// How many clients may wait to be accepted; the system may cap it (`net.core.somaxconn`).
    /// Default: 1,024.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    #[cfg(feature = "sim")]
    pub(crate) fn backlog_size(&self) -> usize {
        usize::try_from(self.backlog).unwrap_or(usize::MAX)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn options(&self) -> &StreamOptions {
        &self.options
    }

    place_methods!();
    stream_option_methods!();

    fn try_open(&self, shared: bool, first: Option<&OpenSocket>) -> io::Result<OpenSocket> {
        let open = self.place.bind(Type::STREAM, shared, first, |socket, target| match target {
            Target::Unix(_) => self.options.apply_buffers(socket),
            _ => self.options.apply_tcp(socket),
        })?;
        open.socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(open)
    }
}

impl<T: Into<Target>> From<T> for Listen {
    fn from(target: T) -> Self {
        Self::at(target)
    }
}

impl Bind {
    /// At `HOST:PORT` or `unix:PATH`.
    pub fn at(target: impl Into<Target>) -> Self {
        Self { place: Place::new(target.into(), false), options: StreamOptions::default() }
    }

    /// Bytes of the kernel's send buffer (`SO_SNDBUF`, which Linux doubles).
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.send_buffer = Some(bytes);
        self
    }

    /// Bytes of the kernel's receive buffer (`SO_RCVBUF`, which Linux doubles).
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.receive_buffer = Some(bytes);
        self
    }

    #[cfg(feature = "sim")]
    pub(crate) fn options(&self) -> &StreamOptions {
        &self.options
    }

    place_methods!();

    fn try_open(&self, shared: bool, first: Option<&OpenSocket>) -> io::Result<OpenSocket> {
        self.place.bind(Type::DGRAM, shared, first, |socket, _| self.options.apply_buffers(socket))
    }
}

impl<T: Into<Target>> From<T> for Bind {
    fn from(target: T) -> Self {
        Self::at(target)
    }
}

impl Place {
    fn new(target: Target, reuse_address: bool) -> Self {
        Self {
            target,
            reuse_address,
            reuse_port: false,
            only_v6: false,
            unix_mode: 0o660,
            open: None,
        }
    }

    /// A bound, non-blocking socket. With `shared`, more may follow that name it as `first`.
    fn bind(
        &self,
        kind: Type,
        shared: bool,
        first: Option<&OpenSocket>,
        set_options: impl FnOnce(SockRef<'_>, &Target) -> io::Result<()>,
    ) -> io::Result<OpenSocket> {
        if let Target::Unix(path) = &self.target {
            let socket = Socket::new(Domain::UNIX, kind, None)?;
            socket.set_nonblocking(true)?;
            set_options(SockRef::from(&socket), &self.target)?;
            let file = SocketFile::bind(&socket, path, self.unix_mode)?;
            let address = Address::Unix(Some(path.as_path().into()));
            return Ok(OpenSocket { socket, address, file: Some(Arc::new(file)) });
        }
        let wanted = match first {
            Some(OpenSocket { address: Address::Ip(address), .. }) => *address,
            _ => self.target.resolve_now()?,
        };
        let socket = Socket::new(Domain::for_address(wanted), kind, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(self.reuse_address)?;
        if wanted.is_ipv6() {
            socket.set_only_v6(self.only_v6)?;
        }
        set_options(SockRef::from(&socket), &self.target)?;
        socket.set_reuse_port(self.reuse_port || first.is_some())?;
        socket.bind(&SockAddr::from(wanted))?;
        // Only now: whoever binds with it set would share the port with a stranger's socket.
        if shared {
            socket.set_reuse_port(true)?;
        }
        let bound = socket.local_addr()?.as_socket().unwrap_or(wanted);
        Ok(OpenSocket { socket, address: Address::Ip(bound), file: None })
    }
}

impl OpenSocket {
    /// The socket alone if nobody else holds it, else a duplicate.
    pub(crate) fn into_own(this: Arc<Self>) -> io::Result<Self> {
        Arc::try_unwrap(this).or_else(|shared| shared.duplicate())
    }

    fn duplicate(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            address: self.address.clone(),
            file: self.file.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn sockets_for_several_loops_share_a_port_that_nobody_else_can_have() {
        let all = Listen::at("127.0.0.1:0").open_for(3).unwrap();
        let address = all[0].address().unwrap().socket_address().unwrap();
        assert!(all.iter().all(|listen| listen.address() == all[0].address()));
        for stranger in [Listen::at(address).open_for(1), Listen::at(address).open_for(2)] {
            let text = stranger.unwrap_err().to_string();
            assert_eq!(text, format!("cannot listen on {address}: address in use"));
        }
        let _clients: Vec<_> = (0..30).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted = |listen: &Listen| {
            let open = listen.place.open.as_ref().unwrap();
            std::iter::from_fn(|| open.socket.accept().ok()).count()
        };
        let counts: Vec<_> = all.iter().map(accepted).collect();
        assert_eq!(counts.iter().sum::<usize>(), 30);
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }

    #[test]
    fn accepted_sockets_have_the_options_of_their_listener() {
        let listen = Listen::at("127.0.0.1:0")
            .keep_alive(KeepAlive::default())
            .user_timeout(Duration::from_secs(9))
            .receive_buffer(100_000);
        let open = listen.open().unwrap();
        let _client = TcpStream::connect(open.address.socket_address().unwrap()).unwrap();
        let (accepted, _) = open.socket.accept().unwrap();
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), KeepAlive::default().idle);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), KeepAlive::default().interval);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), KeepAlive::default().probes);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(9)));
        assert_eq!(accepted.recv_buffer_size().unwrap(), 200_000);
    }

    #[test]
    fn an_ipv6_wildcard_serves_ipv4_unless_told_otherwise() {
        let port = |open: &OpenSocket| open.address.socket_address().unwrap().port();
        let both = Listen::at("[::]:0").open().unwrap();
        TcpStream::connect(("127.0.0.1", port(&both))).unwrap();
        TcpStream::connect(("::1", port(&both))).unwrap();
        let one = Listen::at("[::]:0").only_v6(true).open().unwrap();
        TcpStream::connect(("::1", port(&one))).unwrap();
        assert!(TcpListener::bind(("127.0.0.1", port(&one))).is_ok());
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_a_live_one_is_not_and_the_file_goes_at_the_end() {
        let directory = std::env::temp_dir().join(format!("reactor-listen-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        let target = Target::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file: it is stale now");

        let open = Listen::at(target.clone()).open().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        for error in [
            Listen::at(target.clone()).open().unwrap_err(),
            Bind::at(target.clone()).open().unwrap_err(),
        ] {
            assert_eq!(error.io_error().kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().ends_with("/socket: address in use"), "{error}");
        }
        drop(open);
        assert!(!path.exists());

        std::fs::write(&path, "mine").unwrap();
        let error = Listen::at(target.clone()).open().unwrap_err();
        assert!(error.to_string().ends_with("the file exists and is not a socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        std::fs::remove_file(&path).unwrap();

        let first = Listen::at(target.clone()).open().unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = Listen::at(target).open().unwrap();
        drop(first);
        assert!(path.exists(), "the file is another's now");
        drop(second);
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn a_missing_directory_is_told() {
        let error = Listen::at("unix:/nonexistent/directory/socket").open().unwrap_err();
        let text = "cannot listen on unix:/nonexistent/directory/socket: no such file or directory";
        assert_eq!(error.to_string(), text);
    }
}
