//! The node that drives a verify: it asks, reads its own, and compares.

use super::{
    CHUNK_BLOCKS, Chunk, Half, OUTSTANDING_MAX, Outcome, Requester, TOLD_MAX, UNREAD_MAX, Verify,
    VerifyRead,
};
use crate::effect::{Effect, Effects};
use crate::engine::Engine;
use crate::engine::volume::{Mode, Volume, Work};
use crate::event::Event;
use crate::wire::Message;
use bytes::Bytes;
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, BlockRange, ByteRange, ReplicationState, blocks_of};

impl Volume {
    /// The verify that this node drives, if it is that one.
    pub(super) fn requests(&mut self, id: u64) -> Option<&mut Requester> {
        let verify = self.verify.as_mut().filter(|verify| verify.id == id)?;
        verify.requester()
    }
}

impl Engine {
    /// Asks for what the window has room for; ends the verify when all is compared, or when it cannot
    /// go on.
    pub(in crate::engine) fn pump_verify(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let mode = vol.mode;
        let Some(verify) = vol.verify.as_mut() else { return };
        if mode != Mode::Joined {
            let waits = verify.requester().is_some_and(|requester| requester.waits);
            if !waits || mode == Mode::Alone {
                self.end_verify(v, Outcome::interrupted("the peer was lost"), out);
            }
            return;
        }
        if let Some(why) = self.obstacle(v) {
            return self.give_up_verify(v, &why, out);
        }
        let paused = self.verify_is_paused(v);
        loop {
            let vol = &mut self.volumes[v];
            let Some(verify) = vol.verify.as_mut() else { return };
            let Some(requester) = verify.requester() else { return };
            if requester.is_done() {
                return self.complete_verify(v, out);
            }
            if requester.unread > UNREAD_MAX {
                let why = format!("a disk cannot read: {} blocks so far", requester.unread);
                return self.give_up_verify(v, &why, out);
            }
            let open = requester.asked();
            if paused || open >= OUTSTANDING_MAX {
                return;
            }
            let Some((_, largest)) = self.resync_room(v, open) else { return };
            let most = (largest / BLOCK_BYTES).clamp(1, CHUNK_BLOCKS);
            let verify = self.volumes[v].verify.as_mut().expect("just seen");
            let requester = verify.requester().expect("just seen");
            if let Some(blocks) = requester.again.pop_front() {
                self.ask_digests(v, blocks, true, out);
            } else if let Some(blocks) = requester.missed.pop_front() {
                self.ask_digests(v, blocks, false, out);
            } else if requester.cursor < requester.end {
                let end = requester.end.min(requester.cursor + most);
                let blocks = BlockRange::new(requester.cursor, end);
                requester.cursor = end;
                self.ask_digests(v, blocks, false, out);
            } else {
                return;
            }
        }
    }

    fn ask_digests(&mut self, v: usize, blocks: BlockRange, locked: bool, out: &mut Effects) {
        let locks = locked && !mutation::on(Mutation::VerifyUnlocked);
        let since = self.now;
        let vol = &mut self.volumes[v];
        let (volume, range) = (vol.id, vol.bytes_of(blocks));
        let verify = vol.verify.as_mut().expect("a verify runs");
        let chunk = Chunk { blocks, since, locked, ours: Half::Open, theirs: Half::Open };
        let requester = verify.requester().expect("this node asks");
        let before = requester.chunks.insert(blocks.start, chunk);
        assert!(before.is_none(), "blocks are compared once at a time");
        let (id, total, done, digest) = (verify.id, verify.total, verify.done(), verify.digest);
        if locks {
            vol.locks.push(range);
        }
        let request = Message::VerifyRequest { volume, range, id, total, done, digest, locked };
        self.send(request, out);
        self.resync_asked(v, range);
        if !locked || mutation::on(Mutation::VerifyEarlyRead) {
            self.read_own(v, blocks, out);
        }
    }

    /// Reads the requester's own blocks, at a place in its order.
    fn read_own(&mut self, v: usize, blocks: BlockRange, out: &mut Effects) {
        let Some(epoch) = self.link_epoch() else { return };
        let vol = &mut self.volumes[v];
        let range = vol.bytes_of(blocks);
        let Some(verify) = vol.verify.as_ref() else { return };
        let (id, digest) = (verify.id, verify.digest);
        let read = VerifyRead { id, range, digest, epoch, locked: false, for_peer: false };
        self.place(v, range, Work::VerifyRead(read), out);
    }

    pub(in crate::engine) fn on_verify_reply(
        &mut self,
        v: usize,
        id: u64,
        range: ByteRange,
        digests: Option<Bytes>,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let digest = vol.verify.as_ref().map(|verify| verify.digest);
        let (Some(digest), Some(requester)) = (digest, vol.requests(id)) else {
            // Of a verify that has ended here meanwhile.
            return;
        };
        let blocks = range.blocks();
        let chunk = requester.chunks.get_mut(&blocks.start);
        let open =
            |chunk: &&mut Chunk| chunk.blocks == blocks && matches!(chunk.theirs, Half::Open);
        let Some(chunk) = chunk.filter(open) else {
            return self.protocol_error("digests that were not asked for", out);
        };
        if digests.as_ref().is_some_and(|digests| !digest.fits(digests, blocks.len())) {
            return self.protocol_error("digests of other blocks", out);
        }
        let locked = chunk.locked;
        let in_vain = digests.is_none();
        chunk.theirs = Half::of(digests);
        if locked && in_vain {
            chunk.ours = Half::Unreadable;
        } else if locked && !mutation::on(Mutation::VerifyEarlyRead) {
            // Its place is taken: what is numbered from now on comes behind it.
            self.read_own(v, blocks, out);
        }
        self.unlock_verified(v, blocks, locked);
        self.compare(v, blocks, out);
    }

    pub(super) fn unlock_verified(&mut self, v: usize, blocks: BlockRange, locked: bool) {
        let vol = &mut self.volumes[v];
        if locked && !mutation::on(Mutation::VerifyUnlocked) {
            let range = vol.bytes_of(blocks);
            vol.unlock(range);
        }
        self.touch(v);
    }

    /// One of the disks could not read these: one by one it may be able to.
    fn could_not_read(&mut self, v: usize, blocks: BlockRange) {
        self.touch(v);
        let verify = self.volumes[v].verify.as_mut().and_then(Verify::requester);
        let Some(requester) = verify else { return };
        if blocks.len() > 1 {
            let single = (blocks.start..blocks.end).map(|block| BlockRange::new(block, block + 1));
            requester.again.extend(single);
        } else {
            requester.unread += blocks.len();
        }
    }

    /// Both have read.
    pub(super) fn compare(&mut self, v: usize, blocks: BlockRange, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(verify) = vol.verify.as_mut() else { return };
        let digest = verify.digest;
        let Some(requester) = verify.requester() else { return };
        let Some(chunk) = requester.chunks.get(&blocks.start) else { return };
        let since = chunk.since;
        let counts = chunk.locked || mutation::on(Mutation::VerifyOneRound);
        let differing = match (&chunk.ours, &chunk.theirs) {
            (Half::Open, _) | (_, Half::Open) => return,
            (Half::Read(ours), Half::Read(theirs)) => digest.differing(blocks.start, ours, theirs),
            _ => {
                requester.chunks.remove(&blocks.start);
                return self.could_not_read(v, blocks);
            }
        };
        requester.chunks.remove(&blocks.start);
        let range = self.volumes[v].bytes_of(blocks);
        self.resync_written(v, range, since);
        let verify = self.volumes[v].verify.as_mut().expect("just seen");
        let Some(requester) = verify.requester() else { return };
        if !counts {
            requester.again.extend(differing);
        } else if !differing.is_empty() {
            self.copies_differ(v, &differing, out);
        }
        self.touch(v);
    }

    /// They do, and it is no matter of time.
    fn copies_differ(&mut self, v: usize, runs: &[BlockRange], out: &mut Effects) {
        if self.obstacle(v).is_some() {
            return;
        }
        let vol = &mut self.volumes[v];
        let volume = vol.id;
        for run in runs {
            let range = vol.bytes_of(*run);
            vol.mark(range);
            let verify = vol.verify.as_mut().expect("it compared");
            let tell = verify.found < TOLD_MAX;
            verify.found += run.len();
            if tell {
                out.push(Effect::Event(Event::Differs { volume, range }));
            }
        }
        vol.verify_found_in = vol.session.id;
        let blocks = runs.iter().map(|run| (run.start, run.len())).collect();
        self.send(Message::VerifyOutOfSync { volume, blocks }, out);
    }

    fn complete_verify(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let size = blocks_of(vol.size);
        let Some(verify) = vol.verify.as_mut() else { return };
        let (id, found) = (verify.id, verify.found);
        let Some(requester) = verify.requester() else { return };
        let unread = requester.unread;
        let whole = requester.first == 0 && requester.end == size && unread == 0;
        let text = match unread {
            0 => String::new(),
            _ => format!("{unread} blocks could not be read"),
        };
        let volume = vol.id;
        let (complete, said) = (true, text.clone());
        self.send(Message::VerifyEnd { volume, id, complete, whole, found, text: said }, out);
        self.end_verify(v, Outcome { complete, whole, text }, out);
    }

    /// The link is lost: what was asked for will not come. If the session goes on, so does this.
    pub(in crate::engine) fn interrupt_verify(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        let Some(requester) = vol.verify.as_mut().and_then(Verify::requester) else {
            // If it goes on, the next request says so.
            vol.verify = None;
            return;
        };
        let under_way = std::mem::take(&mut requester.chunks).into_values();
        if !mutation::on(Mutation::VerifySkips) {
            requester.missed.extend(under_way.map(|chunk| chunk.blocks));
        }
        requester.waits = true;
    }

    /// The handshake is done: a verify goes on in its session.
    pub(in crate::engine) fn rejoin_verify(&mut self, v: usize, resumed: bool, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(verify) = vol.verify.as_mut() else { return };
        if let Some(requester) = verify.requester() {
            requester.waits = false;
        }
        if !resumed || vol.sync.is_some() {
            return self.end_verify(v, Outcome::interrupted("the peer was lost"), out);
        }
        self.set_replication(v, ReplicationState::VerifyS, "the verify goes on", out);
    }

    /// Marks of a verify that the peer may have missed with the link.
    pub(in crate::engine) fn repeat_findings(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        let found = vol.verify_found_in != 0 && vol.verify_found_in == vol.session.id;
        if !found || self.obstacle(v).is_some() {
            return;
        }
        let Some(meta) = &vol.meta else { return };
        let (volume, mut from, mut blocks) = (vol.id, 0, Vec::new());
        while let Some(run) = meta.bitmap.next_run(from, u64::MAX >> 13) {
            blocks.push((run.start, run.len()));
            from = run.end;
        }
        for some in blocks.chunks(crate::engine::durable::LIST_MAX) {
            self.send(Message::VerifyOutOfSync { volume, blocks: some.to_vec() }, out);
        }
    }
}
