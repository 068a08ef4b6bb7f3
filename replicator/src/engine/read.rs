//! Reads. A read goes to the local disk at once; its *answer* is held until every overlapping
//! write that was unsettled here when the disk read ended has settled. Later writes do not extend
//! the wait. So a value once read on either node is never followed by an older one on the other.
//!
//! What the local disk does not have is read from the peer, under the peer's read rule.
//!
//! A map of what reads as zeros says something of the content too, so it is a read by these rules;
//! what is different is in `block_status`.

use super::Engine;
use super::disk::DiskUse;
use super::volume::{Mode, Volume};
use super::write::{LocalWrite, WriteId};
use crate::effect::{DiskOp, Effects, IoError};
use crate::input::{DiskError, LinkEpoch, RequestId};
use crate::wire::Message;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeSet;
use types::mutation::{self, Mutation};
use types::{ByteRange, DiskState, EXTENT_BYTES};

/// A client's read in pieces; mostly one.
#[derive(Debug)]
pub(super) struct Read {
    range: ByteRange,
    /// Not the bytes are wanted, but which of them are zeros.
    is_map: bool,
    pieces: Vec<(ByteRange, Option<Bytes>)>,
}

impl Read {
    pub(super) fn new(range: ByteRange) -> Self {
        Self { range, is_map: false, pieces: Vec::new() }
    }

    pub(super) fn of_map(range: ByteRange) -> Self {
        Self { is_map: true, ..Self::new(range) }
    }

    /// The bytes of all pieces; without a copy if there is but one.
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.swap_remove(0).1.unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.range.len as usize);
        for (_, data) in self.pieces {
            whole.extend_from_slice(&data.expect("a read is answered when every piece is there"));
        }
        whole.freeze()
    }
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A piece of a client's read.
    Client(RequestId, usize),
    /// The peer, by this link.
    Peer(LinkEpoch, u64),
}

/// A write that an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unsettled {
    Local(WriteId),
    Mirror(u64),
    /// Writes of the peer in a session that is over.
    Ghosts,
}

/// A read that is done and may not be answered yet.
#[derive(Debug)]
pub(super) struct HeldRead {
    reader: Reader,
    data: Bytes,
    waits_for: BTreeSet<Unsettled>,
}

impl Volume {
    /// Whether the local disk has these bytes as they should be.
    pub(super) fn has_good(&self, range: ByteRange) -> bool {
        self.first_lack(range).is_none()
    }

    /// What of these bytes the local disk lacks first, if anything.
    pub(super) fn first_lack(&self, range: ByteRange) -> Option<ByteRange> {
        let Some(meta) = &self.meta else { return Some(range) };
        match self.disk {
            DiskState::UpToDate | DiskState::Consistent => self.first_unreadable(range),
            DiskState::Inconsistent if self.joined() => {
                let blocks = range.blocks();
                let marked = meta.bitmap.any(blocks) && !mutation::on(Mutation::ReadMarked);
                let run = marked.then(|| meta.bitmap.next_run(blocks.start, blocks.len()));
                run.flatten().and_then(|run| run.bytes().intersection(range))
            }
            _ => Some(range),
        }
    }

    fn unsettled(&self, range: ByteRange) -> BTreeSet<Unsettled> {
        let open = |write: &LocalWrite| !write.answered && write.range.overlaps(range);
        let ours = self.local.iter().filter(|(_, write)| open(write));
        let ours = ours.map(|(id, _)| Unsettled::Local(*id));
        let theirs = self.mirror.iter().filter(|(_, write)| write.range.overlaps(range));
        let theirs = theirs.map(|(seq, _)| Unsettled::Mirror(*seq));
        let ghost = self.ghosts.iter().any(|ghost| ghost.overlaps(range));
        ours.chain(theirs).chain(ghost.then_some(Unsettled::Ghosts)).collect()
    }

    /// Reads that waited for the peer's writes of a session wait for its ghosts now.
    pub(super) fn hold_for_ghosts(&mut self) {
        for read in &mut self.held {
            let before = read.waits_for.len();
            read.waits_for.retain(|wait| !matches!(wait, Unsettled::Mirror(_)));
            if read.waits_for.len() < before {
                read.waits_for.insert(Unsettled::Ghosts);
            }
        }
    }

    /// Nobody waits for these any more.
    pub(super) fn forget_held(&mut self, gone: &BTreeSet<RequestId>) {
        let wanted = |read: &HeldRead| match read.reader {
            Reader::Client(id, _) => !gone.contains(&id),
            Reader::Peer(..) => true,
        };
        self.held.retain(wanted);
    }

    /// Whether a read of a client here waits for what the lost peer wrote. What the peer itself was
    /// reading it will not be answered.
    pub(super) fn holds_for_peer(&self) -> bool {
        let theirs = |wait: &Unsettled| !matches!(wait, Unsettled::Local(_));
        let ours = |read: &&HeldRead| matches!(read.reader, Reader::Client(..));
        self.held.iter().filter(ours).any(|read| read.waits_for.iter().any(theirs))
    }
}

impl Engine {
    /// Starts, or starts again, what of a client's read is not there yet.
    pub(super) fn start_client_read(&mut self, v: usize, id: RequestId, out: &mut Effects) {
        let stands_still = self.is_suspended_by_user() || self.is_frozen(v);
        let Some(request) = self.requests.get(&id) else { return };
        let read = request.read.as_ref().expect("the request is a read");
        let (range, is_map) = (read.range, read.is_map);
        if range.is_empty() {
            return self.answer_read_with(v, id, range, Bytes::new(), out);
        }
        let vol = &mut self.volumes[v];
        if stands_still {
            return vol.parked_reads.push(id);
        }
        if mutation::on(Mutation::WaitThenRead) && !vol.unsettled(range).is_empty() {
            return vol.parked_reads.push(id);
        }
        if is_map {
            return self.start_map(v, id, range, out);
        }
        let balanced = self.reads_at_peer(v, range);
        let pieces: Vec<ByteRange> = if self.volumes[v].has_good(range) && !balanced {
            vec![range]
        } else if self.peer_serves(v) {
            range.split(EXTENT_BYTES).collect()
        } else {
            return self.park_or_fail_read(v, id, out);
        };
        self.cut_read(id, &pieces);
        for (index, range) in pieces.into_iter().enumerate() {
            match balanced {
                true => self.read_at_peer(v, Reader::Client(id, index), range, out),
                false => self.start_piece_read(v, Reader::Client(id, index), range, out),
            }
        }
    }

    /// Whether what the local disk does not have is to be had from the peer.
    pub(super) fn peer_serves(&self, v: usize) -> bool {
        self.volumes[v].peer_has_good() && !self.link_holds()
    }

    /// Nobody has what is to be read: it waits for the peer, who may be back in a moment, or fails.
    pub(super) fn park_or_fail_read(&mut self, v: usize, id: RequestId, out: &mut Effects) {
        let waits = matches!(self.volumes[v].mode, Mode::Waiting { .. });
        if waits || self.link_holds() || self.suspends(v) {
            self.volumes[v].parked_reads.push(id);
        } else {
            self.fail_read(id, IoError::Io, out);
        }
    }

    /// A client's read will be answered when these pieces are there.
    pub(super) fn cut_read(&mut self, id: RequestId, pieces: &[ByteRange]) {
        let request = self.requests.get_mut(&id).expect("the caller has found it");
        let read = request.read.as_mut().expect("the request is a read");
        read.pieces = pieces.iter().map(|piece| (*piece, None)).collect();
        request.left = pieces.len();
    }

    /// The answer is known without a disk.
    pub(super) fn answer_read_with(
        &mut self,
        v: usize,
        id: RequestId,
        range: ByteRange,
        data: Bytes,
        out: &mut Effects,
    ) {
        self.cut_read(id, &[range]);
        self.answer_reader(v, Reader::Client(id, 0), Some(data), out);
    }

    fn start_piece_read(&mut self, v: usize, reader: Reader, range: ByteRange, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.has_good(range) {
            vol.counters.read_bytes += range.len;
            self.disk_op(v, DiskUse::Read(reader, range), DiskOp::Read(range), out);
        } else if vol.peer_lacks_answered(range) {
            vol.parked_pieces.push((reader, range));
        } else {
            self.read_at_peer(v, reader, range, out);
        }
    }

    fn read_at_peer(&mut self, v: usize, reader: Reader, range: ByteRange, out: &mut Effects) {
        let id = self.next_op;
        self.next_op += 1;
        let volume = self.volumes[v].id;
        self.peer_reads.insert(id, (v, reader, range));
        if self.volumes[v].readable() {
            // Where nobody reads otherwise nobody has been told what has settled.
            self.say_settled(v, out);
        }
        self.send(Message::Read { volume, id, range }, out);
    }

    /// The disk has answered a read, or a map.
    pub(super) fn on_read(
        &mut self,
        v: usize,
        reader: Reader,
        range: ByteRange,
        result: Result<Bytes, DiskError>,
        out: &mut Effects,
    ) {
        let Ok(data) = result else { return self.on_read_failed(v, reader, range, out) };
        if self.volumes[v].meta.is_none() {
            // The disk was let go meanwhile: it lacks what came since, and a failed flush may have
            // taken what was there.
            return self.on_read_failed(v, reader, range, out);
        }
        let vol = &mut self.volumes[v];
        if vol.mode == Mode::Alone && !vol.readable() {
            return self.answer_reader(v, reader, None, out);
        }
        let waits_for = vol.unsettled(range);
        let unheld = mutation::on(Mutation::ReadNotHeld) || mutation::on(Mutation::WaitThenRead);
        if waits_for.is_empty() || unheld {
            return self.answer_reader(v, reader, Some(data), out);
        }
        vol.held.push(HeldRead { reader, data, waits_for });
        self.pump_ghosts(v, out);
    }

    /// Somebody reads what the lost peer wrote last: that must not be taken back by a copy that never
    /// had it. Not while a handshake runs: what was said in it must stay true.
    pub(super) fn pump_ghosts(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        if vol.mode == Mode::Alone && vol.holds_for_peer() && !self.link_holds() {
            self.go_on_alone(v, "a read of what the lost peer wrote last", out);
        }
    }

    /// The copy here is not good and its source is lost: no read is answered from it.
    pub(super) fn fail_held(&mut self, v: usize, out: &mut Effects) {
        for read in std::mem::take(&mut self.volumes[v].held) {
            self.answer_reader(v, read.reader, None, out);
        }
    }

    /// What was read and not answered is read anew: the copy here is the older one. So is what the
    /// disk is still reading, once it has.
    pub(super) fn redo_held(&mut self, v: usize, out: &mut Effects) {
        for (_, what) in self.disk_ops.values_mut().filter(|(of, _)| *of == v) {
            match *what {
                DiskUse::Read(reader, _) => *what = DiskUse::Stale(reader),
                DiskUse::Map(id, _) => *what = DiskUse::Stale(Reader::Client(id, 0)),
                DiskUse::Unit(_) | DiskUse::Stale(_) | DiskUse::Flush | DiskUse::Abandoned => {}
            }
        }
        for read in std::mem::take(&mut self.volumes[v].held) {
            self.redo(v, read.reader, out);
        }
    }

    /// Reads anew.
    pub(super) fn redo(&mut self, v: usize, reader: Reader, out: &mut Effects) {
        match reader {
            Reader::Client(id, _) if self.is_whole(id) => self.start_client_read(v, id, out),
            reader => self.answer_reader(v, reader, None, out),
        }
    }

    /// A read that the local disk could not do is done by the peer, if there is one.
    pub(super) fn on_read_failed(
        &mut self,
        v: usize,
        reader: Reader,
        range: ByteRange,
        out: &mut Effects,
    ) {
        let vol = &self.volumes[v];
        let (here, peer_has) = (vol.has_good(range), vol.peer_has_good());
        match reader {
            // The disk is kept: it would fail again.
            Reader::Client(..) | Reader::Peer(..) if here => {
                self.answer_reader(v, reader, None, out);
            }
            Reader::Client(id, _) if self.is_whole(id) => self.start_client_read(v, id, out),
            Reader::Client(..) if peer_has => self.start_piece_read(v, reader, range, out),
            _ => self.answer_reader(v, reader, None, out),
        }
    }

    /// Whether a client's read is in one piece: then it can be started again as a whole.
    fn is_whole(&self, id: RequestId) -> bool {
        let read = self.requests.get(&id).and_then(|request| request.read.as_ref());
        read.is_some_and(|read| read.pieces.len() == 1)
    }

    fn answer_reader(&mut self, v: usize, reader: Reader, data: Option<Bytes>, out: &mut Effects) {
        match reader {
            Reader::Peer(epoch, id) => {
                let volume = self.volumes[v].id;
                if self.link_epoch() == Some(epoch) {
                    self.send(Message::ReadDone { volume, id, data }, out);
                }
            }
            Reader::Client(id, _) if data.is_none() && self.suspends(v) && self.is_whole(id) => {
                self.start_client_read(v, id, out);
            }
            Reader::Client(id, index) => {
                let Some(request) = self.requests.get_mut(&id) else { return };
                let result = if data.is_some() { Ok(()) } else { Err(IoError::Io) };
                let read = request.read.as_mut().expect("the request is a read");
                read.pieces[index].1 = Some(data.unwrap_or_default());
                self.part_done(id, result, out);
            }
        }
    }

    pub(super) fn fail_read(&mut self, id: RequestId, error: IoError, out: &mut Effects) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.left = 1;
        }
        self.part_done(id, Err(error), out);
    }

    /// The peer wants to read what its own disk does not have.
    pub(super) fn on_peer_read(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        id: u64,
        range: ByteRange,
        out: &mut Effects,
    ) {
        let vol = &self.volumes[v];
        if range.end() > vol.size {
            return self.protocol_error("a read beyond the end of the volume", out);
        }
        let reader = Reader::Peer(epoch, id);
        if vol.readable() {
            self.disk_op(v, DiskUse::Read(reader, range), DiskOp::Read(range), out);
        } else {
            self.answer_reader(v, reader, None, out);
        }
    }

    pub(super) fn on_peer_read_done(&mut self, id: u64, data: Option<Bytes>, out: &mut Effects) {
        let Some((v, reader, range)) = self.peer_reads.remove(&id) else { return };
        if data.as_ref().is_some_and(|data| data.len() as u64 != range.len) {
            return self.protocol_error("a read answered with other bytes than asked for", out);
        }
        if data.is_none() && self.volumes[v].has_good(range) {
            return self.start_piece_read(v, reader, range, out);
        }
        self.answer_reader(v, reader, data, out);
    }

    /// A new link, or a new session: what was asked of the peer is asked again.
    pub(super) fn repeat_peer_reads(&mut self, v: usize, out: &mut Effects) {
        let volume = self.volumes[v].id;
        let open: Vec<(u64, ByteRange)> = self
            .peer_reads
            .iter()
            .filter(|(_, (of, ..))| *of == v)
            .map(|(id, (_, _, range))| (*id, *range))
            .collect();
        for (id, range) in open {
            self.send(Message::Read { volume, id, range }, out);
        }
    }

    /// The peer counts as lost, or has no good disk any more: what was asked of it is read here, if
    /// the copy here has become good meanwhile, or fails.
    pub(super) fn give_up_peer_reads(&mut self, v: usize, out: &mut Effects) {
        let open: Vec<u64> =
            self.peer_reads.iter().filter(|(_, (of, ..))| *of == v).map(|(id, _)| *id).collect();
        let mut given_up = std::mem::take(&mut self.volumes[v].parked_pieces);
        for id in open {
            let (_, reader, range) = self.peer_reads.remove(&id).expect("just listed");
            given_up.push((reader, range));
        }
        for (reader, range) in given_up {
            if self.volumes[v].has_good(range) {
                self.start_piece_read(v, reader, range, out);
            } else {
                self.answer_reader(v, reader, None, out);
            }
        }
    }

    pub(super) fn pump_parked_reads(&mut self, v: usize, out: &mut Effects) {
        for (reader, range) in std::mem::take(&mut self.volumes[v].parked_pieces) {
            self.start_piece_read(v, reader, range, out);
        }
        if self.volumes[v].parked_reads.is_empty() || !self.admits(v) {
            return;
        }
        for id in std::mem::take(&mut self.volumes[v].parked_reads) {
            self.start_client_read(v, id, out);
        }
    }

    pub(super) fn release_local(&mut self, v: usize, id: WriteId, out: &mut Effects) {
        self.release(v, Unsettled::Local(id), out);
    }

    /// What the peer wrote at the end of its session cannot be taken back any more.
    pub(super) fn release_ghosts(&mut self, v: usize, out: &mut Effects) {
        self.volumes[v].ghosts.clear();
        self.release(v, Unsettled::Ghosts, out);
    }

    pub(super) fn release_mirror(&mut self, v: usize, seq: u64, out: &mut Effects) {
        self.release(v, Unsettled::Mirror(seq), out);
    }

    /// A write has settled: answers that waited for it alone are given.
    fn release(&mut self, v: usize, settled: Unsettled, out: &mut Effects) {
        let held = &mut self.volumes[v].held;
        let mut at = 0;
        let mut ready = Vec::new();
        while at < held.len() {
            held[at].waits_for.remove(&settled);
            if held[at].waits_for.is_empty() {
                ready.push(held.remove(at));
            } else {
                at += 1;
            }
        }
        for read in ready {
            self.answer_reader(v, read.reader, Some(read.data), out);
        }
    }
}
