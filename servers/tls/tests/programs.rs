//! The programs themselves, with each other: what outside programs see of them is in `tests/interop`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

const SERVER: &str = env!("CARGO_BIN_EXE_tls-server");
const CLIENT: &str = env!("CARGO_BIN_EXE_tls-client");

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that is ready; it ends with its test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Directory, arguments: &[&str]) -> Self {
        let mut child = Command::new(SERVER)
            .args(["--listen", "127.0.0.1:0", "--tls-dir"])
            .arg(&directory.0)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim_end().rsplit_once(':').unwrap_or_else(|| panic!("{line:?}")).1;
        assert!(line.starts_with("listening on tls://127.0.0.1:"), "{line:?}");
        Self { address: format!("localhost:{port}"), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(arguments: &[&str], input: &'static [u8]) -> Output {
    let mut child = Command::new(CLIENT)
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A server that has heard enough does not read the rest.
    let writer = thread::spawn(move || drop(stdin.write_all(input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_client_that_trusts_the_development_certificate_is_greeted() {
    let directory = Directory::new("greeting");
    let server = Server::start(&directory, &["--greeting", "well met"]);
    let trusted = directory.file("ca.pem");
    let output = client(&[&server.address, "--ca", &trusted], b"hello\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "well met\n"));
    let told = text(&output.stderr);
    assert!(told.starts_with("TLSv1.3, TLS_") && told.ends_with(", not resumed\n"), "{told}");
    assert_eq!([mode(directory.file("key.pem")), mode(directory.file("ca-key.pem"))], [0o600; 2]);
    drop(server);
    let before = fs::read(&trusted).unwrap();
    let server = Server::start(&directory, &[]);
    assert_eq!(fs::read(&trusted).unwrap(), before, "it is made once");
    let output = client(&[&server.address, "--ca", &trusted], b"hello\n");
    assert_eq!(text(&output.stdout), "Hello over TLS\n");
}

#[test]
fn a_client_that_does_not_trust_it_says_why_in_one_line() {
    let directory = Directory::new("trust");
    let server = Server::start(&directory, &[]);
    let trusted = directory.file("ca.pem");
    for (arguments, why) in [
        (&[][..], "signed by nobody who is trusted"),
        (&["--ca", &trusted, "--sni", "example.com"], "is for another name"),
    ] {
        let output = client(&[&[server.address.as_str()], arguments].concat(), b"hello\n");
        let told = text(&output.stderr);
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
        assert!(told.starts_with("error: ") && told.contains(why), "{told}");
        assert!(output.stdout.is_empty());
    }
    let output = client(&[&server.address, "--insecure"], b"hello\n");
    assert_eq!(text(&output.stdout), "Hello over TLS\n");
    assert!(text(&output.stderr).starts_with("warning: --insecure"));
}

#[test]
fn a_terminator_carries_both_ways_and_each_end_by_itself() {
    let directory = Directory::new("forward");
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let arguments = ["--forward", &address, "--proxy-protocol", "v1"];
    let server = Server::start(&directory, &arguments);
    let answering = thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap(); // to the client's end
        stream.write_all(b"an answer after the end").unwrap();
        heard
    });
    let output = client(&[&server.address, "--ca", &directory.file("ca.pem")], b"a question");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "an answer after the end"));
    let heard = answering.join().unwrap();
    assert!(heard.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{heard:?}");
    assert!(heard.ends_with("\r\na question"), "{heard:?}");
}
