//! The life of a client's request: admission, cutting into pieces, answer.

use super::Engine;
use super::read::Read;
use super::volume::Payload;
use super::write::Piece;
use crate::effect::{Effect, Effects, IoError};
use crate::input::{ClientId, ClientOp, RequestId};
use bytes::Bytes;
use std::collections::BTreeSet;
use types::mutation::{self, Mutation};
use types::{ByteRange, EXTENT_BYTES, Role, Stage, Time};

/// A request that is not yet answered.
#[derive(Debug)]
pub(super) struct Request {
    pub client: ClientId,
    pub volume: usize,
    /// When it came.
    pub since: Time,
    /// As what the time until its answer counts; a map of what is allocated as nothing.
    pub counts_as: Option<Stage>,
    /// Pieces, or halves of a flush, not yet done.
    pub left: usize,
    /// The first error; it stays, whatever comes after it.
    pub error: Option<IoError>,
    /// Only of a read, or of a map of what is allocated.
    pub read: Option<Read>,
}

impl Engine {
    pub(super) fn on_request(
        &mut self,
        id: RequestId,
        client: ClientId,
        volume: types::VolumeId,
        op: ClientOp,
        out: &mut Effects,
    ) {
        let refuse = |error| Effect::Complete { id, result: Err(error) };
        let Some(v) = self.find_volume(volume) else { return out.push(refuse(IoError::Io)) };
        if self.stopping() {
            return out.push(refuse(IoError::Shutdown));
        }
        if self.role != Role::Primary || self.demoting() {
            return out.push(refuse(IoError::NotPrimary));
        }
        let since = self.now;
        let counts_as = match op {
            ClientOp::Write { .. } | ClientOp::Zero { .. } => Some(Stage::Write),
            ClientOp::Read(_) => Some(Stage::Read),
            ClientOp::Flush => Some(Stage::Flush),
            ClientOp::Allocation(_) | ClientOp::OutOfSync(_) => None,
        };
        let mut request =
            Request { client, volume: v, since, counts_as, left: 0, error: None, read: None };
        match op {
            ClientOp::Flush => {
                request.left = 2;
                self.take(id, request);
                self.start_client_flush(v, id, out);
            }
            ClientOp::Read(range) => {
                request.read = Some(Read::new(range));
                self.take(id, request);
                self.start_client_read(v, id, out);
            }
            ClientOp::Allocation(range) => {
                request.read = Some(Read::of_map(range));
                self.take(id, request);
                self.start_client_read(v, id, out);
            }
            ClientOp::OutOfSync(range) => {
                // Also while I/O stands still: it says nothing of the data.
                let map = self.volumes[v].out_of_sync(range);
                out.push(Effect::Complete { id, result: Ok(map.encode().into()) });
            }
            ClientOp::Write { range, data, fua } => {
                assert_eq!(range.len, data.len() as u64, "a write has the length of its data");
                self.take(id, request);
                self.queue_pieces(id, range, &Payload::Data(data), fua, out);
            }
            ClientOp::Zero { range, unmap, fua } => {
                self.take(id, request);
                self.queue_pieces(id, range, &Payload::Zero { unmap }, fua, out);
            }
        }
        self.touch(v);
    }

    fn take(&mut self, id: RequestId, request: Request) {
        self.volumes[request.volume].counters.upper_pending += 1;
        self.last_client = Some(self.now);
        self.requests.insert(id, request);
    }

    /// Cuts a write at extents: each piece has its own number, and its own extent in the log.
    fn queue_pieces(
        &mut self,
        id: RequestId,
        range: ByteRange,
        payload: &Payload,
        fua: bool,
        out: &mut Effects,
    ) {
        let request = self.requests.get_mut(&id).expect("just taken");
        let vol = &mut self.volumes[request.volume];
        for piece in range.split(EXTENT_BYTES) {
            let payload = match payload {
                Payload::Data(data) => {
                    let from = (piece.offset - range.offset) as usize;
                    Payload::Data(data.slice(from..from + piece.len as usize))
                }
                Payload::Zero { unmap } => Payload::Zero { unmap: *unmap },
            };
            vol.queue.push_back(Piece { request: id, range: piece, payload, fua, waited: false });
            request.left += 1;
        }
        if request.left == 0 {
            self.answer(id, out);
        }
    }

    /// One part of a request has ended.
    pub(super) fn part_done(
        &mut self,
        id: RequestId,
        result: Result<(), IoError>,
        out: &mut Effects,
    ) {
        // The client may have gone.
        let Some(request) = self.requests.get_mut(&id) else { return };
        assert!(request.left > 0, "{id:?} has more parts than it was cut into");
        request.left -= 1;
        if let Err(error) = result {
            request.error.get_or_insert(error);
        }
        if request.left == 0 {
            self.answer(id, out);
        }
    }

    /// What has ended well while I/O was suspended is answered after it.
    pub(super) fn pump_withheld(&mut self, out: &mut Effects) {
        for id in std::mem::take(&mut self.withheld) {
            self.answer(id, out);
        }
    }

    fn answer(&mut self, id: RequestId, out: &mut Effects) {
        // The client may have gone.
        let Some(request) = self.requests.get(&id) else { return };
        let withholds = !mutation::on(Mutation::AnswerFrozen);
        if request.error.is_none() && withholds && self.is_suspended(request.volume) {
            return self.withheld.push(id);
        }
        let request = self.requests.remove(&id).expect("just seen");
        let vol = &mut self.volumes[request.volume];
        vol.counters.upper_pending -= 1;
        if let Some(stage) = request.counts_as.filter(|_| request.error.is_none()) {
            vol.ledger.record(stage, self.now.since(request.since));
        }
        self.touch(request.volume);
        self.client_answered(request.since);
        let result = match (request.error, request.read) {
            (Some(error), _) => Err(error),
            (None, Some(read)) => Ok(read.into_bytes()),
            (None, None) => Ok(Bytes::new()),
        };
        out.push(Effect::Complete { id, result });
    }

    pub(super) fn on_client_closed(&mut self, client: ClientId) {
        self.clients.remove(&client);
        let gone: BTreeSet<RequestId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.client == client)
            .map(|(id, _)| *id)
            .collect();
        for id in &gone {
            let request = self.requests.remove(id).expect("just listed");
            self.volumes[request.volume].counters.upper_pending -= 1;
        }
        // What has a number goes on; what has none never was.
        for v in 0..self.volumes.len() {
            let vol = &mut self.volumes[v];
            vol.queue.retain(|piece| !gone.contains(&piece.request));
            vol.locked.retain(|piece| !gone.contains(&piece.request));
            vol.parked_reads.retain(|id| !gone.contains(id));
            vol.log.forget(&gone);
            vol.durable.forget_flushes(&gone);
            vol.forget_held(&gone);
            vol.touched = true;
        }
    }

    /// Fails everything that is not yet started.
    pub(super) fn fail_queued(&mut self, v: usize, error: IoError, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let mut pieces: Vec<Piece> = vol.queue.drain(..).collect();
        pieces.append(&mut vol.locked);
        pieces.extend(vol.log.take_waiting());
        for piece in pieces {
            self.part_done(piece.request, Err(error), out);
        }
        for id in std::mem::take(&mut self.volumes[v].parked_reads) {
            self.fail_read(id, error, out);
        }
    }
}
