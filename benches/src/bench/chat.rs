//! A chat beside others: what it costs the server that a line arrives at one listener.

use super::cells::{Cell, Scale, Unit, cell};
use super::peers::{Make, Mode, Peer, Role, peer};
use crate::load::{Kind, Room};

/// The others have no limits; these are far above what is measured.
const OURS: &[&str] = &[
    "--listen",
    "127.0.0.1:0",
    "-q",
    "--rate",
    "0",
    "--max-per-ip",
    "0",
    "--queue-limit",
    "64MiB",
];
const TICKING: &[&str] = &["--tick", "5ms"];
const NAIVE: Make = Make::Ours { package: "benches", binary: "chat-mio" };
const TOKIO: Make = Make::Theirs { binary: "chat-tokio" };

/// All of them, in the order in which they take turns. The floor is the chat that one writes first, on mio.
pub fn chat_peers() -> Vec<Peer> {
    let ours = Make::Ours { package: "chat", binary: "chat-server" };
    let python = Make::Python { script: "chat_threads.py", module: "threading" };
    let naive =
        |name| Peer { ticking: Some(&[]), quick: true, ..peer(name, NAIVE, &["127.0.0.1:0"]) };
    vec![
        Peer { role: Role::Floor, ..naive("naive mio") },
        Peer {
            role: Role::Ours,
            ticking: Some(TICKING),
            quick: true,
            ..peer("reactor", ours, OURS)
        },
        Peer { quick: true, ..peer("tokio", TOKIO, &["0"]) },
        peer("threads", python, &["0"]),
        Peer { quick: true, ..peer("tokio again", TOKIO, &["0"]) },
        Peer { role: Role::FloorAgain, ..naive("naive mio again") },
    ]
}

/// How many listeners the curve has points for.
const CROWDS: [usize; 4] = [10, 100, 1_000, 10_000];
/// At most so many nanoseconds of the server for a delivery at full speed.
const NANOSECONDS_MAX: f64 = 40.0;
const MEMORY_MAX: f64 = (8 << 20) as f64;
/// Whose growth is drawn.
const FEW: &[&str] = &["naive mio", "reactor", "tokio"];

/// The table of the chat.
pub fn chat_cells() -> Vec<Cell> {
    let paced = Cell {
        target: Some(1.10),
        quick: true,
        ..row("paced, 1 sender, 500 lines/s, 200 listeners", 1, Some(500.0), 200, Unit::Delivery)
    };
    let ticking = Cell {
        target: Some(0.3),
        mode: Mode::Ticking,
        ..row(
            "tick 5ms, 10 senders, 1000 lines/s, 200 listeners",
            10,
            Some(1000.0),
            200,
            Unit::Delivery,
        )
    };
    let memory = Cell {
        target: Some(MEMORY_MAX),
        ..full_speed("memory at full speed, 10 senders, 1000 listeners", 1_000, Unit::MemoryAtMost)
    };
    let beside_tokio = |listeners| Cell {
        target: Some(1.0 / 90.0),
        base: Some("tokio"),
        quick: listeners == 200,
        ..full_speed(
            &format!("full speed, 10 senders, {listeners} listeners"),
            listeners,
            Unit::Delivery,
        )
    };
    let time = |listeners: usize| Cell {
        target: Some(NANOSECONDS_MAX),
        ..full_speed(
            &format!("time, 10 senders, {listeners} listeners"),
            listeners,
            Unit::DeliveryTime,
        )
    };
    let growth = |listeners| Cell {
        scale: Some(Scale::Listening),
        only: FEW,
        ..full_speed(&format!("growth, {listeners} listeners"), listeners, Unit::DeliveryTime)
    };
    let mut cells = vec![
        beside_tokio(200),
        beside_tokio(1_000),
        paced,
        ticking,
        memory,
        time(200),
        time(1_000),
    ];
    cells.extend(CROWDS.map(growth));
    cells
}

fn full_speed(name: &str, listeners: usize, unit: Unit) -> Cell {
    row(name, 10, None, listeners, unit)
}

fn row(name: &str, senders: usize, rate: Option<f64>, listeners: usize, unit: Unit) -> Cell {
    let room = Room { senders, rate, ahead: Room::AHEAD };
    cell(name, Kind::Chat(room), listeners, unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_cell_has_a_name_of_its_own_and_what_it_is_compared_with_is_there_twice() {
        let (peers, cells) = (chat_peers(), chat_cells());
        let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names.len(), cells.len());
        let is_there = |name: &str| peers.iter().any(|peer| peer.name == name);
        for base in cells.iter().map(|cell| cell.base.unwrap_or("naive mio")) {
            assert!(is_there(base) && is_there(&format!("{base} again")), "{base}");
        }
        assert!(FEW.iter().all(|name| is_there(name)));
    }

    #[test]
    fn who_gathers_what_is_said_and_the_floor_are_compared() {
        let ticking: Vec<&str> = chat_peers()
            .iter()
            .filter(|peer| peer.ticking.is_some())
            .map(|peer| peer.name)
            .collect();
        assert_eq!(ticking, ["naive mio", "reactor", "naive mio again"]);
    }
}
