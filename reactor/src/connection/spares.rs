//! Memory between uses, so that a busy loop allocates nothing.

use crate::write_queue::WriteQueue;

/// Memory between uses, so that a busy loop allocates nothing. Bounded by the constants below.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a connection holds a pointer, and takes this very box")]
pub(crate) struct Spares {
    queues: Vec<Box<WriteQueue>>,
    queue_memory: usize,
    blocks: Vec<Vec<u8>>,
}

/// Bytes of memory in spare queues.
const SPARE_QUEUES_MAX: usize = 1024 * 1024;
/// Spare blocks, each of the loop's block size.
const SPARE_BLOCKS_MAX: usize = 16;

impl Spares {
    pub(crate) fn queue(&mut self) -> Box<WriteQueue> {
        match self.queues.pop() {
            Some(queue) => {
                self.queue_memory -= queue.spare_memory();
                queue
            }
            None => Box::default(),
        }
    }

    /// After a write: takes the blocks that have left, and the queue itself once it is empty.
    #[inline]
    pub(crate) fn written(&mut self, slot: &mut Option<Box<WriteQueue>>, block_size: usize) {
        let Some(queue) = slot else { return };
        if !queue.is_empty() {
            queue.compact();
        }
        self.keep_blocks(queue, block_size);
        if let Some(queue) = slot.take_if(|queue| queue.is_empty()) {
            self.keep_queue(queue);
        }
    }

    fn keep_blocks(&mut self, queue: &mut WriteQueue, block_size: usize) {
        while let Some(block) = queue.take_spent() {
            if block.capacity() == block_size && self.blocks.len() < SPARE_BLOCKS_MAX {
                self.blocks.push(block);
            }
        }
    }

    /// Takes a queue that is empty.
    pub(super) fn keep_queue(&mut self, queue: Box<WriteQueue>) {
        debug_assert!(queue.is_empty());
        let memory = queue.spare_memory();
        if self.queue_memory + memory <= SPARE_QUEUES_MAX {
            self.queue_memory += memory;
            self.queues.push(queue);
        }
    }

    pub(crate) fn block(&mut self) -> Vec<u8> {
        self.blocks.pop().unwrap_or_default()
    }

    pub(crate) fn memory(&self) -> usize {
        self.queue_memory + self.blocks.iter().map(Vec::capacity).sum::<usize>()
    }
}
