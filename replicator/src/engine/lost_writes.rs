//! Writes that were in flight when a session ended, at a node that becomes the target of a resync:
//! its own copy does not count, so what becomes of them depends on what the peer did meanwhile.
//!
//! - The peer went on alone and had received it: it is done.
//! - The peer answered nothing alone, as when its daemon was killed and is back: it is sent anew,
//!   with a number of the new session. Nobody can have seen it overwritten.
//! - Anything else: it fails. A write that is done again after somebody saw it overwritten would
//!   take back what came after it.

use super::Engine;
use super::resync::{Sync, SyncSide};
use super::volume::Volume;
use super::write::{PeerPart, WriteId};
use crate::effect::Effects;
use metadata::{ExtentNo, GenerationId};
use types::mutation::{self, Mutation};

/// What a write was in the session that ended before the peer had answered it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    /// The session.
    session: u64,
    /// Its number there.
    seq: u64,
    /// The generation of the peer's copy, as far as it was known: the peer has another one as soon
    /// as it answers a write alone.
    generation: Option<GenerationId>,
}

impl Lost {
    /// The same for a write of that number.
    pub(super) const fn numbered(self, seq: u64) -> Self {
        Self { seq, ..self }
    }
}

impl Volume {
    /// What its writes in flight are if the session ends now.
    pub(super) fn lost_now(&self) -> Lost {
        let mine = self.meta.as_ref().map(|meta| meta.superblock.generations.current.id);
        let generation = match &self.sync {
            Some(Sync { side: SyncSide::Target(target), .. }) => Some(target.generation()),
            _ => mine,
        };
        Lost { session: self.session.id, seq: 0, generation }
    }

    /// The writes that are marked and not answered, oldest first, of which that is true.
    fn marked(&self, so: impl Fn(&super::write::LocalWrite, Lost) -> bool) -> Vec<WriteId> {
        let lost = self.local.iter().filter(|(_, write)| write.peer == PeerPart::Marked);
        let lost = lost.filter(|(_, write)| write.lost.is_some_and(|lost| so(write, lost)));
        lost.map(|(id, _)| *id).collect()
    }
}

impl Engine {
    /// What the peer had received before it went on alone is done: it has it.
    pub(super) fn answer_received(&mut self, v: usize, received: u64, out: &mut Effects) {
        let peer = self.link.as_ref().and_then(|link| link.peer_hello.as_ref());
        let session = peer.map_or(0, |hello| hello.volumes[v].session);
        let vol = &mut self.volumes[v];
        let done = vol.marked(|_, lost| lost.session == session && lost.seq <= received);
        for id in done {
            let write = self.volumes[v].local.get_mut(&id).expect("just found");
            write.peer = PeerPart::TakenOver;
            self.try_settle(v, id, out);
        }
    }

    /// If the peer's copy is of the generation that it was of, nobody has answered a write alone:
    /// what was in flight is sent anew, in its old order. All of it is in the peer's order before
    /// anything that a client here reads from now on, and before what the resync asks for.
    ///
    /// But a write of the peer that came after one of ours, and that may have been answered and
    /// read, is not overwritten by ours once more.
    pub(super) fn send_anew(&mut self, v: usize, theirs: GenerationId, out: &mut Effects) {
        let blindly = mutation::on(Mutation::SentAnewBlindly);
        let same = |lost: Lost| lost.generation.is_some_and(|known| known.same(theirs));
        let anew = self.volumes[v].marked(|write, lost| {
            blindly || same(lost) && !write.overtaken && !write.lost_conflict
        });
        let now = self.now;
        for id in anew {
            let vol = &mut self.volumes[v];
            let (seq, seen) = (vol.session.next_seq, vol.session.received);
            vol.session.next_seq += 1;
            let write = vol.local.get_mut(&id).expect("just found");
            (write.seq, write.seen, write.received) = (seq, seen, false);
            write.sent_anew = true;
            (write.peer, write.lost) = (PeerPart::Pending { since: now }, None);
            let range = write.range;
            vol.by_seq.insert(seq, id);
            vol.durable.sent(range.len);
            vol.unanswered += range.len;
            vol.counters.pending += 1;
            vol.log.renumber(ExtentNo::of_byte(range.offset), seq);
            self.send_write(v, id, out);
        }
    }

    /// What is still marked fails.
    pub(super) fn fail_marked(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let mut lost = Vec::new();
        for (id, write) in &mut vol.local {
            if matches!(write.peer, PeerPart::Marked | PeerPart::Failed) {
                write.peer = PeerPart::Failed;
                lost.push(*id);
            }
        }
        for id in lost {
            self.try_settle(v, id, out);
        }
    }
}
