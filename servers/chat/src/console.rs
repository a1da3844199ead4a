//! The terminal that runs the server, as one who takes part.

use std::io;

use reactor::{Bytes, Handle, ReadBuffer};
use servers_common::{Input, InputEvent, Output, OutputEvent, Unit, stdout_file};

use crate::hall::RoomId;
use crate::message::{ChatMessage, Word};
use crate::protocol::{Framing, Incoming, clean};

/// Bytes that may wait for a terminal that does not keep up; beyond that, lines are dropped, and counted.
const WAITING_MAX: usize = 1 << 20;
/// Bytes of a line that is typed; a longer one comes in pieces.
const LINE_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Console {
    input: Input,
    output: Output,
    framing: Framing,
    /// Where it is.
    pub(crate) room: Option<RoomId>,
    lost: usize,
}

impl Console {
    /// Starts the threads that wait for the terminal.
    ///
    /// # Errors
    /// There is no thread, or no descriptor, to be had.
    pub(crate) fn start(framing: Framing, handle: &Handle<ChatMessage>) -> io::Result<Self> {
        let unit = Unit::Line(LINE_MAX);
        let input = Input::start(io::stdin(), unit, handle.clone(), |event| {
            ChatMessage(Word::Typed(event))
        })?;
        let output =
            Output::start(stdout_file()?, handle.clone(), |event| ChatMessage(Word::Shown(event)))?;
        Ok(Self { input, output, framing, room: None, lost: 0 })
    }

    /// Asks for the next line.
    pub(crate) fn ask(&self) {
        self.input.ask();
    }

    /// Shows messages.
    pub(crate) fn show(&mut self, wire: &[u8]) {
        if self.output.waiting() > WAITING_MAX {
            self.lost += 1;
            return;
        }
        let mut shown = Vec::with_capacity(wire.len());
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            shown.extend_from_slice(format!("! {lost} lines were not shown\n").as_bytes());
        }
        match self.framing {
            Framing::Line => shown.extend_from_slice(wire),
            Framing::Length => {
                let (mut incoming, mut input) =
                    (Incoming::new(self.framing, 0), ReadBuffer::from(wire));
                while let Ok(Some(message)) = incoming.next(&mut input) {
                    clean(message, &mut shown);
                    shown.push(b'\n');
                }
            }
        }
        self.output.write(Bytes::from(shown));
    }

    /// The terminal has taken some, or takes no more. Whether it is of any use still.
    pub(crate) fn shown(&mut self, event: &OutputEvent) -> bool {
        match event {
            OutputEvent::Wrote(count) => self.output.wrote(*count),
            OutputEvent::Failed(why) => log::warn!("the console is closed: {why}"),
        }
        !matches!(event, OutputEvent::Failed(_))
    }
}

/// What was typed, without its ending; `None` at the end.
pub(crate) fn typed(event: &InputEvent) -> Option<&[u8]> {
    match event {
        InputEvent::Bytes(line) => {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            Some(line.strip_suffix(b"\r").unwrap_or(line))
        }
        InputEvent::End => None,
        InputEvent::Failed(why) => {
            log::warn!("the console cannot be read: {why}");
            None
        }
    }
}
