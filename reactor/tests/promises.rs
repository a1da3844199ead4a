//! The ten promises of the loop, on real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use reactor::{
    Admission, Budgets, CloseReason, Config, ConnId, Deadline, Limits, Reactor, SendError,
    ServiceConfig, Turn,
};
use socket2::{Domain, SockRef, Socket, Type};
use support::{Heard, PATIENCE, Probe, pattern, propagating, serve, turn_until};

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// A client with a small receive buffer. It must be small before the handshake: a window that shrinks
/// later makes Linux crawl.
fn narrow(address: std::net::SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

// 1. Edge-triggered, and never stalled.

#[test]
fn promise_1_a_spent_budget_stalls_nobody() {
    let config = Config { budgets: Budgets { bytes: 1000, ..Budgets::default() }, ..propagating() };
    let (mut reactor, service, address) = serve(Probe::default(), config);
    let sent = pattern(300_000);
    let expected = sent.clone();
    let client = thread::spawn(move || {
        let mut client = connect(address);
        let mut reader = client.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut back = vec![0; 300_000];
            reader.read_exact(&mut back).unwrap();
            back
        });
        client.write_all(&sent).unwrap(); // and then silence: no edge will come
        reading.join().unwrap()
    });
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(client.join().unwrap(), expected);
    let longest = reactor.get(&service).heard.iter().filter_map(|heard| match heard {
        Heard::Data(_, bytes) => Some(bytes.len()),
        _ => None,
    });
    assert!(longest.max().unwrap() <= 1000);
}

#[test]
fn promise_1_what_was_left_at_a_pause_is_delivered_without_new_bytes() {
    let mut probe = Probe::default();
    let first = Cell::new(true);
    probe.data = Box::new(move |input, cx| {
        if first.replace(false) {
            cx.send(input.take_up_to(2));
            cx.pause();
            cx.set_deadline(Duration::from_millis(20));
        } else {
            cx.forward(input);
        }
    });
    probe.deadline = Box::new(|cx| cx.resume());
    let (mut reactor, service, address) = serve(probe, propagating());
    let mut client = connect(address);
    client.write_all(b"hello").unwrap();
    let id = {
        turn_until(&mut reactor, &service, |probe| probe.heard.len() >= 4);
        reactor.get(&service).opened()[0]
    };
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    assert_eq!(reactor.get(&service).heard[3], Heard::Data(id, b"llo".to_vec()));
}

#[test]
fn promise_1_an_end_that_came_with_the_data_is_noticed() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let mut client = connect(address);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap(); // both before the loop has its first look
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(read_all(&mut client), b"hello");
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Eof]);
}

#[test]
fn promise_1_a_reset_is_noticed_while_nothing_is_read() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| cx.pause());
    let (mut reactor, service, address) = serve(probe, propagating());
    let mut client = connect(address);
    client.write_all(b"never read").unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
    reset(client);
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Io(ErrorKind::ConnectionReset)]);
}

fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

// 2. Fair.

#[test]
fn promise_2_a_flood_does_not_starve_the_others() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        // What the flood sends is swallowed, so that nothing holds it up.
        if input.as_slice().starts_with(b"ask") {
            cx.send(b"answer");
        }
        input.take();
    });
    let (mut reactor, service, address) = serve(probe, propagating());
    let (done, is_done) = channel();
    let flood = thread::spawn(move || {
        let mut client = connect(address);
        while is_done.try_recv().is_err() {
            if client.write_all(&[b'x'; 65536]).is_err() {
                break;
            }
        }
    });
    let honest = thread::spawn(move || {
        let mut client = connect(address);
        let mut answer = [0; 6];
        for _ in 0..200 {
            client.write_all(b"ask").unwrap();
            client.read_exact(&mut answer).unwrap();
        }
        done.send(()).unwrap();
    });
    turn_until(&mut reactor, &service, |probe| probe.reasons().len() == 2);
    honest.join().unwrap();
    flood.join().unwrap();
}

#[test]
fn promise_2_one_turn_accepts_no_more_than_its_budget() {
    let budgets = Budgets { accepts: 3, ..Budgets::default() };
    let (mut reactor, service, address) =
        serve(Probe::default(), Config { budgets, ..propagating() });
    let _clients: Vec<_> = (0..10).map(|_| connect(address)).collect();
    for turn in 1..=4 {
        reactor.turn(None).unwrap();
        assert_eq!(reactor.get(&service).opened().len(), (3 * turn).min(10));
    }
}

// 3. Bounded.

#[test]
fn promise_3_a_peer_that_does_not_read_is_not_read() {
    let (mut reactor, _, address) = serve(Probe::default(), propagating());
    let client = connect(address);
    client.set_nonblocking(true).unwrap();
    let mut quiet_turns = 0;
    while quiet_turns < 20 {
        match (&client).write(&[b'x'; 65536]) {
            Ok(_) => quiet_turns = 0,
            Err(_) => quiet_turns += 1,
        }
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
    let limits = Limits::default();
    let queued = reactor.counters().read().queued_bytes as usize;
    assert!((limits.queue_low..=limits.queue_high).contains(&queued), "{queued} bytes wait");
    assert!(reactor.memory().queues <= 2 * limits.queue_high, "{:?}", reactor.memory());
}

#[test]
fn promise_3_who_lets_too_much_wait_is_a_slow_consumer() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        input.take();
        // Says far more than it is asked, as one who fans out would.
        while cx.send(&[b'x'; 100_000]) {}
    });
    let (mut reactor, service, address) = serve(probe, propagating());
    let mut client = connect(address);
    client.write_all(b"go").unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::SlowConsumer]);
    assert_eq!(reactor.counters().read().queued_bytes, 0);
}

#[test]
fn promise_3_input_that_is_not_consumed_is_bounded() {
    let mut probe = Probe::default();
    probe.data = Box::new(|_, _| {});
    let limits = Limits { input_max: 100_000, ..Limits::default() };
    let (mut reactor, service, address) = serve(probe, Config { limits, ..propagating() });
    let client = thread::spawn(move || {
        let mut client = connect(address);
        let _ = client.write_all(&vec![b'x'; 1 << 20]);
        let _ = client.read(&mut [0]);
    });
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    client.join().unwrap();
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::InputTooLarge]);
    let Heard::Data(_, longest) = &reactor
        .get(&service)
        .heard
        .iter()
        .rev()
        .find(|heard| matches!(heard, Heard::Data(..)))
        .unwrap()
    else {
        unreachable!()
    };
    assert!(longest.len() <= 100_000 + 64 * 1024);
}

#[test]
fn promise_3_at_the_limit_clients_wait_and_are_served_when_there_is_room() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let (mut reactor, service, address) =
        serve(Probe::default(), Config { limits, ..propagating() });
    let mut clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    for _ in 0..10 {
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
    assert_eq!(reactor.get(&service).opened().len(), 2);
    for (served, client) in clients.into_iter().enumerate() {
        turn_until(&mut reactor, &service, |probe| probe.opened().len() >= (served + 1).min(5));
        drop(client);
    }
    turn_until(&mut reactor, &service, |probe| probe.reasons().len() == 5);
    assert!(reactor.counters().read().accept_pauses >= 1);
}

#[test]
fn promise_3_an_address_has_its_limit_and_the_refused_are_counted() {
    let limits = Limits { max_per_ip: 2, ..Limits::default() };
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let admission = Admission::new();
    let config = ServiceConfig::new().limits(limits).admission(admission.clone());
    let service = reactor.add_with(Probe::default(), config);
    let address = reactor.listen(&service, "[::]:0").unwrap().address;
    let port = address.socket_address().unwrap().port();
    let mut clients: Vec<_> = (0..3).map(|_| connect(([127, 0, 0, 1], port).into())).collect();
    let mut other = connect((std::net::Ipv6Addr::LOCALHOST, port).into());
    other.write_all(b"x").unwrap();
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 3);
    assert_eq!(reactor.counters().read().refused, 1);
    assert_eq!(clients[2].read(&mut [0]).unwrap_or(0), 0, "accepted, and closed");
    clients.clear();
    turn_until(&mut reactor, &service, |probe| probe.reasons().len() == 2);
    assert_eq!(admission.connections(), 1);
    let _again = connect(([127, 0, 0, 1], port).into());
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 4);
}

#[test]
fn promise_3_an_inbox_is_bounded_and_who_met_full_is_told() {
    let mut there = Reactor::with_config(propagating()).unwrap();
    let (to_there, inbox) = reactor::inbox(2);
    let receiver = there.add_with(Probe::default(), ServiceConfig::new().inbox(inbox));
    let mut here = Reactor::with_config(Config { loop_number: 1, ..propagating() }).unwrap();
    let sender = here.add(Probe::default());
    let results = here.with(&sender, |_, cx| [1, 2, 3].map(|n| cx.send_message(&to_there, n)));
    assert_eq!(results, [Ok(()), Ok(()), Err(SendError::Full(3))]);
    assert!(here.get(&sender).heard.is_empty());
    turn_until(&mut there, &receiver, |probe| probe.heard.len() == 2);
    turn_until(&mut here, &sender, |probe| probe.heard == [Heard::InboxDrained]);
    drop(there);
    assert_eq!(to_there.send(4), Err(SendError::Closed(4)));
}

// 4. Nothing is lost on close.

#[test]
fn promise_4_a_close_drains_to_a_slow_reader_whatever_it_sends_meanwhile() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        input.take();
        cx.send_block(pattern(8 << 20));
        cx.close();
        assert!(!cx.send(b"too late"), "a send after close is refused");
    });
    let limits = Limits { queue_max: 0, ..Limits::default() };
    let (mut reactor, service, address) = serve(probe, Config { limits, ..propagating() });
    let client = thread::spawn(move || {
        let mut client = narrow(address);
        client.write_all(b"go").unwrap();
        let mut writer = client.try_clone().unwrap();
        // Unread input would turn the server's close into a reset, and that would destroy the rest.
        let writing = thread::spawn(move || while writer.write_all(&[b'x'; 10_000]).is_ok() {});
        let mut bytes = vec![0; 100_000];
        client.read_exact(&mut bytes).unwrap();
        thread::sleep(Duration::from_millis(300)); // it pauses; the server waits
        let mut rest = vec![0; (8 << 20) - 100_000];
        client.read_exact(&mut rest).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "then FIN");
        bytes.append(&mut rest);
        client.shutdown(Shutdown::Both).unwrap();
        writing.join().unwrap();
        bytes
    });
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Asked]);
    assert!(client.join().unwrap() == pattern(8 << 20));
}

#[test]
fn promise_4_half_close_works_in_both_directions() {
    // The peer finishes first, and we go on.
    let mut probe = Probe::default();
    probe.eof = Box::new(|_, cx| {
        cx.send(b"still here");
        cx.finish();
        assert!(!cx.can_send());
    });
    let (mut reactor, service, address) = serve(probe, propagating());
    let mut client = connect(address);
    client.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(read_all(&mut client), b"still here");
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Eof]);

    // We finish first, and the peer goes on.
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| {
        cx.send(b"that is all");
        cx.finish();
    });
    probe.data = Box::new(|input, _| drop(input.take().to_vec()));
    let (mut reactor, service, address) = serve(probe, propagating());
    let client = thread::spawn(move || {
        let mut client = connect(address);
        assert_eq!(read_all(&mut client), b"that is all");
        client.write_all(&pattern(500_000)).unwrap();
    });
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    client.join().unwrap();
    assert_eq!(reactor.get(&service).data(), pattern(500_000));
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Eof]);
}

#[test]
fn promise_4_an_abort_resets() {
    let mut probe = Probe::default();
    probe.data = Box::new(|_, cx| cx.abort());
    let (mut reactor, service, address) = serve(probe, propagating());
    let mut client = connect(address);
    client.write_all(b"x").unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Aborted]);
}

#[test]
fn promise_4_a_peer_that_never_closes_is_left_when_the_linger_is_over() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| cx.close());
    let limits = Limits { linger_timeout: Duration::from_millis(50), ..Limits::default() };
    let (mut reactor, service, address) = serve(probe, Config { limits, ..propagating() });
    let mut client = connect(address);
    turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
    assert_eq!(reactor.counters().read().open, 1, "a lingering connection counts");
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Asked]);
    assert_eq!(read_all(&mut client), b"");
}

#[test]
fn promise_4_a_peer_that_never_reads_is_left_when_the_drain_is_over() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| {
        cx.send_block(vec![0; 64 << 20]);
        cx.close();
    });
    let limits =
        Limits { queue_max: 0, drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let (mut reactor, service, address) = serve(probe, Config { limits, ..propagating() });
    let _client = connect(address);
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Deadline(Deadline::Drain)]);
}

// 5. Every connection ends with one typed reason; 6. and a panic closes one connection.

#[test]
fn promise_5_each_open_has_one_close() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let clients = thread::spawn(move || {
        for round in 0..100 {
            let mut client = connect(address);
            match round % 4 {
                0 => drop(client),
                1 => reset(client),
                2 => client.write_all(b"half, then gone").unwrap(),
                _ => {
                    client.write_all(b"hello").unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(read_all(&mut client), b"hello");
                }
            }
        }
    });
    turn_until(&mut reactor, &service, |probe| probe.reasons().len() == 100);
    clients.join().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let probe = reactor.get(&service);
    let mut closed: Vec<ConnId> = Vec::new();
    for (at, heard) in probe.heard.iter().enumerate() {
        if let Heard::Close(id, _) = heard {
            closed.push(*id);
            let about = |other: &Heard| matches!(other, Heard::Data(other, _) | Heard::Eof(other, _) if other == id);
            assert!(!probe.heard[at..].iter().any(about), "heard of after its end");
        }
    }
    closed.sort_unstable();
    let mut opened = probe.opened();
    opened.sort_unstable();
    assert_eq!(opened, closed);
    assert_eq!(reactor.counters().read().open, 0);
}

/// Every callback about a connection panics in turn, in its own server; another connection lives on.
#[test]
fn promise_6_a_panic_closes_its_connection_and_no_other() {
    type Spoil = fn(&mut Probe);
    let spoils: [(&str, Spoil); 5] = [
        ("on_open", |probe| probe.open = Box::new(|_| panic!("in on_open"))),
        ("on_data", |probe| probe.data = Box::new(|_, _| panic!("in on_data"))),
        ("on_eof", |probe| probe.eof = Box::new(|_, _| panic!("in on_eof"))),
        ("on_drained", |probe| {
            probe.open = Box::new(|cx| {
                cx.send_block(vec![0; 512 * 1024]);
            });
            probe.drained = Box::new(|_| panic!("in on_drained"));
        }),
        ("on_deadline", |probe| {
            probe.open = Box::new(|cx| cx.set_deadline(Duration::ZERO));
            probe.deadline = Box::new(|_| panic!("in on_deadline"));
        }),
    ];
    for (callback, spoil) in spoils {
        let mut probe = Probe::default();
        spoil(&mut probe);
        let mut reactor = Reactor::new().unwrap();
        let spoiled = reactor.add(probe);
        let sound = reactor.add(Probe::default());
        let address = |opened: reactor::Opened<_>| opened.address.socket_address().unwrap();
        let spoiled_at = address(reactor.listen(&spoiled, "127.0.0.1:0").unwrap());
        let sound_at = address(reactor.listen(&sound, "127.0.0.1:0").unwrap());
        let mut witness = connect(sound_at);
        let mut client = connect(spoiled_at);
        client.write_all(b"x").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let reading = thread::spawn(move || read_all(&mut client));
        turn_until(&mut reactor, &spoiled, |probe| {
            // `on_open` did not return: there is no session to give back.
            callback == "on_open" && !probe.heard.is_empty() || !probe.reasons().is_empty()
        });
        reactor.turn(Some(Duration::ZERO)).unwrap();
        let expected: &[_] = if callback == "on_open" { &[] } else { &[CloseReason::Panicked] };
        assert_eq!(reactor.get(&spoiled).reasons(), expected, "{callback}");
        assert_eq!(reactor.counters().read().panics, 1, "{callback}");
        reading.join().unwrap();
        witness.write_all(b"alive?").unwrap();
        turn_until(&mut reactor, &sound, |probe| !probe.data().is_empty());
        witness.shutdown(Shutdown::Write).unwrap();
        turn_until(&mut reactor, &sound, |probe| probe.reasons() == [CloseReason::Eof]);
        assert_eq!(read_all(&mut witness), b"alive?");
    }
}

#[test]
fn promise_6_a_panic_in_on_close_ends_there_and_one_outside_any_connection_is_counted() {
    let mut probe = Probe::default();
    probe.close = Box::new(|_| panic!("in on_close"));
    probe.message = Box::new(|_| panic!("in on_message"));
    probe.timer = Box::new(|_, _| panic!("in on_timer"));
    probe.turn_end = Box::new(|_| panic!("in on_turn_end"));
    probe.connect_failed = Box::new(|_| panic!("in on_connect_failed"));
    probe.shutdown = Box::new(|_| panic!("in on_shutdown"));
    let (mut reactor, service, address) = serve(probe, Config::default());
    drop(connect(address));
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
    let handle = reactor.handle(&service);
    (1..=3).for_each(|number| handle.send(number).unwrap());
    reactor.with(&service, |_, cx| {
        cx.set_timer(Duration::ZERO);
        cx.at_turn_end();
        cx.connect("not an address");
    });
    turn_until(&mut reactor, &service, |probe| {
        probe.heard.contains(&Heard::Message(3)) && probe.heard.contains(&Heard::TurnEnd)
    });
    reactor.shutdown(Duration::ZERO);
    assert_eq!(reactor.run().unwrap().forced, 0);
    assert_eq!(reactor.counters().read().panics, 8, "{:?}", reactor.get(&service).heard);
    let messages = reactor.get(&service).heard.iter().filter(|h| matches!(h, Heard::Message(_)));
    assert_eq!(messages.count(), 3, "the rest of the batch is delivered");
}

#[test]
#[should_panic(expected = "in on_data")]
fn promise_6_a_test_may_have_its_panics() {
    let mut probe = Probe::default();
    probe.data = Box::new(|_, _| panic!("in on_data"));
    let (mut reactor, service, address) = serve(probe, propagating());
    connect(address).write_all(b"x").unwrap();
    turn_until(&mut reactor, &service, |_| false);
}

// 7. Shutdown is a reported state machine.

#[test]
fn promise_7_shutdown_drains_what_it_can_and_reports_the_rest() {
    let mut probe = Probe::default();
    probe.data = Box::new(|input, cx| {
        input.take();
        cx.send_block(pattern(32 << 20));
    });
    let ids = Rc::new(RefCell::new(Vec::new()));
    let opened = Rc::clone(&ids);
    probe.open = Box::new(move |cx| opened.borrow_mut().push(cx.id()));
    probe.shutdown = Box::new(move |cx| {
        for id in ids.borrow().iter() {
            cx.send_to(*id, b"last words");
        }
    });
    let limits = Limits { queue_max: 0, ..Limits::default() };
    let (mut reactor, service, address) = serve(probe, Config { limits, ..propagating() });
    let (mut reader, mut idle, mut stuck) = (connect(address), connect(address), connect(address));
    stuck.write_all(b"x").unwrap();
    reader.write_all(b"x").unwrap();
    turn_until(&mut reactor, &service, |probe| {
        probe.opened().len() == 3
            && probe.heard.iter().filter(|heard| matches!(heard, Heard::Data(..))).count() == 2
    });
    let reading = thread::spawn(move || read_all(&mut reader));
    let idling = thread::spawn(move || read_all(&mut idle));
    reactor.shutdown(Duration::from_secs(4));
    assert!(reactor.is_stopping());
    let report = reactor.run().unwrap();
    assert_eq!((report.drained, report.forced), (2, 1), "{report:?}");
    assert!(report.bytes_dropped > 1 << 20 && report.took >= Duration::from_secs(4), "{report:?}");
    assert!(reading.join().unwrap() == [&pattern(32 << 20)[..], b"last words"].concat());
    assert_eq!(idling.join().unwrap(), b"last words");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    assert_eq!(reactor.turn(None).unwrap(), Turn::Stopped(report));
    let reasons = reactor.get(&service).reasons();
    assert!(reasons.iter().all(|reason| *reason == CloseReason::Shutdown), "{reasons:?}");
}

#[test]
fn promise_7_a_second_shutdown_forces() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| {
        cx.send_block(vec![0; 64 << 20]);
    });
    let limits = Limits { queue_max: 0, ..Limits::default() };
    let (mut reactor, service, address) = serve(probe, Config { limits, ..propagating() });
    let _client = connect(address);
    turn_until(&mut reactor, &service, |probe| !probe.opened().is_empty());
    reactor.shutdown(Duration::from_secs(3600));
    for _ in 0..5 {
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), Turn::Ran);
    }
    reactor.shutdown(Duration::ZERO);
    let report = reactor.run().unwrap();
    assert_eq!((report.drained, report.forced), (0, 1));
}

// 8. Embeddable: see embedding.rs.

// 9. A stale id is harmless.

/// A handler closes another connection in the same batch of events, and the next one gets its slot: no
/// event, timer or message of the old one reaches the new.
#[test]
fn promise_9_a_reused_slot_hears_nothing_of_its_former_owner() {
    let victim = Rc::new(Cell::new(None));
    let mut probe = Probe::default();
    let known = Rc::clone(&victim);
    probe.data = Box::new(move |input, cx| {
        let text = input.take().to_vec();
        if text == b"I am the victim" {
            known.set(Some(cx.id()));
            cx.set_deadline(Duration::from_secs(2));
        } else if let Some(victim) = known.get() {
            cx.at(victim).unwrap().abort();
            assert!(!cx.send_to(victim, b"x"), "it has gone");
        }
    });
    let (mut reactor, service, address) = serve(probe, propagating());
    // First in the table, first in a batch: the murderer. Both events are there before the turn.
    let (mut murderer, mut client) = (connect(address), connect(address));
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 2);
    client.write_all(b"I am the victim").unwrap();
    turn_until(&mut reactor, &service, |_| victim.get().is_some());
    murderer.write_all(b"now").unwrap();
    client.write_all(b"not to be heard").unwrap();
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    let mut heir = connect(address);
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 3);
    let [_, old, new] = reactor.get(&service).opened()[..] else { unreachable!() };
    assert_ne!(old, new);
    assert_eq!(old.to_string().split('.').next(), new.to_string().split('.').next(), "one slot");

    reactor.with(&service, |_, cx| {
        assert!(cx.at(old).is_none() && !cx.send_to(old, b"a message of the dead"));
    });
    let until = Instant::now() + Duration::from_millis(2100); // its deadline was 2 s
    while Instant::now() < until {
        reactor.turn(Some(Duration::from_millis(20))).unwrap();
    }
    let heard = &reactor.get(&service).heard;
    let after_death = heard.iter().position(|heard| matches!(heard, Heard::Close(..))).unwrap();
    assert_eq!(heard[after_death + 1..], [Heard::Open(new)], "{heard:?}");
    heir.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, &service, |probe| probe.reasons().len() == 2);
    assert_eq!(read_all(&mut heir), b"");
}

// 10. Small when idle.

#[test]
fn promise_10_an_idle_connection_owns_no_buffer() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating());
    let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    let mut back = [0; 4];
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 100);
    for client in &mut clients {
        client.write_all(b"ping").unwrap();
    }
    turn_until(&mut reactor, &service, |probe| probe.data().len() == 400);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    clients.iter_mut().for_each(|client| client.read_exact(&mut back).unwrap());
    let memory = reactor.memory();
    assert_eq!((memory.queues, memory.inputs), (0, 0));
    // A vector may be twice as long as it needs to be; the probe's session takes 8 bytes of it.
    assert!(memory.tables / 128 <= 256, "{} bytes a connection", memory.tables / 128);
    assert!(memory.spares <= 64 * 1024 + (1 << 20) + 16 * 64 * 1024, "{memory:?}");
}
