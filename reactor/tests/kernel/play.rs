//! Plays a scenario on a ground, and writes down what is seen.

use std::collections::HashMap;
use std::io::{self, IoSlice};

use reactor::{Address, Connect, DatagramSocket, Driver, Stream};

use crate::ground::Ground;
use crate::language::{Kind, LATER, Problem, Seen, Then, Who};
use crate::script::{Op, Place, Scenario};
use crate::watch::{Await, Edges, Look, Rest, Wires};

/// What was seen in each step; nothing in those of a stream that has not come to be.
pub(crate) type Run = Vec<Option<Seen>>;

/// What `small` means, in bytes.
const SMALL: usize = 16 << 10;
/// The same for datagrams.
const SMALL_SOCKET: usize = 4 << 10;
/// How much is written or read in a call.
const CHUNK: usize = 4 << 10;
/// So often it was looked, and nothing had moved: it will not.
const STILL: usize = 25;
/// So often an answer is asked for.
const ANSWERS: usize = 3000;

/// Plays it once, as far as what is seen is allowed.
pub(crate) fn play<G: Ground>(scenario: &Scenario, kind: Kind, ground: &mut G) -> Run {
    ground.set_rough(scenario.rough);
    let mut play = Play {
        ground,
        kind,
        small: scenario.small,
        listener: None,
        former: None,
        streams: HashMap::new(),
        sockets: HashMap::new(),
        addresses: HashMap::new(),
        edges: Edges::default(),
        wires: Wires::default(),
        answers: HashMap::new(),
    };
    let mut run = vec![None; scenario.steps.len()];
    for (step, seen) in scenario.steps.iter().zip(&mut run) {
        let allowed = step.allowed.of(kind);
        play.ground.pass();
        *seen = play.step(&step.op, allowed);
        // What follows would be about another story.
        if seen.as_ref().is_some_and(|seen| !allowed.contains(seen)) {
            break;
        }
    }
    run
}

struct Play<'a, G: Ground> {
    ground: &'a mut G,
    kind: Kind,
    small: bool,
    listener: Option<<G::Driver as Driver>::Listener>,
    /// Where the listener is, or was.
    former: Option<Address>,
    streams: HashMap<Who, <G::Driver as Driver>::Stream>,
    sockets: HashMap<Who, <G::Driver as Driver>::Socket>,
    addresses: HashMap<Who, Address>,
    edges: Edges,
    wires: Wires,
    answers: HashMap<Who, Seen>,
}

impl<G: Ground> Play<'_, G> {
    fn step(&mut self, op: &Op, allowed: &[Seen]) -> Option<Seen> {
        match *op {
            Op::Edges(who) => self.edges(who, allowed),
            Op::Write(who, count) => self.write(who, count),
            Op::Fill(who) => self.fill(who, 1),
            Op::FillUp(who) => self.fill(who, STILL),
            Op::Take(who, count) => self.take(who, count),
            Op::TakeShare(who, parts) => self.take(who, (self.wires.under_way(who) / parts).max(1)),
            Op::Drain(who) => self.drain(who),
            Op::Whose(who) => self.whose(who),
            Op::Finish(who) => {
                self.wires.finish(who);
                Some(done(self.streams.get_mut(&who)?.finish()))
            }
            Op::TakeError(who) => {
                let error = self.streams.get_mut(&who)?.take_error();
                Some(error.map_or(Seen::NoError, |error| Seen::Failed(error.into())))
            }
            Op::Connected(who) => Some(match self.streams.get_mut(&who)?.connected() {
                Ok(true) => Seen::Stands,
                Ok(false) => Seen::Pending,
                Err(error) => Seen::Failed(error.into()),
            }),
            Op::Reset(who) => {
                self.streams.remove(&who)?.reset();
                Some(Seen::Done)
            }
            Op::Close(who) => {
                self.wires.finish(who);
                self.streams.remove(&who).map(|_| Seen::Done)
            }
            ref other => self.place(other),
        }
    }

    /// The operations by which sockets come to be, and those of datagrams and names.
    fn place(&mut self, op: &Op) -> Option<Seen> {
        match *op {
            Op::Listen { backlog } => Some(self.listen(backlog)),
            Op::CloseListener => {
                let listener = self.listener.take()?;
                self.ground.driver().close_listener(listener);
                Some(Seen::Done)
            }
            Op::Connect(who) => Some(self.connect(who, Place::Former)),
            Op::ConnectTo(who, place) => Some(self.connect(who, place)),
            Op::Accept(who) => Some(self.accept(who)),
            Op::Register(who) => {
                let stream = self.streams.get_mut(&who)?;
                Some(done(self.ground.driver().register(stream, who.token())))
            }
            Op::Exhaust(exhaust) => {
                self.ground.exhaust(exhaust);
                Some(Seen::Done)
            }
            Op::Resolve(who, host) => {
                Some(done(self.ground.driver().resolve(host, 80, who.token())))
            }
            Op::Resolved(who) => self.resolved(who),
            ref other => self.datagrams(other),
        }
    }

    fn datagrams(&mut self, op: &Op) -> Option<Seen> {
        match *op {
            Op::Bind { who, small } => Some(self.bind(who, small)),
            Op::CloseSocket(who) => {
                let socket = self.sockets.remove(&who)?;
                self.ground.driver().close_socket(socket);
                Some(Seen::Done)
            }
            Op::Send(from, to, count) => {
                let to = self.addresses.get(&to)?;
                Some(done(self.sockets.get_mut(&from)?.send(&piece(from, 0, count), to)))
            }
            Op::SendTo(from, place) => {
                let to = self.ground.empty(self.kind, place);
                Some(done(self.sockets.get_mut(&from)?.send(&piece(from, 0, 5), &to)))
            }
            Op::Flood(from, to, count) => {
                let (socket, to) = (self.sockets.get_mut(&from)?, self.addresses.get(&to)?);
                // Each says which one it is.
                let sent =
                    (0..count).try_for_each(|number| socket.send(&piece(from, number, 10), to));
                Some(done(sent))
            }
            Op::Receive(who, room) => self.receive(who, room),
            Op::ReceiveAll(who) => self.receive_all(who),
            ref other => panic!("{other:?} is not of a stream, a place or a datagram socket"),
        }
    }

    fn listen(&mut self, backlog: u32) -> Seen {
        let mut listen = self.ground.listen(self.kind).backlog(backlog);
        if self.small {
            listen = listen.send_buffer(SMALL).receive_buffer(SMALL);
        }
        let (listener, address) = self.ground.driver().listen(listen, Who::L.token()).unwrap();
        self.listener = Some(listener);
        self.former = Some(address);
        Seen::Done
    }

    fn connect(&mut self, who: Who, place: Place) -> Seen {
        let address = match (place, &self.former) {
            (Place::Former, Some(address)) => address.clone(),
            (place, _) => self.ground.empty(self.kind, place),
        };
        let mut options = Connect::to(&address);
        if self.small {
            options = options.send_buffer(SMALL).receive_buffer(SMALL);
        }
        match self.ground.driver().connect(&address, &options, who.token()) {
            Ok(stream) => {
                self.streams.insert(who, stream);
                self.wires.connecting(who);
                Seen::Done
            }
            Err(error) => Seen::Failed(error.into()),
        }
    }

    fn accept(&mut self, who: Who) -> Seen {
        let listener = self.listener.as_mut().unwrap();
        match retried(|| self.ground.driver().accept(listener)) {
            Ok((stream, _)) => {
                self.streams.insert(who, stream);
                self.wires.accepted(who);
                Seen::Done
            }
            Err(error) => Seen::Failed(error.into()),
        }
    }

    fn edges(&mut self, who: Who, allowed: &[Seen]) -> Option<Seen> {
        let exists =
            who == Who::L || self.streams.contains_key(&who) || self.sockets.contains_key(&who);
        if !exists {
            return None;
        }
        let mut look = Look { edges: &mut self.edges, who, allowed };
        self.ground.settle(&mut look);
        Some(self.edges.take(who, allowed))
    }

    /// Lets everything come to rest.
    fn rest(&mut self) {
        self.ground.settle(&mut Rest { edges: &mut self.edges });
    }

    /// Waits for an edge of this source, and whether it came.
    fn await_edge(&mut self, who: Who) -> bool {
        self.edges.came.remove(&who);
        self.ground.settle(&mut Await { edges: &mut self.edges, who });
        self.edges.came.remove(&who).is_some()
    }

    fn write_once(&mut self, who: Who, count: usize) -> Option<io::Result<usize>> {
        let piece = piece(who, self.wires.written(who), count);
        let stream = self.streams.get_mut(&who)?;
        let result = retried(|| stream.write(&[IoSlice::new(&piece)]));
        self.wires.write(who, *result.as_ref().unwrap_or(&0));
        Some(result)
    }

    fn write(&mut self, who: Who, count: usize) -> Option<Seen> {
        let mut left = count;
        loop {
            match self.write_once(who, left)? {
                Ok(written) => left -= written,
                Err(error) => return Some(tally(count - left, count, error)),
            }
            if left == 0 {
                return Some(Seen::Done);
            }
        }
    }

    /// Writes until nothing more fits, and looks again so many times less one.
    fn fill(&mut self, who: Who, looks: usize) -> Option<Seen> {
        let (before, mut still) = (self.wires.written(who), 0);
        while still < looks {
            let error = match self.write_once(who, CHUNK)? {
                Ok(_) => {
                    still = 0;
                    continue;
                }
                Err(error) => Then::Failed(error.into()),
            };
            if error != LATER {
                return Some(tally(self.wires.written(who) - before, usize::MAX, error));
            }
            still += 1;
            if still < looks {
                self.rest();
            }
        }
        if looks > 1 {
            self.edges.came.remove(&who);
        }
        Some(tally(self.wires.written(who) - before, usize::MAX, LATER))
    }

    /// One read, of bytes that are as they should be.
    fn read_once(&mut self, who: Who, count: usize) -> Option<Result<usize, Seen>> {
        let mut room = vec![0; count.min(CHUNK)];
        let stream = self.streams.get_mut(&who)?;
        Some(match retried(|| stream.read(&mut room)) {
            Ok(0) => Err(Seen::Nothing(Then::End)),
            Ok(read) if self.wires.read(who, &room[..read]) => Ok(read),
            Ok(_) => Err(Seen::Garbled),
            Err(error) => Err(Seen::Nothing(Then::Failed(error.into()))),
        })
    }

    /// Reads so much, and what it came to: how much, and what the last call said if it was not bytes.
    fn read(&mut self, who: Who, count: usize) -> Option<(usize, Option<Seen>)> {
        let mut got = 0;
        while got < count {
            match self.read_once(who, count - got)? {
                Ok(read) => got += read,
                Err(Seen::Nothing(LATER)) if self.wires.is_owed(who) => {
                    if !self.await_edge(who) {
                        return Some((got, Some(Seen::Nothing(LATER))));
                    }
                }
                Err(seen) => return Some((got, Some(seen))),
            }
        }
        Some((got, None))
    }

    fn take(&mut self, who: Who, count: usize) -> Option<Seen> {
        Some(match self.read(who, count)? {
            (_, None) => Seen::Done,
            (got, Some(Seen::Nothing(then))) => tally(got, count, then),
            (_, Some(seen)) => seen,
        })
    }

    fn drain(&mut self, who: Who) -> Option<Seen> {
        let whole = self.wires.under_way(who);
        Some(match self.read(who, usize::MAX)? {
            (got, Some(Seen::Nothing(then))) => tally(got, whole, then),
            (_, other) => other.unwrap_or(Seen::Garbled),
        })
    }

    fn whose(&mut self, who: Who) -> Option<Seen> {
        let taken = self.take(who, 1)?;
        Some(match (taken, self.wires.peers.get(&who)) {
            (Seen::Done, Some(peer)) => Seen::From(*peer),
            (other, _) => other,
        })
    }

    fn bind(&mut self, who: Who, small: bool) -> Seen {
        let mut bind = self.ground.bind(self.kind);
        if small {
            bind = bind.send_buffer(SMALL_SOCKET).receive_buffer(SMALL_SOCKET);
        }
        let (socket, address) = self.ground.driver().bind(bind, who.token()).unwrap();
        self.sockets.insert(who, socket);
        self.addresses.insert(who, address);
        Seen::Done
    }

    fn receive(&mut self, who: Who, room: usize) -> Option<Seen> {
        let mut room = vec![0; room];
        let socket = self.sockets.get_mut(&who)?;
        let (count, from) = match retried(|| socket.receive(&mut room)) {
            Ok(received) => received,
            Err(error) => return Some(Seen::Failed(error.into())),
        };
        let from = self.addresses.iter().find(|(_, address)| **address == from);
        Some(match from {
            Some((&from, _)) if room[..count] == piece(from, 0, count) => {
                Seen::Datagram(count, from)
            }
            _ => Seen::Garbled,
        })
    }

    fn receive_all(&mut self, who: Who) -> Option<Seen> {
        let mut numbers = Vec::new();
        let mut room = [0; 20];
        let socket = self.sockets.get_mut(&who)?;
        loop {
            let (count, from) = match retried(|| socket.receive(&mut room)) {
                Ok(received) => received,
                Err(error) if numbers.is_empty() => return Some(Seen::Failed(error.into())),
                Err(_) => break,
            };
            let from = self.addresses.iter().find(|(_, address)| **address == from)?.0;
            let next = numbers.last().map_or(0, |last| last + 1);
            // Pieces begin alike after a while, long after any queue is full.
            let number =
                (next..next + 250).find(|&number| room[..count] == piece(*from, number, 10));
            let Some(number) = number else { return Some(Seen::Garbled) };
            numbers.push(number);
        }
        Some(Seen::Some)
    }

    fn resolved(&mut self, who: Who) -> Option<Seen> {
        for _ in 0..ANSWERS {
            while let Some((token, answer)) = self.ground.driver().resolved() {
                let seen = match answer {
                    Ok(addresses) if addresses.is_empty() => Seen::Garbled,
                    Ok(_) => Seen::Found,
                    Err(error) => Seen::Failed(error.into()),
                };
                self.answers.insert(Who::of(token)?, seen);
            }
            if let Some(seen) = self.answers.remove(&who) {
                return Some(seen);
            }
            self.rest();
        }
        Some(Seen::Pending)
    }
}

fn done(result: io::Result<()>) -> Seen {
    result.map_or_else(|error| Seen::Failed(error.into()), |()| Seen::Done)
}

/// How much of the whole was done before a call said something else.
fn tally(done: usize, whole: usize, then: impl Into<Then>) -> Seen {
    let then = then.into();
    match done {
        0 => Seen::Nothing(then),
        done if done < whole => Seen::Part(then),
        _ => Seen::All(then),
    }
}

impl From<io::Error> for Then {
    fn from(error: io::Error) -> Self {
        Self::Failed(Problem::from(error))
    }
}

/// Interrupted calls are made again.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn piece(who: Who, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| who.says(place)).collect()
}
