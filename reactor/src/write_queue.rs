//! Bytes that are to leave, in order.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use crate::read_buffer::Block;

/// A chunk of copied bytes grows to this size; then the next one begins.
const CHUNK_MAX: usize = 64 * 1024;

/// Shared bytes below this size are copied: a chunk of their own would cost more.
const SHARED_MIN: usize = 256;

/// So many chunks leave in one system call; the kernel takes up to 1,024, which no stack needs.
const SLICES_MAX: usize = 64;
/// As many as there are as a rule.
const FEW_SLICES: usize = 4;

/// A queue that has drained keeps the memory of one chunk up to this size for the next bytes.
const KEPT_MAX: usize = 4 * 1024;

/// So many larger blocks that have left wait for somebody who takes them back.
const SPENT_MAX: usize = 4;

/// Bytes on their way to one peer: chunks that are owned or shared, and leave in one vectored write.
///
/// ```text
///        chunks, the front first                   tail
///   +----------------+   +-------------------+   +--------------+
///   | owned, partly  |   | shared: the same  |   | owned, takes |
///   | written        |   | bytes for many    |   | what is next |
///   +----------------+   +-------------------+   +--------------+
/// ```
///
/// # Guarantees
/// - Bytes leave in the order in which they were pushed, each once, however short the writes are.
/// - What is copied in lies together: many small pushes become one chunk.
///
/// ```
/// use reactor::WriteQueue;
///
/// let mut queue = WriteQueue::new();
/// queue.push(b"hello, ");
/// queue.push(b"world");
/// let mut sent = Vec::new();
/// while !queue.is_empty() {
///     queue.write(|slices| {
///         sent.extend_from_slice(&slices[0][..1]); // a kernel that takes a byte at a time
///         Ok(1)
///     })?;
/// }
/// assert_eq!(sent, b"hello, world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct WriteQueue {
    /// Invariant: no chunk is empty.
    chunks: VecDeque<Chunk>,
    /// What is copied in, behind all chunks. Invariant: it holds little memory while it is empty.
    tail: Block,
    /// Invariant: the sum of the lengths of the chunks and the tail.
    len: usize,
    /// Large blocks that have left; the loop takes them back. Invariant: at most `SPENT_MAX`.
    blocks: Vec<Vec<u8>>,
}

enum Chunk {
    Owned(Block),
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(block) => block,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl WriteQueue {
    /// An empty queue, which takes no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a copy of `bytes`.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        // What has left of it still takes room in it: it must come to its end some time.
        let room = CHUNK_MAX.saturating_sub(self.tail.used());
        if bytes.len() > room {
            let (now, later) = bytes.split_at(room);
            self.tail.append(now);
            self.end_tail();
            bytes = later;
        }
        self.tail.append(bytes);
    }

    /// What comes next does not go into the present tail.
    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Chunk::Owned(std::mem::take(&mut self.tail)));
        }
    }

    /// Adds `block` itself, without a copy.
    pub fn push_block(&mut self, block: Block) {
        self.len += block.len();
        if !block.is_empty() {
            self.end_tail();
            self.chunks.push_back(Chunk::Owned(block));
        }
    }

    /// Adds `bytes`, which others may hold too; a few are copied, many are shared.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_MIN {
            return self.push(&bytes);
        }
        self.len += bytes.len();
        self.end_tail();
        self.chunks.push_back(Chunk::Shared(bytes));
    }

    /// Lends the first chunks to `write`, once, and drops as many bytes as it says it has written.
    ///
    /// # Errors
    /// What `write` answers; nothing is dropped then. `WriteZero` if it takes nothing of what there is.
    pub fn write(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let written = match self.lend(write)? {
            0 if !self.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
            written => written.min(self.len),
        };
        self.consume(written);
        Ok(written)
    }

    /// Lends the first chunks.
    #[inline(always)]
    pub(crate) fn lend<R>(&self, to: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        match self.chunks.is_empty() && !self.tail.is_empty() {
            true => to(&[IoSlice::new(&self.tail)]),
            false => self.lend_many(to),
        }
    }

    fn lend_many<R>(&self, to: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        // To clear room for many costs more than all else here, and there are rarely many.
        let (mut few, mut many);
        let slices: &mut [IoSlice<'_>] = if self.chunks.len() < FEW_SLICES {
            few = [IoSlice::new(&[]); FEW_SLICES];
            &mut few
        } else {
            many = [IoSlice::new(&[]); SLICES_MAX];
            &mut many
        };
        let tail = Some(&*self.tail).filter(|tail| !tail.is_empty());
        let waiting = self.chunks.iter().map(Chunk::as_slice).chain(tail);
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(waiting) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        to(slices.get(..count).unwrap_or_default())
    }

    /// Lends the first chunks behind the first `skip` bytes.
    #[cfg(feature = "tls")]
    pub(crate) fn lend_behind<R>(
        &self,
        mut skip: usize,
        to: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        if skip == 0 {
            return self.lend(to);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for chunk in &self.chunks {
            let bytes = chunk.as_slice();
            let part = bytes.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(bytes.len());
            if let (false, Some(slice)) = (part.is_empty(), slices.get_mut(count)) {
                *slice = IoSlice::new(part);
                count += 1;
            }
        }
        to(slices.get(..count).unwrap_or_default())
    }

    /// Drops the first `count` bytes, of which there are as many.
    #[inline]
    pub(crate) fn consume(&mut self, mut count: usize) {
        self.len -= count;
        if !self.chunks.is_empty() {
            count = self.consume_chunks(count);
        }
        self.tail.consume(count);
        if self.tail.is_empty() && self.tail.capacity() > KEPT_MAX {
            let tail = std::mem::take(&mut self.tail);
            self.keep(tail);
        }
    }

    /// What is left of `count` for the tail.
    fn consume_chunks(&mut self, mut count: usize) -> usize {
        while let Some(chunk) = self.chunks.front_mut() {
            let len = chunk.as_slice().len();
            if count < len {
                match chunk {
                    Chunk::Owned(block) => block.consume(count),
                    Chunk::Shared(bytes) => bytes.advance(count),
                }
                return 0;
            }
            count -= len;
            if let Some(Chunk::Owned(block)) = self.chunks.pop_front() {
                self.keep(block);
            }
        }
        count
    }

    /// The memory of what has left: little of it is the next tail.
    fn keep(&mut self, mut block: Block) {
        if block.capacity() > KEPT_MAX {
            if self.blocks.len() < SPENT_MAX {
                self.blocks.push(block.into_memory());
            }
        } else if block.capacity() > self.tail.capacity() && self.tail.is_empty() {
            block.clear();
            self.tail = block;
        }
    }

    /// Moves what must wait out of blocks that are mostly empty: a few bytes must not pin a block for as
    /// long as the peer likes.
    pub(crate) fn compact(&mut self) {
        let owned = self.chunks.iter_mut().filter_map(|chunk| match chunk {
            Chunk::Owned(block) => Some(block),
            Chunk::Shared(_) => None,
        });
        for block in owned.chain([&mut self.tail]) {
            if block.capacity() > KEPT_MAX.max(2 * block.len()) {
                let compacted = Block::from(block.to_vec());
                let memory = std::mem::replace(block, compacted).into_memory();
                if self.blocks.len() < SPENT_MAX {
                    self.blocks.push(memory);
                }
            }
        }
    }

    /// One of the large blocks that have left.
    pub(crate) fn take_spent(&mut self) -> Option<Vec<u8>> {
        self.blocks.pop()
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.tail = Block::default();
        self.blocks.clear();
        self.len = 0;
    }

    /// Bytes of memory held by this queue alone; shared bytes are not counted.
    pub(crate) fn memory(&self) -> usize {
        let owned = |chunk: &Chunk| match chunk {
            Chunk::Owned(block) => block.capacity(),
            Chunk::Shared(_) => 0,
        };
        size_of::<Self>()
            + self.chunks.capacity() * size_of::<Chunk>()
            + self.tail.capacity()
            + self.blocks.iter().map(Vec::capacity).sum::<usize>()
            + self.chunks.iter().map(owned).sum::<usize>()
    }

    /// The same of a queue that is empty, and whose large blocks are taken.
    pub(crate) fn spare_memory(&self) -> usize {
        size_of::<Self>() + self.chunks.capacity() * size_of::<Chunk>() + self.tail.capacity()
    }
}

impl fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteQueue({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_buffer::ReadBuffer;
    use proptest::prelude::*;

    #[test]
    fn many_small_pushes_are_one_chunk() {
        let mut queue = WriteQueue::new();
        for _ in 0..100 {
            queue.push(b"0123456789");
            queue.push_shared(Bytes::from_static(b"few"));
        }
        let written = queue.write(|slices| Ok(slices.iter().map(|slice| slice.len()).sum()));
        assert_eq!((written.unwrap(), queue.chunks.len()), (1300, 0));
        assert!(queue.tail.capacity() >= 1300, "its memory serves the next one");
    }

    #[test]
    fn shared_bytes_stay_shared() {
        let mut queue = WriteQueue::new();
        let shared = Bytes::from(vec![5; 1000]);
        queue.push_shared(shared.clone());
        queue
            .write(|slices| {
                assert_eq!(slices[0].as_ptr(), shared.as_ptr());
                Ok(999)
            })
            .unwrap();
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_queue_that_never_quite_drains_does_not_grow() {
        for blocks_too in [true, false] {
            let mut queue = WriteQueue::new();
            queue.push(&[1; 10_000]);
            for _ in 0..10_000 {
                queue.push(&[1; 1000]);
                if blocks_too {
                    queue.push_block(vec![2; 1000].into());
                }
                while queue.len() > 10_000 {
                    queue.write(|slices| Ok(slices[0].len().min(777))).unwrap();
                }
            }
            assert!(queue.memory() < 8 * CHUNK_MAX, "{} bytes", queue.memory());
        }
    }

    #[test]
    fn what_waits_does_not_pin_a_block_that_is_mostly_empty() {
        let mut queue = WriteQueue::new();
        for _ in 0..100 {
            let mut input = ReadBuffer::with_capacity(CHUNK_MAX);
            input.append(&[3; CHUNK_MAX / 8]);
            queue.push_block(input.detach().unwrap());
        }
        assert!(queue.memory() > 100 * CHUNK_MAX);
        queue.compact();
        assert!(queue.memory() < 100 * CHUNK_MAX / 4, "{} bytes", queue.memory());
        let mut left = 0;
        while !queue.is_empty() {
            left += queue.write(|slices| Ok(slices.iter().map(|slice| slice.len()).sum())).unwrap();
        }
        assert_eq!(left, 100 * CHUNK_MAX / 8);
    }

    #[test]
    fn a_write_of_nothing_is_an_error_and_not_a_loop() {
        let mut queue = WriteQueue::new();
        queue.push(b"x");
        assert_eq!(queue.write(|_| Ok(0)).unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert_eq!(queue.len(), 1);
    }

    impl WriteQueue {
        fn check(&self) {
            assert!(self.chunks.iter().all(|chunk| !chunk.as_slice().is_empty()));
            let chunks: usize = self.chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
            assert_eq!(chunks + self.tail.len(), self.len);
            assert!(!self.tail.is_empty() || self.tail.capacity() <= KEPT_MAX);
            assert!(self.blocks.len() <= SPENT_MAX);
        }
    }

    /// A block as the loop makes them: cut out of a larger one, and partly consumed.
    fn cut_out(bytes: &[u8], before: usize) -> Block {
        let mut input = ReadBuffer::with_capacity(before + 2 * bytes.len());
        input.append(&vec![0; before]);
        input.append(bytes);
        input.consume(before);
        input.detach().unwrap_or_else(|| bytes.to_vec().into())
    }

    proptest! {
        /// Against all that was ever pushed, and how much of it has left.
        #[test]
        fn a_write_queue_is_a_queue_of_bytes(
            steps in prop::collection::vec((0u8..10, prop_oneof![
                8 => 0usize..700,
                1 => 0usize..40_000,
            ]), 0..200)
        ) {
            let pattern: Vec<u8> = (0..=250).cycle().take(50_000).collect();
            let (mut queue, mut model, mut out) = (WriteQueue::new(), Vec::new(), 0);
            for (action, size) in steps {
                let bytes = &pattern[model.len() % 251..][..size];
                match action {
                    0 | 1 => queue.push(bytes),
                    2 => queue.push_block(bytes.to_vec().into()),
                    3 => queue.push_block(cut_out(bytes, size / 3)),
                    4 => queue.push_shared(Bytes::copy_from_slice(bytes)),
                    5 => {
                        queue.compact();
                        let is_pinned =
                            |block: &Block| block.capacity() > KEPT_MAX.max(2 * block.len());
                        let pinned = |chunk: &Chunk| match chunk {
                            Chunk::Owned(block) => is_pinned(block),
                            Chunk::Shared(_) => false,
                        };
                        prop_assert!(!queue.chunks.iter().any(pinned) && !is_pinned(&queue.tail));
                    }
                    6 => {
                        while let Some(block) = queue.take_spent() {
                            prop_assert!(block.capacity() > KEPT_MAX);
                        }
                    }
                    7 if size % 16 == 0 => {
                        queue.clear();
                        out = model.len();
                    }
                    8 => {
                        let refused = queue.write(|_| Err(io::ErrorKind::WouldBlock.into()));
                        prop_assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
                    }
                    _ => {
                        let waiting = &model[out..];
                        out += queue.write(|slices| {
                            let offered = slices.iter().map(|slice| &**slice).collect::<Vec<_>>().concat();
                            assert!(waiting.starts_with(&offered) && slices.len() <= SLICES_MAX);
                            Ok((size + 1).min(offered.len()))
                        }).unwrap();
                    }
                }
                if action < 5 {
                    model.extend_from_slice(bytes);
                }
                queue.check();
                prop_assert_eq!((queue.len(), queue.is_empty()), (model.len() - out, model.len() == out));
            }
        }
    }
}
