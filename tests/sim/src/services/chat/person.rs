//! One who takes part and means it: says numbered lines, room by room, and checks what it hears.

use std::io::ErrorKind;
use std::ops::Range;
use std::time::Duration;

use chat::{Framing, Incoming};
use reactor::ReadBuffer;
use reactor::sim::{Peer, PeerContext, PeerStream};

use super::model::{End, Listener, Model};

/// How often it looks whether the others have come to their end.
const LOOK: Duration = Duration::from_millis(20);
const ANSWERED: &str = "! unknown command: /said";
const ANSWERED_AGAIN: &str = "! unknown command: /heard";

/// What somebody will do.
pub(super) struct Plan {
    pub(super) number: usize,
    pub(super) framing: Framing,
    /// The server may have its reasons to close.
    pub(super) is_lenient: bool,
    /// Rooms, and how many lines it says in each.
    pub(super) steps: Vec<(&'static str, usize)>,
    pub(super) writes: (Range<usize>, Range<Duration>),
    pub(super) reads: (Range<usize>, Range<Duration>),
}

pub(super) struct Person {
    to: &'static str,
    plan: Plan,
    model: Model,
    listener: Listener,
    stream: Option<PeerStream>,
    says: Vec<u8>,
    /// Where lines begin in what it says, and their numbers.
    lines: Vec<(usize, usize)>,
    /// So many of them it has begun to write.
    begun: usize,
    sent: usize,
    next_write: Duration,
    next_read: Duration,
    input: ReadBuffer,
    incoming: Incoming,
    /// It has asked a last time, when all had come to their end.
    has_asked: bool,
    outcome: Option<Result<(), String>>,
}

impl Person {
    pub(super) fn new(to: &'static str, plan: Plan, model: Model) -> Self {
        let mut says = Vec::new();
        let mut lines = Vec::new();
        let add = |text: &str, at: &mut Vec<u8>| {
            plan.framing.frame(at, |wire| wire.extend_from_slice(text.as_bytes()));
        };
        for (index, &(room, count)) in plan.steps.iter().enumerate() {
            if index > 0 {
                add(&format!("/join {room}"), &mut says);
            }
            for _ in 0..count {
                let Some(line) = model.speaker(plan.number).map(|mut own| own.plan(room)) else {
                    continue;
                };
                lines.push((says.len(), line));
                add(&format!("line {} {line}", plan.number), &mut says);
            }
        }
        add("/said", &mut says);
        let listener = Listener::new(plan.number, model.clone());
        Self {
            to,
            model,
            listener,
            stream: None,
            says,
            lines,
            begun: 0,
            sent: 0,
            next_write: Duration::ZERO,
            next_read: Duration::ZERO,
            input: ReadBuffer::default(),
            incoming: Incoming::new(plan.framing, 0),
            has_asked: false,
            outcome: None,
            plan,
        }
    }

    fn end(&mut self, outcome: Result<(), String>) {
        self.outcome.get_or_insert(outcome);
        if let Some(mut own) = self.model.speaker(self.plan.number) {
            own.end.get_or_insert(End::Cut);
        }
    }

    /// The connection is at its end, before its time.
    fn cut(&mut self, why: &str, stream: PeerStream, cx: &mut PeerContext<'_>) {
        let excused = self.plan.is_lenient || cx.is_harmed(stream);
        let outcome =
            if excused { Ok(()) } else { Err(format!("{} was closed: {why}", self.plan.number)) };
        self.end(outcome);
        cx.close(stream);
    }

    /// How much may be done now, if it is time.
    fn allowed(next: Duration, size: &Range<usize>, cx: &mut PeerContext<'_>) -> Option<usize> {
        let now = cx.now();
        if now < next && !cx.is_calm() {
            cx.wake_after(next - now);
            return None;
        }
        Some(cx.random().size(size.clone()).max(1))
    }

    fn say(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        while self.sent < self.says.len() && self.outcome.is_none() {
            let Some(most) = Self::allowed(self.next_write, &self.plan.writes.0, cx) else {
                return;
            };
            let until = self.says.len().min(self.sent + most);
            let now = cx.now();
            if let Some(mut own) = self.model.speaker(self.plan.number) {
                while let Some(&(_, line)) =
                    self.lines.get(self.begun).filter(|(at, _)| *at < until)
                {
                    own.begins(line, now);
                    self.begun += 1;
                }
            }
            match cx.write(stream, self.says.get(self.sent..until).unwrap_or_default()) {
                Ok(count) => {
                    self.sent += count;
                    self.next_write = cx.now() + cx.random().time(&self.plan.writes.1.clone());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.cut(&error.to_string(), stream, cx),
            }
        }
    }

    fn hear(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        let mut room = [0; 4096];
        while self.outcome.is_none() {
            let Some(most) = Self::allowed(self.next_read, &self.plan.reads.0, cx) else { return };
            let most = most.min(room.len());
            match cx.read(stream, room.get_mut(..most).unwrap_or_default()) {
                Ok(0) => return self.cut("the end", stream, cx),
                Ok(count) => self.heard(room.get(..count).unwrap_or_default(), cx),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.cut(&error.to_string(), stream, cx),
            }
            self.next_read = cx.now() + cx.random().time(&self.plan.reads.1.clone());
        }
    }

    fn heard(&mut self, bytes: &[u8], cx: &mut PeerContext<'_>) {
        self.input.append(bytes);
        loop {
            let message = match self.incoming.next(&mut self.input) {
                Ok(Some(message)) => String::from_utf8_lossy(message).into_owned(),
                Ok(None) => return,
                Err(error) => return self.end(Err(error.to_string())),
            };
            if message == ANSWERED {
                if let Some(mut own) = self.model.speaker(self.plan.number) {
                    own.end = Some(End::Said);
                }
            } else if message == ANSWERED_AGAIN {
                let outcome = self.listener.has_heard_all();
                return self.end(outcome);
            }
            if let Err(complaint) = self.listener.hears(&message, cx.now()) {
                return self.end(Err(complaint));
            }
        }
    }

    /// When all have come to their end, it asks once more: the answer comes behind all that was said.
    fn ask_at_last(&mut self, cx: &mut PeerContext<'_>) {
        if self.outcome.is_some() || self.has_asked || self.sent < self.says.len() {
            return;
        }
        if self.model.is_over() {
            self.has_asked = true;
            self.plan.framing.frame(&mut self.says, |wire| wire.extend_from_slice(b"/heard"));
        } else {
            cx.wake_after(LOOK);
        }
    }
}

impl Peer for Person {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if self.outcome.is_some() {
            return;
        }
        let stream = match self.stream {
            Some(stream) => stream,
            None => *self.stream.insert(cx.connect(self.to)),
        };
        self.say(stream, cx);
        self.hear(stream, cx);
        self.ask_at_last(cx);
        self.say(stream, cx);
        if self.outcome.is_some() {
            cx.close(stream);
        }
    }

    fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.outcome {
            Some(outcome) => outcome.clone(),
            None => Err(format!("{} still waits for its answer", self.plan.number)),
        }
    }
}
