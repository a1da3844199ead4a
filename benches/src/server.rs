//! A server that is started to be measured, and the cores it and the load run on.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rustix::process::{Signal, kill_process};

use crate::load::Target;
use crate::process::Process;

/// How long a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of its own process, which ends with this value.
pub struct Server {
    child: Child,
    target: Target,
}

impl Server {
    /// Starts it, and waits until it says `listening on tcp://ADDRESS`, or `tls://`.
    ///
    /// # Errors
    /// A text that says why not.
    pub fn start(mut command: Command) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| format!("cannot start {name}: {error}");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (told, lines) = channel();
        if let Some(output) = child.stdout.take() {
            // It reads to the end: a server that writes more must not wait for a reader.
            thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    let (Ok(line), told) = (line, &told) else { return };
                    let _ = told.send(line);
                }
            });
        }
        // From here on it is killed, whatever happens.
        let mut server = Self { child, target: Target::Unix("".into()) };
        let line = lines
            .recv_timeout(PATIENCE)
            .map_err(|_| format!("{name} does not say where it listens"))?;
        let address = line.strip_prefix("listening on ");
        let address = address.and_then(|address| {
            address.strip_prefix("tcp://").or_else(|| address.strip_prefix("tls://"))
        });
        server.target = address
            .ok_or_else(|| format!("{name} says '{line}' and not where it listens"))?
            .parse()
            .map_err(|error| format!("{name} says '{line}': {error}"))?;
        Ok(server)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Of the system.
    pub fn wait(mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// Of the system.
    pub fn terminate(self) -> io::Result<()> {
        kill_process(rustix::process::Pid::from_child(&self.child), Signal::TERM)?;
        self.wait()
    }

    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The cores that servers and the load run on; the same one, if there is no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// The first and the last core that this process may use.
    ///
    /// # Errors
    /// Of the system.
    pub fn pick() -> io::Result<Self> {
        let usable = usable()?;
        let first = usable.first().copied().unwrap_or(0);
        Ok(Self { server: first, load: usable.last().copied().unwrap_or(first) })
    }

    pub fn are_two(&self) -> bool {
        self.server != self.load
    }

    /// Starts a server that may use all cores, as may this thread then.
    ///
    /// # Errors
    /// As of [`Server::start`].
    pub fn start_anywhere(&self, command: Command) -> Result<Server, String> {
        pin(&[self.server, self.load])
            .map_err(|error| format!("cannot use both cores: {error}"))?;
        Server::start(command)
    }

    /// Starts a server on its core, and leaves this thread on the load's.
    ///
    /// # Errors
    /// As of [`Server::start`].
    pub fn start(&self, command: Command) -> Result<Server, String> {
        // Children stay where they are born, with all the threads that they start.
        let pin = |core| pin(&[core]).map_err(|error| format!("cannot use core {core}: {error}"));
        pin(self.server)?;
        let server = Server::start(command);
        pin(self.load)?;
        server
    }
}

/// The cores that this thread may use.
///
/// # Errors
/// Of the system.
pub fn usable() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Keeps this thread, and the threads and processes that it starts from now on, on these cores.
///
/// # Errors
/// If it may not use them.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_server_is_ready_when_it_says_so() {
        let server =
            Server::start(shell("echo listening on tcp://127.0.0.1:7; sleep 100")).unwrap();
        assert_eq!(server.target().to_string(), "127.0.0.1:7");
        let process = server.process();
        assert!(process.held().is_ok());
        drop(server);
        assert!(process.held().is_err());
    }

    #[test]
    fn one_that_says_something_else_or_nothing_is_none() {
        let error = |script| Server::start(shell(script)).err().unwrap();
        assert!(error("echo hello").contains("'hello'"));
        assert!(error("exit 1").contains("does not say"));
        assert!(error("echo listening on tcp://nowhere").contains("nowhere"));
        assert!(Server::start(Command::new("/no/such/program")).is_err());
    }

    #[test]
    fn servers_and_the_load_run_where_they_should() {
        let before = usable().unwrap();
        let cores = Cores::pick().unwrap();
        let script = "echo listening on tcp://127.0.0.1:7; sleep 100";
        let server = cores.start(shell(script)).unwrap();
        assert_eq!(usable().unwrap(), [cores.load]);
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(list.trim(), cores.server.to_string());
        pin(&before).unwrap();
    }
}
