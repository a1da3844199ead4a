//! What broke once, named for it.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use reactor::{
    Address, Admission, CloseReason, Config, ConnContext, ConnId, ConnectError, Context, Handler,
    Limits, Listen, Reactor, ReadBuffer, ServiceConfig, Signal, Stage, Turn,
};
use signal_hook::consts::SIGUSR1;
use socket2::SockRef;
use support::{Heard, PATIENCE, Probe, pattern, propagating, serve, turn_until};

fn turn_for(reactor: &mut Reactor, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if let Turn::Stopped(_) = reactor.turn(Some(Duration::from_millis(10))).unwrap() {
            return;
        }
    }
}

/// A queue swings between its marks and is never empty: what has left must not stay.
#[test]
fn blocks_that_had_left_stayed_in_a_queue_that_never_drained() {
    let mut probe = Probe::default();
    probe.data = Box::new(|_, cx| {
        while !cx.is_full() {
            cx.send_block(vec![7; 64 * 1024]);
        }
    });
    probe.drained = Box::new(|cx| {
        while !cx.is_full() {
            cx.send_block(vec![7; 64 * 1024]);
        }
    });
    let mut stage = Stage::new(probe);
    let id = stage.open();
    stage.stall(id, 0);
    stage.deliver(id, b"go");
    for _ in 0..500 {
        stage.stall(id, 200_000);
        stage.sent(id);
    }
    assert!(stage.reactor().counters().read().bytes_out > 50_000_000);
    assert!(stage.reactor().memory().queues < 1 << 20, "{:?}", stage.reactor().memory());
}

#[test]
fn a_cancelled_connect_stood_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    let id = reactor.connect(&service, listener.local_addr().unwrap());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    // It stands in the kernel, and its event is on the way.
    reactor.with(&service, |_, cx| {
        cx.send_to(id, b"never to leave");
        cx.at(id).unwrap().close();
    });
    turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
    turn_for(&mut reactor, Duration::from_millis(20));
    let cancelled = Heard::ConnectFailed(id, ConnectError::Cancelled);
    assert_eq!(reactor.get(&service).heard, [cancelled]);
    let counters = reactor.counters().read();
    assert_eq!((counters.queued_bytes, counters.open), (0, 0));
}

#[test]
fn an_end_that_came_on_the_edge_of_the_connect_was_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    reactor.connect(&service, listener.local_addr().unwrap());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hi").unwrap();
    drop(peer);
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(reactor.get(&service).data(), b"hi");
}

#[test]
fn a_spinning_loop_swallowed_answers_and_signals() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { spin: Duration::from_secs(1), ..propagating() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let service = reactor.add(Probe::default());
    reactor.connect(&service, format!("localhost:{}", listener.local_addr().unwrap().port()));
    let until = Instant::now() + PATIENCE;
    while reactor.get(&service).opened().is_empty() {
        assert!(Instant::now() < until);
        reactor.turn(None).unwrap(); // it slept here for ever
    }
    reactor.watch_signals(&[Signal::User1]).unwrap();
    signal_hook::low_level::raise(SIGUSR1).unwrap();
    while reactor.turn(None).unwrap() != Turn::Signal(Signal::User1) {
        assert!(Instant::now() < until);
    }
}

#[test]
fn a_unix_peer_that_does_not_read_made_the_loop_spin_and_others_wait() {
    let directory = std::env::temp_dir().join(format!("reactor-regression-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (full, sound) = (directory.join("full"), directory.join("sound"));
    let full_socket = UnixDatagram::bind(&full).unwrap();
    let sound_socket = UnixDatagram::bind(&sound).unwrap();
    sound_socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"fill", &full).is_ok() {}
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    let ours = format!("unix:{}", directory.join("ours").display());
    let socket = reactor.bind(&service, ours).unwrap().id;
    reactor.with(&service, |_, cx| {
        for path in [&full, &sound] {
            cx.send_datagram(socket, &Address::Unix(Some(path.as_path().into())), b"hello");
        }
    });
    turn_for(&mut reactor, Duration::from_millis(100));
    assert_eq!(sound_socket.recv(&mut [0; 9]).unwrap(), 5);
    let counters = reactor.counters().read();
    assert!(counters.turns < 100, "{} turns", counters.turns);
    assert_eq!((counters.datagrams_out, counters.datagrams_dropped), (1, 1));
    drop((reactor, full_socket));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_handler_that_always_connects_again_kept_the_loop_from_stopping() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut probe = Probe::default();
    probe.connect_failed = Box::new(move |cx| {
        cx.connect(target);
    });
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(probe);
    reactor.connect(&service, target);
    turn_until(&mut reactor, &service, |probe| probe.heard.len() > 2);
    reactor.shutdown(Duration::from_secs(3600));
    assert_eq!(reactor.run().unwrap().forced, 0);
    assert_eq!(reactor.counters().read().open, 0);
}

#[test]
fn a_connect_that_was_closed_at_once_failed_twice() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| {
        cx.send(&[0; 300_000]);
    });
    probe.drained = Box::new(|cx| {
        let id = cx.connect("192.0.2.1:1");
        cx.at(id).unwrap().close();
    });
    let mut stage = Stage::new(probe);
    stage.open();
    let failed = |heard: &&Heard| matches!(heard, Heard::ConnectFailed(..));
    assert_eq!(stage.handler().heard.iter().filter(failed).count(), 1);
}

#[test]
fn bytes_behind_an_urgent_one_were_never_read() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let mut client = TcpStream::connect(address).unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.opened().is_empty());
    client.write_all(b"aaa").unwrap();
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    client.write_all(b"bbb").unwrap();
    turn_until(&mut reactor, &service, |probe| probe.data().len() == 6);
    assert_eq!(reactor.get(&service).data(), b"aaabbb");
}

#[test]
fn a_closed_listener_was_still_watched_while_its_twin_lived() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    let listen = Listen::at("127.0.0.1:0").open_for(1).unwrap().pop().unwrap();
    for _ in 0..3 {
        let id = reactor.listen(&service, listen.clone()).unwrap().id;
        assert!(reactor.close_listener(id) && !reactor.close_listener(id));
    }
    turn_for(&mut reactor, Duration::from_millis(20));
    let before = reactor.counters().read().events;
    let address = listen.address().unwrap().socket_address().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    turn_for(&mut reactor, Duration::from_millis(20));
    assert_eq!(reactor.counters().read().events, before);
}

#[test]
fn a_dropped_loop_kept_its_places() {
    let admission = Admission::new();
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let limits = Limits { max_per_ip: 1, ..Limits::default() };
    let config = ServiceConfig::new().limits(limits.clone()).admission(admission.clone());
    let service = reactor.add_with(Probe::default(), config);
    let address = reactor.listen(&service, "127.0.0.1:0").unwrap().address;
    let _client = TcpStream::connect(address.socket_address().unwrap()).unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.opened().is_empty());
    assert_eq!(admission.connections(), 1);
    drop(reactor);
    assert_eq!(admission.connections(), 0);
}

#[test]
fn a_loop_that_was_stopping_opened_listeners() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    reactor.shutdown(Duration::from_secs(1));
    let error = reactor.listen(&service, "127.0.0.1:0").unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:0: the loop is stopping");
    assert!(reactor.bind(&service, "127.0.0.1:0").is_err());
    reactor.run().unwrap();
    reactor.with(&service, |_, cx| cx.set_timer(Duration::ZERO));
    assert_eq!(reactor.next_deadline(), None, "it has stopped");
}

/// A block that a handler takes for itself and gives back smaller must not make every later read small.
#[test]
fn a_handler_swapped_the_loops_block_for_a_small_one() {
    let mut probe = Probe::default();
    let mut own = ReadBuffer::from(&b"x"[..]);
    probe.data = Box::new(move |input, _| {
        std::mem::swap(input, &mut own);
        input.take();
    });
    let mut stage = Stage::new(probe);
    let id = stage.open();
    for _ in 0..4 {
        stage.deliver(id, &pattern(5000));
    }
    assert!(stage.handler().heard.len() < 10);
}

#[test]
fn stop_overtook_messages_that_were_sent_before_it() {
    let (mut reactor, service, _) = serve(Probe::default(), propagating());
    let handle = reactor.handle(&service);
    (0..1000).for_each(|number| handle.send(number).unwrap());
    handle.stop();
    reactor.run().unwrap();
    let heard = &reactor.get(&service).heard;
    assert_eq!(heard.len(), 1001);
    assert_eq!(heard.last(), Some(&Heard::Shutdown), "its last words come after all of them");
}

/// The peer is gone before our FIN: that is its reset, and not a mistake of ours.
#[test]
fn a_fin_to_nobody_was_told_as_not_connected() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let client = thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap(); // and does not wait for the answer
    });
    client.join().unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    let reset = CloseReason::Io(std::io::ErrorKind::ConnectionReset);
    assert!([CloseReason::Eof, reset].contains(&reactor.get(&service).reasons()[0]));
}

#[test]
fn a_reader_that_is_slow_gets_all_of_it_in_order() {
    let mut stage = Stage::new(Probe::default());
    let id = stage.open();
    let mut back = Vec::new();
    for chunk in pattern(100_000).chunks(997) {
        stage.stall(id, 313);
        stage.deliver(id, chunk);
        back.extend(stage.sent(id));
    }
    stage.stall(id, usize::MAX);
    back.extend(stage.sent(id));
    assert!(back == pattern(100_000));
}

/// What a timer leaves behind at a time to which it comes back agrees with it, as its live entry does.
#[test]
fn entries_that_a_timer_had_left_were_taken_for_live_ones_when_it_came_back() {
    let mut stage = Stage::new(Probe::default());
    let far = Duration::from_secs(3600);
    let timer = stage.with(|_, cx| cx.set_timer(far));
    for millis in 0..4000 {
        stage.with(|_, cx| {
            cx.rearm_timer(timer, Duration::from_millis(1));
            cx.rearm_timer(timer, far - Duration::from_millis(millis));
        });
        stage.pass(Duration::from_millis(1));
        if millis % 40 == 0 {
            // While it waits for that time, stale entries of others are thrown away.
            stage.with(|_, cx| {
                for _ in 0..5000 {
                    let other = cx.set_timer(2 * far);
                    cx.cancel_timer(other);
                }
            });
        }
    }
    assert!(stage.handler().heard.is_empty());
    assert!(stage.reactor().memory().tables < 1 << 15, "{:?}", stage.reactor().memory());
}

/// A panic in `on_open` closed the connection, and nobody told whoever had wished for it: a pipe kept its
/// other end for ever. Found by the simulator.
#[test]
fn a_wish_over_which_on_open_panicked_was_never_answered() {
    struct Wisher(Vec<ConnectError>);
    impl Handler for Wisher {
        type Session = ();
        type Message = std::convert::Infallible;
        fn on_open(&mut self, _: &mut ConnContext<'_>) {
            std::panic::resume_unwind(Box::new("for a test"));
        }
        fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
        fn on_connect_failed(&mut self, _: ConnId, error: ConnectError, _: &mut Context<'_>) {
            self.0.push(error);
        }
    }
    let mut stage = Stage::with_config(Wisher(Vec::new()), Config::default(), ServiceConfig::new());
    let id = stage.with(|_, cx| cx.connect("192.0.2.1:80"));
    stage.accept(id);
    stage.finish(id);
    assert!(!stage.is_open(id));
    assert_eq!(stage.handler().0, [ConnectError::Panicked]);
    let accepted = stage.open(); // of which nobody knows
    stage.finish(accepted);
    assert_eq!(stage.handler().0.len(), 1);
}

/// What is queued for a connection that does not stand yet is not flushed: an empty send left an empty
/// queue there. Found by the simulator.
#[test]
fn an_empty_send_to_a_connection_that_does_not_stand_took_memory() {
    let mut stage = Stage::new(Probe::default());
    let id = stage.with(|_, cx| cx.connect("192.0.2.1:80"));
    assert!(stage.with(|_, cx| cx.send_to(id, b"")));
    assert_eq!(stage.reactor().memory().queues, 0);
}
