//! Buffers that every device takes as they are, and the pool that keeps them for the next request.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

/// The alignment of every buffer in memory, and the unit of its capacity: a page, which is as much
/// as any device has been seen to ask for.
pub const BUFFER_ALIGN: usize = 4096;

/// How much memory a pool keeps for reuse unless told otherwise: two of the largest requests.
const KEEP_BYTES: usize = 64 << 20;

/// A page of memory, for its size and alignment.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page([u8; BUFFER_ALIGN]);

const _: () = assert!(size_of::<Page>() == BUFFER_ALIGN && align_of::<Page>() == BUFFER_ALIGN);

/// Memory that is not in use, by capacity in pages.
struct Free {
    by_pages: BTreeMap<usize, Vec<Box<[Page]>>>,
    bytes: usize,
    keep_bytes: usize,
}

impl Free {
    /// The longest buffer, if it is longer than that. Of those who share a stock, few ask for long
    /// ones, and all for short ones: so these are not kept out by a long one that nobody wants.
    fn take_longer_than(&mut self, pages: usize) -> Option<Box<[Page]>> {
        let mut longest = self.by_pages.last_entry().filter(|entry| *entry.key() > pages)?;
        let taken = longest.get_mut().pop();
        if longest.get().is_empty() {
            longest.remove();
        }
        self.bytes -= taken.as_ref().map_or(0, |taken| taken.len() * BUFFER_ALIGN);
        taken
    }
}

/// Where aligned buffers come from and where they return to. Clones share one stock.
///
/// The pool bounds what it *keeps*; how much is handed out is bounded by the daemon's budget of
/// bytes, which counts requests and not buffers.
#[derive(Clone)]
pub struct BufferPool {
    free: Arc<Mutex<Free>>,
}

impl BufferPool {
    /// A pool that keeps at most so many bytes that are not in use.
    pub fn new(keep_bytes: usize) -> Self {
        let free = Free { by_pages: BTreeMap::new(), bytes: 0, keep_bytes };
        Self { free: Arc::new(Mutex::new(free)) }
    }

    /// A buffer of `len` bytes. What is in it is unspecified (an earlier request, perhaps): fill
    /// all of it before any of it leaves this process.
    pub fn alloc(&self, len: usize) -> AlignedBuf {
        let pages = size_class(len);
        let kept = {
            let mut free = self.lock();
            let kept = free.by_pages.get_mut(&pages).and_then(Vec::pop);
            if kept.is_some() {
                free.bytes -= pages * BUFFER_ALIGN;
            }
            kept
        };
        let memory = kept.unwrap_or_else(|| vec![Page([0; BUFFER_ALIGN]); pages].into());
        AlignedBuf { memory, len, pool: self.clone() }
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(&self, len: usize) -> AlignedBuf {
        let mut buf = self.alloc(len);
        buf.fill(0);
        buf
    }

    /// A copy of `data`, aligned.
    pub fn copy_of(&self, data: &[u8]) -> AlignedBuf {
        let mut buf = self.alloc(data.len());
        buf.copy_from_slice(data);
        buf
    }

    /// How many bytes it keeps for reuse at the moment.
    pub fn kept_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn give_back(&self, memory: Box<[Page]>) {
        let bytes = memory.len() * BUFFER_ALIGN;
        if bytes == 0 {
            return;
        }
        let mut free = self.lock();
        // Freed with the lock given back.
        let mut dropped = Vec::new();
        while free.bytes + bytes > free.keep_bytes {
            match free.take_longer_than(memory.len()) {
                Some(longer) => dropped.push(longer),
                None => {
                    dropped.push(memory);
                    return drop(free);
                }
            }
        }
        free.bytes += bytes;
        free.by_pages.entry(memory.len()).or_default().push(memory);
        drop(free);
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().expect("nothing panics with the pool's lock held")
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new(KEEP_BYTES)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("kept_bytes", &self.kept_bytes()).finish()
    }
}

/// How many pages a buffer of `len` bytes gets. The classes are a quarter of a power of two apart,
/// so that buffers of about the same length serve each other, at a loss of a fifth at most.
fn size_class(len: usize) -> usize {
    let pages = len.div_ceil(BUFFER_ALIGN);
    if pages <= 4 {
        return pages;
    }
    let step = pages.next_power_of_two() / 8;
    pages.next_multiple_of(step)
}

/// A buffer that begins on a page boundary. It returns to its pool when it is dropped.
pub struct AlignedBuf {
    memory: Box<[Page]>,
    len: usize,
    pool: BufferPool,
}

impl AlignedBuf {
    /// How long it could be: a multiple of [`BUFFER_ALIGN`], at least its length.
    pub fn capacity(&self) -> usize {
        self.memory.len() * BUFFER_ALIGN
    }

    /// Forget all bytes after the first `len`; nothing happens if it is no longer than that.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Share it from now on. The memory returns to the pool when the last clone is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let pages: *const Page = self.memory.as_ptr();
        // SAFETY: `memory` is initialised, `Page` is exactly its bytes without padding, and `len` is
        // at most the capacity (`alloc` rounds up, `truncate` only shortens). The borrow is of `self`.
        unsafe { std::slice::from_raw_parts(pages.cast::<u8>(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let pages: *mut Page = self.memory.as_mut_ptr();
        // SAFETY: as in `deref`; every bit pattern is a valid `Page`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(pages.cast::<u8>(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.memory));
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} of {} bytes)", self.len, self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_is_aligned_and_has_room() {
        let pool = BufferPool::default();
        for len in [0, 1, 511, 4096, 4097, 20_000, 1 << 20, (32 << 20) + 1] {
            let buf = pool.zeroed(len);
            assert_eq!(buf.len(), len);
            assert!(buf.capacity() >= len && buf.capacity() % BUFFER_ALIGN == 0);
            assert!(buf.capacity() <= len + len / 4 + BUFFER_ALIGN, "{len}: {buf:?}");
            assert_eq!(buf.as_ptr() as usize % BUFFER_ALIGN, 0);
        }
    }

    #[test]
    fn memory_returns_when_the_last_clone_is_dropped() {
        let pool = BufferPool::new(1 << 20);
        let mut buf = pool.zeroed(10_000);
        buf[9_999] = 7;
        let address = buf.as_ptr();
        let bytes = buf.into_bytes();
        assert_eq!(bytes.as_ptr(), address, "sharing copies nothing");
        let tail = bytes.slice(9_990..);
        drop(bytes);
        assert_eq!((pool.kept_bytes(), tail[9]), (0, 7));
        drop(tail);
        assert_eq!(pool.kept_bytes(), 12_288);
        assert_eq!(pool.alloc(9_000).as_ptr(), address, "the same memory serves the next");
    }

    #[test]
    fn the_stock_is_bounded() {
        let pool = BufferPool::new(16_384);
        let bufs: Vec<_> = (0..8).map(|_| pool.alloc(4096)).collect();
        drop(bufs);
        assert_eq!(pool.kept_bytes(), 16_384);
        drop(pool.alloc(1 << 20));
        assert_eq!(pool.kept_bytes(), 16_384);
    }

    #[test]
    fn long_buffers_that_nobody_wants_do_not_keep_short_ones_out() {
        let pool = BufferPool::new(1 << 20);
        drop(pool.alloc(1 << 20));
        assert_eq!(pool.kept_bytes(), 1 << 20);
        let short = pool.alloc(4096);
        let address = short.as_ptr();
        drop(short);
        assert_eq!(pool.kept_bytes(), 4096);
        assert_eq!(pool.alloc(4096).as_ptr(), address);
        drop([pool.alloc(4096), pool.alloc(768 << 10)]);
        assert_eq!(pool.kept_bytes(), 772 << 10);
        drop(pool.alloc(2 << 20));
        assert_eq!(pool.kept_bytes(), 772 << 10, "what is longer than all is never kept");
        drop([pool.alloc(4096), pool.alloc(512 << 10)]);
        assert_eq!(pool.kept_bytes(), 516 << 10, "the longest makes room");
    }

    #[test]
    fn truncate_only_shortens() {
        let mut buf = BufferPool::default().copy_of(b"abcdef");
        buf.truncate(3);
        buf.truncate(5);
        assert_eq!(&*buf, b"abc");
    }
}
