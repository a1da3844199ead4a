//! The client: what is typed goes to the server, what the server says is shown, and a connection that is
//! lost is made anew.
//!
//! ```text
//!  typed --Input--> on_message --> queue --> server
//!                      | not connected: kept, at most 1,000 lines
//!  shown <--Output-- on_data <-- (paused while the output does not keep up) <-- server
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use reactor::{
    Bytes, CloseReason, ConnContext, ConnId, Connect, ConnectError, Context, Deadline, Handler,
    Limits, ReadBuffer, Target, TimerId,
};
use servers_common::{
    Backoff, Failure, Input, InputEvent, Output, OutputEvent, explain_close, explain_connect,
};

use crate::presence::{Farewell, Presence};
use crate::protocol::{Framing, Incoming, clean};

/// Lines that are kept while there is no connection.
const KEPT_MAX: usize = 1000;
/// Bytes that may wait for the output before the server is read no more.
const OUTPUT_MAX: usize = 256 * 1024;
/// When to ask again for a name that somebody has.
const NAME_AGAIN: Duration = Duration::from_secs(1);
/// And how often.
const NAME_ATTEMPTS: u32 = 10;

/// What the threads tell the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// A line was typed.
    Typed(InputEvent),
    /// Something was shown.
    Shown(OutputEvent),
}

/// Where a client goes, and how it shows what it hears.
#[derive(Debug)]
pub struct ClientPlan {
    /// The connection as it is wished for.
    pub connect: Connect,
    /// Where that leads, as errors are to call it.
    pub address: Target,
    /// How long the server may take to finish after us; [`Duration::MAX`]: for ever.
    pub timeout: Duration,
    /// How often to try the first connection again; one that is lost is tried for ever.
    pub retries: u32,
    /// How messages follow each other.
    pub framing: Framing,
    /// What to be called.
    pub name: Option<String>,
    /// Whether notices, errors and whispers are told apart by colour.
    pub has_colours: bool,
    /// Where is told that a connection is lost, that it stands again, and what is dropped; `None`: among
    /// all that is shown.
    pub tell: Option<fn(&str)>,
}

/// One who takes part in a chat.
///
/// It [starts](Self::start) when it is told to, and stops its loop when it is done; the
/// [`outcome`](Self::outcome) says how that went.
#[derive(Debug)]
pub struct ChatClient {
    plan: ClientPlan,
    presence: Presence,
    backoff: Backoff,
    input: Input,
    output: Output,
    connection: Option<ConnId>,
    /// It stands.
    is_connected: bool,
    /// It has stood before.
    was_connected: bool,
    /// What was typed while there was none. Invariant: at most `KEPT_MAX`.
    kept: VecDeque<Vec<u8>>,
    dropped: usize,
    /// Nothing more will be typed.
    has_ended: bool,
    /// Runs until the next attempt to connect.
    next_attempt: Option<TimerId>,
    /// Runs until its name is asked for again.
    next_name: Option<TimerId>,
    name_attempts: u32,
    outcome: Option<Result<(), Failure>>,
}

impl ChatClient {
    /// A client of these two.
    pub fn new(plan: ClientPlan, input: Input, output: Output) -> Self {
        Self {
            presence: Presence::new(plan.name.clone()),
            backoff: Backoff::default(),
            input,
            output,
            connection: None,
            is_connected: false,
            was_connected: false,
            kept: VecDeque::new(),
            dropped: 0,
            has_ended: false,
            next_attempt: None,
            next_name: None,
            name_attempts: 0,
            outcome: None,
            plan,
        }
    }

    /// What it is to be added with. It listens although its own queue is full, or both could wait for ever.
    pub fn limits() -> Limits {
        Limits { queue_max: 0, input_max: 0, reads_when_full: true, ..Limits::default() }
    }

    /// Begins to connect, and to take what is typed.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        self.input.ask();
        self.connect(cx);
    }

    /// How it went.
    ///
    /// # Errors
    /// Why it ended before its time.
    pub fn outcome(&self) -> Result<(), Failure> {
        self.outcome.clone().unwrap_or_else(|| Err(Failure::run("interrupted")))
    }

    fn connect(&mut self, cx: &mut Context<'_>) {
        self.connection = Some(cx.connect(self.plan.connect.clone()));
    }

    /// The first word is the last.
    fn settle(&mut self, outcome: Result<(), Failure>, cx: &mut Context<'_>) {
        self.outcome.get_or_insert(outcome);
        if let Some(mut connection) = self.connection.and_then(|id| cx.at(id)) {
            connection.close();
        }
        self.stop_if_shown(cx);
    }

    fn fail(&mut self, why: impl std::fmt::Display, cx: &mut Context<'_>) {
        let text = format!("{}: {why}", self.plan.address);
        self.settle(Err(Failure::run(text)), cx);
    }

    fn stop_if_shown(&mut self, cx: &mut Context<'_>) {
        if self.outcome.is_some() && self.output.waiting() == 0 {
            cx.shutdown(Duration::ZERO);
        }
    }

    fn tell(&mut self, text: &str) {
        match self.plan.tell {
            Some(tell) => tell(text),
            None => self.output.write(Bytes::from(format!("! {text}\n"))),
        }
    }

    /// Waits a little, and connects again.
    fn try_again(&mut self, why: &str, cx: &mut Context<'_>) {
        let wait = self.backoff.next_wait();
        self.tell(&format!("{}: {why}; trying again in {wait:.1?}", self.plan.address));
        self.next_attempt = Some(cx.set_timer(wait));
    }

    fn send(&self, line: &[u8], cx: &mut ConnContext<'_>) {
        let mut wire = Vec::with_capacity(line.len() + 4);
        self.plan.framing.frame(&mut wire, |wire| wire.extend_from_slice(line));
        cx.send_block(wire);
    }

    fn typed(&mut self, event: InputEvent, cx: &mut Context<'_>) {
        let line = match event {
            InputEvent::Bytes(line) => line,
            InputEvent::End => {
                self.has_ended = true;
                if self.was_connected && !self.is_connected && self.kept.is_empty() {
                    return self.settle(Ok(()), cx); // there is nothing to come back for
                }
                return self.leave(cx);
            }
            InputEvent::Failed(why) => {
                let text = format!("cannot read stdin: {why}");
                return self.settle(Err(Failure::run(text)), cx);
            }
        };
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.connection.filter(|_| self.is_connected).and_then(|id| cx.at(id)) {
            Some(mut connection) => {
                self.send(line, &mut connection);
                if !connection.is_full() {
                    self.input.ask();
                }
            }
            None => {
                self.keep(line);
                self.input.ask();
            }
        }
    }

    fn keep(&mut self, line: &[u8]) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push_back(line.to_vec());
            return;
        }
        self.dropped += 1;
        if self.dropped == 1 {
            self.tell(&format!(
                "{KEPT_MAX} lines wait for a connection: what is typed now is dropped"
            ));
        }
    }

    /// When nothing more is typed, and all of it is on its way: finishes, and hears what is still to come.
    fn leave(&mut self, cx: &mut Context<'_>) {
        if !self.has_ended || !self.is_connected {
            return;
        }
        if let Some(mut connection) = self.connection.and_then(|id| cx.at(id)) {
            connection.finish();
            connection.set_deadline(self.plan.timeout);
        }
    }

    fn heard(&mut self, message: &[u8], shown: &mut Vec<u8>, cx: &mut Context<'_>) {
        let text = String::from_utf8_lossy(message);
        if self.presence.is_refused(&text) && self.name_attempts > 0 && self.next_name.is_none() {
            self.name_attempts -= 1;
            self.next_name = Some(cx.set_timer(NAME_AGAIN));
        }
        self.presence.hears(&text);
        let colour = if self.plan.has_colours { colour(&text) } else { "" };
        shown.extend_from_slice(colour.as_bytes());
        clean(message, shown);
        shown.extend_from_slice(if colour.is_empty() { "\n" } else { "\x1b[0m\n" }.as_bytes());
    }

    fn ask_for_name(&mut self, cx: &mut Context<'_>) {
        let Some(id) = self.connection.filter(|_| self.is_connected) else { return };
        if let Some(mut connection) = cx.at(id)
            && let Some(name) =
                self.presence.greeting().first().filter(|first| first.starts_with("/name "))
        {
            self.send(name.as_bytes(), &mut connection);
        }
    }

    fn shown(&mut self, event: OutputEvent, cx: &mut Context<'_>) {
        match event {
            OutputEvent::Wrote(count) => {
                self.output.wrote(count);
                if self.output.waiting() < OUTPUT_MAX
                    && let Some(mut connection) = self.connection.and_then(|id| cx.at(id))
                {
                    connection.resume();
                }
                self.stop_if_shown(cx);
            }
            OutputEvent::Failed(why) => {
                self.output.wrote(self.output.waiting()); // nothing of it will be
                self.outcome.take_if(|outcome| outcome.is_ok());
                self.settle(Err(Failure::run(format!("cannot write to stdout: {why}"))), cx);
            }
        }
    }

    /// The connection is no more.
    fn lost(&mut self, reason: &CloseReason, cx: &mut Context<'_>) {
        self.is_connected = false;
        self.connection = None;
        if self.outcome.is_some() {
            return;
        }
        match self.presence.farewell() {
            Some(Farewell::Bye) => self.settle(Ok(()), cx),
            Some(Farewell::Refused(why)) => {
                let text = format!("closed by the server: {why}");
                self.fail(text, cx);
            }
            // We have finished, and so has the server.
            None if self.has_ended && *reason == CloseReason::Eof => self.settle(Ok(()), cx),
            None if self.has_ended && self.kept.is_empty() => self.fail(explain_close(reason), cx),
            None => self.try_again(&explain_close(reason), cx),
        }
    }
}

/// What tells notices, errors and whispers from what people say in the room.
fn colour(message: &str) -> &'static str {
    match message {
        notice if notice.starts_with("* ") => "\x1b[36m",
        error if error.starts_with("! ") => "\x1b[31m",
        whisper if whisper.starts_with("[whisper from ") => "\x1b[35m",
        _ => "",
    }
}

impl Handler for ChatClient {
    /// What the server says, message by message.
    type Session = Incoming;
    type Message = ClientMessage;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> Incoming {
        if self.was_connected {
            self.tell(&format!("{}: connected again", self.plan.address));
            self.name_attempts = NAME_ATTEMPTS; // the old connection may have it still
        }
        (self.is_connected, self.was_connected) = (true, true);
        for line in self.presence.greeting() {
            self.send(line.as_bytes(), cx);
        }
        for line in std::mem::take(&mut self.kept) {
            self.send(&line, cx);
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.tell(&format!("{dropped} lines were dropped"));
        }
        self.leave(cx);
        Incoming::new(self.plan.framing, 0)
    }

    fn on_data(
        &mut self,
        incoming: &mut Incoming,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        self.backoff.reset(); // who says something is there
        let mut shown = Vec::new();
        while let Some(message) = incoming.next(input).transpose() {
            match message {
                Ok(message) => self.heard(message, &mut shown, cx),
                Err(error) => {
                    self.fail(error, cx);
                    break;
                }
            }
        }
        if !shown.is_empty() {
            self.output.write(Bytes::from(shown));
        }
        if self.output.waiting() >= OUTPUT_MAX {
            cx.pause();
        }
    }

    fn on_drained(&mut self, _: &mut Incoming, _: &mut ConnContext<'_>) {
        if !self.has_ended {
            self.input.ask();
        }
    }

    fn on_deadline(&mut self, _: &mut Incoming, which: Deadline, cx: &mut ConnContext<'_>) {
        self.fail(explain_close(&CloseReason::Deadline(which)), cx);
    }

    fn on_close(&mut self, _: Incoming, reason: &CloseReason, cx: &mut ConnContext<'_>) {
        self.lost(reason, cx);
    }

    fn on_connect_failed(&mut self, _: ConnId, error: ConnectError, cx: &mut Context<'_>) {
        self.connection = None;
        if self.outcome.is_some() {
            return;
        }
        let text = explain_connect(&self.plan.address, &error);
        if !self.was_connected {
            match self.plan.retries.checked_sub(1) {
                Some(left) => self.plan.retries = left,
                None => return self.settle(Err(Failure::run(text)), cx),
            }
        }
        self.try_again(&error.to_string(), cx);
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        if self.next_attempt.take_if(|own| *own == timer).is_some() {
            self.connect(cx);
        } else if self.next_name.take_if(|own| *own == timer).is_some() {
            self.ask_for_name(cx);
        }
    }

    fn on_message(&mut self, message: ClientMessage, cx: &mut Context<'_>) {
        match message {
            ClientMessage::Typed(event) => self.typed(event, cx),
            ClientMessage::Shown(event) => self.shown(event, cx),
        }
    }
}
