//! Clients: loops that ask for something, wait for the answer, think, and ask again.

use crate::content::bytes_of_tag;
use crate::plan::Plan;
use replicator::ClientOp;
use types::{BLOCK_BYTES, ByteRange, Prng, SECTOR_BYTES, Span};

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To read.
    Read,
    /// Which bytes read as zeros.
    Allocation,
    /// Which bytes are out-of-sync.
    OutOfSync,
    /// To write this number all over; zero by a write of zeros or a trim.
    Write(u64),
    /// To flush.
    Flush,
}

/// A request and its end.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The node it went to.
    pub(crate) node: usize,
    /// The client.
    pub(crate) client: u64,
    /// The volume.
    pub(crate) volume: usize,
    /// What.
    pub(crate) asked: Asked,
    /// Where; empty for a flush.
    pub(crate) range: ByteRange,
    /// Whether its end means that it is durable.
    pub(crate) fua: bool,
    /// When, on the clock of the history.
    pub(crate) invoke: u64,
    /// When it was answered with success.
    pub(crate) ret: Option<u64>,
    /// Whether any answer came, or will never come because its node died or its client left.
    pub(crate) over: bool,
    /// It was answered by a copy that is incomplete, while the peer was away.
    pub(crate) incomplete: bool,
    /// What a read saw, sector by sector; of a map [`ZERO`](crate::history::ZERO) where it has its
    /// flag, and nothing where not.
    pub(crate) seen: Vec<Option<u64>>,
    /// The session and number of the last piece of a write that was sent.
    pub(crate) sent: Option<(u64, u64)>,
    /// What of a write the peer did not have when it took over.
    pub(crate) lost: Vec<ByteRange>,
}

impl Request {
    /// Whether the peer that took over did not have what this wrote to that sector.
    pub(crate) fn lacks(&self, sector: u64) -> bool {
        self.lost.iter().any(|range| crate::disk::sectors(*range).contains(&sector))
    }
}

/// A client of a volume of a node, for one life of that node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Its number.
    pub(crate) id: u64,
    /// Where.
    pub(crate) node: usize,
    /// The life of that node.
    pub(crate) life: u32,
    /// The volume that it has open.
    pub(crate) volume: usize,
    /// Whether it still has it open.
    pub(crate) open: bool,
    /// What it has asked for and not got.
    pub(crate) waiting_for: Option<usize>,
}

/// What a client asks for next. `tag` is a number that nobody wrote yet.
pub(crate) fn draw(rng: &mut Prng, places: &[u64], tag: u64) -> (ClientOp, Asked, ByteRange, bool) {
    // Clients of both volumes take numbers in turn, more or less.
    let range = draw_range(rng, places, tag / 2);
    let fua = rng.chance(1, 10);
    match rng.below(100) {
        0..30 => (ClientOp::Read(range), Asked::Read, range, false),
        30..36 => (ClientOp::Allocation(range), Asked::Allocation, range, false),
        36..38 => (ClientOp::OutOfSync(range), Asked::OutOfSync, range, false),
        38..84 => {
            let data = bytes_of_tag(tag, range.len);
            (ClientOp::Write { range, data, fua }, Asked::Write(tag), range, fua)
        }
        84..91 => {
            let unmap = rng.chance(1, 2);
            (ClientOp::Zero { range, unmap, fua }, Asked::Write(0), range, fua)
        }
        _ => (ClientOp::Flush, Asked::Flush, ByteRange::new(0, 0), false),
    }
}

fn draw_range(rng: &mut Prng, places: &[u64], turn: u64) -> ByteRange {
    // Many places are visited in turn, so that all are.
    let place = if places.len() > 20 && rng.chance(3, 4) {
        places[turn as usize % places.len()]
    } else {
        *rng.pick(places)
    };
    // The first block of a place is the most wanted.
    let block = if rng.chance(1, 2) { 0 } else { rng.below(8) };
    let start = place + block * BLOCK_BYTES;
    let end = place + 8 * BLOCK_BYTES;
    let range = match rng.below(20) {
        0..13 => ByteRange::new(start, BLOCK_BYTES),
        13..16 => {
            let first = rng.below(8);
            ByteRange::new(start + first * SECTOR_BYTES, rng.between(1, 8 - first) * SECTOR_BYTES)
        }
        16..19 => ByteRange::between(start, (start + rng.between(2, 5) * BLOCK_BYTES).min(end)),
        _ => ByteRange::between(start + SECTOR_BYTES, end),
    };
    debug_assert!(!range.is_empty(), "{range}");
    range
}

/// How long a client thinks: mostly hardly at all, sometimes long enough to spread the requests
/// over the whole time of trouble.
pub(crate) fn think(rng: &mut Prng, plan: &Plan) -> Span {
    if rng.chance(4, 5) {
        return Span::micros(rng.below(500));
    }
    Span(rng.below(plan.think.0 * 2 + 1))
}
