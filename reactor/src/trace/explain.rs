//! A sentence a step, readable in class.

use std::fmt::{self, Display};
use std::io::{self, Write};

use super::Trace;
use super::event::{Event, Outcome};
use super::spans::{Span, spans};
use super::step::{Call, failure, signal_name, which, words};
use crate::timers::{NEVER, Nanos};

/// Writes the sentences of all loops, one loop after the other.
pub(super) fn write(traces: &[Trace], out: &mut impl Write) -> io::Result<()> {
    for trace in traces {
        let overwritten = match trace.overwritten {
            0 => String::new(),
            1 => "; 1 older one was overwritten".to_owned(),
            count => format!("; {count} older ones were overwritten"),
        };
        writeln!(
            out,
            "loop {}: {}{overwritten}",
            trace.loop_number,
            counted(trace.records.len() as u64, "record")
        )?;
        for span in spans(trace) {
            if let Some(sentence) = sentence(&span) {
                writeln!(out, "{:indent$}{sentence}", "", indent = 2 * span.depth)?;
            }
        }
    }
    Ok(())
}

/// What is to be said of a record; the end of a phase or of a callback was told with its beginning.
fn sentence(span: &Span<'_>) -> Option<String> {
    let event = &span.record.event;
    if let Some(call) = event.call() {
        return Some(format!("{}{}", sentence_of_call(&call), in_brackets(call.took.into())));
    }
    Some(match event {
        Event::TurnBegan { turn } => {
            format!("turn {turn}, at {}{}", Time(span.record.at), took(span))
        }
        Event::TurnEnded { ready, queued } => format!(
            "{} ready; {} queued",
            counted_and((*ready).into(), "connection", ["was", "were"]),
            counted_and(*queued, "byte", ["is", "are"])
        ),
        Event::Stalled { took } => format!("the turn stalled: its work took {}", Time(*took)),
        Event::VerbBegan(verb) => format!("{}{}", verb.name(), took(span)),
        Event::CallbackBegan { callback, about } => {
            format!("{} of {about}{}", callback.name(), took(span))
        }
        Event::CallbackEnded { callback, about, panicked: true, .. } => {
            format!("{} of {about} panicked", callback.name())
        }
        Event::VerbEnded(_) | Event::CallbackEnded { .. } => return None,
        Event::Ready { source, readiness, known } => {
            let unknown = if *known { "" } else { ", which nobody waits for" };
            format!("{source} is {}{unknown}", words(*readiness))
        }
        Event::Woken => "another thread has something to say".to_owned(),
        Event::Signalled(signal) => format!("{} has arrived", signal_name(*signal)),
        Event::BudgetSpent { source } => {
            format!("the budget for {source} is spent: the rest is the next turn's")
        }
        Event::Messages { service, count } => {
            format!("took {} for service {service}", counted((*count).into(), "message"))
        }
        Event::Stopping { grace: NEVER } => {
            "the loop is asked to stop, however long that takes".to_owned()
        }
        Event::Stopping { grace } => format!("the loop is asked to stop, within {}", Time(*grace)),
        Event::Draining => "all connections close".to_owned(),
        Event::Forced => "patience is over: what is left is cut off".to_owned(),
        Event::Stopped => "the loop has stopped".to_owned(),
        event => return Some(sentence_of_source(event)),
    })
}

/// Of those that are about a listener, a socket, a timer, or a connection and how far it is.
fn sentence_of_source(event: &Event) -> String {
    match event {
        Event::CloseListener { listener } => format!("listener {listener} is closed"),
        Event::Refused { listener } => {
            format!("a client of listener {listener} is refused: its address has too many")
        }
        Event::AcceptPaused { listener } => {
            format!("accepting at listener {listener} pauses: there is no room")
        }
        Event::AcceptResumed { listener } => format!("listener {listener} accepts again"),
        Event::CloseSocket { socket } => format!("socket {socket} is closed"),
        Event::DatagramQueued { socket, bytes } => {
            let bytes = counted((*bytes).into(), "byte");
            format!("queued a datagram of {bytes} at socket {socket}")
        }
        Event::DatagramDropped { socket } => format!("a datagram of socket {socket} is dropped"),
        Event::TimerSet { timer, due } => format!("timer {timer} is set for {}", Due(*due)),
        Event::TimerCancelled { timer } => format!("timer {timer} is cancelled"),
        Event::Accepted { connection, listener } => {
            format!("connection {connection} is open, from listener {listener}")
        }
        Event::LookedUp { connection, outcome: Outcome::Done(count) } => {
            format!("the name for connection {connection} has {}", addresses(*count))
        }
        Event::LookedUp { connection, outcome: Outcome::Failed { kind, code } } => {
            let why = failure(*kind, *code);
            format!("the name for connection {connection} has no address: {why}")
        }
        Event::Connecting { connection } => format!("connection {connection} is wished for"),
        Event::Connected { connection } => format!("connection {connection} is open: it stands"),
        Event::ConnectTimedOut { connection } => {
            format!("the time for an address of connection {connection} has passed")
        }
        Event::ConnectFailed { connection, error } => {
            format!("connection {connection} fails: {error}")
        }
        event => sentence_of_connection(event),
    }
}

fn sentence_of_connection(event: &Event) -> String {
    match event {
        Event::Handshaking { connection } => format!("connection {connection} begins with TLS"),
        Event::ShookHands { connection, is_resumed } => {
            let how = if *is_resumed { ", resumed" } else { "" };
            format!("connection {connection} has agreed on TLS{how}")
        }
        Event::Finishing { connection } => format!("connection {connection} finishes sending"),
        Event::Closing { connection, reason } => {
            format!("connection {connection} closes: {reason}")
        }
        Event::Lingering { connection } => {
            format!("connection {connection} lingers until the peer finishes")
        }
        Event::Ended { connection, reason } => format!("connection {connection} ends: {reason}"),
        Event::Queued { connection, bytes, queued } => {
            let bytes = counted((*bytes).into(), "byte");
            format!("queued {bytes} for connection {connection}: {queued} to write")
        }
        Event::Full { connection, queued } => {
            format!("the queue of connection {connection} is full: {}", counted(*queued, "byte"))
        }
        Event::Drained { connection } => {
            format!("the queue of connection {connection} has drained")
        }
        Event::Paused { connection } => format!("connection {connection} pauses"),
        Event::Resumed { connection } => format!("connection {connection} resumes"),
        Event::DeadlineSet { connection, due } => {
            format!("the deadline of connection {connection} is {}", Due(*due))
        }
        Event::DeadlinePassed { connection, deadline } => {
            format!("the {} deadline of connection {connection} has passed", which(*deadline))
        }
        event => event.step().name.replace('_', " "),
    }
}

fn sentence_of_call(call: &Call) -> String {
    let Call { name, source, outcome, .. } = call;
    let count = match outcome {
        Outcome::Failed { kind, code } => {
            let why = failure(*kind, *code);
            return match *name {
                "take_error" => format!("the error of {source}: {why}"),
                name => format!("tried to {} {source}: {why}", infinitive(name)),
            };
        }
        Outcome::Done(count) => *count,
    };
    let bytes = || counted(count.into(), "byte");
    match (*name, count) {
        ("listen" | "bind", _) => format!("opened {source}"),
        ("accept", _) => format!("accepted a client at {source}"),
        ("register", _) => format!("watches {source}"),
        ("look_up", _) => format!("asked for the addresses of {source}"),
        ("connect", _) => format!("began to connect {source}"),
        ("check_connect", 0) => format!("{source} does not stand yet"),
        ("check_connect", _) => format!("{source} stands"),
        ("read", 0) => format!("read the end of {source}"),
        ("read", _) => format!("read {} from {source}", bytes()),
        ("write", _) => format!("wrote {} to {source}", bytes()),
        ("finish", _) => format!("sent FIN to {source}"),
        ("take_error", _) => format!("{source} has no error"),
        ("close", _) => format!("closed {source}"),
        ("reset", _) => format!("reset {source}"),
        ("receive", _) => format!("received a datagram of {} at {source}", bytes()),
        ("send", _) => format!("sent a datagram of {} from {source}", bytes()),
        (name, _) => format!("{name} {source}"),
    }
}

fn infinitive(name: &str) -> &str {
    match name {
        "listen" | "bind" => "open",
        "accept" => "accept at",
        "register" => "watch",
        "look_up" => "ask for the addresses of",
        "check_connect" => "connect",
        "read" => "read from",
        "write" => "write to",
        "finish" => "send FIN to",
        "receive" => "receive at",
        "send" => "send from",
        name => name,
    }
}

/// What took no time, as on a clock that stands still, is not told.
fn in_brackets(took: Nanos) -> String {
    if took == 0 { String::new() } else { format!(" ({})", Time(took)) }
}

fn took(span: &Span<'_>) -> String {
    let took = span.end.map_or(0, |end| end.saturating_sub(span.record.at));
    match (span.goes_on, took) {
        (true, _) => ", and goes on".to_owned(),
        (false, 0) => String::new(),
        (false, took) => format!(", took {}", Time(took)),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn counted_and(count: u64, what: &str, [one, many]: [&str; 2]) -> String {
    format!("{} {}", counted(count, what), if count == 1 { one } else { many })
}

fn addresses(count: u32) -> String {
    format!("{count} address{}", if count == 1 { "" } else { "es" })
}

/// A time of the loop, or never.
struct Due(Nanos);

impl Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            NEVER => f.write_str("never"),
            due => Time(due).fmt(f),
        }
    }
}

/// Nanoseconds in the unit that suits them, with three decimals at most, cut off.
struct Time(Nanos);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, unit) = match self.0 {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let thousandths = u128::from(self.0) * 1000 / scale;
        let decimals = format!("{:03}", thousandths % 1000);
        let point = if thousandths.is_multiple_of(1000) { "" } else { "." };
        write!(f, "{}{point}{} {unit}", thousandths / 1000, decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Source;

    #[test]
    fn a_failure_is_told_in_the_systems_words_where_there_are_no_better_ones() {
        let told = |error: io::Error| {
            let (outcome, source) = (Outcome::failed(&error), Source::Service(0));
            sentence_of_call(&Call { name: "accept", source, outcome, took: 0 })
        };
        let wanted = "tried to accept at service 0: too many open files";
        assert_eq!(told(io::Error::from_raw_os_error(libc::EMFILE)), wanted);
        let wanted = "tried to accept at service 0: operation would block";
        assert_eq!(told(io::ErrorKind::WouldBlock.into()), wanted);
        assert_eq!(told(io::Error::from_raw_os_error(libc::EAGAIN)), wanted);
    }

    #[test]
    fn a_time_is_short_and_exact_enough() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1 µs"),
            (12_340, "12.34 µs"),
            (3_402_999, "3.402 ms"),
            (1_000_000_000, "1 s"),
            (61_050_000_000, "61.05 s"),
        ] {
            assert_eq!(Time(nanoseconds).to_string(), text);
        }
    }
}
