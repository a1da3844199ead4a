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
    pub(super) fn queue(&mut self) -> Box<WriteQueue> {
        match self.queues.pop() {
            Some(queue) => {
                self.queue_memory -= queue.memory();
                queue
            }
            None => Box::default(),
        }
    }

    /// Takes the blocks that have left a queue.
    pub(crate) fn keep_blocks(&mut self, queue: &mut WriteQueue, block_size: usize) {
        for block in queue.spent_blocks() {
            if block.capacity() == block_size && self.blocks.len() < SPARE_BLOCKS_MAX {
                self.blocks.push(block);
            }
        }
    }

    /// Takes a queue that is empty.
    pub(crate) fn keep_queue(&mut self, queue: Box<WriteQueue>) {
        debug_assert!(queue.is_empty());
        let memory = queue.memory();
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
