//! Who is measured, and how they are built. A peer that cannot be built here is left out, by name.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::results::LeftOut;
use super::secure::file;
use crate::machine::root;

/// A server that can be measured.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: &'static str,
    pub role: Role,
    pub(super) make: Make,
    pub(super) arguments: &'static [&'static str],
    /// What makes it answer each line by itself; `None` if nothing does.
    pub(super) framed: Option<&'static [&'static str]>,
    /// What makes it end connections that have been idle for two seconds.
    pub(super) expiring: Option<&'static [&'static str]>,
    /// What makes it gather lines for five milliseconds, or what cannot is compared by.
    pub(super) ticking: Option<&'static [&'static str]>,
    /// It is part of `--quick`.
    pub quick: bool,
}

/// How a server works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It sends back what it has read.
    Plain,
    /// One that can, answers each line by itself; the floor sends back what it has read.
    Framed,
    /// It ends connections that have been idle for two seconds.
    Expiring,
    /// One that can, gathers what is said for five milliseconds; the floor does not.
    Ticking,
}

/// What a peer is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What the others are compared with.
    Floor,
    /// The same once more: how far it is from itself is the noise.
    FloorAgain,
    Ours,
    Peer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Make {
    /// One file of C, with libraries by their names for pkg-config.
    C {
        source: &'static str,
        library: Option<&'static str>,
    },
    /// A binary of this workspace.
    Ours {
        package: &'static str,
        binary: &'static str,
    },
    /// A binary of `benches/peers`.
    Theirs {
        binary: &'static str,
    },
    Python {
        script: &'static str,
        module: &'static str,
    },
    /// It is known, but there is no program of it here.
    Absent {
        why: &'static str,
    },
}

/// A peer that has been built.
#[derive(Clone, Debug)]
pub struct Ready {
    pub peer: Peer,
    program: OsString,
    before: Vec<OsString>,
}

const OURS: &[&str] = &["--listen", "127.0.0.1:0", "-q"];
const OURS_ALL: &[&str] = &[
    "--listen",
    "127.0.0.1:0",
    "-q",
    "--idle-timeout",
    "120s",
    "--max-per-ip",
    "30000",
    "--metrics",
    "127.0.0.1:0",
];
const FRAMED: &[&str] = &["--prefix", ""];
const EXPIRING: &[&str] = &["--idle-timeout", "2s"];
const EPOLL: Make = Make::C { source: "epoll.c", library: None };
const ECHO: Make = Make::Ours { package: "echo", binary: "echo-server" };
const TOKIO: Make = Make::Theirs { binary: "tokio" };

pub(super) fn peer(name: &'static str, make: Make, arguments: &'static [&'static str]) -> Peer {
    Peer {
        name,
        role: Role::Peer,
        make,
        arguments,
        framed: None,
        expiring: None,
        ticking: None,
        quick: false,
    }
}

/// All of them, in the order in which they take turns.
pub fn peers() -> Vec<Peer> {
    let python = |script, module| Make::Python { script, module };
    vec![
        Peer { role: Role::Floor, framed: Some(&[]), quick: true, ..peer("epoll", EPOLL, &["0"]) },
        Peer {
            role: Role::Ours,
            framed: Some(FRAMED),
            expiring: Some(EXPIRING),
            quick: true,
            ..peer("reactor", ECHO, OURS)
        },
        Peer { role: Role::Ours, framed: Some(FRAMED), ..peer("reactor, all on", ECHO, OURS_ALL) },
        Peer {
            quick: true,
            ..peer(
                "bare mio",
                Make::Ours { package: "benches", binary: "bare-mio" },
                &["127.0.0.1:0"],
            )
        },
        peer("libuv", Make::C { source: "libuv.c", library: Some("libuv") }, &["0"]),
        Peer { quick: true, ..peer("tokio", TOKIO, &["0"]) },
        peer("tokio, 64 KiB", TOKIO, &["0", "65536"]),
        peer("monoio", Make::Theirs { binary: "monoio" }, &["0"]),
        peer("gnet", Make::Absent { why: "there is no program for it; it needs Go" }, &[]),
        peer("asyncio", python("echo_asyncio.py", "asyncio"), &["0"]),
        peer("uvloop", python("echo_asyncio.py", "uvloop"), &["0", "--uvloop"]),
        peer("selectors", python("echo_selectors.py", "selectors"), &["0"]),
        Peer {
            role: Role::FloorAgain,
            framed: Some(&[]),
            quick: true,
            ..peer("epoll again", EPOLL, &["0"])
        },
    ]
}

/// Those whose instructions can be counted, and the reactor with a handler and nothing else.
pub fn countable_peers() -> Vec<Peer> {
    let bare = Peer {
        name: "reactor, bare",
        role: Role::Ours,
        make: Make::Ours { package: "benches", binary: "bare-reactor" },
        arguments: &["127.0.0.1:0"],
        framed: None,
        expiring: None,
        ticking: None,
        quick: true,
    };
    // An interpreter takes minutes, and valgrind knows too little of io_uring.
    let is_countable = |peer: &Peer| {
        matches!(peer.make, Make::C { .. } | Make::Ours { .. } | Make::Theirs { .. })
            && peer.role != Role::FloorAgain
            && peer.name != "monoio"
    };
    std::iter::once(bare).chain(peers().into_iter().filter(is_countable)).collect()
}

/// Builds what can be built, and says what cannot.
pub fn prepare(peers: &[Peer]) -> (Vec<Ready>, Vec<LeftOut>) {
    let (mut ready, mut left_out) = (Vec::new(), Vec::new());
    for peer in peers {
        match peer.make.build() {
            Ok((program, before)) => ready.push(Ready { peer: peer.clone(), program, before }),
            Err(why) => left_out.push(LeftOut { name: peer.name.to_owned(), why }),
        }
    }
    (ready, left_out)
}

impl Ready {
    /// What starts it; `None` if it cannot do this work.
    pub fn command(&self, mode: Mode) -> Option<Command> {
        let more = match mode {
            Mode::Plain => &[],
            Mode::Framed => self.peer.framed?,
            Mode::Expiring => self.peer.expiring?,
            Mode::Ticking => self.peer.ticking?,
        };
        let mut command = Command::new(&self.program);
        command.args(&self.before);
        for argument in self.peer.arguments {
            match file(argument) {
                Some(file) => command.arg(file),
                None => command.arg(argument),
            };
        }
        command.args(more).env_remove("RUST_LOG");
        Some(command)
    }
}

impl Make {
    /// The program, and what comes before its arguments.
    pub(super) fn build(self) -> Result<(OsString, Vec<OsString>), String> {
        let root = root();
        let sources = root.join("benches/peers");
        match self {
            Self::C { source, library } => {
                let folder = root.join("target/peers");
                fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
                let program = folder.join(source.trim_end_matches(".c"));
                let flags = library.map_or(Ok(String::new()), |library| {
                    told(
                        "pkg-config",
                        Command::new("pkg-config").args(["--cflags", "--libs", library]),
                    )
                })?;
                let mut compiler = Command::new("cc");
                compiler.args(["-O2", "-o"]).arg(&program).arg(sources.join(source));
                told("cc", compiler.args(flags.split_whitespace()))?;
                Ok((program.into(), Vec::new()))
            }
            Self::Ours { package, binary } => {
                let mut cargo = cargo();
                cargo.args(["build", "--release", "-p", package, "--bin", binary]);
                told("cargo", cargo.arg("--target-dir").arg(root.join("target")))?;
                Ok((released(root.join("target"), binary), Vec::new()))
            }
            Self::Theirs { binary } => {
                let folder = root.join("target/peers");
                let mut cargo = cargo();
                cargo.args(["build", "--release", "--bin", binary, "--features", binary]);
                cargo.arg("--manifest-path").arg(sources.join("Cargo.toml"));
                told("cargo", cargo.arg("--target-dir").arg(&folder))?;
                Ok((released(folder, binary), Vec::new()))
            }
            Self::Python { script, module } => {
                let import = format!("import {module}");
                told("python3", Command::new("python3").args(["-c", &import]))?;
                Ok(("python3".into(), vec![sources.join(script).into()]))
            }
            Self::Absent { why } => Err(why.to_owned()),
        }
    }
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

fn released(folder: PathBuf, binary: &str) -> OsString {
    folder.join("release").join(binary).into()
}

/// What a tool prints; the last line of its complaint if it fails.
fn told(name: &str, command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
    Err(format!("{name}: {}", last.unwrap_or("it has failed").trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_floor_it_comes_first_and_again_last() {
        let roles: Vec<Role> = peers().iter().map(|peer| peer.role).collect();
        assert_eq!(roles.first(), Some(&Role::Floor));
        assert_eq!(roles.last(), Some(&Role::FloorAgain));
        let middle = &roles[1..roles.len() - 1];
        assert!(!middle.contains(&Role::Floor) && !middle.contains(&Role::FloorAgain));
    }

    #[test]
    fn what_is_missing_is_left_out_by_name() {
        let make = Make::Python { script: "x.py", module: "no_such_module_anywhere" };
        let missing = Peer { make, ..peers().remove(0) };
        let absent =
            Peer { name: "absent", make: Make::Absent { why: "not here" }, ..missing.clone() };
        let (ready, left_out) = prepare(&[missing, absent]);
        assert!(ready.is_empty());
        let names: Vec<&str> = left_out.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["epoll", "absent"]);
        assert!(left_out[0].why.starts_with("python3") && left_out[1].why == "not here");
    }

    #[test]
    fn only_who_can_answers_line_by_line() {
        let framed: Vec<&str> =
            peers().iter().filter(|peer| peer.framed.is_some()).map(|peer| peer.name).collect();
        assert_eq!(framed, ["epoll", "reactor", "reactor, all on", "epoll again"]);
    }
}
