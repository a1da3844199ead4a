//! A chat on mio as it is first written: whatever one says is written to each of the others at once, a write for each
//! line and listener. What a socket does not take waits in a queue of that client.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 64 * 1024;

struct Client {
    stream: TcpStream,
    /// The beginning of a line.
    rest: Vec<u8>,
    waiting: VecDeque<u8>,
    name: String,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address = address.parse().map_err(io::Error::other)?;
    let mut listener = TcpListener::bind(address)?;
    println!("listening on tcp://{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: Slab<Client> = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients)?;
            } else if serve(&mut clients, event.token().0, &mut buffer).is_err() {
                clients.try_remove(event.token().0);
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
                let name = format!("guest-{}", entry.key());
                entry.insert(Client { stream, rest: Vec::new(), waiting: VecDeque::new(), name });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Writes what waits, and tells everyone else what was said; an error is the end.
fn serve(clients: &mut Slab<Client>, key: usize, buffer: &mut [u8]) -> io::Result<()> {
    let Some(client) = clients.get_mut(key) else { return Ok(()) };
    flush(client)?;
    loop {
        let Some(client) = clients.get_mut(key) else { return Ok(()) };
        let count = match client.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut input = std::mem::take(&mut client.rest);
        input.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let name = client.name.clone();
        for line in input.split_inclusive(|byte| *byte == b'\n') {
            if line.ends_with(b"\n") {
                tell(clients, key, &[name.as_bytes(), b": ", line].concat());
            } else if let Some(client) = clients.get_mut(key) {
                client.rest = line.to_vec();
            }
        }
    }
}

/// Who cannot be told is gone, and its own event will say so.
fn tell(clients: &mut Slab<Client>, speaker: usize, line: &[u8]) {
    for (_, client) in clients.iter_mut().filter(|(key, _)| *key != speaker) {
        let written = match client.waiting.is_empty() {
            true => client.stream.write(line).unwrap_or(0),
            false => 0,
        };
        client.waiting.extend(line.get(written..).unwrap_or_default());
    }
}

fn flush(client: &mut Client) -> io::Result<()> {
    while !client.waiting.is_empty() {
        match client.stream.write(client.waiting.as_slices().0) {
            Ok(count) => drop(client.waiting.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
