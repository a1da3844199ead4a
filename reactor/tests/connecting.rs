//! Outgoing connections: each wish ends in exactly one of `on_open` and `on_connect_failed`.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use reactor::{
    Address, CloseReason, Config, Connect, ConnectError, Limits, Origin, Reactor, ServiceConfig,
    Stage,
};
use support::{Heard, Probe, propagating, turn_until};

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn what_is_sent_before_it_stands_arrives_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut probe = Probe::default();
    probe.open = Box::new(move |cx| {
        assert_eq!((cx.origin(), cx.peer()), (Origin::Connected, Address::Ip(address)));
        cx.send(b"second");
    });
    probe.data = Box::new(|input, _| input.consume(usize::MAX));
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(probe);
    let id = reactor.with(&service, |_, cx| {
        let id = cx.connect(address);
        assert!(cx.send_to(id, b"first, "));
        id
    });
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 13];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(b"hello").unwrap();
        bytes
    });
    turn_until(&mut reactor, &service, |probe| !probe.reasons().is_empty());
    assert_eq!(&peer.join().unwrap(), b"first, second");
    assert_eq!(reactor.get(&service).opened(), [id]);
    assert_eq!(reactor.get(&service).data(), b"hello");
    assert_eq!(reactor.get(&service).reasons(), [CloseReason::Eof]);
}

#[test]
fn a_name_is_looked_up_and_its_addresses_are_tried_in_turn() {
    // `localhost` may have ::1 first, where nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("localhost:{}", listener.local_addr().unwrap().port());
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    let id = reactor.connect(&service, name);
    turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
    assert_eq!(reactor.get(&service).heard, [Heard::Open(id)]);
}

#[test]
fn each_failure_has_its_name_and_is_told_once() {
    let directory = std::env::temp_dir().join(format!("reactor-connect-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let stale = directory.join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let refused = free_port();
    let cases: [(Connect, ConnectError); 7] = [
        (refused.into(), ConnectError::Refused),
        ("no-such-host.invalid:80".into(), ConnectError::NotFound),
        (format!("unix:{}", stale.display()).into(), ConnectError::Refused),
        (format!("unix:{}", directory.join("none").display()).into(), ConnectError::NotFound),
        (
            "no port".into(),
            ConnectError::Invalid("'no port' is not HOST:PORT or unix:PATH".to_owned()),
        ),
        // Linux does not route there from a socket that was given no interface.
        ("[fe80::1]:80".into(), ConnectError::Io(ErrorKind::InvalidInput)),
        // A backlog that is full: the handshake is not answered.
        (Connect::to(full_listener()).timeout(Duration::from_millis(100)), ConnectError::TimedOut),
    ];
    for (connect, expected) in cases {
        let mut reactor = Reactor::with_config(propagating()).unwrap();
        let service = reactor.add(Probe::default());
        let target = format!("{connect:?}");
        let id = reactor.connect(&service, connect);
        turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
        reactor.turn(Some(Duration::ZERO)).unwrap();
        let Heard::ConnectFailed(failed, error) = &reactor.get(&service).heard[0] else {
            panic!("{target}: {:?}", reactor.get(&service).heard)
        };
        assert_eq!(*failed, id);
        if matches!(expected, ConnectError::Io(_)) {
            // Which of its words the system uses for no way there depends on its interfaces.
            assert!(!matches!(error, ConnectError::Cancelled), "{target}: {error:?}");
        } else {
            assert_eq!(*error, expected, "{target}");
        }
        assert_eq!(reactor.get(&service).heard.len(), 1, "once");
        assert_eq!(reactor.counters().read().open, 0);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A listener that accepts nobody, and whose backlog has no room. It stays for the rest of the test.
fn full_listener() -> SocketAddr {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    for _ in 0..8 {
        let filler =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        std::mem::forget(filler);
    }
    std::mem::forget(listener);
    address
}

#[test]
fn a_connection_to_itself_counts_as_refused() {
    // Bind the port, and connect to it from itself: what happens by chance on a free port.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(&address).unwrap();
    let mut stream = reactor_stream(socket);
    let error = reactor::Stream::connected(&mut stream).unwrap_err();
    assert_eq!(ConnectError::from(&error), ConnectError::Refused);
}

fn reactor_stream(socket: socket2::Socket) -> reactor::MioStream {
    socket.set_nonblocking(true).unwrap();
    reactor::MioStream::from(TcpStream::from(socket))
}

#[test]
fn a_close_before_it_stands_cancels() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    let target = free_port();
    let ids = reactor.with(&service, |_, cx| {
        let ids = [cx.connect(target), cx.connect(full_listener())];
        cx.at(ids[0]).unwrap().close();
        ids
    });
    turn_until(&mut reactor, &service, |probe| !probe.heard.is_empty());
    reactor.with(&service, |_, cx| cx.at(ids[1]).unwrap().abort());
    turn_until(&mut reactor, &service, |probe| probe.heard.len() == 2);
    let cancelled = ids.map(|id| Heard::ConnectFailed(id, ConnectError::Cancelled));
    assert_eq!(reactor.get(&service).heard, cancelled);
    assert_eq!(reactor.counters().read().open, 0);
}

#[test]
fn the_limit_on_connections_counts_outgoing_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let mut reactor = Reactor::with_config(Config { limits, ..propagating() }).unwrap();
    let service = reactor.add_with(Probe::default(), ServiceConfig::new());
    let address = listener.local_addr().unwrap();
    let ids = [(); 2].map(|()| reactor.connect(&service, address));
    turn_until(&mut reactor, &service, |probe| probe.heard.len() == 2);
    let heard = &reactor.get(&service).heard;
    assert!(heard.contains(&Heard::Open(ids[0])));
    assert!(heard.contains(&Heard::ConnectFailed(ids[1], ConnectError::Limit)));
}

#[test]
fn outgoing_connections_do_not_count_where_they_are_not_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits { max_connections: 1, counts_outgoing: false, ..Limits::default() };
    let mut reactor = Reactor::with_config(Config { limits, ..propagating() }).unwrap();
    let admission = reactor::Admission::new();
    let config = ServiceConfig::new().admission(admission.clone());
    let service = reactor.add_with(Probe::default(), config);
    let opened = reactor.listen(&service, "127.0.0.1:0").unwrap();
    let at = |reactor: &mut Reactor| {
        reactor.with(&service, |_, cx| cx.listener_address(opened.id).cloned())
    };
    assert_eq!(at(&mut reactor).as_ref(), Some(&opened.address));
    let address = listener.local_addr().unwrap();
    let ids = [(); 2].map(|()| reactor.connect(&service, address));
    let client = TcpStream::connect(opened.address.socket_address().unwrap()).unwrap();
    turn_until(&mut reactor, &service, |probe| probe.heard.len() == 3);
    assert_eq!(admission.connections(), 1, "the client alone");
    assert!(ids.iter().all(|id| reactor.get(&service).heard.contains(&Heard::Open(*id))));
    drop(client);
    let peers = [(); 2].map(|()| listener.accept().unwrap());
    drop(peers);
    turn_until(&mut reactor, &service, |probe| {
        probe.heard.iter().filter(|heard| matches!(heard, Heard::Close(..))).count() == 3
    });
    assert_eq!((admission.connections(), reactor.counters().read().open), (0, 0));
    assert!(reactor.close_listener(opened.id));
    assert_eq!(at(&mut reactor), None);
}

#[test]
fn a_shutdown_cancels_what_does_not_stand() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(Probe::default());
    let id = reactor.connect(&service, full_listener());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.shutdown(Duration::from_secs(60));
    assert_eq!(reactor.run().unwrap().drained, 0);
    let cancelled = Heard::ConnectFailed(id, ConnectError::Cancelled);
    assert_eq!(reactor.get(&service).heard, [Heard::Shutdown, cancelled]);
}

#[test]
fn a_silent_address_does_not_use_up_the_others_time() {
    let mut stage = Stage::new(Probe::default());
    let id = stage
        .with(|_, cx| cx.connect(Connect::to("[2001:db8::1]:80").timeout(Duration::from_secs(10))));
    assert_eq!(stage.connects().len(), 1);
    stage.pass(Duration::from_millis(9_999));
    assert!(stage.handler().heard.is_empty());
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.handler().heard, [Heard::ConnectFailed(id, ConnectError::TimedOut)]);
    assert_eq!((stage.connects(), stage.is_open(id)), (Vec::new(), false));
}
