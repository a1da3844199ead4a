//! What the server serves: bytes, lines, datagrams.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use support::{Server, connect, datagram, exchange, read_to_end, round_trip, udp};

fn answer(arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    exchange(Server::start(arguments).connect(), bytes)
}

#[test]
fn every_byte_comes_back_as_it_came() {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(answer(&[], &all), all);
    assert_eq!(answer(&[], b""), b"");
    assert_eq!(answer(&["--max-line", "4"], b"longer than that"), b"longer than that");
    assert_eq!(answer(&["--spin", "50us"], b"hello"), b"hello");
}

#[test]
fn the_line_modes_combine() {
    let text = "one\r\nzwölf\n\nlast".as_bytes();
    for (arguments, expected) in [
        (&["--prefix", "Echo: "][..], "Echo: one\r\nEcho: zwölf\nEcho: \nEcho: last"),
        (&["--upper"], "ONE\r\nZWÖLF\n\nLAST"),
        (&["--upper", "--prefix", "- "], "- ONE\r\n- ZWÖLF\n- \n- LAST"),
        (&["--bye"], "one\r\nzwölf\n\nlast"),
    ] {
        assert_eq!(answer(arguments, text), expected.as_bytes(), "{arguments:?}");
    }
    assert_eq!(answer(&["--upper"], b"a\xff\n"), "A\u{fffd}\n".as_bytes());
    assert_eq!(answer(&["--prefix", ">"], b"a\xff\n"), b">a\xff\n");
}

#[test]
fn bye_is_not_answered_and_closes() {
    let server = Server::start(&["--bye", "--prefix", "> "]);
    for (bytes, expected) in [
        (&b"a\nbye\nb\n"[..], &b"> a\n"[..]),
        (b"a\r\nbye\r\n", b"> a\r\n"),
        (b"Bye\nbye \nbye", b"> Bye\n> bye \n"),
    ] {
        let mut client = server.connect();
        client.write_all(bytes).unwrap();
        if !bytes.ends_with(b"\n") {
            client.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_to_end(client), expected);
    }
}

#[test]
fn a_line_over_the_bound_closes_the_connection_and_what_came_before_is_answered() {
    let server = Server::start(&["--upper", "--max-line", "4"]);
    for (bytes, expected) in
        [(&b"four\r\nfives\nx\n"[..], &b"FOUR\r\n"[..]), (b"ab\nendless", b"AB\n")]
    {
        let mut client = server.connect();
        client.write_all(bytes).unwrap();
        assert_eq!(read_to_end(client), expected, "it closes, though we do not");
    }
    let long = "x".repeat(100_000);
    let unbounded = Server::start(&["--upper", "--max-line", "0"]);
    assert_eq!(exchange(unbounded.connect(), long.as_bytes()).len(), long.len());
    let usual = Server::start(&["--upper"]);
    assert_eq!(exchange(usual.connect(), &long.as_bytes()[..65536]).len(), 65536);
    let mut client = usual.connect();
    let _ = client.write_all(long.as_bytes()); // it may close in the middle of it
    let mut back = Vec::new();
    let _ = client.read_to_end(&mut back);
    assert!(back.is_empty());
}

#[test]
fn answers_come_line_by_line_while_the_connection_stays() {
    let server = Server::start(&["--upper"]);
    let mut client = server.connect();
    for (piece, expected) in
        [("he", ""), ("llo\r", ""), ("\nwor", "HELLO\r\n"), ("ld\n", "WORLD\n")]
    {
        client.write_all(piece.as_bytes()).unwrap();
        let mut back = vec![0; expected.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, expected.as_bytes());
    }
}

#[test]
fn many_lines_are_answered_in_order_to_a_peer_that_reads_late() {
    for arguments in [&["--prefix", "> "][..], &["--prefix", "> ", "--queue-limit", "1KiB"]] {
        let server = Server::start(arguments);
        let client = server.connect();
        let mut writer = client.try_clone().unwrap();
        let lines: Vec<String> = (0..200_000).map(|number| format!("line {number}\n")).collect();
        let (text, expected) = (lines.concat(), format!("> {}", lines.join("> ")));
        let sending = thread::spawn(move || {
            writer.write_all(text.as_bytes()).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_to_end(client) == expected.as_bytes());
        sending.join().unwrap();
    }
}

#[test]
fn each_datagram_is_answered_with_one() {
    let server = Server::start(&["--listen", "udp:127.0.0.1:0"]);
    assert!(server.ready_lines[0].starts_with("listening on udp://"));
    let socket = udp(server.address(0));
    let large = vec![b'x'; 60_000];
    for bytes in [&b"hello\n"[..], b"", b"bye", b"\xff\0", &large] {
        assert_eq!(datagram(&socket, bytes), bytes);
    }
}

#[test]
fn line_modes_take_a_datagram_as_one_text() {
    let server = Server::start(&[
        "--listen",
        "udp:127.0.0.1:0",
        "--prefix",
        "> ",
        "--upper",
        "--bye",
        "--loops",
        "2",
    ]);
    let socket = udp(server.address(0));
    assert_eq!(datagram(&socket, b"a\nb\r\n"), b"> A\nB\r\n");
    assert_eq!(datagram(&socket, b""), b"> ");
    socket.send(b"bye").unwrap();
    assert_eq!(datagram(&socket, b"next"), b"> NEXT", "and nothing for the goodbye");
}

#[test]
fn several_loops_serve_one_address() {
    let server = Server::start(&["--loops", "2", "--metrics", "127.0.0.1:0"]);
    assert_eq!(server.metric("reactor_loops"), 2.0);
    let clients: Vec<_> = (0..20).map(|_| connect(server.address(0))).collect();
    for mut client in clients {
        round_trip(&mut client, b"hello");
    }
}
