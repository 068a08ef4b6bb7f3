//! Budgets of memory for all clients of a daemon.
//!
//! Many clients with deep queues could otherwise fill the memory with writes that wait for a slow
//! disk, or with answers that nobody takes. While a budget is used up no further request is read from
//! any client; what is in flight goes on, and frees it. What a client writes and what it is answered
//! are counted apart, so that those who do not take their answers are in nobody's way who writes; and
//! so are the requests themselves.

use bytes::Bytes;
use nbd_server::PayloadBuffers;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use storage::{AlignedBuf, BufferPool};

/// How many bytes a daemon holds of what clients write, and as much again of what they are answered,
/// before it stops reading requests: so much that two of the longest writes go on at once. Each may be
/// overdrawn by one request of each resource, of at most 64 MiB, mostly of 32, and what the peer's
/// clients write comes on top, bounded there in the same way: three times 65 MiB. With that, and what
/// the stock of buffers keeps, a daemon of one busy resource stays below 256 MiB.
const LIMIT_BYTES: usize = 33 << 20;
/// How much memory a daemon keeps for the next requests, of whichever resource: one of the longest.
const POOL_BYTES: usize = 32 << 20;
/// How many bytes a daemon holds of requests, and of answers without data, besides.
const REQUESTS_BYTES: usize = 8 << 20;

/// The budgets of a daemon.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    /// For the data of writes.
    pub(crate) payloads: Arc<Budget>,
    /// For the data of reads, until it is sent.
    pub(crate) answers: Arc<Budget>,
    /// For requests, until their answers are sent.
    pub(crate) requests: Arc<Budget>,
    /// Where the buffers of all resources come from: what one has no use for serves the others.
    pub(crate) pool: BufferPool,
}

impl Budgets {
    pub(crate) fn new() -> Self {
        Self {
            payloads: Budget::new(LIMIT_BYTES),
            answers: Budget::new(LIMIT_BYTES),
            requests: Budget::new(REQUESTS_BYTES),
            pool: BufferPool::new(POOL_BYTES),
        }
    }
}

/// Counts the bytes in use, over all resources.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Whoever waits for room. Empty nearly always.
    waiting: Mutex<Vec<Waker>>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), waiting: Mutex::new(Vec::new()) })
    }

    /// Ready when the budget is not used up. It may then be overdrawn by one request: otherwise
    /// one that is larger than what is left would starve behind many small ones.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.used.load(Ordering::Acquire) < self.limit {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        // Looked at again with the lock held: a share that was given back since the first look
        // has found nobody to wake.
        if self.used.load(Ordering::Acquire) < self.limit {
            waiting.retain(|waker| !waker.will_wake(cx.waker()));
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Whether somebody waits for room.
    pub(crate) fn is_contended(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// Takes `bytes` of it until the share is dropped.
    pub(crate) fn share(self: &Arc<Self>, bytes: usize) -> Share {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Share { budget: self.clone(), bytes }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().expect("nothing panics with the lock held")
    }
}

/// A part of the budget that is in use.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let before = self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        let limit = self.budget.limit;
        if before >= limit && before - self.bytes < limit {
            for waker in self.budget.waiting().drain(..) {
                waker.wake();
            }
        }
    }
}

/// Aligned buffers, counted against the budget until the last user of the payload drops it.
#[derive(Clone, Debug)]
pub(crate) struct Payloads {
    pub(crate) pool: BufferPool,
    pub(crate) budget: Arc<Budget>,
}

#[derive(Debug)]
pub(crate) struct Payload {
    buf: AlignedBuf,
    _share: Share,
}

impl AsMut<[u8]> for Payload {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buf
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.buf
    }
}

impl PayloadBuffers for Payloads {
    type Buf = Payload;

    fn poll_ready(&self, cx: &mut Context<'_>, _len: usize) -> Poll<()> {
        self.budget.poll_room(cx)
    }

    fn take(&self, len: usize) -> Payload {
        Payload { buf: self.pool.alloc(len), _share: self.budget.share(len) }
    }

    fn finish(&self, buf: Payload) -> Bytes {
        Bytes::from_owner(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_when_there_is_room_and_not_before() {
        let budget = Budget::new(100);
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = flag.clone().into();
        let mut cx = Context::from_waker(&waker);
        let (small, large) = (budget.share(10), budget.share(110));
        assert!(budget.poll_room(&mut cx).is_pending());
        drop(small);
        assert!(!flag.0.load(Ordering::SeqCst), "110 of 100 are still in use");
        drop(large);
        assert!(flag.0.load(Ordering::SeqCst));
        assert!(budget.poll_room(&mut cx).is_ready());
    }

    #[test]
    fn what_one_resource_gives_back_serves_the_others_and_what_is_kept_is_bounded() {
        let budgets = Budgets::new();
        let resources: Vec<_> = (0..200).map(|_| budgets.clone()).collect();
        let address = resources[0].pool.alloc(1 << 20).as_ptr();
        assert_eq!(resources[1].pool.alloc(1 << 20).as_ptr(), address);
        let busy: Vec<_> = resources.iter().map(|one| one.pool.alloc(1 << 20)).collect();
        drop(busy);
        assert!(budgets.pool.kept_bytes() <= POOL_BYTES, "{}", budgets.pool.kept_bytes());
    }

    #[test]
    fn a_payload_counts_until_its_last_clone_is_gone() {
        let payloads = Payloads { pool: BufferPool::default(), budget: Budget::new(10) };
        let mut buf = payloads.take(8192);
        buf.as_mut()[8191] = 7;
        let bytes = payloads.finish(buf);
        assert_eq!(bytes.as_ptr() as usize % 4096, 0);
        let tail = bytes.slice(8191..);
        drop(bytes);
        assert_eq!((tail[0], payloads.budget.used.load(Ordering::SeqCst)), (7, 8192));
        drop(tail);
        assert_eq!(payloads.budget.used.load(Ordering::SeqCst), 0);
    }
}
