//! Where what is typed comes from, and where what is said goes to.

use std::io::{self, IsTerminal};

use chat::{ClientMessage, open_terminal};
use reactor::Handle;
use servers_common::{Input, Output, Unit, stdout_file};

/// Bytes of a line that is typed; a longer one comes in pieces.
const LINE_MAX: usize = 1 << 20;

/// A terminal is typed at, line by line, while others' lines come in; anything else is read and written.
pub(crate) fn streams(handle: Handle<ClientMessage>) -> io::Result<(Input, Output)> {
    let line = Unit::Line(LINE_MAX);
    if is_terminal() {
        let (typed, shown) = open_terminal()?;
        let input = Input::start(typed, line, handle.clone(), ClientMessage::Typed)?;
        return Ok((input, Output::start(shown, handle, ClientMessage::Shown)?));
    }
    let input = Input::start(io::stdin(), line, handle.clone(), ClientMessage::Typed)?;
    Ok((input, Output::start(stdout_file()?, handle, ClientMessage::Shown)?))
}

/// Whether somebody types, and reads what comes in at the same place.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
