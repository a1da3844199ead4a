//! What lies between a socket and a handler: nothing, or TLS.
//!
//! A handler sees plaintext either way, and the loop sees this: bytes in, bytes out, finish.

use std::io::{self, IoSlice};

use crate::driver::Stream;
use crate::write_queue::WriteQueue;

pub(crate) enum Transport<S> {
    Plain(S),
}

impl<S: Stream> Transport<S> {
    /// Reads plaintext; 0 is the end.
    pub(crate) fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
        }
    }

    /// Writes from the queue, once: `write` makes the call.
    #[inline]
    pub(crate) fn send(
        &mut self,
        queue: &mut WriteQueue,
        write: impl FnOnce(&mut S, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => queue.write(|slices| write(stream, slices)),
        }
    }

    /// Finishes sending.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.finish(),
        }
    }

    pub(crate) fn short_read_empties(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.short_read_empties(),
        }
    }

    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        match self {
            Self::Plain(stream) => stream.take_error(),
        }
    }

    pub(crate) fn reset(self) {
        match self {
            Self::Plain(stream) => stream.reset(),
        }
    }
}
