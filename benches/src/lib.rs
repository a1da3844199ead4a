//! Measures the servers beside their peers, in one run.
