//! `read-balancing`: which of two good copies serves a client's read.
//!
//! A read at the peer is answered by the peer's rule for reads, as if this node had no disk; one
//! that the peer cannot answer is done here. With protocol A and B all are done here.

use super::Engine;
use super::volume::Volume;
use crate::options::ReadBalancing;
use types::ByteRange;

/// So many operations under way at once are much to do for a disk: `when-congested-remote`.
const CONGESTED: usize = 32;

impl Engine {
    /// Whether a read that the local disk could serve goes to the peer.
    pub(super) fn reads_at_peer(&mut self, v: usize, range: ByteRange) -> bool {
        let balancing = self.config.options.of_volume(self.volumes[v].id).read_balancing;
        if balancing == ReadBalancing::PreferLocal || !self.volumes[v].readable() {
            return false;
        }
        if !self.peer_serves(v) || !self.volumes[v].has_good(range) {
            return false;
        }
        // The peer may not have yet what clients were answered.
        if self.answers_early(v) || self.volumes[v].peer_lacks_answered(range) {
            return false;
        }
        match balancing {
            ReadBalancing::PreferLocal => false,
            ReadBalancing::PreferRemote => true,
            ReadBalancing::RoundRobin => {
                let vol: &mut Volume = &mut self.volumes[v];
                vol.remote_turn = !vol.remote_turn;
                vol.remote_turn
            }
            ReadBalancing::LeastPending => self.pending_here(v) > self.pending_at_peer(v),
            ReadBalancing::WhenCongestedRemote => self.pending_here(v) >= CONGESTED,
            ReadBalancing::Striping(bytes) => range.offset / bytes % 2 == 1,
        }
    }

    fn pending_here(&self, v: usize) -> usize {
        self.disk_ops.values().filter(|(of, _)| *of == v).count()
    }

    fn pending_at_peer(&self, v: usize) -> usize {
        self.peer_reads.values().filter(|(of, ..)| *of == v).count()
    }
}
