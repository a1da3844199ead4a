//! Bytes that have arrived and are not consumed yet.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// A block with at least this part of it in use is moved rather than copied.
const DETACH_PART: usize = 8;

/// The bytes that a handler is lent: what has arrived on a connection and is not consumed yet.
///
/// ```text
///  0          start               end            block.len()
///  +------------+------------------+----------------+
///  |  consumed  |     to read      |  free to fill  |
///  +------------+------------------+----------------+
///               ^ as_slice() .......^
/// ```
///
/// The loop has one block for all connections. A handler that consumes everything, which is the rule,
/// never makes its connection own a buffer; what it leaves is copied into one that the connection owns
/// until it is consumed, and is lent again, with what has arrived since, next time.
///
/// # Guarantees
/// - Bytes come in order, each once. What is not consumed stays.
/// - Nothing in here panics: to consume more than there is consumes all.
///
/// # Not guaranteed
/// Where one call's bytes end has no meaning: a message may come in pieces, or several at once. See
/// [`framing`](crate::framing).
///
/// ```
/// use reactor::ReadBuffer;
///
/// let mut input = ReadBuffer::from(&b"GET /"[..]);
/// assert_eq!(input.take_up_to(3), b"GET");
/// input.consume(1);
/// assert_eq!(input.take(), b"/");
/// assert!(input.is_empty());
/// ```
#[derive(Default)]
pub struct ReadBuffer {
    /// All of it is initialised, so that a read can be given any part of it.
    block: Vec<u8>,
    /// Invariant: `start <= end <= block.len()`.
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { block: vec![0; capacity], start: 0, end: 0 }
    }

    /// What is there to read; it stays.
    pub fn as_slice(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes there are to read.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops the first `count` bytes, or all if there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
    }

    /// Lends all there is, and counts it as consumed.
    pub fn take(&mut self) -> &[u8] {
        self.take_up_to(usize::MAX)
    }

    /// Lends the first `count` bytes, or all if there are fewer, and counts them as consumed.
    pub fn take_up_to(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.consume(count);
        self.block.get(from..self.start).unwrap_or_default()
    }

    /// Moves the whole block out, without a copy, where copying what is in it would cost more than
    /// having a new block: when it is at least an eighth full. Otherwise nothing is consumed, and the caller
    /// takes a copy: see [`forward`](crate::ConnContext::forward), which does just this.
    ///
    /// ```
    /// use reactor::ReadBuffer;
    ///
    /// let mut input = ReadBuffer::from(&b"all of it"[..]);
    /// assert_eq!(&*input.detach().unwrap(), b"all of it");
    /// assert!(input.detach().is_none(), "there is nothing left");
    /// ```
    pub fn detach(&mut self) -> Option<Block> {
        if self.is_empty() || self.len() < self.block.len() / DETACH_PART {
            return None;
        }
        let Self { block, start, end } = std::mem::take(self);
        Some(Block { block, start, end })
    }

    /// Adds bytes at the end, and takes more memory if they do not fit.
    ///
    /// The loop does this with what a connection has left; a test may do it by hand.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.block.len() - self.end < bytes.len() {
            self.make_room(bytes.len());
        }
        if let Some(room) = self.block.get_mut(self.end..self.end + bytes.len()) {
            room.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// Moves what is there to the front, and doubles the block until `count` more bytes fit.
    fn make_room(&mut self, count: usize) {
        self.block.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.end + count;
        if wanted > self.block.len() {
            self.block.resize(wanted.next_power_of_two(), 0);
        }
    }

    /// The free part, for a read to fill; at most `limit` bytes of it.
    pub(crate) fn room(&mut self, limit: usize) -> &mut [u8] {
        let until = self.block.len().min(self.end.saturating_add(limit));
        self.block.get_mut(self.end..until).unwrap_or_default()
    }

    /// A read has put `count` bytes into [`room`](Self::room).
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = self.block.len().min(self.end + count);
    }

    /// Forgets what is there, and keeps the block.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Bytes of memory held.
    pub(crate) fn capacity(&self) -> usize {
        self.block.len()
    }

    /// Takes `block` for its own. All that was in here before is forgotten.
    pub(crate) fn refill(&mut self, mut block: Vec<u8>, capacity: usize) {
        block.resize(capacity, 0);
        self.block = block;
        self.clear();
    }
}

impl From<&[u8]> for ReadBuffer {
    fn from(bytes: &[u8]) -> Self {
        Self { block: bytes.to_vec(), start: 0, end: bytes.len() }
    }
}

impl fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBuffer({} bytes)", self.len())
    }
}

/// Bytes on their way, moved rather than copied: out of a [`ReadBuffer`], into a queue.
///
/// ```
/// let block = reactor::Block::from(b"any bytes".to_vec());
/// assert_eq!(block.len(), 9);
/// ```
#[derive(Default)]
pub struct Block {
    block: Vec<u8>,
    /// Invariant: `start <= end <= block.len()`.
    start: usize,
    end: usize,
}

impl Block {
    /// Drops the first `count` bytes, or all if there are fewer.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count.min(self.end - self.start);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets what is there, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Adds bytes at the end. What lies behind the end, if anything, is overwritten.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.block.truncate(self.end);
        self.block.extend_from_slice(bytes);
        self.end = self.block.len();
    }

    /// Bytes up to the end, with those that are consumed.
    pub(crate) fn used(&self) -> usize {
        self.end
    }

    /// The memory, for the next use.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.block
    }

    /// Bytes of memory held.
    pub(crate) fn capacity(&self) -> usize {
        self.block.capacity()
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Block {
    fn from(block: Vec<u8>) -> Self {
        let end = block.len();
        Self { block, start: 0, end }
    }
}

impl From<Block> for Bytes {
    fn from(Block { block, start, end }: Block) -> Self {
        Bytes::from(block).slice(start..end)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_that_is_hardly_filled_is_not_worth_moving() {
        let mut input = ReadBuffer::with_capacity(64);
        input.append(&[7; 7]);
        assert!(input.detach().is_none());
        input.append(&[7]);
        assert_eq!(&*input.detach().unwrap(), &[7; 8]);
        assert_eq!((input.len(), input.capacity()), (0, 0));
        input.refill(vec![9; 3], 64);
        assert_eq!((input.len(), input.room(100).len()), (0, 64));
    }

    #[test]
    fn it_grows_by_what_has_arrived_and_not_by_more_than_double() {
        let mut input = ReadBuffer::default();
        input.append(&[1; 1000]);
        assert_eq!(input.capacity(), 1024);
        input.consume(900);
        input.append(&[2; 900]);
        assert_eq!((input.capacity(), input.len()), (1024, 1000));
    }

    proptest! {
        #[test]
        fn a_read_buffer_is_a_queue_of_bytes(
            steps in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..40)), 0..60)
        ) {
            let (mut buffer, mut model) = (ReadBuffer::with_capacity(16), Vec::new());
            for (action, bytes) in steps {
                match action {
                    0 | 1 => {
                        buffer.append(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    2 => {
                        let taken = buffer.take_up_to(bytes.len()).to_vec();
                        let count = model.len().min(bytes.len());
                        prop_assert_eq!(taken, model.drain(..count).collect::<Vec<_>>());
                    }
                    _ => if let Some(block) = buffer.detach() {
                        prop_assert_eq!(&*block, &model[..]);
                        model.clear();
                    }
                }
                prop_assert_eq!(buffer.as_slice(), &model[..]);
                prop_assert_eq!(buffer.is_empty(), model.is_empty());
            }
        }
    }
}
