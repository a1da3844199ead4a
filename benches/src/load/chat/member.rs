//! One who is in the room: what it has heard, and what it still has to say.

use std::io::{self, ErrorKind, Read, Write};

use memchr::memchr_iter;

use super::text::{Line, Purpose, SIZE, Script};
use crate::load::socket::Stream;

/// A longer line is no line of a chat: what we say has 64 bytes.
const LINE_MAX: usize = 64 * 1024;

pub(super) struct Member {
    pub(super) stream: Stream,
    pub(super) is_connected: bool,
    /// The last probe that it has heard.
    pub(super) probe: u64,
    /// Of each sender, the number of the line that comes next. Of its own it hears none.
    pub(super) next: Vec<u64>,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// What it is to say, and how much of that the socket has taken.
    pub(super) output: Vec<u8>,
    written: usize,
}

/// What a piece of input held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Messages, each of which is the next of its sender.
    pub(super) messages: u64,
    /// One of each few of them, for its latency.
    pub(super) samples: Vec<(usize, u64)>,
    pub(super) faults: Vec<String>,
}

impl Member {
    /// One who hears so many senders, of which it may be one itself.
    pub(super) fn new(stream: Stream, senders: usize) -> Self {
        let next = vec![0; senders];
        let (rest, output) = (Vec::new(), Vec::new());
        Self { stream, is_connected: false, probe: 0, next, rest, output, written: 0 }
    }

    /// Reads all that there is, and answers whether the server has finished.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        has_hung_up: bool,
        mut told: impl FnMut(&mut Self, &[u8]),
    ) -> io::Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    told(self, buffer.get(..count).unwrap_or_default());
                    if count < buffer.len() && self.stream.short_read_empties() && !has_hung_up {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Verifies what was read; of each sender's lines, one in `sampled` is told for its latency.
    pub(super) fn hear(&mut self, mut input: &[u8], script: &Script, sampled: u64) -> Heard {
        let mut heard = Heard::default();
        if !self.rest.is_empty()
            && let Some(end) = memchr::memchr(b'\n', input)
        {
            let (first, others) = input.split_at(end + 1);
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(first);
            input = others;
            self.line(line.get(..line.len() - 1).unwrap_or_default(), script, sampled, &mut heard);
            line.clear();
            self.rest = line;
        }
        let mut from = 0;
        for end in memchr_iter(b'\n', input) {
            self.line(input.get(from..end).unwrap_or_default(), script, sampled, &mut heard);
            from = end + 1;
        }
        self.rest.extend_from_slice(input.get(from..).unwrap_or_default());
        if self.rest.len() > LINE_MAX {
            self.rest.clear();
            heard.faults.push("a line without an end".to_owned());
        }
        heard
    }

    fn line(&mut self, line: &[u8], script: &Script, sampled: u64, heard: &mut Heard) {
        let Some(Line { purpose, sender, number }) = script.read(line) else {
            if let Some(error) = line.strip_prefix(b"! ") {
                let error = String::from_utf8_lossy(error.get(..SIZE).unwrap_or(error));
                heard.faults.push(format!("the server says '! {}'", error.escape_debug()));
            }
            return; // a notice, or a line that the room remembers
        };
        match (purpose, self.next.get_mut(sender)) {
            (Purpose::Probe, _) => self.probe = self.probe.max(number),
            (Purpose::Message, Some(next)) if *next == number => {
                *next += 1;
                heard.messages += 1;
                if number.is_multiple_of(sampled) {
                    heard.samples.push((sender, number));
                }
            }
            (Purpose::Message, Some(next)) => {
                let fault = if number < *next { "a line again" } else { "a line is missing" };
                heard.faults.push(fault.to_owned());
                *next = (*next).max(number + 1);
            }
            (Purpose::Message, None) => heard.faults.push("a sender that there is not".to_owned()),
        }
    }

    /// Says as much as the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(waiting) = self.output.get(self.written..).filter(|it| !it.is_empty()) {
            match self.stream.write(waiting) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::TcpStream;

    fn member() -> Member {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Member::new(Stream::Tcp(stream), 2)
    }

    fn said(script: &Script, sender: usize, numbers: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        for number in numbers {
            out.extend_from_slice(b"guest-1: ");
            script.write(Line { purpose: Purpose::Message, sender, number: *number }, &mut out);
        }
        out
    }

    #[test]
    fn lines_are_put_together_wherever_they_were_cut() {
        let script = Script::new(1);
        let text = [b"* welcome\n".to_vec(), said(&script, 1, &[0, 1, 2])].concat();
        for size in 1..text.len() {
            let mut member = member();
            let mut sum = 0;
            for piece in text.chunks(size) {
                let heard = member.hear(piece, &script, 1);
                assert!(heard.faults.is_empty(), "{size}: {heard:?}");
                sum += heard.messages;
            }
            assert_eq!((sum, member.next.as_slice()), (3, &[0, 3][..]), "{size}");
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        let script = Script::new(1);
        let faults = |input: &[u8]| member().hear(input, &script, 1).faults;
        assert_eq!(faults(&said(&script, 0, &[0, 2])), ["a line is missing"]);
        assert_eq!(faults(&said(&script, 0, &[0, 0])), ["a line again"]);
        assert_eq!(faults(&said(&script, 0, &[1, 0])), ["a line is missing", "a line again"]);
        assert_eq!(faults(&said(&script, 7, &[0])), ["a sender that there is not"]);
        assert_eq!(faults(b"! slow down\n"), ["the server says '! slow down'"]);
        assert_eq!(faults(&[b'x'; LINE_MAX + 1]), ["a line without an end"]);
        assert_eq!(faults(&said(&Script::new(2), 0, &[5])), Vec::<String>::new());
    }
}
