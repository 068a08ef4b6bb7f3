//! The local disk: operations in their turn, their ends, and the loss of the disk.

use super::Engine;
use super::csums::ResyncRead;
use super::link::Phase;
use super::order::UnitId;
use super::read::Reader;
use super::volume::{Minted, Mode, Payload, Work, has_data};
use crate::effect::{DiskOp, Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use crate::input::{DiskError, DiskOpId, RequestId};
use crate::options::OnIoError;
use crate::wire::{Content, Message};
use bytes::Bytes;
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, ByteRange, DiskState};

/// What a disk operation under way is for.
#[derive(Debug)]
pub(super) enum DiskUse {
    /// A part of a place in the local order.
    Unit(UnitId),
    /// A read outside the order.
    Read(Reader, ByteRange),
    /// Where a client's range has data.
    Map(RequestId, ByteRange),
    /// A read, or a map, of a copy that turned out to be the older one meanwhile.
    Stale(Reader),
    /// The one flush of the volume.
    Flush,
    /// It took too long, and was given up with its disk.
    Abandoned,
}

impl Engine {
    pub(super) fn disk_op(&mut self, v: usize, what: DiskUse, op: DiskOp, out: &mut Effects) {
        let id = DiskOpId(self.next_op);
        self.next_op += 1;
        self.disk_ops.insert(id, (v, what));
        self.started.insert(id.0, (v, self.now));
        let volume = self.volumes[v].id;
        out.push(Effect::Disk { volume, id, op });
    }

    /// A place in the local order has come up.
    pub(super) fn start_unit(&mut self, v: usize, unit: UnitId, out: &mut Effects) {
        if let Work::Mirror(seq) = self.volumes[v].work[&unit].work
            && !self.mark_first(v, seq, out)
        {
            return self.volumes[v].unmarked.push(unit);
        }
        let ops = match &self.volumes[v].work[&unit].work {
            Work::Local(id) => {
                let write = &self.volumes[v].local[id];
                let rest = [write.range];
                write_ops(&rest, &write.payload, write.range, write.fua)
            }
            Work::Mirror(seq) => {
                let (rest, payload, range, fua) = self.mirror_ops(v, *seq);
                write_ops(&rest, &payload, range, fua)
            }
            Work::ResyncRead(ResyncRead { range, .. }) | Work::ResyncOwn(range, ..) => {
                vec![DiskOp::Read(*range)]
            }
            Work::VerifyRead(read) => vec![DiskOp::Read(read.range())],
            Work::ResyncWrite(_, Content::Same) => Vec::new(),
            Work::ResyncWrite(range, Content::Zeros) => {
                write_ops(&[*range], &Payload::Zero { unmap: true }, *range, false)
            }
            Work::ResyncWrite(range, Content::Data(data)) => {
                write_ops(&[*range], &Payload::Data(data.clone()), *range, false)
            }
        };
        // A disk that failed takes nothing more, and what has nothing left to write is done.
        let gone = !self.volumes[v].has_disk();
        if ops.is_empty() || gone {
            return self.finish_unit(v, unit, gone, out);
        }
        self.volumes[v].work.get_mut(&unit).expect("just seen").ops = ops.into();
        self.next_unit_op(v, unit, out);
    }

    /// The operations of a unit run one after another: two parts of one write may share a granule,
    /// which the disk reads and writes around them.
    fn next_unit_op(&mut self, v: usize, unit: UnitId, out: &mut Effects) {
        let work = self.volumes[v].work.get_mut(&unit).expect("a unit is not finished");
        let op = work.ops.pop_front().expect("a unit has an operation left");
        if let DiskOp::Write { range, .. } | DiskOp::Zero { range, .. } = &op {
            self.volumes[v].counters.written_bytes += range.len;
        }
        self.disk_op(v, DiskUse::Unit(unit), op, out);
    }

    pub(super) fn on_disk_done(
        &mut self,
        id: DiskOpId,
        result: Result<Bytes, DiskError>,
        out: &mut Effects,
    ) {
        let Some((v, what)) = self.disk_ops.remove(&id) else { return };
        self.started.remove(&id.0);
        self.touch(v);
        self.pump_leaving(v, out);
        match what {
            DiskUse::Unit(unit) => self.on_unit_op(v, unit, result, out),
            DiskUse::Read(reader, range) => {
                match &result {
                    Ok(data) => assert_eq!(data.len() as u64, range.len, "a read gives it all"),
                    Err(error) => self.on_read_error(v, range, error, out),
                }
                self.on_read(v, reader, range, result, out);
            }
            DiskUse::Stale(reader) => self.redo(v, reader, out),
            DiskUse::Abandoned => {}
            DiskUse::Map(id, range) => self.on_map(v, id, range, result, out),
            DiskUse::Flush => match result {
                Ok(_) => self.on_flush_done(v, out),
                Err(_) if mutation::on(Mutation::IgnoreFailedFlush) => self.on_flush_done(v, out),
                // Final: what the flush did not write may be gone, and trying again would hide it.
                Err(error) => self.fail_disk(v, &format!("flush: {error}"), out),
            },
        }
    }

    fn on_unit_op(
        &mut self,
        v: usize,
        unit: UnitId,
        result: Result<Bytes, DiskError>,
        out: &mut Effects,
    ) {
        let work = self.volumes[v].work.get_mut(&unit).expect("a unit waits for its operations");
        let mut why = None;
        match result {
            Ok(data) => work.data = Some(data),
            Err(error) => {
                work.failed = true;
                why = Some(error);
            }
        }
        // What ends well on a disk that was given up meanwhile is not there.
        let gone = self.volumes[v].meta.is_none();
        let work = self.volumes[v].work.get_mut(&unit).expect("just seen");
        let (more, failed) = (!work.ops.is_empty(), work.failed || gone);
        if let Some(error) = why {
            let work = self.volumes[v].work.get(&unit).expect("just seen").work.clone();
            self.on_write_error(v, &work, &error, out);
        }
        if more && !failed && self.volumes[v].has_disk() {
            self.next_unit_op(v, unit, out);
        } else {
            self.finish_unit(v, unit, failed || more, out);
        }
    }

    pub(super) fn finish_unit(&mut self, v: usize, unit: UnitId, failed: bool, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let ready = vol.order.finish(unit);
        let done = vol.work.remove(&unit).expect("a unit is finished once");
        if !done.work.only_reads() {
            vol.durable.wrote();
        }
        match done.work {
            Work::Local(id) => self.local_write_done(v, id, failed, out),
            Work::Mirror(seq) => self.mirror_done(v, seq, failed, out),
            Work::ResyncRead(read) => {
                let data = done.data.filter(|_| !failed);
                self.resync_read_done(v, &read, data, out);
            }
            Work::ResyncOwn(range, epoch, digest) => {
                let data = done.data.filter(|_| !failed);
                self.own_read_done(v, (range, epoch, digest), data, out);
            }
            Work::VerifyRead(read) => {
                let data = done.data.filter(|_| !failed);
                self.verify_read_done(v, &read, data, out);
            }
            Work::ResyncWrite(range, _) => {
                self.repair_done(v, range, failed);
                self.resync_write_done(v, range, failed);
            }
        }
        for unit in ready {
            self.start_unit(v, unit, out);
        }
        self.touch(v);
    }

    /// The disk is of no more use: go on without it. (on-io-error detach, the default.)
    pub(super) fn fail_disk(&mut self, v: usize, why: &str, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.meta.is_none() {
            return;
        }
        let volume = vol.id;
        out.push(Effect::Event(Event::DiskFailed { volume, text: why.to_owned() }));
        if self.config.options.on_io_error == OnIoError::CallLocalIoError {
            self.run_handler(Handler::LocalIoError, Some(v), out);
        }
        self.set_disk(v, DiskState::Failed, why, out);
        self.lose_disk_to_peer(v);
        self.drop_disk(v, out);
        self.set_disk(v, DiskState::Diskless, "the disk failed", out);
        if self.volumes[v].joined() {
            self.send(Message::DiskIs { volume, disk: DiskState::Diskless }, out);
            // From now on our clients read there.
            self.say_settled(v, out);
            self.ask_lack(v, out);
        }
        self.command_lost_disk(v, why, out);
        self.touch(v);
        if self
            .link
            .as_ref()
            .is_some_and(|link| !link.established() && link.phase >= Phase::Draining)
        {
            self.renegotiate("a disk failed during the handshake", out);
        }
    }

    /// Tells the driver that a disk is no longer used, once nothing is under way on it.
    pub(super) fn pump_leaving(&mut self, v: usize, out: &mut Effects) {
        if self.volumes[v].leaving && self.disk_is_idle(v) {
            self.volumes[v].leaving = false;
            out.push(Effect::Detached { volume: self.volumes[v].id });
            self.touch(v);
        }
    }

    /// Whether no operation is under way on the disk of a volume.
    pub(super) fn disk_is_idle(&self, v: usize) -> bool {
        !self.disk_ops.values().any(|(of, _)| *of == v)
            && !self.meta_ops.values().any(|(of, _)| *of == v)
    }

    /// Forgets everything that is about the disk. What is in flight ends by itself; only then is
    /// the driver told, and may another disk come.
    pub(super) fn drop_disk(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        vol.went_on_without_disk |= vol.mode != Mode::Alone && has_data(vol.peer_disk);
        vol.meta = None;
        self.growing_lost_disk(v, out);
        let vol = &mut self.volumes[v];
        vol.log.reset();
        vol.sync = None;
        vol.attaching = false;
        vol.leaving = true;
        let waiting: Vec<_> = vol.log.take_waiting().collect();
        for piece in waiting.into_iter().rev() {
            vol.queue.push_front(piece);
        }
        while let Some(lock) = vol.locks.first().copied() {
            vol.unlock(lock);
        }
        let skipped = vol.skipped.take();
        let flushes = vol.durable.lose_disk();
        vol.saves.take_waiters();
        for then in flushes {
            self.flush_then(v, then, false, out);
        }
        self.volumes[v].repairs.give_up(&[]);
        if let Some((epoch, id)) = skipped {
            self.sync_not_skipped(v, epoch, id, out);
        }
        if self.volumes[v].minted == Minted::Saving {
            self.volumes[v].minted = Minted::No;
            self.answer_peer_flushes(v, false, out);
        }
        let vol = &self.volumes[v];
        if !vol.replicates() && !matches!(vol.mode, Mode::Waiting { .. }) {
            // Nobody has the data now.
            self.fail_held(v, out);
            self.go_on_alone(v, "no disk and no peer", out);
        }
        self.pump_leaving(v, out);
    }
}

/// The operations that write `rest` of a payload that was meant for `range`.
fn write_ops(rest: &[ByteRange], payload: &Payload, range: ByteRange, fua: bool) -> Vec<DiskOp> {
    let op = |part: &ByteRange| match payload {
        Payload::Data(data) => {
            let from = (part.offset - range.offset) as usize;
            let data = data.slice(from..from + part.len as usize);
            DiskOp::Write { range: *part, data, fua }
        }
        Payload::Zero { unmap } => {
            let widens = *unmap && mutation::on(Mutation::WidenedDiscard);
            let range = if widens { part.widen(BLOCK_BYTES) } else { *part };
            DiskOp::Zero { range, unmap: *unmap, fua }
        }
    };
    rest.iter().map(op).collect()
}
