//! What the fuzz targets do with their bytes: each holds one pure room of the library to a model of a
//! few lines, and panics where the two differ.
//!
//! `tests/corpus.rs` of the workspace includes this file, and runs the committed corpus as a test.

use std::io;

use reactor::framing::{LengthFraming, LineFraming, TooLong};
use reactor::{Block, Bytes, ReadBuffer, WriteQueue};

/// The fuzzer's bytes, read as a list of choices. At its end there are only zeros.
struct Script<'a> {
    rest: &'a [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.rest.split_off_first().copied().unwrap_or_default()
    }

    /// A length: mostly small, now and then one that crosses the bounds of chunks and blocks.
    fn len(&mut self) -> usize {
        match usize::from(self.byte()) {
            small @ 0..248 => small,
            large => (large - 247) * (usize::from(self.byte()) * 40 + 1),
        }
    }
}

/// Bytes that tell their place in the stream, so that what is lost, doubled or swapped is seen.
#[derive(Default)]
struct Source {
    made: usize,
}

impl Source {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let from = self.made;
        self.made += count;
        (from..self.made).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
    }
}

/// As much as a run pushes: enough to cross all bounds of sizes, and little enough to be fast.
const MADE_MAX: usize = 400_000;

/// A [`ReadBuffer`] is a queue of bytes.
pub fn read_buffer(data: &[u8]) {
    let mut script = Script { rest: data };
    let mut source = Source::default();
    let mut buffer = ReadBuffer::with_capacity(script.len());
    let mut model: Vec<u8> = Vec::new();
    let mut out = 0;
    while !script.rest.is_empty() {
        match script.byte() % 8 {
            0..3 if source.made < MADE_MAX => {
                let bytes = source.bytes(script.len());
                buffer.append(&bytes);
                model.extend(bytes);
            }
            3 => {
                let count = script.len().min(model.len());
                assert_eq!(buffer.take_up_to(count), &model[..count]);
                model.drain(..count);
                out += count;
            }
            4 => {
                let count = script.len();
                buffer.consume(count);
                out += model.drain(..count.min(model.len())).len();
            }
            5 => {
                let beyond = model.len() + usize::from(script.byte());
                assert_eq!(buffer.take_up_to(beyond), model);
                out += std::mem::take(&mut model).len();
            }
            6 => {
                // Whether a block is worth moving is its own affair; if it moves, all moves.
                if let Some(block) = buffer.detach() {
                    assert!(!block.is_empty());
                    assert_eq!((block.len(), &*block), (model.len(), &model[..]));
                    assert_eq!(Bytes::from(block), model);
                    out += std::mem::take(&mut model).len();
                }
            }
            _ => {
                assert_eq!(buffer.take(), model);
                out += std::mem::take(&mut model).len();
                if script.byte() % 2 == 1 {
                    model = source.bytes(script.len());
                    buffer = ReadBuffer::from(&model[..]);
                }
            }
        }
        assert_eq!(buffer.as_slice(), model);
        assert_eq!((buffer.len(), buffer.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(out + buffer.len(), source.made);
    }
}

/// How a stream arrives: in which pieces, and how many messages are taken after each.
struct Arrival<'a> {
    pieces: &'a [u8],
    turn: usize,
    stream: &'a [u8],
    arrived: usize,
}

impl<'a> Arrival<'a> {
    fn new(script: &mut Script<'a>) -> Self {
        let count = usize::from(script.byte() % 16).min(script.rest.len());
        let (pieces, stream) = script.rest.split_at(count);
        Self { pieces, turn: 0, stream, arrived: 0 }
    }

    /// Lets the next piece arrive. How many messages may be taken now; `None` at the stream's end.
    fn next(&mut self, input: &mut ReadBuffer) -> Option<usize> {
        let rest = self.stream.get(self.arrived..).filter(|rest| !rest.is_empty())?;
        let choice = self.pieces.get(self.turn % self.pieces.len().max(1)).copied().unwrap_or(255);
        self.turn += 1;
        let (size, budget) = match choice {
            255 => (rest.len(), usize::MAX),
            ..128 => (usize::from(choice), usize::MAX),
            128.. => (usize::from(choice - 128), 1),
        };
        let piece = &rest[..size.clamp(1, rest.len())];
        input.append(piece);
        self.arrived += piece.len();
        Some(budget)
    }
}

type Lines<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What one who has the whole stream makes of it: each line with its ending, up to one that is too long.
fn naive_lines(stream: &[u8], max: usize) -> (Lines<'_>, Result<(), TooLong>) {
    let mut lines = Vec::new();
    for line in stream.split_inclusive(|&byte| byte == b'\n') {
        let text = match line {
            [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
            text => text,
        };
        if text.len() > max {
            return (lines, Err(TooLong { max }));
        }
        lines.push((text, &line[text.len()..]));
    }
    (lines, Ok(()))
}

/// Lines do not depend on how the stream arrives, none is longer than the bound, none is withheld, and
/// no more is kept waiting than a line of the bound and half of its ending.
pub fn lines(data: &[u8]) {
    let mut script = Script { rest: data };
    let max = usize::from(script.byte());
    let mut arrival = Arrival::new(&mut script);
    let (expected, end) = naive_lines(arrival.stream, max);
    let mut expected = expected.into_iter();
    let (mut framing, mut input) = (LineFraming::new(max), ReadBuffer::default());
    let mut consumed = 0;
    let mut ended = false;
    while !ended {
        let budget = arrival.next(&mut input);
        ended = budget.is_none();
        for _ in 0..budget.unwrap_or(usize::MAX) {
            let waiting = input.len();
            match framing.next(&mut input) {
                Ok(Some(line)) => {
                    consumed += line.text.len() + line.ending.len();
                    assert_eq!(Some((line.text, line.ending)), expected.next());
                }
                Ok(None) => {
                    assert!(input.len() <= max + 1, "more than a line waits");
                    assert!(!input.as_slice().contains(&b'\n'), "a line is withheld");
                    break;
                }
                Err(error) => {
                    assert_eq!((Err(error), expected.next()), (end, None));
                    assert_eq!(input.len(), waiting, "nothing is consumed");
                    return;
                }
            }
            assert_eq!(consumed + input.len(), arrival.arrived);
        }
    }
    let last = framing.last(&mut input);
    match last {
        Ok(line) => {
            assert_eq!(line.map(|line| (line.text, line.ending)), expected.next());
            assert_eq!((expected.next(), Ok(())), (None, end));
        }
        Err(error) => assert_eq!((Err(error), expected.next()), (end, None)),
    }
    assert!(input.is_empty());
}

/// What one who has the whole stream makes of it: the payloads, up to one that is too long, and how many
/// bytes they took.
fn naive_lengths(stream: &[u8], max: usize) -> (Vec<&[u8]>, usize, Result<(), TooLong>) {
    let (mut payloads, mut at) = (Vec::new(), 0);
    while stream.len() - at >= 4 {
        let len = stream[at..at + 4].iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
        if len > max {
            return (payloads, at, Err(TooLong { max }));
        }
        if stream.len() - at - 4 < len {
            break;
        }
        payloads.push(&stream[at + 4..at + 4 + len]);
        at += 4 + len;
    }
    (payloads, at, Ok(()))
}

/// Frames do not depend on how the stream arrives, none is longer than the bound, and none is withheld;
/// the header that is written is the one that is read.
pub fn lengths(data: &[u8]) {
    let mut script = Script { rest: data };
    let max = usize::from(script.byte()) * 5;
    let framing = LengthFraming::new(max);
    let mut arrival = Arrival::new(&mut script);
    let (expected, taken, end) = naive_lengths(arrival.stream, max);
    let mut expected = expected.into_iter();
    let mut input = ReadBuffer::default();
    let mut consumed = 0;
    let mut ended = false;
    while !ended {
        let budget = arrival.next(&mut input);
        ended = budget.is_none();
        for _ in 0..budget.unwrap_or(usize::MAX) {
            let waiting = input.len();
            match framing.next(&mut input) {
                Ok(Some(payload)) => {
                    assert_eq!(Some(payload), expected.next());
                    let header = framing.header(payload.len());
                    assert_eq!(
                        Ok(&arrival.stream[consumed..consumed + 4]),
                        header.as_ref().map(|h| &h[..])
                    );
                    consumed += 4 + payload.len();
                }
                Ok(None) => {
                    assert_eq!(input.len(), waiting, "nothing is consumed");
                    assert!(input.len() < 4 + max, "a frame is withheld");
                    break;
                }
                Err(error) => {
                    assert_eq!((Err(error), expected.next()), (end, None));
                    assert_eq!((input.len(), consumed), (waiting, taken));
                    return;
                }
            }
            assert_eq!(consumed + input.len(), arrival.arrived);
        }
    }
    assert_eq!((expected.next(), Ok(())), (None, end));
    assert_eq!(consumed, taken);
    assert_eq!(framing.header(max + 1), Err(TooLong { max }));
}

/// A block as the loop makes them: cut out of a read buffer, with room before and behind.
fn detached(script: &mut Script<'_>, source: &mut Source) -> Block {
    let count = script.len();
    let mut input = ReadBuffer::with_capacity(count + script.len());
    let before = usize::from(script.byte());
    input.append(&vec![0xEE; before]);
    let bytes = source.bytes(count);
    input.append(&bytes);
    input.consume(before);
    match input.detach() {
        Some(block) => block,
        None => Block::from(bytes),
    }
}

/// A [`WriteQueue`] is a queue of bytes, whoever owned them and however little each write takes.
pub fn write_queue(data: &[u8]) {
    let mut script = Script { rest: data };
    let mut source = Source::default();
    let mut queue = WriteQueue::new();
    // All that was ever pushed, and how much of it has left.
    let (mut model, mut out) = (Vec::new(), 0);
    let mut shared: Vec<(Bytes, Vec<u8>)> = Vec::new();
    while !script.rest.is_empty() {
        match script.byte() % 8 {
            0..2 if source.made < MADE_MAX => {
                let bytes = source.bytes(script.len());
                queue.push(&bytes);
                model.extend(bytes);
            }
            2 if source.made < MADE_MAX => {
                let block = detached(&mut script, &mut source);
                model.extend_from_slice(&block);
                queue.push_block(block);
            }
            3 if source.made < MADE_MAX => {
                let bytes = source.bytes(script.len());
                let whole = Bytes::from([&bytes[..], b"behind"].concat());
                queue.push_shared(whole.slice(..bytes.len()));
                model.extend_from_slice(&bytes);
                shared.push((whole, bytes));
            }
            4 => {
                let error = queue.write(|_| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
            5 => match queue.write(|_| Ok(0)) {
                Ok(written) => assert_eq!((written, model.len()), (0, out)),
                Err(error) => {
                    assert_eq!((error.kind(), model.len() > out), (io::ErrorKind::WriteZero, true));
                }
            },
            6 if script.byte() == 0 => {
                queue.clear();
                out = model.len();
            }
            _ => out += write_some(&mut queue, &model[out..], script.len()),
        }
        assert_eq!((queue.len(), queue.is_empty()), (model.len() - out, model.len() == out));
    }
    while !queue.is_empty() {
        out += write_some(&mut queue, &model[out..], usize::MAX);
    }
    assert_eq!((out, out), (model.len(), source.made));
    for (whole, bytes) in shared {
        assert_eq!(whole, [&bytes[..], b"behind"].concat(), "what is shared is not written to");
    }
}

/// A kernel that takes up to `count` bytes, and at least one. How many it took.
fn write_some(queue: &mut WriteQueue, waiting: &[u8], count: usize) -> usize {
    let result = queue.write(|slices| {
        let mut offered = 0;
        for slice in slices {
            assert!(!slice.is_empty());
            assert_eq!(Some(&**slice), waiting.get(offered..offered + slice.len()));
            offered += slice.len();
        }
        assert_eq!(offered == 0, waiting.is_empty(), "what waits is offered");
        Ok(count.clamp(1.min(offered), offered))
    });
    result.unwrap()
}
