//! The peer to be measured against: an echo server with mio, rustls and nothing else: ADDRESS CERTIFICATE KEY.
//!
//! One loop, edge-triggered, one shared buffer of 64 KiB, no limits, no timeouts, no back-pressure but the one that
//! comes by itself: a connection whose ciphertext does not leave is not read.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);

struct Client {
    stream: TcpStream,
    tls: ServerConnection,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key] = arguments.as_slice() else {
        return Err("bare-mio-tls ADDRESS CERTIFICATE KEY".into());
    };
    let config = configure(certificate, key)?;
    let mut listener = TcpListener::bind(address.parse()?)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on tls://{}", listener.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut clients: Slab<Client> = Slab::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &config, &mut clients)?;
            } else if let Some(client) = clients.get_mut(event.token().0)
                && echo(client, &mut buffer).is_err()
            {
                clients.remove(event.token().0);
            }
        }
    }
}

fn configure(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    config: &Arc<ServerConfig>,
    clients: &mut Slab<Client>,
) -> Result<(), Box<dyn Error>> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let entry = clients.vacant_entry();
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(entry.key()), interest)?;
                let mut tls = ServerConnection::new(config.clone())?;
                tls.set_buffer_limit(None);
                entry.insert(Client { stream, tls });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads and writes until either would block; an error is the end.
fn echo(client: &mut Client, buffer: &mut [u8]) -> io::Result<()> {
    let Client { stream, tls } = client;
    loop {
        while tls.wants_write() {
            match tls.write_tls(stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                written => written?,
            };
        }
        match tls.read_tls(stream) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        if let Err(error) = tls.process_new_packets() {
            let _ = tls.write_tls(stream);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => {
                    tls.send_close_notify();
                    let _ = tls.write_tls(stream);
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                read => {
                    let count = read?;
                    tls.writer().write_all(buffer.get(..count).unwrap_or_default())?;
                }
            }
        }
    }
}
