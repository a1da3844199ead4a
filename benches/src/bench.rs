//! Servers beside each other: which, at which work, and what it cost them.
//!
//! ```text
//!   for each cell:  for each round:  floor, floor again, reactor, libuv, ...
//!                                    one process each, alone on its core
//! ```

mod cells;
mod instructions;
mod peers;
mod plot;
mod results;
mod run;
mod syscalls;
mod table;

pub use cells::{Cell, Unit, cells};
pub use instructions::{Counts, count as count_instructions};
pub use peers::{Peer, Ready, Role, countable_peers, peers, prepare};
pub use plot::{plot_ratios, plot_scale};
pub use results::{CellResult, Column, LeftOut, Results, Sample};
pub use run::{Settings, run};
pub use syscalls::count as count_system_calls;
pub use table::tables;
