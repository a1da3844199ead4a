//! Measures the servers beside their peers, in one run.
//!
//! | | |
//! |---|---|
//! | [`load`] | clients by the thousand: echo, accept, churn, idle, bulk |
//! | [`process`] | what the system tells of a server: its CPU clock, its memory, its threads |
//! | [`report`] | what a load has found, as a page and as JSON |
//! | [`statistics`] | medians, ratios and their spread |

#[cfg(feature = "kit")]
pub mod load;
#[cfg(feature = "kit")]
pub mod process;
#[cfg(feature = "kit")]
pub mod report;
pub mod statistics;
