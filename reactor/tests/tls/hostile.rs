//! Peers that mean harm, or do not know what they do. Each ends with a reason, and soon; and somebody honest beside
//! it never notices.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{CloseReason, Config, Event, Limits, TlsError};
use rustls::ClientConfig;

use crate::by_hand::{ByHand, beside, serve, tcp, turn_until};
use crate::certificates::{BOTH, server, speaking};
use crate::sealed::Sealed;
use crate::support::{Probe, pattern, propagating};

fn tls13() -> Arc<ClientConfig> {
    speaking(&rustls::version::TLS13)
}

fn tls12() -> Arc<ClientConfig> {
    speaking(&rustls::version::TLS12)
}

/// CPU that this thread, which is the loop's, has used.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanoseconds)
}

/// Lets the loop meet somebody, who gives back what was answered before the end; beside it, an honest client speaks
/// all the time. With why each connection ended.
fn meet(
    hostile: impl FnOnce(SocketAddr) -> Vec<u8> + Send + 'static,
) -> (Vec<u8>, Vec<CloseReason>, reactor::Statistics) {
    let limits = Limits { handshake_timeout: Duration::from_secs(1), ..Limits::default() };
    let config = Config { limits, trace_records: 100_000, ..propagating() };
    let (mut reactor, _, address) = serve(Probe::default(), config, server());
    let began = cpu();
    let (answer, honest) = beside(&mut reactor, move || {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let honest = std::thread::spawn(move || {
            let mut client = ByHand::shaken(address, tls13());
            let (mut slowest, mut rounds) = (Duration::ZERO, 0);
            while rounds < 5 || stopped.try_recv().is_err() {
                let said = Instant::now();
                client.say(b"still there?").unwrap();
                assert_eq!(client.read_exact(12).unwrap(), b"still there?");
                slowest = slowest.max(said.elapsed());
                rounds += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            client.finish();
            client.read_to_end().unwrap();
            slowest
        });
        let answer = hostile(address);
        stop.send(()).unwrap();
        (answer, honest.join().unwrap())
    });
    for _ in 0..20 {
        reactor.turn(Some(Duration::from_millis(2))).unwrap();
    }
    let used = cpu() - began;
    let most = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });
    assert!(used < most, "{used:?} of CPU");
    assert!(honest < Duration::from_secs(1), "the honest one waited for {honest:?}");
    let trace = reactor.recorder().trace();
    let ended = trace.records().iter().filter_map(|record| match &record.event {
        Event::Ended { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let mut reasons: Vec<_> = ended.collect();
    let honest = reasons.iter().position(|reason| *reason == CloseReason::Eof).unwrap();
    reasons.remove(honest);
    (answer, reasons, reactor.counters().read())
}

/// All that comes until the end, which may be a reset.
fn rest(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    bytes
}

/// A fatal alert as it is before anything is encrypted.
fn alert(number: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, number]
}

#[test]
fn who_speaks_http_is_told_in_one_line() {
    let (answer, reasons, counted) = meet(|address| {
        let mut stream = tcp(address);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        rest(stream)
    });
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nThis port speaks TLS: use https.\n"), "{text}");
    assert_eq!(reasons, [CloseReason::Tls(TlsError::PlainHttp)]);
    assert_eq!((counted.not_tls, counted.handshakes_failed), (1, 1));
}

#[test]
fn who_speaks_anything_else_is_told_by_an_alert_and_closed_at_once() {
    // The first is a ClientHello of SSL 2.
    for word in [&b"\x80\x2e\x01\x00\x02"[..], b"\x00\x00\x00\x04abcd", b"\n", b"\xff\xff\xff\xff"]
    {
        let (answer, reasons, counted) = meet(|address| {
            let mut stream = tcp(address);
            stream.write_all(word).unwrap();
            rest(stream)
        });
        assert_eq!(answer, alert(70));
        assert_eq!(reasons, [CloseReason::Tls(TlsError::NotTls)]);
        assert_eq!(counted.not_tls, 1);
    }
}

#[test]
fn silence_ends_with_the_time_for_the_handshake() {
    let (answer, reasons, _) = meet(|address| rest(tcp(address)));
    assert_eq!(answer, []);
    assert_eq!(reasons, [CloseReason::Deadline(reactor::Deadline::Handshake)]);
}

#[test]
fn a_hello_that_announces_sixteen_mebibytes_is_refused() {
    let (answer, reasons, _) = meet(|address| {
        let mut stream = tcp(address);
        // A record of 16 KiB, whose message is to have 16 MiB; and on, as long as it is taken.
        let mut record = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
        record.resize(5 + 0x4000, 0);
        while stream.write_all(&record).is_ok() {
            record[5..].fill(0);
        }
        rest(stream)
    });
    assert!(answer.len() <= 7, "{answer:?}");
    assert!(matches!(reasons[..], [CloseReason::Tls(TlsError::Malformed)]), "{reasons:?}");
}

#[test]
fn a_record_of_18_433_bytes_is_refused() {
    let (answer, reasons, _) = meet(|address| {
        let mut client = ByHand::shaken(address, tls13());
        client.say(b"x").unwrap();
        client.read_exact(1).unwrap();
        let mut record = vec![23, 3, 3, 0x48, 0x01];
        record.resize(5 + 0x4801, 7);
        let sent = client.stream.write_all(&record);
        drop(sent);
        let error = client.hear().unwrap_err().to_string();
        error.into_bytes()
    });
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains("RecordOverflow") || text.contains("DecodeError"), "{text}");
    assert_eq!(reasons, [CloseReason::Tls(TlsError::Malformed)]);
}

#[test]
fn renegotiation_is_refused() {
    let (answer, reasons, _) = meet(|address| {
        let mut client = Sealed::shaken(address, &rustls::version::TLS12);
        let hello = ByHand::over(tcp(address), tls12()).outgoing().split_off(5);
        client.send(22, &hello).unwrap();
        let warned = client.hear() as u8; // an alert: no renegotiation
        client.send(23, b"?").unwrap();
        let answered = client.hear() as u8; // and all goes on as it was
        while client.send(22, &hello).is_ok() {} // but not for ever
        vec![warned, answered]
    });
    assert_eq!(answer, [5 + 8 + 2 + 16, 5 + 8 + 1 + 16]);
    // The other is that from which the hello is.
    assert_eq!(reasons, [CloseReason::Truncated, CloseReason::Tls(TlsError::Misbehaved)]);
}

#[test]
fn records_without_anything_in_them_end_with_a_reason() {
    for version in BOTH {
        let (_, reasons, _) = meet(move |address| {
            let mut client = Sealed::shaken(address, version);
            while client.send(23, &[]).is_ok() {}
            Vec::new()
        });
        assert_eq!(reasons, [CloseReason::Tls(TlsError::Misbehaved)]);
    }
}

#[test]
fn a_record_of_a_type_that_there_is_not_is_refused() {
    for version in BOTH {
        let (_, reasons, _) = meet(move |address| {
            let mut client = Sealed::shaken(address, version);
            client.send(99, b"what is this?").unwrap();
            client.hear();
            Vec::new()
        });
        assert!(matches!(reasons[..], [CloseReason::Tls(_)]), "{reasons:?}");
    }
}

#[test]
fn close_notify_in_the_middle_of_the_handshake_closes_at_once() {
    for config in [tls12(), tls13()] {
        let (_, reasons, counted) = meet(move |address| {
            let mut client = ByHand::new(address, config);
            client.flush().unwrap();
            let mut flight = [0; 1000];
            assert!(client.stream.read(&mut flight).unwrap() > 0);
            let began = Instant::now();
            client.stream.write_all(&[21, 3, 3, 0, 2, 1, 0]).unwrap();
            let answer = rest(client.stream);
            assert!(began.elapsed() < Duration::from_millis(500), "not at once");
            answer
        });
        assert!(
            matches!(reasons[..], [CloseReason::Tls(_) | CloseReason::Truncated]),
            "{reasons:?}"
        );
        assert_eq!(counted.handshakes_failed, 1);
    }
}

#[test]
fn a_fatal_alert_in_the_handshake_ends_it() {
    let (_, reasons, _) = meet(move |address| {
        let mut client = ByHand::new(address, tls13());
        client.flush().unwrap();
        client.stream.read_exact(&mut [0; 1]).unwrap();
        client.stream.write_all(&alert(48)).unwrap();
        rest(client.stream)
    });
    assert_eq!(reasons, [CloseReason::Tls(TlsError::Alert(48))]);
}

#[test]
fn a_client_that_hangs_up_in_the_handshake_is_let_go() {
    let (_, reasons, counted) = meet(move |address| {
        let mut client = ByHand::new(address, tls13());
        client.flush().unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        rest(client.stream)
    });
    assert_eq!(reasons, [CloseReason::Truncated]);
    assert_eq!(counted.handshakes_failed, 1);
}

/// A thousand are nothing to complain of, if something is said between them.
#[test]
fn key_updates_with_data_between_are_answered() {
    let (_, reasons, _) = meet(|address| {
        let mut client = ByHand::shaken(address, tls13());
        for round in 0..1000_u32 {
            client.tls.refresh_traffic_keys().unwrap();
            client.say(&round.to_be_bytes()).unwrap();
            assert_eq!(client.read_exact(4).unwrap(), round.to_be_bytes());
        }
        client.finish();
        client.read_to_end().unwrap()
    });
    assert_eq!(reasons, [CloseReason::Eof]);
}

#[test]
fn key_updates_without_data_end_with_a_reason() {
    let (_, reasons, _) = meet(|address| {
        let mut client = ByHand::shaken(address, tls13());
        while client.tls.refresh_traffic_keys().is_ok() && client.flush().is_ok() {}
        rest(client.stream)
    });
    assert_eq!(reasons, [CloseReason::Tls(TlsError::Misbehaved)]);
}

/// Blocked both ways: the peer sends and does not read, until it does.
#[test]
fn who_sends_without_reading_is_not_read_and_loses_nothing() {
    let size = 8 << 20;
    for config in [tls12(), tls13()] {
        let limits = Limits { queue_max: 0, ..Limits::default() };
        let (mut reactor, service, address) =
            serve(Probe::default(), Config { limits, ..propagating() }, server());
        let back = beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, config);
            client.stream.set_nonblocking(true).unwrap();
            // As much as goes without reading; then both at once.
            let (sent, mut back, mut waiting) = (pattern(size), Vec::new(), Vec::new());
            let mut said = 0;
            let mut reads = false;
            while back.len() < size {
                if waiting.is_empty() && said < size {
                    let count = client.tls.writer().write(&sent[said..]).unwrap();
                    said += count;
                    waiting = client.outgoing();
                }
                match client.stream.write(&waiting) {
                    Ok(count) => drop(waiting.drain(..count)),
                    Err(_) => reads = true,
                }
                reads |= said == size && waiting.is_empty();
                if reads && client.hear().is_ok() {
                    let mut room = vec![0; 65_536];
                    while let Ok(count @ 1..) = client.tls.reader().read(&mut room) {
                        back.extend_from_slice(&room[..count]);
                    }
                }
            }
            back
        });
        assert!(back == pattern(size));
        turn_until(&mut reactor, &service, |probe| probe.data().len() == size);
    }
}

/// All flights one byte at a time, in both versions.
#[test]
fn a_handshake_in_segments_of_one_byte_is_a_handshake() {
    for version in BOTH {
        let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
        beside(&mut reactor, move || {
            let mut client = ByHand::new(address, speaking(version));
            client.piece = 1;
            client.shake_hands().unwrap();
            client.say(b"byte for byte").unwrap();
            assert_eq!(client.read_exact(13).unwrap(), b"byte for byte");
            client.finish();
            client.read_to_end().unwrap();
        });
        turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
    }
}
