//! Real programs, started for one test and ended with it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_echo-server");
pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_echo-client");

/// Longer than anything takes on a loaded machine: what waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a program ended, and what it had said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// It could not run, and said why in one line.
    pub(crate) fn assert_failed(&self, text: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(self.stderr.contains(text), "{self:?} without {text}");
    }
}

/// Runs a program to its end, with this for stdin.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = command(program, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The end of a pipe that nobody reads any more.
pub(crate) fn closed_pipe() -> OwnedFd {
    std::io::pipe().unwrap().1.into()
}

/// A server that is ready; it is killed if the test does not stop it.
pub(crate) struct Server {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    pub(crate) ready_lines: Vec<String>,
    /// Each line of the log, as it is written.
    pub(crate) log: Receiver<String>,
}

impl Server {
    /// Starts one, on a free port unless the arguments say where, and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let is_told = |name: &str| arguments.iter().filter(|argument| **argument == name).count();
        let mut command = command(SERVER, arguments);
        if is_told("--listen") == 0 {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let listeners = is_told("--listen").max(1) + is_told("--metrics");
        Self::spawn(command, listeners)
    }

    pub(crate) fn spawn(mut command: Command, listeners: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().map(BufReader::new);
        let (told, log) = channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines() {
                    let _ = told.send(line.unwrap());
                }
            });
        }
        let mut ready_lines = Vec::new();
        for _ in 0..listeners {
            let mut line = String::new();
            stdout.as_mut().unwrap().read_line(&mut line).unwrap();
            assert!(line.starts_with("listening on "), "{line:?}: {:?}", log.recv());
            ready_lines.push(line.trim_end().to_owned());
        }
        Self { child, stdout, ready_lines, log }
    }

    /// The address of a listener, by its place.
    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        let (_, address) = self.ready_lines[index].split_once("://").unwrap();
        address.parse().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address(0))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the log says this, and returns that line.
    pub(crate) fn await_log(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for its end, and what it said after it was ready.
    pub(crate) fn wait(mut self) -> Ended {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        let code = self.child.wait().unwrap().code();
        let lines: Vec<String> = self.log.iter().collect();
        Ended { code, stdout, stderr: lines.join("\n") }
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// What the metrics page says about one number; it is the last listener.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = http(self.address(self.ready_lines.len() - 1), "GET /metrics HTTP/1.1");
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {page}")).trim().parse().unwrap()
    }

    /// Asks until a number is as it should be.
    pub(crate) fn await_metric(&self, name: &str, is_right: impl Fn(f64) -> bool) {
        while !is_right(self.metric(name)) {
            thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads as many.
pub(crate) fn round_trip(stream: &mut (impl Read + Write), bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

/// Sends all of it, finishes, and reads to the end.
pub(crate) fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read_to_end(stream)
}

pub(crate) fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    back
}

/// Writes until nobody takes more, and reads nothing of what comes back.
pub(crate) fn clog(mut stream: &TcpStream) {
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while stream.write_all(&[b'x'; 65536]).is_ok() {}
}

/// One request, and the whole answer.
pub(crate) fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "{request}\r\nhost: {address}\r\n\r\n").unwrap();
    String::from_utf8(read_to_end(stream)).unwrap()
}

pub(crate) fn udp(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// One datagram there and one back.
pub(crate) fn datagram(socket: &UdpSocket, bytes: &[u8]) -> Vec<u8> {
    let mut room = [0; 65536];
    socket.send(bytes).unwrap();
    let count = socket.recv(&mut room).unwrap();
    room[..count].to_vec()
}

/// A directory of the test's own, removed with all that is in it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("echo-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// As a command line names a Unix socket.
    pub(crate) fn unix(&self, name: &str) -> String {
        format!("unix:{}", self.file(name).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
