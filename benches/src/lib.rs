//! Measures the servers beside their peers, in one run.
//!
//! | | |
//! |---|---|
//! | [`mod@bench`] | servers beside each other: cells, peers, rounds, tables, plots |
//! | [`models`] | one protocol served in six ways |
//! | [`server`], [`machine`] | a server of a process and a core of its own; where figures come from |
//! | [`load`] | clients by the thousand: echo, accept, churn, idle, bulk, chat |
//! | [`process`] | what the system tells of a server: its CPU clock, its memory, its threads |
//! | [`report`], [`plot`] | what a load has found, as a page and as JSON; pictures |
//! | [`callgrind`], [`memory`] | instructions of a program; a world without a system, to count them in |
//! | [`baseline`] | figures that are committed, and what has become of them |
//! | [`statistics`] | medians, ratios and their spread |

#[cfg(feature = "kit")]
pub mod baseline;
#[cfg(feature = "kit")]
pub mod bench;
pub mod callgrind;
#[cfg(feature = "kit")]
pub mod load;
#[cfg(feature = "kit")]
pub mod machine;
pub mod memory;
#[cfg(feature = "kit")]
pub mod models;
#[cfg(feature = "kit")]
pub mod plot;
#[cfg(feature = "kit")]
pub mod process;
#[cfg(feature = "kit")]
pub mod report;
#[cfg(feature = "kit")]
pub mod server;
pub mod statistics;
