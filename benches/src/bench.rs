//! Servers beside each other: which, at which work, and what it cost them.
//!
//! ```text
//!   for each cell:  for each round:  floor, floor again, reactor, libuv, ...
//!                                    one process each, alone on its core
//!   for each pair:  for each round:  with, without, without again
//! ```

mod cells;
mod chat;
mod instructions;
mod pairs;
mod peers;
mod plot;
mod results;
mod run;
mod secure;
mod syscalls;
mod table;

pub use cells::{Cell, Scale, Unit, Work, cells};
pub use chat::{chat_cells, chat_peers};
pub use instructions::{Counts, count as count_instructions};
pub use pairs::{Figure, Pair, pairs};
pub use peers::{Mode, Peer, Ready, Role, countable_peers, peers, prepare};
pub use plot::{plot_ratios, plot_scales};
pub use results::{CellResult, Column, LeftOut, PairResult, Results, Sample};
pub use run::{Settings, run};
pub use secure::{Handshakes, make_certificate, tls_cells, tls_peers};
pub use syscalls::count as count_system_calls;
pub use table::tables;
