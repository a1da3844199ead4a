//! Lines that say who has said them, and how many that one said before.
//!
//! ```text
//!   m 0003 0000000042 5eed0123 the rest is always the same ...
//!   | |    |          |
//!   | |    number     the run: a room may remember the lines of an earlier one
//!   | sender
//!   kind
//! ```

use std::io::Write;

/// Bytes of a line, with its LF.
pub(super) const SIZE: usize = 64;

/// Bytes up to the tail.
const HEAD: usize = 16;
const TAIL: usize = SIZE - HEAD - 1;
const PADDING: &[u8] = b" in the beginning was the line, and it was verified";

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is counted.
    Message,
    /// Whoever hears it is in the room.
    Probe,
}

/// One of our lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) purpose: Purpose,
    pub(super) sender: usize,
    pub(super) number: u64,
}

/// Writes and reads the lines of one run.
pub(super) struct Script {
    tail: [u8; TAIL],
}

impl Script {
    pub(super) fn new(run: u32) -> Self {
        let mut text = format!(" {run:08x}").into_bytes();
        text.extend_from_slice(PADDING);
        let mut tail = [b'.'; TAIL];
        for (place, byte) in tail.iter_mut().zip(text) {
            *place = byte;
        }
        Self { tail }
    }

    pub(super) fn write(&self, line: Line, out: &mut Vec<u8>) {
        let Line { purpose, sender, number } = line;
        let kind = match purpose {
            Purpose::Message => 'm',
            Purpose::Probe => 'p',
        };
        let _ = write!(out, "{kind}{sender:04} {number:010}"); // a Vec takes all
        out.extend_from_slice(&self.tail);
        out.push(b'\n');
    }

    /// Reads a line without its LF, whatever a server has put before our text; `None` if it is none of this run.
    pub(super) fn read(&self, line: &[u8]) -> Option<Line> {
        let text = line.get(line.len().checked_sub(SIZE - 1)?..)?;
        let (head, tail) = text.split_at_checked(HEAD)?;
        if tail != self.tail.as_slice() {
            return None;
        }
        let purpose = match head.first()? {
            b'm' => Purpose::Message,
            b'p' => Purpose::Probe,
            _ => return None,
        };
        let sender = usize::try_from(decimal(head.get(1..5)?)?).ok()?;
        Some(Line { purpose, sender, number: decimal(head.get(6..)?)? })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line { purpose: Purpose::Message, sender: 12, number: 9_876_543_210 };

    fn written(script: &Script) -> Vec<u8> {
        let mut out = Vec::new();
        script.write(LINE, &mut out);
        out
    }

    #[test]
    fn a_line_is_read_behind_any_prefix() {
        let script = Script::new(7);
        let out = written(&script);
        assert_eq!((out.len(), out.last()), (SIZE, Some(&b'\n')));
        let text = &out[..SIZE - 1];
        assert_eq!(script.read(text), Some(LINE));
        assert_eq!(script.read(&[b"guest-7: ", text].concat()), Some(LINE));
    }

    #[test]
    fn what_was_changed_or_cut_or_is_of_another_run_is_none_of_ours() {
        let script = Script::new(7);
        let out = written(&script);
        let text = &out[..SIZE - 1];
        assert_eq!(Script::new(8).read(text), None);
        assert_eq!(script.read(&text[1..]), None);
        assert_eq!(script.read(&text[..SIZE - 2]), None);
        for index in [0, 1, 8, 20, SIZE - 2] {
            let mut changed = text.to_vec();
            changed[index] = b'?';
            assert_eq!(script.read(&changed), None, "{index}");
        }
    }
}
