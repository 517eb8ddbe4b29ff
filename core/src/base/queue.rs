//! A queue that never moves what it holds.
//!
//! A ring buffer that grows moves all of its entries, and everybody waits meanwhile. This queue is made of chunks of
//! [`CHUNK`] entries: what lies in one stays there until it is taken. What is empty is given back, one chunk aside.

use std::collections::VecDeque;

/// How many entries one chunk has room for.
const CHUNK: usize = 256;

/// See the module page.
#[derive(Debug)]
pub struct Queue<T> {
    /// All are full but the last, and but for what was taken from the first.
    chunks: VecDeque<VecDeque<T>>,
    /// How many entries were taken from the first chunk.
    taken: usize,
    len: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            taken: 0,
            len: 0,
        }
    }
}

impl<T> Queue<T> {
    /// How many entries wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The oldest entry.
    #[must_use]
    pub fn front(&self) -> Option<&T> {
        self.chunks.front()?.front()
    }

    /// The entry that `index` others wait in front of, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (chunk, within) = self.place(index);
        self.chunks.get_mut(chunk)?.get_mut(within)
    }

    /// The entries from `begin` up to `end`, as many of them as there are.
    pub fn range(&self, begin: usize, end: usize) -> Range<'_, T> {
        let end = end.min(self.len);
        Range {
            queue: self,
            begin: begin.min(end),
            end,
        }
    }

    /// All entries, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Adds an entry behind all others.
    pub fn push_back(&mut self, entry: T) {
        let full = |chunk: &VecDeque<T>, taken: usize| chunk.len() + taken >= CHUNK;
        let taken = if self.chunks.len() == 1 { self.taken } else { 0 };
        match self.chunks.back_mut() {
            Some(last) if !full(last, taken) => last.push_back(entry),
            _ => {
                let mut chunk = VecDeque::with_capacity(CHUNK);
                chunk.push_back(entry);
                self.chunks.push_back(chunk);
            }
        }
        self.len += 1;
    }

    /// Takes the oldest entry, if `predicate` says so.
    pub fn pop_front_if(&mut self, predicate: impl FnOnce(&T) -> bool) -> Option<T> {
        let first = self.chunks.front_mut()?;
        let entry = first.pop_front_if(|entry| predicate(entry))?;
        self.taken += 1;
        self.len -= 1;
        if self.len == 0 {
            self.taken = 0; // its memory is used again
        } else if first.is_empty() {
            self.chunks.pop_front();
            self.taken = 0;
        }
        Some(entry)
    }

    fn place(&self, index: usize) -> (usize, usize) {
        let from_start = index + self.taken;
        match from_start / CHUNK {
            0 => (0, index),
            chunk => (chunk, from_start % CHUNK),
        }
    }

    fn get(&self, index: usize) -> Option<&T> {
        let (chunk, within) = self.place(index);
        self.chunks.get(chunk)?.get(within)
    }
}

/// Some entries in a row.
#[derive(Debug)]
pub struct Range<'a, T> {
    queue: &'a Queue<T>,
    begin: usize,
    end: usize,
}

impl<T> Clone for Range<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.begin == self.end {
            return None;
        }
        self.begin += 1;
        self.queue.get(self.begin - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.begin, Some(self.end - self.begin))
    }
}

impl<T> DoubleEndedIterator for Range<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.begin == self.end {
            return None;
        }
        self.end -= 1;
        self.queue.get(self.end)
    }
}

impl<T> ExactSizeIterator for Range<'_, T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_does_what_a_ring_buffer_does(steps in prop::collection::vec((0..3_u8, 0..700_usize), 1..40)) {
            let (mut queue, mut ring, mut next) = (Queue::default(), VecDeque::new(), 0);
            for (step, count) in steps {
                for _ in 0..count {
                    match step {
                        0 | 1 => {
                            queue.push_back(next);
                            ring.push_back(next);
                            next += 1;
                        }
                        _ => prop_assert_eq!(queue.pop_front_if(|_| true), ring.pop_front()),
                    }
                }
                prop_assert_eq!(queue.len(), ring.len());
                prop_assert_eq!(queue.front(), ring.front());
                prop_assert_eq!(queue.get_mut(count), ring.get_mut(count));
                let end = ring.len().min(count + 300);
                let begin = end.min(count);
                prop_assert!(queue.range(begin, end).eq(ring.range(begin..end)));
                prop_assert!(queue.range(begin, end).rev().eq(ring.range(begin..end).rev()));
                prop_assert!(queue.iter().eq(ring.iter()));
                prop_assert!(queue.chunks.len() <= queue.len() / CHUNK + 2, "what is empty is given back");
            }
            prop_assert_eq!(queue.pop_front_if(|_| false), None);
        }
    }
}
