//! The traps of rustls, each by its number: how to drive it, and what happens to who does not.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{
    Budgets, CloseReason, Config, Connect, ConnectError, Deadline, Event, Limits, Reactor,
    ReadBuffer, TlsError,
};
use rustls::{AlertDescription, Error, HandshakeKind};

use crate::by_hand::{ByHand, Serving, beside, record_lengths, serve, tcp, turn_until};
use crate::certificates::{Answer, BOTH, client, provider, server, speaking};
use crate::support::{Heard, Probe, pattern, propagating};

fn tls13() -> Arc<rustls::ClientConfig> {
    speaking(&rustls::version::TLS13)
}

/// A probe that answers nothing.
fn mute() -> Probe {
    Probe { data: Box::new(|input, _| _ = input.take()), ..Probe::default() }
}

/// Who reads once for each event is deaf to what the kernel has already told of.
#[test]
fn trap_01_all_that_has_come_is_read_without_new_bytes() {
    for budget in [1000, 256 * 1024] {
        let budgets = Budgets { bytes: budget, ..Budgets::default() };
        let config = Config { budgets, ..propagating() };
        let (mut reactor, service, address) = serve(mute(), config, server());
        let _client = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, tls13());
            client.say(&pattern(200_000)).unwrap(); // and then silence
            client
        });
        turn_until(&mut reactor, &service, |probe| probe.data().len() == 200_000);
        assert_eq!(reactor.get(&service).data(), pattern(200_000));
    }
}

/// The client's last message and its first data are one read: there is plaintext, and no event for it.
#[test]
fn trap_01_data_in_the_segment_that_ends_the_handshake_is_not_forgotten() {
    for version in BOTH {
        let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
        let back = beside(&mut reactor, move || {
            let mut client = ByHand::new(address, speaking(version));
            client.tls.writer().write_all(b"at once").unwrap();
            client.shake_hands_unsent().unwrap();
            client.flush().unwrap(); // and then silence
            client.read_exact(7).unwrap()
        });
        assert_eq!(back, b"at once");
        assert_eq!(reactor.get(&service).data(), b"at once");
    }
}

/// A handler that has nothing to say does not keep the tickets back, which are made by reading the client's last
/// message.
#[test]
fn trap_02_what_reading_has_made_leaves_without_the_handler() {
    let (mut reactor, _, address) = serve(mute(), propagating(), server());
    beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, tls13());
        while client.tls.tls13_tickets_received() < 2 {
            client.hear().unwrap();
        }
    });
}

#[test]
fn trap_03_the_alert_leaves_before_the_connection_does() {
    for version in BOTH {
        let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
        let told = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, speaking(version));
            client.say(b"good").unwrap();
            client.read_exact(4).unwrap();
            client.stream.write_all(&[23, 3, 3, 0, 32]).unwrap();
            client.stream.write_all(&[0; 32]).unwrap();
            let error = client.hear().unwrap_err();
            assert_eq!(client.stream.read(&mut [0; 10]).unwrap(), 0, "and FIN");
            error.into_inner().unwrap().downcast::<Error>().unwrap()
        });
        assert_eq!(*told, Error::AlertReceived(AlertDescription::BadRecordMac));
        let reason = CloseReason::Tls(TlsError::Undecryptable);
        turn_until(&mut reactor, &service, |probe| probe.reasons() == [reason.clone()]);
    }
}

/// A block of 1 KiB has no room for what one record brings; and a peer that does not read what it has asked for is
/// not read either, with 17 full records under way.
#[test]
fn trap_04_a_full_buffer_of_plaintext_is_no_error() {
    let limits = Limits { queue_high: 1000, queue_low: 10, ..Limits::default() };
    let config = Config { block_size: 1024, limits, ..propagating() };
    let (mut reactor, service, address) = serve(Probe::default(), config, server());
    let back = beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, tls13());
        client.say(&pattern(17 * 16_384)).unwrap();
        client.read_exact(17 * 16_384).unwrap()
    });
    assert_eq!(back, pattern(17 * 16_384));
    assert_eq!(reactor.get(&service).data(), back);
}

#[test]
fn trap_05_unread_plaintext_is_no_reason_to_spin() {
    let data: crate::support::OnInput = Box::new(|input: &mut ReadBuffer, cx| {
        input.consume(1);
        cx.pause();
    });
    let limits = Limits { queue_high: 100, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let (mut reactor, service, address) =
        serve(Probe { data, ..Probe::default() }, config, server());
    let _client = beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, tls13());
        client.say(&pattern(50_000)).unwrap();
        client
    });
    turn_until(&mut reactor, &service, |probe| !probe.data().is_empty());
    while reactor.next_deadline().is_some_and(|due| due < Instant::now()) {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    let before = reactor.counters().read().turns;
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {
        reactor.turn(Some(until.saturating_duration_since(Instant::now()))).unwrap();
    }
    assert!(reactor.counters().read().turns - before < 10, "it spins");
    let id = reactor.get(&service).opened()[0];
    assert!(reactor.get(&service).data().len() <= 100, "it is read no further than asked for");
    reactor.with(&service, |_, cx| cx.at(id).unwrap().resume());
    turn_until(&mut reactor, &service, |probe| probe.data().len() > 100);
}

/// 64 KiB is all that rustls takes at once.
#[test]
fn trap_06_one_send_of_a_mebibyte_leaves_whole() {
    let open: crate::support::OnConnection = Box::new(|cx| {
        cx.send(&pattern(1 << 20));
    });
    let (mut reactor, _, address) =
        serve(Probe { open, ..Probe::default() }, propagating(), server());
    let came =
        beside(&mut reactor, move || ByHand::shaken(address, tls13()).read_exact(1 << 20).unwrap());
    assert_eq!(came, pattern(1 << 20));
}

/// Each write of rustls is a record of its own.
#[test]
fn trap_07_what_is_sent_in_pieces_is_one_record() {
    let data: crate::support::OnInput = Box::new(|input: &mut ReadBuffer, cx| {
        input.take();
        for _ in 0..100 {
            cx.send(b"ten bytes.");
        }
    });
    let (mut reactor, _, address) =
        serve(Probe { data, ..Probe::default() }, propagating(), server());
    let (text, records) = beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, tls13());
        while client.tls.tls13_tickets_received() < 2 {
            client.hear().unwrap();
        }
        client.say(b"?").unwrap();
        let mut raw = vec![0; 4096];
        let count = client.stream.peek(&mut raw).unwrap();
        raw.truncate(count);
        (client.read_exact(1000).unwrap(), record_lengths(&raw))
    });
    assert_eq!(text, b"ten bytes.".repeat(100));
    assert_eq!(records, [1000 + 1 + 16], "one record: the bytes, their type, a tag");
}

/// Four records are one system call.
#[test]
fn trap_08_records_leave_in_one_vectored_write() {
    let data: crate::support::OnInput = Box::new(|input: &mut ReadBuffer, cx| {
        input.take();
        cx.send(&pattern(60_000));
    });
    let config = Config { trace_records: 10_000, ..propagating() };
    let (mut reactor, _, address) = serve(Probe { data, ..Probe::default() }, config, server());
    beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, tls13());
        client.say(b"?").unwrap();
        assert_eq!(client.read_exact(60_000).unwrap(), pattern(60_000));
    });
    let trace = reactor.recorder().trace();
    let large = trace.records().iter().filter(|record| {
        matches!(record.event, Event::Write { outcome: reactor::Outcome::Done(count), .. } if count > 10_000)
    });
    assert_eq!(large.count(), 1);
}

/// rustls would take data after its close_notify.
#[test]
fn trap_09_nothing_follows_close_notify() {
    let data: crate::support::OnInput = Box::new(|input: &mut ReadBuffer, cx| {
        input.take();
        if cx.can_send() {
            cx.send(b"last");
            cx.finish();
        }
        assert!(!cx.send(b"too late"));
    });
    let (mut reactor, service, address) =
        serve(Probe { data, ..Probe::default() }, propagating(), server());
    let (text, more) = beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, tls13());
        client.say(b"?").unwrap();
        let text = client.read_to_end().unwrap();
        // Ours goes on: half a close is no whole one.
        let more = client.say(b"and more");
        client.finish();
        (text, more.is_ok())
    });
    assert_eq!((text.as_slice(), more), (&b"last"[..], true));
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
    assert_eq!(reactor.get(&service).data(), b"?and more");
}

#[test]
fn trap_10_close_notify_is_the_end_of_half_and_fin_without_it_is_a_cut() {
    for is_clean in [true, false] {
        let eof: crate::support::OnInput = Box::new(|input: &mut ReadBuffer, cx| {
            cx.forward(input);
            cx.send(b", and good bye");
            cx.finish();
        });
        let (mut reactor, service, address) =
            serve(Probe { eof, ..Probe::default() }, propagating(), server());
        let text = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, tls13());
            client.say(b"hello").unwrap();
            match is_clean {
                true => {
                    client.tls.send_close_notify(); // no FIN: it is not waited for
                    client.flush().unwrap();
                }
                false => client.stream.shutdown(Shutdown::Write).unwrap(),
            }
            client.read_to_end().unwrap()
        });
        let (expected, reason) = match is_clean {
            true => (&b"hello, and good bye"[..], CloseReason::Eof),
            false => (&b"hello"[..], CloseReason::Truncated),
        };
        assert_eq!(text, expected);
        turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
        assert_eq!(reactor.get(&service).reasons(), [reason]);
        let told = |heard: &Heard| matches!(heard, Heard::Eof(..));
        assert_eq!(reactor.get(&service).heard.iter().any(told), is_clean, "on_eof");
    }
}

/// A hundred times out of a hundred; the client has sent what nobody reads, and an early reset would destroy what
/// is on its way to it.
#[test]
fn trap_11_data_then_close_notify_then_fin() {
    for round in 0..100 {
        let data: crate::support::OnInput = Box::new(|_, cx| {
            cx.send(&pattern(100_000));
            cx.close();
        });
        let (mut reactor, service, address) =
            serve(Probe { data, ..Probe::default() }, propagating(), server());
        let text = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, speaking(BOTH[round % 2]));
            client.say(b"?").unwrap();
            let unread = client.say(&pattern(300_000));
            drop(unread); // it may be refused: the other side may have gone
            let text = client.read_to_end().unwrap();
            client.finish();
            text
        });
        assert!(text == pattern(100_000), "round {round}: {} bytes", text.len());
        turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Asked]);
    }
}

/// CVE-2019-15541.
#[test]
fn trap_12_a_peer_that_is_gone_ends_the_connection_while_there_is_something_to_write() {
    let open: crate::support::OnConnection = Box::new(|cx| {
        cx.send(&pattern(16 << 20));
    });
    let limits = Limits { queue_max: 0, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let (mut reactor, service, address) =
        serve(Probe { open, ..Probe::default() }, config, server());
    beside(&mut reactor, move || {
        let client = ByHand::shaken(address, tls13());
        let linger = socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        linger.unwrap();
    });
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    let reasons = reactor.get(&service).reasons();
    assert!(
        matches!(
            reasons[..],
            [CloseReason::Io(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)]
        ),
        "{reasons:?}"
    );
}

/// RUSTSEC-2024-0336: both loop for ever on a socket that does not block.
#[test]
fn trap_13_neither_complete_io_nor_a_blocking_stream_is_used() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = std::fs::read_to_string(source.join("transport/tls.rs")).unwrap();
    assert!(text.contains("process_new_packets"));
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        for absent in ["complete_io", "rustls::Stream", "StreamOwned"] {
            assert!(!line.contains(absent), "{line}");
        }
    }
}

/// The server says nothing after the handshake, and TLS itself has nothing to write either.
#[test]
fn trap_14_what_was_sent_before_it_stood_leaves_when_it_does() {
    for version in BOTH {
        let mut reactor = Reactor::with_config(propagating()).unwrap();
        let service = reactor.add(mute());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = Connect::to(address).tls(client()).server_name("localhost");
        let id = reactor.connect(&service, connect);
        reactor.with(&service, |_, cx| {
            assert!(cx.send_to(id, b"before it stood"));
            cx.at(id).unwrap().finish();
        });
        let came = beside(&mut reactor, move || {
            let mut server = Serving::accept(&listener, version);
            let text = server.read_to_end();
            server.finish();
            text
        });
        assert_eq!(came, b"before it stood");
        turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
    }
}

#[test]
fn trap_15_a_handshake_has_its_own_deadline() {
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    let config = Config { limits, trace_records: 10_000, ..propagating() };
    let (mut reactor, service, address) = serve(Probe::default(), config, server());
    let waited = beside(&mut reactor, move || {
        // Silence; half a hello; and one byte now and then.
        let silent = tcp(address);
        let mut half = ByHand::new(address, tls13());
        let hello = half.outgoing();
        half.stream.write_all(&hello[..hello.len() / 2]).unwrap();
        let mut slow = tcp(address);
        let began = Instant::now();
        while slow.write_all(&hello[..1]).is_ok() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        for mut stream in [silent, half.stream] {
            let ended = stream.read(&mut [0; 10]).unwrap_or(0);
            assert_eq!(ended, 0);
        }
        began.elapsed()
    });
    assert!(waited < Duration::from_secs(20));
    assert_eq!(reactor.counters().read().handshakes_failed, 3);
    let trace = reactor.recorder().trace();
    let passed = trace.records().iter().filter(|record| {
        matches!(record.event, Event::DeadlinePassed { deadline: Deadline::Handshake, .. })
    });
    assert!(passed.count() >= 2);
    assert!(reactor.get(&service).heard.is_empty(), "the handler never hears of them");
}

/// Who comes when too many are under way waits, and is served.
#[test]
fn trap_15_over_the_cap_clients_wait_and_are_not_refused() {
    let limits = Limits { handshakes_max: 1, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let (mut reactor, service, address) = serve(Probe::default(), config, server());
    let waiting = beside(&mut reactor, move || {
        let mut first = ByHand::new(address, tls13());
        first.flush().unwrap();
        first.stream.read_exact(&mut [0; 1]).unwrap(); // it has its answer, and keeps still
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let mut client = ByHand::new(address, tls13());
                client.flush().unwrap();
                client
            })
            .collect();
        let gone = ByHand::new(address, tls13());
        drop(gone);
        drop(first); // it was their turn
        waiting
    });
    assert_eq!(reactor.get(&service).opened().len(), 0);
    beside(&mut reactor, move || {
        for mut client in waiting {
            client.shake_hands().unwrap();
            client.say(b"here").unwrap();
            assert_eq!(client.read_exact(4).unwrap(), b"here");
        }
    });
    assert_eq!(reactor.get(&service).opened().len(), 5);
}

/// Tickets are good on another loop, and after a reload.
#[test]
fn trap_16_sessions_are_resumed_on_other_loops_and_after_a_reload() {
    use reactor::tls::{Server, Tickets};
    for version in BOTH {
        let tickets = Tickets::new(&provider());
        let identity = crate::certificates::authority().identity(&["localhost"]);
        let fresh = || {
            let builder = Server::builder(&provider(), identity.clone());
            builder.tickets(tickets.clone()).build().unwrap()
        };
        let config = speaking(version);
        let shared = fresh();
        for round in 0..3 {
            if round == 2 {
                shared.replace(&fresh());
            }
            let open: crate::support::OnConnection = Box::new(move |cx| {
                assert_eq!(cx.tls().unwrap().is_resumed(), round > 0);
            });
            let probe = Probe { open, ..Probe::default() };
            let (mut reactor, _, address) = serve(probe, propagating(), shared.clone());
            let config = config.clone();
            let kind = beside(&mut reactor, move || {
                let mut client = ByHand::shaken(address, config);
                client.say(b"tickets come").unwrap();
                client.read_exact(12).unwrap();
                client.tls.handshake_kind()
            });
            let is_resumed = kind == Some(HandshakeKind::Resumed);
            assert_eq!(is_resumed, round > 0, "{version:?}, round {round}");
            assert_eq!(reactor.counters().read().handshakes_resumed, u64::from(round > 0));
        }
    }
}

#[test]
fn trap_17_no_application_protocol_in_common_is_fatal_and_who_it_is_is_known_when_it_is_open() {
    let known = Rc::new(Cell::new(false));
    let knows = known.clone();
    let open: crate::support::OnConnection = Box::new(move |cx| {
        let tls = cx.tls().unwrap();
        assert_eq!((tls.alpn(), tls.server_name()), (Some(&b"two"[..]), Some("localhost")));
        knows.set(true);
    });
    let answer = Answer { alpn: &["one", "two"] };
    let (mut reactor, service, address) =
        serve(Probe { open, ..Probe::default() }, propagating(), answer.server());
    let errors = beside(&mut reactor, move || {
        let offering = |protocol: &str| {
            let mut config = (*tls13()).clone();
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            ByHand::new(address, Arc::new(config))
        };
        let failed = offering("three").shake_hands().unwrap_err();
        let mut client = offering("two");
        client.shake_hands().unwrap();
        client.say(b"x").unwrap();
        client.read_exact(1).unwrap();
        failed.to_string()
    });
    assert!(errors.contains("NoApplicationProtocol"), "{errors}");
    assert!(known.get());
    assert_eq!(reactor.get(&service).opened().len(), 1);
    let never = ConnectError::Tls(TlsError::NoCommonProtocol).to_string();
    assert_eq!(never, "no application protocol in common");
}

/// With the share for quantum computers in it, a ClientHello is longer than a segment.
#[test]
fn trap_18_a_client_hello_comes_in_several_reads() {
    for piece in [1, 7, 500] {
        let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
        let back = beside(&mut reactor, move || {
            let mut client = ByHand::new(address, tls13());
            let hello = client.outgoing();
            assert!(hello.len() > 1400, "{} bytes", hello.len());
            for piece in hello.chunks(piece) {
                client.stream.write_all(piece).unwrap();
            }
            client.piece = piece;
            client.shake_hands().unwrap();
            client.say(b"in pieces").unwrap();
            client.read_exact(9).unwrap()
        });
        assert_eq!(back, b"in pieces");
        assert_eq!(reactor.get(&service).data(), b"in pieces");
    }
}
