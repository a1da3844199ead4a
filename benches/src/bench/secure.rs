//! The same over TLS: who is measured, with what, and by which certificate.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::cells::{Cell, Unit, Work, cell, closed_loop};
use super::peers::{Make, Peer, Role, peer};
use crate::load::{Kind, Others, Tls};
use crate::machine::root;
use crate::server::Server;

/// How handshakes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshakes {
    Full,
    /// All but the first.
    Resumed,
}

/// The server's certificate and key, and who has signed it, where [`make_certificate`] puts them.
fn folder() -> PathBuf {
    root().join("target/bench/tls")
}

/// What stands for a file in a peer's arguments, and the file.
pub(super) fn file(argument: &str) -> Option<PathBuf> {
    match argument {
        "{certificate}" => Some(folder().join("cert.pem")),
        "{key}" => Some(folder().join("key.pem")),
        _ => None,
    }
}

/// How the load speaks TLS.
pub(super) fn client(handshakes: Handshakes) -> Result<Tls, String> {
    let authority = folder().join("ca.pem");
    Tls::new(&authority, handshakes == Handshakes::Resumed)
        .map_err(|error| format!("cannot use {}: {error}", authority.display()))
}

const OURS: &[&str] =
    &["--listen", "127.0.0.1:0", "-q", "--tls", "--cert", "{certificate}", "--key", "{key}"];
const AT_ADDRESS: &[&str] = &["127.0.0.1:0", "{certificate}", "{key}"];
const AT_PORT: &[&str] = &["0", "{certificate}", "{key}"];
const ECHO: Make = Make::Ours { package: "echo", binary: "echo-server" };
const TOKIO: Make = Make::Theirs { binary: "tokio-tls" };

/// All that speak TLS, in the order in which they take turns. The floor is what most programs in Rust use.
pub fn tls_peers() -> Vec<Peer> {
    let mio = Make::Ours { package: "benches", binary: "bare-mio-tls" };
    let openssl = Make::C { source: "openssl.c", library: Some("openssl") };
    vec![
        Peer { role: Role::Floor, quick: true, ..peer("tokio-rustls", TOKIO, AT_PORT) },
        Peer { role: Role::Ours, quick: true, ..peer("reactor", ECHO, OURS) },
        Peer { quick: true, ..peer("bare mio + rustls", mio, AT_ADDRESS) },
        peer("OpenSSL", openssl, AT_PORT),
        Peer { role: Role::FloorAgain, quick: true, ..peer("tokio-rustls again", TOKIO, AT_PORT) },
    ]
}

/// The table over TLS.
pub fn tls_cells() -> Vec<Cell> {
    let row = |name: &str, kind, connections, unit, target, handshakes| {
        let cell = cell(name, kind, connections, unit);
        let work = Work { tls: Some(handshakes), ..cell.work };
        Cell { work, target: Some(target), quick: true, ..cell }
    };
    let messages = |size, in_flight| closed_loop(size, in_flight, false, Others::default());
    let bulk = Kind::Bulk { size: 64 * 1024 };
    let (full, resumed) = (Handshakes::Full, Handshakes::Resumed);
    vec![
        row("full handshake, one byte, close", Kind::Accept, 16, Unit::Connection, 1.0, full),
        row("resumed handshake, one byte, close", Kind::Accept, 16, Unit::Connection, 1.0, resumed),
        row("echo 64/1/64", messages(64, 1), 64, Unit::Message, 1.0, resumed),
        row("echo 64/1/16KiB", messages(16 * 1024, 1), 64, Unit::Message, 1.0, resumed),
        row("echo 100/16/64", messages(64, 16), 100, Unit::Message, 1.0, resumed),
        row("bulk, 64 KiB writes", bulk, 1, Unit::Kibibyte, 1.0, resumed),
        row("idle 1000", Kind::Idle, 1_000, Unit::Memory, 8_800.0, full),
    ]
}

/// Sees to it that there is a certificate: the development certificate of our own server.
///
/// # Errors
/// Why there is none.
pub fn make_certificate() -> Result<(), String> {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = ECHO.build()?.0;
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "-q", "--tls", "--tls-dir"]).arg(folder);
    command.stderr(Stdio::null());
    Server::start(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_given_a_certificate_and_each_cell_speaks_tls() {
        for peer in tls_peers() {
            for name in ["{certificate}", "{key}"] {
                assert!(peer.arguments.contains(&name) && file(name).is_some(), "{}", peer.name);
            }
        }
        assert!(tls_cells().iter().all(|cell| cell.work.tls.is_some()));
        assert_eq!(file("-q"), None);
    }

    #[test]
    fn the_floor_comes_first_and_again_last() {
        let roles: Vec<Role> = tls_peers().iter().map(|peer| peer.role).collect();
        assert_eq!((roles.first(), roles.last()), (Some(&Role::Floor), Some(&Role::FloorAgain)));
    }
}
