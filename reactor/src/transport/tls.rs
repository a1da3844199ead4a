//! The state machine of TLS: ciphertext in, plaintext out; plaintext in, ciphertext out. It knows no socket, no
//! clock and no handler.
//!
//! All calls to rustls's connections stand here.
//!
//! ```text
//!            +--------+ first byte +-------+ whole  +---------+ begin +------+
//! accept --> | Silent |----------->| Hello |------->| Greeted |------>|      |
//!            +--------+            +-------+        +---------+       | Live |
//! connect ----------------------------------------------------------->|      |
//!                    any of them --> Refused (an alert is left)       +------+
//! ```

use std::io::{self, IoSlice, Read, Write};

use rustls::pki_types::ServerName;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{
    CertificateError, ClientConnection, Connection, Error, HandshakeKind, ProtocolVersion,
};

use super::heads::Heads;
use super::{Fed, Handshake, Outlet, Plaintext};
use crate::reason::{CertificateFault, TlsError};
use crate::tls::{Client, Info, Server, Version};
use crate::write_queue::WriteQueue;

pub(crate) struct Tls {
    session: Session,
    /// The name of the server that we asked for.
    asked: Box<str>,
    /// Bytes at the front of the connection's queue that are sealed already, and whose ciphertext has not left.
    /// They stay in the queue until it has, so that all that counts the queue counts them.
    sealed: usize,
    /// Ciphertext for which rustls has no room before its plaintext is read. Rare: the loop reads no more than it
    /// has room for, but a record that was begun before may come on top.
    unfed: Vec<u8>,
    /// Bytes that may be sealed and have not left.
    limit: usize,
    /// What goes by until the handshake is over.
    heads: Heads,
    /// There may be plaintext, or its end, that nobody has read.
    news: bool,
    /// It is broken: nothing more is fed to it.
    failed: bool,
}

enum Session {
    /// A client that has not said anything. It costs next to nothing.
    Silent(Server),
    /// A client whose first message is not whole.
    Hello(Box<(Acceptor, Server)>),
    /// Its first message is whole.
    Greeted(Box<(Accepted, Server)>),
    Live(Box<Connection>),
    /// It never came to be live. What is left to say.
    Refused(Vec<u8>),
}

/// However low the high mark is, a whole record may be sealed.
const SEALED_MIN: usize = 16 * 1024;
/// However high it is: so many whole records leave in one system call.
const SEALED_MAX: usize = 64 * SEALED_MIN;

/// The types of TLS records: what else comes first is no TLS.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;
/// The fatal alert protocol_version: what begins with none of them may be SSL 2.
const NO_SUCH_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

impl Tls {
    /// A client has come.
    pub(crate) fn accept(server: Server, limit: usize) -> Self {
        Self::new(Session::Silent(server), limit)
    }

    /// We come as a client, to a server of this name.
    pub(crate) fn connect(client: &Client, name: &str, limit: usize) -> Result<Self, TlsError> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Internal)?;
        let connection =
            ClientConnection::new(client.config(), server).map_err(|error| fault(&error))?;
        let mut tls = Self::new(Session::Refused(Vec::new()), limit);
        tls.asked = name.into();
        tls.live(Connection::Client(connection));
        Ok(tls)
    }

    /// Whether a server can have this name.
    pub(crate) fn is_fit_for(name: &str) -> bool {
        ServerName::try_from(name).is_ok()
    }

    fn live(&mut self, mut connection: Connection) {
        connection.set_buffer_limit(Some(self.limit));
        self.session = Session::Live(Box::new(connection));
    }

    fn new(session: Session, limit: usize) -> Self {
        let limit = limit.clamp(SEALED_MIN, SEALED_MAX);
        Self {
            session,
            asked: Box::default(),
            sealed: 0,
            unfed: Vec::new(),
            limit,
            heads: Heads::default(),
            news: false,
            failed: false,
        }
    }

    pub(crate) fn handshake(&self) -> Handshake {
        match &self.session {
            Session::Greeted(_) => Handshake::Greeted,
            Session::Live(connection) if !connection.is_handshaking() => Handshake::Done,
            _ => Handshake::UnderWay,
        }
    }

    /// The answer to a client that has greeted: what is costly begins.
    pub(crate) fn begin(&mut self) -> Result<(), TlsError> {
        let session = std::mem::replace(&mut self.session, Session::Refused(Vec::new()));
        let (accepted, server) = match session {
            Session::Greeted(greeted) => *greeted,
            other => {
                self.session = other;
                return Ok(());
            }
        };
        match accepted.into_connection(server.current()) {
            Ok(connection) => {
                self.live(Connection::Server(connection));
                self.process()?;
                let unfed = std::mem::take(&mut self.unfed);
                self.feed_live(&unfed, &mut []).1
            }
            Err((error, alert)) => Err(self.refuse(&error, alert)),
        }
    }

    /// What was agreed on; asked once, when the handshake is over.
    pub(crate) fn info(&mut self) -> Option<Info> {
        let Session::Live(connection) = &self.session else { return None };
        let server_name = match &**connection {
            Connection::Server(server) => server.server_name().unwrap_or_default().into(),
            Connection::Client(_) => std::mem::take(&mut self.asked),
        };
        let suite = connection.negotiated_cipher_suite()?;
        let certificates = connection.peer_certificates().unwrap_or_default();
        Some(Info {
            version: match connection.protocol_version()? {
                ProtocolVersion::TLSv1_2 => Version::Tls12,
                _ => Version::Tls13,
            },
            cipher_suite: suite.suite().as_str().unwrap_or("unknown"),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: connection.alpn_protocol().unwrap_or_default().into(),
            server_name,
            peer_certificates: certificates.iter().map(|der| der.as_ref().into()).collect(),
        })
    }

    /// Whether there may be something to [`read`](Self::read) without feeding anything.
    pub(crate) fn holds_news(&self) -> bool {
        self.news
    }

    /// Moves plaintext that is there into `room`, which is not empty; and what was wrong behind it.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> (Plaintext, Result<(), TlsError>) {
        let Session::Live(connection) = &mut self.session else {
            return (Plaintext::Nothing, Ok(()));
        };
        match connection.reader().read(room) {
            Ok(0) => (Plaintext::Ended, Ok(())),
            Ok(count) => (Plaintext::Bytes(count), Ok(())),
            Err(_) => {
                self.news = false;
                if self.unfed.is_empty() {
                    return (Plaintext::Nothing, Ok(()));
                }
                let unfed = std::mem::take(&mut self.unfed);
                match self.feed_live(&unfed, room) {
                    (0, result) => (Plaintext::Nothing, result),
                    (count, result) => (Plaintext::Bytes(count), result),
                }
            }
        }
    }

    /// Takes all of `cipher`, and moves as much plaintext into `room` as it holds; the rest is kept.
    pub(crate) fn feed(&mut self, cipher: &[u8], room: &mut [u8]) -> Fed {
        if self.failed {
            return (0, Ok(()));
        }
        if self.handshake() == Handshake::Done {
            return self.feed_live(cipher, room);
        }
        if let Session::Silent(server) = &self.session {
            match cipher.first() {
                Some(first) if RECORD_TYPES.contains(first) => {
                    let hello = (Acceptor::default(), server.clone());
                    self.session = Session::Hello(Box::new(hello));
                }
                first => return (0, Err(self.is_no_tls(first))),
            }
        }
        if self.heads.tell_of_close_notify(cipher) {
            self.failed = true;
            return (0, Err(TlsError::Alert(0)));
        }
        match &self.session {
            Session::Live(_) => self.feed_live(cipher, room),
            Session::Hello(_) => (0, self.feed_hello(cipher)),
            _ => {
                self.unfed.extend_from_slice(cipher);
                (0, Ok(()))
            }
        }
    }

    fn feed_hello(&mut self, mut cipher: &[u8]) -> Result<(), TlsError> {
        while !cipher.is_empty() {
            let Session::Hello(hello) = &mut self.session else { break };
            if let Err(error) = hello.0.read_tls(&mut cipher) {
                log::debug!("a TLS client's first message is refused: {error}");
                self.failed = true;
                return Err(TlsError::Malformed);
            }
            match hello.0.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => self.greeted(accepted, std::mem::take(&mut cipher)),
                Err((error, alert)) => return Err(self.refuse(&error, alert)),
            }
        }
        Ok(())
    }

    fn greeted(&mut self, accepted: Accepted, rest: &[u8]) {
        self.unfed.extend_from_slice(rest);
        let session = std::mem::replace(&mut self.session, Session::Refused(Vec::new()));
        if let Session::Hello(hello) = session {
            self.session = Session::Greeted(Box::new((accepted, hello.1)));
        }
    }

    fn feed_live(&mut self, mut cipher: &[u8], room: &mut [u8]) -> Fed {
        let mut filled = 0;
        while !cipher.is_empty() {
            let Session::Live(connection) = &mut self.session else { break };
            match connection.read_tls(&mut cipher) {
                Ok(0) => break, // after close_notify: what follows counts for nothing
                Ok(_) => {}
                // Its buffer of plaintext is full: that is not fatal, but must be read first.
                Err(error) if error.kind() == io::ErrorKind::Other => {
                    self.unfed = cipher.to_vec();
                    break;
                }
                Err(error) => {
                    log::debug!("TLS fails: {error}");
                    self.failed = true;
                    return (filled, Err(TlsError::Malformed));
                }
            }
            let result = self.process();
            filled += self.take(room.get_mut(filled..).unwrap_or_default());
            if result.is_err() {
                return (filled, result);
            }
        }
        (filled, Ok(()))
    }

    /// Decrypts what has been fed. After an error it is never called again.
    fn process(&mut self) -> Result<(), TlsError> {
        let Session::Live(connection) = &mut self.session else { return Ok(()) };
        match connection.process_new_packets() {
            Ok(state) => {
                self.news |= state.plaintext_bytes_to_read() > 0 || state.peer_has_closed();
                Ok(())
            }
            Err(error) => {
                log::debug!("TLS fails: {error}");
                self.failed = true;
                self.news = true; // what came before it is still good
                Err(fault(&error))
            }
        }
    }

    /// Moves plaintext into `room`, which may be empty.
    fn take(&mut self, room: &mut [u8]) -> usize {
        match &mut self.session {
            Session::Live(connection) if self.news && !room.is_empty() => {
                connection.reader().read(room).unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn is_no_tls(&mut self, first: Option<&u8>) -> TlsError {
        self.failed = true;
        // A method of HTTP is in capitals, and no other protocol that comes here by mistake speaks first.
        match first {
            Some(b'A'..=b'Z') => TlsError::PlainHttp,
            _ => {
                self.session = Session::Refused(NO_SUCH_VERSION.to_vec());
                TlsError::NotTls
            }
        }
    }

    fn refuse(&mut self, error: &Error, mut alert: AcceptedAlert) -> TlsError {
        log::debug!("a TLS client is refused: {error}");
        let mut farewell = Vec::new();
        if alert.write_all(&mut farewell).is_err() {
            farewell.clear();
        }
        self.session = Session::Refused(farewell);
        self.failed = true;
        fault(error)
    }

    /// Whether it has failed, so that nothing is fed to it any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.failed
    }

    /// Whether ciphertext waits to leave.
    pub(crate) fn wants_write(&self) -> bool {
        match &self.session {
            Session::Live(connection) => connection.wants_write(),
            Session::Refused(farewell) => !farewell.is_empty(),
            Session::Silent(_) | Session::Hello(_) | Session::Greeted(_) => false,
        }
    }

    /// Seals what is queued and is not sealed yet, in as few records as can be, and no more than the limit allows. If
    /// that is the `last`, close_notify leaves with it.
    pub(crate) fn seal(&mut self, queue: &WriteQueue, last: bool) -> io::Result<()> {
        let Session::Live(connection) = &mut self.session else { return Ok(()) };
        if self.failed {
            return Ok(()); // which was an end already
        }
        if self.sealed < queue.len() {
            let taken = queue
                .lend_behind(self.sealed, |slices| connection.writer().write_vectored(slices))?;
            if taken == 0 && !connection.wants_write() {
                return Err(io::ErrorKind::WriteZero.into()); // the keys are worn out
            }
            self.sealed += taken;
        }
        if last && self.sealed == queue.len() {
            connection.send_close_notify(); // once, however often it is asked for
        }
        Ok(())
    }

    /// Writes ciphertext, once: `write` makes the call. What has left is dropped from the queue.
    pub(crate) fn write(
        &mut self,
        queue: &mut WriteQueue,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut outlet = Outlet { write, left: 0 };
        match &mut self.session {
            Session::Live(connection) => {
                connection.write_tls(&mut outlet)?;
            }
            Session::Refused(farewell) => {
                let count = outlet.write(farewell)?;
                farewell.drain(..count.min(farewell.len()));
            }
            Session::Silent(_) | Session::Hello(_) | Session::Greeted(_) => {}
        }
        // A record is longer than what is in it: so much of the plaintext, at least, has left.
        let left = self.sealed.min(outlet.left);
        queue.consume((self.sealed - left).min(queue.len()));
        self.sealed = left;
        Ok(())
    }
}

impl<W: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for Outlet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = (self.write)(slices)?;
        if written == 0 && offered > 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.left = offered.saturating_sub(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error of rustls in our own words.
fn fault(error: &Error) -> TlsError {
    match error {
        Error::AlertReceived(alert) => TlsError::Alert(u8::from(*alert)),
        Error::InvalidCertificate(error) => TlsError::Certificate(certificate_fault(error)),
        Error::NoCertificatesPresented => TlsError::NoCertificate,
        Error::PeerIncompatible(_) => TlsError::Incompatible,
        Error::NoApplicationProtocol => TlsError::NoCommonProtocol,
        Error::DecryptError => TlsError::Undecryptable,
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => TlsError::Malformed,
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => TlsError::Misbehaved,
        _ => TlsError::Internal,
    }
}

fn certificate_fault(error: &CertificateError) -> CertificateFault {
    use CertificateError as Of;
    match error {
        Of::Expired | Of::ExpiredContext { .. } => CertificateFault::Expired,
        Of::NotValidYet | Of::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        Of::UnknownIssuer => CertificateFault::UnknownIssuer,
        Of::NotValidForName | Of::NotValidForNameContext { .. } => CertificateFault::WrongName,
        Of::Revoked => CertificateFault::Revoked,
        Of::InvalidPurpose | Of::InvalidPurposeContext { .. } => CertificateFault::WrongPurpose,
        Of::BadSignature => CertificateFault::BadSignature,
        _ => CertificateFault::Unusable,
    }
}
