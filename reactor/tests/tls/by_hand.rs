//! A TLS client that does nothing by itself: blocking, one step at a time, and as awkward as it is asked to be.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use reactor::tls::Server;
use reactor::{Config, Driver, Handler, Listen, Reactor, Service, ServiceConfig};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection, SupportedProtocolVersion};

use crate::certificates::{Answer, NAME};
use crate::support::{PATIENCE, Probe};

/// A loop on real sockets with one probe that listens with TLS, and where.
pub(crate) fn serve(
    probe: Probe,
    config: Config,
    server: Server,
) -> (Reactor, Service<Probe>, SocketAddr) {
    let mut reactor = Reactor::with_config(config).unwrap();
    let service = reactor.add_with(probe, ServiceConfig::new());
    let listen = Listen::at("127.0.0.1:0").tls(server);
    let address = reactor.listen(&service, listen).unwrap().address;
    (reactor, service, address.socket_address().unwrap())
}

/// Turns until the other side, in a thread of its own, has come to its end.
pub(crate) fn beside<D: Driver, T: Send + 'static>(
    reactor: &mut Reactor<D>,
    client: impl FnOnce() -> T + Send + 'static,
) -> T {
    let until = Instant::now() + PATIENCE;
    let client = thread::spawn(client);
    while !client.is_finished() {
        assert!(Instant::now() < until, "the other side does not come to an end");
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
    client.join().unwrap()
}

/// Turns until something is so of the handler.
pub(crate) fn turn_until<D: Driver, H: Handler>(
    reactor: &mut Reactor<D>,
    service: &Service<H>,
    is_so: impl FnMut(&H) -> bool,
) {
    crate::support::turn_until(reactor, service, is_so);
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) struct ByHand {
    pub(crate) stream: TcpStream,
    pub(crate) tls: ClientConnection,
    /// What leaves leaves in pieces of this size, each in a segment of its own.
    pub(crate) piece: usize,
}

impl ByHand {
    /// Connected, and nothing said yet.
    pub(crate) fn new(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self::over(tcp(address), config)
    }

    pub(crate) fn over(stream: TcpStream, config: Arc<ClientConfig>) -> Self {
        let tls = ClientConnection::new(config, ServerName::try_from(NAME).unwrap()).unwrap();
        Self { stream, tls, piece: usize::MAX }
    }

    /// With the handshake behind it.
    pub(crate) fn shaken(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let mut client = Self::new(address, config);
        client.shake_hands().unwrap();
        client
    }

    /// All that is to leave, as bytes.
    pub(crate) fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let bytes = self.outgoing();
        for piece in bytes.chunks(self.piece) {
            self.stream.write_all(piece)?;
        }
        Ok(())
    }

    /// Reads once and looks at it. Whether it was the FIN.
    pub(crate) fn hear(&mut self) -> io::Result<bool> {
        let count = self.tls.read_tls(&mut self.stream)?;
        self.tls
            .process_new_packets()
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(count == 0)
    }

    /// All but the last flight of ours, which stays unsent.
    pub(crate) fn shake_hands_unsent(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.flush()?;
            if self.hear()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() || self.tls.wants_write() {
            self.flush()?;
            if self.tls.is_handshaking() && self.hear()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Seals and sends.
    pub(crate) fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.tls.writer().write(bytes)?;
            bytes = &bytes[count..];
            self.flush()?;
        }
        Ok(())
    }

    /// Exactly so many bytes of plaintext.
    pub(crate) fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.tls.reader().read(&mut bytes[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.hear()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// All plaintext until close_notify; an error if FIN comes without it. And the FIN must come too.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let mut room = [0; 4096];
            match self.tls.reader().read(&mut room) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.hear()?;
                }
                Err(error) => return Err(error),
            }
        }
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        assert!(rest.is_empty(), "{} bytes follow close_notify", rest.len());
        Ok(bytes)
    }

    /// Says close_notify and FIN.
    pub(crate) fn finish(&mut self) {
        self.tls.send_close_notify();
        self.flush().unwrap();
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// The lengths of the records in what was written, as their heads tell them.
pub(crate) fn record_lengths(mut raw: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = raw {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        raw = rest.get(length..).unwrap_or_default();
    }
    lengths
}

/// A server by hand, for outgoing connections.
pub(crate) struct Serving {
    pub(crate) stream: TcpStream,
    pub(crate) tls: ServerConnection,
}

impl Serving {
    /// Accepts one client, and shakes hands with it.
    pub(crate) fn accept(
        listener: &TcpListener,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut serving = Self::new(listener, version);
        while serving.tls.is_handshaking() || serving.tls.wants_write() {
            serving.flush();
            if serving.tls.is_handshaking() {
                serving.hear().unwrap();
            }
        }
        serving
    }

    pub(crate) fn new(listener: &TcpListener, version: &'static SupportedProtocolVersion) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = Answer::default().config(&[version]);
        Self { stream, tls: ServerConnection::new(Arc::new(config)).unwrap() }
    }

    pub(crate) fn flush(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).unwrap();
        }
    }

    pub(crate) fn hear(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.stream)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.tls
            .process_new_packets()
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(())
    }

    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            match self.tls.reader().read_to_end(&mut bytes) {
                Ok(_) => return bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.hear().unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn say(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.tls.writer().write(bytes).unwrap();
            bytes = &bytes[count..];
            self.flush();
        }
    }

    pub(crate) fn finish(&mut self) {
        self.tls.send_close_notify();
        self.flush();
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}
