//! Promise 8: a program that owns its loop; signals, pools, and many reactors in one process.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use reactor::{
    Admission, Config, ConnContext, Handle, Handler, Inbox, Interest, Limits, Listen, Pool,
    Reactor, ReadBuffer, Selector, ServiceConfig, Setup, Signal, Turn, inbox,
};
use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1};
use signal_hook::low_level::raise;
use support::{Heard, PATIENCE, Probe, propagating, serve, turn_until};

/// One process has one set of signals: tests that raise them take turns.
static SIGNALS: Mutex<()> = Mutex::new(());

#[test]
fn promise_8_a_program_with_a_loop_of_its_own_polls_our_descriptor() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let mut selector = Selector::new().unwrap();
    selector.register(&reactor, 5, Interest::Read).unwrap();
    let client = thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        client.read_exact(&mut back).unwrap();
        back
    });
    let until = Instant::now() + PATIENCE;
    while reactor.get(&service).reasons().is_empty() {
        assert!(Instant::now() < until);
        let timeout =
            reactor.next_deadline().map(|due| due.saturating_duration_since(Instant::now()));
        let ready: Vec<_> = selector.select(timeout.or(Some(PATIENCE))).unwrap().collect();
        assert!(timeout.is_some() || ready.iter().any(|(key, _)| *key == 5), "it slept too long");
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), Turn::Ran);
    }
    assert_eq!(&client.join().unwrap(), b"hello");
}

#[test]
fn promise_8_the_next_deadline_is_known_and_has_passed_while_there_is_work() {
    let (mut reactor, service, _) = serve(Probe::default(), propagating());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), None);
    let now = Instant::now();
    let timer = reactor.with(&service, |_, cx| cx.set_timer(Duration::from_secs(3600)));
    let due = reactor.next_deadline().unwrap();
    assert!((now + Duration::from_secs(3600)..now + 2 * Duration::from_secs(3600)).contains(&due));
    reactor.with(&service, |_, cx| cx.at_turn_end());
    assert!(reactor.next_deadline().unwrap() <= Instant::now());
    reactor.turn(None).unwrap();
    reactor.with(&service, |_, cx| cx.cancel_timer(timer));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn promise_8_an_idle_loop_does_not_wake_up() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let _clients: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 50);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let before = Instant::now();
    reactor.turn(Some(Duration::from_millis(200))).unwrap();
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_handle_wakes_a_loop_that_sleeps_and_stops_it() {
    let (mut reactor, service, _) = serve(Probe::default(), propagating());
    let handle = reactor.handle(&service);
    let thread = thread::spawn(move || {
        (0..5000).for_each(|number| handle.send_blocking(number).unwrap());
        handle.stop();
        handle
    });
    assert_eq!(reactor.run().unwrap().forced, 0);
    let handle = thread.join().unwrap();
    let messages = reactor.get(&service).heard.iter().filter_map(|heard| match heard {
        Heard::Message(number) => Some(*number),
        _ => None,
    });
    assert!(messages.eq(0..5000), "all, in order, once");
    assert!(handle.send(1).is_err(), "it has stopped");
}

#[test]
fn signals_come_back_from_the_turn() {
    let _guard = SIGNALS.lock().unwrap();
    let (mut reactor, _, _) = serve(Probe::default(), propagating());
    reactor.watch_signals(&[Signal::HangUp]).unwrap();
    reactor.watch_signals(&[Signal::User1, Signal::Terminate]).unwrap();
    raise(SIGHUP).unwrap();
    raise(SIGUSR1).unwrap();
    let mut told = HashSet::new();
    while told.len() < 2 {
        if let Turn::Signal(signal) = reactor.turn(Some(PATIENCE)).unwrap() {
            assert!(told.insert(signal));
        }
    }
    assert_eq!(told, HashSet::from([Signal::HangUp, Signal::User1]));
    assert!(!reactor.is_stopping(), "what they mean is ours to decide");
}

#[test]
fn run_stops_at_sigterm_and_a_second_one_forces() {
    let _guard = SIGNALS.lock().unwrap();
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| {
        cx.send_block(vec![0; 64 << 20]); // more than the client will read
    });
    probe.shutdown = Box::new(|_| raise(SIGTERM).unwrap());
    let limits = Limits { queue_max: 0, ..Limits::default() };
    let config = Config { limits, grace: Duration::from_secs(3600), ..propagating() };
    let (mut reactor, service, address) = serve(probe, config);
    reactor.watch_signals(&[Signal::Terminate]).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.opened().is_empty());
    raise(SIGTERM).unwrap();
    let report = reactor.run().unwrap();
    assert_eq!((report.drained, report.forced), (0, 1));
}

/// Tells the other loops what it hears, as a chat over several loops would.
struct Gossip {
    others: Vec<Handle<Vec<u8>>>,
    here: Vec<reactor::ConnId>,
}

impl Handler for Gossip {
    type Session = ();
    type Message = Vec<u8>;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        self.here.push(cx.id());
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        let heard = input.take().to_vec();
        for other in &self.others {
            cx.send_message(other, heard.clone()).unwrap();
        }
        self.on_message(heard, cx);
    }

    fn on_message(&mut self, message: Vec<u8>, cx: &mut reactor::Context<'_>) {
        for id in &self.here {
            cx.send_to(*id, &message);
        }
    }
}

#[test]
fn a_pool_of_loops_with_handles_between_them_and_one_limit() {
    const LOOPS: usize = 3;
    let (handles, inboxes): (Vec<Handle<Vec<u8>>>, Vec<Inbox<_>>) =
        (0..LOOPS).map(|_| inbox(64)).unzip();
    let admission = Admission::new();
    let listens = Listen::at("127.0.0.1:0").open_for(LOOPS).unwrap();
    let address = listens[0].address().unwrap().socket_address().unwrap();
    let setups = listens.into_iter().zip(inboxes).enumerate().map(|(number, (listen, inbox))| {
        let others = handles.iter().enumerate().filter(|(other, _)| *other != number);
        let gossip =
            Gossip { others: others.map(|(_, handle)| handle.clone()).collect(), here: vec![] };
        let limits = Limits { max_connections: 20, ..Limits::default() };
        let config = ServiceConfig::new().inbox(inbox).limits(limits).admission(admission.clone());
        Box::new(move |reactor: &mut Reactor| {
            let service = reactor.add_with(gossip, config);
            reactor.listen(&service, listen).map(drop).map_err(io::Error::other)
        }) as Setup
    });
    let pool = Pool::start(propagating(), setups.collect()).unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let until = Instant::now() + PATIENCE;
    while admission.connections() < 20 {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    assert!(pool.counters().all(|counters| counters.read().accepted > 0), "shared out");
    clients[0].write_all(b"psst").unwrap();
    for client in &mut clients {
        let mut heard = [0; 4];
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"psst");
    }
    // The limit is one for all loops: the next client waits until somebody leaves.
    let mut late = TcpStream::connect(address).unwrap();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    late.write_all(b"in?").unwrap();
    clients.drain(..10);
    let mut heard = [0; 3];
    late.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"in?");
    assert_eq!(pool.statistics().accepted, 21);
    drop((clients, late));
    let report = pool.stop(Duration::from_secs(10)).unwrap();
    // Some of those that left early may have been spoken to since, and so count as cut off.
    assert_eq!(report.bytes_dropped, 0, "{report:?}");
}

#[test]
fn a_unix_listener_is_shared_by_loops_and_its_file_goes_with_the_last() {
    let path = std::env::temp_dir().join(format!("reactor-pool-{}.sock", std::process::id()));
    let listens = Listen::at(format!("unix:{}", path.display())).open_for(2).unwrap();
    let setups = listens.into_iter().map(|listen| {
        Box::new(move |reactor: &mut Reactor| {
            let service = reactor.add(Gossip { others: vec![], here: vec![] });
            reactor.listen(&service, listen).map(drop).map_err(io::Error::other)
        }) as Setup
    });
    let pool = Pool::start(propagating(), setups.collect()).unwrap();
    for _ in 0..20 {
        let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    drop(pool);
    assert!(!path.exists());
}

#[test]
fn a_pool_that_cannot_be_set_up_stops_and_says_why() {
    let good: Setup = Box::new(|_| Ok(()));
    let bad: Setup = Box::new(|_| Err(io::Error::other("no way")));
    let error = Pool::start(Config::default(), vec![good, bad]).unwrap_err();
    assert_eq!(error.to_string(), "no way");
}

struct Quiet;

impl Handler for Quiet {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
}

#[test]
fn spinning_finds_work_and_gives_up_when_it_does_not_pay() {
    let config = Config { spin: Duration::from_micros(200), ..propagating() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let service = reactor.add(Quiet);
    let address = reactor.listen(&service, "127.0.0.1:0").unwrap().address;
    let _client = TcpStream::connect(address.socket_address().unwrap()).unwrap();
    let until = Instant::now() + PATIENCE;
    while reactor.counters().read().accepted == 0 {
        assert!(Instant::now() < until);
        reactor.turn(None).unwrap();
    }
    let before = Instant::now();
    reactor.turn(Some(Duration::from_millis(50))).unwrap();
    reactor.turn(Some(Duration::from_millis(50))).unwrap();
    assert!(before.elapsed() >= Duration::from_millis(50), "a spin does not end a wait");
}
