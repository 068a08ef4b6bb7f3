//! Plain calls on threads of their own, for files whose calls may block.

use crate::file::BackingFile;
use crate::{Completion, Op, OpId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How many calls may block at once. More than a disk has use for brings nothing but memory.
pub(crate) const THREADS: usize = 8;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(OpId, Op)>,
    closed: bool,
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
    done: UnboundedReceiver<Completion>,
    in_flight: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When not one thread could be started.
    pub(crate) fn new(file: Arc<BackingFile>, count: usize) -> std::io::Result<Self> {
        let work = Arc::new(Work { queue: Mutex::default(), changed: Condvar::new() });
        let (send, done) = unbounded_channel();
        let mut threads = Vec::new();
        for _ in 0..count {
            let (file, work, send) = (file.clone(), work.clone(), send.clone());
            let thread = std::thread::Builder::new().name("repd-disk".into());
            match thread.spawn(move || serve(&file, &work, &send)) {
                Ok(thread) => threads.push(thread),
                Err(error) if threads.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, threads = threads.len(), "fewer disk threads than meant");
                    break;
                }
            }
        }
        Ok(Self { file, work, batch: Vec::new(), done, in_flight: 0, threads })
    }

    pub(crate) fn submit(&mut self, id: OpId, op: Op) {
        self.in_flight += 1;
        self.batch.push((id, op));
    }

    pub(crate) fn kick(&mut self) {
        if !self.batch.is_empty() {
            self.work.lock().waiting.extend(self.batch.drain(..));
            self.work.changed.notify_all();
        }
    }

    pub(crate) fn try_completions(&mut self, out: &mut Vec<Completion>) {
        while let Ok(completion) = self.done.try_recv() {
            self.in_flight -= 1;
            out.push(completion);
        }
    }

    /// Waits for one completion. Nothing is lost when the future is dropped.
    pub(crate) async fn completion(&mut self) -> Completion {
        let Some(completion) = self.done.recv().await else {
            panic!("the disk threads ended while the device is open");
        };
        self.in_flight -= 1;
        completion
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
        self.queue.lock().expect("nothing panics with the queue's lock held")
    }

    /// The next request; none when the device is being closed.
    fn next(&self) -> Option<(OpId, Op)> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(next) = queue.waiting.pop_front() {
                return Some(next);
            }
            queue = self.changed.wait(queue).expect("nothing panics with the queue's lock held");
        }
    }
}

fn serve(file: &BackingFile, work: &Work, done: &UnboundedSender<Completion>) {
    while let Some((id, op)) = work.next() {
        let result = file.run(op);
        if done.send(Completion { id, result }).is_err() {
            return;
        }
    }
}
