//! Holds the sources to docs/ARCHITECTURE.md: who may use whom, what is absent, and how long a file is.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code that fit in a lecture, give or take a few.
const LECTURE: usize = 420;

/// Lines that fit on a screen.
const SCREEN: usize = 50;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files of the library, by their path below `src`.
fn files() -> Vec<(String, String)> {
    let mut folders = vec![source()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(source()).unwrap().display().to_string();
                files.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn file(name: &str) -> String {
    fs::read_to_string(source().join(name)).unwrap()
}

/// What is compiled into the library: without tests, comments and blank lines.
fn code(text: &str) -> Vec<&str> {
    let library = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    library
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
        .collect()
}

/// The rooms, from the lowest up, as lib.rs lists them.
fn rooms() -> HashMap<String, usize> {
    let text = file("lib.rs");
    let declared = text.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    });
    declared.enumerate().map(|(height, room)| (room, height)).collect()
}

#[test]
fn each_room_uses_only_rooms_below_it() {
    let rooms = rooms();
    assert!(rooms.len() > 20);
    for (name, text) in files() {
        if name == "lib.rs" {
            continue;
        }
        let room = name.trim_end_matches(".rs").split('/').next().unwrap();
        let height = rooms[room];
        for line in code(&text) {
            for (at, _) in line.match_indices("crate::") {
                let used: String = line[at + 7..]
                    .chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect();
                let Some(&other) = rooms.get(&used) else {
                    panic!("{name} reaches past the rooms: {line}")
                };
                assert!(other <= height, "{name} uses {used}, which stands above it: {line}");
            }
        }
    }
}

#[test]
fn handlers_and_what_they_reach_know_no_socket_and_no_driver() {
    for room in ["handler.rs", "context.rs", "connection.rs", "host.rs", "pipe.rs", "broadcast.rs"]
    {
        let text = file(room);
        for absent in
            ["mio", "socket2", "libc", "std::net", "std::os", "Driver", "TcpStream", "RefCell"]
        {
            let found = code(&text).into_iter().find(|line| line.contains(absent));
            assert_eq!(found, None, "{room} knows {absent}");
        }
    }
}

#[test]
fn what_is_pure_does_no_io_and_reads_no_clock() {
    for room in
        ["framing.rs", "read_buffer.rs", "write_queue.rs", "timers.rs", "id.rs", "reason.rs"]
    {
        let text = file(room);
        for absent in ["Instant", "std::net", "mio", "thread", "Mutex", "log::"] {
            let found = code(&text).into_iter().find(|line| line.contains(absent));
            assert_eq!(found, None, "{room} knows {absent}");
        }
    }
}

#[test]
fn only_the_driver_and_the_descriptions_of_sockets_touch_the_system() {
    for (name, text) in files() {
        let may = ["driver", "selector", "socket"].iter().any(|room| name.starts_with(room));
        for line in code(&text) {
            let line = line.replace("driver::mio::", "driver::");
            assert!(may || !line.contains("mio::"), "{name}: {line}");
            assert!(may || !line.contains("socket2::"), "{name}: {line}");
        }
    }
}

#[test]
fn the_turn_is_seven_verbs_on_one_screen() {
    let text = file("reactor.rs");
    let turn = text.split("pub fn turn(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let verbs = ["wait", "accept", "receive", "deliver", "expire", "flush", "reap"];
    let places: Vec<_> =
        verbs.iter().map(|verb| turn.find(&format!("self.{verb}(")).unwrap()).collect();
    assert!(places.is_sorted(), "in the order in which a byte travels");
    assert!(turn.lines().count() < SCREEN / 2);
}

#[test]
fn a_file_fits_in_a_lecture_and_a_function_on_a_screen() {
    for (name, text) in files() {
        let code = code(&text);
        assert!(code.len() <= LECTURE, "{name} has {} lines of code", code.len());
        let mut began = None;
        for (number, line) in code.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.contains("fn ") && (line.ends_with('{') || line.ends_with('('));
            match began {
                None if is_function => began = Some((number, indent)),
                Some((start, depth)) if indent == depth && line.trim() == "}" => {
                    let length = number - start + 1;
                    assert!(length <= SCREEN, "{name}: {} has {length} lines", code[start].trim());
                    began = None;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn nothing_is_left_half_done() {
    for (name, text) in files() {
        for word in ["todo!", "unimplemented!", "FIXME", "XXX", "dbg!", "unsafe {", "println!"] {
            let found = code(&text).into_iter().find(|line| line.contains(word));
            assert_eq!(found, None, "{name}");
        }
    }
}
