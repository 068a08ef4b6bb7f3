//! Requests through an io_uring of the device's own, on the thread that owns it.
//!
//! ```text
//! submit → ready ──kick──▶ in the kernel ──reap──▶ next step? → ready
//!             ▲  flush → waits for the one that runs      └ none → done → completions
//! ```
//!
//! One `fdatasync` runs at a time, and answers all flushes that waited for it to begin: the kernel
//! tells an error of the write-back to one of two that run at once, and the other would lie.
//!
//! The ring has no call for a map: those are done by a thread, which is started for the first.
//!
//! The descriptor of the file is not registered with the ring: a registered one keeps the file (and
//! so its lock) for tens of milliseconds after the process was killed.

use crate::file::BackingFile;
use crate::job::{Job, Step};
use crate::pool::{Pool, THREADS};
use crate::{Completion, Op, OpId};
use io_uring::squeue::Entry;
use io_uring::{IoUring, Probe, opcode, types::Fd, types::FsyncFlags};
use rustix::io::{Errno, ReadWriteFlags};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::ThreadId;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Submissions in one system call. The kernel makes room for twice as many completions, which is
/// how many steps may be in the kernel at once.
const ENTRIES: u32 = 256;

/// How many threads of the kernel's may do what would block, of regular files and of all else; as many
/// as a [`Pool`] has. Unless told, the kernel takes four for each processor, and all that it may.
const WORKERS: [u32; 2] = [THREADS as u32; 2];

/// The `user_data` of the one `fdatasync`; every other is an index of the slab.
const FLUSH: u64 = u64::MAX;

#[derive(Debug)]
struct Flight {
    id: OpId,
    job: Job,
}

/// Flushes, as indices of the slab.
#[derive(Debug, Default)]
struct Flushes {
    running: Vec<usize>,
    waiting: Vec<usize>,
}

/// A ring and the requests in it.
pub(crate) struct Uring {
    /// Before the file: a ring is closed first, then what it worked on.
    ring: AsyncFd<IoUring>,
    pub(crate) file: Arc<BackingFile>,
    owner: ThreadId,
    /// Every request that is not answered, with the buffers that the kernel writes to and reads.
    flights: Slab<Flight>,
    ready: VecDeque<usize>,
    flushes: Flushes,
    /// Where maps are made, once one was asked for.
    mapper: Option<Pool>,
    /// Entries given to the ring whose completion was not seen.
    issued: usize,
    done: Vec<Completion>,
    reaped: Vec<(u64, i32)>,
}

impl Uring {
    /// Sets a ring up on this thread, in this thread's runtime.
    ///
    /// # Errors
    /// When the kernel has none or forbids it. The file is given back for another backend.
    pub(crate) fn new(file: BackingFile) -> Result<Self, (BackingFile, io::Error)> {
        let ring = match set_up().and_then(register) {
            Ok(ring) => ring,
            Err(error) => return Err((file, error)),
        };
        Ok(Self {
            ring,
            file: Arc::new(file),
            owner: std::thread::current().id(),
            flights: Slab::new(),
            ready: VecDeque::new(),
            flushes: Flushes::default(),
            mapper: None,
            issued: 0,
            done: Vec::new(),
            reaped: Vec::new(),
        })
    }

    pub(crate) fn submit(&mut self, id: OpId, op: Op) {
        if matches!(op, Op::Map(_)) {
            return self.submit_map(id, op);
        }
        let job = Job::new(op, &self.file.shared, &self.file.pool);
        let slot = self.flights.insert(Flight { id, job });
        self.ready.push_back(slot);
    }

    /// To look through a long file may take a while, and one thread is enough for that.
    fn submit_map(&mut self, id: OpId, op: Op) {
        if self.mapper.is_none() {
            match Pool::new(self.file.clone(), 1) {
                Ok(mapper) => self.mapper = Some(mapper),
                Err(error) => tracing::warn!(%error, "no thread for maps; the ring's makes them"),
            }
        }
        match &mut self.mapper {
            Some(mapper) => mapper.submit(id, op),
            None => self.done.push(Completion { id, result: self.file.run(op) }),
        }
    }

    /// Give the kernel what is ready, as far as there is room.
    pub(crate) fn kick(&mut self) {
        let owner = self.owner;
        assert_eq!(std::thread::current().id(), owner, "a ring is used by the thread that made it");
        self.mapper.iter_mut().for_each(Pool::kick);
        loop {
            self.fill();
            if self.ring.get_mut().submission().is_empty() {
                return;
            }
            match self.ring.get_ref().submit() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_congestion(&error) => {
                    tracing::debug!(%error, "the kernel takes no submissions now");
                    return;
                }
                Err(error) => panic!("io_uring_enter refused a valid submission: {error}"),
            }
        }
    }

    /// Whether something waits that the next [`Uring::kick`] could give to the kernel.
    fn has_unsubmitted(&mut self) -> bool {
        !self.ring.get_mut().submission().is_empty()
    }

    pub(crate) fn try_completions(&mut self, out: &mut Vec<Completion>) {
        if self.issued > 0 {
            self.reap();
            if !self.ready.is_empty() || !self.flushes.waiting.is_empty() {
                self.kick();
            }
        }
        self.mapper.iter_mut().for_each(|mapper| mapper.try_completions(&mut self.done));
        out.append(&mut self.done);
    }

    /// Waits until the ring or a map has something. Nothing is lost when the future is dropped.
    pub(crate) async fn wait(&mut self) {
        if self.has_unsubmitted() {
            // The kernel was short of memory: let others run, then try again.
            return tokio::task::yield_now().await;
        }
        tokio::select! {
            ready = self.ring.readable() => match ready {
                // Cleared before the caller looks, so what comes after the look sets it again.
                Ok(mut guard) => guard.clear_ready(),
                Err(error) => panic!("the runtime of the device has ended: {error}"),
            },
            completion = next_map(&mut self.mapper) => self.done.push(completion),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        let maps = self.mapper.as_ref().map_or(0, Pool::in_flight);
        self.flights.len() + self.done.len() + maps
    }

    pub(crate) fn is_flushing(&self) -> bool {
        !self.flushes.running.is_empty()
    }

    /// Put entries into the submission queue until it is full or nothing is left to put.
    fn fill(&mut self) {
        let room = self.ring.get_ref().params().cq_entries() as usize;
        while self.issued < room && !self.ring.get_mut().submission().is_full() {
            if self.flushes.running.is_empty() && !self.flushes.waiting.is_empty() {
                self.begin_flush();
                continue;
            }
            let Some(slot) = self.ready.pop_front() else { return };
            let fd = Fd(self.file.file.as_raw_fd());
            let entry = match self.flights[slot].job.step() {
                Step::Done(_) => {
                    self.settle(slot);
                    continue;
                }
                Step::Flush => {
                    self.flushes.waiting.push(slot);
                    continue;
                }
                step => entry_of(step, fd).user_data(slot as u64),
            };
            self.push(&entry);
        }
    }

    fn begin_flush(&mut self) {
        let group = std::mem::take(&mut self.flushes.waiting);
        if self.file.shared.is_poisoned() {
            for slot in group {
                // The outcome is judged as a refusal, since the device is poisoned.
                self.flights[slot].job.answer(Ok(0));
                self.settle(slot);
            }
            return;
        }
        self.flushes.running = group;
        let fd = Fd(self.file.file.as_raw_fd());
        let entry = opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build().user_data(FLUSH);
        self.push(&entry);
    }

    fn push(&mut self, entry: &Entry) {
        // SAFETY: the entry names the descriptor of `self.file`, and memory of a job in
        // `self.flights` (or none). Both stay until the completion was seen: a flight is removed
        // only by `settle`, which runs for a job without a step in the kernel; `drop` waits for all
        // that is issued, and leaks the flights if it cannot. The memory does not move with the
        // job, as it is behind a box or `Bytes`, and nobody touches it, because a job that waits
        // for its answer is not asked for its step.
        let pushed = unsafe { self.ring.get_mut().submission().push(entry) };
        pushed.expect("there is room, the caller has looked");
        self.issued += 1;
    }

    /// Take all completions out of the ring and move their requests on.
    fn reap(&mut self) {
        if self.ring.get_mut().submission().taskrun() {
            // Completions wait for this thread to enter the kernel. An error is met by `kick`.
            let _ = self.ring.get_ref().submit();
        }
        let mut reaped = std::mem::take(&mut self.reaped);
        let completions = self.ring.get_mut().completion();
        reaped.extend(completions.map(|entry| (entry.user_data(), entry.result())));
        self.issued -= reaped.len();
        for (user_data, result) in reaped.drain(..) {
            let outcome = usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
            if user_data == FLUSH {
                for slot in std::mem::take(&mut self.flushes.running) {
                    self.moved(slot, outcome);
                }
            } else {
                self.moved(user_data as usize, outcome);
            }
        }
        self.reaped = reaped;
    }

    fn moved(&mut self, slot: usize, outcome: Result<usize, Errno>) {
        let job = &mut self.flights[slot].job;
        job.answer(outcome);
        match job.step() {
            Step::Done(_) => self.settle(slot),
            _ => self.ready.push_back(slot),
        }
    }

    /// Answer a request that is done.
    fn settle(&mut self, slot: usize) {
        let Flight { id, mut job } = self.flights.remove(slot);
        let Step::Done(result) = job.step() else {
            unreachable!("a request is settled when it is done");
        };
        self.done.push(Completion { id, result });
    }
}

impl Drop for Uring {
    /// Waits for all that is in the kernel: it writes into memory that is freed after this.
    fn drop(&mut self) {
        while self.issued > 0 {
            match self.ring.get_ref().submit_and_wait(1) {
                Ok(_) => self.issued -= self.ring.get_mut().completion().count(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_congestion(&error) => {
                    self.issued -= self.ring.get_mut().completion().count();
                }
                Err(error) => {
                    tracing::error!(%error, issued = self.issued, "cannot wait for the ring");
                    std::mem::forget(std::mem::take(&mut self.flights));
                    return;
                }
            }
        }
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("file", &self.file.path)
            .field("issued", &self.issued)
            .finish()
    }
}

/// The next map that is done; for ever if none was asked for.
async fn next_map(mapper: &mut Option<Pool>) -> Completion {
    match mapper {
        Some(mapper) => mapper.completion().await,
        None => std::future::pending().await,
    }
}

/// What the kernel answers when it has no room or no memory at the moment.
fn is_congestion(error: &io::Error) -> bool {
    [Errno::AGAIN, Errno::BUSY]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

fn entry_of(step: Step<'_>, fd: Fd) -> Entry {
    match step {
        Step::Read { into, at } => {
            opcode::Read::new(fd, into.as_mut_ptr(), entry_len(into)).offset(at).build()
        }
        Step::Write { from, at, dsync } => {
            let flags = if dsync { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
            opcode::Write::new(fd, from.as_ptr(), entry_len(from))
                .offset(at)
                .rw_flags(flags.bits().cast_signed())
                .build()
        }
        Step::Zero { range, way } => opcode::Fallocate::new(fd, range.len)
            .offset(range.offset)
            .mode(way.flags().bits().cast_signed())
            .build(),
        Step::Flush | Step::Done(_) => unreachable!("the caller deals with these"),
    }
}

fn entry_len(data: &[u8]) -> u32 {
    u32::try_from(data.len()).expect("a request is checked to be no longer than 32 MiB")
}

/// Have this thread's runtime tell when the ring has completions.
fn register(ring: IoUring) -> io::Result<AsyncFd<IoUring>> {
    // SAFETY: the descriptor is owned by the ring, which closes it when it is dropped and not
    // before; the `AsyncFd` owns the ring, and nothing here takes it out.
    Ok(unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?)
}

/// A ring for one thread, with the opcodes that are needed.
fn set_up() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().dontfork();
    let ring = match builder.build(ENTRIES) {
        // Linux before 6.0 does not know one of these; they only save time.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::new(ENTRIES)?,
        other => other?,
    };
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed =
        [opcode::Read::CODE, opcode::Write::CODE, opcode::Fsync::CODE, opcode::Fallocate::CODE];
    if !needed.into_iter().all(|code| probe.is_supported(code)) {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    let mut workers = WORKERS;
    if let Err(error) = ring.submitter().register_iowq_max_workers(&mut workers) {
        // Linux before 5.15 has no such bound.
        tracing::debug!(%error, "the kernel chooses how many threads block");
    }
    Ok(ring)
}
