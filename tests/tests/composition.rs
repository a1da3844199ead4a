//! Services of several crates in one loop, on real sockets: each by itself, and joined to each other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics where something is not as it should be"
)]

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

use echo::{Echo, Modes};
use reactor::{
    CloseReason, ConnContext, ConnId, Connect, ConnectError, Context, Handler, Origin, Pipes,
    Reactor, ReadBuffer,
};
use socket2::{Domain, Socket, Type};

/// Longer than any machine needs; a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing must be taken before a writer counts as stalled.
const STALL: Duration = Duration::from_secs(1);

/// Joins every client to a connection of its own to one upstream.
struct Forwarder {
    upstream: Connect,
    pipes: Pipes,
}

impl Handler for Forwarder {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        if matches!(cx.origin(), Origin::Accepted(_)) {
            let upstream = cx.connect(self.upstream.clone());
            self.pipes.join(cx.id(), upstream, cx);
        }
    }

    fn on_data(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.pipes.on_data(input, cx);
    }

    fn on_eof(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.pipes.on_eof(input, cx);
    }

    fn on_drained(&mut self, (): &mut (), cx: &mut ConnContext<'_>) {
        self.pipes.on_drained(cx);
    }

    fn on_close(&mut self, (): (), _: &CloseReason, cx: &mut ConnContext<'_>) {
        self.pipes.on_end(cx.id(), cx);
    }

    fn on_connect_failed(&mut self, id: ConnId, _: ConnectError, cx: &mut Context<'_>) {
        self.pipes.on_end(id, cx);
    }
}

fn address_of<H: Handler>(reactor: &mut Reactor, service: &reactor::Service<H>) -> SocketAddr {
    let opened = reactor.listen(service, "127.0.0.1:0").unwrap();
    opened.address.socket_address().unwrap()
}

/// A loop with an echo service and, in front of it, so many forwarders in a row; what `visit` does at
/// the outermost address, in a thread of its own, ends it.
fn serve<R: Send + 'static>(
    forwarders: usize,
    visit: impl FnOnce(SocketAddr) -> R + Send + 'static,
) -> R {
    let mut reactor = Reactor::new().unwrap();
    let echo = reactor.add(Echo::new(Modes::default()));
    let mut address = address_of(&mut reactor, &echo);
    for _ in 0..forwarders {
        // Small buffers in the kernel leave it to the queues what happens when all is full.
        let upstream = Connect::to(address).send_buffer(65_536).receive_buffer(65_536);
        let forwarder = reactor.add(Forwarder { upstream, pipes: Pipes::new() });
        address = address_of(&mut reactor, &forwarder);
    }
    let handle = reactor.handle(&echo);
    let visitor = thread::spawn(move || {
        let result = panic::catch_unwind(AssertUnwindSafe(|| visit(address)));
        handle.stop();
        result
    });
    reactor.run().unwrap();
    visitor.join().unwrap().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// A client whose window is small from the beginning.
fn connect(address: SocketAddr, receive_buffer: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(receive_buffer).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn content(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// Writes and does not read, until nothing is taken any more; how much was taken.
fn write_until_stalled(stream: &mut TcpStream, content: &[u8]) -> usize {
    stream.set_write_timeout(Some(STALL)).unwrap();
    let mut written = 0;
    while written < content.len() {
        match stream.write(&content[written..]) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    written
}

/// Fills everything between here and the echo, and only then begins to read; all of it comes back.
fn fill_and_then_read(address: SocketAddr) -> bool {
    let content = content(64 << 20);
    let mut reader = connect(address, 64 * 1024);
    let mut writer = reader.try_clone().unwrap();
    let written = write_until_stalled(&mut writer, &content);
    assert!(written < content.len(), "what nobody reads is not taken without end");
    thread::scope(|scope| {
        scope.spawn(|| {
            // The reader tells of a failure: less comes back than was sent.
            let _ = writer.write_all(&content[written..]);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut echo = Vec::new();
        let outcome = reader.read_to_end(&mut echo);
        // Whoever still writes is not waited for.
        let _ = reader.shutdown(Shutdown::Both);
        outcome.unwrap_or_else(|error| panic!("after {} bytes: {error}", echo.len()));
        echo == content
    })
}

#[test]
fn an_echo_that_was_full_goes_on_when_it_is_read() {
    assert!(serve(0, fill_and_then_read));
}

#[test]
fn a_pipe_to_an_echo_that_was_full_goes_on_when_it_is_read() {
    assert!(serve(1, fill_and_then_read));
}

#[test]
fn three_pipes_in_a_row_that_were_full_go_on_when_they_are_read() {
    assert!(serve(3, fill_and_then_read));
}

#[test]
fn half_close_passes_through_pipes_and_echo_and_back() {
    for size in [0, 1, 65_536, 1 << 20] {
        let echo = serve(2, move |address| {
            let content = content(size);
            let mut reader = connect(address, 4096);
            let mut writer = reader.try_clone().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    writer.write_all(&content).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut echo = Vec::new();
                reader.read_to_end(&mut echo).unwrap();
                echo == content
            })
        });
        assert!(echo, "{size} bytes");
    }
}

#[test]
fn services_in_one_loop_do_not_hear_each_other() {
    let mut reactor = Reactor::new().unwrap();
    let plain = reactor.add(Echo::new(Modes::default()));
    let loud = Modes { prefix: Some("> ".to_owned()), upper: true, ..Modes::default() };
    let loud = reactor.add(Echo::new(loud));
    let addresses = [address_of(&mut reactor, &plain), address_of(&mut reactor, &loud)];
    let handle = reactor.handle(&plain);
    let visitor = thread::spawn(move || {
        let answers: Vec<_> = (0..40)
            .map(|number| {
                let mut stream = connect(addresses[number % 2], 65_536);
                stream.write_all(format!("line {number}\n").as_bytes())?;
                stream.shutdown(Shutdown::Write)?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            })
            .collect();
        handle.stop();
        answers
    });
    reactor.run().unwrap();
    for (number, answer) in visitor.join().unwrap().into_iter().enumerate() {
        let line = format!("line {number}\n");
        let expected = if number % 2 == 0 { line } else { format!("> {}", line.to_uppercase()) };
        assert_eq!(answer.unwrap(), expected);
    }
}
