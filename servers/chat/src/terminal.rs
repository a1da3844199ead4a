//! A terminal on which a line is typed while others come in: the line being typed is not torn.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, Editor, Helper};
use unicode_width::UnicodeWidthStr;

/// The terminal as it was; it is so again when this is dropped, whatever was done to it meanwhile.
#[derive(Debug)]
pub struct TerminalKept(Option<Termios>);

impl TerminalKept {
    /// Remembers how the terminal is, if standard input is one.
    pub fn new() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Default for TerminalKept {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TerminalKept {
    fn drop(&mut self) {
        if let Some(kept) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, kept); // it may be gone
        }
    }
}

/// What is typed, line by line, with history and the usual keys; and where others' lines are shown
/// meanwhile: above the line that is being typed, which is drawn again.
///
/// The editor has a printer of its own for that, which we do not use: with it, the editor waits for the next key
/// although it has some already, if several come at once.
///
/// # Errors
/// The terminal cannot be used.
pub fn open_terminal() -> io::Result<(impl Read + Send + 'static, impl Write + Send + 'static)> {
    let config = Config::builder().auto_add_history(true).color_mode(ColorMode::Forced).build();
    let mut editor: Editor<Watch, MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    let line = Watch::default();
    editor.set_helper(Some(line.clone()));
    Ok((Typing { editor, line: line.clone(), rest: Vec::new() }, Printing(line)))
}

/// The line that is being typed, as the editor has drawn it last.
#[derive(Clone, Debug, Default)]
struct Watch(Arc<Mutex<Typed>>);

#[derive(Debug, Default)]
struct Typed {
    text: String,
    /// Where in it the cursor is. Invariant: between two characters.
    cursor: usize,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Typed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, text: &str, cursor: usize) {
        let mut typed = self.lock();
        text.clone_into(&mut typed.text);
        typed.cursor = cursor;
    }
}

/// It colours nothing, but the editor tells it of each change.
impl Highlighter for Watch {
    fn highlight<'l>(&self, line: &'l str, cursor: usize) -> Cow<'l, str> {
        self.note(line, cursor);
        Cow::Borrowed(line)
    }

    fn highlight_char(&self, line: &str, cursor: usize, _: CmdKind) -> bool {
        self.note(line, cursor);
        true
    }
}

impl Completer for Watch {
    type Candidate = String;
}

impl Hinter for Watch {
    type Hint = String;
}

impl Validator for Watch {}

impl Helper for Watch {}

impl Typed {
    /// What shows `text`, which ends with its lines' ends, above this line on a terminal so wide.
    fn below(&self, text: &str, columns: usize) -> String {
        let (before, _) = self.text.split_at_checked(self.cursor).unwrap_or((&self.text, ""));
        let (columns, cursor, end) = (columns.max(1), before.width(), self.text.width());
        let mut shown = String::new();
        up(&mut shown, cursor / columns);
        // To the first column, and all below is gone.
        let _ = write!(shown, "\r\x1b[J{text}{}", self.text);
        if end > 0 && end % columns == 0 {
            shown.push_str("\r\n"); // a terminal waits at the edge for what comes
        }
        up(&mut shown, end / columns - cursor / columns);
        shown.push('\r');
        if cursor % columns > 0 {
            let _ = write!(shown, "\x1b[{}C", cursor % columns);
        }
        shown
    }
}

fn up(shown: &mut String, rows: usize) {
    if rows > 0 {
        let _ = write!(shown, "\x1b[{rows}A"); // a string takes all
    }
}

struct Typing {
    editor: Editor<Watch, MemHistory>,
    line: Watch,
    /// Of the last line, what has not been read.
    rest: Vec<u8>,
}

impl Read for Typing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            let line = self.editor.readline("");
            self.line.note("", 0);
            match line {
                Ok(line) => self.rest = [line.as_bytes(), b"\n"].concat(),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(0),
                Err(ReadlineError::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let count = self.rest.as_slice().read(room)?;
        self.rest.drain(..count);
        Ok(count)
    }
}

struct Printing(Watch);

impl Write for Printing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let columns = tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col));
        let typed = self.0.lock();
        let shown = typed.below(&String::from_utf8_lossy(bytes), columns);
        let mut out = io::stdout().lock();
        out.write_all(shown.as_bytes()).and_then(|()| out.flush())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(text: &str, cursor: usize, columns: usize) -> String {
        Typed { text: text.to_owned(), cursor }.below("bob: hi\n", columns)
    }

    #[test]
    fn others_lines_come_above_the_one_that_is_typed() {
        assert_eq!(below("", 0, 80), "\r\x1b[Jbob: hi\n\r");
        assert_eq!(below("abc", 3, 80), "\r\x1b[Jbob: hi\nabc\r\x1b[3C");
        assert_eq!(below("abc", 1, 80), "\r\x1b[Jbob: hi\nabc\r\x1b[1C", "the cursor stays");
        assert_eq!(below("漢漢", 3, 80), "\r\x1b[Jbob: hi\n漢漢\r\x1b[2C", "in cells");
    }

    #[test]
    fn a_line_of_several_rows_is_drawn_again_as_a_whole() {
        let text = "0123456789abcdef";
        let shown = below(text, 16, 10);
        assert_eq!(shown, format!("\x1b[1A\r\x1b[Jbob: hi\n{text}\r\x1b[6C"));
        let shown = below(text, 4, 10);
        assert_eq!(shown, format!("\r\x1b[Jbob: hi\n{text}\x1b[1A\r\x1b[4C"));
        let shown = below("0123456789", 10, 10);
        assert_eq!(shown, "\x1b[1A\r\x1b[Jbob: hi\n0123456789\r\n\r");
    }
}
