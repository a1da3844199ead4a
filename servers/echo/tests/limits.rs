//! The limits, and the page that tells of them.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{Server, clog, connect, datagram, http, read_to_end, round_trip, udp};

/// Whether the server hangs up on who has just come.
fn is_turned_away(mut client: TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn an_address_has_its_limit_and_a_mapped_one_is_the_same() {
    for loops in ["1", "2"] {
        let server = Server::start(&[
            "--max-per-ip",
            "2",
            "--loops",
            loops,
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "[::]:0",
            "--metrics",
            "127.0.0.1:0",
        ]);
        let (plain, both) = (server.address(0), server.address(1));
        let mapped = SocketAddr::from(([127, 0, 0, 1], both.port()));
        let sixth = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], both.port()));
        let mut first = connect(plain);
        round_trip(&mut first, b"one");
        let mut second = connect(mapped);
        round_trip(&mut second, b"two");
        assert!(is_turned_away(connect(mapped)));
        assert!(is_turned_away(connect(plain)));
        round_trip(&mut connect(sixth), b"of another address");
        assert_eq!(server.metric("reactor_connections_refused_total"), 2.0);
        drop(second);
        server.await_metric("reactor_connections_open", |open| open == 2.0); // the first, and who asks
        round_trip(&mut connect(mapped), b"there is room again");
    }
}

#[test]
fn at_the_limit_clients_wait_in_the_backlog() {
    for loops in ["1", "2"] {
        let server = Server::start(&[
            "--max-connections",
            "1",
            "--loops",
            loops,
            "--metrics",
            "127.0.0.1:0",
        ]);
        let mut first = server.connect();
        round_trip(&mut first, b"one");
        let mut second = server.connect();
        second.write_all(b"two").unwrap();
        server.await_metric("reactor_accept_pauses_total", |pauses| pauses >= 1.0);
        second.set_nonblocking(true).unwrap();
        assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        second.set_nonblocking(false).unwrap();
        round_trip(&mut first, b"still served");
        drop(first);
        let mut back = [0; 3];
        second.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"two");
    }
}

#[test]
fn silence_closes_and_a_byte_now_and_then_does_not() {
    let server = Server::start(&["--idle-timeout", "300ms"]);
    let began = Instant::now();
    let silent = server.connect();
    assert!(read_to_end(silent).is_empty());
    assert!(began.elapsed() >= Duration::from_millis(300));

    let patient = Server::start(&["--idle-timeout", "0"]);
    let mut client = patient.connect();
    round_trip(&mut client, b"hello");
}

#[test]
fn who_does_not_read_is_not_read_either() {
    let server = Server::start(&["--queue-limit", "256KiB", "--metrics", "127.0.0.1:0"]);
    let client = server.connect();
    clog(&client);
    let queued = server.metric("reactor_queued_bytes");
    assert!(queued > 0.0 && queued < 262_144.0, "{queued}");
}

#[test]
fn the_page_tells_what_was_done() {
    let server = Server::start(&[
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "udp:127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ]);
    let mut clients = [server.connect(), server.connect()];
    clients.iter_mut().for_each(|client| round_trip(client, b"hello"));
    datagram(&udp(server.address(1)), b"hello");
    let page = server.address(2);
    let answer = http(page, "GET /metrics HTTP/1.1");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.ends_with("# EOF\n"));
    for line in [
        "reactor_connections_accepted_total 3", // two, and who asks
        "reactor_connections_open 3",
        "reactor_datagrams_received_total 1",
        "reactor_datagrams_sent_total 1",
        "reactor_sent_bytes_total 15",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    assert!(server.metric("reactor_handler_seconds_total") > 0.0);
    assert!(server.metric("reactor_turns_total") > 0.0);
    assert!(server.metric("reactor_events_total") > 0.0);
    for (request, status) in
        [("GET / HTTP/1.1", "404"), ("POST /metrics HTTP/1.1", "405"), ("nonsense", "400")]
    {
        let answer = http(page, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let head = http(page, "HEAD /metrics HTTP/1.0");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}
