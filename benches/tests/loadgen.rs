//! The load generator beside the echo service in every mode, and beside servers that do not do as they should.

#![cfg(feature = "kit")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use benches::report::Report;
use echo::{Echo, Modes};
use reactor_bare::tls::{self, Identity, Provider};
use reactor_bare::{Config, Listen, Pool, Setup};

/// The echo service on a loop of its own, until it is dropped.
struct Server {
    _pool: Pool,
    address: String,
}

impl Server {
    fn start(modes: Modes, listen: Listen) -> Self {
        let (told, address) = std::sync::mpsc::channel();
        let setup: Setup = Box::new(move |reactor| {
            let echo = reactor.add(Echo::new(modes));
            let opened = reactor.listen(&echo, listen).map_err(std::io::Error::other)?;
            told.send(opened.address.to_string()).map_err(std::io::Error::other)
        });
        let pool = Pool::start(Config::default(), vec![setup]).unwrap();
        Self { _pool: pool, address: address.recv().unwrap() }
    }

    fn tcp() -> Self {
        Self::start(Modes::default(), Listen::at("127.0.0.1:0"))
    }
}

/// A server of threads that treats each connection so; it lives as long as the test.
fn serve(treat: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let treat = treat.clone();
            thread::spawn(move || treat(stream.unwrap()));
        }
    });
    address
}

/// A directory of its own, with the certificate of an echo service that speaks TLS.
struct Secure {
    server: Server,
    authority: PathBuf,
}

impl Secure {
    fn start(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = made.cert.pem();
        let authority =
            std::env::temp_dir().join(format!("loadgen-{name}-{}.pem", std::process::id()));
        std::fs::write(&authority, &pem).unwrap();
        let key = made.signing_key.serialize_pem();
        let identity = Identity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
        let tls = tls::Server::builder(&Provider::default(), identity).build().unwrap();
        let listen = Listen::at("127.0.0.1:0").tls(tls);
        Self { server: Server::start(Modes::default(), listen), authority }
    }

    fn run(&self, mode: &str, arguments: &[&str]) -> Output {
        let authority = self.authority.to_str().unwrap();
        loadgen(&[&[mode, &self.server.address, "--tls", authority], arguments].concat())
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.authority);
    }
}

/// How many handshakes were full, and how many resumed a session.
fn handshakes(output: &Output) -> (u64, u64) {
    let text = text(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with("handshakes")).unwrap();
    let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[test]
fn tls_is_spoken_in_every_mode() {
    let secure = Secure::start("modes");
    for (mode, arguments) in [
        ("echo", &["--size", "64"][..]),
        ("echo", &["--size", "16KiB", "--in-flight", "4"]),
        ("echo", &["--rate", "500"]),
        ("bulk", &[]),
        ("idle", &[]),
        ("churn", &[]),
    ] {
        let output = secure.run(mode, &[&["-n", "20", "-d", "200ms"], arguments].concat());
        assert!(output.status.success(), "{mode} {arguments:?}: {output:?}");
        assert!(handshakes(&output).0 >= 20, "{output:?}");
    }
}

#[test]
fn handshakes_are_full_or_resumed_as_was_asked_for() {
    let secure = Secure::start("handshakes");
    let arguments = ["-n", "4", "--count", "100"];
    let full = secure.run("accept", &arguments);
    assert!(full.status.success(), "{full:?}");
    assert!(matches!(handshakes(&full), (100.., 0)), "{full:?}");
    let resumed = secure.run("accept", &[&arguments[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(matches!(handshakes(&resumed), (1..=4, 96..)), "{resumed:?}");
}

#[test]
fn all_that_tls_costs_is_one_command() {
    let secure = Secure::start("all");
    let output = secure.run("tls", &["-n", "8", "-d", "100ms"]);
    assert!(output.status.success(), "{output:?}");
    let parts = text(&output.stdout).lines().filter(|line| line.starts_with("== ")).count();
    assert_eq!(parts, 5);
    let without = loadgen(&["tls", &secure.server.address]);
    assert_eq!(without.status.code(), Some(2), "{without:?}");
}

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a run tells as JSON; it must have gone well, unless it is told how not.
fn report(name: &str, arguments: &[&str], expected: Result<(), &str>) -> Report {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
    let json = ["--json", path.to_str().unwrap(), "--warm-up", "20ms", "--timeout", "60s"];
    let output = loadgen(&[arguments, &json].concat());
    let stderr = text(&output.stderr);
    match expected {
        Ok(()) => assert_eq!((output.status.code(), stderr.as_str()), (Some(0), "")),
        Err(why) => assert!(output.status.code() == Some(1) && stderr.contains(why), "{stderr}"),
    }
    let report: Report = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(report.to_string(), text(&output.stdout));
    report
}

#[test]
fn messages_come_back_in_the_closed_loop() {
    let server = Server::tcp();
    let arguments = ["echo", &server.address, "-n", "20", "--in-flight", "4", "--count", "2000"];
    let report = report("closed", &arguments, Ok(()));
    let outcome = &report.outcome;
    assert!(outcome.connections_answered == 20 && outcome.operations >= 2000, "{report}");
    assert!(outcome.bytes >= 64 * (outcome.operations - 20), "a message may begin before");
    let latency = outcome.latency.unwrap();
    assert!(latency.p50_ns <= latency.p99_ns && latency.p99_ns <= latency.max_ns, "{report}");
}

#[test]
fn large_messages_and_lines_come_back() {
    let lines = Modes { upper: true, ..Modes::default() };
    let server = Server::start(lines, Listen::at("127.0.0.1:0"));
    let common = ["echo", &server.address, "-n", "3", "--in-flight", "8", "--count", "200"];
    let outcome = report("lines", &[&common[..], &["--lines"]].concat(), Ok(())).outcome;
    assert!(outcome.operations >= 200);
    let server = Server::tcp();
    let common = ["echo", &server.address, "-n", "2", "--in-flight", "2", "--count", "20"];
    let outcome = report("large", &[&common[..], &["--size", "1MiB"]].concat(), Ok(())).outcome;
    assert!(outcome.operations >= 20);
}

#[test]
fn messages_leave_at_the_rate_that_was_asked_for() {
    let server = Server::tcp();
    let arguments = ["echo", &server.address, "-n", "7", "--rate", "20000", "--duration", "250ms"];
    let outcome = report("open", &arguments, Ok(())).outcome;
    assert_eq!(outcome.asked_per_second, Some(20_000.0));
    // As many as were due have a latency, whenever they came back.
    let due = 20_000.0 * outcome.seconds;
    let counted = outcome.latency.unwrap().count as f64;
    assert!((counted - due).abs() <= 2.0, "{counted} of {due}");
}

#[test]
fn a_server_that_stops_for_a_while_is_late_with_all_that_was_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(300);
    let address = serve(|mut stream| {
        let (mut room, mut seen) = (vec![0; 65536], 0);
        while let Ok(count @ 1..) = stream.read(&mut room) {
            let before = seen;
            seen += count;
            if before < 6400 && 6400 <= seen {
                thread::sleep(STALL);
            }
            stream.write_all(&room[..count]).unwrap();
        }
    });
    // The stall begins with the hundredth message of this one connection, well after the warm-up.
    let arguments = ["echo", &address, "-n", "1", "--rate", "1000", "--duration", "600ms"];
    let latency = report("stall", &arguments, Ok(())).outcome.latency.unwrap();
    assert!(latency.max_ns >= 290_000_000, "{latency:?}");
    // A closed loop would have had one late message; here are a hundred that were 200 ms late.
    assert!(latency.p99_ns >= 250_000_000 && latency.mean_ns >= 50e6, "{latency:?}");
}

#[test]
fn connections_are_accepted_come_and_go_and_are_held() {
    let server = Server::tcp();
    let outcome = report("accept", &["accept", &server.address, "--count", "200"], Ok(())).outcome;
    assert!(outcome.operations >= 200 && outcome.latency.is_some());
    let churn = ["churn", &server.address, "-n", "10", "--count", "200", "--messages", "4"];
    let outcome = report("churn", &churn, Ok(())).outcome;
    assert!(outcome.operations >= 200 && outcome.bytes >= 64 * 200);
    let pid = std::process::id().to_string();
    let idle = ["idle", &server.address, "-n", "100", "--duration", "50ms", "--pid", &pid];
    let report = report("idle", &idle, Ok(()));
    let memory = report.memory.unwrap();
    assert_eq!(report.outcome.connections_answered, 100);
    assert!(memory.during.descriptors >= memory.before.descriptors + 90, "{report}");
}

#[test]
fn as_many_bytes_as_go_come_back() {
    let server = Server::tcp();
    let bulk = ["bulk", &server.address, "-n", "2", "--duration", "100ms"];
    let outcome = report("bulk", &bulk, Ok(())).outcome;
    assert!(outcome.bytes > 1 << 20 && outcome.operations == outcome.bytes);
}

#[test]
fn messages_come_back_beside_bulk() {
    let server = Server::tcp();
    for (name, how) in [("beside-closed", ["--in-flight", "1"]), ("beside-open", ["--rate", "500"])]
    {
        let echo = ["echo", &server.address, "-n", "5", "--bulk", "2", "--duration", "200ms"];
        let outcome = report(name, &[&echo[..], &how].concat(), Ok(())).outcome;
        assert_eq!((outcome.connections, outcome.connections_answered), (7, 7));
        assert!(outcome.operations > 0 && outcome.bytes > 64 * outcome.operations + (1 << 16));
    }
}

#[test]
fn messages_come_back_beside_those_who_say_nothing() {
    let server = Server::tcp();
    let echo = ["echo", &server.address, "-n", "5", "--idle", "20", "--count", "100"];
    let outcome = report("beside-idle", &echo, Ok(())).outcome;
    assert_eq!((outcome.connections, outcome.connections_answered), (25, 25));
    assert!(outcome.operations >= 100 && outcome.bytes < 64 * (outcome.operations + 5));
}

#[test]
fn who_is_ended_by_the_server_has_expired() {
    let address = serve(|mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
    });
    let outcome = report("expire", &["expire", &address, "-n", "5"], Ok(())).outcome;
    assert_eq!((outcome.connections_answered, outcome.operations_in_all), (5, 5));
    let server = Server::tcp();
    let stays = ["expire", &server.address, "-n", "5", "--duration", "100ms", "--timeout", "1s"];
    let output = loadgen(&stays);
    assert!(output.status.success() && text(&output.stdout).contains("operations   0 connections"));
}

#[test]
fn unix_sockets_serve_too() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("loadgen.sock");
    let target = format!("unix:{}", path.display());
    let _server = Server::start(Modes::default(), Listen::at(target.as_str()));
    for (name, mode) in [("unix-echo", "echo"), ("unix-accept", "accept"), ("unix-churn", "churn")]
    {
        let outcome = report(name, &[mode, &target, "-n", "5", "--count", "100"], Ok(())).outcome;
        assert!(outcome.operations >= 100, "{mode}");
    }
}

#[test]
fn a_server_that_changes_a_byte_is_found_out() {
    let address = serve(|mut stream| {
        let (mut room, mut seen) = (vec![0; 65536], 0);
        while let Ok(count @ 1..) = stream.read(&mut room) {
            seen += count;
            room[0] ^= u8::from(seen > 10_000);
            let _ = stream.write_all(&room[..count]);
        }
    });
    for (name, mode) in [("wrong-echo", "echo"), ("wrong-bulk", "bulk")] {
        let arguments = [mode, &address, "-n", "2"];
        let outcome = report(name, &arguments, Err("2 x something else came back")).outcome;
        assert!(outcome.seconds < 5.0, "it ends when no connection is left");
    }
}

#[test]
fn a_server_that_closes_is_found_out() {
    let address = serve(|mut stream| {
        let mut room = [0; 64];
        for _ in 0..20 {
            stream.read_exact(&mut room).unwrap();
            stream.write_all(&room).unwrap();
        }
        stream.read_exact(&mut room).unwrap();
    });
    report("closed-early", &["echo", &address, "-n", "3"], Err("3 x closed early"));
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (arguments, code, why) in [
        (&["echo", &closed][..], 1, "refused"),
        (&["echo", &closed, "-n", "1000000000"], 1, "descriptor limit"),
        (&["echo", "unix:/nowhere/at.all"], 1, "unix:/nowhere/at.all"),
        (&["echo", &closed, "--pid", "4000000000"], 1, "process 4000000000"),
        (&["echo", &closed, "--size", "0"], 2, "above 0"),
        (&["echo", &closed, "--rate", "nan"], 2, "a number from"),
        (&["echo", &closed, "--rate", "1", "--in-flight", "2"], 2, "cannot be used with"),
        (&["echo"], 2, "ADDR"),
        (&["sing", &closed], 2, "sing"),
    ] {
        let output = loadgen(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(why), "{arguments:?}: {stderr}");
        assert!(code == 2 || stderr.lines().count() == 1, "{stderr}");
        assert!(output.stdout.is_empty());
    }
    assert!(loadgen(&["--help"]).status.success() && loadgen(&["--version"]).status.success());
}

#[test]
fn a_server_that_never_answers_is_not_waited_for_without_end() {
    let address =
        serve(|mut stream| while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {});
    let output = loadgen(&["echo", &address, "-n", "2", "--timeout", "100ms"]);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("timed out") && stderr.contains("0 of 2"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
