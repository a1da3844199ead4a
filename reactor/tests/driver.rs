//! The loop on a driver that is no poll at all: a hundred lines of world prove the seam.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use reactor::{
    Address, Bind, CloseReason, Config, Connect, DatagramSocket, Driver, Listen, ListenError,
    Reactor, Readiness, Signal, Stopwatch, Stream, Token,
};
use support::{Heard, Probe, propagating};

/// One connection that says its piece in the most awkward way: a byte at a time, interrupted between
/// any two, and taking as little of what it is told.
#[derive(Default)]
struct Awkward {
    to_say: VecDeque<u8>,
    told: Vec<u8>,
    finished: bool,
    calls: usize,
}

impl Awkward {
    /// Every third call is interrupted, and every fifth would block.
    fn balk(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.calls {
            calls if calls % 3 == 0 => Err(ErrorKind::Interrupted.into()),
            calls if calls % 5 == 0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Default)]
struct Line(Arc<Mutex<Awkward>>);

struct World {
    line: Line,
    now: Instant,
    waits: VecDeque<Line>,
    listener: Option<Token>,
    connection: Option<Token>,
    answer: Option<(Token, io::Result<Vec<SocketAddr>>)>,
}

const ADDRESS: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1));
const SECOND: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 2));
const ALL: Readiness =
    Readiness { readable: true, writable: true, hang_up: false, error: false, urgent: false };

impl Driver for World {
    type Stream = Line;
    type Listener = ();
    type Socket = Nothing;

    fn now(&self) -> Instant {
        self.now
    }
    fn stopwatch(&self) -> Stopwatch {
        Stopwatch::still()
    }
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        self.now += timeout.unwrap_or(Duration::from_secs(1)); // whoever waits finds that time has passed
        self.listener.into_iter().chain(self.connection).for_each(|token| on_event(token, ALL));
        Ok(true)
    }
    fn listen(&mut self, _: Listen, token: Token) -> Result<((), Address), ListenError> {
        self.listener = Some(token);
        Ok(((), ADDRESS.into()))
    }
    fn close_listener(&mut self, (): ()) {}
    fn accept(&mut self, (): &mut ()) -> io::Result<(Line, Address)> {
        Ok((self.waits.pop_front().ok_or(ErrorKind::WouldBlock)?, ADDRESS.into()))
    }
    fn register(&mut self, _: &mut Line, token: Token) -> io::Result<()> {
        self.connection = Some(token);
        Ok(())
    }
    fn connect(&mut self, to: &Address, _: &Connect, token: Token) -> io::Result<Line> {
        if *to != Address::Ip(SECOND) {
            return Err(ErrorKind::NetworkUnreachable.into());
        }
        self.connection = Some(token);
        Ok(self.line.clone())
    }
    fn bind(&mut self, _: Bind, _: Token) -> Result<(Nothing, Address), ListenError> {
        Ok((Nothing, ADDRESS.into()))
    }
    fn close_socket(&mut self, _: Nothing) {}
    fn resolve(&mut self, host: &str, _: u16, token: Token) -> io::Result<()> {
        match host {
            "two" => self.answer = Some((token, Ok(vec![ADDRESS, SECOND]))),
            "none" => self.answer = Some((token, Ok(vec![]))),
            _ => return Err(ErrorKind::QuotaExceeded.into()),
        }
        Ok(())
    }
    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)> {
        self.answer.take()
    }
    fn watch_signals(&mut self, _: &[Signal]) -> io::Result<()> {
        Ok(())
    }
    fn signal(&mut self) -> Option<Signal> {
        None
    }
}

impl Stream for Line {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut line = self.0.lock().unwrap();
        line.balk()?;
        let Some(byte) = line.to_say.pop_front() else { return Ok(0) };
        room[0] = byte;
        Ok(1)
    }
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut line = self.0.lock().unwrap();
        line.balk()?;
        line.told.push(slices[0][0]);
        Ok(1)
    }
    fn finish(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().finished = true;
        Ok(())
    }
    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }
    fn take_error(&mut self) -> Option<io::Error> {
        None
    }
    fn reset(self) {}
}

struct Nothing;

impl DatagramSocket for Nothing {
    fn receive(&mut self, _: &mut [u8]) -> io::Result<(usize, Address)> {
        Err(ErrorKind::WouldBlock.into())
    }
    fn send(&mut self, _: &[u8], _: &Address) -> io::Result<()> {
        Ok(())
    }
}

fn world() -> World {
    let line = Line::default();
    let waits = VecDeque::from([line.clone()]);
    World { line, now: Instant::now(), waits, listener: None, connection: None, answer: None }
}

#[test]
fn an_echo_through_the_most_awkward_driver() {
    let world = world();
    let line = world.line.clone();
    line.0.lock().unwrap().to_say.extend(b"one byte at a time, and the end");
    let mut reactor = Reactor::with_driver(propagating(), world);
    let service = reactor.add(Probe::default());
    assert_eq!(reactor.listen(&service, "anywhere:1").unwrap().address, ADDRESS.into());
    support::turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    let line = line.0.lock().unwrap();
    assert_eq!(line.told, b"one byte at a time, and the end");
    assert!(line.finished);
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Eof]);
}

#[test]
fn what_a_driver_refuses_is_told() {
    let mut reactor = Reactor::with_driver(Config::default(), world());
    let service = reactor.add(Probe::default());
    let ids = [reactor.connect(&service, ADDRESS), reactor.connect(&service, "name:1")];
    reactor.turn(None).unwrap();
    let errors = [reactor::ConnectError::Unreachable, reactor::ConnectError::Limit];
    let expected = [0, 1].map(|index| Heard::ConnectFailed(ids[index], errors[index].clone()));
    assert_eq!(reactor.get(&service).heard, expected);
}

#[test]
fn the_addresses_of_a_name_are_tried_in_turn() {
    let mut reactor = Reactor::with_driver(propagating(), world());
    let service = reactor.add(Probe::default());
    let id = reactor.connect(&service, "two:1");
    support::turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
    assert_eq!(reactor.get(&service).heard[0], Heard::Open(id));
    let id = reactor.connect(&service, "none:1");
    let failed = Heard::ConnectFailed(id, reactor::ConnectError::NotFound);
    support::turn_until(&mut reactor, &service, |probe| probe.heard.contains(&failed));
}
