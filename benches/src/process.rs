//! What the system tells of a process.

use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process, by its number. Nothing is held: it may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

/// What a process holds, in bytes and pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Resident, with what it shares with others: VmRSS.
    pub resident: u64,
    /// Its own heap and stacks: RssAnon.
    pub anonymous: u64,
    /// The most that was ever resident: VmHWM.
    pub resident_most: u64,
    pub threads: u64,
    pub descriptors: u64,
}

impl Process {
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// The CPU time of all its threads so far, those that have ended too, user and system: the clock of
    /// `clock_getcpuclockid`, which is exact at any moment, as `/proc` is not.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn cpu_time(self) -> io::Result<Duration> {
        let number = i32::try_from(self.0).map_err(|_| ErrorKind::InvalidInput)?;
        let clock: ClockId = clock_getcpuclockid(Pid::from_raw(number))?;
        Ok(Duration::from(clock.now()?))
    }

    /// What it holds now.
    ///
    /// # Errors
    /// If there is no such process, or it is another user's.
    pub fn held(self) -> io::Result<Held> {
        let mut held = parse_status(&fs::read_to_string(format!("/proc/{}/status", self.0))?);
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.0))?.count();
        held.descriptors = u64::try_from(descriptors).unwrap_or(u64::MAX);
        Ok(held)
    }

    /// What it and its children hold together. What several share is counted once for each but in
    /// `resident`, where each has its part (Pss).
    ///
    /// # Errors
    /// As of [`held`](Self::held), for the process itself; children come and go.
    pub fn held_with_children(self) -> io::Result<Held> {
        let mut sum = Held { resident: self.proportional()?, ..self.held()? };
        for child in self.children().into_iter().map(Self) {
            if let (Ok(held), Ok(resident)) = (child.held(), child.proportional()) {
                sum.resident += resident;
                sum.anonymous += held.anonymous;
                sum.threads += held.threads;
                sum.descriptors += held.descriptors;
            }
        }
        Ok(sum)
    }

    /// The numbers of the processes that it has started and that have not ended.
    pub fn children(self) -> Vec<u32> {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|number| parent(*number) == Some(self.0)).collect()
    }

    fn proportional(self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        Ok(text.lines().find_map(|line| kibibytes(line, "Pss:")).unwrap_or(0))
    }
}

fn parent(number: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn parse_status(text: &str) -> Held {
    let field = |name| text.lines().find_map(|line| kibibytes(line, name)).unwrap_or(0);
    let threads = text.lines().find_map(|line| line.strip_prefix("Threads:"));
    Held {
        resident: field("VmRSS:"),
        anonymous: field("RssAnon:"),
        resident_most: field("VmHWM:"),
        threads: threads.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        descriptors: 0,
    }
}

/// The bytes of a line like `VmRSS:     1234 kB`.
fn kibibytes(line: &str, name: &str) -> Option<u64> {
    let count: u64 = line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(count * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_page_is_read() {
        let text =
            "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t  1000 kB\nRssAnon:\t 10 kB\nThreads:\t3\n";
        let held = Held {
            resident: 1_024_000,
            anonymous: 10_240,
            resident_most: 2_048_000,
            threads: 3,
            descriptors: 0,
        };
        assert_eq!(parse_status(text), held);
        assert_eq!(parse_status("VmRSS: many kB\nThreads: x"), Held::default());
    }

    #[test]
    fn children_are_found_while_they_are_there() {
        let process = Process::new(std::process::id());
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        assert!(process.children().contains(&child.id()));
        assert!(process.held_with_children().unwrap().threads > process.held().unwrap().threads);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.children().contains(&child.id()));
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let process = Process::new(std::process::id());
        let before = process.cpu_time().unwrap();
        let mut sum = 0_u64;
        while process.cpu_time().unwrap() < before + Duration::from_millis(2) {
            sum = std::hint::black_box(sum + 1);
        }
        let held = process.held_with_children().unwrap();
        assert!(held.resident > 0 && held.threads > 0 && held.descriptors > 2);
        assert!(Process::new(u32::MAX).cpu_time().is_err());
        assert!(Process::new(u32::MAX).held().is_err());
    }
}
