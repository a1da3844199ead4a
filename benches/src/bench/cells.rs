//! The work: one cell a row.

use std::time::Duration;

use super::peers::Mode;
use super::secure::Handshakes;
use crate::load::{Kind, Others};

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Cell {
    pub name: String,
    pub work: Work,
    /// How the server works.
    pub mode: Mode,
    pub unit: Unit,
    /// What the reactor's ratio to the floor, or its bytes, are to come to at most.
    pub target: Option<f64>,
    /// Whose ratio to itself is 1, if not the floor's; it is there again too, as `NAME again`.
    pub base: Option<&'static str>,
    /// The curve that it is a point of.
    pub scale: Option<Scale>,
    /// Only these, or all if there are none.
    pub only: &'static [&'static str],
    /// It is part of `--quick`.
    pub quick: bool,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub kind: Kind,
    pub connections: usize,
    /// It is asked over TLS.
    pub tls: Option<Handshakes>,
    /// How long it is measured, if not as long as the others.
    pub duration: Option<Duration>,
}

impl Work {
    /// Those that are measured, and those beside them.
    pub fn connections_in_all(&self) -> usize {
        self.kind.connections_in_all(self.connections)
    }
}

/// What is told of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// CPU time of the server for a message.
    Message,
    /// CPU time of the server for a connection.
    Connection,
    /// CPU time of the server for 1,024 bytes in and out.
    Kibibyte,
    /// CPU time of the server for a connection that it ends because its time has passed; no ratio.
    Expiry,
    /// Bytes of the server's own memory for a connection; no ratio.
    Memory,
    /// CPU time of the server for a line that arrives at one listener.
    Delivery,
    /// The same as it is, and no ratio.
    DeliveryTime,
    /// The most bytes of its own memory that the server was seen with; no ratio.
    MemoryAtMost,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "ns per message",
            Self::Connection => "ns per connection",
            Self::Kibibyte => "ns per KiB",
            Self::Expiry => "ns per connection that expired",
            Self::Memory => "bytes per connection",
            Self::Delivery | Self::DeliveryTime => "ns per delivery",
            Self::MemoryAtMost => "bytes at most",
        }
    }

    /// It is told beside the floor's, and not as it is.
    pub fn is_ratio(self) -> bool {
        matches!(self, Self::Message | Self::Connection | Self::Kibibyte | Self::Delivery)
    }
}

/// What is drawn over the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Active,
    BesideIdle,
    Expiring,
    Idle,
    Listening,
}

impl Scale {
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "CPU time for a message, one in flight on each connection",
            Self::BesideIdle => "CPU time for a message on one of 64 connections, the others idle",
            Self::Expiring => "CPU time to end a connection whose idle timeout has passed",
            Self::Idle => "memory of an idle connection",
            Self::Listening => {
                "CPU time for a line that arrives at one listener, 10 senders at full speed"
            }
        }
    }
}

/// How many connections a curve has points for.
const CROWDS: [usize; 4] = [10, 100, 1_000, 10_000];
/// Who is measured where only the growth matters.
const FEW: &[&str] = &["epoll", "reactor", "reactor, all on", "libuv", "tokio", "epoll again"];
/// The idle timeout of a server in [`Mode::Expiring`], and long enough for it to pass.
const EXPIRED: Duration = Duration::from_secs(4);

/// The whole table.
pub fn cells() -> Vec<Cell> {
    let mut cells = vec![
        echo(1, 1, 64),
        echo(10, 1, 64),
        Cell { quick: true, ..echo(64, 1, 64) },
        echo(100, 1, 64),
        Cell { quick: true, ..echo(1_000, 1, 64) },
        echo(10_000, 1, 64),
        Cell { quick: true, ..echo(64, 16, 64) },
        Cell {
            name: "echo 64/16/64, a reply a line".to_owned(),
            work: Work {
                kind: closed_loop(64, 16, true, Others::default()),
                ..echo(64, 16, 64).work
            },
            mode: Mode::Framed,
            target: Some(1.5),
            ..echo(64, 16, 64)
        },
        echo(64, 1, 16 * 1024),
        Cell {
            target: Some(1.0),
            ..cell("bulk, 64 KiB writes", Kind::Bulk { size: 64 * 1024 }, 1, Unit::Kibibyte)
        },
        Cell {
            target: Some(1.05),
            quick: true,
            ..cell("connect, one byte, close", Kind::Accept, 64, Unit::Connection)
        },
    ];
    cells.extend(CROWDS.map(beside_idle));
    cells.extend(CROWDS.map(expiring));
    cells.extend(CROWDS.into_iter().chain([19_000]).map(idle));
    cells
}

pub(super) fn cell(name: impl Into<String>, kind: Kind, connections: usize, unit: Unit) -> Cell {
    Cell {
        name: name.into(),
        work: Work { kind, connections, tls: None, duration: None },
        mode: Mode::Plain,
        unit,
        target: None,
        base: None,
        scale: None,
        only: &[],
        quick: false,
    }
}

/// So many messages of `size` bytes in flight on each connection.
pub(super) fn closed_loop(size: usize, in_flight: usize, lines: bool, others: Others) -> Kind {
    Kind::Echo { size, in_flight, lines, rate: None, others }
}

fn echo(connections: usize, in_flight: usize, size: usize) -> Cell {
    let bytes = match size {
        size if size % 1024 == 0 => format!("{}KiB", size / 1024),
        size => size.to_string(),
    };
    let kind = closed_loop(size, in_flight, false, Others::default());
    Cell {
        target: Some(1.05),
        scale: (in_flight == 1 && size == 64).then_some(Scale::Active),
        ..cell(format!("echo {connections}/{in_flight}/{bytes}"), kind, connections, Unit::Message)
    }
}

fn beside_idle(crowd: usize) -> Cell {
    let kind = closed_loop(64, 1, false, Others { idle: crowd, bulk: 0 });
    Cell {
        target: Some(1.05),
        scale: Some(Scale::BesideIdle),
        only: FEW,
        ..cell(format!("echo 64/1/64 beside {crowd} idle"), kind, 64, Unit::Message)
    }
}

fn expiring(connections: usize) -> Cell {
    let mut cell = cell(format!("expire {connections}"), Kind::Expire, connections, Unit::Expiry);
    cell.work.duration = Some(EXPIRED);
    Cell { mode: Mode::Expiring, scale: Some(Scale::Expiring), ..cell }
}

fn idle(connections: usize) -> Cell {
    Cell {
        target: (connections >= 10_000).then_some(200.0),
        scale: Some(Scale::Idle),
        only: if connections >= 10_000 { &[] } else { FEW },
        ..cell(format!("idle {connections}"), Kind::Idle, connections, Unit::Memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_cell_has_a_name_of_its_own_and_each_curve_its_points() {
        let cells = cells();
        let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names.len(), cells.len());
        assert!(names.contains("echo 64/1/16KiB") && names.contains("idle 19000"));
        for scale in [Scale::Active, Scale::BesideIdle, Scale::Expiring, Scale::Idle] {
            let points = cells.iter().filter(|cell| cell.scale == Some(scale));
            assert!(points.count() >= CROWDS.len(), "{scale:?}");
        }
    }
}
