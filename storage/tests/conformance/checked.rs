//! A device next to a model of what it must hold.

use bytes::Bytes;
use std::collections::BTreeMap;
use storage::{Completion, Device, Op, OpId};
use types::{ByteRange, Prng, StatusMap};

/// Requests that overlap when widened to this are never in flight together, whatever the granule.
const APART: u64 = 4096;

/// A device whose every answer is compared with a model.
pub(crate) struct Checked {
    pub(crate) device: Device,
    pub(crate) model: Vec<u8>,
    in_flight: BTreeMap<OpId, (Op, Option<Vec<u8>>)>,
    next: OpId,
    out: Vec<Completion>,
}

impl Checked {
    /// Takes over a device that holds zeros.
    pub(crate) fn new(device: Device) -> Self {
        let model = vec![0; device.bytes() as usize];
        Self { device, model, in_flight: BTreeMap::new(), next: 0, out: Vec::new() }
    }

    /// Queue a request, once nothing is in flight that it must not overtake.
    pub(crate) async fn submit(&mut self, op: Op) {
        let wide = op.range().widen(APART);
        let clash = |other: &Op| {
            let looks = |op: &Op| matches!(op, Op::Read(_) | Op::Map(_));
            !(looks(&op) && looks(other)) && other.range().widen(APART).overlaps(wide)
        };
        while self.in_flight.values().any(|(other, _)| clash(other)) {
            self.take_some().await;
        }
        let at = op.range().offset as usize..op.range().end() as usize;
        let expected = match &op {
            Op::Read(_) | Op::Map(_) => Some(self.model[at].to_vec()),
            Op::Write { data, .. } => {
                self.model[at].copy_from_slice(data);
                None
            }
            Op::Zero { .. } => {
                self.model[at].fill(0);
                None
            }
            Op::Flush => None,
        };
        self.device.submit(self.next, op.clone());
        self.in_flight.insert(self.next, (op, expected));
        self.next += 1;
    }

    /// Wait until nothing is in flight.
    pub(crate) async fn drain(&mut self) {
        while !self.in_flight.is_empty() {
            self.take_some().await;
        }
        assert_eq!(self.device.in_flight(), 0);
    }

    /// Wait for at least one answer, and compare.
    async fn take_some(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        self.device.completions(&mut out).await;
        assert!(!out.is_empty(), "it says that something is done");
        for completion in out.drain(..) {
            let (op, expected) = self.in_flight.remove(&completion.id).expect("answered once");
            let data = completion.result.unwrap_or_else(|error| panic!("{op:?}: {error}"));
            let expected = expected.unwrap_or_default();
            if matches!(op, Op::Map(_)) {
                judge_map(&op, &data, &expected);
                continue;
            }
            if data != expected {
                let at = data.iter().zip(&expected).position(|(a, b)| a != b);
                panic!("{op:?}: {} of {} bytes, differ at {at:?}", data.len(), expected.len());
            }
        }
        self.out = out;
    }

    /// Compare everything, with all that was written behind it.
    pub(crate) async fn compare_all(&mut self) {
        self.compare(ByteRange::new(0, self.device.bytes())).await;
    }

    /// Compare these bytes, with all that was written behind them.
    pub(crate) async fn compare(&mut self, range: ByteRange) {
        self.drain().await;
        for range in range.split(8 << 20).collect::<Vec<_>>() {
            self.submit(Op::Read(range)).await;
        }
        self.drain().await;
    }
}

/// What a map says to be zeros is zeros in the model, and it speaks of what was asked for.
fn judge_map(op: &Op, map: &[u8], expected: &[u8]) {
    let map = StatusMap::decode(map).expect("a map");
    let covered = map.covered() as usize;
    assert!(covered <= expected.len() && (covered > 0 || expected.is_empty()), "{op:?}: {map:?}");
    let mut rest = expected;
    for run in map.runs() {
        let (these, after) = rest.split_at(run.len as usize);
        rest = after;
        assert!([0, StatusMap::ZERO, StatusMap::HOLE | StatusMap::ZERO].contains(&run.flags));
        let is_zero = these.iter().all(|byte| *byte == 0);
        assert!(is_zero || run.flags == 0, "{op:?}: data is called zeros: {map:?}");
    }
}

/// A write of random bytes whose buffer begins at an address of no alignment.
pub(crate) fn write(prng: &mut Prng, range: ByteRange, fua: bool) -> Op {
    let shift = prng.below(3) as usize;
    let mut data: Vec<u8> = Vec::with_capacity(range.len as usize + 10);
    while data.len() < range.len as usize + shift {
        data.extend(prng.next_u64().to_le_bytes());
    }
    data.truncate(range.len as usize + shift);
    Op::Write { range, data: Bytes::from(data).slice(shift..), fua }
}
