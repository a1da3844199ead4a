//! The flight recorder: what is recorded, in which order, and that it is the same each time.

#![cfg(feature = "trace")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::Duration;

use reactor::{
    Budgets, Callback, CloseReason, Config, ConnContext, ConnId, Connect, ConnectError, Context,
    Deadline, Event, Handle, Handler, Limits, Outcome, Pool, Reactor, ReadBuffer, Readiness,
    ServiceConfig, Setup, Signal, Source, Stage, StallHook, Trace, TraceFormat, Verb,
};
use support::Probe;

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
    let empty = failed(std::io::ErrorKind::WouldBlock);
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
            Event::Queued { connection: peer, bytes: 5, queued: 5 },
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
        stage.pass(Duration::from_millis(5));
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
      queued 5 bytes for connection 0.1: 5 to write
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

/// A stage on which a probe acts; its limits are small.
fn small(probe: Probe) -> Stage<Probe> {
    let limits = Limits {
        max_connections: 2,
        max_per_ip: 1,
        queue_high: 100,
        queue_low: 10,
        datagram_queue_max: 8,
        ..Limits::default()
    };
    let budgets = Budgets { bytes: 50, accepts: 1, datagrams: 1, ..Budgets::default() };
    stage(probe, Config { limits, budgets, ..recording() })
}

fn from(stage: &mut Stage<Probe>, host: u8) -> ConnId {
    stage.open_from(std::net::SocketAddr::from(([10, 0, 0, host], 1)).into())
}

fn assert_told(events: &[Event], wanted: &[Event]) {
    let mut events_left = events.iter();
    for event in wanted {
        assert!(events_left.any(|other| other == event), "{event:?} in its place in {events:#?}");
    }
}

/// Without a code: a stage has no system under it.
fn failed(kind: std::io::ErrorKind) -> Outcome {
    Outcome::Failed { kind, code: 0 }
}

const DONE: Outcome = Outcome::Done(0);

fn limits_are_told() -> Trace {
    let mut stage = small(Probe::default());
    let (first, events) = recorded(&mut stage, |stage| from(stage, 1));
    let listener = events.iter().find_map(|event| match event {
        Event::Accepted { connection, listener } if *connection == first => Some(*listener),
        _ => None,
    });
    let listener = listener.unwrap();
    assert_told(
        &events,
        &[
            Event::Accept { listener, outcome: Outcome::Done(1), took: 0 },
            Event::Register { connection: first, outcome: DONE, took: 0 },
            Event::BudgetSpent { source: Source::Listener(listener) },
        ],
    );
    let (_, events) = recorded(&mut stage, |stage| from(stage, 1));
    assert_told(&events, &[Event::Refused { listener }]);
    let (_, events) = recorded(&mut stage, |stage| from(stage, 2));
    assert_told(&events, &[Event::AcceptPaused { listener }]);
    from(&mut stage, 3);
    let (_, events) = recorded(&mut stage, |stage| stage.reset(first));
    let reset = std::io::ErrorKind::ConnectionReset;
    assert_told(
        &events,
        &[
            Event::Read { connection: first, outcome: failed(reset), took: 0 },
            Event::Ended { connection: first, reason: CloseReason::Io(reset) },
            Event::Close { connection: first, reset: false, took: 0 },
            Event::AcceptResumed { listener },
        ],
    );
    let (_, events) = recorded(&mut stage, |stage| stage.deliver(first, b"to whom it concerns"));
    let source = Source::Connection(first);
    let stale = |event: &Event| matches!(event, Event::Ready { source: it, known: false, .. } if *it == source);
    assert!(events.iter().any(stale), "{events:#?}");
    stage.reactor().close_listener(listener);
    stage.reactor().recorder().trace()
}

fn flow_is_told() -> Trace {
    let mut stage = small(Probe::default());
    let connection = from(&mut stage, 1);
    stage.stall(connection, 0);
    let (_, events) = recorded(&mut stage, |stage| stage.deliver(connection, &[7; 120]));
    assert_told(
        &events,
        &[
            Event::BudgetSpent { source: Source::Connection(connection) },
            Event::Full { connection, queued: 100 },
            Event::TurnEnded { ready: 1, queued: 100 },
        ],
    );
    let (_, events) = recorded(&mut stage, |stage| stage.stall(connection, 1000));
    assert_told(
        &events,
        &[
            Event::Write { connection, outcome: Outcome::Done(100), took: 0 },
            Event::Drained { connection },
        ],
    );
    let at = |stage: &mut Stage<Probe>, act: fn(&mut ConnContext<'_>)| {
        recorded(stage, |stage| stage.with(|_, cx| act(&mut cx.at(connection).unwrap()))).1
    };
    let events = at(&mut stage, |cx| cx.pause());
    assert_eq!(events[0], Event::Paused { connection }, "between turns there is no phase");
    assert_told(&at(&mut stage, |cx| cx.resume()), &[Event::Resumed { connection }]);
    assert_told(
        &at(&mut stage, |cx| cx.set_deadline(Duration::from_nanos(30))),
        &[Event::DeadlineSet { connection, due: 30 }],
    );
    let (_, events) = recorded(&mut stage, |stage| {
        stage.with(|probe, _| probe.deadline = Box::new(|_| {}));
        stage.pass(Duration::from_nanos(30));
    });
    let (callback, about) = (Callback::Deadline, Source::Connection(connection));
    assert_told(
        &events,
        &[
            Event::VerbBegan(Verb::Expire),
            Event::DeadlinePassed { connection, deadline: Deadline::Set },
            Event::CallbackBegan { callback, about },
        ],
    );
    assert_told(&at(&mut stage, |cx| cx.finish()), &[Event::Finishing { connection }]);
    let events = at(&mut stage, |cx| cx.close());
    assert_told(
        &events,
        &[
            Event::Closing { connection, reason: CloseReason::Asked },
            Event::Lingering { connection },
        ],
    );
    stage.reactor().recorder().trace()
}

fn an_error_that_nobody_reads_is_told() -> Trace {
    let mut stage = small(Probe::default());
    let connection = from(&mut stage, 1);
    stage.with(|_, cx| cx.at(connection).unwrap().pause());
    let (_, events) = recorded(&mut stage, |stage| stage.reset(connection));
    let outcome = failed(std::io::ErrorKind::ConnectionReset);
    assert_told(&events, &[Event::TakeError { connection, outcome, took: 0 }]);
    let other = from(&mut stage, 2);
    let (_, events) =
        recorded(&mut stage, |stage| stage.with(|_, cx| cx.at(other).unwrap().abort()));
    assert_told(&events, &[Event::Close { connection: other, reset: true, took: 0 }]);
    stage.reactor().recorder().trace()
}

fn connects_are_told() -> Trace {
    let mut stage = small(Probe::default());
    let connect = |stage: &mut Stage<Probe>, to: &str| {
        let to = Connect::to(to).timeout(Duration::from_secs(1));
        recorded(stage, |stage| stage.with(|_, cx| cx.connect(to)))
    };
    let (connection, events) = connect(&mut stage, "somewhere:80");
    assert_told(
        &events,
        &[
            Event::Connecting { connection },
            Event::VerbBegan(Verb::Flush),
            Event::LookUp { connection, outcome: DONE, took: 0 },
            Event::LookedUp { connection, outcome: Outcome::Done(1) },
            Event::Connect { connection, outcome: DONE, took: 0 },
            Event::CheckConnect { connection, outcome: DONE, took: 0 },
        ],
    );
    let (_, events) = recorded(&mut stage, |stage| stage.accept(connection));
    assert_told(
        &events,
        &[
            Event::CheckConnect { connection, outcome: Outcome::Done(1), took: 0 },
            Event::Connected { connection },
        ],
    );
    let (connection, _) = connect(&mut stage, "192.0.2.7:80");
    let (_, events) = recorded(&mut stage, |stage| stage.pass(Duration::from_secs(1)));
    let (callback, about) = (Callback::ConnectFailed, Source::Connection(connection));
    assert_told(
        &events,
        &[
            Event::ConnectTimedOut { connection },
            Event::ConnectFailed { connection, error: Box::new(ConnectError::TimedOut) },
            Event::CallbackBegan { callback, about },
        ],
    );
    stage.reactor().recorder().trace()
}

fn what_is_about_no_connection_is_told() -> Trace {
    let mut stage = small(Probe::default());
    let (socket, events) = recorded(&mut stage, Stage::bind);
    assert_told(&events, &[Event::Bind { socket, outcome: DONE, took: 0 }]);
    let peer = std::net::SocketAddr::from(([10, 0, 0, 1], 1)).into();
    let (_, events) = recorded(&mut stage, |stage| stage.datagram(socket, &peer, b"ping"));
    let (callback, about) = (Callback::Datagram, Source::Socket(socket));
    assert_told(
        &events,
        &[
            Event::Receive { socket, outcome: Outcome::Done(4), took: 0 },
            Event::CallbackBegan { callback, about },
            Event::BudgetSpent { source: about },
        ],
    );
    let (_, events) = recorded(&mut stage, |stage| {
        stage.with(|_, cx| {
            assert!(
                cx.send_datagram(socket, &peer, b"pong")
                    && !cx.send_datagram(socket, &peer, b"too much")
            );
        });
        stage.reactor().close_socket(socket);
    });
    assert_told(
        &events,
        &[
            Event::DatagramQueued { socket, bytes: 4 },
            Event::DatagramDropped { socket },
            Event::Send { socket, outcome: Outcome::Done(4), took: 0 },
            Event::CloseSocket { socket },
        ],
    );
    let (timer, events) = recorded(&mut stage, |stage| {
        stage.with(|_, cx| {
            cx.set_timer(Duration::from_nanos(5));
            let timer = cx.set_timer(Duration::MAX);
            cx.cancel_timer(timer);
            timer
        })
    });
    let set = Event::TimerSet { timer, due: u64::MAX };
    assert_told(&events, &[set, Event::TimerCancelled { timer }]);
    let (_, events) = recorded(&mut stage, |stage| stage.message(3));
    let (callback, about) = (Callback::Message, Source::Service(0));
    assert_told(
        &events,
        &[
            Event::Woken,
            Event::CallbackBegan { callback, about },
            Event::Messages { service: 0, count: 1 },
            Event::CallbackEnded { callback, about, took: 0, panicked: false },
        ],
    );
    stage.reactor().recorder().trace()
}

fn the_end_is_told() -> Trace {
    let mut stage = small(Probe::default());
    let connection = from(&mut stage, 1);
    let (_, events) =
        recorded(&mut stage, |stage| stage.with(|_, cx| cx.shutdown(Duration::from_secs(1))));
    let grace = 1_000_000_000;
    assert_told(
        &events,
        &[Event::Stopping { grace }, Event::Draining, Event::Lingering { connection }],
    );
    let (_, events) = recorded(&mut stage, |stage| stage.pass(Duration::from_secs(1)));
    assert_told(&events, &[Event::Forced, Event::Stopped]);
    stage.reactor().recorder().trace()
}

fn signals_are_told() -> Trace {
    let mut reactor = Reactor::with_config(recording()).unwrap();
    reactor.watch_signals(&[Signal::User1]).unwrap();
    signal_hook::low_level::raise(signal_hook::consts::SIGUSR1).unwrap();
    while reactor.turn(None).unwrap() != reactor::Turn::Signal(Signal::User1) {}
    let trace = reactor.recorder().trace();
    let told = |record: &reactor::Record| record.event == Event::Signalled(Signal::User1);
    assert!(trace.records().iter().any(told));
    trace
}

/// Does what it is told.
struct Obedient;

impl Handler for Obedient {
    type Session = ();
    type Message = Box<dyn FnOnce(&mut Context<'_>) + Send>;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}
    fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
    fn on_message(&mut self, act: Self::Message, cx: &mut Context<'_>) {
        act(cx);
    }
}

fn a_stall_is_told() -> Trace {
    let (stalls, told) = channel();
    let on_stall = StallHook::new(move |stall| stalls.send(stall.clone()).unwrap());
    let long = Duration::from_millis(20);
    let stall = Duration::from_millis(5);
    let mut reactor =
        Reactor::with_config(Config { stall, on_stall: Some(on_stall), ..recording() }).unwrap();
    let service = reactor.add(Obedient);
    let work = Box::new(move |cx: &mut Context<'_>| {
        std::thread::sleep(long);
        cx.stop();
    });
    reactor.handle(&service).send(work).unwrap_or_else(|_| panic!("no room"));
    reactor.run().unwrap();
    let stall = told.iter().find(|stall| stall.took >= long).unwrap();
    let longest = stall.longest.unwrap();
    assert_eq!((longest.callback, longest.about), (Callback::Message, Source::Service(0)));
    assert!(longest.took >= long && longest.took <= stall.took, "{stall:?}");
    assert!(reactor.counters().read().stalls >= 1);
    let text = stall.to_string();
    assert!(text.contains("ms, on_message of service 0 alone "), "{text}");
    let trace = reactor.recorder().trace();
    let events: Vec<_> = trace.records().iter().map(|record| record.event.clone()).collect();
    let began = events.iter().position(|event| *event == Event::TurnBegan { turn: stall.turn });
    let rest = &events[began.unwrap()..];
    let stalled = rest.iter().position(|event| matches!(event, Event::Stalled { .. })).unwrap();
    assert!(matches!(rest[stalled + 1], Event::TurnEnded { .. }), "{rest:#?}");
    trace
}

#[test]
fn each_step_is_told_and_has_its_words_in_each_format() {
    let traces = [
        limits_are_told(),
        flow_is_told(),
        an_error_that_nobody_reads_is_told(),
        connects_are_told(),
        what_is_about_no_connection_is_told(),
        the_end_is_told(),
        signals_are_told(),
        a_stall_is_told(),
    ];
    let mut names = BTreeSet::new();
    for line in written(TraceFormat::JsonLines, &traces).lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        names.insert(record["event"].as_str().unwrap().to_owned());
    }
    let all = "accept accept_paused accept_resumed accepted bind budget_spent callback_began \
               callback_ended check_connect close close_listener close_socket closing connect \
               connect_failed connect_timed_out connected connecting datagram_dropped \
               datagram_queued deadline_passed deadline_set draining drained ended finish finishing forced full \
               lingering listen look_up looked_up messages paused queued read ready receive refused \
               register reset resumed send signalled stalled stopped stopping take_error \
               timer_cancelled timer_set turn_began turn_ended verb_began verb_ended woken write";
    let all: BTreeSet<String> = all.split_whitespace().map(str::to_owned).collect();
    assert_eq!(names, all);
    let chrome: serde_json::Value =
        serde_json::from_str(&written(TraceFormat::Chrome, &traces)).unwrap();
    assert!(chrome["traceEvents"].as_array().unwrap().len() > 100);
    let sentences = written(TraceFormat::Sentences, &traces);
    for line in sentences.lines().filter(|line| line.contains('_')) {
        assert!(line.trim_start().starts_with("on_"), "a name instead of a sentence: {line}");
    }
}

#[test]
fn slices_of_real_time_nest() {
    let trace = a_stall_is_told();
    let chrome: serde_json::Value =
        serde_json::from_str(&written(TraceFormat::Chrome, &[trace])).unwrap();
    let nanoseconds = |value: &serde_json::Value| (value.as_f64().unwrap() * 1000.0).round() as u64;
    let mut within: Vec<(u64, u64)> = Vec::new();
    let mut deepest = 0;
    for event in chrome["traceEvents"].as_array().unwrap() {
        if event["ph"] == "X" {
            let begin = nanoseconds(&event["ts"]);
            let end = begin + nanoseconds(&event["dur"]);
            within.retain(|outer| outer.1 > begin);
            assert!(within.last().is_none_or(|outer| end <= outer.1), "{event} in {within:?}");
            within.push((begin, end));
            deepest = deepest.max(within.len());
        }
    }
    assert_eq!(deepest, 3, "a callback in a phase in a turn");
}

#[test]
fn the_longest_callback_of_that_turn_is_the_one_to_blame() {
    let (stalls, told) = channel();
    let on_stall = Some(StallHook::new(move |stall| stalls.send(stall.clone()).unwrap()));
    // No recorder: a stall is told all the same.
    let config = Config { stall: Duration::from_millis(5), on_stall, ..support::propagating() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut waits = [0, 200, 10, 0, 10].into_iter();
    let timer = Box::new(move |_, cx: &mut Context<'_>| match waits.next() {
        Some(milliseconds) => std::thread::sleep(Duration::from_millis(milliseconds)),
        None => cx.stop(),
    });
    let service = reactor.add(Probe { timer, ..Probe::default() });
    let timers = reactor.with(&service, |_, cx| {
        [0, 0, 0, 1, 1, 9].map(|it| cx.set_timer(Duration::from_nanos(it)))
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let stall = told.recv().unwrap();
    let longest = stall.longest.unwrap();
    let fired: Vec<_> = reactor.get(&service).heard.clone();
    assert!(fired.len() >= 3, "all that is due fires in one turn: {fired:?}");
    assert_eq!(
        (longest.callback, longest.about),
        (Callback::Timer, Source::Timer(fired_timer(&fired[1])))
    );
    assert!(timers.contains(&fired_timer(&fired[1])));
    assert_eq!(reactor.counters().read().stalls, 1);
}

fn fired_timer(heard: &support::Heard) -> reactor::TimerId {
    match heard {
        support::Heard::Timer(timer) => *timer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_callback_that_panics_is_told_so() {
    let mut stage = stage(Probe::default(), recording());
    stage.with(|probe, _| probe.data = Box::new(|_, _| panic!("for a test")));
    let peer = stage.open();
    let (_, events) = recorded(&mut stage, |stage| stage.deliver(peer, b"x"));
    let (callback, about) = (Callback::Data, Source::Connection(peer));
    let reason = CloseReason::Panicked;
    assert_told(
        &events,
        &[
            Event::CallbackBegan { callback, about },
            Event::CallbackEnded { callback, about, took: 0, panicked: true },
            Event::Closing { connection: peer, reason },
        ],
    );
    let text = stage.reactor().recorder().trace().to_string();
    assert!(text.contains("on_data of connection 0.1 panicked"), "{text}");
}

#[test]
fn a_loop_that_hangs_can_be_looked_at() {
    let mut reactor = Reactor::with_config(recording()).unwrap();
    let service = reactor.add(Obedient);
    let recorder = reactor.recorder();
    let handle: Handle<_> = reactor.handle(&service);
    let (began, hangs) = channel();
    let (go_on, goes_on) = channel::<()>();
    let hang = Box::new(move |cx: &mut Context<'_>| {
        began.send(()).unwrap();
        goes_on.recv().unwrap();
        cx.stop();
    });
    handle.send(hang).unwrap_or_else(|_| panic!("no room"));
    let watcher = std::thread::spawn(move || {
        hangs.recv().unwrap();
        let trace = recorder.trace();
        go_on.send(()).unwrap();
        trace
    });
    reactor.run().unwrap();
    let text = watcher.join().unwrap().to_string();
    let last: Vec<_> = text.lines().rev().take(2).collect();
    assert_eq!(last[0].trim(), "took 1 message for service 0");
    assert_eq!(last[1].trim(), "on_message of service 0, and goes on");
}

#[test]
fn each_loop_of_a_pool_has_its_own_recorder() {
    let setups = (0..2).map(|_| -> Setup { Box::new(|_| Ok(())) }).collect();
    let pool = Pool::start(Config { loop_number: 5, ..recording() }, setups).unwrap();
    let recorders: Vec<_> = pool.recorders().cloned().collect();
    pool.stop(Duration::from_secs(1)).unwrap();
    let traces: Vec<_> = recorders.iter().map(reactor::Recorder::trace).collect();
    assert_eq!(traces.iter().map(Trace::loop_number).collect::<Vec<_>>(), [5, 6]);
    for trace in &traces {
        assert!(trace.records().iter().any(|record| record.event == Event::Stopped));
    }
}

#[test]
fn all_times_of_several_loops_count_from_the_first_of_them() {
    let mut early = Stage::with_config(Probe::default(), recording(), ServiceConfig::new());
    let mut late = Stage::with_config(Probe::default(), recording(), ServiceConfig::new());
    late.with(|_, cx| {
        cx.set_timer(Duration::from_millis(1));
        cx.set_timer(Duration::MAX);
    });
    let traces = [&mut early, &mut late].map(|stage| stage.reactor().recorder().trace());
    let (first, second) = (traces[0].origin(), traces[1].origin());
    let later = u64::try_from(second.duration_since(first).as_nanos()).unwrap();
    assert!(later > 0, "a clock that goes on");
    let lines = written(TraceFormat::JsonLines, &traces);
    let (at, due, never) = (later, later + 1_000_000, u64::MAX);
    for due in [due, never] {
        let line = format!(r#"{{"at":{at},"loop":0,"event":"timer_set","about":"timer "#);
        let ends = format!(r#","due":{due}}}"#);
        let found = lines.lines().any(|told| told.starts_with(&line) && told.ends_with(&ends));
        assert!(found, "{line}..{ends} in {lines}");
    }
}
