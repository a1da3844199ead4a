//! Holds every member of the workspace to the rules of the house.

#![allow(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::fs;
use std::path::{Path, PathBuf};

use interop::root;

/// The folders of the members, as the workspace lists them.
fn members() -> Vec<PathBuf> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = manifest.split("\nmembers = [").nth(1).unwrap().split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(|member| root().join(member)).collect()
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    files
}

/// Without tests, comments and blank lines.
fn code(text: &str) -> Vec<&str> {
    let library = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    library
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
        .collect()
}

#[test]
fn every_member_inherits_the_lints_and_what_all_have_in_common() {
    assert!(members().len() >= 4);
    for member in members() {
        let manifest = fs::read_to_string(member.join("Cargo.toml")).unwrap();
        for line in [
            "[lints]\nworkspace = true",
            "version.workspace = true",
            "edition.workspace = true",
            "rust-version.workspace = true",
            "license.workspace = true",
            "publish.workspace = true",
        ] {
            assert!(manifest.contains(line), "{}: {line}", member.display());
        }
    }
}

#[test]
fn every_dependency_has_its_version_at_the_root() {
    for member in members() {
        let manifest = fs::read_to_string(member.join("Cargo.toml")).unwrap();
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]");
            } else if in_dependencies && !line.is_empty() && !line.starts_with('#') {
                let inherits = line.contains("workspace = true");
                assert!(inherits, "{}: {line}", member.display());
            }
        }
    }
}

#[test]
fn a_protocol_is_pure_and_a_handler_touches_no_socket() {
    let sockets = [
        "std::net",
        "std::os",
        "mio::",
        "socket2",
        "libc::",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
    ];
    let clocks = ["Instant", "SystemTime", "std::fs", "std::thread", "Mutex", "ConnContext"];
    for member in members() {
        for (name, text) in sources(&member.join("src")) {
            let absent: &[&[&str]] = match name.rsplit('/').next() {
                Some("protocol.rs") => &[&sockets, &clocks],
                Some("handler.rs") => &[&sockets],
                _ => continue,
            };
            for word in absent.iter().copied().flatten() {
                let found = code(&text).into_iter().find(|line| line.contains(word));
                assert_eq!(found, None, "{name} knows {word}");
            }
        }
    }
}

#[test]
fn a_server_is_its_handler_and_a_main_that_fits_on_a_screen() {
    for member in members().iter().filter(|member| member.join("../common").exists()) {
        for (name, text) in sources(&member.join("src/bin")) {
            let lines = code(&text).len();
            assert!(lines <= 60, "{name} has {lines} lines of code");
        }
    }
}
