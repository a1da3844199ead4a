//! The protocol: bytes in, values out. Where a message ends, what it asks for, and how it is made harmless.

use std::fmt;

use reactor::ReadBuffer;
use reactor::framing::{LengthFraming, LineFraming, TooLong};

use crate::names::overrides_direction;

const REPLACEMENT: &str = "\u{fffd}";

/// How messages follow each other, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// One a line.
    #[default]
    Line,
    /// Four bytes of length, big-endian, then so many bytes.
    Length,
}

impl std::str::FromStr for Framing {
    type Err = String;

    /// As command lines have it: `line` or `length`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "line" => Ok(Self::Line),
            "length" => Ok(Self::Length),
            _ => Err("it is not line or length".to_owned()),
        }
    }
}

impl Framing {
    /// Appends one message to `out`, whose text `write` appends.
    ///
    /// ```
    /// use chat::Framing;
    ///
    /// let mut out = Vec::new();
    /// Framing::Length.frame(&mut out, |text| text.extend_from_slice(b"hi"));
    /// Framing::Line.frame(&mut out, |text| text.extend_from_slice(b"hi"));
    /// assert_eq!(out, b"\0\0\0\x02hihi\n");
    /// ```
    pub fn frame(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Line => {
                write(out);
                out.push(b'\n');
            }
            Self::Length => {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                write(out);
                let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
                if let Some(header) = out.get_mut(start..start + 4) {
                    header.copy_from_slice(&length.to_be_bytes());
                }
            }
        }
    }

    /// Appends what somebody said: cleaned in lines, as it is in frames.
    pub(crate) fn quote(self, out: &mut Vec<u8>, text: &[u8]) {
        match self {
            Self::Line => clean(text, out),
            Self::Length => out.extend_from_slice(text),
        }
    }
}

/// The messages in one connection's input.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// One a line.
    Lines(LineFraming),
    /// One a frame.
    Frames(LengthFraming),
}

impl Incoming {
    /// Messages of at most `max` bytes, framing not counted; 0: any number.
    pub fn new(framing: Framing, max: usize) -> Self {
        let max = if max == 0 { usize::MAX } else { max };
        match framing {
            Framing::Line => Self::Lines(LineFraming::new(max)),
            Framing::Length => Self::Frames(LengthFraming::new(max)),
        }
    }

    /// The next complete message, consumed; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`TooLong`], as soon as that is known.
    pub fn next<'a>(&mut self, input: &'a mut ReadBuffer) -> Result<Option<&'a [u8]>, TooLong> {
        match self {
            Self::Lines(lines) => Ok(lines.next(input)?.map(|line| line.text)),
            Self::Frames(frames) => frames.next(input),
        }
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// To be said in the room. Never empty.
    Text(&'a [u8]),
    /// To be done.
    Command(Command<'a>),
    /// Nothing at all.
    Empty,
}

/// What a line that begins with `/` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `/name NEW`
    Name(&'a [u8]),
    /// `/who`, `/list`
    Who,
    /// `/whisper NAME TEXT`
    Whisper {
        /// Whom.
        name: &'a [u8],
        /// What. Never empty.
        text: &'a [u8],
    },
    /// `/rooms`
    Rooms,
    /// `/join #room`
    Join(&'a [u8]),
    /// `/leave`
    Leave,
    /// `/login USER PASSWORD`
    Login {
        /// Who it claims to be.
        user: &'a [u8],
        /// Never empty.
        password: &'a [u8],
    },
    /// `/kick NAME`
    Kick(&'a [u8]),
    /// `/help`
    Help,
    /// `/quit`
    Quit,
    /// A command without what it needs; how it is to be written.
    Incomplete(&'static str),
    /// Something else that begins with `/`: its first word.
    Unknown(&'a [u8]),
}

pub(crate) const LOGIN_USAGE: &str = "/login USER PASSWORD";

/// What everyone is told at the end.
pub(crate) const FAREWELL: &str = "* server is going down";

/// What `/help` answers, a notice a line.
pub(crate) const HELP: [&str; 10] = [
    "/name NEW: be called NEW",
    "/who, /list: who is in the room",
    "/whisper NAME TEXT: say something to one alone",
    "/rooms: the rooms, and how many are in each",
    "/join #room: go to another room",
    "/leave: go back to #lobby",
    "/login USER PASSWORD: be who you are",
    "/kick NAME: close somebody's connection (operators)",
    "/help: this list",
    "/quit: leave",
];

impl<'a> Message<'a> {
    /// What these bytes are.
    ///
    /// ```
    /// use chat::{Command, Message};
    ///
    /// assert_eq!(Message::parse(b"hello"), Message::Text(b"hello"));
    /// let whisper = Command::Whisper { name: b"bob", text: b"you there?" };
    /// assert_eq!(Message::parse(b"/whisper bob you there?"), Message::Command(whisper));
    /// assert_eq!(Message::parse(b"/dance"), Message::Command(Command::Unknown(b"/dance")));
    /// ```
    pub fn parse(bytes: &'a [u8]) -> Self {
        match bytes.first() {
            None => Self::Empty,
            Some(b'/') => Self::Command(Command::parse(bytes)),
            Some(_) => Self::Text(bytes),
        }
    }
}

impl<'a> Command<'a> {
    fn parse(bytes: &'a [u8]) -> Self {
        let (word, rest) = split_word(bytes);
        let rest = rest.trim_ascii_start();
        match word {
            b"/name" => one(rest, Command::Name, "/name NEW"),
            b"/who" | b"/list" => Self::Who,
            b"/whisper" => {
                let usage = "/whisper NAME TEXT";
                two(rest, |name, text| Self::Whisper { name, text }, usage)
            }
            b"/rooms" => Self::Rooms,
            b"/join" => one(rest, Command::Join, "/join #room"),
            b"/leave" => Self::Leave,
            b"/login" => two(rest, |user, password| Self::Login { user, password }, LOGIN_USAGE),
            b"/kick" => one(rest, Command::Kick, "/kick NAME"),
            b"/help" => Self::Help,
            b"/quit" => Self::Quit,
            _ => Self::Unknown(word),
        }
    }
}

/// The first word, and what follows the one space behind it.
fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(bytes.len());
    let (word, rest) = bytes.split_at(end);
    (word, rest.get(1..).unwrap_or_default())
}

fn one<'a>(
    rest: &'a [u8],
    command: impl FnOnce(&'a [u8]) -> Command<'a>,
    usage: &'static str,
) -> Command<'a> {
    match rest {
        [] => Command::Incomplete(usage),
        rest => command(rest),
    }
}

fn two<'a>(
    rest: &'a [u8],
    command: impl FnOnce(&'a [u8], &'a [u8]) -> Command<'a>,
    usage: &'static str,
) -> Command<'a> {
    match split_word(rest) {
        ([], _) | (_, []) => Command::Incomplete(usage),
        (first, second) => command(first, second),
    }
}

/// Appends `text` as a terminal may be shown it: control characters (C0, C1, DEL) and what overrides the
/// writing direction become U+FFFD, and so does what is no UTF-8.
///
/// ```
/// let mut shown = Vec::new();
/// chat::clean("a\x1b[2Jb\u{202e}c".as_bytes(), &mut shown);
/// assert_eq!(shown, "a\u{fffd}[2Jb\u{fffd}c".as_bytes());
/// ```
pub fn clean(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || overrides_direction(character) {
                out.extend_from_slice(REPLACEMENT.as_bytes());
            } else {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

/// Bytes of a peer, as a notice may hold them.
pub(crate) struct Cleaned<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Cleaned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Vec::with_capacity(self.0.len());
        clean(self.0, &mut shown);
        f.write_str(&String::from_utf8_lossy(&shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(text: &str) -> Command<'_> {
        match Message::parse(text.as_bytes()) {
            Message::Command(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_command_is_told_apart() {
        for (text, expected) in [
            ("/name NEW", Command::Name(b"NEW")),
            ("/name two words", Command::Name(b"two words")),
            ("/name x ", Command::Name(b"x ")),
            ("/who", Command::Who),
            ("/list", Command::Who),
            ("/whisper bob hi there", Command::Whisper { name: b"bob", text: b"hi there" }),
            ("/whisper bob  hi", Command::Whisper { name: b"bob", text: b" hi" }),
            ("/rooms", Command::Rooms),
            ("/join #x", Command::Join(b"#x")),
            ("/leave", Command::Leave),
            ("/login u p w", Command::Login { user: b"u", password: b"p w" }),
            ("/kick bob", Command::Kick(b"bob")),
            ("/help", Command::Help),
            ("/quit", Command::Quit),
            ("/quit now", Command::Quit),
            ("/anything-else", Command::Unknown(b"/anything-else")),
            ("/names x", Command::Unknown(b"/names")),
            ("/NAME x", Command::Unknown(b"/NAME")),
            ("/", Command::Unknown(b"/")),
            ("/ name", Command::Unknown(b"/")),
            ("//x", Command::Unknown(b"//x")),
        ] {
            assert_eq!(command(text), expected, "{text}");
        }
    }

    #[test]
    fn a_command_without_what_it_needs_is_told_how_to_be_written() {
        for (texts, usage) in [
            (&["/name", "/name ", "/name   "][..], "/name NEW"),
            (&["/whisper", "/whisper bob", "/whisper bob ", "/whisper  "], "/whisper NAME TEXT"),
            (&["/join", "/join "], "/join #room"),
            (&["/login", "/login u", "/login u "], "/login USER PASSWORD"),
            (&["/kick"], "/kick NAME"),
        ] {
            for text in texts {
                assert_eq!(command(text), Command::Incomplete(usage), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_command_is_text() {
        assert_eq!(Message::parse(b""), Message::Empty);
        for text in [" /who", " ", "hello", "\\/who"] {
            assert_eq!(Message::parse(text.as_bytes()), Message::Text(text.as_bytes()));
        }
    }

    fn cleaned(text: &[u8]) -> String {
        let mut out = Vec::new();
        clean(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_would_move_the_cursor_or_turn_the_text_is_replaced() {
        for (text, shown) in [
            (&b"plain ~"[..], "plain ~"),
            (b"\0\t\x1b\x7f", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("\u{80}\u{9b}\u{9f}\u{a0}".as_bytes(), "\u{fffd}\u{fffd}\u{fffd}\u{a0}"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}x".as_bytes(), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}x"),
            ("grüße שלום 漢 🦀".as_bytes(), "grüße שלום 漢 🦀"),
            (b"a\xff\xfeb\xe2\x82", "a\u{fffd}\u{fffd}b\u{fffd}"),
            (b"a\rb", "a\u{fffd}b"),
        ] {
            assert_eq!(cleaned(text), shown);
        }
    }

    type Taken = Result<Vec<Vec<u8>>, TooLong>;

    /// Feeds `stream` in pieces. The messages, and how many bytes trail.
    fn messages(framing: Framing, max: usize, stream: &[u8], piece: usize) -> (Taken, usize) {
        let (mut incoming, mut input) = (Incoming::new(framing, max), ReadBuffer::default());
        let mut taken = Vec::new();
        for bytes in stream.chunks(piece.max(1)) {
            input.append(bytes);
            loop {
                match incoming.next(&mut input) {
                    Ok(Some(message)) => taken.push(message.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (Err(error), 0),
                }
            }
        }
        (Ok(taken), input.len())
    }

    #[test]
    fn the_bound_is_on_what_was_sent_without_the_framing() {
        let line = |text: &str| messages(Framing::Line, 8, text.as_bytes(), 100).0;
        assert_eq!(line("12345678\r\n").unwrap().len(), 1);
        assert_eq!(line("123456789\n"), Err(TooLong { max: 8 }));
        let frame = |length: u32| {
            let stream = [&length.to_be_bytes()[..], &[b'x'; 20]].concat();
            messages(Framing::Length, 8, &stream, 100).0
        };
        assert_eq!(frame(8).unwrap_err(), TooLong { max: 8 }, "of the frame that follows");
        assert_eq!(frame(u32::MAX), Err(TooLong { max: 8 }));
        assert!(messages(Framing::Line, 0, &[b'x'; 100_000], 999).0.is_ok(), "0 is no bound");
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_how_the_stream_is_cut(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            trailing in "[a-z]{0,3}", piece in 1usize..60, is_line: bool
        ) {
            let framing = if is_line { Framing::Line } else { Framing::Length };
            let mut stream = Vec::new();
            let texts: Vec<Vec<u8>> = texts.into_iter().map(|mut text| {
                text.retain(|byte| !is_line || !matches!(byte, b'\n' | b'\r'));
                text
            }).collect();
            for text in &texts {
                framing.frame(&mut stream, |out| out.extend_from_slice(text));
            }
            stream.extend_from_slice(trailing.as_bytes());
            for piece in [1, piece, stream.len()] {
                let (taken, rest) = messages(framing, 100, &stream, piece);
                prop_assert_eq!(taken.unwrap(), texts.clone());
                prop_assert_eq!(rest, trailing.len());
            }
        }

        #[test]
        fn no_bytes_make_a_parser_panic_or_come_out_harmful(
            bytes in prop::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,20}"
        ) {
            let _ = Message::parse(&bytes);
            let _ = Message::parse(text.as_bytes());
            for bytes in [&bytes[..], text.as_bytes()] {
                let shown = cleaned(bytes);
                prop_assert!(!shown.chars().any(|c| c.is_control() || overrides_direction(c)));
                prop_assert_eq!(cleaned(shown.as_bytes()), shown, "what is clean stays");
            }
        }

        #[test]
        fn printable_text_comes_out_as_it_is(text in "[ -~à-ÿ漢🦀]{0,40}") {
            prop_assert_eq!(cleaned(text.as_bytes()), text);
        }
    }
}
