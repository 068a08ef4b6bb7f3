//! Plain calls on threads of their own, for files whose calls may block.

use crate::file::BackingFile;
use crate::{Completion, Op, OpId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How many calls may block at once. More than a disk has use for brings nothing but memory.
pub(crate) const THREADS: usize = 8;
/// A thread that has had nothing to do for so long ends: a daemon has hundreds of devices, and few are
/// busy at once.
const IDLE: Duration = Duration::from_secs(10);
const POISONED: &str = "nothing panics with the queue's lock held";

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(OpId, Op)>,
    closed: bool,
    /// Threads that take from it.
    threads: usize,
}

#[derive(Debug)]
struct Work {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A queue, the threads that empty it, and the channel of what they have done.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) file: Arc<BackingFile>,
    work: Arc<Work>,
    batch: Vec<(OpId, Op)>,
    done: UnboundedReceiver<Done>,
    in_flight: usize,
    threads: Vec<JoinHandle<()>>,
    /// The most threads that there may be.
    max: usize,
    send: UnboundedSender<Done>,
}

/// What a thread has done; none if it has panicked.
type Done = Option<Completion>;

impl Pool {
    /// Starts one thread; more are started when there is work for them, up to `max`.
    ///
    /// # Errors
    /// When not one thread could be started.
    pub(crate) fn new(file: Arc<BackingFile>, max: usize) -> std::io::Result<Self> {
        let work = Arc::new(Work { queue: Mutex::default(), changed: Condvar::new() });
        let (send, done) = unbounded_channel();
        let (batch, threads) = (Vec::new(), Vec::new());
        let mut pool = Self { file, work, batch, done, in_flight: 0, threads, max, send };
        pool.start_thread(IDLE)?;
        Ok(pool)
    }

    /// Starts a thread that ends when it has had nothing to do for so long.
    fn start_thread(&mut self, idle: Duration) -> std::io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        let (file, work, send) = (self.file.clone(), self.work.clone(), self.send.clone());
        let thread = std::thread::Builder::new().name("repd-disk".into());
        // Counted before it runs, so that it may end at once.
        self.work.lock().threads += 1;
        match thread.spawn(move || serve(&file, &work, send, idle)) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                self.work.lock().threads -= 1;
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn submit(&mut self, id: OpId, op: Op) {
        self.in_flight += 1;
        self.batch.push((id, op));
    }

    pub(crate) fn kick(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let threads = {
            let mut queue = self.work.lock();
            queue.waiting.extend(self.batch.drain(..));
            queue.threads
        };
        self.work.changed.notify_all();
        for _ in threads..self.in_flight.min(self.max) {
            if let Err(error) = self.start_thread(IDLE) {
                tracing::warn!(%error, threads, "fewer disk threads than meant");
                if self.work.lock().threads == 0 {
                    self.do_without();
                }
                return;
            }
        }
    }

    /// Does what waits on this thread, for want of another.
    fn do_without(&mut self) {
        let waiting = std::mem::take(&mut self.work.lock().waiting);
        for (id, op) in waiting {
            let done = Completion { id, result: self.file.run(op) };
            self.send.send(Some(done)).expect("this pool has the other end");
        }
    }

    pub(crate) fn try_completions(&mut self, out: &mut Vec<Completion>) {
        while let Ok(done) = self.done.try_recv() {
            out.push(self.taken(done));
        }
    }

    /// Waits for one completion. Nothing is lost when the future is dropped.
    pub(crate) async fn completion(&mut self) -> Completion {
        let done = self.done.recv().await.expect("this pool has a sender");
        self.taken(done)
    }

    fn taken(&mut self, done: Done) -> Completion {
        self.in_flight -= 1;
        done.expect("a disk thread panicked while the device is open")
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Drop for Pool {
    /// What is being done is waited for; what has not begun is dropped.
    fn drop(&mut self) {
        {
            let mut queue = self.work.lock();
            queue.closed = true;
            queue.waiting.clear();
        }
        self.work.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a disk thread has panicked");
            }
        }
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect(POISONED)
    }

    /// The next request; none when the device is being closed, or when none has come for `idle`.
    fn next(&self, idle: Duration) -> Option<(OpId, Op)> {
        let mut queue = self.lock();
        let mut is_over = false;
        loop {
            if let Some(next) = queue.waiting.pop_front().filter(|_| !queue.closed) {
                return Some(next);
            }
            if queue.closed || is_over {
                queue.threads -= 1;
                return None;
            }
            let waited = self.changed.wait_timeout(queue, idle).expect(POISONED);
            queue = waited.0;
            is_over = waited.1.timed_out();
        }
    }
}

fn serve(file: &BackingFile, work: &Work, send: UnboundedSender<Done>, idle: Duration) {
    let panics = TellsOfPanic(send);
    while let Some((id, op)) = work.next(idle) {
        let result = file.run(op);
        if panics.0.send(Some(Completion { id, result })).is_err() {
            return;
        }
    }
}

/// Whoever waits for a request must not wait for ever.
struct TellsOfPanic(UnboundedSender<Done>);

impl Drop for TellsOfPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody waits if the device is being closed.
            let _ = self.0.send(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenOptions, open};
    use types::ByteRange;

    const BLOCK: u64 = 4096;

    async fn pool(directory: &std::path::Path) -> Pool {
        let path = directory.join("disk");
        std::fs::File::create(&path).unwrap().set_len(64 * BLOCK).unwrap();
        let file = open::open(&path, &OpenOptions::default()).await.unwrap();
        Pool::new(Arc::new(file), THREADS).unwrap()
    }

    fn threads(pool: &Pool) -> usize {
        pool.work.lock().threads
    }

    #[tokio::test]
    async fn there_are_as_many_threads_as_there_was_work_for_up_to_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let mut pool = pool(directory.path()).await;
        assert_eq!(threads(&pool), 1);
        for (at_once, expected) in [(1, 1), (3, 3), (40, THREADS)] {
            for id in 0..at_once {
                pool.submit(id, Op::Read(ByteRange::new(id * BLOCK, BLOCK)));
            }
            pool.kick();
            assert_eq!(threads(&pool), expected);
            for _ in 0..at_once {
                assert_eq!(pool.completion().await.result.unwrap().len() as u64, BLOCK);
            }
        }
    }

    #[tokio::test]
    async fn a_thread_without_work_ends_and_another_begins_when_there_is_some() {
        let directory = tempfile::tempdir().unwrap();
        let mut pool = pool(directory.path()).await;
        pool.start_thread(Duration::ZERO).unwrap();
        pool.threads.pop().unwrap().join().unwrap();
        assert_eq!(threads(&pool), 1);
        // As if the first had had nothing to do for long enough.
        pool.work.lock().closed = true;
        pool.work.changed.notify_all();
        pool.threads.pop().unwrap().join().unwrap();
        pool.work.lock().closed = false;
        assert_eq!(threads(&pool), 0);
        pool.submit(7, Op::Flush);
        pool.kick();
        assert_eq!(pool.completion().await.id, 7);
    }

    #[tokio::test]
    async fn without_a_thread_it_is_done_by_the_caller() {
        let directory = tempfile::tempdir().unwrap();
        let mut pool = pool(directory.path()).await;
        pool.in_flight = 1;
        pool.work.lock().waiting.push_back((9, Op::Read(ByteRange::new(0, BLOCK))));
        pool.do_without();
        assert_eq!(pool.completion().await.result.unwrap().len() as u64, BLOCK);
    }
}
