//! What a line is answered with, and how far a client's exchange is: bytes in, values out.

use reactor::framing::Line;

/// How the service answers. Without any of `prefix`, `upper` and `bye` it works on bytes, and lines mean
/// nothing to it.
///
/// ```
/// use echo::{Modes, Verdict};
/// use reactor::framing::Line;
///
/// let modes = Modes { prefix: Some("> ".to_owned()), upper: true, ..Modes::default() };
/// let mut answer = Vec::new();
/// let line = Line { text: "grüße".as_bytes(), ending: b"\r\n" };
/// assert_eq!(modes.answer(&line, &mut answer), Verdict::Answered);
/// assert_eq!(answer, "> GRÜSSE\r\n".as_bytes());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Goes before each line, as it is.
    pub prefix: Option<String>,
    /// Lines come back in Unicode upper case; what is no UTF-8 as U+FFFD.
    pub upper: bool,
    /// A line that is exactly `bye` is not answered, and closes the connection.
    pub bye: bool,
    /// Bytes that a line may have, its ending not counted; 0: any number.
    pub max_line: usize,
}

impl Default for Modes {
    fn default() -> Self {
        Self { prefix: None, upper: false, bye: false, max_line: 64 * 1024 }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer was appended.
    Answered,
    /// It was a goodbye: there is no answer, and nothing after it counts.
    Bye,
}

impl Modes {
    /// Whether there are lines at all.
    pub fn has_lines(&self) -> bool {
        self.prefix.is_some() || self.upper || self.bye
    }

    /// The bound for a framing.
    pub fn max_line(&self) -> usize {
        match self.max_line {
            0 => usize::MAX,
            max => max,
        }
    }

    /// Appends the answer to one line to `out`. The ending comes back as it came.
    pub fn answer(&self, line: &Line<'_>, out: &mut Vec<u8>) -> Verdict {
        if self.bye && line.text == b"bye" {
            return Verdict::Bye;
        }
        out.extend_from_slice(self.prefix.as_deref().unwrap_or_default().as_bytes());
        if !self.upper {
            out.extend_from_slice(line.text);
        } else if line.text.is_ascii() {
            out.extend(line.text.iter().map(u8::to_ascii_uppercase));
        } else {
            out.extend(String::from_utf8_lossy(line.text).to_uppercase().into_bytes());
        }
        out.extend_from_slice(line.ending);
        Verdict::Answered
    }

    /// The same for a datagram, which is one text, whatever it holds; what ends a line at its end is
    /// the ending.
    pub fn answer_datagram(&self, datagram: &[u8], out: &mut Vec<u8>) -> Verdict {
        if !self.has_lines() {
            out.extend_from_slice(datagram);
            return Verdict::Answered;
        }
        let text = datagram
            .strip_suffix(b"\n")
            .map_or(datagram, |text| text.strip_suffix(b"\r").unwrap_or(text));
        let ending = datagram.get(text.len()..).unwrap_or_default();
        self.answer(&Line { text, ending }, out)
    }
}

/// How far a client is: what it has sent, and what came back.
///
/// ```
/// let mut exchange = echo::Exchange::default();
/// exchange.sent(5);
/// exchange.finish();
/// assert_eq!(exchange.due(), 5);
/// exchange.received(5);
/// assert!(exchange.is_complete());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    sent: u64,
    received: u64,
    is_finished: bool,
}

impl Exchange {
    /// So many bytes more are sent.
    pub fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count as u64);
    }

    /// So many bytes more came back.
    pub fn received(&mut self, count: usize) {
        self.received = self.received.saturating_add(count as u64);
    }

    /// Nothing more will be sent.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Bytes that were sent and have not come back. None are if more came back: a line mode adds some.
    pub fn due(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Whether all was sent, and as many bytes came back.
    pub fn is_complete(&self) -> bool {
        self.is_finished && self.due() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn modes(prefix: Option<&str>, upper: bool, bye: bool) -> Modes {
        Modes { prefix: prefix.map(str::to_owned), upper, bye, ..Modes::default() }
    }

    fn answer(modes: &Modes, text: &[u8], ending: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match modes.answer(&Line { text, ending }, &mut out) {
            Verdict::Answered => Some(out),
            Verdict::Bye => None,
        }
    }

    #[test]
    fn the_modes_combine_and_the_prefix_stays_as_it_is() {
        let all = modes(Some("Echo: "), true, true);
        assert_eq!(answer(&all, b"hello", b"\r\n").unwrap(), b"Echo: HELLO\r\n");
        assert_eq!(answer(&all, b"", b"\n").unwrap(), b"Echo: \n");
        assert_eq!(answer(&all, b"last", b"").unwrap(), b"Echo: LAST");
        assert_eq!(answer(&all, b"bye", b"\n"), None);
        assert_eq!(answer(&all, b"bye", b""), None);
    }

    #[test]
    fn only_a_line_that_is_exactly_bye_is_a_goodbye() {
        let bye = modes(None, false, true);
        for text in ["Bye", "bye ", " bye", "byebye", ""] {
            assert_eq!(
                answer(&bye, text.as_bytes(), b"\n").unwrap(),
                format!("{text}\n").as_bytes()
            );
        }
        assert!(answer(&modes(None, true, false), b"bye", b"\n").is_some());
    }

    #[test]
    fn upper_case_is_that_of_unicode_and_what_is_no_utf_8_is_replaced() {
        let upper = modes(None, true, false);
        for (text, expected) in [
            ("straße ŉ ǆ".as_bytes(), "STRASSE ʼN Ǆ"),
            (b"a\xffb", "A\u{fffd}B"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\0\x1b", "\0\x1b"),
        ] {
            assert_eq!(answer(&upper, text, b"").unwrap(), expected.as_bytes());
        }
        let bytes = modes(Some(""), false, false);
        assert_eq!(answer(&bytes, b"a\xffb", b"\n").unwrap(), b"a\xffb\n");
    }

    #[test]
    fn a_datagram_is_one_text() {
        let datagram = |modes: &Modes, datagram: &[u8]| {
            let mut out = Vec::new();
            (modes.answer_datagram(datagram, &mut out), out)
        };
        let answered = |out: &[u8]| (Verdict::Answered, out.to_vec());
        let all = modes(Some("> "), true, true);
        assert_eq!(datagram(&all, b"a\nb\r\n"), answered(b"> A\nB\r\n"));
        assert_eq!(datagram(&all, b"a\r"), answered(b"> A\r"));
        assert_eq!(datagram(&all, b""), answered(b"> "));
        assert_eq!(datagram(&all, b"bye\n"), (Verdict::Bye, Vec::new()));
        assert_eq!(datagram(&all, b"bye"), (Verdict::Bye, Vec::new()));
        assert_eq!(datagram(&Modes::default(), b"bye"), answered(b"bye"));
        assert_eq!(datagram(&Modes::default(), b""), answered(b""));
    }

    #[test]
    fn an_exchange_is_complete_when_all_is_sent_and_as_much_came_back() {
        let mut exchange = Exchange::default();
        assert!(!exchange.is_complete(), "there may be more to send");
        exchange.sent(3);
        exchange.received(5);
        assert_eq!(exchange.due(), 0);
        exchange.sent(4);
        assert_eq!(exchange.due(), 2);
        exchange.finish();
        assert!(!exchange.is_complete());
        exchange.received(2);
        assert!(exchange.is_complete());
        let mut empty = Exchange::default();
        empty.finish();
        assert!(empty.is_complete());
    }

    proptest! {
        #[test]
        fn without_upper_a_line_comes_back_byte_for_byte(
            prefix in ".{0,5}", text in prop::collection::vec(any::<u8>(), 0..50)
        ) {
            let out = answer(&modes(Some(&prefix), false, false), &text, b"\n").unwrap();
            prop_assert_eq!(out, [prefix.as_bytes(), &text, b"\n"].concat());
        }

        #[test]
        fn upper_case_is_the_same_by_the_short_way(text in "[ -~]{0,50}") {
            let out = answer(&modes(None, true, false), text.as_bytes(), b"").unwrap();
            prop_assert_eq!(out, text.to_uppercase().into_bytes());
        }
    }
}
