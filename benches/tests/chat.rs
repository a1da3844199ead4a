//! `loadgen chat` in a room that is as it should be, and in rooms that are not.

#![cfg(feature = "kit")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

/// A chat of threads. What `treat` makes of the line with that number is told to everyone else.
fn room(treat: impl Fn(usize, Vec<u8>) -> Vec<u8> + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let clients: Arc<Mutex<Vec<(usize, TcpStream)>>> = Arc::default();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut told = stream.try_clone().unwrap();
            told.write_all(b"* welcome\n").unwrap();
            clients.lock().unwrap().push((number, told));
            let (clients, treat) = (Arc::clone(&clients), treat.clone());
            thread::spawn(move || {
                for (count, line) in BufReader::new(stream).split(b'\n').enumerate() {
                    let Ok(line) = line else { break };
                    let told =
                        treat(count, [format!("{number}: ").as_bytes(), &line, b"\n"].concat());
                    for (_, client) in
                        clients.lock().unwrap().iter_mut().filter(|it| it.0 != number)
                    {
                        let _ = client.write_all(&told); // who has gone hears nothing
                    }
                }
            });
        }
    });
    address
}

fn chat(address: &str, more: &[&str]) -> Output {
    let run = ["chat", address, "-n", "7", "--senders", "3", "--warm-up", "20ms", "-d", "200ms"];
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(run).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// It has failed, and says this.
fn assert_fails(treat: impl Fn(usize, Vec<u8>) -> Vec<u8> + Clone + Send + 'static, why: &str) {
    let output = chat(&room(treat), &["--timeout", "1s"]);
    let stderr = text(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains(why), "{why}: {output:?}");
}

#[test]
fn what_is_said_is_heard_by_everyone_else() {
    let address = room(|_, line| line);
    for more in [&[][..], &["--rate", "300"], &["--ahead", "1"]] {
        let output = chat(&address, &[more, &["--timeout", "60s"]].concat());
        let stdout = text(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(stdout.contains("connections  10 of 10 answered"), "{stdout}");
        let operations = stdout.lines().find(|line| line.starts_with("operations")).unwrap();
        let count: u64 = operations.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(count > 0 && count.is_multiple_of(9), "each of nine hears each line: {stdout}");
        assert!(stdout.contains("latency "), "{stdout}");
    }
}

#[test]
fn a_paced_room_hears_as_many_lines_as_were_asked_for() {
    let output = chat(&room(|_, line| line), &["--rate", "200", "--timeout", "60s"]);
    let stdout = text(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("operations   360 deliveries"),
        "{output:?}"
    );
}

#[test]
fn a_room_that_loses_repeats_or_changes_a_line_is_found_out() {
    // The first lines of a sender may be probes.
    assert_fails(|count, line| if count == 60 { Vec::new() } else { line }, "a line is missing");
    assert_fails(|count, line| if count == 60 { line.repeat(2) } else { line }, "a line again");
    let change = |count: usize, mut line: Vec<u8>| {
        if count == 60 {
            let middle = line.len() / 2;
            if let Some(byte) = line.get_mut(middle) {
                *byte ^= 1;
            }
        }
        line
    };
    assert_fails(change, "a line is missing");
    assert_fails(|count, line| if count > 60 { Vec::new() } else { line }, "unanswered");
    let refuse = |count, line: Vec<u8>| {
        if count == 60 { [b"! slow down\n", &line[..]].concat() } else { line }
    };
    assert_fails(refuse, "the server says '! slow down'");
}

#[test]
fn a_room_in_which_nobody_hears_anything_is_none() {
    assert_fails(|_, _| Vec::new(), "0 of 10 are in the room");
    assert_fails(|_, line| [&b"x\n"[..], &line[..8], b"\n"].concat(), "0 of 10 are in the room");
}
