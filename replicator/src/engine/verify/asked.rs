//! The node that is asked: it reads, and says what it has read, or that it cannot.

use super::{CHUNK_BLOCKS, Half, OUTSTANDING_MAX, Outcome, Side, Verify, VerifyRead};
use crate::digest::Digest;
use crate::effect::Effects;
use crate::engine::Engine;
use crate::engine::volume::Work;
use crate::input::LinkEpoch;
use crate::wire::Message;
use bytes::Bytes;
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, BlockRange, ByteRange, DiskState, ReplicationState, blocks_of};

/// What a peer asks for.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Asked {
    pub range: ByteRange,
    pub id: u64,
    pub total: u64,
    pub done: u64,
    pub digest: Digest,
    pub locked: bool,
}

impl Engine {
    pub(in crate::engine) fn on_verify_request(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        asked: Asked,
        out: &mut Effects,
    ) {
        let Asked { range, id, total, done, digest, locked } = asked;
        let vol = &mut self.volumes[v];
        if !vol.joined() || range.end() > vol.size || !range.offset.is_multiple_of(BLOCK_BYTES) {
            return self.protocol_error("a verify of what is not there", out);
        }
        if vol.verify_refused == id {
            return self.refuse_again(v, id, epoch, out);
        }
        if let Some(why) = self.verify_refusal(v) {
            let name = self.config.node_name.clone();
            return self.refuse_verify(v, id, &format!("at {name}: {why}"), out);
        }
        if self.volumes[v].verify.as_ref().is_none_or(|verify| verify.id != id) {
            if self.volumes[v].verify.is_some() {
                self.end_verify(v, Outcome::interrupted("the peer began another one"), out);
            }
            let side = Side::Asked { done: 0, reading: 0 };
            let verify = Verify { id, started: self.now, digest, total, found: 0, side };
            self.volumes[v].verify = Some(verify);
            let why = "the peer verifies";
            self.set_replication(v, ReplicationState::VerifyT, why, out);
        }
        let vol = &mut self.volumes[v];
        let verify = vol.verify.as_mut().expect("just made");
        if let Side::Asked { done: so_far, reading } = &mut verify.side {
            *so_far = (*so_far).max(done);
            *reading += range.len;
            if *reading > OUTSTANDING_MAX + CHUNK_BLOCKS * BLOCK_BYTES {
                return self.protocol_error("more asked for than is ever outstanding", out);
            }
        }
        let locked = locked && !mutation::on(Mutation::VerifyUnlocked);
        if locked {
            vol.locks.push(range);
        }
        let read = VerifyRead { id, range, digest, epoch, locked, for_peer: true };
        self.place(v, range, Work::VerifyRead(read), out);
    }

    /// The verify of that number is over here.
    pub(in crate::engine) fn note_refused(&mut self, v: usize, id: u64) {
        let by = self.link_epoch();
        let vol = &mut self.volumes[v];
        (vol.verify_refused, vol.verify_refused_by) = (id, by);
    }

    /// The peer asks for a verify that is over here. What is asked for by the link that told it so was
    /// asked before; by a newer one it has not heard it.
    fn refuse_again(&mut self, v: usize, id: u64, epoch: LinkEpoch, out: &mut Effects) {
        if self.volumes[v].verify_refused_by == Some(epoch) {
            return;
        }
        let why = format!("it was ended at {} meanwhile", self.config.node_name);
        self.refuse_verify(v, id, &why, out);
    }

    /// Why the peer cannot have this copy verified.
    fn verify_refusal(&self, v: usize) -> Option<String> {
        let vol = &self.volumes[v];
        let asks = vol.verify.as_ref().is_some_and(|it| matches!(it.side, Side::Requester(_)));
        if asks && self.config.is_arbiter() {
            return Some("a verify from there runs already".to_owned());
        }
        self.obstacle_here(v)
    }

    fn refuse_verify(&mut self, v: usize, id: u64, why: &str, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let volume = vol.id;
        self.note_refused(v, id);
        let (complete, whole, found, text) = (false, false, 0, why.to_owned());
        self.send(Message::VerifyEnd { volume, id, complete, whole, found, text }, out);
        if self.volumes[v].verify.as_ref().is_some_and(|verify| verify.id == id) {
            self.end_verify(v, Outcome::interrupted(why), out);
        }
    }

    /// A read for a verify is done, or failed.
    pub(in crate::engine) fn verify_read_done(
        &mut self,
        v: usize,
        read: &VerifyRead,
        data: Option<Bytes>,
        out: &mut Effects,
    ) {
        let current = self.link_epoch() == Some(read.epoch);
        self.resync_disturbs(v);
        let VerifyRead { id, range, digest, .. } = *read;
        let blocks = range.blocks();
        let vol = &mut self.volumes[v];
        let digests = data.map(|data| digest.of_blocks(&data));
        vol.counters.read_bytes += digests.as_ref().map_or(0, |_| range.len);
        if read.for_peer {
            let mine = vol.verify.as_mut().filter(|verify| verify.id == id);
            let asked = mine.and_then(|verify| match &mut verify.side {
                Side::Asked { reading, .. } => Some(reading),
                Side::Requester(_) => None,
            });
            // Asked for by an older link: the peer has forgotten that it did.
            let wanted = asked.map(|reading| *reading = reading.saturating_sub(range.len));
            if wanted.is_some() && current && vol.joined() && vol.disk == DiskState::UpToDate {
                let volume = vol.id;
                self.send(Message::VerifyReply { volume, id, range, digests }, out);
            }
            if let Some(lock) = read.lock() {
                self.volumes[v].unlock(lock);
            }
            return self.touch(v);
        }
        // What was read before the link broke, and the session went on, says nothing now.
        if !current {
            return;
        }
        let Some(requester) = vol.requests(id) else { return };
        let chunk = requester.chunks.get_mut(&blocks.start);
        let Some(chunk) = chunk.filter(|chunk| chunk.blocks == blocks) else { return };
        chunk.ours = Half::of(digests);
        self.compare(v, blocks, out);
    }

    /// The peer has found differences.
    pub(in crate::engine) fn on_verify_out_of_sync(
        &mut self,
        v: usize,
        blocks: &[(u64, u64)],
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let size = blocks_of(vol.size);
        if blocks.iter().any(|&(first, count)| first + count > size) {
            return self.protocol_error("blocks beyond the end of the volume", out);
        }
        if vol.sync.is_some() || vol.disk != DiskState::UpToDate {
            return;
        }
        for &(first, count) in blocks.iter().filter(|(_, count)| *count > 0) {
            let blocks = BlockRange::new(first, first + count);
            // They are said again after a broken link.
            let known = vol.meta.as_ref().map_or(count, |meta| meta.bitmap.count(blocks));
            let range = vol.bytes_of(blocks);
            vol.mark(range);
            let verify = vol.verify.as_mut();
            if let Some(verify) = verify.filter(|it| matches!(it.side, Side::Asked { .. })) {
                verify.found += count - known;
            }
        }
        vol.verify_found_in = vol.session.id;
    }

    /// The other node is through, or cannot go on.
    pub(in crate::engine) fn on_verify_end(
        &mut self,
        v: usize,
        id: u64,
        (complete, whole, found): (bool, bool, u64),
        text: String,
        out: &mut Effects,
    ) {
        let Some(verify) = self.volumes[v].verify.as_mut().filter(|verify| verify.id == id) else {
            return;
        };
        let asked = matches!(verify.side, Side::Asked { .. });
        if complete && !asked {
            return self.protocol_error("the end of a verify that this node drives", out);
        }
        if asked {
            verify.found = found;
        }
        if let (true, Side::Asked { done, .. }) = (complete, &mut verify.side) {
            *done = verify.total;
        }
        self.note_refused(v, id);
        self.end_verify(v, Outcome { complete, whole, text }, out);
    }
}
