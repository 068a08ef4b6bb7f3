//! A disk that could not do what it was asked for: what becomes of it (`on-io-error`), and what may
//! be answered from the peer's copy alone.
//!
//! What the local disk did not get, or may have lost with its cache, is only at the peer. It is
//! answered when that is durable at one of the two: else both might crash, the disk come back, and
//! this copy count as good as the peer's. Without a disk the *peer* makes a generation that this
//! disk lacks; a disk that stays says itself that it is Inconsistent.

use super::Engine;
use super::durable::FlushThen;
use super::resync::Sync;
use super::superblock::Then;
use super::volume::{Minted, Mode, Volume, Work};
use super::write::{DiskPart, PeerPart, WriteId};
use crate::effect::{Effect, Effects, IoError};
use crate::event::Event;
use crate::input::{DiskError, LinkEpoch};
use crate::options::OnIoError;
use crate::wire::Message;
use types::{ByteRange, DiskState};

/// Whether it is durable somewhere that this copy lacks what only the peer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lack {
    /// It lacks nothing, or that is durable.
    #[default]
    Known,
    /// The peer is to be asked whether it has made its generation durable.
    Unasked,
    /// It is asked, by the flush of this number.
    Asked(u64),
    /// The superblock here, which says Inconsistent, is on its way.
    Saving,
}

impl Volume {
    /// Whether an answer that rests on the peer's copy alone has to wait.
    fn lack_is_open(&self) -> bool {
        self.durable.lack != Lack::Known
    }
}

impl Engine {
    /// The disk could not read for somebody.
    pub(super) fn on_read_error(
        &mut self,
        v: usize,
        range: ByteRange,
        error: &DiskError,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        if vol.meta.is_none() {
            return;
        }
        vol.counters.read_errors += 1;
        let text = format!("read at {range}: {error}");
        if self.can_repair(v) {
            self.tell_disk_error(v, format!("{text}; repaired from the peer's copy"), out);
            self.repair(v, range, out);
        } else if self.config.options.on_io_error == OnIoError::PassOn {
            self.tell_disk_error(v, text, out);
        } else {
            self.fail_disk(v, &text, out);
        }
    }

    /// The disk could not write.
    pub(super) fn on_write_error(
        &mut self,
        v: usize,
        work: &Work,
        error: &DiskError,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let resync = match work {
            Work::Local(id) => {
                let write = vol.local.get_mut(id).expect("a write is remembered until it settles");
                write.error = match error {
                    DiskError::NoSpace => IoError::NoSpace,
                    DiskError::Io(_) => IoError::Io,
                };
                false
            }
            Work::Mirror(_) => false,
            // A repair that fails leaves the place as it was.
            Work::ResyncWrite(range, _) => !vol.is_repair(*range),
            Work::ResyncRead(_) | Work::ResyncOwn(..) => return,
            // Read again block by block, and only what cannot be read then is an error.
            Work::VerifyRead(read) => {
                let range = read.range();
                let few = self.volumes[v].repairs.len() < super::verify::REPAIRS_MAX;
                if range.len <= types::BLOCK_BYTES && few {
                    self.on_read_error(v, range, error, out);
                }
                return;
            }
        };
        if vol.meta.is_none() {
            return;
        }
        let text = format!("write: {error}");
        if resync || self.config.options.on_io_error != OnIoError::PassOn {
            return self.fail_disk(v, &text, out);
        }
        self.volumes[v].counters.write_errors += 1;
        self.tell_disk_error(v, text, out);
    }

    fn tell_disk_error(&mut self, v: usize, text: String, out: &mut Effects) {
        let volume = self.volumes[v].id;
        out.push(Effect::Event(Event::DiskError { volume, text }));
    }

    /// The disk stays although it lacks a write that the peer has: that place is marked, and the
    /// copy Inconsistent. Returns whether that is durable.
    pub(super) fn degrade(&mut self, v: usize, range: ByteRange, out: &mut Effects) -> bool {
        let vol = &mut self.volumes[v];
        vol.mark(range);
        let adopting = vol.sync.as_mut().is_some_and(Sync::stop_adopting);
        if vol.disk != DiskState::Inconsistent || adopting {
            vol.durable.lack = Lack::Saving;
            let flags = &mut vol.metadata().superblock.flags;
            flags.consistent = false;
            flags.was_up_to_date = false;
            let (volume, disk) = (vol.id, DiskState::Inconsistent);
            self.set_disk(v, disk, "a write failed that the peer has", out);
            self.save_superblock(v, Then::Degraded, out);
            if self.volumes[v].joined() {
                self.send(Message::DiskIs { volume, disk }, out);
                // From now on our clients read there.
                self.say_settled(v, out);
            }
        }
        self.volumes[v].durable.lack != Lack::Saving
    }

    /// The session goes on, and the peer has writes that failed here while the link was away.
    pub(super) fn degrade_resumed(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        if !vol.takes_writes() || !vol.readable() || !vol.peer_has_good() {
            return;
        }
        for range in self.failed_mirrors(v) {
            self.degrade(v, range, out);
        }
    }

    /// What to answer for a write that only the peer has; nothing if that has to wait.
    pub(super) fn settle_at_peer_alone(
        &mut self,
        v: usize,
        id: WriteId,
        out: &mut Effects,
    ) -> Option<Result<(), IoError>> {
        let vol = &mut self.volumes[v];
        let write = &vol.local[&id];
        let (range, error) = (write.range, write.error);
        if !vol.takes_writes() {
            return (!vol.lack_is_open()).then_some(Ok(()));
        }
        if vol.readable() && !vol.peer_has_good() {
            // Nobody has it whole.
            vol.mark(range);
            return Some(Err(error));
        }
        self.degrade(v, range, out).then_some(Ok(()))
    }

    /// A disk is lost while the peer takes our writes: what only the peer has waits until the peer
    /// has made durable that this disk lacks it.
    pub(super) fn lose_disk_to_peer(&mut self, v: usize) {
        let alone = self.volumes[v].mode == Mode::Alone;
        if alone && !self.volumes[v].lack_is_open() {
            return;
        }
        // A superblock on its way to say it will not get there.
        self.volumes[v].durable.lack = Lack::Unasked;
        if alone {
            return self.fail_at_peer_alone(v);
        }
        // Asked before the peer knew: that it flushed then says nothing of its generation.
        self.unask_flushes(v);
    }

    /// Asks the peer, which knows that the disk here is lost, to answer when that is durable.
    pub(super) fn ask_lack(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.durable.lack == Lack::Unasked && vol.joined() {
            let id = vol.durable.next_flush_id();
            vol.durable.lack = Lack::Asked(id);
            let volume = vol.id;
            self.send(Message::StandIn { volume, id }, out);
        }
    }

    /// The peer's disk failed, and what its clients are answered may be here alone: from now on this
    /// copy has a generation that the other lacks.
    pub(super) fn on_stand_in(&mut self, v: usize, epoch: LinkEpoch, id: u64, out: &mut Effects) {
        if !self.volumes[v].readable() {
            // This copy would be overruled by the one that failed, once it is back.
            return self.flush_then(v, FlushThen::Peer(epoch, id), false, out);
        }
        self.go_on_alone(v, "the peer's disk failed", out);
        self.want_flush(v, FlushThen::Peer(epoch, id), out);
    }

    /// The peer has answered a flush.
    pub(super) fn on_lack_answered(&mut self, v: usize, id: u64, ok: bool, out: &mut Effects) {
        if self.volumes[v].durable.lack == Lack::Asked(id) {
            if !ok {
                self.fail_at_peer_alone(v);
            }
            self.lack_is_known(v, out);
        }
    }

    /// What waited for that is answered.
    pub(super) fn lack_is_known(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        vol.durable.lack = Lack::Known;
        let lost = vol.local.iter().filter(|(_, write)| write.disk == DiskPart::Lost);
        let waiting: Vec<WriteId> = lost.map(|(id, _)| *id).collect();
        for id in waiting {
            self.try_settle(v, id, out);
        }
        self.touch(v);
    }

    /// The peer may lose what it alone has, or has lost its disk too: nobody can answer for it.
    pub(super) fn fail_at_peer_alone(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        if matches!(vol.durable.lack, Lack::Unasked | Lack::Asked(_)) {
            for write in vol.local.values_mut() {
                if write.peer == PeerPart::Acked {
                    write.peer = PeerPart::Failed;
                }
            }
            vol.durable.lack = Lack::Known;
        }
    }

    /// Whether the answer to a flush has to wait for our generation: the peer answers its clients
    /// with it, and it must not be taken back.
    pub(super) fn peer_waits_for_generation(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        vol.joined() && vol.minted == Minted::Saving
    }

    /// The generation is durable, or will never be.
    pub(super) fn answer_peer_flushes(&mut self, v: usize, ok: bool, out: &mut Effects) {
        let waiting: Vec<(LinkEpoch, u64)> =
            std::mem::take(&mut self.volumes[v].durable.peer_flushes);
        for (epoch, id) in waiting {
            self.flush_then(v, FlushThen::Peer(epoch, id), ok, out);
        }
    }
}
