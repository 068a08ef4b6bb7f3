//! The engine: see [`Engine`].

use crate::{Effects, EngineConfig, Input, Status};
use metadata::OutOfSync;
use types::{Time, VolumeId};

/// One resource on one node.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// An engine with no disk attached and no link. `seed` feeds every id that it makes up
    /// (generations, sessions, nonces): random in the daemon, chosen in the simulator.
    pub fn new(_config: EngineConfig, _seed: u64, _now: Time) -> Self {
        todo!()
    }

    /// Takes one input and appends what is to be done. `now` never goes backwards.
    pub fn step(&mut self, _now: Time, _input: Input, _out: &mut Effects) {
        todo!()
    }

    /// When [`Input::Timer`] is wanted, if ever. It may lie in the past: then at once (after
    /// what else is ready: small messages are batched until then).
    pub fn next_deadline(&self) -> Option<Time> {
        todo!()
    }

    /// A picture of it.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// The out-of-sync bitmap of a volume with a disk: for the simulator's oracles and dumps.
    pub fn out_of_sync(&self, _volume: VolumeId) -> Option<&OutOfSync> {
        todo!()
    }

    /// Whether this node would, if the peer were lost now, mark that block: it is marked, or a
    /// write to it is in flight, or was acknowledged by the peer and is not known durable there.
    pub fn covers(&self, _volume: VolumeId, _block: u64) -> bool {
        todo!()
    }
}
