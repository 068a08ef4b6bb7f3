//! What only a mutation does, where it takes more than a line.

use super::Engine;
use super::volume::{Payload, Work};
use super::write::Piece;
use crate::effect::Effects;
use crate::input::RequestId;
use types::ByteRange;

/// No request of a client has such a number.
const MIRROR: u64 = 1 << 63;

impl Engine {
    /// A mirrored write waits for the log as a local one does; true if it has to.
    pub(super) fn mirror_waits_for_log(&mut self, v: usize, seq: u64, range: ByteRange) -> bool {
        let vol = &mut self.volumes[v];
        if vol.log.use_extent(vol.meta.as_mut(), range) {
            return false;
        }
        let request = RequestId(MIRROR | seq);
        let payload = Payload::Zero { unmap: false };
        vol.log.wait(Piece { request, range, payload, fua: false, waited: true });
        true
    }

    /// What waited goes on; a piece of a client who has left does not.
    pub(super) fn mirror_has_log(&mut self, v: usize, piece: &Piece, out: &mut Effects) {
        let seq = piece.request.0 & !MIRROR;
        if piece.request.0 & MIRROR != 0 && self.volumes[v].mirror.contains_key(&seq) {
            self.place(v, piece.range, Work::Mirror(seq), out);
        }
    }
}
