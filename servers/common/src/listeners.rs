//! Listeners: all opened before anything else happens, and told on stdout once they are served.

use std::io;

use reactor::tls::Server;
use reactor::{Address, Bind, Handler, Listen, Reactor, Service, Target, describe};

use crate::address::ListenAddress;
use crate::escape::Escaped;
use crate::failure::Failure;
use crate::options::ServerOptions;

/// What one loop serves: its share of every listener.
pub(crate) type Share = Vec<Socket>;

/// A socket that is open.
pub(crate) enum Socket {
    Stream { listen: Listen, has_tls: bool },
    Datagram(Bind),
}

/// Everything that `--listen` asked for.
pub(crate) struct Listeners {
    /// One for each loop.
    pub(crate) shares: Vec<Share>,
    /// What stdout is told, in order.
    pub(crate) ready_lines: Vec<String>,
}

impl Listeners {
    /// Opens them all, or none.
    pub(crate) fn open(options: &ServerOptions) -> Result<Self, Failure> {
        let loops = usize::from(options.loops);
        let mut listeners =
            Self { shares: (0..loops).map(|_| Share::new()).collect(), ready_lines: Vec::new() };
        for address in &options.listen {
            let sockets = open(address, options, loops)?;
            listeners.ready_lines.extend(sockets.first().map(Socket::ready_line));
            for (share, socket) in listeners.shares.iter_mut().zip(sockets) {
                share.push(socket);
            }
        }
        Ok(listeners)
    }

    /// From now on all that is TCP speaks TLS, and says so. With the port of the first that does.
    pub(crate) fn speak_tls(&mut self, server: &Server) -> Option<u16> {
        for socket in self.shares.iter_mut().flatten() {
            socket.speak_tls(server);
        }
        let sockets = self.shares.first()?;
        self.ready_lines = sockets.iter().map(Socket::ready_line).collect();
        sockets.iter().find_map(Socket::tls_port)
    }
}

/// Datagrams are for services that have them.
pub(crate) fn check_kinds(options: &ServerOptions, datagrams: bool) -> Result<(), Failure> {
    match options.listen.iter().find(|address| !datagrams && is_datagram(address)) {
        Some(address) => {
            Err(Failure::usage(format!("--listen {address}: this service has no datagrams")))
        }
        None => Ok(()),
    }
}

fn is_datagram(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Datagram(_))
}

/// The same address for each loop.
fn open(
    address: &ListenAddress,
    options: &ServerOptions,
    loops: usize,
) -> Result<Vec<Socket>, Failure> {
    Ok(match address {
        ListenAddress::Stream(target) => {
            let listens = listen_at(target, options).open_for(loops)?.into_iter();
            listens.map(|listen| Socket::Stream { listen, has_tls: false }).collect()
        }
        ListenAddress::Datagram(target) => {
            let bind = Bind::at(target.clone());
            // The library does not write what kind it is; our addresses do.
            let binds = bind.open_for(loops).map_err(|error| {
                Failure::run(format!("cannot listen on {address}: {}", describe(error.io_error())))
            })?;
            binds.into_iter().map(Socket::Datagram).collect()
        }
    })
}

/// A backlog of 0 is no limit, as everywhere: the system's own remains.
pub(crate) fn listen_at(target: &Target, options: &ServerOptions) -> Listen {
    let backlog = match options.backlog {
        0 => u32::MAX,
        backlog => backlog,
    };
    Listen::at(target.clone()).backlog(backlog)
}

impl Socket {
    fn speak_tls(&mut self, server: &Server) {
        if let Self::Stream { listen, has_tls } = self
            && matches!(listen.address(), Some(Address::Ip(_)))
        {
            (*listen, *has_tls) = (listen.clone().tls(server.clone()), true);
        }
    }

    fn ready_line(&self) -> String {
        match self {
            Self::Stream { listen, has_tls: true } => ready_line("tls", listen.address()),
            Self::Stream { listen, has_tls: false } => ready_line("tcp", listen.address()),
            Self::Datagram(bind) => ready_line("udp", bind.address()),
        }
    }

    fn tls_port(&self) -> Option<u16> {
        match self {
            Self::Stream { listen, has_tls: true } => {
                listen.address()?.socket_address().map(|address| address.port())
            }
            _ => None,
        }
    }
}

/// What stdout is told of an open socket: one line, whatever a path holds.
pub(crate) fn ready_line(scheme: &str, address: Option<&Address>) -> String {
    match address {
        Some(Address::Ip(address)) => format!("listening on {scheme}://{address}"),
        Some(Address::Unix(Some(path))) => {
            format!("listening on unix://{}", Escaped(path.display()))
        }
        Some(Address::Unix(None)) | None => format!("listening on {scheme}://"),
    }
}

/// Gives a loop its share.
pub(crate) fn attach<H: Handler>(
    reactor: &mut Reactor,
    service: &Service<H>,
    share: Share,
) -> io::Result<()> {
    for socket in share {
        let attached = match socket {
            Socket::Stream { listen, .. } => reactor.listen(service, listen).map(drop),
            Socket::Datagram(bind) => reactor.bind(service, bind).map(drop),
        };
        attached.map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::parse;

    #[test]
    fn a_ready_line_tells_the_scheme_and_the_place() {
        let line = |scheme, text: &str| {
            let address = match Target::from(text) {
                Target::Ip(address) => Address::Ip(address),
                Target::Unix(path) => Address::Unix(Some(path.into())),
                Target::Name(name) => panic!("{name} is a name"),
            };
            ready_line(scheme, Some(&address))
        };
        assert_eq!(line("tcp", "127.0.0.1:1"), "listening on tcp://127.0.0.1:1");
        assert_eq!(line("tcp", "[::1]:9002"), "listening on tcp://[::1]:9002");
        assert_eq!(line("udp", "127.0.0.1:1"), "listening on udp://127.0.0.1:1");
        assert_eq!(line("tcp", "unix:/run/x.sock"), "listening on unix:///run/x.sock");
        assert_eq!(line("tcp", "unix:x.sock"), "listening on unix://x.sock");
        assert_eq!(line("tcp", "unix:/a\nb"), r"listening on unix:///a\nb");
    }

    #[test]
    fn an_error_names_a_datagram_listener_as_it_was_given() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = format!("udp:{}", taken.local_addr().unwrap());
        for loops in ["1", "2"] {
            let options = parse(&["--loops", loops, "--listen", &address]).unwrap();
            let failure = Listeners::open(&options).err().unwrap();
            let text = format!("error: cannot listen on {address}: address in use");
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn each_loop_has_a_share_of_each_listener_and_each_listener_one_line() {
        let options = parse(&[
            "--loops=3",
            "--listen=127.0.0.1:0",
            "--listen=udp:127.0.0.1:0",
            "--listen=[::1]:0",
        ])
        .unwrap();
        let listeners = Listeners::open(&options).unwrap();
        assert_eq!(listeners.shares.len(), 3);
        assert!(listeners.shares.iter().all(|share| share.len() == 3));
        let schemes: Vec<_> =
            listeners.ready_lines.iter().map(|line| line.rsplit_once(':').unwrap().0).collect();
        assert_eq!(
            schemes,
            [
                "listening on tcp://127.0.0.1",
                "listening on udp://127.0.0.1",
                "listening on tcp://[::1]"
            ]
        );
    }

    #[test]
    fn datagrams_are_refused_where_the_service_has_none() {
        let options = parse(&["--listen=udp:127.0.0.1:0"]).unwrap();
        let failure = check_kinds(&options, false).unwrap_err();
        assert!(check_kinds(&options, true).is_ok());
        assert_eq!(
            failure,
            Failure::usage("--listen udp:127.0.0.1:0: this service has no datagrams")
        );
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_with_one_loop_and_with_two() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        for loops in ["1", "2"] {
            let options = parse(&["--loops", loops, "--listen", &address.to_string()]).unwrap();
            let failure = Listeners::open(&options).err().unwrap();
            let text = format!("error: cannot listen on {address}: address in use");
            assert_eq!(failure.to_string(), text);
        }
    }
}
