//! A record in words and values, for those who write it down.

use std::fmt::Display;
use std::io;

use super::event::{Event, Outcome, Source};
use crate::id::{ConnId, ListenerId};
use crate::readiness::{Readiness, Signal};
use crate::reason::{Deadline, describe};

/// A system call.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) source: Source,
    pub(super) outcome: Outcome,
    pub(super) took: u32,
}

impl Event {
    /// The system call that it is, if it is one.
    pub(super) fn call(&self) -> Option<Call> {
        let of_listener = Source::Listener;
        let (name, source, outcome, took) = match *self {
            Self::Listen { listener, outcome, took } => {
                ("listen", of_listener(listener), outcome, took)
            }
            Self::Accept { listener, outcome, took } => {
                ("accept", of_listener(listener), outcome, took)
            }
            Self::Bind { socket, outcome, took } => ("bind", Source::Socket(socket), outcome, took),
            Self::Receive { socket, outcome, took } => {
                ("receive", Source::Socket(socket), outcome, took)
            }
            Self::Send { socket, outcome, took } => ("send", Source::Socket(socket), outcome, took),
            _ => return self.call_of_connection(),
        };
        Some(Call { name, source, outcome, took })
    }

    fn call_of_connection(&self) -> Option<Call> {
        let (name, connection, outcome, took) = match *self {
            Self::Register { connection, outcome, took } => ("register", connection, outcome, took),
            Self::LookUp { connection, outcome, took } => ("look_up", connection, outcome, took),
            Self::Connect { connection, outcome, took } => ("connect", connection, outcome, took),
            Self::CheckConnect { connection, outcome, took } => {
                ("check_connect", connection, outcome, took)
            }
            Self::Read { connection, outcome, took } => ("read", connection, outcome, took),
            Self::Write { connection, outcome, took } => ("write", connection, outcome, took),
            Self::Finish { connection, outcome, took } => ("finish", connection, outcome, took),
            Self::TakeError { connection, outcome, took } => {
                ("take_error", connection, outcome, took)
            }
            Self::Close { connection, reset, took } => {
                (if reset { "reset" } else { "close" }, connection, Outcome::Done(0), took)
            }
            _ => return None,
        };
        Some(Call { name, source: Source::Connection(connection), outcome, took })
    }
}

/// A value that stands in a record.
pub(super) enum Value {
    Number(u64),
    Flag(bool),
    Text(String),
}

/// A record as a name, what it is about, and the rest.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) about: Option<Source>,
    pub(super) details: Vec<(&'static str, Value)>,
}

impl Step {
    fn new(name: &'static str) -> Self {
        Self { name, about: None, details: Vec::new() }
    }

    fn about(name: &'static str, source: Source) -> Self {
        Self { about: Some(source), ..Self::new(name) }
    }

    fn number(mut self, name: &'static str, value: impl Into<u64>) -> Self {
        self.details.push((name, Value::Number(value.into())));
        self
    }

    fn text(mut self, name: &'static str, value: impl Display) -> Self {
        self.details.push((name, Value::Text(value.to_string())));
        self
    }

    fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.details.push((name, Value::Flag(value)));
        self
    }

    fn outcome(self, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(count) => self.number("result", count),
            Outcome::Failed { kind, code } => self.text("error", failure(kind, code)),
        }
    }
}

impl Event {
    pub(super) fn step(&self) -> Step {
        if let Some(Call { name, source, outcome, took }) = self.call() {
            return Step::about(name, source).outcome(outcome).number("took", took);
        }
        match self {
            Self::TurnBegan { turn } => Step::new("turn_began").number("turn", *turn),
            Self::TurnEnded { ready, queued } => {
                Step::new("turn_ended").number("ready", *ready).number("queued", *queued)
            }
            Self::Stalled { took } => Step::new("stalled").number("took", *took),
            Self::VerbBegan(verb) => Step::new("verb_began").text("verb", verb.name()),
            Self::VerbEnded(verb) => Step::new("verb_ended").text("verb", verb.name()),
            Self::CallbackBegan { callback, about } => {
                Step::about("callback_began", *about).text("callback", callback.name())
            }
            Self::CallbackEnded { callback, about, took, panicked } => {
                Step::about("callback_ended", *about)
                    .text("callback", callback.name())
                    .number("took", *took)
                    .flag("panicked", *panicked)
            }
            Self::Ready { source, readiness, known } => Step::about("ready", *source)
                .text("readiness", words(*readiness))
                .flag("known", *known),
            Self::Woken => Step::new("woken"),
            Self::Signalled(signal) => Step::new("signalled").text("signal", signal_name(*signal)),
            Self::Messages { service, count } => {
                Step::about("messages", Source::Service(*service)).number("count", *count)
            }
            Self::Stopping { grace } => Step::new("stopping").number("grace", *grace),
            Self::Draining => Step::new("draining"),
            Self::Forced => Step::new("forced"),
            Self::Stopped => Step::new("stopped"),
            _ => self.step_of_source(),
        }
    }

    /// Of those that are about a connection, a listener, a socket or a timer.
    fn step_of_source(&self) -> Step {
        match self {
            Self::CloseListener { listener } => of_listener("close_listener", listener),
            Self::Refused { listener } => of_listener("refused", listener),
            Self::AcceptPaused { listener } => of_listener("accept_paused", listener),
            Self::AcceptResumed { listener } => of_listener("accept_resumed", listener),
            Self::CloseSocket { socket } => Step::about("close_socket", Source::Socket(*socket)),
            Self::DatagramDropped { socket } => {
                Step::about("datagram_dropped", Source::Socket(*socket))
            }
            Self::DatagramQueued { socket, bytes } => {
                Step::about("datagram_queued", Source::Socket(*socket)).number("bytes", *bytes)
            }
            Self::TimerSet { timer, due } => {
                Step::about("timer_set", Source::Timer(*timer)).number("due", *due)
            }
            Self::TimerCancelled { timer } => Step::about("timer_cancelled", Source::Timer(*timer)),
            Self::BudgetSpent { source } => Step::about("budget_spent", *source),
            _ => self.step_of_connection(),
        }
    }
}

impl Event {
    fn step_of_connection(&self) -> Step {
        match self {
            Self::Accepted { connection, listener } => {
                of_connection("accepted", connection).text("listener", listener)
            }
            Self::LookedUp { connection, outcome } => {
                of_connection("looked_up", connection).outcome(*outcome)
            }
            Self::Connecting { connection } => of_connection("connecting", connection),
            Self::Connected { connection } => of_connection("connected", connection),
            Self::Handshaking { connection } => of_connection("handshaking", connection),
            Self::ShookHands { connection, is_resumed } => {
                of_connection("shook_hands", connection).flag("resumed", *is_resumed)
            }
            Self::ConnectTimedOut { connection } => of_connection("connect_timed_out", connection),
            Self::ConnectFailed { connection, error } => {
                of_connection("connect_failed", connection).text("why", error)
            }
            Self::Finishing { connection } => of_connection("finishing", connection),
            Self::Closing { connection, reason } => {
                of_connection("closing", connection).text("why", reason)
            }
            Self::Lingering { connection } => of_connection("lingering", connection),
            Self::Ended { connection, reason } => {
                of_connection("ended", connection).text("why", reason)
            }
            Self::Queued { connection, bytes, queued } => of_connection("queued", connection)
                .number("bytes", *bytes)
                .number("queued", *queued),
            Self::Full { connection, queued } => {
                of_connection("full", connection).number("queued", *queued)
            }
            Self::Drained { connection } => of_connection("drained", connection),
            Self::Paused { connection } => of_connection("paused", connection),
            Self::Resumed { connection } => of_connection("resumed", connection),
            Self::DeadlineSet { connection, due } => {
                of_connection("deadline_set", connection).number("due", *due)
            }
            Self::DeadlinePassed { connection, deadline } => {
                of_connection("deadline_passed", connection).text("deadline", which(*deadline))
            }
            // Those above and these are all there are.
            _ => Step::new("unknown"),
        }
    }
}

/// Why a call failed: in the system's words, if there are no better ones.
pub(super) fn failure(kind: io::ErrorKind, code: i32) -> String {
    match code {
        0 => kind.to_string(),
        code => describe(&io::Error::from_raw_os_error(code)),
    }
}

fn of_connection(name: &'static str, id: &ConnId) -> Step {
    Step::about(name, Source::Connection(*id))
}

fn of_listener(name: &'static str, id: &ListenerId) -> Step {
    Step::about(name, Source::Listener(*id))
}

pub(super) fn which(deadline: Deadline) -> &'static str {
    match deadline {
        Deadline::Idle => "idle",
        Deadline::Set => "set",
        Deadline::Drain => "drain",
        Deadline::Handshake => "handshake",
    }
}

pub(super) fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "SIGINT",
        Signal::Terminate => "SIGTERM",
        Signal::HangUp => "SIGHUP",
        Signal::User1 => "SIGUSR1",
    }
}

/// What has become possible: `readable, hung up`.
pub(super) fn words(readiness: Readiness) -> String {
    let Readiness { readable, writable, hang_up, error, urgent } = readiness;
    let all = [
        (readable, "readable"),
        (writable, "writable"),
        (hang_up, "hung up"),
        (error, "in error"),
        (urgent, "urgent"),
    ];
    let told: Vec<_> = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}
