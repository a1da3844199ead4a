//! How the server starts, or does not: ready lines, exit codes, error lines, sockets.

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use support::{Directory, SERVER, Server, connect, round_trip, run};

#[test]
fn each_listener_has_its_line_in_order_and_the_metrics_page_has_the_last() {
    let directory = Directory::new("ready");
    let path = directory.unix("x.sock");
    for loops in ["1", "2"] {
        let server = Server::start(&[
            "--loops",
            loops,
            "--metrics",
            "127.0.0.1:0",
            "--listen",
            "[::1]:0",
            "--listen",
            &path,
            "--listen",
            "udp:127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
        ]);
        let expected = [
            "listening on tcp://[::1]:".to_owned(),
            path.replace("unix:", "listening on unix://"),
            "listening on udp://127.0.0.1:".to_owned(),
            "listening on tcp://127.0.0.1:".to_owned(),
            "listening on http://127.0.0.1:".to_owned(),
        ];
        for (line, start) in server.ready_lines.iter().zip(&expected) {
            assert!(line.starts_with(start), "{line}");
        }
        for index in [0, 3] {
            assert_ne!(server.address(index).port(), 0);
            round_trip(&mut connect(server.address(index)), b"hello");
        }
        let ended = server.stop();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_wildcard_serves_both_protocols() {
    let server = Server::start(&["--listen", "[::]:0"]);
    assert!(server.ready_lines[0].starts_with("listening on tcp://[::]:"));
    let port = server.address(0).port();
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}").parse().unwrap();
        round_trip(&mut connect(address), b"hello");
    }
}

#[test]
fn a_name_may_be_listened_on_and_an_unknown_one_is_told() {
    let server = Server::start(&["--listen", "localhost:0"]);
    round_trip(&mut server.connect(), b"hello");
    let ended = run(SERVER, &["--listen", "name.invalid:9002"], b"");
    ended.assert_failed("cannot listen on name.invalid:9002: name not found");
}

#[test]
fn an_address_in_use_is_an_error_with_several_loops_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = format!("error: cannot listen on {address}: address in use\n");
    for arguments in [
        &["--listen", &address][..],
        &["--listen", &address, "--loops", "2"],
        &["--listen", "127.0.0.1:0", "--metrics", &address],
    ] {
        let ended = run(SERVER, arguments, b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert_eq!(ended.stderr, line);
    }
    let server = Server::start(&["--loops", "2"]);
    let address = server.address(0).to_string();
    run(SERVER, &["--listen", &address, "--loops", "2"], b"").assert_failed("address in use");
}

#[test]
fn the_same_address_twice_is_in_use_and_what_was_opened_before_is_gone() {
    let directory = Directory::new("twice");
    let path = directory.unix("x.sock");
    for loops in ["1", "2"] {
        let arguments = ["--listen", &path, "--listen", &path, "--loops", loops];
        run(SERVER, &arguments, b"").assert_failed("x.sock: address in use");
        assert!(!directory.file("x.sock").exists());
    }
}

#[test]
fn an_address_that_is_not_of_this_machine_is_an_error() {
    run(SERVER, &["--listen", "192.0.2.1:9002"], b"")
        .assert_failed("cannot listen on 192.0.2.1:9002: address not available");
    run(SERVER, &["--listen", "unix:/nonexistent/x.sock"], b"")
        .assert_failed("cannot listen on unix:/nonexistent/x.sock: no such file or directory");
}

#[test]
fn a_forbidden_port_is_told() {
    let privileged = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let is_root = rustix::process::geteuid().is_root();
    if is_root || privileged.is_ok_and(|port| port.trim() == "0") {
        return; // nothing is forbidden here
    }
    run(SERVER, &["--listen", "127.0.0.1:1"], b"")
        .assert_failed("cannot listen on 127.0.0.1:1: permission denied");
}

#[test]
fn wrong_usage_exits_with_2_and_an_error() {
    for arguments in [
        &["--nonsense"][..],
        &["extra"],
        &["--listen"],
        &["--listen", "9002"],
        &["--listen", "udp:unix:x"],
        &["--grace", "10"],
        &["--queue-limit", "1MB"],
        &["--loops", "0"],
        &["-q", "-v"],
        &["--max-line", "-1"],
    ] {
        let ended = run(SERVER, arguments, b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
}

#[test]
fn files_without_tls_are_refused_in_one_line() {
    for arguments in [&["--client-ca", "ca.pem"][..], &["--cert", "c.pem", "--key", "k.pem"]] {
        let ended = run(SERVER, arguments, b"");
        let line = format!("error: {} needs --tls\n", arguments[0]);
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(2), "", line));
    }
}

#[test]
fn help_and_version_are_on_stdout() {
    for (argument, text) in [("--help", "--listen <ADDR>"), ("--version", "echo-server 0.")] {
        let ended = run(SERVER, &[argument], b"");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains(text), "{ended:?}");
    }
    assert!(run(SERVER, &["--help"], b"").stdout.contains("[default: 127.0.0.1:9002]"));
}

#[test]
fn a_unix_socket_is_for_the_group_replaces_a_stale_one_and_goes_at_the_end() {
    let directory = Directory::new("unix");
    let (file, path) = (directory.file("x.sock"), directory.unix("x.sock"));
    for loops in ["1", "2"] {
        drop(UnixListener::bind(&file).unwrap()); // which leaves its file
        let server = Server::start(&["--listen", &path, "--loops", loops]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o660);
        for _ in 0..4 {
            round_trip(&mut UnixStream::connect(&file).unwrap(), b"hello");
        }
        let text = format!("cannot listen on {path}: address in use");
        run(SERVER, &["--listen", &path], b"").assert_failed(&text);
        round_trip(&mut UnixStream::connect(&file).unwrap(), b"still there");
        assert_eq!(server.stop().code, Some(0));
        assert!(!file.exists());
    }
    std::fs::write(&file, "mine").unwrap();
    run(SERVER, &["--listen", &path], b"").assert_failed("is not a socket");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}
