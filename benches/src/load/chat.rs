//! A room of a chat: some say numbered lines, and everyone else verifies that each arrives, once and in order.
//!
//! ```text
//!   gathering ------> warm-up ------> measuring ------> done
//!   until each has    until all is    from silence to silence: all that was
//!   heard a probe     heard           said in the time, until all is heard
//! ```
//!
//! Nothing is on its way when it is first looked at the server, and nothing when it is last: its CPU time is that of
//! the deliveries that are counted, and of no other.

mod gather;
mod member;
mod text;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};

use self::member::Member;
use self::text::{Line, Purpose, Script};
use super::outcome::{Outcome, Progress, Tally};
use super::socket::connections_max;
use super::{Load, LoadError, Watch};

/// Who speaks in the room, and how fast. Who listens is [`Load::connections`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    pub senders: usize,
    /// Lines a second of all senders together; without it as many as go.
    pub rate: Option<f64>,
    /// How many lines a sender may be ahead of the slowest listener.
    pub ahead: usize,
}

impl Room {
    /// [`ahead`](Self::ahead), if nothing else is asked for: ten senders then have some 90 KiB on the way to each.
    pub const AHEAD: usize = 128;
    /// As many as the lines have numbers for.
    pub const SENDERS_MAX: usize = 10_000;
}

const BUFFER: usize = 256 * 1024;
/// The warm-up is done with less on the way: a slow server has all of it to finish before it is measured.
const WARM_UP_PART: usize = 8;
const TICK: Duration = Duration::from_millis(100);
/// What is due sooner is waited for awake.
const AWAKE: Duration = Duration::from_millis(2);
/// At full speed, the latency is told of one line in so many of a sender's.
const SAMPLED: u64 = 16;

/// What a sender has said.
#[derive(Default)]
struct Sender {
    said: u64,
    /// All before this number were heard by everyone.
    heard: u64,
    /// When the lines from `heard` on were due.
    due: VecDeque<Instant>,
}

struct Crowd<'a> {
    load: &'a Load,
    room: Room,
    script: Script,
    poll: Poll,
    /// By token; the first are the senders. `None` is one whose connection has ended.
    members: Vec<Option<Member>>,
    senders: Vec<Sender>,
    tally: Tally,
    buffer: Vec<u8>,
    begun: Instant,
    next_tick: Instant,
    /// When anything was last heard.
    last_heard: Instant,
    /// Something was heard that `heard` of the senders does not know yet.
    has_heard: bool,
}

pub(super) fn run(load: &Load, room: Room, watch: &mut dyn Watch) -> Result<Outcome, LoadError> {
    if load.tls.is_some() {
        return Err(LoadError::new("chat speaks no TLS"));
    }
    let (asked, most) = (load.connections_in_all(), connections_max());
    if asked > most {
        return Err(LoadError::new(format_args!("{asked} connections do not fit: {most} do")));
    }
    let watched = |error: io::Error| LoadError::new(format_args!("cannot measure: {error}"));
    let mut crowd = Crowd::new(load, room).map_err(LoadError::new)?;
    crowd.gather(watch)?;
    crowd.room.ahead = (room.ahead / WARM_UP_PART).max(1);
    crowd.speak(load.warm_up, watch).map_err(LoadError::new)?;
    crowd.room.ahead = room.ahead;
    watch.started().map_err(watched)?;
    let from = Instant::now();
    crowd.tally.measure(from);
    crowd.speak(load.duration, watch).map_err(LoadError::new)?;
    let to = Instant::now();
    crowd.tally.end(to);
    watch.ended().map_err(watched)?;
    Ok(crowd.outcome(to.duration_since(from)))
}

impl<'a> Crowd<'a> {
    fn new(load: &'a Load, room: Room) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            load,
            room,
            script: Script::new(fastrand::u32(..)),
            poll: Poll::new()?,
            members: Vec::new(),
            senders: (0..room.senders).map(|_| Sender::default()).collect(),
            tally: Tally::new(),
            buffer: vec![0; BUFFER],
            begun: now,
            next_tick: now,
            last_heard: now,
            has_heard: false,
        })
    }

    /// For so long lines are said; then it goes on until all of them are heard.
    fn speak(&mut self, duration: Duration, watch: &mut dyn Watch) -> io::Result<()> {
        let from = Instant::now();
        let until = from + duration;
        let mut pace = self.room.rate.map(|rate| Pace { from, until, rate, said: 0 });
        self.last_heard = from;
        loop {
            let now = Instant::now();
            let is_enough = self.load.count.is_some_and(|count| self.tally.operations >= count);
            // What was due in time is said, late as it is: else a slow load would forgive itself.
            let is_said = pace.as_ref().map_or(now >= until, Pace::is_over) || is_enough;
            if is_said && self.is_silent() {
                return Ok(());
            }
            if now >= self.last_heard.max(until) + self.load.patience {
                self.miss(now);
                return Ok(());
            }
            let wait = match &mut pace {
                _ if is_said => TICK,
                Some(pace) => self.say_what_is_due(pace, now),
                None => {
                    self.say_all(now);
                    TICK
                }
            };
            for number in 0..self.senders.len() {
                self.flush(number);
            }
            self.turn("speaking", Some(wait.min(TICK)), watch)?;
        }
    }

    /// Each sender says as much as it may.
    fn say_all(&mut self, now: Instant) {
        for sender in 0..self.senders.len() {
            while self.may_say(sender) {
                self.say_next(sender, now);
            }
        }
    }

    /// The senders say in turn what is due; when it is next.
    fn say_what_is_due(&mut self, pace: &mut Pace, now: Instant) -> Duration {
        loop {
            let due = pace.due();
            if pace.is_over() {
                return TICK;
            }
            let left = due.saturating_duration_since(now);
            if !left.is_zero() {
                return if left < AWAKE { Duration::ZERO } else { left - AWAKE / 2 };
            }
            let senders = u64::try_from(self.senders.len()).unwrap_or(1);
            let sender = usize::try_from(pace.said % senders.max(1)).unwrap_or(0);
            if !self.may_say(sender) {
                return TICK; // it is late, and its latency will say so
            }
            self.say_next(sender, due);
            pace.said += 1;
        }
    }

    fn may_say(&self, sender: usize) -> bool {
        let is_there = self.members.get(sender).is_some_and(Option::is_some);
        is_there && self.senders.get(sender).is_some_and(|it| it.due.len() < self.room.ahead)
    }

    fn say_next(&mut self, sender: usize, due: Instant) {
        let Some(state) = self.senders.get_mut(sender) else { return };
        let number = state.said;
        state.said += 1;
        state.due.push_back(due);
        self.say(sender, Line { purpose: Purpose::Message, sender, number });
    }

    fn say(&mut self, number: usize, line: Line) {
        if let Some(member) = self.members.get_mut(number).and_then(Option::as_mut) {
            self.script.write(line, &mut member.output);
        }
    }

    fn flush(&mut self, number: usize) {
        let Some(member) = self.members.get_mut(number).and_then(Option::as_mut) else { return };
        if let Err(error) = member.flush() {
            self.lose(number, &error.kind().to_string());
        }
    }

    /// Waits for events, and hears what there is.
    fn turn(
        &mut self,
        phase: &'static str,
        wait: Option<Duration>,
        watch: &mut dyn Watch,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        match self.poll.poll(&mut events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            self.serve(event);
        }
        if std::mem::take(&mut self.has_heard) {
            self.find_heard();
        }
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            watch.progress(&Progress {
                phase,
                elapsed: now.duration_since(self.begun),
                connections_answered: self.count_who_heard(1),
                operations: self.tally.operations,
                errors: self.tally.errors.values().sum(),
            });
        }
        Ok(())
    }

    fn serve(&mut self, event: &Event) {
        let number = event.token().0;
        let Self { members, tally, senders, script, buffer, has_heard, last_heard, room, .. } =
            self;
        let Some(Some(member)) = members.get_mut(number) else { return };
        if !member.is_connected {
            match member.stream.is_connected() {
                Ok(false) => return,
                Ok(true) => (member.is_connected, *last_heard) = (true, Instant::now()),
                Err(error) => return self.lose(number, &error.kind().to_string()),
            }
        }
        let now = Instant::now();
        let sampled = if room.rate.is_some() { 1 } else { SAMPLED };
        let has_hung_up = event.is_read_closed() || event.is_error();
        let read = member.read(buffer, has_hung_up, |member, input| {
            (*has_heard, *last_heard) = (true, now);
            tally.arrived(input.len(), now);
            let heard = member.hear(input, script, sampled);
            tally.operations(heard.messages, now);
            for (sender, number) in heard.samples {
                let Some(sender) = senders.get(sender) else { continue };
                let at = number.checked_sub(sender.heard).map(usize::try_from);
                if let Some(Ok(Some(due))) = at.map(|at| at.map(|at| sender.due.get(at))) {
                    tally.latency_since(*due, now);
                }
            }
            heard.faults.into_iter().for_each(|fault| tally.error(fault));
        });
        match read.and_then(|has_ended| member.flush().map(|()| has_ended)) {
            Ok(false) => {}
            Ok(true) => self.lose(number, "closed early"),
            Err(error) => self.lose(number, &error.kind().to_string()),
        }
    }

    /// Its connection has ended, and nobody waits for it any more.
    fn lose(&mut self, number: usize, why: &str) {
        if let Some(member) = self.members.get_mut(number) {
            *member = None;
            self.tally.error(why.to_owned());
            self.has_heard = true;
        }
    }

    /// What of each sender everyone has heard.
    fn find_heard(&mut self) {
        let mut all: Vec<u64> = self.senders.iter().map(|sender| sender.said).collect();
        for (number, member) in self.members.iter().enumerate() {
            let Some(member) = member else { continue };
            for (sender, (all, next)) in all.iter_mut().zip(&member.next).enumerate() {
                if sender != number && next < all {
                    *all = *next;
                }
            }
        }
        for (sender, all) in self.senders.iter_mut().zip(all) {
            while sender.heard < all {
                sender.heard += 1;
                sender.due.pop_front();
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.senders.iter().all(|sender| sender.due.is_empty())
    }

    /// What has not arrived never will.
    fn miss(&mut self, now: Instant) {
        let Self { members, senders, tally, .. } = self;
        for (number, member) in members.iter().enumerate() {
            let Some(member) = member else { continue };
            for (index, (sender, next)) in senders.iter().zip(&member.next).enumerate() {
                if index != number {
                    let arrived = usize::try_from(next.saturating_sub(sender.heard));
                    let missing = sender.due.iter().skip(arrived.unwrap_or(usize::MAX));
                    missing.for_each(|due| tally.unanswered(*due, now));
                }
            }
        }
        for sender in senders {
            sender.heard = sender.said;
            sender.due.clear();
        }
    }

    fn outcome(&self, measured: Duration) -> Outcome {
        let tally = &self.tally;
        let seconds = measured.max(Duration::from_nanos(1)).as_secs_f64();
        let others = self.load.connections_in_all().saturating_sub(1) as f64;
        Outcome {
            mode: self.load.kind.name().to_owned(),
            connections: self.load.connections_in_all(),
            connections_answered: tally.connections_answered,
            seconds,
            operations: tally.operations,
            operations_in_all: tally.operations_in_all,
            per_second: tally.operations as f64 / seconds,
            asked_per_second: self.room.rate.map(|rate| rate * others),
            bytes: tally.bytes,
            bytes_per_second: tally.bytes as f64 / seconds,
            latency: tally.latencies(),
            errors: tally.errors.clone(),
        }
    }
}

/// Lines at even distances.
struct Pace {
    from: Instant,
    until: Instant,
    rate: f64,
    said: u64,
}

impl Pace {
    fn due(&self) -> Instant {
        self.from + Duration::from_secs_f64(self.said as f64 / self.rate)
    }

    /// All that is due in time has been said.
    fn is_over(&self) -> bool {
        self.due() >= self.until
    }
}
