//! TLS for the clients, by rustls itself: what is measured must not measure with its own loop.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::TcpStream;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore};

/// How clients speak TLS: to a server for `localhost`, with X25519 alone, since not every server has the key
/// exchange that is for after quantum computers.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    full: AtomicU64,
    resumed: AtomicU64,
}

impl Tls {
    /// Trusts who is signed by a certificate in this file. If it `resumes`, handshakes are full only while there is
    /// no ticket, which is at the beginning: a server gives at least one for each that it takes.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn new(authority: &Path, resumes: bool) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).map_err(io::Error::other)? {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = match resumes {
            true => Resumption::store(Arc::new(Stack::default())),
            false => Resumption::disabled(),
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        Ok(Self { config: Arc::new(config), name, counts: Arc::default() })
    }

    /// How many handshakes were full, and how many resumed a session.
    pub fn handshakes(&self) -> (u64, u64) {
        let Counts { full, resumed } = &*self.counts;
        (full.load(Ordering::Relaxed), resumed.load(Ordering::Relaxed))
    }

    pub(super) fn begin(&self, stream: TcpStream) -> io::Result<TlsStream> {
        let session = ClientConnection::new(self.config.clone(), self.name.clone());
        let (session, counts) = (session.map_err(io::Error::other)?, Some(self.counts.clone()));
        Ok(TlsStream { stream, session, counts })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// A stream of plaintext over one that does not block.
pub(super) struct TlsStream {
    pub(super) stream: TcpStream,
    session: ClientConnection,
    /// Until the handshake is counted.
    counts: Option<Arc<Counts>>,
}

impl TlsStream {
    fn count(&mut self) {
        let kind = self.session.handshake_kind().filter(|_| !self.session.is_handshaking());
        if let Some(kind) = kind
            && let Some(counts) = self.counts.take()
        {
            let count = if kind == HandshakeKind::Resumed { &counts.resumed } else { &counts.full };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn say_close_notify(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.flush()
    }
}

impl Read for TlsStream {
    /// 0 is close_notify; FIN without it is an error.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.session.read_tls(&mut self.stream)?;
            let processed = self.session.process_new_packets().map(drop);
            match self.flush() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            self.count();
        }
    }
}

impl Write for TlsStream {
    /// What is taken may still wait here: [`flush`](Self::flush) when the socket has room again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let count = self.session.writer().write(bytes)?;
        match (self.flush(), count) {
            (Err(error), _) if error.kind() != ErrorKind::WouldBlock => Err(error),
            (_, 0) if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}

/// Tickets of one server. rustls's own store keeps eight, which many connections at a time use up.
#[derive(Debug, Default)]
struct Stack {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
}

/// Tickets that are kept.
const TICKETS_MAX: usize = 4096;

impl ClientSessionStore for Stack {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tls13.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS_MAX {
            tickets.push(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
