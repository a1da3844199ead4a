//! A first look at speed: the server's CPU time per echoed message, beside a bare mio loop.
//!
//! `cargo run --release --bin first-look`, after `cargo build --release`. It starts each server alone on
//! one core, drives it from another, closed loop, and reads how long the server was on its core
//! (schedstat). The servers take turns, A B A B, and what counts is the median of the rounds' ratios.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(200);

/// A server under test, on core 0; it ends with this value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, arguments: &[&str]) -> io::Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address =
            line.trim().strip_prefix("listening on tcp://").unwrap_or_default().to_owned();
        Ok(Self { child, address })
    }

    /// Nanoseconds on a core so far. taskset has become the server: it is the same process.
    fn cpu(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        let first = text.split(' ').next().and_then(|number| number.parse().ok());
        first.ok_or_else(|| ErrorKind::InvalidData.into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: TcpStream,
    missing: usize,
}

/// `connections` clients with one message of `size` bytes in flight each.
struct Load {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    message: Vec<u8>,
}

impl Load {
    fn start(address: &str, connections: usize, size: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        for number in 0..connections {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            clients.push(Client { stream, missing: size });
        }
        let message = (0..size).map(|index| index.to_le_bytes()[0]).collect();
        let mut load = Self { poll, events: Events::with_capacity(1024), clients, message };
        for client in &mut load.clients {
            client.stream.write_all(&load.message)?;
        }
        Ok(load)
    }

    /// Echoes for so long; how many messages came back.
    fn run(&mut self, time: Duration) -> io::Result<u64> {
        let until = Instant::now() + time;
        let mut room = vec![0; 64 * 1024];
        let mut done = 0;
        while Instant::now() < until {
            self.poll.poll(&mut self.events, Some(time))?;
            for event in &self.events {
                if let Some(client) = self.clients.get_mut(event.token().0) {
                    done += client.turn(&mut room, &self.message)?;
                }
            }
        }
        Ok(done)
    }
}

impl Client {
    fn turn(&mut self, room: &mut [u8], message: &[u8]) -> io::Result<u64> {
        let mut done = 0;
        loop {
            let room = room.get_mut(..self.missing).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let at = message.len() - self.missing;
                    if room.get(..count) != message.get(at..at + count) {
                        return Err(io::Error::other("something else came back"));
                    }
                    self.missing -= count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(done),
                Err(error) => return Err(error),
            }
            if self.missing == 0 {
                self.missing = message.len();
                done += 1;
                self.stream.write_all(message)?;
                return Ok(done);
            }
        }
    }
}

/// Nanoseconds of the server's CPU for a message.
fn measure(program: &Path, arguments: &[&str], connections: usize, size: usize) -> io::Result<f64> {
    let server = Server::start(program, arguments)?;
    let mut load = Load::start(&server.address, connections, size)?;
    load.run(WARM_UP)?;
    let before = server.cpu()?;
    let messages = load.run(ROUND)?;
    Ok((server.cpu()? - before) as f64 / messages.max(1) as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> io::Result<()> {
    if std::env::var_os("FIRST_LOOK_PINNED").is_none() {
        // The load gets the other core.
        let status = Command::new("taskset")
            .args(["-c", "1"])
            .arg(std::env::current_exe()?)
            .env("FIRST_LOOK_PINNED", "1")
            .status()?;
        return if status.success() { Ok(()) } else { Err(io::Error::other("the run has failed")) };
    }
    let folder = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let bare = folder.join("bare-mio");
    let ours = folder.join("echo-server");
    let plain: &[&str] = &["--listen", "127.0.0.1:0", "-q"];
    println!(
        "server CPU per message; ratio to bare mio: median (lowest to highest) of {ROUNDS} rounds"
    );
    println!("connections  bytes  bare mio ns  bare again          echo-server");
    for (connections, size) in [(1, 64), (64, 64), (1000, 64), (64, 16 * 1024)] {
        let (mut bases, mut again, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let base = measure(&bare, &[], connections, size)?;
            ratios.push(measure(&ours, plain, connections, size)? / base);
            again.push(measure(&bare, &[], connections, size)? / base);
            bases.push(base);
        }
        let spread = |values: &[f64]| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(0.0, f64::max);
            format!("{:.3} ({low:.3} to {high:.3})", median(values.to_vec()))
        };
        let (again, ours) = (spread(&again), spread(&ratios));
        println!("{connections:11}  {size:5}  {:11.0}  {again}  {ours}", median(bases));
    }
    Ok(())
}
