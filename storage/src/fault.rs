//! Faults on demand: errors, stalls and lying flushes, around any device.
//!
//! A [`Plan`] is a list of rules that tests change while the device runs. Delays are not times but
//! orders: what is held stays until [`Plan::release`].

use crate::{Completion, Device, DeviceError, Op, OpId, OpKind};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use types::ByteRange;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error number, and the disk never sees it. A failed flush, or a failed
    /// write that had to be durable, poisons the device, as it does without a plan.
    Error(i32),
    /// A flush fails, and all that was not flushed is lost. On a disk in memory only.
    LoseUnflushed,
    /// It is held back, and begins on [`Plan::release`].
    Hold,
    /// It is done, and its answer is held back until [`Plan::release`].
    HoldAnswer,
}

/// Which requests a fault meets, and when.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    kind: Option<OpKind>,
    range: Option<ByteRange>,
    skip: u64,
    times: u64,
}

impl Rule {
    /// Every request, for ever.
    pub const fn new(fault: Fault) -> Self {
        Self { fault, kind: None, range: None, skip: 0, times: u64::MAX }
    }

    /// Only requests of this kind.
    #[must_use]
    pub const fn on(self, kind: OpKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// Only requests that touch these bytes. A flush touches none.
    #[must_use]
    pub const fn touching(self, range: ByteRange) -> Self {
        Self { range: Some(range), ..self }
    }

    /// Only after so many that it would meet have passed.
    #[must_use]
    pub const fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Only so many times.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Whether it meets this request; counts it.
    fn meets(&mut self, op: &Op) -> bool {
        let meets = self.times > 0
            && self.kind.is_none_or(|kind| kind == op.kind())
            && self.range.is_none_or(|range| range.overlaps(op.range()));
        if meets && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if meets {
            self.times -= 1;
        }
        meets
    }
}

#[derive(Debug, Default)]
struct Rules {
    rules: Vec<Rule>,
    hits: u64,
}

/// Rules, shared between a test and the devices that obey them.
#[derive(Clone, Debug)]
pub struct Plan {
    rules: Arc<Mutex<Rules>>,
    /// How often [`Plan::release`] was called.
    releases: Arc<watch::Sender<u64>>,
}

impl Plan {
    /// A plan in which nothing goes wrong yet.
    pub fn new() -> Self {
        Self { rules: Arc::default(), releases: Arc::new(watch::Sender::new(0)) }
    }

    /// Add a rule. Of several that meet a request, the one that was added first counts.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Nothing goes wrong from now on. What is held stays held.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Let go what is held at this moment.
    pub fn release(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }

    /// How many requests something has happened to.
    pub fn hits(&self) -> u64 {
        self.lock().hits
    }

    fn judge(&self, op: &Op) -> Option<Fault> {
        let mut rules = self.lock();
        let fault = rules.rules.iter_mut().find_map(|rule| rule.meets(op).then_some(rule.fault));
        rules.hits += u64::from(fault.is_some());
        fault
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("nothing panics with the plan's lock held")
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

/// A device that obeys a plan.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: Device,
    plan: Plan,
    releases: watch::Receiver<u64>,
    /// As far as these were acted upon.
    released: u64,
    held: Vec<(OpId, Op)>,
    /// Requests at the disk whose answer is to be held.
    to_hold: Vec<OpId>,
    held_answers: Vec<Completion>,
    arrived: Vec<Completion>,
    done: Vec<Completion>,
}

impl Faulty {
    pub(crate) fn new(inner: Device, plan: Plan) -> Self {
        let releases = plan.releases.subscribe();
        let released = *releases.borrow();
        Self {
            inner,
            plan,
            releases,
            released,
            held: Vec::new(),
            to_hold: Vec::new(),
            held_answers: Vec::new(),
            arrived: Vec::new(),
            done: Vec::new(),
        }
    }

    pub(crate) fn submit(&mut self, id: OpId, op: Op) {
        match self.plan.judge(&op) {
            None => self.inner.submit(id, op),
            Some(Fault::Hold) => self.held.push((id, op)),
            Some(Fault::HoldAnswer) => {
                self.to_hold.push(id);
                self.inner.submit(id, op);
            }
            Some(fault @ (Fault::Error(_) | Fault::LoseUnflushed)) => {
                let result = Err(self.fail(&op, fault));
                self.done.push(Completion { id, result });
            }
        }
    }

    pub(crate) fn kick(&mut self) {
        self.let_go();
        self.inner.kick();
    }

    pub(crate) fn try_completions(&mut self, out: &mut Vec<Completion>) {
        self.inner.try_completions(&mut self.arrived);
        for completion in self.arrived.drain(..) {
            match self.to_hold.iter().position(|id| *id == completion.id) {
                Some(index) => {
                    self.to_hold.swap_remove(index);
                    self.held_answers.push(completion);
                }
                None => self.done.push(completion),
            }
        }
        out.append(&mut self.done);
    }

    /// Waits until something may be done, or was released.
    pub(crate) async fn wait(&mut self, out: &mut Vec<Completion>) {
        // The device within may be one of these too, so its future has no size of its own.
        let inner = Box::pin(self.inner.completions(&mut self.arrived));
        tokio::select! {
            () = inner => {}
            // The plan, and so the sender, lives as long as this.
            _ = self.releases.changed() => {}
        }
        self.let_go();
        self.try_completions(out);
    }

    pub(crate) fn in_flight(&self) -> usize {
        let own = self.held.len() + self.held_answers.len() + self.arrived.len() + self.done.len();
        own + self.inner.in_flight()
    }

    pub(crate) fn run_now(&self, op: Op) -> Result<Bytes, DeviceError> {
        match self.plan.judge(&op) {
            Some(fault @ (Fault::Error(_) | Fault::LoseUnflushed)) => Err(self.fail(&op, fault)),
            // A plain call cannot be held: whoever releases it could not run.
            None | Some(Fault::Hold | Fault::HoldAnswer) => self.inner.run_unharmed(op),
        }
    }

    /// The error of a request, with what else a failure does.
    fn fail(&self, op: &Op, fault: Fault) -> DeviceError {
        let shared = self.inner.shared();
        if !op.kind().only_looks() && shared.is_poisoned() {
            return DeviceError::Poisoned;
        }
        let errno = match fault {
            Fault::Error(errno) => errno,
            _ => {
                let disk = self.inner.memory_disk();
                disk.expect("only a disk in memory can lose what was not flushed").lose_unflushed();
                rustix::io::Errno::IO.raw_os_error()
            }
        };
        let error = DeviceError::Io { kind: op.kind(), range: op.range(), errno };
        if *op == Op::Flush || (op.fua() && !error.is_no_space()) || fault == Fault::LoseUnflushed {
            shared.poison();
            return DeviceError::FlushFailed { errno };
        }
        error
    }

    /// What was held begins, or is answered, if it was released since the last look.
    fn let_go(&mut self) {
        let releases = *self.releases.borrow_and_update();
        if releases != self.released {
            self.released = releases;
            for (id, op) in self.held.drain(..) {
                self.inner.submit(id, op);
            }
            self.done.append(&mut self.held_answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;

    fn write(offset: u64, fua: bool) -> Op {
        Op::Write { range: ByteRange::new(offset, 4), data: Bytes::from_static(b"data"), fua }
    }

    fn results(device: &mut Device, ops: &[Op]) -> Vec<Result<Bytes, DeviceError>> {
        for (id, op) in ops.iter().enumerate() {
            device.submit(id as OpId, op.clone());
            device.kick();
        }
        let mut out = Vec::new();
        device.try_completions(&mut out);
        out.sort_by_key(|completion| completion.id);
        out.into_iter().map(|completion| completion.result).collect()
    }

    #[test]
    fn the_nth_of_a_kind_on_a_range_fails_once() {
        let plan = Plan::new();
        let rule = Rule::new(Fault::Error(EIO)).on(OpKind::Write);
        plan.add(rule.touching(ByteRange::new(100, 100)).after(1).times(1));
        let mut device = Device::memory(8192).with_faults(&plan);
        let range = ByteRange::new(150, 4);
        let ops = [
            write(0, false),
            Op::Read(range),
            write(150, false),
            write(150, false),
            write(98, false),
        ];
        let results = results(&mut device, &ops);
        let error = DeviceError::Io { kind: OpKind::Write, range, errno: EIO };
        let failed: Vec<_> = results.iter().map(|result| result.as_ref().err()).collect();
        assert_eq!(failed, [None, None, None, Some(&error), None]);
        assert_eq!(plan.hits(), 1);
        assert!(!device.is_poisoned(), "a failed write leaves the others as they were");
    }

    #[test]
    fn a_failed_flush_poisons_and_may_lose_what_was_written() {
        let disk = MemoryDisk::new(8192);
        let plan = Plan::new();
        plan.add(Rule::new(Fault::LoseUnflushed).on(OpKind::Flush).after(1));
        let mut device = Device::on_memory(&disk).with_faults(&plan);
        let ops =
            [write(0, false), Op::Flush, write(4096, false), Op::Flush, Op::Flush, write(0, false)];
        let results = results(&mut device, &ops);
        assert_eq!(results[..3], [const { Ok(Bytes::new()) }; 3]);
        assert_eq!(results[3], Err(DeviceError::FlushFailed { errno: EIO }));
        assert_eq!(results[4..], [Err(DeviceError::Poisoned), Err(DeviceError::Poisoned)]);
        assert_eq!(disk.peek(ByteRange::new(0, 4)), b"data");
        assert_eq!(disk.peek(ByteRange::new(4096, 4)), [0; 4]);
        assert!(device.is_poisoned());
    }

    #[test]
    fn a_durable_write_poisons_unless_there_is_no_space() {
        let plan = Plan::new();
        plan.add(Rule::new(Fault::Error(ENOSPC)).on(OpKind::Write).times(1));
        plan.add(Rule::new(Fault::Error(EIO)).on(OpKind::Write).times(1));
        let mut device = Device::memory(8192).with_faults(&plan);
        let results = results(&mut device, &[write(0, true), write(0, true), write(0, false)]);
        assert!(results[0].as_ref().is_err_and(DeviceError::is_no_space), "{results:?}");
        assert_eq!(results[1], Err(DeviceError::FlushFailed { errno: EIO }));
        assert_eq!(results[2], Err(DeviceError::Poisoned));
    }

    #[tokio::test]
    async fn what_is_held_comes_when_it_is_released() {
        let disk = MemoryDisk::new(8192);
        let plan = Plan::new();
        plan.add(Rule::new(Fault::Hold).times(1));
        plan.add(Rule::new(Fault::HoldAnswer).times(1));
        let mut device = Device::on_memory(&disk).with_faults(&plan);
        assert_eq!(results(&mut device, &[write(0, false), write(100, false)]), []);
        assert_eq!(disk.peek(ByteRange::new(0, 4)), [0; 4], "held back");
        assert_eq!(disk.peek(ByteRange::new(100, 4)), b"data", "done, but not answered");
        assert_eq!(device.in_flight(), 2);
        let mut out = Vec::new();
        let release = async {
            tokio::task::yield_now().await;
            plan.release();
        };
        let (closed, ()) = tokio::join!(device.close(), release);
        out.extend(closed.into_iter().map(|completion| completion.id));
        out.sort_unstable();
        assert_eq!(out, [0, 1]);
        assert_eq!(disk.peek(ByteRange::new(0, 4)), b"data");
    }
}
