//! The same server twice, once with one thing different: what that comes to.

use serde::{Deserialize, Serialize};

use super::cells::{Work, closed_loop};
use crate::load::Others;

/// One figure of the first side beside the same of the second.
#[derive(Clone, Debug)]
pub struct Pair {
    pub name: String,
    pub peer: &'static str,
    pub figure: Figure,
    /// What the ratio is to come to at most.
    pub target: Option<f64>,
    pub first: Side,
    pub second: Side,
}

/// One way to measure a server.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Arguments of the server beside its own.
    pub more: &'static [&'static str],
    pub work: Work,
    /// Server and load may use all cores.
    pub anywhere: bool,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Figure {
    /// CPU time of the server for a message.
    Cost,
    /// The median of the latency.
    P50,
    P99,
    /// Messages a second.
    PerSecond,
}

impl Figure {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cost => "CPU of the server for a message",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::PerSecond => "messages a second",
        }
    }
}

const SPIN: &[&str] = &["--spin", "50us"];
const TWO_LOOPS: &[&str] = &["--loops", "2"];

/// All of them.
pub fn pairs() -> Vec<Pair> {
    let ours = |name: &str, figure, target, more, side: Side| Pair {
        name: name.to_owned(),
        peer: "reactor",
        figure,
        target,
        first: Side { more, ..side },
        second: side,
    };
    let anywhere = Side { anywhere: true, ..side(64, Others::default()) };
    let one = side(1, Others::default());
    let many = side(64, Others::default());
    let fair = |peer| Pair {
        name: "echo 100/1/64 beside a bulk stream, to without".to_owned(),
        peer,
        figure: Figure::P99,
        target: (peer == "reactor").then_some(3.0),
        first: side(100, Others { bulk: 1, idle: 0 }),
        second: side(100, Others::default()),
    };
    let mut pairs = vec![
        ours("echo 1/1/64, --spin 50us to without", Figure::P50, Some(0.75), SPIN, one),
        ours("echo 64/1/64, --spin 50us to without", Figure::Cost, Some(1.0), SPIN, many),
        ours("echo 64/1/64, two loops to one", Figure::Cost, None, TWO_LOOPS, anywhere),
        ours("echo 64/1/64, two loops to one", Figure::PerSecond, None, TWO_LOOPS, anywhere),
    ];
    pairs.extend(["epoll", "reactor", "libuv", "tokio"].map(fair));
    pairs
}

fn side(connections: usize, others: Others) -> Side {
    let kind = closed_loop(64, 1, false, others);
    Side { more: &[], work: Work { kind, connections, tls: None, duration: None }, anywhere: false }
}
