//! From one loop to another: bounded, in order, and nothing lost.
//!
//! ```text
//!   front (loop 1)                                   home (loop 0)
//!   what its people do --[ Letters ]--> inbox --> worked off, one by one
//!   worked off at once <-- inbox <--[ Letters ]-- what follows from it
//! ```
//!
//! Each side tells the other how much it has worked off, and has at most a window of its own letters on
//! the way. Beyond that they gather at the sender, whose speakers wait: those of a front, if home is behind;
//! everybody's, if a front is. A front never waits before it works off what comes from home, so home always
//! gets on, and so do the fronts.

use std::mem;

use reactor::{Context, Handle, SendError};

use crate::message::ChatMessage;

/// What a letter costs, beside its bytes.
const LETTER: usize = 64;

/// Letters, each with its bytes, in order.
#[derive(Clone, Debug)]
pub(crate) struct Letters<I> {
    items: Vec<(I, usize)>,
    bytes: Vec<u8>,
    /// How many items, and how many bytes, have been taken.
    taken: (usize, usize),
}

impl<I> Default for Letters<I> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: Vec::new(), taken: (0, 0) }
    }
}

impl<I: Clone> Letters<I> {
    fn push(&mut self, item: I, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.items.push((item, bytes.len()));
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What they cost, taken or not.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + LETTER * self.items.len()
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Option<(I, &[u8])> {
        let (index, start) = self.taken;
        let (item, len) = self.items.get(index)?.clone();
        self.taken = (index + 1, start + len);
        Some((item, self.bytes.get(start..start + len).unwrap_or_default()))
    }
}

/// What goes over a lane at a time.
#[derive(Clone, Debug)]
pub(crate) struct Parcel<I> {
    pub(crate) letters: Letters<I>,
    /// The cost of the other side's letters that were worked off since the last parcel.
    pub(crate) done: usize,
}

/// What a lane carries.
pub(crate) trait Item: Clone {
    /// The parcel as a message of the loop with this number.
    fn wrap(from: u16, parcel: Parcel<Self>) -> ChatMessage;

    /// The parcel that the message is, if it is one.
    fn unwrap(message: ChatMessage) -> Option<Parcel<Self>>;
}

/// One loop's end of the way to another.
#[derive(Debug)]
pub(crate) struct Lane<I> {
    to: Handle<ChatMessage>,
    /// The number of this loop.
    from: u16,
    waiting: Letters<I>,
    /// The cost of letters that are on the way, or not worked off.
    under_way: usize,
    window: usize,
    /// The cost of letters that were worked off here, and that the other side does not know of.
    done: usize,
}

impl<I: Item> Lane<I> {
    pub(crate) fn new(from: u16, to: Handle<ChatMessage>, window: usize) -> Self {
        Self { to, from, waiting: Letters::default(), under_way: 0, window, done: 0 }
    }

    /// Whether there is room for more. What must be said is said all the same.
    pub(crate) fn is_open(&self) -> bool {
        self.waiting.cost() + self.under_way < self.window
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, item: I, bytes: &[u8]) {
        self.waiting.push(item, bytes);
    }

    /// The other side has worked off so much.
    pub(crate) fn heard(&mut self, done: usize) {
        self.under_way = self.under_way.saturating_sub(done);
    }

    /// So much has been worked off here.
    pub(crate) fn worked_off(&mut self, cost: usize) {
        self.done += cost;
    }

    /// Sends what may be sent. What finds the inbox full is sent when that has room.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>) {
        let may_send = self.under_way < self.window;
        let letters = if may_send { mem::take(&mut self.waiting) } else { Letters::default() };
        if letters.is_empty() && self.done == 0 {
            return;
        }
        let cost = letters.cost();
        let parcel = Parcel { letters, done: mem::take(&mut self.done) };
        match cx.send_message(&self.to, I::wrap(self.from, parcel)) {
            Ok(()) => self.under_way += cost,
            Err(SendError::Full(message)) => self.take_back(message),
            Err(SendError::Closed(_)) => {} // nobody is there to hear it
        }
    }

    fn take_back(&mut self, message: ChatMessage) {
        if let Some(Parcel { letters, done }) = I::unwrap(message) {
            self.done = done;
            if !letters.is_empty() {
                self.waiting = letters; // what it had is what comes back
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_out_as_they_went_in() {
        let mut letters = Letters::default();
        for (item, bytes) in [('a', &b"one"[..]), ('b', b""), ('c', b"three")] {
            letters.push(item, bytes);
        }
        assert_eq!(letters.cost(), 8 + 3 * LETTER);
        assert_eq!(letters.next(), Some(('a', &b"one"[..])));
        assert_eq!(letters.next(), Some(('b', &b""[..])));
        assert_eq!(letters.next(), Some(('c', &b"three"[..])));
        assert_eq!(letters.next(), None);
        assert_eq!(letters.cost(), 8 + 3 * LETTER, "taken or not");
    }
}
