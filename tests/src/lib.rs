//! Tests that need more than one crate of the workspace.
//!
//! | | |
//! |---|---|
//! | `tests/workspace.rs` | every member follows the rules of the house |
//! | `tests/composition.rs` | services of several crates in one loop, and joined to each other |
//! | `tests/corpus.rs` | what the fuzz targets in `fuzz/` have found interesting |
//! | `interop/` | programs of others against the binaries, in Python: `python3 interop/run.py`, after `cargo build --release` |

#![deny(missing_docs)]

use std::path::PathBuf;

/// The root of the workspace.
pub fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), ".."].iter().collect()
}
