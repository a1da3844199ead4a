//! Peers that only this service needs: a server upstream, and people in a room.

use std::collections::BTreeMap;
use std::time::Duration;

use reactor::sim::{Peer, PeerContext, PeerStream};

use super::handler::NOTED;

/// A server elsewhere: it sends back what comes.
pub(crate) struct Upstream {
    at: &'static str,
    listens: bool,
    streams: Vec<(PeerStream, Vec<u8>, bool)>,
}

impl Upstream {
    pub(crate) fn new(at: &'static str) -> Self {
        Self { at, listens: false, streams: Vec::new() }
    }
}

/// Bytes that wait for a peer that does not read, at most.
const WAITING: usize = 4096;

/// Whether it stays.
fn echo(
    stream: PeerStream,
    waiting: &mut Vec<u8>,
    ended: &mut bool,
    cx: &mut PeerContext<'_>,
) -> bool {
    let mut room = [0; 1024];
    loop {
        let mut moved = false;
        if waiting.len() < WAITING && !*ended {
            match cx.read(stream, &mut room) {
                Ok(0) => *ended = true,
                Ok(count) => {
                    waiting.extend_from_slice(room.get(..count).unwrap_or_default());
                    moved = true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        if !waiting.is_empty() {
            match cx.write(stream, waiting) {
                Ok(count) => {
                    waiting.drain(..count);
                    moved = true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        if !moved {
            return !(*ended && waiting.is_empty());
        }
    }
}

impl Peer for Upstream {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if !std::mem::replace(&mut self.listens, true) {
            cx.listen(self.at);
        }
        while let Some(stream) = cx.accepted() {
            self.streams.push((stream, Vec::new(), false));
        }
        self.streams.retain_mut(|(stream, waiting, ended)| {
            let stays = echo(*stream, waiting, ended, cx);
            if !stays {
                cx.close(*stream);
            }
            stays
        });
    }

    fn is_done(&self) -> bool {
        self.listens && self.streams.is_empty()
    }
}

/// Says numbered lines in the room, and hears those of the others: each in order, and none of its own.
pub(crate) struct Talker {
    to: &'static str,
    number: usize,
    stream: Option<PeerStream>,
    says: Vec<u8>,
    sent: usize,
    line: Vec<u8>,
    /// The last line that was heard of each.
    last: BTreeMap<usize, usize>,
    complaint: Option<String>,
    is_done: bool,
}

impl Talker {
    pub(crate) fn new(to: &'static str, number: usize) -> Self {
        // Some are so long that those who hear them share them.
        let tail = |line| " and so on".repeat(if line % 5 == 0 { 60 } else { 0 });
        let lines = (1..=30).map(|line| format!("{number} {line}{}\n", tail(line)));
        let says = std::iter::once("r".to_owned()).chain(lines).collect::<String>().into_bytes();
        Self {
            to,
            number,
            stream: None,
            says,
            sent: 0,
            line: Vec::new(),
            last: BTreeMap::new(),
            complaint: None,
            is_done: false,
        }
    }

    fn next_line(&self) -> &[u8] {
        let rest = self.says.get(self.sent..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
        rest.get(..end).unwrap_or_default()
    }

    fn heard(&mut self, byte: u8) {
        if byte != b'\n' {
            return self.line.push(byte);
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.as_bytes() == NOTED.trim_ascii_end() {
            return;
        }
        let mut words = line.split(' ').map(str::parse::<usize>);
        let (Some(Ok(speaker)), Some(Ok(number))) = (words.next(), words.next()) else {
            return self.complain(format!("a line that nobody said: {line:?}"));
        };
        let last = self.last.insert(speaker, number);
        if speaker == self.number {
            self.complain("somebody hears itself".to_owned());
        } else if last.is_some_and(|last| last + 1 != number) {
            self.complain(format!("line {number} of {speaker} came after {last:?}"));
        }
    }

    fn complain(&mut self, text: String) {
        self.complaint.get_or_insert(text);
        self.is_done = true;
    }

    fn say(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        let line = self.next_line().to_vec();
        if line.is_empty() {
            return;
        }
        match cx.write(stream, &line) {
            Ok(count) => {
                self.sent += count;
                let pause = cx.random().time(&(Duration::ZERO..Duration::from_millis(30)));
                cx.wake_after(pause);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.is_done = true,
        }
    }
}

impl Peer for Talker {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if self.is_done {
            return;
        }
        let stream = match self.stream {
            Some(stream) => stream,
            None => *self.stream.insert(cx.connect(self.to)),
        };
        let mut room = [0; 512];
        loop {
            match cx.read(stream, &mut room) {
                Ok(0) => break self.is_done = true,
                Ok(count) => room.iter().take(count).for_each(|&byte| self.heard(byte)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => break self.is_done = true,
            }
        }
        if cx.is_calm() || self.sent == self.says.len() {
            self.is_done |= cx.is_calm();
        } else {
            self.say(stream, cx);
        }
        if self.is_done {
            cx.close(stream);
        }
    }

    fn is_done(&self) -> bool {
        self.is_done
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.complaint {
            Some(complaint) => Err(complaint.clone()),
            None => Ok(()),
        }
    }
}
