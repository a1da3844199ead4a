//! How the server stops, and what does not stop it.

mod support;

use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    Directory, PATIENCE, SERVER, Server, clog, closed_pipe, command, read_to_end, round_trip,
};

#[test]
fn it_stops_when_all_have_drained_and_says_so_last() {
    for (loops, signal) in [("1", Signal::TERM), ("2", Signal::INT)] {
        let server = Server::start(&["--loops", loops]);
        let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| round_trip(client, b"hello"));
        server.signal(signal);
        for client in clients {
            assert!(read_to_end(client).is_empty(), "FIN, and nothing before it");
        }
        let ended = server.wait();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.contains("3 drained, 0 forced"), "{ended:?}");
    }
}

#[test]
fn who_does_not_read_is_forced_when_the_grace_is_over() {
    for loops in ["1", "2"] {
        let server = Server::start(&["--grace", "200ms", "--loops", loops]);
        let (client, mut idle) = (server.connect(), server.connect());
        round_trip(&mut idle, b"hello");
        clog(&client);
        let began = Instant::now();
        server.signal(Signal::TERM);
        assert!(read_to_end(idle).is_empty());
        let ended = server.wait();
        assert!(began.elapsed() >= Duration::from_millis(200));
        assert_eq!(ended.code, Some(0));
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.contains("1 drained, 1 forced"), "{ended:?}");
    }
}

#[test]
fn a_second_signal_stops_at_once_whichever_loop_is_left() {
    // With two loops, chance decides which of them has the connection.
    for loops in ["1", "2", "2", "2", "2"] {
        let server = Server::start(&["--grace", "1h", "--loops", loops]);
        let client = server.connect();
        clog(&client);
        server.signal(Signal::TERM);
        server.await_log("SIGTERM: stopping");
        server.signal(Signal::INT);
        let began = Instant::now();
        let ended = server.wait();
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(ended.code, Some(0));
        assert!(ended.stderr.lines().last().unwrap().contains("0 drained, 1 forced"), "{ended:?}");
    }
}

#[test]
fn sighup_and_sigusr1_are_logged_and_change_nothing() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1")] {
        server.signal(signal);
        server.await_log(name);
        round_trip(&mut client, b"hello");
    }
    round_trip(&mut server.connect(), b"hello");
    drop(client);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn quiet_is_quiet_to_the_end() {
    let server = Server::start(&["-q"]);
    round_trip(&mut server.connect(), b"hello");
    server.signal(Signal::HUP);
    let ended = server.stop();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_log_tells_of_start_and_stop_and_of_each_connection_only_when_asked() {
    let log = |arguments: &[&str], filter: &str| {
        let mut command = command(SERVER, &[&["--listen", "127.0.0.1:0"], arguments].concat());
        if !filter.is_empty() {
            command.env("RUST_LOG", filter);
        }
        let server = Server::spawn(command, 1);
        round_trip(&mut server.connect(), b"hello");
        server.stop().stderr
    };
    let usual = log(&[], "");
    assert!(usual.contains("echo-server") && usual.contains("starts"), "{usual}");
    assert_eq!(usual.lines().count(), 3, "start, signal, stop: {usual}");
    assert!(log(&["-v"], "").contains("is here"));
    assert!(log(&[], "debug").contains("is here"));
    let filtered = log(&[], "warn");
    assert_eq!(filtered, "stopped: 0 drained, 0 forced, 0 bytes dropped");
}

#[test]
fn a_closed_stdout_or_stderr_stops_nothing() {
    let directory = Directory::new("closed");
    let (file, path) = (directory.file("x.sock"), directory.unix("x.sock"));
    let full = || Stdio::from(std::fs::File::create("/dev/full").unwrap());
    for (stdout, stderr) in [
        (closed_pipe().into(), Stdio::piped()),
        (Stdio::piped(), closed_pipe().into()),
        (closed_pipe().into(), closed_pipe().into()),
        (full(), full()),
    ] {
        let mut command = command(SERVER, &["-vv", "--listen", &path, "--metrics", "127.0.0.1:0"]);
        command.stdout(stdout).stderr(stderr);
        let server = Server::spawn(command, 0);
        let mut client = loop {
            match UnixStream::connect(&file) {
                Ok(client) => break client,
                Err(_) => std::thread::yield_now(),
            }
        };
        round_trip(&mut client, b"hello");
        drop(client);
        assert_eq!(server.stop().code, Some(0));
        assert!(!file.exists());
    }
}
