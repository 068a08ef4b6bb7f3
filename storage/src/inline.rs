//! Plain calls on the caller's thread, for files that never make it wait.

use crate::file::BackingFile;
use crate::{Completion, Op, OpId};
use std::collections::VecDeque;

/// Requests wait until [`Inline::kick`], which does them all, in order.
#[derive(Debug)]
pub(crate) struct Inline {
    pub(crate) file: BackingFile,
    queue: VecDeque<(OpId, Op)>,
    ready: Vec<Completion>,
}

impl Inline {
    pub(crate) fn new(file: BackingFile) -> Self {
        Self { file, queue: VecDeque::new(), ready: Vec::new() }
    }

    pub(crate) fn submit(&mut self, id: OpId, op: Op) {
        self.queue.push_back((id, op));
    }

    pub(crate) fn kick(&mut self) {
        for (id, op) in self.queue.drain(..) {
            self.ready.push(Completion { id, result: self.file.run(op) });
        }
    }

    pub(crate) fn try_completions(&mut self, out: &mut Vec<Completion>) {
        out.append(&mut self.ready);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.queue.len() + self.ready.len()
    }
}
