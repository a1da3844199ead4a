//! The work: one cell a row.

use crate::load::Kind;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Cell {
    pub name: &'static str,
    pub kind: Kind,
    pub connections: usize,
    /// A server that can, answers each line by itself; the floor sends back what it has read.
    pub framed: bool,
    pub unit: Unit,
    /// What the reactor's ratio to the floor, or its bytes, are to come to at most.
    pub target: Option<f64>,
    /// It is part of `--quick`.
    pub quick: bool,
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
    /// Bytes of the server's own memory for a connection; it is told as it is, and not as a ratio.
    Memory,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "ns per message",
            Self::Connection => "ns per connection",
            Self::Kibibyte => "ns per KiB",
            Self::Memory => "bytes per connection",
        }
    }
}

/// The whole table.
pub fn cells() -> Vec<Cell> {
    vec![
        echo("echo 1/1/64", 1, 1, 64),
        echo("echo 10/1/64", 10, 1, 64),
        Cell { quick: true, ..echo("echo 64/1/64", 64, 1, 64) },
        echo("echo 100/1/64", 100, 1, 64),
        Cell { quick: true, ..echo("echo 1000/1/64", 1000, 1, 64) },
        echo("echo 10000/1/64", 10_000, 1, 64),
        Cell { quick: true, ..echo("echo 64/16/64", 64, 16, 64) },
        Cell {
            kind: Kind::Echo { size: 64, in_flight: 16, lines: true, rate: None, bulk: 0 },
            framed: true,
            target: Some(1.5),
            ..echo("echo 64/16/64, a reply a line", 64, 16, 64)
        },
        echo("echo 64/1/16KiB", 64, 1, 16 * 1024),
        Cell {
            name: "bulk, 64 KiB writes",
            kind: Kind::Bulk { size: 64 * 1024 },
            connections: 1,
            framed: false,
            unit: Unit::Kibibyte,
            target: Some(1.0),
            quick: false,
        },
        Cell {
            name: "connect, one byte, close",
            kind: Kind::Accept,
            connections: 64,
            framed: false,
            unit: Unit::Connection,
            target: Some(1.05),
            quick: true,
        },
        idle("idle 10000", 10_000),
        idle("idle 19000", 19_000),
    ]
}

fn echo(name: &'static str, connections: usize, in_flight: usize, size: usize) -> Cell {
    Cell {
        name,
        kind: Kind::Echo { size, in_flight, lines: false, rate: None, bulk: 0 },
        connections,
        framed: false,
        unit: Unit::Message,
        target: Some(1.05),
        quick: false,
    }
}

fn idle(name: &'static str, connections: usize) -> Cell {
    Cell {
        name,
        kind: Kind::Idle,
        connections,
        framed: false,
        unit: Unit::Memory,
        target: Some(200.0),
        quick: false,
    }
}
