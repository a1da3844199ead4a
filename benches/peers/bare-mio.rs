//! The peer to be measured against: an echo server with mio and nothing else.
//!
//! One loop, edge-triggered, one shared buffer of 64 KiB, no limits, no timeouts, no back-pressure but the
//! one that comes by itself: what does not fit into the socket waits here, and is not read past.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);

struct Client {
    stream: TcpStream,
    waiting: VecDeque<u8>,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address = address.parse().map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on tcp://{}", listener.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut clients: Slab<Client> = Slab::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients)?;
            } else if let Some(client) = clients.get_mut(event.token().0)
                && echo(client, &mut buffer, event.is_read_closed()).is_err()
            {
                clients.remove(event.token().0);
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, clients: &mut Slab<Client>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let entry = clients.vacant_entry();
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(entry.key()), interest)?;
                entry.insert(Client { stream, waiting: VecDeque::new() });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads and writes until either would block; an error is the end.
fn echo(client: &mut Client, buffer: &mut [u8], hang_up: bool) -> io::Result<()> {
    loop {
        while !client.waiting.is_empty() {
            match client.stream.write(client.waiting.as_slices().0) {
                Ok(count) => drop(client.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let count = match client.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let written = match client.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        client.waiting.extend(bytes.get(written..).unwrap_or_default());
        if written == count && count < buffer.len() && !hang_up {
            return Ok(()); // a short read has emptied the socket
        }
    }
}
