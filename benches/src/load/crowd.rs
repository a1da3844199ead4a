//! The clients' own loop.

mod phases;

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::client::{Client, Fault, State};
use super::outcome::{Outcome, Tally};
use super::pattern::Pattern;
use super::scheme::{Next, Scheme};
use super::socket::{connect, connections_max};
use super::{Kind, Load, LoadError, Watch};
use phases::Phase;

/// So many connections are new at a time: fewer than any server's backlog, which overflows unseen.
const NEW_MAX: usize = 64;

/// Bytes that are read at a time, and written at least.
const ROOM: usize = 64 * 1024;

/// How often progress is told, and connections that wait too long are looked for.
const TICK: Duration = Duration::from_millis(500);

/// After a connect that failed where another is to follow.
const PAUSE: Duration = Duration::from_millis(5);

/// The system sleeps whole milliseconds: what is due sooner is waited for awake.
const SLEEP_MIN: Duration = Duration::from_millis(2);

struct Crowd<'a, S> {
    load: &'a Load,
    scheme: S,
    pattern: Pattern,
    poll: Poll,
    clients: Slab<Client>,
    /// How many there have been.
    created: usize,
    /// Where clients are, by their numbers, if none is replaced.
    keys: Vec<usize>,
    /// How many are new: not connected, or where each must be answered, not answered.
    new: usize,
    /// No connect before this.
    pause: Option<Instant>,
    room: Vec<u8>,
    tally: Tally,
    phase: Phase,
    /// Those that have spent their budgets, by key.
    again: Vec<usize>,
    /// Memory for the numbers of connections that have a message due.
    numbers: Vec<usize>,
    next_tick: Instant,
}

pub(super) fn run<S: Scheme>(
    load: &Load,
    scheme: S,
    watch: &mut dyn Watch,
) -> Result<Outcome, LoadError> {
    let most = connections_max();
    if load.connections_in_all() > most {
        return Err(LoadError::new(format_args!(
            "{} connections do not fit: this process may hold {most} (its descriptor limit); several \
             processes can share them, each with its own source address",
            load.connections_in_all()
        )));
    }
    let system = |error: io::Error| LoadError::new(format_args!("cannot go on: {error}"));
    Crowd::new(load, scheme).map_err(system)?.run(watch)
}

impl<'a, S: Scheme> Crowd<'a, S> {
    fn new(load: &'a Load, scheme: S) -> io::Result<Self> {
        let (piece, line) = match load.kind {
            Kind::Bulk { size } => (size.max(ROOM), None),
            Kind::Echo { size, lines: true, .. } => (ROOM, Some(size)),
            _ => (ROOM, None),
        };
        let now = Instant::now();
        Ok(Self {
            load,
            scheme,
            pattern: Pattern::new(piece, line),
            poll: Poll::new()?,
            clients: Slab::with_capacity(load.connections_in_all()),
            created: 0,
            keys: Vec::new(),
            new: 0,
            pause: None,
            room: vec![0; ROOM],
            tally: Tally::new(),
            phase: Phase::Opening { from: now },
            again: Vec::new(),
            numbers: Vec::new(),
            next_tick: now + TICK,
        })
    }

    fn run(&mut self, watch: &mut dyn Watch) -> Result<Outcome, LoadError> {
        let system = |error: io::Error| LoadError::new(format_args!("cannot go on: {error}"));
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            if let Some(measured) = self.step(now, watch)? {
                return Ok(self.outcome(measured));
            }
            self.open(now);
            let next = self.hand_out(now);
            match self.poll.poll(&mut events, Some(self.wait(now, next))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.map_err(system)?,
            }
            let again = std::mem::take(&mut self.again);
            for event in &events {
                self.attend(event.token().0, Some(event));
            }
            for key in again {
                if let Some(client) = self.clients.get_mut(key) {
                    client.is_listed = false;
                    self.attend(key, None);
                }
            }
        }
    }

    /// The kernel connects clients that the server has not accepted, until its backlog overflows.
    fn is_new_until_answered(&self) -> bool {
        self.load.everyone && !S::REPLACES
    }

    fn piece(&self) -> usize {
        match self.load.kind {
            Kind::Bulk { size } => size,
            _ => ROOM,
        }
    }

    /// Opens connections while some are missing.
    fn open(&mut self, now: Instant) {
        let is_missing = |crowd: &Self| match crowd.phase {
            Phase::Draining { .. } => false,
            _ if S::REPLACES => crowd.clients.len() < crowd.load.connections_in_all(),
            _ => crowd.created < crowd.load.connections_in_all(),
        };
        self.pause = self.pause.filter(|pause| now < *pause);
        while is_missing(self) && self.new < NEW_MAX && self.pause.is_none() {
            let (number, entry) = (self.created, self.clients.vacant_entry());
            let key = entry.key();
            let connected =
                connect(&self.load.target, &self.load.sources, self.load.tls.as_ref(), number)
                    .and_then(|mut stream| {
                        stream.register(self.poll.registry(), Token(key)).map(|()| stream)
                    });
            match connected {
                Ok(stream) => {
                    let start = self.pattern.start(number);
                    entry.insert(Client::new(stream, number, start, Instant::now()));
                    self.created += 1;
                    self.new += 1;
                    if !S::REPLACES {
                        self.keys.push(key);
                    }
                }
                Err(error) => {
                    self.pause = Some(now + PAUSE);
                    if error.kind() != ErrorKind::WouldBlock {
                        self.tally.error(Fault::Io(error).name());
                    }
                }
            }
        }
    }

    /// Gives connections the messages that are due by now.
    fn hand_out(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_running() {
            return None;
        }
        let mut numbers = std::mem::take(&mut self.numbers);
        let next = self.scheme.due(now, &mut numbers);
        let (message, piece) = (self.scheme.message(), self.piece());
        for number in numbers.drain(..) {
            let key = self.keys.get(number).copied();
            let client = key.and_then(|key| self.clients.get_mut(key));
            let Some(client) = client.filter(|client| client.number == number) else {
                self.tally.error("unanswered".to_owned());
                continue;
            };
            client.allowed += message;
            match client.write(&self.pattern, piece) {
                Ok(()) => self.list(key.unwrap_or_default()),
                Err(fault) => self.fail(key.unwrap_or_default(), &fault),
            }
        }
        self.numbers = numbers;
        next
    }

    /// Notes who has spent its budget.
    fn list(&mut self, key: usize) {
        if let Some(client) = self.clients.get_mut(key)
            && client.has_more()
            && !std::mem::replace(&mut client.is_listed, true)
        {
            self.again.push(key);
        }
    }

    fn wait(&self, now: Instant, next: Option<Instant>) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let phase_ends = match self.phase {
            Phase::Opening { from } => from + self.load.patience,
            Phase::WarmUp { until } | Phase::Draining { until, .. } => until,
            Phase::Measuring { from } => from + self.load.duration,
        };
        let until = phase_ends.min(self.next_tick);
        let until = self.pause.map_or(until, |pause| until.min(pause));
        let until = next.map_or(until, |next| until.min(next));
        match until.saturating_duration_since(now) {
            short if short < SLEEP_MIN => Duration::ZERO,
            long => long - SLEEP_MIN / 2,
        }
    }

    fn attend(&mut self, key: usize, event: Option<&Event>) {
        match self.serve(key, event) {
            Ok(Next::Stay) => self.list(key),
            Ok(Next::Close) => {
                if let Some(mut client) = self.clients.try_remove(key) {
                    client.stream.say_goodbye();
                }
            }
            Ok(Next::Reset) => {
                if let Some(client) = self.clients.try_remove(key) {
                    client.stream.reset_on_drop();
                }
            }
            Ok(Next::Finish) => self.finish(key),
            Err(fault) => self.fail(key, &fault),
        }
    }

    fn serve(&mut self, key: usize, event: Option<&Event>) -> Result<Next, Fault> {
        let (running, piece) = (self.is_running(), self.piece());
        let is_new_until_answered = self.is_new_until_answered();
        let Some(client) = self.clients.get_mut(key) else { return Ok(Next::Stay) };
        if client.state == State::Connecting {
            if !client.stream.is_connected()? {
                return Ok(Next::Stay);
            }
            client.state = State::Open;
            self.new -= usize::from(!is_new_until_answered);
            self.scheme.opened(client, Instant::now());
        }
        if let Some(event) = event {
            client.note(event);
        }
        if !client.is_readable() {
            client.write(&self.pattern, piece)?;
            return Ok(Next::Stay);
        }
        let is_first = client.received == 0;
        let arrived = client.read(&self.pattern, &mut self.room)?;
        let mut next = Next::Stay;
        if arrived.bytes > 0 {
            let now = Instant::now();
            self.tally.connections_answered += usize::from(is_first);
            self.new -= usize::from(is_first && is_new_until_answered);
            self.tally.arrived(arrived.bytes, now);
            next = self.scheme.advance(client, now, running, &mut self.tally);
        }
        match (arrived.end, client.state, next) {
            (true, State::Finishing, _) => {
                self.scheme.ended(client, Instant::now(), &mut self.tally);
                return Ok(Next::Close);
            }
            (true, _, Next::Stay) => return Err(Fault::ClosedEarly),
            _ => {}
        }
        client.write(&self.pattern, piece)?;
        Ok(next)
    }

    fn finish(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        (client.state, client.since) = (State::Finishing, Instant::now());
        if let Err(error) = client.stream.finish() {
            self.fail(key, &error.into());
        }
    }

    fn fail(&mut self, key: usize, fault: &Fault) {
        if let Some(client) = self.clients.try_remove(key) {
            self.tally.error(fault.name());
            let is_connecting = client.state == State::Connecting;
            if is_connecting || (client.received == 0 && self.is_new_until_answered()) {
                self.new -= 1;
            }
            if is_connecting {
                self.pause = Some(Instant::now() + PAUSE);
            }
        }
    }
}
