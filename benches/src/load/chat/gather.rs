//! Everyone connects, and is waited for.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::Token;

use super::member::Member;
use super::text::{Line, Purpose};
use super::{Crowd, TICK};
use crate::load::socket::connect;
use crate::load::{LoadError, Watch};

/// How many connections are on their way at a time.
const CONNECTING_MAX: usize = 64;

impl Crowd<'_> {
    /// Connects everyone, and waits until each hears what is said.
    pub(super) fn gather(&mut self, watch: &mut dyn Watch) -> Result<(), LoadError> {
        let mut probe = 0;
        let mut again = Duration::from_millis(100);
        let mut probed = Instant::now();
        loop {
            self.begin_to_connect().map_err(LoadError::new)?;
            self.turn("gathering", Some(TICK), watch).map_err(LoadError::new)?;
            let target = &self.load.target;
            if let Some(error) = self.tally.errors.keys().next() {
                return Err(LoadError::new(format_args!("cannot use {target}: {error}")));
            }
            let now = Instant::now();
            let is_complete = self.members.len() == self.load.connections_in_all()
                && self.members.iter().flatten().all(|member| member.is_connected);
            if is_complete && probe > 0 && self.count_who_heard(probe) == self.members.len() {
                self.tally.connections_answered = self.members.len();
                return Ok(());
            }
            if is_complete && (probe == 0 || now >= probed + again) {
                probe += 1;
                again = again.saturating_mul(if probe > 1 { 2 } else { 1 });
                probed = now;
                self.say(0, Line { purpose: Purpose::Probe, sender: 0, number: probe });
                self.flush(0);
            }
            if now >= self.last_heard + self.load.patience {
                let (heard, asked) = (self.count_who_heard(1), self.load.connections_in_all());
                let why = format_args!("cannot use {target}: {heard} of {asked} are in the room");
                return Err(LoadError::new(why));
            }
        }
    }

    /// Who asks does not hear it, and is heard if anyone is.
    pub(super) fn count_who_heard(&self, probe: u64) -> usize {
        let others = self.members.iter().skip(1).flatten();
        let others = others.filter(|member| member.probe >= probe).count();
        if others > 0 { others + 1 } else { 0 }
    }

    fn begin_to_connect(&mut self) -> io::Result<()> {
        let connecting = self.members.iter().rev().take(CONNECTING_MAX * 2).flatten();
        let connecting = connecting.filter(|member| !member.is_connected).count();
        for _ in connecting..CONNECTING_MAX {
            let number = self.members.len();
            if number == self.load.connections_in_all() {
                break;
            }
            let mut stream = match connect(&self.load.target, &self.load.sources, None, number) {
                Ok(stream) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            stream.register(self.poll.registry(), Token(number))?;
            self.members.push(Some(Member::new(stream, self.room.senders)));
        }
        Ok(())
    }
}
