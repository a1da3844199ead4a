//! Instructions of a message: two runs under callgrind, one twice as long, so that starting is not in it.

use std::fmt;
use std::process::Stdio;

use super::peers::{Mode, Ready};
use super::syscalls::answered;
use crate::callgrind::{collected, counted};
use crate::machine::root;
use crate::server::Server;

/// Messages of the shorter run.
const MESSAGES: u64 = 20_000;

/// Instructions for a message, by server.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<(String, Vec<f64>)>);

impl Counts {
    /// Each server is counted with so many connections, in turn.
    pub const CONNECTIONS: [usize; 3] = [1, 16, 64];

    /// The next figure of this server.
    pub fn add(&mut self, name: &str, count: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, counts)) => counts.push(count),
            None => self.0.push((name.to_owned(), vec![count])),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |name: &str| self.0.iter().find(|(known, _)| known == name).map(|it| &it.1);
        let mio = counts("bare mio");
        write!(f, "| instructions of a message; beside bare mio |")?;
        Self::CONNECTIONS.iter().try_for_each(|connections| write!(f, " {connections} |"))?;
        writeln!(f, "\n|---|{}", "---|".repeat(Self::CONNECTIONS.len()))?;
        for (name, counts) in &self.0 {
            write!(f, "| {name} |")?;
            for (index, count) in counts.iter().enumerate() {
                match mio.and_then(|mio| mio.get(index)) {
                    Some(mio) => write!(f, " {count:.0} ({:.2}) |", count / mio)?,
                    None => write!(f, " {count:.0} |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Instructions of the server itself, and of none of the system, for one message of 64 bytes, with this many
/// connections and one in flight on each.
///
/// A server that is counted is some fifty times slower, so that nearly all connections are ready in each turn.
///
/// # Errors
/// A text that says why not.
pub fn count(ready: &Ready, connections: usize) -> Result<f64, String> {
    let (short, few) = run(ready, connections, MESSAGES)?;
    let (long, many) = run(ready, connections, 2 * MESSAGES)?;
    Ok(long.saturating_sub(short) as f64 / many.saturating_sub(few).max(1) as f64)
}

/// All instructions of a run, and all its messages.
fn run(ready: &Ready, connections: usize, messages: u64) -> Result<(u64, u64), String> {
    let log = root().join(format!("target/callgrind-{}.txt", std::process::id()));
    let mut command = counted(&ready.command(Mode::Plain).ok_or("it cannot do this")?, &log);
    command.stderr(Stdio::null()).env_remove("RUST_LOG");
    let server = Server::start(command)?;
    let answered = answered(server.target(), connections, messages);
    server.terminate().map_err(|error| error.to_string())?;
    Ok((collected(&log)?, answered?))
}
