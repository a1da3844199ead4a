//! How connections end: each in order, and with a reason.

use std::net::Shutdown;
use std::time::Duration;

use reactor::{CloseReason, Config, Deadline, Limits, ReadBuffer, TlsError, Turn};
use rustls::AlertDescription;

use crate::by_hand::{ByHand, beside, serve, turn_until};
use crate::certificates::{BOTH, server, speaking};
use crate::support::{Heard, OnConnection, OnInput, Probe, pattern, propagating};

#[test]
fn a_greeting_and_a_close_in_on_open_arrive_whole() {
    for version in BOTH {
        let open: OnConnection = Box::new(|cx| {
            cx.send(&pattern(200_000));
            cx.close();
        });
        let (mut reactor, service, address) =
            serve(Probe { open, ..Probe::default() }, propagating(), server());
        let text = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, speaking(version));
            let text = client.read_to_end().unwrap();
            client.finish();
            text
        });
        assert!(text == pattern(200_000), "{} bytes", text.len());
        turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Asked]);
    }
}

#[test]
fn a_shutdown_says_close_notify_to_all() {
    let open: OnConnection = Box::new(|cx| {
        cx.send(b"hello");
    });
    let (mut reactor, service, address) =
        serve(Probe { open, ..Probe::default() }, propagating(), server());
    let clients = beside(&mut reactor, move || {
        let clients: Vec<_> = (0..5).map(|_| ByHand::shaken(address, speaking(BOTH[1]))).collect();
        clients
    });
    turn_until(&mut reactor, &service, |probe| probe.opened().len() == 5);
    reactor.shutdown(Duration::from_secs(20));
    let reading = std::thread::spawn(move || {
        for mut client in clients {
            assert_eq!(client.read_to_end().unwrap(), b"hello");
            client.finish();
        }
    });
    let report = loop {
        if let Turn::Stopped(report) = reactor.turn(Some(Duration::from_millis(10))).unwrap() {
            break report;
        }
    };
    reading.join().unwrap();
    assert_eq!((report.drained, report.forced), (5, 0));
}

#[test]
fn the_peers_alert_is_the_reason() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
    beside(&mut reactor, move || {
        let mut client = crate::sealed::Sealed::shaken(address, BOTH[1]);
        let alert = u8::from(AlertDescription::InternalError);
        client.send(21, &[2, alert]).unwrap();
        assert_eq!(client.hear_all(), 0, "no alert answers an alert");
    });
    let reason = CloseReason::Tls(TlsError::Alert(80));
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [reason.clone()]);
}

/// What was said before still arrives.
#[test]
fn plaintext_before_a_broken_record_is_the_handlers() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
    beside(&mut reactor, move || {
        let mut client = crate::sealed::Sealed::shaken(address, BOTH[1]);
        let mut bytes = client.seal(23, b"whole");
        bytes.extend(client.seal(23, b"broken"));
        *bytes.last_mut().unwrap() ^= 1;
        std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
        client.hear_all();
    });
    let reason = CloseReason::Tls(TlsError::Undecryptable);
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [reason.clone()]);
    assert_eq!(reactor.get(&service).data(), b"xwhole");
}

#[test]
fn a_peer_that_takes_nothing_while_it_closes_is_cut_off() {
    let open: OnConnection = Box::new(|cx| {
        cx.send(&pattern(32 << 20));
        cx.close();
    });
    let limits =
        Limits { queue_max: 0, drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let (mut reactor, service, address) =
        serve(Probe { open, ..Probe::default() }, config, server());
    let _client = beside(&mut reactor, move || ByHand::shaken(address, speaking(BOTH[1])));
    let reason = CloseReason::Deadline(Deadline::Drain);
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [reason.clone()]);
    assert_eq!(reactor.counters().read().queued_bytes, 0);
}

#[test]
fn the_queue_counts_what_is_sealed_and_has_not_left() {
    let open: OnConnection = Box::new(|cx| {
        cx.send(&pattern(32 << 20));
        assert!(cx.is_full());
    });
    let limits = Limits { queue_max: 0, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let (mut reactor, service, address) =
        serve(Probe { open, ..Probe::default() }, config, server());
    let mut client = beside(&mut reactor, move || ByHand::shaken(address, speaking(BOTH[1])));
    turn_until(&mut reactor, &service, |probe| !probe.opened().is_empty());
    for _ in 0..50 {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let counted = reactor.counters().read();
    assert_eq!(counted.queued_bytes + counted.bytes_out, 32 << 20);
    assert!(counted.queued_bytes > 0, "the kernel has taken it all");
    let text = beside(&mut reactor, move || client.read_exact(32 << 20).unwrap());
    assert!(text == pattern(32 << 20));
    turn_until(&mut reactor, &service, |probe| {
        probe.heard.iter().any(|heard| matches!(heard, Heard::Drained(_)))
    });
    assert_eq!(reactor.counters().read().queued_bytes, 0);
}

/// Both directions end for themselves, whoever is first.
#[test]
fn half_a_close_leaves_the_other_half_open() {
    for version in BOTH {
        let eof: OnInput = Box::new(|input: &mut ReadBuffer, cx| {
            input.take();
            cx.send(&pattern(100_000));
            cx.finish();
        });
        let (mut reactor, service, address) =
            serve(Probe { eof, ..Probe::default() }, propagating(), server());
        let back = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, speaking(version));
            client.say(b"12345").unwrap();
            client.finish();
            client.read_to_end().unwrap()
        });
        assert!(back == [&b"12345"[..], &pattern(100_000)].concat());
        turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
    }
}

/// A client that is gone without a word after everything was said.
#[test]
fn fin_while_we_close_is_no_fault() {
    let data: OnInput = Box::new(|input: &mut ReadBuffer, cx| {
        cx.forward(input);
        cx.close();
    });
    let (mut reactor, service, address) =
        serve(Probe { data, ..Probe::default() }, propagating(), server());
    beside(&mut reactor, move || {
        let mut client = ByHand::shaken(address, speaking(BOTH[1]));
        client.say(b"bye").unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_to_end().unwrap(), b"bye");
    });
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Asked]);
}
