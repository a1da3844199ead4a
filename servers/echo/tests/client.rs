//! The client: what it prints, when it is content, and what it says when it is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use support::{CLIENT, Directory, Ended, Server, closed_pipe, command, run};

/// A server that does this with its one client.
fn serve_one(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    address
}

fn spawn(arguments: &[&str]) -> Child {
    command(CLIENT, arguments).stdin(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn it_prints_what_comes_back_and_is_done() {
    let directory = Directory::new("client");
    let path = directory.unix("x.sock");
    let server = Server::start(&["--listen", "127.0.0.1:0", "--listen", &path]);
    let address = server.address(0);
    for to in [address.to_string(), format!("localhost:{}", address.port()), path] {
        for text in ["hello\nworld", ""] {
            let ended = run(CLIENT, &[&to], text.as_bytes());
            assert_eq!(
                (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
                (Some(0), text, "")
            );
        }
    }
}

#[test]
fn more_may_come_back_than_was_sent() {
    let server = Server::start(&["--prefix", "Echo: ", "--upper"]);
    let ended = run(CLIENT, &[&server.address(0).to_string()], b"one\ntwo\nthree");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "Echo: ONE\nEcho: TWO\nEcho: THREE"));
}

#[test]
fn a_quarter_of_a_gigabyte_comes_back_byte_for_byte() {
    const PIECE: usize = 1 << 20;
    let server = Server::start(&[]);
    let mut child = spawn(&[&server.address(0).to_string()]);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // No piece is like its neighbours, so that one that is lost or turned round is found.
    let piece = |number: usize| -> Vec<u8> {
        (0..PIECE / 8).flat_map(|at| (number * PIECE + at).to_ne_bytes()).collect()
    };
    let writer =
        thread::spawn(move || (0..256).for_each(|number| stdin.write_all(&piece(number)).unwrap()));
    let mut back = vec![0; PIECE];
    for number in 0..256 {
        stdout.read_exact(&mut back).unwrap();
        assert!(back == piece(number), "piece {number}");
    }
    assert_eq!(stdout.read(&mut back).unwrap(), 0);
    writer.join().unwrap();
    assert_eq!(ended(child).code, Some(0));
}

#[test]
fn a_stdout_that_nobody_reads_bounds_what_is_taken_from_stdin() {
    const PIECES: usize = 64;
    let server = Server::start(&[]);
    let mut child = spawn(&[&server.address(0).to_string(), "--timeout", "3s"]);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (told, progress) = channel();
    let writer = thread::spawn(move || {
        for _ in 0..PIECES {
            stdin.write_all(&[b'x'; 1 << 20]).unwrap();
            told.send(()).unwrap();
        }
    });
    let mut taken = 0;
    // Longer than the timeout: stdout may take as long as it takes.
    while progress.recv_timeout(Duration::from_secs(4)) != Err(RecvTimeoutError::Timeout) {
        taken += 1;
        assert!(taken < PIECES, "all was taken");
    }
    let mut back = Vec::new();
    stdout.read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), PIECES << 20);
    writer.join().unwrap();
    let ended = ended(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_server_that_says_nothing_until_the_end_is_sent_everything_all_the_same() {
    let address = serve_one(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let text = "x".repeat(32 << 20);
    let ended = run(CLIENT, &[&address, "--timeout", "30s"], text.as_bytes());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout == text);
}

#[test]
fn who_cannot_be_reached_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    run(CLIENT, &[&free], b"").assert_failed("refused");
    run(CLIENT, &["name.invalid:1"], b"").assert_failed("name not found");
    run(CLIENT, &["unix:/nonexistent/x.sock"], b"").assert_failed("name not found");
}

#[test]
fn a_peer_that_closes_before_all_came_back_closed_early() {
    let close_after = |count: usize| {
        serve_one(move |mut stream| {
            let mut some = vec![0; count];
            stream.read_exact(&mut some).unwrap();
            stream.write_all(&some).unwrap();
        })
    };
    assert_eq!(run(CLIENT, &[&close_after(0)], b"").code, Some(0));
    for (count, input) in [(0, &b"hello"[..]), (3, b"hello"), (5, b"hello, and more")] {
        run(CLIENT, &[&close_after(count)], input).assert_failed("closed early");
    }
    // As many came back, but its stdin has not ended.
    let mut child = spawn(&[&close_after(5)]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello").unwrap();
    let ended = ended(child);
    ended.assert_failed("closed early");
    assert_eq!(ended.stdout, "hello");
    drop(stdin);

    let server = Server::start(&["--bye"]);
    run(CLIENT, &[&server.address(0).to_string()], b"bye\n").assert_failed("closed early");
}

#[test]
fn a_reset_is_told() {
    let address = serve_one(|mut stream| {
        // What is left unread turns the close into a reset.
        stream.read_exact(&mut [0; 1]).unwrap();
    });
    let input = vec![b'x'; 1 << 20];
    let ended = run(CLIENT, &[&address], &input);
    ended.assert_failed("closed early");
}

#[test]
fn bytes_that_are_due_and_do_not_come_time_out() {
    let (told, done) = channel::<()>();
    let address = serve_one(move |mut stream| {
        stream.write_all(b"he").unwrap();
        assert!(done.recv().is_err(), "it is dropped at the end");
    });
    let began = Instant::now();
    let ended = run(CLIENT, &[&address, "--timeout", "2s"], b"hello");
    ended.assert_failed("timed out");
    assert_eq!(ended.stdout, "he");
    assert!(began.elapsed() >= Duration::from_secs(2));
    drop(told);
}

#[test]
fn a_server_that_keeps_the_connection_does_not_keep_the_client() {
    let (told, done) = channel::<()>();
    let address = serve_one(move |mut stream| {
        let mut five = [0; 5];
        stream.read_exact(&mut five).unwrap();
        stream.write_all(&five).unwrap();
        assert!(done.recv().is_err(), "it is dropped at the end");
    });
    let ended = run(CLIENT, &[&address, "--timeout", "1h"], b"hello");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "hello"));
    drop(told);
}

#[test]
fn it_tries_again_until_somebody_is_there() {
    let directory = Directory::new("retries");
    let path = directory.unix("x.sock");
    let mut child =
        command(CLIENT, &[&path, "--retries", "50"]).env("RUST_LOG", "echo=info").spawn().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    assert!(line.contains("name not found; trying again in"), "{line}");
    let listener = UnixListener::bind(directory.file("x.sock")).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "its stdin has ended");
    drop(stream);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let began = Instant::now();
    run(CLIENT, &["unix:/nonexistent", "--retries", "2"], b"").assert_failed("name not found");
    assert!(began.elapsed() >= Duration::from_millis(150), "half of 100 ms and of 200 ms");
}

#[test]
fn a_stdout_that_is_gone_is_told() {
    let server = Server::start(&[]);
    let address = server.address(0).to_string();
    let mut child =
        command(CLIENT, &[&address]).stdin(Stdio::piped()).stdout(closed_pipe()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    ended(child).assert_failed("cannot write to stdout: broken pipe");
}

#[test]
fn a_stdin_that_cannot_be_read_is_told() {
    let server = Server::start(&[]);
    let address = server.address(0).to_string();
    let directory = std::fs::File::open("/").unwrap();
    let child = command(CLIENT, &[&address]).stdin(directory).spawn().unwrap();
    ended(child).assert_failed("cannot read stdin: is a directory");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["udp:127.0.0.1:1"],
        &["127.0.0.1:1", "extra"],
        &["127.0.0.1:1", "--timeout", "10"],
        &["127.0.0.1:1", "--retries", "-1"],
    ] {
        let ended = run(CLIENT, arguments, b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
    let ended = run(CLIENT, &["127.0.0.1:1", "--insecure"], b"");
    let line = "error: --insecure needs --tls\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), line));
    assert_eq!(run(CLIENT, &["--help"], b"").code, Some(0));
}
