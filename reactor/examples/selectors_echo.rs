//! The classic loop, by hand: register a callback with each socket, select, call back.
//!
//! `cargo run --example selectors_echo`, then `nc 127.0.0.1 9000`. It is Python's `selectors` example,
//! line for line, but for two things: mio is edge-triggered, so every callback goes on until
//! `WouldBlock`; and a write may be short, so what did not fit waits here for the next event.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use reactor::{Interest, Selector};
use slab::Slab;

/// What is registered under a key: a socket, and with it what its callback needs.
enum Entry {
    Listener(TcpListener),
    Client { socket: TcpStream, waiting: Vec<u8> },
}

fn accept(key: usize, entries: &mut Slab<Entry>, selector: &Selector) -> io::Result<()> {
    while let Some(Entry::Listener(listener)) = entries.get(key) {
        let (socket, peer) = listener.accept()?;
        println!("{peer} has come");
        socket.set_nonblocking(true)?;
        let entry = entries.vacant_entry();
        selector.register(&socket, entry.key(), Interest::ReadWrite)?;
        entry.insert(Entry::Client { socket, waiting: Vec::new() });
    }
    Ok(())
}

fn echo(socket: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        while !waiting.is_empty() {
            let written = socket.write(waiting)?;
            waiting.drain(..written);
        }
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => waiting.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let mut selector = Selector::new()?;
    let mut entries = Slab::new();
    let key = entries.vacant_key();
    selector.register(&listener, key, Interest::Read)?;
    entries.insert(Entry::Listener(listener));

    loop {
        let ready: Vec<_> = selector.select(None)?.collect();
        for (key, _) in ready {
            let done = match entries.get_mut(key) {
                Some(Entry::Listener(_)) => accept(key, &mut entries, &selector),
                Some(Entry::Client { socket, waiting }) => echo(socket, waiting),
                None => continue, // an event of a client that has just gone
            };
            match done {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) if matches!(entries.get(key), Some(Entry::Client { .. })) => {
                    entries.remove(key); // closing its socket unregisters it
                }
                other => other?,
            }
        }
    }
}
