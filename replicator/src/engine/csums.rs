//! Checksum-based resync (`csums-alg`): the target says what it has, and gets what differs.
//!
//! ```text
//! target                               source
//!   (order, lock) read
//!   ResyncRequest, digests  -------->  (order, lock) read, compare
//!   (order) write           <--------  ResyncData: bytes, zeros, or «the same»
//! ```
//! What is the same at the two reads is the same for good, whatever is under way. The target's clients
//! are locked out from before its read, so each write of theirs that has a number was sent before the
//! request, and is part of what the source reads. What the source reads besides is a write of its own
//! clients that the target's read has missed; that write comes before the answer, and puts at the
//! target in place what the source already had there. And the answer has its place in the target's
//! order behind it, so the flush that covers the answer covers that write.
//!
//! All that holds as long as no write fails on a disk that is kept. So with `on-io-error pass_on`, on
//! either node, nothing is taken for the same.
//!
//! A digest must be one that no two blocks share by chance: a block that is wrongly taken for equal
//! would differ for good and not be marked.

use super::Engine;
use super::resync::Sync;
use crate::digest::Digest;
use crate::effect::Effects;
use crate::input::LinkEpoch;
use crate::options::OnIoError;
use crate::wire::{Content, Message};
use bytes::Bytes;
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, BlockRange, ByteRange};

/// Fewer zero blocks between others travel as bytes: to trim them one by one would be no gain.
const ZEROS_MIN: u64 = 16;
/// Fewer equal blocks between others are copied with these.
const SAME_MIN: u64 = 4;

/// What a resync target asks the source to read.
#[derive(Clone, Debug)]
pub(super) struct ResyncRead {
    pub range: ByteRange,
    /// The link by which it was asked for.
    pub epoch: LinkEpoch,
    /// What the target has there.
    pub known: Option<(Digest, Bytes)>,
}

impl Engine {
    /// The digest by which the target of a resync says what it has, if it does.
    pub(super) fn csums(&self, v: usize) -> Option<Digest> {
        let options = &self.config.options;
        // A write that failed, on a disk that is kept, is not part of what is compared.
        if options.on_io_error == OnIoError::PassOn {
            return None;
        }
        let follows_crash = self.volumes[v].sync.as_ref().is_some_and(Sync::follows_crash);
        options.csums_alg.filter(|_| !options.csums_after_crash_only || follows_crash)
    }

    /// The target has read what it has where it is going to ask.
    pub(super) fn own_read_done(
        &mut self,
        v: usize,
        (range, epoch, digest): (ByteRange, LinkEpoch, Digest),
        data: Option<Bytes>,
        out: &mut Effects,
    ) {
        let current = self.link_epoch() == Some(epoch);
        let vol = &mut self.volumes[v];
        let wanted = vol.sync.as_mut().is_some_and(|sync| sync.asks_for(range));
        if !current || !wanted || !vol.joined() {
            vol.unlock(range);
            return self.touch(v);
        }
        vol.counters.read_bytes += data.as_ref().map_or(0, |_| range.len);
        // What cannot be read is asked for as if nothing were there.
        let known = data.map(|data| (digest, digest.of_blocks(&data)));
        let volume = vol.id;
        self.send(Message::ResyncRequest { volume, range, known }, out);
    }
}

/// What goes to the target of what was read for it, and at once.
pub(super) fn pieces(
    range: ByteRange,
    data: &Bytes,
    known: Option<&(Digest, Bytes)>,
) -> Vec<(ByteRange, Content)> {
    assert_eq!(data.len() as u64, range.len, "all of the range was read");
    let first = range.offset / BLOCK_BYTES;
    let bytes_of = |run: &(Sort, BlockRange)| {
        let bytes = run.1.bytes();
        ByteRange::between(bytes.offset.max(range.offset), bytes.end().min(range.end()))
    };
    let content = |run: &(Sort, BlockRange)| match run.0 {
        Sort::Same => Content::Same,
        Sort::Zeros => Content::Zeros,
        Sort::Data => {
            let bytes = bytes_of(run);
            let from = (bytes.offset - range.offset) as usize;
            Content::Data(data.slice(from..from + bytes.len as usize))
        }
    };
    let runs = joined(runs(first, data, known));
    runs.iter().map(|run| (bytes_of(run), content(run))).collect()
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Same,
    Zeros,
    Data,
}

/// Neighbours of one sort.
fn runs(first: u64, data: &[u8], known: Option<&(Digest, Bytes)>) -> Vec<(Sort, BlockRange)> {
    let ours = known.map(|(digest, theirs)| (digest.size(), digest.of_blocks(data), theirs));
    let same = |at: usize| {
        ours.as_ref().is_some_and(|(size, ours, theirs)| {
            let here = at * size..(at + 1) * size;
            ours[here.clone()] == theirs[here] || mutation::on(Mutation::CsumsUnlooked)
        })
    };
    let mut runs: Vec<(Sort, BlockRange)> = Vec::new();
    for (at, block) in data.chunks(BLOCK_BYTES as usize).enumerate() {
        let sort = match () {
            () if same(at) => Sort::Same,
            () if is_zero(block) => Sort::Zeros,
            () => Sort::Data,
        };
        let number = first + at as u64;
        match runs.last_mut() {
            Some((last, run)) if *last == sort => run.end = number + 1,
            _ => runs.push((sort, BlockRange::new(number, number + 1))),
        }
    }
    runs
}

/// The same with fewer pieces: what is short goes as bytes with the bytes beside it.
fn joined(runs: Vec<(Sort, BlockRange)>) -> Vec<(Sort, BlockRange)> {
    let is_data = |at: Option<usize>| {
        at.and_then(|at| runs.get(at)).is_some_and(|(sort, _)| *sort == Sort::Data)
    };
    let mut fewer: Vec<(Sort, BlockRange)> = Vec::new();
    for (at, (sort, run)) in runs.iter().enumerate() {
        let least = match sort {
            Sort::Same => SAME_MIN,
            Sort::Zeros => ZEROS_MIN,
            Sort::Data => 0,
        };
        let beside = is_data(at.checked_sub(1)) || is_data(Some(at + 1));
        let sort = if run.len() < least && beside { Sort::Data } else { *sort };
        match fewer.last_mut() {
            Some((last, before)) if *last == sort => before.end = run.end,
            _ => fewer.push((sort, *run)),
        }
    }
    fewer
}

/// Whether all bytes are zero.
fn is_zero(data: &[u8]) -> bool {
    let words = data.chunks_exact(16);
    words.remainder().iter().all(|byte| *byte == 0) && words.into_iter().all(|w| w == [0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = BLOCK_BYTES as usize;

    /// Blocks of data, each with that byte all over.
    fn blocks(bytes: &[(u8, usize)]) -> Bytes {
        let each = bytes.iter().flat_map(|(byte, count)| vec![*byte; count * BLOCK]);
        each.collect::<Vec<u8>>().into()
    }

    fn told(data: &Bytes, known: Option<&Bytes>) -> Vec<(u64, u64, &'static str)> {
        let known = known.map(|known| (Digest::Xxh3, Digest::Xxh3.of_blocks(known)));
        let range = ByteRange::new(10 * BLOCK_BYTES, data.len() as u64);
        let pieces = pieces(range, data, known.as_ref());
        let mut at = range.offset;
        for (piece, content) in &pieces {
            assert_eq!(piece.offset, at, "one behind the other");
            at = piece.end();
            if let Content::Data(bytes) = content {
                let from = (piece.offset - range.offset) as usize;
                assert_eq!(bytes[..], data[from..from + piece.len as usize]);
            }
        }
        assert_eq!(at, range.end(), "all of it");
        let word = |content: &Content| match content {
            Content::Data(_) => "data",
            Content::Zeros => "zeros",
            Content::Same => "same",
        };
        let block = |at: u64| at.div_ceil(BLOCK_BYTES);
        pieces.iter().map(|(p, c)| (block(p.offset), block(p.end()), word(c))).collect()
    }

    #[test]
    fn long_runs_of_zeros_travel_as_such_and_short_ones_as_bytes() {
        assert_eq!(told(&blocks(&[(0, 5)]), None), [(10, 15, "zeros")]);
        assert_eq!(told(&blocks(&[(1, 5)]), None), [(10, 15, "data")]);
        assert_eq!(
            told(&blocks(&[(1, 1), (0, 16), (2, 2), (0, 15), (3, 1)]), None),
            [(10, 11, "data"), (11, 27, "zeros"), (27, 45, "data")]
        );
        assert_eq!(told(&blocks(&[(0, 3), (1, 2), (0, 3)]), None), [(10, 18, "data")]);
    }

    #[test]
    fn what_the_target_has_is_not_sent() {
        let mine = blocks(&[(1, 8), (2, 8), (0, 16), (3, 8)]);
        assert_eq!(told(&mine, Some(&mine)), [(10, 50, "same")]);
        let theirs = blocks(&[(1, 8), (9, 8), (7, 16), (3, 8)]);
        assert_eq!(
            told(&mine, Some(&theirs)),
            [(10, 18, "same"), (18, 26, "data"), (26, 42, "zeros"), (42, 50, "same")]
        );
        let theirs = blocks(&[(9, 8), (2, 3), (9, 5), (0, 16), (3, 8)]);
        assert_eq!(told(&mine, Some(&theirs)), [(10, 26, "data"), (26, 50, "same")]);
    }

    #[test]
    fn the_last_block_of_a_volume_may_be_short() {
        let mine = blocks(&[(1, 2)]).slice(..BLOCK + 512);
        assert_eq!(told(&mine, None), [(10, 12, "data")]);
        assert_eq!(told(&mine, Some(&mine)), [(10, 12, "same")]);
        let theirs = blocks(&[(1, 1), (2, 1)]).slice(..BLOCK + 512);
        assert_eq!(told(&mine, Some(&theirs)), [(10, 12, "data")]);
        let zeros = blocks(&[(0, 2)]).slice(..BLOCK + 1024);
        assert_eq!(told(&zeros, None), [(10, 12, "zeros")]);
    }
}
