//! Messages, datagrams, pauses and marks, on a stage.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::time::Duration;

use reactor::{Address, CloseReason, Config, Handler, Limits, ServiceConfig, SocketId, Stage};
use support::{Heard, Probe, pattern, propagating};

#[test]
fn above_the_high_mark_nothing_is_read_and_below_the_low_mark_all_goes_on() {
    let limits = Limits { queue_high: 1000, queue_low: 100, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let mut stage = Stage::with_config(Probe::default(), config, ServiceConfig::new());
    let id = stage.open();
    stage.stall(id, 500);
    stage.deliver(id, &pattern(5000));
    let heard = |stage: &Stage<Probe>| stage.handler().data().len();
    assert_eq!(heard(&stage), 1000, "half of it has left, and it was full before");
    stage.stall(id, 399);
    assert_eq!(heard(&stage), 1000, "101 are not below the low mark");
    stage.stall(id, 1);
    assert_eq!(heard(&stage), 1900, "and now it is full again");
    stage.stall(id, usize::MAX);
    assert!(stage.handler().data() == pattern(5000));
    let drained = stage.handler().heard.iter().filter(|heard| **heard == Heard::Drained(id));
    assert!(drained.count() >= 2);
    assert_eq!(stage.sent(id), pattern(5000));
}

#[test]
fn input_left_because_the_queue_was_full_is_offered_again_by_itself() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        while !cx.is_full() && !input.is_empty() {
            let byte = [input.take_up_to(1)[0]; 100];
            cx.send(&byte);
        }
    });
    let limits = Limits { queue_high: 1000, queue_low: 100, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let mut stage = Stage::with_config(probe, config, ServiceConfig::new());
    let id = stage.open();
    stage.stall(id, 0);
    stage.deliver(id, b"abcdefghijklmnopqrstuvwxyz");
    assert_eq!(
        stage.handler().heard.last(),
        Some(&Heard::Data(id, b"abcdefghijklmnopqrstuvwxyz".to_vec()))
    );
    stage.finish(id); // the end comes after what was left
    stage.stall(id, usize::MAX);
    let sent = stage.sent(id);
    assert!(sent.chunks(100).zip(b'a'..=b'z').all(|(chunk, byte)| chunk == [byte; 100]));
    assert_eq!(sent.len(), 2600);
    assert_eq!(stage.handler().reasons(), [CloseReason::Eof]);
}

#[test]
fn a_client_may_read_although_it_cannot_write() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, _| input.consume(usize::MAX));
    let limits =
        Limits { queue_high: 100, queue_low: 10, reads_when_full: true, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let mut stage = Stage::with_config(probe, config, ServiceConfig::new());
    let id = stage.open();
    stage.stall(id, 0);
    stage.with(|_, cx| assert!(cx.send_to(id, &[1; 100]) && cx.at(id).unwrap().is_full()));
    stage.deliver(id, &pattern(5000));
    assert!(stage.handler().data() == pattern(5000));
    stage.stall(id, 90);
    assert_eq!(stage.handler().heard.last(), Some(&Heard::Drained(id)));
}

#[test]
fn a_paused_connection_hears_neither_bytes_nor_the_end() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| cx.pause());
    let mut stage = Stage::new(probe);
    let id = stage.open();
    stage.deliver(id, b"hello");
    stage.finish(id);
    assert_eq!(stage.handler().heard, [Heard::Open(id)]);
    stage.with(|_, cx| cx.at(id).unwrap().resume());
    assert_eq!(stage.handler().data(), b"hello");
    assert_eq!(stage.handler().reasons(), [CloseReason::Eof]);
}

#[test]
fn a_stage_tells_of_a_reset_and_of_a_refusal() {
    let mut stage = Stage::new(Probe::default());
    let id = stage.open();
    stage.reset(id);
    let reset = CloseReason::Io(std::io::ErrorKind::ConnectionReset);
    assert_eq!(stage.handler().reasons(), [reset]);
    let id = stage.with(|_, cx| cx.connect("some.where:80"));
    assert_eq!(stage.connects(), [(id, Address::Ip("192.0.2.1:80".parse().unwrap()))]);
    stage.refuse(id, std::io::ErrorKind::ConnectionRefused);
    let refused = Heard::ConnectFailed(id, reactor::ConnectError::Refused);
    assert_eq!(stage.handler().heard.last(), Some(&refused));
    let id = stage.with(|_, cx| cx.connect("some.where:80"));
    stage.accept(id);
    assert_eq!(stage.handler().heard.last(), Some(&Heard::Open(id)));
}

#[test]
fn messages_come_in_order_and_in_batches() {
    let mut stage = Stage::new(Probe::default());
    for number in 0..3 {
        stage.message(number);
    }
    assert_eq!(stage.handler().heard, [0, 1, 2].map(Heard::Message));
}

#[test]
fn the_end_of_a_turn_comes_once_and_what_it_says_leaves_with_the_rest() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        cx.send(input.take());
        cx.at_turn_end();
        cx.at_turn_end();
    });
    let mut stage = Stage::new(probe);
    let ids = [stage.open(), stage.open()];
    stage.with(|probe, _| {
        probe.turn_end = Box::new(move |cx| {
            for id in ids {
                cx.send_to(id, b"!");
            }
        });
    });
    stage.deliver(ids[0], b"hello");
    assert_eq!((stage.sent(ids[0]), stage.sent(ids[1])), (b"hello!".to_vec(), b"!".to_vec()));
    let ends = stage.handler().heard.iter().filter(|heard| **heard == Heard::TurnEnd);
    assert_eq!(ends.count(), 1);
}

/// What others say to a connection that has answered in this turn leaves in the next one.
#[test]
fn a_connection_is_written_to_once_a_turn() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        cx.forward(input);
        cx.at_turn_end();
    });
    let mut stage = Stage::new(probe);
    let id = stage.open();
    let out = |stage: &mut Stage<Probe>| stage.reactor().counters().read().bytes_out;
    stage.with(|probe, _| {
        probe.turn_end = Box::new(move |cx| {
            cx.send_to(id, b", and more");
        });
    });
    stage.stall(id, usize::MAX);
    let before = stage.reactor().counters().read().turns;
    stage.deliver(id, b"hello");
    assert_eq!(stage.sent(id), b"hello, and more");
    assert_eq!(out(&mut stage), 15);
    let turns = stage.reactor().counters().read().turns - before;
    assert!(turns >= 2, "in {turns} turns");
}

/// Answers each datagram with itself.
struct Mirror {
    failed: usize,
}

impl Handler for Mirror {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, _: &mut reactor::ConnContext<'_>) {}

    fn on_data(
        &mut self,
        _: &mut (),
        _: &mut reactor::ReadBuffer,
        _: &mut reactor::ConnContext<'_>,
    ) {
    }

    fn on_datagram(
        &mut self,
        socket: SocketId,
        from: &Address,
        datagram: &[u8],
        cx: &mut reactor::Context<'_>,
    ) {
        self.failed += usize::from(!cx.send_datagram(socket, from, datagram));
    }
}

#[test]
fn datagrams_go_back_where_they_came_from_and_the_queue_is_bounded() {
    let mut stage = Stage::new(Mirror { failed: 0 });
    let socket = stage.bind();
    let from = Address::Ip("192.0.2.9:9".parse().unwrap());
    stage.datagram(socket, &from, b"ping");
    stage.datagram(socket, &from, b"");
    let expected = [(b"ping".to_vec(), from.clone()), (Vec::new(), from.clone())];
    assert_eq!(stage.sent_datagrams(socket), expected);
    let taken = stage
        .with(|_, cx| (0..10).filter(|_| cx.send_datagram(socket, &from, &[0; 60_000])).count());
    assert_eq!(taken, Limits::default().datagram_queue_max / 60_000);
    assert_eq!(stage.sent_datagrams(socket).len(), taken);
    assert_eq!(stage.reactor().counters().read().datagrams_dropped, 10 - taken as u64);
}

#[test]
fn datagrams_on_real_sockets() {
    let directory = std::env::temp_dir().join(format!("reactor-datagram-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("server");
    let mut reactor = reactor::Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Mirror { failed: 0 });
    let udp = reactor.bind(&service, "127.0.0.1:0").unwrap().address.socket_address().unwrap();
    reactor.bind(&service, format!("unix:{}", path.display())).unwrap();
    let handle = reactor.handle(&service);
    let client = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        socket.connect(udp).unwrap();
        let unix = std::os::unix::net::UnixDatagram::bind(directory.join("client")).unwrap();
        unix.set_read_timeout(Some(support::PATIENCE)).unwrap();
        unix.connect(&path).unwrap();
        let mut room = vec![0; 70_000];
        for size in [0, 1, 1500, 65_507] {
            socket.send(&pattern(size)).unwrap();
            assert_eq!(socket.recv(&mut room).unwrap(), size);
            assert_eq!(room[..size], pattern(size));
            unix.send(&pattern(size)).unwrap();
            assert_eq!(unix.recv(&mut room).unwrap(), size);
        }
        handle.stop();
        directory
    });
    reactor.run().unwrap();
    let directory = client.join().unwrap();
    drop(reactor);
    assert!(!directory.join("server").exists());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_clock_that_stands_still_is_the_turns_clock() {
    let mut stage = Stage::new(Probe::default());
    let before = stage.with(|_, cx| cx.now());
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.with(|_, cx| cx.now()) - before, Duration::from_secs(5));
}
