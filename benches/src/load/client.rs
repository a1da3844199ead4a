//! One connection: what it may send, and the comparison of what comes back.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::event::Event;

use super::pattern::Pattern;
use super::socket::Stream;

pub(super) struct Client {
    pub(super) stream: Stream,
    pub(super) state: State,
    /// Invariant: below the number of connections, where none is replaced.
    pub(super) number: usize,
    /// Where its stream begins in the pattern.
    pub(super) start: usize,
    pub(super) sent: usize,
    /// How many bytes it may have sent.
    pub(super) allowed: usize,
    /// Invariant: at most `sent`.
    pub(super) received: usize,
    /// How many messages have come back.
    pub(super) answered: usize,
    /// When the messages that are on their way were sent; empty where that is known without.
    pub(super) due: VecDeque<Instant>,
    /// When it began to connect.
    pub(super) since: Instant,
    /// How many messages it lives for, where that is bounded.
    pub(super) lifetime: usize,
    /// The socket has taken no more; an event will tell when it does.
    is_blocked: bool,
    /// The socket may hold more than was read; no event will tell.
    is_unread: bool,
    /// The server has finished, or there was an error: a short read proves nothing any more.
    has_hung_up: bool,
    /// It is to be served again without an event. Invariant: whether it is on the crowd's list.
    pub(super) is_listed: bool,
}

/// What is read or written at a time, so that one connection does not hold up the others. In rooms and in pieces.
const BUDGET: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    /// It has sent FIN, and waits for the server's.
    Finishing,
}

/// Why a connection ended that should not have.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    ClosedEarly,
    Differs,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    /// Few kinds, since they are counted.
    pub(super) fn name(&self) -> String {
        match self {
            Self::ClosedEarly => "closed early".to_owned(),
            Self::Differs => "something else came back".to_owned(),
            Self::Io(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset".to_owned(),
                ErrorKind::ConnectionRefused => "refused".to_owned(),
                ErrorKind::TimedOut => "timed out".to_owned(),
                _ => error.to_string(),
            },
        }
    }
}

/// What a read has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) bytes: usize,
    pub(super) end: bool,
}

impl Client {
    pub(super) fn new(stream: Stream, number: usize, start: usize, since: Instant) -> Self {
        Self {
            stream,
            state: State::Connecting,
            number,
            start,
            sent: 0,
            allowed: 0,
            received: 0,
            answered: 0,
            due: VecDeque::new(),
            since,
            lifetime: usize::MAX,
            is_blocked: false,
            is_unread: false,
            has_hung_up: false,
            is_listed: false,
        }
    }

    /// Remembers what an event tells, until it is used up.
    pub(super) fn note(&mut self, event: &Event) {
        self.is_blocked &= !event.is_writable();
        self.has_hung_up |= event.is_read_closed() || event.is_error();
        self.is_unread |= event.is_readable() || self.has_hung_up;
    }

    pub(super) fn is_readable(&self) -> bool {
        self.is_unread
    }

    /// A budget was spent before all was done.
    pub(super) fn has_more(&self) -> bool {
        self.is_unread || (self.sent < self.allowed && !self.is_blocked)
    }

    /// Sends what it may, `piece` bytes at a time, until the socket takes no more or the budget is spent.
    pub(super) fn write(&mut self, pattern: &Pattern, piece: usize) -> Result<(), Fault> {
        match self.stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
            result => result?,
        }
        for _ in 0..BUDGET {
            if self.sent == self.allowed || self.is_blocked {
                break;
            }
            let len = piece.min(self.allowed - self.sent);
            match self.stream.write(pattern.at(self.start, self.sent, len)) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there, or its budget. A read that does not fill the room has emptied the socket, unless
    /// the end came with it.
    pub(super) fn read(&mut self, pattern: &Pattern, room: &mut [u8]) -> Result<Arrived, Fault> {
        let mut arrived = Arrived::default();
        for _ in 0..BUDGET {
            let count = match self.stream.read(room) {
                Ok(0) => return Ok(Arrived { end: true, ..arrived }),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_unread = false;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let expected = pattern.at(self.start, self.received, count);
            if self.received + count > self.sent || room.get(..count) != Some(expected) {
                return Err(Fault::Differs);
            }
            self.received += count;
            arrived.bytes += count;
            if count < room.len() && !self.has_hung_up && self.stream.short_read_empties() {
                self.is_unread = false;
                break;
            }
        }
        Ok(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;

    const PIECE: usize = 64;

    fn pair(pattern: &Pattern) -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = Client::new(Stream::Unix(ours), 1, pattern.start(1), Instant::now());
        (client, theirs)
    }

    fn read(client: &mut Client, pattern: &Pattern) -> Result<Arrived, Fault> {
        client.read(pattern, &mut [0; PIECE])
    }

    #[test]
    fn what_comes_back_in_pieces_is_the_same() {
        let pattern = Pattern::new(PIECE, None);
        let (mut client, mut server) = pair(&pattern);
        client.allowed = 100;
        client.write(&pattern, PIECE).unwrap();
        let mut bytes = [0; 200];
        assert_eq!((client.sent, server.read(&mut bytes).unwrap()), (100, 100));
        for part in [&bytes[..1], &bytes[1..99], &bytes[99..100]] {
            server.write_all(part).unwrap();
            let mut bytes = 0;
            while bytes < part.len() {
                bytes += read(&mut client, &pattern).unwrap().bytes;
            }
        }
        assert_eq!(client.received, 100);
        drop(server);
        assert_eq!(read(&mut client, &pattern).unwrap(), Arrived { bytes: 0, end: true });
    }

    #[test]
    fn a_byte_that_is_changed_lost_doubled_or_too_many_is_found() {
        let pattern = Pattern::new(PIECE, None);
        let changes: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes[30] ^= 1,
            |bytes| _ = bytes.remove(30),
            |bytes| bytes.insert(30, bytes[30]),
            |bytes| bytes.push(b'A'),
        ];
        for change in changes {
            let (mut client, mut server) = pair(&pattern);
            client.allowed = 50;
            client.write(&pattern, PIECE).unwrap();
            let mut bytes = vec![0; 50];
            server.read_exact(&mut bytes).unwrap();
            change(&mut bytes);
            server.write_all(&bytes).unwrap();
            assert!(matches!(read(&mut client, &pattern), Err(Fault::Differs)));
        }
    }

    #[test]
    fn a_socket_that_takes_no_more_is_asked_again_only_after_an_event() {
        let pattern = Pattern::new(PIECE, None);
        let (mut client, _server) = pair(&pattern);
        client.allowed = usize::MAX;
        client.write(&pattern, PIECE).unwrap();
        assert!(client.has_more() && client.sent == BUDGET * PIECE);
        while client.has_more() {
            client.write(&pattern, PIECE).unwrap();
        }
        assert!(client.is_blocked && client.sent < client.allowed);
    }
}
