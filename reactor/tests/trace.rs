//! The flight recorder: what is recorded, in which order, and that it is the same each time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

use reactor::{
    Callback, CloseReason, Config, ConnContext, Event, Handler, Outcome, ReadBuffer, Readiness,
    ServiceConfig, Source, Stage, Trace, TraceFormat, Verb,
};

struct Echo;

impl Handler for Echo {
    type Session = ();
    type Message = u32;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        cx.forward(input);
    }
}

fn recording() -> Config {
    Config { trace_records: 10_000, ..Config::default() }
}

fn stage<H: Handler>(handler: H, config: Config) -> Stage<H> {
    Stage::with_config(handler, config, ServiceConfig::new())
}

/// What `act` makes the loop do.
fn recorded<H: Handler, R>(
    stage: &mut Stage<H>,
    act: impl FnOnce(&mut Stage<H>) -> R,
) -> (R, Vec<Event>) {
    let recorder = stage.reactor().recorder();
    let before = recorder.trace().records().len();
    let result = act(stage);
    let trace = recorder.trace();
    (result, trace.records()[before..].iter().map(|record| record.event.clone()).collect())
}

const READABLE: Readiness =
    Readiness { readable: true, writable: true, hang_up: false, error: false, urgent: false };

#[test]
fn one_echoed_message_is_told_step_by_step() {
    let mut stage = stage(Echo, recording());
    let peer = stage.open();
    let (_, events) = recorded(&mut stage, |stage| stage.deliver(peer, b"hello"));
    let Event::TurnBegan { turn } = events[0] else { panic!("{events:?}") };
    let about = Source::Connection(peer);
    let callback = Callback::Data;
    let five = Outcome::Done(5);
    let empty = Outcome::Failed(std::io::ErrorKind::WouldBlock);
    assert_eq!(
        events,
        [
            Event::TurnBegan { turn },
            Event::VerbBegan(Verb::Wait),
            Event::Ready { source: about, readiness: READABLE, known: true },
            Event::VerbEnded(Verb::Wait),
            Event::VerbBegan(Verb::Receive),
            Event::Read { connection: peer, outcome: five, took: 0 },
            Event::CallbackBegan { callback, about },
            Event::CallbackEnded { callback, about, took: 0, panicked: false },
            Event::Read { connection: peer, outcome: empty, took: 0 },
            Event::Write { connection: peer, outcome: five, took: 0 },
            Event::VerbEnded(Verb::Receive),
            Event::TurnEnded { ready: 1, queued: 0 },
        ]
    );
}

#[test]
fn nothing_is_recorded_unless_it_is_asked_for() {
    let mut stage = stage(Echo, Config::default());
    let peer = stage.open();
    stage.deliver(peer, b"hello");
    let trace = stage.reactor().recorder().trace();
    assert_eq!((trace.records(), trace.overwritten()), (&[][..], 0));
}

#[test]
fn the_same_story_has_the_same_hash_and_another_has_another() {
    let story = |text: &[u8]| {
        let mut stage = stage(Echo, Config { trace_records: 7, ..Config::default() });
        let peer = stage.open();
        stage.deliver(peer, text);
        stage.pass(std::time::Duration::from_millis(5));
        stage.finish(peer);
        stage.reactor().recorder().hash()
    };
    assert_eq!(story(b"hello"), story(b"hello"));
    assert_ne!(story(b"hello"), story(b"hello!"));
}

#[test]
fn a_close_is_told_with_its_reason_down_to_the_last_call() {
    let mut stage = stage(Echo, recording());
    let peer = stage.open();
    let (_, events) = recorded(&mut stage, |stage| stage.finish(peer));
    let connection = peer;
    let closing = Event::Closing { connection, reason: CloseReason::Eof };
    let finish = Event::Finish { connection, outcome: Outcome::Done(0), took: 0 };
    let ended = Event::Ended { connection, reason: CloseReason::Eof };
    let close = Event::Close { connection, reset: false, took: 0 };
    let place = |wanted: &Event| events.iter().position(|event| event == wanted);
    let places = [closing, finish, ended, close].map(|event| place(&event).unwrap());
    assert!(places.is_sorted(), "{events:?}");
}

fn written(format: TraceFormat, traces: &[Trace]) -> String {
    let mut text = Vec::new();
    format.write(traces, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn sentences_read_like_this() {
    let mut stage = stage(Echo, recording());
    let peer = stage.open();
    stage.deliver(peer, b"hello");
    stage.finish(peer);
    let trace = stage.reactor().recorder().trace();
    let text = trace.to_string();
    assert_eq!(text, written(TraceFormat::Sentences, &[trace]));
    let wanted = "\
turn 4, at 0 ns
  wait
    connection 0.1 is readable, writable
  receive
    read 5 bytes from connection 0.1
    on_data of connection 0.1
    tried to read from connection 0.1: operation would block
    wrote 5 bytes to connection 0.1
  1 connection was ready; 0 bytes are queued
turn 5, at 0 ns
  wait
    connection 0.1 is readable, writable, hung up
  receive
    read the end of connection 0.1
    on_eof of connection 0.1
      connection 0.1 closes: the peer finished
    sent FIN to connection 0.1
    connection 0.1 ends: the peer finished
  reap
    closed connection 0.1
    on_close of connection 0.1
";
    assert!(text.contains(wanted), "{text}");
}
