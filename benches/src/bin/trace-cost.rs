//! What the flight recorder costs: instructions per echoed message, counted by callgrind.
//!
//! ```sh
//! cargo run --release --bin trace-cost
//! ```
//!
//! It builds itself twice, with the recorder and without the feature `trace`, and runs an echo on a
//! driver that is memory alone. It needs `valgrind`. Instructions are counted for two runs, one with
//! twice as many turns, and the difference is told: what starting costs is not in it. There is no system
//! in it either, whose calls would make the recorder's share look smaller than it is.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use reactor_bare::{
    Address, Bind, Config, ConnContext, Connect, DatagramSocket, Driver, Handler, Listen,
    ListenError, Reactor, ReadBuffer, Readiness, Signal, Stream, Token,
};

/// Turns of the shorter run; the longer has twice as many.
const TURNS: usize = 2_000;

/// Connections that each say something in each turn.
const CROWDS: [usize; 3] = [1, 16, 256];

/// Bytes of a message.
const MESSAGE: usize = 64;

/// Records that are kept where any are.
const RECORDS: usize = 65_536;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => compare(),
        [connections, turns, records] => {
            echo(connections.parse()?, turns.parse()?, records.parse()?);
            Ok(())
        }
        _ => Err("usage: trace-cost".into()),
    }
}

fn compare() -> Result<()> {
    let with = build("with", &[])?;
    let without = build("without", &["--no-default-features"])?;
    println!("instructions per message of {MESSAGE} bytes, and beside those without the recorder");
    println!("{:>11}  {:>12}  {:>18}  {:>18}", "connections", "compiled out", "off", "on");
    for connections in CROWDS {
        let none = per_message(&without, connections, 0)?;
        let off = per_message(&with, connections, 0)?;
        let on = per_message(&with, connections, RECORDS)?;
        let beside = |count: f64| format!("{count:.1} {:+7.2} %", (count / none - 1.0) * 100.0);
        println!("{connections:>11}  {none:>12.1}  {:>18}  {:>18}", beside(off), beside(on));
    }
    Ok(())
}

/// Builds this program in a folder of its own; where it is then.
fn build(folder: &str, features: &[&str]) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let target = root.join("target/trace-cost").join(folder);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "-p", "benches", "--bin", "trace-cost"])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !built.success() {
        return Err("it cannot be built".into());
    }
    Ok(target.join("release/trace-cost"))
}

fn per_message(program: &Path, connections: usize, records: usize) -> Result<f64> {
    let short = instructions(program, connections, TURNS, records)?;
    let long = instructions(program, connections, 2 * TURNS, records)?;
    Ok(long.saturating_sub(short) as f64 / (TURNS * connections) as f64)
}

/// Runs it under callgrind, which tells on stderr: `==1== Collected : 12345`.
fn instructions(program: &Path, connections: usize, turns: usize, records: usize) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([connections, turns, records].map(|number| number.to_string()))
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, count)) = collected.filter(|_| run.status.success()) else {
        return Err(format!("valgrind says:\n{told}").into());
    };
    Ok(count.trim().parse()?)
}

/// As many turns as are asked for, in each of which each connection says something and hears it again.
fn echo(connections: usize, turns: usize, records: usize) {
    let config = Config { trace_records: records, ..Config::default() };
    let mut reactor = Reactor::with_driver(config, Memory::new(connections));
    let service = reactor.add(Echo);
    if reactor.listen(&service, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).is_err() {
        unreachable!("a listener of memory needs nothing of the system");
    }
    for _ in 0..turns {
        if reactor.turn(Some(Duration::ZERO)).is_err() {
            unreachable!("a driver of memory always can wait");
        }
    }
}

struct Echo;

impl Handler for Echo {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        cx.forward(input);
    }
}

/// A world of clients that have something to say whenever they are asked.
struct Memory {
    now: Instant,
    clients: usize,
    listener: Option<Token>,
    lines: Vec<(Token, Rc<Cell<usize>>)>,
}

/// How many bytes have arrived at a connection.
struct Line(Rc<Cell<usize>>);

struct NoSocket;

impl Memory {
    fn new(clients: usize) -> Self {
        Self { now: Instant::now(), clients, listener: None, lines: Vec::new() }
    }
}

const READABLE: Readiness =
    Readiness { readable: true, writable: false, hang_up: false, error: false, urgent: false };

impl Driver for Memory {
    type Stream = Line;
    type Listener = ();
    type Socket = NoSocket;

    fn now(&self) -> Instant {
        self.now
    }

    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }

    fn wait(
        &mut self,
        _: Option<Duration>,
        mut on_event: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        if let Some(listener) = self.listener.filter(|_| self.clients > 0) {
            on_event(listener, READABLE);
        }
        for (token, arrived) in &self.lines {
            arrived.set(MESSAGE);
            on_event(*token, READABLE);
        }
        Ok(true)
    }

    fn listen(
        &mut self,
        _: Listen,
        token: Token,
    ) -> std::result::Result<((), Address), ListenError> {
        self.listener = Some(token);
        Ok(((), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into()))
    }

    fn close_listener(&mut self, (): ()) {}

    fn accept(&mut self, (): &mut ()) -> io::Result<(Line, Address)> {
        self.clients = self.clients.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        Ok((Line(Rc::default()), SocketAddr::from((Ipv4Addr::LOCALHOST, 2)).into()))
    }

    fn register(&mut self, line: &mut Line, token: Token) -> io::Result<()> {
        self.lines.push((token, Rc::clone(&line.0)));
        Ok(())
    }

    fn connect(&mut self, _: &Address, _: &Connect, _: Token) -> io::Result<Line> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bind(&mut self, _: Bind, _: Token) -> std::result::Result<(NoSocket, Address), ListenError> {
        Ok((NoSocket, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into()))
    }

    fn close_socket(&mut self, _: NoSocket) {}

    fn resolve(&mut self, _: &str, _: u16, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn resolved(&mut self) -> Option<(Token, io::Result<Vec<SocketAddr>>)> {
        None
    }

    fn watch_signals(&mut self, _: &[Signal]) -> io::Result<()> {
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }
}

// As opaque to the compiler as a system call is.
impl Stream for Line {
    #[inline(never)]
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.0.take() {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            arrived => {
                let count = arrived.min(room.len());
                room.iter_mut().take(count).for_each(|byte| *byte = b'x');
                Ok(count)
            }
        }
    }

    #[inline(never)]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn short_read_empties(&self) -> bool {
        true
    }

    fn take_error(&mut self) -> Option<io::Error> {
        None
    }

    fn reset(self) {}
}

impl DatagramSocket for NoSocket {
    fn receive(&mut self, _: &mut [u8]) -> io::Result<(usize, Address)> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, _: &[u8], _: &Address) -> io::Result<()> {
        Ok(())
    }
}
