//! Text of unknown origin, made harmless for a terminal.

use std::fmt::{self, Write};

/// Prints a value with its control characters escaped: what a peer has sent can neither end a line of
/// the log, nor move the cursor, nor turn the writing direction.
///
/// ```
/// use servers_common::Escaped;
///
/// let bytes = b"bye\r\n\x1b[2J\xff";
/// assert_eq!(Escaped(bytes.escape_ascii()).to_string(), r"bye\r\n\x1b[2J\xff");
/// assert_eq!(Escaped("größe\u{202e}\n").to_string(), r"größe\u{202e}\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match is_harmful(c) {
            true => write!(self.0, "{}", c.escape_default()),
            false => self.0.write_char(c),
        })
    }
}

/// Controls, and the characters that turn or isolate the writing direction.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
