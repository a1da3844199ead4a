//! One command, one table: the echo server beside its peers. See `bench --help`.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::bench::{
    Cell, Counts, Pair, Peer, Results, Role, Settings, cells, chat_cells, chat_peers,
    count_instructions, count_system_calls, countable_peers, make_certificate, pairs, peers,
    plot_ratios, plot_scales, prepare, run, tables, tls_cells, tls_peers,
};
use benches::machine::root;
use benches::server::Cores;
use clap::Parser;
use servers_common::{Failure, parse_duration};

/// Measures what an echoed message costs the server's CPU, beside a floor that does nothing else.
///
/// Servers run alone on one core, the load on another; peers take turns, and ratios are made round by round.
/// The machine should do nothing else meanwhile.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// A few cells and peers, in about a minute: it shows that all works, and not how fast it is
    #[arg(long)]
    quick: bool,
    /// Rounds [default: 5, with --quick 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// How long a round is measured [default: 1s, with --quick 200ms]
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Only peers whose names contain one of these; the floor is always among them
    #[arg(long, value_name = "NAME", value_delimiter = ';')]
    peers: Vec<String>,
    /// Only cells and pairs whose names contain one of these
    #[arg(long, value_name = "NAME", value_delimiter = ';')]
    cells: Vec<String>,
    /// Names the peers, the cells and the pairs
    #[arg(long)]
    list: bool,
    /// The same over TLS: handshakes, messages and idle connections, beside tokio-rustls
    #[arg(long, conflicts_with_all = ["syscalls", "instructions"])]
    tls: bool,
    /// The chat server beside other chats: what a line costs that arrives at one listener
    #[arg(long, conflicts_with_all = ["syscalls", "instructions", "tls"])]
    chat: bool,
    /// Counts system calls of a message instead, with strace
    #[arg(long)]
    syscalls: bool,
    /// Counts the servers' own instructions for a message instead, with valgrind
    #[arg(long, conflicts_with = "syscalls")]
    instructions: bool,
    /// Makes the table and the plots of figures that an earlier run has written, and measures nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "syscalls", "instructions", "list"])]
    from: Option<PathBuf>,
    /// Where results.json, table.md, ratios.svg and scale.svg go [default: target/bench]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    servers_common::run(&[], act)
}

fn act(arguments: Arguments) -> Result<(), Failure> {
    let out = arguments.out.clone().unwrap_or_else(|| root().join("target/bench"));
    if let Some(file) = &arguments.from {
        let text = fs::read(file);
        let results = text.map_err(Into::into).and_then(|text| Ok(serde_json::from_slice(&text)?));
        let results = results.map_err(|error: Box<dyn Error>| {
            Failure::run(format!("cannot read {}: {error}", file.display()))
        })?;
        return show(&results, &out);
    }
    let Chosen { peers, cells, pairs } = choose(&arguments)?;
    if arguments.list {
        let names = peers.iter().map(|peer| format!("peer {}\n", peer.name));
        let names = names.chain(cells.iter().map(|cell| format!("cell {}\n", cell.name)));
        let names =
            names.chain(pairs.iter().map(|pair| {
                format!("pair {}, {}, {}\n", pair.name, pair.figure.name(), pair.peer)
            }));
        return print(&names.collect::<String>());
    }
    tell("building");
    if arguments.tls {
        make_certificate().map_err(Failure::run)?;
    }
    let (ready, left_out) = prepare(&peers);
    for left_out in &left_out {
        tell(&format!("left out: {} ({})", left_out.name, left_out.why));
    }
    if !ready.iter().any(|ready| ready.peer.role == Role::Floor) {
        return Err(Failure::run("the floor cannot be built, and nothing can be told without it"));
    }
    if arguments.syscalls {
        return system_calls(&ready);
    }
    if arguments.instructions {
        return instructions(&ready);
    }
    let settings = settings(&arguments)?;
    if !settings.cores.are_two() {
        tell("there is one core for the servers and the load: times mean little");
    }
    let results = run(&settings, &ready, left_out, (&cells, &pairs), tell);
    write(&results, &out).map_err(|error| cannot_write(&out, &*error))?;
    show(&results, &out)?;
    match results.failures.len() {
        0 => Ok(()),
        count => Err(Failure::run(format!("{count} rounds have failed"))),
    }
}

/// What is measured.
struct Chosen {
    peers: Vec<Peer>,
    cells: Vec<Cell>,
    pairs: Vec<Pair>,
}

fn choose(arguments: &Arguments) -> Result<Chosen, Failure> {
    let is_named = |names: &[String], name: &str| {
        names.is_empty() || names.iter().any(|part| name.contains(part.as_str()))
    };
    let quick = arguments.quick;
    let (all_peers, all_cells, all_pairs) = if arguments.tls {
        (tls_peers(), tls_cells(), Vec::new())
    } else if arguments.chat {
        (chat_peers(), chat_cells(), Vec::new())
    } else if arguments.instructions {
        (countable_peers(), cells(), pairs())
    } else {
        (peers(), cells(), pairs())
    };
    let peers: Vec<Peer> = all_peers
        .into_iter()
        .filter(|peer| peer.quick || !quick || !arguments.peers.is_empty())
        .filter(|peer| {
            matches!(peer.role, Role::Floor | Role::FloorAgain)
                || is_named(&arguments.peers, peer.name)
        })
        .collect();
    let cells: Vec<Cell> = all_cells
        .into_iter()
        .filter(|cell| cell.quick || !quick || !arguments.cells.is_empty())
        .filter(|cell| is_named(&arguments.cells, &cell.name))
        .collect();
    let pairs: Vec<Pair> = all_pairs
        .into_iter()
        .filter(|_| !quick || !arguments.cells.is_empty())
        .filter(|pair| is_named(&arguments.cells, &pair.name))
        .filter(|pair| peers.iter().any(|peer| peer.name == pair.peer))
        .collect();
    if peers.iter().all(|peer| matches!(peer.role, Role::Floor | Role::FloorAgain))
        && !arguments.peers.is_empty()
    {
        return Err(Failure::usage("no peer has such a name; --list names them"));
    }
    if cells.is_empty() && pairs.is_empty() {
        return Err(Failure::usage("no cell and no pair has such a name; --list names them"));
    }
    Ok(Chosen { peers, cells, pairs })
}

fn settings(arguments: &Arguments) -> Result<Settings, Failure> {
    let (rounds, milliseconds) = if arguments.quick { (3, 200) } else { (5, 1000) };
    let rounds = arguments.rounds.unwrap_or(rounds);
    let duration = arguments.duration.unwrap_or(Duration::from_millis(milliseconds));
    if rounds == 0 || duration.is_zero() {
        return Err(Failure::usage("--rounds and --duration must be above 0"));
    }
    let cores = Cores::pick().map_err(Failure::run)?;
    Ok(Settings { rounds, duration, warm_up: duration.min(Duration::from_millis(200)), cores })
}

fn system_calls(ready: &[benches::bench::Ready]) -> Result<(), Failure> {
    const CONNECTIONS: usize = 64;
    print(&format!("system calls of a message, echo {CONNECTIONS}/1/64, under strace\n"))?;
    for ready in ready.iter().filter(|ready| ready.peer.role != Role::FloorAgain) {
        let calls = count_system_calls(ready, CONNECTIONS)
            .map_err(|why| Failure::run(format!("{}: {why}", ready.peer.name)))?;
        let each: Vec<String> =
            calls.iter().map(|(name, count)| format!("{name} {count:.3}")).collect();
        let sum: f64 = calls.values().sum();
        print(&format!("{:<16} {sum:.3}  ({})\n", ready.peer.name, each.join(", ")))?;
    }
    Ok(())
}

fn instructions(ready: &[benches::bench::Ready]) -> Result<(), Failure> {
    let mut counts = Counts::default();
    for ready in ready {
        let name = ready.peer.name;
        for connections in Counts::CONNECTIONS {
            tell(&format!("{name}, {connections}"));
            let count = count_instructions(ready, connections)
                .map_err(|why| Failure::run(format!("{name}: {why}")))?;
            counts.add(name, count);
        }
    }
    print(&counts.to_string())
}

fn write(results: &Results, out: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(out)?;
    let mut text = serde_json::to_string_pretty(results)?;
    text.push('\n');
    Ok(fs::write(out.join("results.json"), text)?)
}

/// Prints the tables, and makes them and the pictures files too.
fn show(results: &Results, out: &Path) -> Result<(), Failure> {
    let tables = tables(results);
    print(&tables)?;
    let write = || -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(out)?;
        fs::write(out.join("table.md"), &tables)?;
        if results.cells.iter().any(|cell| cell.is_ratio) {
            plot_ratios(results, &out.join("ratios.svg"))?;
        }
        match results.cells.iter().any(|cell| cell.scale.is_some()) {
            true => plot_scales(results, &out.join("scale.svg")),
            false => Ok(()),
        }
    };
    write().map_err(|error| cannot_write(out, &*error))
}

fn cannot_write(out: &Path, error: &dyn Error) -> Failure {
    Failure::run(format!("cannot write to {}: {error}", out.display()))
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::run(format!("stdout: {error}")))
}

/// On a terminal, one line that changes; else a line each.
fn tell(text: &str) {
    let end = if io::stderr().is_terminal() { "\x1b[K\r" } else { "\n" };
    let _ = write!(io::stderr(), "{text}{end}");
}
