//! One protocol served in six ways: what a thread, a process and a loop cost, and what they bear.
//!
//! A client sends a line and has it back, after the server has added up some squares, or none. That is all.
//!
//! | model | who serves a connection | others meanwhile |
//! |---|---|---|
//! | `blocking` | the only thread, to its end | wait in the backlog |
//! | `threads` | a thread of its own | have theirs |
//! | `pool` | one of a few threads, to its end | wait for a thread |
//! | `processes` | a process of its own | have theirs |
//! | `reactor` | the loop, line by line | are served between lines |
//! | `loops` | one of several loops, line by line | are served between lines, and beside |

mod blocking;
mod compare;
mod looping;
mod show;

use std::fmt;
use std::hint::black_box;
use std::io;
use std::str::FromStr;

pub use blocking::serve_standard_input;
pub use compare::{Comparison, Row, Settings, compare};
pub use show::{plot, table};

/// How a server is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Blocking,
    Threads,
    Pool,
    Processes,
    Reactor,
    Loops,
}

impl Model {
    pub const ALL: [Self; 6] =
        [Self::Blocking, Self::Threads, Self::Pool, Self::Processes, Self::Reactor, Self::Loops];

    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Threads => "threads",
            Self::Pool => "pool",
            Self::Processes => "processes",
            Self::Reactor => "reactor",
            Self::Loops => "loops",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|model| model.name() == text);
        found.ok_or_else(|| format!("the models are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// How a server serves.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// So many squares are added up for each line.
    pub work: u64,
    /// Threads of the pool.
    pub pool: usize,
    /// Loops of `loops`.
    pub loops: usize,
}

/// Serves at a port of 127.0.0.1, 0 for a free one, and says `listening on tcp://ADDRESS` on stdout. It does
/// not end by itself.
///
/// # Errors
/// If it cannot listen, or not go on.
pub fn serve(model: Model, service: Service, port: u16) -> io::Result<()> {
    match model {
        Model::Blocking => blocking::one_by_one(service, port),
        Model::Threads => blocking::threads(service, port),
        Model::Pool => blocking::pool(service, port),
        Model::Processes => blocking::processes(service, port),
        Model::Reactor => looping::one(service, port),
        Model::Loops => looping::several(service, port),
    }
}

/// The step that needs the processor: `1 + 4 + 9 + ...`, so many of them, each really computed.
///
/// ```
/// assert_eq!(benches::models::sum_of_squares(4), 30);
/// ```
pub fn sum_of_squares(count: u64) -> u64 {
    (1..=count).fold(0, |sum: u64, number| black_box(sum.wrapping_add(number.wrapping_mul(number))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_names() {
        for model in Model::ALL {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
        assert!("fork".parse::<Model>().unwrap_err().contains("processes"));
    }
}
