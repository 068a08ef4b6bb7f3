//! The disks of a resource: data and metadata operations of the engine on backing devices.

use bytes::Bytes;
use metadata::Batch;
use replicator::{DeviceSizes, DiskError, DiskOp, DiskOpId, Input, MetaOpId};
use std::collections::{BTreeMap, VecDeque};
use std::task::Poll;
use storage::{Completion, Device, DeviceError, Op, OpId};
use types::{ByteRange, VolumeId};

/// The disks that are open, and those that are being closed.
#[derive(Default)]
pub(crate) struct Disks {
    disks: BTreeMap<VolumeId, Disk>,
    /// Let go; what is in flight is still answered, then they are closed.
    closing: Vec<(VolumeId, Disk)>,
}

/// The disk of one volume.
struct Disk {
    data: Backing,
    /// Where the metadata is, if not on the same device.
    meta: Option<Backing>,
    batches: BTreeMap<MetaOpId, Writing>,
    /// Whether it was logged that it is full.
    is_full: bool,
}

/// A device, and what it has done that nobody has looked at yet.
struct Backing {
    device: Device,
    done: Vec<Completion>,
}

/// A metadata batch under way: first its writes, in any order, then one flush.
struct Writing {
    writes_left: usize,
    error: Option<DiskError>,
}

/// The device answers by a number: data operations get even ones, metadata odd ones.
const fn data_op(id: DiskOpId) -> OpId {
    id.0 << 1
}

const fn meta_op(id: MetaOpId) -> OpId {
    id.0 << 1 | 1
}

const fn is_meta(id: OpId) -> bool {
    id & 1 == 1
}

impl Disks {
    /// Takes a disk into use: where the data is, and where the metadata, if elsewhere.
    pub(crate) fn insert(&mut self, volume: VolumeId, data: Device, meta: Option<Device>) {
        let disk = Disk {
            data: Backing::new(data),
            meta: meta.map(Backing::new),
            batches: BTreeMap::new(),
            is_full: false,
        };
        let before = self.disks.insert(volume, disk);
        assert!(before.is_none(), "volume {volume} has a disk already");
    }

    /// Whether the volume has a disk.
    pub(crate) fn contains(&self, volume: VolumeId) -> bool {
        self.disks.contains_key(&volume)
    }

    /// How the disk of a volume is accessed.
    pub(crate) fn backend(&self, volume: VolumeId) -> Option<&'static str> {
        self.disks.get(&volume).map(|disk| disk.data.device.backend())
    }

    /// How large the devices of a volume are now.
    pub(crate) fn measure(&self, volume: VolumeId) -> Result<DeviceSizes, String> {
        let disk = self.disks.get(&volume).ok_or("the disk was let go")?;
        let measure = |backing: &Backing| {
            let device = &backing.device;
            device.measure().map_err(|error| format!("{}: {error}", device.describe()))
        };
        let data_bytes = measure(&disk.data)?;
        let meta_bytes = disk.meta.as_ref().map_or(Ok(data_bytes), measure)?;
        Ok(DeviceSizes { data_bytes, meta_bytes })
    }

    /// Whether the metadata of a disk are at its end.
    pub(crate) fn is_internal(&self, volume: VolumeId) -> bool {
        self.disks.get(&volume).is_some_and(|disk| disk.meta.is_none())
    }

    /// Operations in flight on a volume's disk.
    pub(crate) fn in_flight(&self, volume: VolumeId) -> usize {
        self.disks.get(&volume).map_or(0, |disk| disk.data.device.in_flight())
    }

    /// Whether a request to zero is done by the disk of a volume without zeros being sent to it, as
    /// far as is known; not without a disk. The peer's disk may be another matter.
    pub(crate) fn zeroes_fast(&self, volume: VolumeId, unmap: bool) -> bool {
        self.disks.get(&volume).is_some_and(|disk| disk.data.device.zeroes_fast(unmap))
    }

    /// Lets a disk go. What is in flight ends by itself, and is answered as ever.
    pub(crate) fn close(&mut self, volume: VolumeId) {
        if let Some(disk) = self.disks.remove(&volume) {
            self.closing.push((volume, disk));
        }
    }

    /// Lets every disk go.
    pub(crate) fn close_all(&mut self) {
        for volume in self.disks.keys().copied().collect::<Vec<_>>() {
            self.close(volume);
        }
    }

    /// Whether a disk is being closed.
    pub(crate) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Whether every disk is closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.disks.is_empty() && self.closing.is_empty()
    }

    /// Queues a data operation.
    pub(crate) fn submit(
        &mut self,
        volume: VolumeId,
        id: DiskOpId,
        op: DiskOp,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(disk) = self.disks.get_mut(&volume) else {
            inputs.push_back(Input::DiskDone { id, result: Err(gone(volume)) });
            return;
        };
        let op = match op {
            DiskOp::Read(range) => Op::Read(range),
            DiskOp::Write { range, data, fua } => Op::Write { range, data, fua },
            DiskOp::Zero { range, unmap, fua } => Op::Zero { range, unmap, fua },
            DiskOp::Flush => Op::Flush,
            DiskOp::Map(range) => Op::Map(range),
        };
        disk.data.device.submit(data_op(id), op);
    }

    /// Queues a metadata batch.
    pub(crate) fn write_meta(
        &mut self,
        volume: VolumeId,
        id: MetaOpId,
        batch: Batch,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(disk) = self.disks.get_mut(&volume) else {
            inputs.push_back(Input::MetaDone { id, result: Err(gone(volume)) });
            return;
        };
        let writing = Writing { writes_left: batch.writes.len(), error: None };
        let before = disk.batches.insert(id, writing);
        assert!(before.is_none(), "metadata batch {} is under way already", id.0);
        let device = &mut disk.meta.as_mut().unwrap_or(&mut disk.data).device;
        if batch.writes.is_empty() {
            device.submit(meta_op(id), Op::Flush);
        }
        for write in batch.writes {
            let range = ByteRange::new(write.offset, write.data.len() as u64);
            device.submit(meta_op(id), Op::Write { range, data: write.data, fua: false });
        }
    }

    /// Hands what is queued to the kernel.
    pub(crate) fn kick(&mut self) {
        for backing in self.all().flat_map(Disk::backings) {
            backing.device.kick();
        }
    }

    /// Takes what is done. Returns the volumes whose disks are closed by now.
    pub(crate) fn take_done(&mut self, inputs: &mut VecDeque<Input>) -> Vec<VolumeId> {
        for (volume, disk) in self.named() {
            disk.take_done(volume, inputs);
        }
        let closed = self.closing.extract_if(.., |(_, disk)| !disk.is_busy());
        closed.map(|(volume, _)| volume).collect()
    }

    /// Every disk, also those that are being closed.
    fn named(&mut self) -> impl Iterator<Item = (VolumeId, &mut Disk)> {
        let open = self.disks.iter_mut().map(|(volume, disk)| (*volume, disk));
        open.chain(self.closing.iter_mut().map(|(volume, disk)| (*volume, disk)))
    }

    /// Whether anything is in flight.
    #[cfg(test)]
    pub(super) fn is_busy(&mut self) -> bool {
        self.all().any(|disk| disk.is_busy())
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Disk> {
        self.named().map(|(_, disk)| disk)
    }

    /// Returns when something is done; for ever if nothing is in flight. Dropping it loses
    /// nothing.
    pub(crate) async fn wait(&mut self) {
        let backings = self.all().flat_map(Disk::backings);
        let mut waits: Vec<_> = backings
            .filter(|backing| backing.device.in_flight() > 0)
            .map(|Backing { device, done }| Box::pin(device.completions(done)))
            .collect();
        std::future::poll_fn(|cx| {
            let mut ready = Poll::Pending;
            for wait in &mut waits {
                if wait.as_mut().poll(cx).is_ready() {
                    // A future that is ready must not be polled again: all are dropped now.
                    ready = Poll::Ready(());
                    break;
                }
            }
            ready
        })
        .await;
    }
}

impl Disk {
    fn backings(&mut self) -> impl Iterator<Item = &mut Backing> {
        std::iter::once(&mut self.data).chain(&mut self.meta)
    }

    /// Whether anything is in flight on it.
    fn is_busy(&mut self) -> bool {
        self.backings().any(|backing| backing.device.in_flight() > 0)
    }

    fn take_done(&mut self, volume: VolumeId, inputs: &mut VecDeque<Input>) {
        for Completion { id, result } in self.data.take() {
            self.log_full(volume, "disk", &result);
            match is_meta(id) {
                true => self.meta_done(MetaOpId(id >> 1), result, inputs),
                false => {
                    let (id, result) = (DiskOpId(id >> 1), result.map_err(disk_error));
                    inputs.push_back(Input::DiskDone { id, result });
                }
            }
        }
        let meta = self.meta.as_mut().map(Backing::take);
        for Completion { id, result } in meta.unwrap_or_default() {
            self.log_full(volume, "meta-disk", &result);
            self.meta_done(MetaOpId(id >> 1), result, inputs);
        }
    }

    /// The engine tells of errors in the words of the device, but for this one.
    fn log_full(&mut self, volume: VolumeId, what: &str, result: &Result<Bytes, DeviceError>) {
        if let Err(error) = result
            && error.is_no_space()
            && !std::mem::replace(&mut self.is_full, true)
        {
            tracing::error!(volume = volume.0, "{what}: {error}");
        }
    }

    fn meta_done(
        &mut self,
        id: MetaOpId,
        result: Result<Bytes, DeviceError>,
        inputs: &mut VecDeque<Input>,
    ) {
        let writing = self.batches.get_mut(&id).expect("only what was submitted is answered");
        if let Err(error) = result {
            writing.error.get_or_insert_with(|| disk_error(error));
        }
        if writing.writes_left > 1 {
            writing.writes_left -= 1;
            return;
        }
        if writing.writes_left == 1 && writing.error.is_none() {
            // The last write: now the flush.
            writing.writes_left = 0;
            let device = &mut self.meta.as_mut().unwrap_or(&mut self.data).device;
            device.submit(meta_op(id), Op::Flush);
            return;
        }
        let writing = self.batches.remove(&id).expect("it was just there");
        let result = writing.error.map_or(Ok(()), Err);
        inputs.push_back(Input::MetaDone { id, result });
    }
}

impl Backing {
    const fn new(device: Device) -> Self {
        Self { device, done: Vec::new() }
    }

    fn take(&mut self) -> Vec<Completion> {
        self.device.try_completions(&mut self.done);
        std::mem::take(&mut self.done)
    }
}

fn disk_error(error: DeviceError) -> DiskError {
    match error.is_no_space() {
        true => DiskError::NoSpace,
        false => DiskError::Io(error.to_string()),
    }
}

fn gone(volume: VolumeId) -> DiskError {
    DiskError::Io(format!("volume {volume} has no disk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::MetaWrite;
    use storage::fault::{Fault, Plan, Rule};
    use storage::{MemoryDisk, OpKind};
    use types::StatusMap;

    const VOLUME: VolumeId = VolumeId(0);

    fn batch(offsets: &[u64]) -> Batch {
        let write = |&offset| MetaWrite { offset, data: vec![offset as u8; 4096].into() };
        Batch { writes: offsets.iter().map(write).collect() }
    }

    /// What has come by the time that nothing is in flight any more.
    async fn settle(disks: &mut Disks) -> Vec<Input> {
        let mut inputs = VecDeque::new();
        while disks.is_busy() {
            disks.wait().await;
            disks.take_done(&mut inputs);
        }
        inputs.into()
    }

    #[tokio::test]
    async fn a_batch_is_durable_when_it_is_answered() {
        let disk = MemoryDisk::new(1 << 20);
        let (mut disks, mut inputs) = (Disks::default(), VecDeque::new());
        disks.insert(VOLUME, Device::on_memory(&disk), None);
        disks.write_meta(VOLUME, MetaOpId(5), batch(&[0, 4096, 8192]), &mut inputs);
        disks.write_meta(VOLUME, MetaOpId(6), batch(&[]), &mut inputs);
        let range = ByteRange::new(65_536, 512);
        let op = DiskOp::Write { range, data: vec![7; 512].into(), fua: false };
        disks.submit(VOLUME, DiskOpId(5), op, &mut inputs);
        assert!(inputs.is_empty());
        let done = settle(&mut disks).await;
        let ids: Vec<_> = done
            .iter()
            .map(|input| match input {
                Input::MetaDone { id, result: Ok(()) } => ("meta", id.0),
                Input::DiskDone { id, result: Ok(_) } => ("data", id.0),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids.len(), 3, "{ids:?}");
        assert!([("meta", 5), ("meta", 6), ("data", 5)].iter().all(|id| ids.contains(id)));
    }

    #[tokio::test]
    async fn a_batch_fails_once_when_a_write_or_the_flush_fails() {
        for rule in [
            Rule::new(Fault::Error(5)).on(OpKind::Write).after(1).times(1),
            Rule::new(Fault::Error(5)).on(OpKind::Flush),
        ] {
            let plan = Plan::new();
            plan.add(rule);
            let (mut disks, mut inputs) = (Disks::default(), VecDeque::new());
            disks.insert(VOLUME, Device::memory(1 << 20).with_faults(&plan), None);
            disks.write_meta(VOLUME, MetaOpId(1), batch(&[0, 4096, 8192]), &mut inputs);
            let done = settle(&mut disks).await;
            assert!(matches!(done[..], [Input::MetaDone { result: Err(_), .. }]), "{done:?}");
        }
    }

    /// A map is of the volume's bytes, as the engine takes it; one that fails is an error like others.
    #[tokio::test]
    async fn a_map_tells_what_is_on_the_disk_of_the_volume() {
        let plan = Plan::new();
        let (mut disks, mut inputs) = (Disks::default(), VecDeque::new());
        assert!(!disks.zeroes_fast(VOLUME, true), "there is no disk");
        disks.insert(VOLUME, Device::memory(1 << 20).with_faults(&plan), None);
        assert!(disks.zeroes_fast(VOLUME, true));
        let range = ByteRange::new(4096, 4096);
        let data = vec![7; 4096].into();
        disks.submit(VOLUME, DiskOpId(1), DiskOp::Write { range, data, fua: false }, &mut inputs);
        settle(&mut disks).await;
        disks.submit(VOLUME, DiskOpId(2), DiskOp::Map(ByteRange::new(0, 16_384)), &mut inputs);
        let done = settle(&mut disks).await;
        let [Input::DiskDone { id: DiskOpId(2), result: Ok(map) }] = &done[..] else {
            panic!("{done:?}");
        };
        let map = StatusMap::decode(map).unwrap();
        let runs: Vec<_> = map.runs().iter().map(|run| (run.len, run.flags)).collect();
        assert_eq!(runs, [(4096, 3), (4096, 0), (8192, 3)]);
        plan.add(Rule::new(Fault::Error(5)).on(OpKind::Map));
        disks.submit(VOLUME, DiskOpId(3), DiskOp::Map(range), &mut inputs);
        let done = settle(&mut disks).await;
        assert!(matches!(done[..], [Input::DiskDone { result: Err(_), .. }]), "{done:?}");
    }

    #[tokio::test]
    async fn without_a_disk_everything_fails_and_a_closed_one_is_told() {
        let (mut disks, mut inputs) = (Disks::default(), VecDeque::new());
        disks.submit(VOLUME, DiskOpId(1), DiskOp::Flush, &mut inputs);
        disks.write_meta(VOLUME, MetaOpId(1), batch(&[0]), &mut inputs);
        assert!(matches!(inputs.pop_front(), Some(Input::DiskDone { result: Err(_), .. })));
        assert!(matches!(inputs.pop_front(), Some(Input::MetaDone { result: Err(_), .. })));
        disks.insert(VOLUME, Device::memory(1 << 20), None);
        disks.close(VOLUME);
        assert!(disks.is_closing() && !disks.contains(VOLUME));
        assert_eq!(disks.take_done(&mut inputs), [VOLUME]);
        assert!(disks.is_empty());
    }

    #[tokio::test]
    async fn what_is_in_flight_when_a_disk_is_let_go_is_answered() {
        let plan = Plan::new();
        plan.add(Rule::new(Fault::Hold));
        let (mut disks, mut inputs) = (Disks::default(), VecDeque::new());
        disks.insert(VOLUME, Device::memory(1 << 20).with_faults(&plan), None);
        disks.submit(VOLUME, DiskOpId(1), DiskOp::Read(ByteRange::new(0, 512)), &mut inputs);
        disks.write_meta(VOLUME, MetaOpId(1), batch(&[4096, 8192]), &mut inputs);
        disks.kick();
        disks.close(VOLUME);
        assert_eq!(disks.take_done(&mut inputs), []);
        assert!(inputs.is_empty() && disks.is_closing());
        plan.clear();
        plan.release();
        let done = settle(&mut disks).await;
        assert_eq!(done.len(), 2, "{done:?}");
        assert!(done.iter().any(|input| matches!(input, Input::DiskDone { result: Ok(_), .. })));
        assert!(done.iter().any(|input| matches!(input, Input::MetaDone { result: Ok(()), .. })));
        assert!(disks.is_empty());
    }
    /// Data and metadata on two devices, with a plan for each of what goes wrong there.
    fn on_two_devices(disks: &mut Disks) -> [Plan; 2] {
        let plans = [Plan::new(), Plan::new()];
        let [data, meta] = [0, 1].map(|at| Device::memory(1 << 20).with_faults(&plans[at]));
        disks.insert(VOLUME, data, Some(meta));
        plans
    }

    #[tokio::test]
    async fn data_and_metadata_are_flushed_each_on_its_own_device() {
        for broken in [0, 1] {
            let (mut disks, mut inputs) = (Disks::default(), VecDeque::new());
            let plans = on_two_devices(&mut disks);
            plans[broken].add(Rule::new(Fault::Error(5)).on(OpKind::Flush));
            disks.write_meta(VOLUME, MetaOpId(1), batch(&[0, 4096]), &mut inputs);
            disks.submit(VOLUME, DiskOpId(1), DiskOp::Flush, &mut inputs);
            for input in settle(&mut disks).await {
                match input {
                    Input::DiskDone { result, .. } => assert_eq!(result.is_err(), broken == 0),
                    Input::MetaDone { result, .. } => assert_eq!(result.is_err(), broken == 1),
                    other => panic!("{other:?}"),
                }
            }
            let hits = plans.each_ref().map(|plan| plan.hits() == 1);
            assert_eq!(hits, [broken == 0, broken == 1]);
        }
    }
}
