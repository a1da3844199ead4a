//! Where one message ends and the next begins: lines, and length-prefixed frames.
//!
//! Both are pure: bytes in a [`ReadBuffer`] in, messages out. They can be fed a byte at a time and keep
//! what they know between calls, so no byte is searched twice; both are bounded, and neither takes
//! memory on a peer's say-so: the input grows with what has arrived, not with what was announced.
//!
//! One framing belongs to one connection's input (keep it in the session), and nothing else may consume
//! from that input while a message is incomplete.

use std::fmt;

use crate::read_buffer::ReadBuffer;

/// A message is longer than its bound. There is no way to find the next one: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The bound, in bytes.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of more than {} bytes", self.max)
    }
}

impl std::error::Error for TooLong {}

/// One line, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its ending.
    pub text: &'a [u8],
    /// `"\n"` or `"\r\n"` as it came; empty for a last line that ended with the stream.
    pub ending: &'a [u8],
}

/// Lines that end with LF or CRLF.
///
/// A CR that is not followed by LF belongs to the line.
///
/// ```
/// use reactor::{ReadBuffer, framing::LineFraming};
///
/// let mut lines = LineFraming::new(1024);
/// let mut input = ReadBuffer::from(&b"one\r\ntwo\nthr"[..]);
/// assert_eq!(lines.next(&mut input)?.unwrap().text, b"one");
/// assert_eq!(lines.next(&mut input)?.unwrap().ending, b"\n");
/// assert_eq!(lines.next(&mut input)?, None, "more is to come");
/// input.append(b"ee");
/// assert_eq!(lines.last(&mut input)?.unwrap().text, b"three", "the stream has ended");
/// # Ok::<(), reactor::framing::TooLong>(())
/// ```
#[derive(Clone, Debug)]
pub struct LineFraming {
    max: u32,
    /// Invariant: so many bytes at the start of the input, or more, hold no LF.
    searched: u32,
}

impl LineFraming {
    /// Lines of at most `max` bytes, the ending not counted. A bound of 4 GiB or more is one byte less than that:
    /// there is one of these for each idle connection, so it is small.
    pub fn new(max: usize) -> Self {
        Self { max: saturated(max), searched: 0 }
    }

    fn max(&self) -> usize {
        self.max as usize
    }

    /// The next complete line, consumed; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`TooLong`] as soon as the line cannot end in time; nothing is consumed.
    pub fn next<'a>(&mut self, input: &'a mut ReadBuffer) -> Result<Option<Line<'a>>, TooLong> {
        let bytes = input.as_slice();
        let searched = bytes.len().min(self.searched as usize);
        match memchr::memchr(b'\n', bytes.get(searched..).unwrap_or_default()) {
            Some(offset) => {
                let len = searched + offset + 1;
                if split_ending(bytes.get(..len).unwrap_or_default()).text.len() > self.max() {
                    return Err(TooLong { max: self.max() });
                }
                self.searched = 0;
                Ok(Some(split_ending(input.take_up_to(len))))
            }
            None => {
                self.searched = saturated(bytes.len());
                // A CR at the end may be half of an ending.
                if bytes.strip_suffix(b"\r").unwrap_or(bytes).len() > self.max() {
                    return Err(TooLong { max: self.max() });
                }
                Ok(None)
            }
        }
    }

    /// What is left when the stream has ended: a last line without an ending, or nothing.
    ///
    /// # Errors
    /// [`TooLong`], as for the others, but what is left is consumed.
    pub fn last<'a>(&mut self, input: &'a mut ReadBuffer) -> Result<Option<Line<'a>>, TooLong> {
        self.searched = 0;
        match input.take() {
            [] => Ok(None),
            text if text.len() > self.max() => Err(TooLong { max: self.max() }),
            text => Ok(Some(Line { text, ending: b"" })),
        }
    }
}

fn saturated(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn split_ending(line: &[u8]) -> Line<'_> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Line { text, ending: line.get(text.len()..).unwrap_or_default() }
}

/// Frames of 4 bytes of length, big-endian, and then so many bytes.
///
/// ```
/// use reactor::{ReadBuffer, framing::LengthFraming};
///
/// let frames = LengthFraming::new(1024);
/// let mut input = ReadBuffer::default();
/// input.append(&frames.header(5)?);
/// input.append(b"hel");
/// assert_eq!(frames.next(&mut input)?, None);
/// input.append(b"lo");
/// assert_eq!(frames.next(&mut input)?, Some(&b"hello"[..]));
/// # Ok::<(), reactor::framing::TooLong>(())
/// ```
#[derive(Clone, Debug)]
pub struct LengthFraming {
    max: usize,
}

const HEADER: usize = 4;

impl LengthFraming {
    /// Frames of at most `max` bytes, the length itself not counted.
    pub fn new(max: usize) -> Self {
        Self { max }
    }

    /// The payload of the next complete frame, consumed; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`TooLong`] as soon as the length says so; nothing is consumed.
    pub fn next<'a>(&self, input: &'a mut ReadBuffer) -> Result<Option<&'a [u8]>, TooLong> {
        let Some((header, rest)) = input.as_slice().split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = match usize::try_from(u32::from_be_bytes(*header)) {
            Ok(len) if len <= self.max => len,
            _ => return Err(TooLong { max: self.max }),
        };
        if rest.len() < len {
            return Ok(None);
        }
        input.consume(HEADER);
        Ok(Some(input.take_up_to(len)))
    }

    /// The 4 bytes that go before a payload of `len` bytes.
    ///
    /// # Errors
    /// [`TooLong`] if a peer with the same bound would refuse it.
    pub fn header(&self, len: usize) -> Result<[u8; HEADER], TooLong> {
        match u32::try_from(len) {
            Ok(length) if len <= self.max => Ok(length.to_be_bytes()),
            _ => Err(TooLong { max: self.max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Lines = Vec<(Vec<u8>, Vec<u8>)>;

    /// Feeds `stream` in pieces and collects what comes out, the last line too.
    fn lines_of(
        stream: &[u8],
        piece: impl Fn(usize) -> usize,
        max: usize,
    ) -> Result<Lines, TooLong> {
        let (mut framing, mut input, mut lines) =
            (LineFraming::new(max), ReadBuffer::default(), Vec::new());
        let mut at = 0;
        while at < stream.len() {
            let until = stream.len().min(at + piece(at).max(1));
            input.append(&stream[at..until]);
            at = until;
            while let Some(line) = framing.next(&mut input)? {
                lines.push((line.text.to_vec(), line.ending.to_vec()));
            }
        }
        if let Some(line) = framing.last(&mut input)? {
            lines.push((line.text.to_vec(), line.ending.to_vec()));
        }
        Ok(lines)
    }

    #[test]
    fn a_line_of_just_the_bound_passes_and_one_more_does_not() {
        for ending in ["\n", "\r\n", ""] {
            let fits = format!("12345678{ending}");
            let exceeds = format!("123456789{ending}");
            for piece in [1, 2, 3, 100] {
                assert_eq!(lines_of(fits.as_bytes(), |_| piece, 8).unwrap().len(), 1);
                assert_eq!(lines_of(exceeds.as_bytes(), |_| piece, 8), Err(TooLong { max: 8 }));
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused_before_it_is_stored() {
        let mut input = ReadBuffer::from(&[b'x'; 10][..]);
        assert_eq!(LineFraming::new(8).next(&mut input), Err(TooLong { max: 8 }));
    }

    #[test]
    fn no_byte_is_searched_twice() {
        let (mut framing, mut input) = (LineFraming::new(1 << 20), ReadBuffer::default());
        for count in 1..=1000 {
            input.append(b"x");
            assert_eq!(framing.next(&mut input), Ok(None));
            assert_eq!(framing.searched as usize, count);
        }
    }

    #[test]
    fn a_frame_that_announces_4_gib_is_refused_at_once() {
        let frames = LengthFraming::new(1 << 16);
        for announced in [u32::MAX, (1 << 16) + 1] {
            let mut input = ReadBuffer::from(&announced.to_be_bytes()[..]);
            assert_eq!(frames.next(&mut input), Err(TooLong { max: 1 << 16 }));
        }
        assert_eq!(frames.header((1 << 16) + 1), Err(TooLong { max: 1 << 16 }));
        assert_eq!(frames.header(1 << 16), Ok([0, 1, 0, 0]));
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let mut input = ReadBuffer::from(&[0, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(LengthFraming::new(8).next(&mut input), Ok(Some(&b""[..])));
        assert_eq!(LengthFraming::new(8).next(&mut input), Ok(None), "three bytes trail");
        assert_eq!(input.len(), 3);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_stream_is_cut(
            stream in "[a\r\n]{0,60}", cuts in prop::collection::vec(1usize..9, 61)
        ) {
            let stream = stream.as_bytes();
            let whole = lines_of(stream, |_| stream.len(), 1000).unwrap();
            prop_assert_eq!(&lines_of(stream, |_| 1, 1000).unwrap(), &whole);
            prop_assert_eq!(&lines_of(stream, |at| cuts[at], 1000).unwrap(), &whole);
            let joined: Vec<u8> = whole.iter().flat_map(|(t, e)| [&t[..], &e[..]].concat()).collect();
            prop_assert_eq!(&joined[..], stream);
            for (text, ending) in &whole {
                prop_assert!(!text.contains(&b'\n'));
                prop_assert!(ending != b"\n" || !text.ends_with(b"\r"));
            }
        }

        #[test]
        fn the_bound_on_lines_does_not_depend_on_how_the_stream_is_cut(
            stream in "[a\r\n]{0,40}", max in 0usize..6, cuts in prop::collection::vec(1usize..9, 41)
        ) {
            let stream = stream.as_bytes();
            let whole = lines_of(stream, |_| stream.len(), max);
            prop_assert_eq!(&lines_of(stream, |_| 1, max), &whole);
            prop_assert_eq!(&lines_of(stream, |at| cuts[at], max), &whole);
        }

        #[test]
        fn frames_do_not_depend_on_how_the_stream_is_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            trailing in prop::collection::vec(any::<u8>(), 0..4),
            piece in 1usize..30
        ) {
            let frames = LengthFraming::new(20);
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend(frames.header(payload.len()).unwrap());
                stream.extend(payload);
            }
            stream.extend(&trailing);
            let (mut input, mut found) = (ReadBuffer::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                input.append(bytes);
                while let Some(payload) = frames.next(&mut input).unwrap() {
                    found.push(payload.to_vec());
                }
            }
            prop_assert_eq!(found, payloads);
            prop_assert_eq!(input.as_slice(), &trailing[..]);
        }

        #[test]
        fn the_bound_on_frames_does_not_depend_on_how_the_stream_is_cut(
            lengths in prop::collection::vec(0usize..12, 1..8), max in 0usize..12,
            missing in 0usize..12, cuts in prop::collection::vec(1usize..9, 160)
        ) {
            let frames = LengthFraming::new(max);
            let mut stream = Vec::new();
            for &len in &lengths {
                stream.extend(LengthFraming::new(12).header(len).unwrap());
                stream.resize(stream.len() + len, 7);
            }
            stream.truncate(stream.len().saturating_sub(missing));
            let fed = |piece: &dyn Fn(usize) -> usize| {
                let (mut input, mut found, mut at) = (ReadBuffer::default(), Vec::new(), 0);
                while at < stream.len() {
                    let until = stream.len().min(at + piece(at));
                    input.append(&stream[at..until]);
                    at = until;
                    loop {
                        let waiting = input.len();
                        match frames.next(&mut input).map(|payload| payload.map(<[u8]>::len)) {
                            Ok(Some(len)) => found.push(len),
                            end => {
                                assert_eq!(input.len(), waiting, "nothing is consumed");
                                if end.is_err() {
                                    return (found, None);
                                }
                                break;
                            }
                        }
                    }
                }
                (found, Some(input.len()))
            };
            let whole = fed(&|_| stream.len());
            prop_assert_eq!(&fed(&|_| 1), &whole);
            prop_assert_eq!(&fed(&|at| cuts[at]), &whole);
            let fitting = lengths.iter().copied().take_while(|&len| len <= max);
            prop_assert!(whole.0.iter().copied().eq(fitting.take(whole.0.len())));
            prop_assert!(whole.1.is_some() || lengths.iter().any(|&len| len > max));
        }
    }
}
