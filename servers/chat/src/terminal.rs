//! A terminal on which a line is typed while others come in: the line being typed is not torn.

use std::io::{self, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter};

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
/// meanwhile.
///
/// # Errors
/// The terminal cannot be used.
pub fn open_terminal() -> io::Result<(impl Read + Send + 'static, impl Write + Send + 'static)> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<(), MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    Ok((Typing { editor, rest: Vec::new() }, Printing(printer)))
}

struct Typing {
    editor: Editor<(), MemHistory>,
    /// Of the last line, what has not been read.
    rest: Vec<u8>,
}

impl Read for Typing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.editor.readline("") {
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

struct Printing<P>(P);

impl<P: ExternalPrinter> Write for Printing<P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.print(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
