//! Connections of our own, pipes, and rooms: under TLS as without it.

use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use reactor::{
    Broadcast, CloseReason, Config, ConnContext, ConnId, Connect, ConnectError, Context, Handler,
    Limits, Listen, Origin, Pipes, Reactor, ReadBuffer, TlsError,
};

use crate::by_hand::{ByHand, Serving, beside, serve, turn_until};
use crate::certificates::{BOTH, client, server, speaking};
use crate::support::{Heard, OnInput, Probe, pattern, propagating};

#[test]
fn both_ends_on_one_loop() {
    let (mut reactor, service, address) = serve(Probe::default(), propagating(), server());
    let data: OnInput = Box::new(|_, _| {}); // what comes is left
    let caller = reactor.add(Probe { data, ..Probe::default() });
    let id = reactor.connect(&caller, Connect::to(address).tls(client()));
    assert!(reactor.with(&caller, |_, cx| cx.send_to(id, &pattern(100_000))));
    turn_until(&mut reactor, &caller, |probe| {
        probe
            .heard
            .iter()
            .any(|heard| matches!(heard, Heard::Data(_, back) if back.len() == 100_000))
    });
    assert_eq!(reactor.get(&caller).opened(), [id]);
    reactor.with(&caller, |_, cx| {
        let at = cx.at(id).unwrap();
        assert_eq!(at.origin(), Origin::Connected);
        assert_eq!(at.tls().unwrap().server_name(), Some("127.0.0.1"));
        cx.at(id).unwrap().close();
    });
    turn_until(&mut reactor, &caller, |probe| probe.reasons() == [CloseReason::Asked]);
    turn_until(&mut reactor, &service, |probe| probe.reasons() == [CloseReason::Eof]);
    let counted = reactor.counters().read();
    assert_eq!((counted.handshakes, counted.handshakes_failed, counted.connected), (2, 0, 1));
}

#[test]
fn a_second_connection_resumes_the_session() {
    let (mut reactor, _, address) = serve(Probe::default(), propagating(), server());
    let caller = reactor.add(Probe::default());
    let client = client();
    for round in 0..2 {
        let id = reactor.connect(&caller, Connect::to(address).tls(client.clone()));
        reactor.with(&caller, |_, cx| cx.send_to(id, b"x"));
        turn_until(&mut reactor, &caller, |probe| {
            probe.heard.iter().any(|heard| matches!(heard, Heard::Data(of, _) if *of == id))
        });
        let resumed = reactor.with(&caller, |_, cx| {
            let mut at = cx.at(id).unwrap();
            let resumed = at.tls().unwrap().is_resumed();
            at.close();
            resumed
        });
        assert_eq!(resumed, round > 0);
    }
}

#[test]
fn a_server_that_speaks_no_tls_or_hangs_up_or_keeps_silent_is_told_apart() {
    let limits = Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() };
    let mut reactor = Reactor::with_config(Config { limits, ..propagating() }).unwrap();
    let caller = reactor.add(Probe::default());
    let mut fails = |act: fn(std::net::TcpStream)| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Connect::to(listener.local_addr().unwrap()).tls(client());
        let before = reactor.get(&caller).heard.len();
        let id = reactor.connect(&caller, to);
        reactor.with(&caller, |_, cx| cx.send_to(id, b"never sent in the clear"));
        beside(&mut reactor, move || act(listener.accept().unwrap().0));
        turn_until(&mut reactor, &caller, |probe| probe.heard.len() > before);
        match reactor.get(&caller).heard.last() {
            Some(Heard::ConnectFailed(of, error)) if *of == id => error.clone(),
            other => panic!("{other:?}"),
        }
    };
    use std::io::{Read, Write};
    let plain = fails(|mut stream| {
        stream.write_all(b"220 mail.example.test ESMTP\r\n").unwrap();
        let mut heard = Vec::new();
        _ = stream.read_to_end(&mut heard);
        assert!(!heard.windows(5).any(|window| window == b"never"));
    });
    assert_eq!(plain, ConnectError::Tls(TlsError::Malformed));
    let gone = fails(|stream| stream.shutdown(Shutdown::Write).unwrap());
    assert_eq!(gone, ConnectError::ClosedEarly);
    let silent =
        fails(|mut stream| while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {});
    assert_eq!(silent, ConnectError::TimedOut);
    assert_eq!(reactor.counters().read().handshakes_failed, 3);
    assert_eq!(reactor.counters().read().connect_failures, 3);
}

#[test]
fn a_close_amid_the_handshake_cancels() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let caller = reactor.add(Probe::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Connect::to(listener.local_addr().unwrap()).tls(client());
    let id = reactor.connect(&caller, to);
    let (stream, _) = beside(&mut reactor, move || {
        let (stream, address) = listener.accept().unwrap();
        std::io::Read::read_exact(&mut &stream, &mut [0; 5]).unwrap(); // a hello has come
        (stream, address)
    });
    reactor.with(&caller, |_, cx| cx.at(id).unwrap().close());
    turn_until(&mut reactor, &caller, |probe| !probe.heard.is_empty());
    assert_eq!(reactor.get(&caller).heard, [Heard::ConnectFailed(id, ConnectError::Cancelled)]);
    drop(stream);
}

/// What a proxy is: TLS here, plain or TLS there.
struct Forwarder {
    to: Connect,
    pipes: Pipes,
}

impl Handler for Forwarder {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        if matches!(cx.origin(), Origin::Accepted(_)) {
            let to = cx.connect(self.to.clone());
            self.pipes.join(cx.id(), to, cx);
        }
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.pipes.on_data(input, cx);
    }

    fn on_eof(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.pipes.on_eof(input, cx);
    }

    fn on_drained(&mut self, _: &mut (), cx: &mut ConnContext<'_>) {
        self.pipes.on_drained(cx);
    }

    fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
        let id = cx.id();
        self.pipes.on_end(id, cx);
    }

    fn on_connect_failed(&mut self, id: ConnId, _: ConnectError, cx: &mut Context<'_>) {
        self.pipes.on_end(id, cx);
    }
}

#[test]
fn a_pipe_between_two_tls_connections_carries_both_ways_and_half_closes() {
    for version in BOTH {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Connect::to(upstream.local_addr().unwrap()).tls(client());
        let mut reactor = Reactor::with_config(propagating()).unwrap();
        let service = reactor.add(Forwarder { to, pipes: Pipes::default() });
        let listen = Listen::at("127.0.0.1:0").tls(server());
        let address = reactor.listen(&service, listen).unwrap().address.socket_address().unwrap();
        let (there, back) = beside(&mut reactor, move || {
            let serving = std::thread::spawn(move || {
                let mut serving = Serving::accept(&upstream, version);
                let there = serving.read_to_end(); // half-closed: the other way is open
                serving.say(&pattern(300_000));
                serving.finish();
                there
            });
            let mut client = ByHand::shaken(address, speaking(version));
            client.say(&pattern(500_000)).unwrap();
            client.finish();
            (serving.join().unwrap(), client.read_to_end().unwrap())
        });
        assert!(there == pattern(500_000), "{} bytes", there.len());
        assert!(back == pattern(300_000), "{} bytes", back.len());
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !reactor.get(&service).pipes.is_empty() {
            assert!(std::time::Instant::now() < until);
            reactor.turn(Some(Duration::from_millis(10))).unwrap();
        }
    }
}

/// A room where some speak TLS and some do not.
struct Room(Broadcast);

impl Handler for Room {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        self.0.join(cx.id());
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.0.say(Some(cx.id()), &[input.take()], cx);
        cx.at_turn_end();
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        self.0.flush(cx);
    }
}

#[test]
fn a_room_speaks_to_all_however_they_came() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let room = reactor.add(Room(Broadcast::default()));
    let listen = Listen::at("127.0.0.1:0").tls(server());
    let address = reactor.listen(&room, listen).unwrap().address.socket_address().unwrap();
    let plain = reactor.listen(&room, "127.0.0.1:0").unwrap().address.socket_address().unwrap();
    beside(&mut reactor, move || {
        let mut sealed = ByHand::shaken(address, speaking(BOTH[0]));
        let mut other = ByHand::shaken(address, speaking(BOTH[1]));
        let mut open = crate::by_hand::tcp(plain);
        std::io::Write::write_all(&mut open, b"hello").unwrap();
        // Whoever hears is in the room.
        assert_eq!(sealed.read_exact(5).unwrap(), b"hello");
        assert_eq!(other.read_exact(5).unwrap(), b"hello");
        let text = pattern(10_000);
        sealed.say(&text).unwrap();
        assert_eq!(other.read_exact(text.len()).unwrap(), text);
        let mut heard = vec![0; text.len()];
        std::io::Read::read_exact(&mut open, &mut heard).unwrap();
        assert_eq!(heard, text);
    });
}
