//! The handler: what each kind of connection is about, and what it is owed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use reactor::sim::{Complaints, Faults, Random};
use reactor::{
    Broadcast, CloseReason, ConnContext, ConnId, ConnectError, Context, Deadline, Handle, Handler,
    Origin, Pipes, ReadBuffer, SendError, TimerId,
};

use super::{NAME, NO_NAME, NOBODY, NOBODY_UNIX, UPSTREAM, UPSTREAM_UNIX};

/// What is said to who asks for a greeting, before it is hung up on.
pub(crate) const GREETING: &[u8] = &[b'h'; 500];

/// What is said now and then to who has said something in the room.
pub(crate) const NOTED: &[u8] = b"noted\n";

/// Nothing that is due may come later than this: no loop is busy for so long.
const LATE: Duration = Duration::from_secs(1);
/// Timers that run down before the clockwork rests.
const TICKS: u32 = 100;

/// What a thread says: the numbers of each sender count up.
pub(crate) struct Word {
    pub(crate) sender: usize,
    pub(crate) number: u64,
    /// The service says so many more things to its neighbour, or to itself.
    pub(crate) relays: u64,
}

/// Who a service is when it speaks.
const A_SERVICE: usize = usize::MAX;

#[derive(Default)]
pub(crate) struct Session {
    role: Option<u8>,
    /// It has paused over what it was lent, and goes on.
    goes_on: bool,
    collected: Vec<u8>,
    ticks: u32,
    /// Bytes that went into its pipe.
    carried: u64,
}

/// What a timer is for.
enum Purpose {
    Resume(ConnId),
    /// A connection is to have a deadline again.
    Ask(ConnId),
    Tick,
}

pub(crate) struct Everything {
    complaints: Complaints,
    faults: Faults,
    random: Random,
    /// Another loop's service, or this one itself.
    neighbour: Handle<Word>,
    /// Said to it, and not taken yet.
    unsaid: VecDeque<Word>,
    /// Since when it has had no room.
    full_since: Option<Instant>,
    said: u64,
    heard: BTreeMap<usize, u64>,
    timers: BTreeMap<TimerId, (Instant, Purpose)>,
    ticks: u32,
    /// Deadlines that are set.
    deadlines: BTreeMap<ConnId, Instant>,
    pipes: Pipes,
    room: Broadcast,
    /// When something was said in it that has not left yet.
    said_at: Option<Instant>,
    connects: BTreeMap<ConnId, (u8, Instant)>,
    careless: Vec<ConnId>,
    gone: VecDeque<ConnId>,
    /// It may stop the loop.
    stops: bool,
}

impl Everything {
    pub(crate) fn new(
        complaints: Complaints,
        faults: Faults,
        random: Random,
        neighbour: Handle<Word>,
        stops: bool,
    ) -> Self {
        Self {
            complaints,
            faults,
            random,
            neighbour,
            unsaid: VecDeque::new(),
            full_since: None,
            said: 0,
            heard: BTreeMap::new(),
            timers: BTreeMap::new(),
            ticks: 0,
            deadlines: BTreeMap::new(),
            pipes: Pipes::default(),
            room: Broadcast::default(),
            said_at: None,
            connects: BTreeMap::new(),
            careless: Vec::new(),
            gone: VecDeque::new(),
            stops,
        }
    }

    /// Sets the first timers.
    pub(crate) fn wind_up(&mut self, cx: &mut Context<'_>) {
        for _ in 0..4 {
            self.set_timer(Purpose::Tick, cx);
        }
    }

    fn delay(&mut self) -> Duration {
        // Whole milliseconds, so that some of them pass together.
        Duration::from_millis(self.random.below(40))
    }

    fn set_timer(&mut self, purpose: Purpose, cx: &mut Context<'_>) {
        let delay = self.delay();
        let timer = cx.set_timer(delay);
        self.timers.insert(timer, (cx.now() + delay, purpose));
    }

    /// One timer runs down, and others are moved and removed.
    fn tick(&mut self, cx: &mut Context<'_>) {
        self.ticks += 1;
        if self.ticks < TICKS {
            self.set_timer(Purpose::Tick, cx);
        }
        let ticking =
            self.timers.iter().filter(|(_, (_, purpose))| matches!(purpose, Purpose::Tick));
        let ticking: Vec<TimerId> = ticking.map(|(&timer, _)| timer).collect();
        let Some(&other) = self.random.pick(&ticking) else { return };
        match self.random.below(4) {
            0 => {
                self.complaints
                    .expect(cx.cancel_timer(other), || format!("{other:?} is not there"));
                self.timers.remove(&other);
                self.complaints.expect(!cx.cancel_timer(other), || format!("{other:?} is there"));
                self.set_timer(Purpose::Tick, cx);
            }
            1 => {
                let delay = self.delay();
                self.complaints
                    .expect(cx.rearm_timer(other, delay), || format!("{other:?} is not there"));
                self.timers.insert(other, (cx.now() + delay, Purpose::Tick));
            }
            _ => {}
        }
    }

    fn speak_on(&mut self, cx: &mut Context<'_>) {
        self.full_since = None;
        while let Some(word) = self.unsaid.pop_front() {
            match cx.send_message(&self.neighbour, word) {
                Ok(()) => self.said += 1,
                Err(SendError::Closed(_)) => return,
                Err(error) => {
                    self.full_since = Some(cx.now());
                    return self.unsaid.push_front(error.into_message());
                }
            }
        }
    }

    /// Takes the byte that says what it is about.
    fn begin(&mut self, session: &mut Session, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        if session.role.is_some() || matches!(cx.origin(), Origin::Connected) {
            return;
        }
        session.role = input.as_slice().first().copied();
        input.consume(1);
        match session.role {
            Some(b'r') => {
                self.room.join(cx.id());
            }
            Some(b'x') => {
                self.careless.push(cx.id());
                if self.random.chance(0.5) {
                    // Tens of milliseconds: some of them pass together.
                    cx.set_deadline(Duration::from_millis(10 + self.random.below(3) * 10));
                }
            }
            _ => {}
        }
    }

    /// A loop that has room for one more message says so, sooner or later.
    fn check_patience(&self, cx: &Context<'_>) {
        let is_heard = self.full_since.is_none_or(|since| cx.now() < since + LATE);
        self.complaints.expect(is_heard, || "nobody told of room in an inbox".to_owned());
        let has_left = self.said_at.is_none_or(|at| cx.now() == at);
        self.complaints.expect(has_left, || "a turn had no end".to_owned());
    }

    fn say_in_room(&mut self, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        let lines = whole_lines(input);
        if !lines.is_empty() {
            self.said_at = Some(cx.now());
        }
        self.room.say(Some(cx.id()), &[lines], cx);
        if self.random.chance(0.2) {
            self.room.send_to(cx.id(), NOTED, cx);
        }
    }

    /// What comes at one end of a pipe leaves at the other, which has room for it.
    fn pass_on(&mut self, session: &mut Session, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        let id = cx.id();
        if let Some(peer) = self.pipes.peer_of(id).and_then(|peer| cx.at(peer)) {
            let complaint = || format!("{id} is read, and its other end is full");
            self.complaints.expect(!peer.is_full(), complaint);
        }
        let count = input.len();
        if self.pipes.on_data(input, cx) {
            session.carried += count as u64;
        }
    }

    fn end_pipe(&mut self, session: &Session, cx: &mut ConnContext<'_>) {
        let (id, is_first) = (cx.id(), session.role.is_some());
        if let Some(carried) = self.pipes.on_end(id, cx) {
            let told = if is_first { carried.forward } else { carried.backward };
            let expected = session.carried;
            self.complaints
                .expect(told == expected, || format!("{id} sent {expected}, not {told}"));
        }
    }

    fn greet(&mut self, cx: &mut ConnContext<'_>) {
        cx.send(GREETING);
        cx.close();
    }

    /// Every other time it is lent something, it leaves it there and wants nothing for a while.
    fn hesitate(
        &mut self,
        session: &mut Session,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        session.goes_on = !session.goes_on;
        if session.goes_on {
            cx.pause();
            self.set_timer(Purpose::Resume(cx.id()), cx);
        } else {
            cx.forward(input);
        }
    }

    fn ask_for_deadline(&mut self, cx: &mut ConnContext<'_>) {
        let delay = self.delay();
        cx.set_deadline(delay);
        self.deadlines.insert(cx.id(), cx.now() + delay);
    }

    /// It was set once, and passes once: not early, and not late.
    fn check_deadline(&mut self, cx: &ConnContext<'_>) {
        let (now, id) = (cx.now(), cx.id());
        let due = self.deadlines.remove(&id);
        self.complaints.expect(due.is_some(), || format!("a deadline of {id} that was not set"));
        if let Some(due) = due {
            self.complaints.expect(now >= due, || format!("the deadline of {id} is early"));
            self.complaints.expect(now < due + LATE, || format!("the deadline of {id} is late"));
        }
    }

    /// Who goes takes a friend along, now and then.
    fn take_along(&mut self, cx: &mut ConnContext<'_>) {
        if let Some(&friend) = self.random.pick(&self.careless)
            && self.random.chance(0.3)
            && let Some(mut friend) = cx.at(friend)
        {
            friend.abort();
        }
    }

    fn connect(&mut self, session: &mut Session, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        if self.pipes.peer_of(cx.id()).is_none()
            && let Some(&target) = input.as_slice().first()
        {
            input.consume(1);
            let to = match target {
                b'g' => UPSTREAM,
                b'n' => NAME,
                b'h' => UPSTREAM_UNIX,
                b'r' => NOBODY,
                b's' => NOBODY_UNIX,
                _ => NO_NAME,
            };
            let upstream = cx.connect(to);
            self.connects.insert(upstream, (target, cx.now()));
            self.pipes.join(cx.id(), upstream, cx);
        }
        if self.pipes.peer_of(cx.id()).is_some() {
            self.pass_on(session, input, cx);
        }
    }

    /// Does what comes to mind, to itself and to others.
    fn be_careless(&mut self, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        for &gone in &self.gone {
            self.complaints
                .expect(!cx.send_to(gone, b"?"), || format!("{gone} is gone, and takes"));
            self.complaints.expect(cx.at(gone).is_none(), || format!("{gone} is gone, and there"));
        }
        let other = self.random.pick(&self.careless).copied().unwrap_or_else(|| cx.id());
        match self.random.below(12) {
            0 => cx.close(),
            1 => cx.abort(),
            2 => cx.finish(),
            3 => {
                cx.pause();
                self.set_timer(Purpose::Resume(cx.id()), cx);
            }
            4 | 5 => {
                if let Some(mut other) = cx.at(other) {
                    other.send(input.as_slice());
                }
            }
            6 => {
                if let Some(mut other) = cx.at(other) {
                    other.abort();
                }
            }
            7 => {
                if let Some(mut other) = cx.at(other) {
                    other.send(b"bye");
                    other.close();
                }
            }
            8 => cx.at_turn_end(),
            9 if self.random.chance(0.5) => self.connect_carelessly(cx),
            10 if self.stops && self.random.chance(0.05) => cx.stop(),
            9 | 10 => cx.set_deadline(Duration::from_millis(self.random.below(20))),
            _ => {
                cx.forward(input);
            }
        }
        input.take();
    }

    /// Nobody waits for it, and somebody may not want it any more, at once or later.
    fn connect_carelessly(&mut self, cx: &mut ConnContext<'_>) {
        let (target, to) = if self.random.chance(0.5) { (b'g', UPSTREAM) } else { (b'n', NAME) };
        let id = cx.connect(to);
        if self.random.chance(0.3)
            && let Some(mut wished) = cx.at(id)
        {
            return wished.abort();
        }
        self.connects.insert(id, (target, cx.now()));
        self.careless.push(id);
    }

    /// A connect that failed had a reason, and told it in time.
    fn check_failure(&mut self, id: ConnId, error: &ConnectError, cx: &Context<'_>) {
        let Some((target, began)) = self.connects.remove(&id) else { return };
        let Faults { connect_lost, name_failed, no_descriptors, .. } = self.faults;
        let expected = match target {
            _ if is_ours(error) => return,
            b'r' if connect_lost == 0.0 && no_descriptors == 0.0 => ConnectError::Refused,
            b'u' if name_failed == 0.0 => ConnectError::NotFound,
            b's' if no_descriptors == 0.0 => ConnectError::NotFound,
            _ => return,
        };
        self.complaints
            .expect(*error == expected, || format!("{id} failed by {error}, not {expected}"));
        let took = cx.now().saturating_duration_since(began);
        let most = if self.faults.name_slow > 0.0 { 12 * LATE } else { LATE };
        self.complaints.expect(took < most, || format!("{id} failed after {took:?}"));
    }
}

/// Whether this end is to blame.
fn is_ours(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Cancelled | ConnectError::Limit | ConnectError::Panicked)
}

/// Takes the lines that are there; half a line stays.
fn whole_lines(input: &mut ReadBuffer) -> &[u8] {
    let end = input.as_slice().iter().rposition(|&byte| byte == b'\n');
    input.take_up_to(end.map_or(0, |end| end + 1))
}

impl Handler for Everything {
    type Session = Session;
    type Message = Word;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> Session {
        if matches!(cx.origin(), Origin::Connected) {
            let target = self.connects.remove(&cx.id()).map(|(target, _)| target);
            let stands = matches!(target, Some(b'g' | b'n' | b'h'));
            self.complaints.expect(stands, || format!("{} stands, and cannot", cx.id()));
            if self.pipes.peer_of(cx.id()).is_none() {
                cx.close(); // it was wished for carelessly
            }
        }
        Session::default()
    }

    fn on_data(&mut self, session: &mut Session, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.begin(session, input, cx);
        match session.role {
            None => self.pass_on(session, input, cx),
            Some(b'c') => self.connect(session, input, cx),
            Some(b'g') => self.greet(cx),
            Some(b'p') if !input.is_empty() => self.hesitate(session, input, cx),
            Some(b'w') => session.collected.extend_from_slice(input.take()),
            Some(b'd') => {
                input.take();
                self.ask_for_deadline(cx);
            }
            Some(b'l') => {
                cx.send(whole_lines(input));
            }
            Some(b'r') => self.say_in_room(input, cx),
            Some(b'x') => self.be_careless(input, cx),
            Some(b'z') => {
                input.take();
                cx.pause(); // for good
            }
            Some(_) => {
                cx.forward(input);
            }
        }
    }

    fn on_eof(&mut self, session: &mut Session, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        match session.role {
            None | Some(b'c') => {
                self.pass_on(session, input, cx);
                self.pipes.on_eof(input, cx);
            }
            Some(b'f') => {
                cx.forward(input);
                cx.finish();
                let takes = cx.send(b"?");
                self.complaints.expect(!takes, || format!("{} has finished, and takes", cx.id()));
            }
            Some(b'w') => {
                session.collected.extend_from_slice(input.take());
                self.ask_for_deadline(cx);
            }
            Some(b'p') => {
                cx.forward(input);
                cx.close();
            }
            Some(b'd') => {} // it has its deadline
            _ => cx.close(),
        }
    }

    fn on_drained(&mut self, session: &mut Session, cx: &mut ConnContext<'_>) {
        if matches!(session.role, None | Some(b'c')) {
            self.pipes.on_drained(cx);
        }
    }

    fn on_deadline(&mut self, session: &mut Session, which: Deadline, cx: &mut ConnContext<'_>) {
        match (which, session.role) {
            (Deadline::Set, Some(b'x')) => {
                self.take_along(cx);
                return cx.close();
            }
            (Deadline::Set, _) => self.check_deadline(cx),
            (Deadline::Idle, _) if self.random.chance(0.5) => return, // another time, perhaps
            _ => return cx.close(),
        }
        if session.role == Some(b'w') {
            cx.send(&session.collected);
            return cx.close();
        }
        session.ticks += 1;
        cx.send(b"!");
        match session.ticks {
            3.. => cx.close(),
            1 => self.set_timer(Purpose::Ask(cx.id()), cx), // meanwhile it has none
            _ => self.ask_for_deadline(cx),
        }
    }

    fn on_close(&mut self, session: Session, reason: &CloseReason, cx: &mut ConnContext<'_>) {
        let id = cx.id();
        let was_asked = session.role == Some(b'f') && *reason == CloseReason::Asked;
        self.complaints.expect(!was_asked, || format!("nobody asked {id} to close"));
        self.complaints.expect(!self.gone.contains(&id), || format!("{id} ends again"));
        self.gone.push_back(id);
        if self.gone.len() > 8 {
            self.gone.pop_front();
        }
        self.deadlines.remove(&id);
        self.careless.retain(|&other| other != id);
        match session.role {
            None | Some(b'c') => self.end_pipe(&session, cx),
            Some(b'r') => {
                self.room.leave(id, cx);
            }
            Some(b'x') => self.take_along(cx),
            _ => {}
        }
    }

    fn on_connect_failed(&mut self, id: ConnId, error: ConnectError, cx: &mut Context<'_>) {
        self.check_failure(id, &error, cx);
        self.careless.retain(|&other| other != id);
        self.pipes.on_end(id, cx);
    }

    fn on_message(&mut self, word: Word, cx: &mut Context<'_>) {
        let heard = self.heard.entry(word.sender).or_default();
        *heard += 1;
        let expected = *heard;
        self.complaints.expect(word.number == expected, || {
            format!("word {} of a sender came as its {expected}th", word.number)
        });
        for _ in 0..word.relays {
            let number = self.said + self.unsaid.len() as u64 + 1;
            self.unsaid.push_back(Word { sender: A_SERVICE, number, relays: 0 });
        }
        self.speak_on(cx);
    }

    fn on_inbox_drained(&mut self, cx: &mut Context<'_>) {
        self.speak_on(cx);
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        let Some((due, purpose)) = self.timers.remove(&timer) else {
            return self.complaints.expect(false, || format!("{timer:?} passes, and is not set"));
        };
        let now = cx.now();
        self.check_patience(cx);
        self.complaints.expect(now >= due, || format!("{timer:?} is early"));
        self.complaints.expect(now < due + LATE, || format!("{timer:?} is late"));
        match purpose {
            Purpose::Tick => self.tick(cx),
            Purpose::Ask(id) => {
                if let Some(mut asked) = cx.at(id)
                    && asked.can_send()
                {
                    self.ask_for_deadline(&mut asked);
                }
            }
            Purpose::Resume(id) => {
                if let Some(mut paused) = cx.at(id) {
                    paused.resume();
                }
            }
        }
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        self.said_at = None;
        self.room.flush(cx);
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        self.check_patience(cx);
        let overdue = self.timers.values().find(|(due, _)| now >= *due + LATE);
        self.complaints.expect(overdue.is_none(), || "a timer has not passed".to_owned());
    }
}
