//! Orders about resyncs and generations.

use super::Script;
use crate::node::{Order, VOLUMES};
use replicator::{Command, PauseCause, Refusal};
use types::Time;

impl Script {
    /// What time it is.
    pub fn now(&self) -> Time {
        self.world.now
    }

    /// `pause-sync` and `resume-sync`, or what others who come first make of it.
    pub fn pause_sync(&mut self, node: usize, cause: PauseCause, on: bool) {
        let command = Command::PauseSync { volume: VOLUMES[0], cause, on };
        self.order(node, Order::Other, command).expect("it is never refused");
    }

    /// `invalidate`; with `--reset-bitmap=no` if the marks are to be kept.
    ///
    /// # Errors
    /// If it refuses.
    pub fn invalidate(&mut self, node: usize, keep_marks: bool) -> Result<(), Refusal> {
        let command = Command::Invalidate { volume: VOLUMES[0], keep_marks };
        self.order(node, Order::Other, command)
    }

    /// `invalidate-remote`.
    ///
    /// # Errors
    /// If it refuses.
    pub fn invalidate_remote(&mut self, node: usize) -> Result<(), Refusal> {
        let command = Command::InvalidateRemote { volume: VOLUMES[0], keep_marks: false };
        self.order(node, Order::Other, command)
    }

    /// `new-current-uuid`, of one volume.
    ///
    /// # Errors
    /// If it refuses.
    pub fn new_current_uuid(&mut self, node: usize, clear_bitmap: bool) -> Result<(), Refusal> {
        let command = Command::NewCurrentUuid { volume: VOLUMES[0], clear_bitmap };
        self.order(node, Order::Other, command)
    }

    /// As [`Self::new_current_uuid`] with the bitmap cleared, and nobody waits for the answer.
    pub fn ask_to_skip_sync(&mut self, node: usize) {
        let command = Command::NewCurrentUuid { volume: VOLUMES[0], clear_bitmap: true };
        self.world.order(node, Order::Other, command);
    }

    /// As [`Self::invalidate_remote`], and nobody waits for the answer.
    pub fn ask_to_invalidate_remote(&mut self, node: usize) {
        let command = Command::InvalidateRemote { volume: VOLUMES[0], keep_marks: false };
        self.world.order(node, Order::Other, command);
    }
}
