//! Handlers of a resource that the engine is to be told the end of.

use replicator::{HandlerId, Input};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Handlers that run, or wait to be run.
#[derive(Debug, Default)]
pub(super) struct RunningHandlers(BTreeMap<HandlerId, oneshot::Receiver<Option<i32>>>);

impl RunningHandlers {
    /// One more, whose exit code will come.
    pub(super) fn insert(&mut self, id: HandlerId, ended: oneshot::Receiver<Option<i32>>) {
        self.0.insert(id, ended);
    }

    /// Tells the engine which have ended. One that was never run has no exit code.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, inputs: &mut VecDeque<Input>) {
        self.0.retain(|&id, ended| match Pin::new(ended).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(ended) => {
                inputs.push_back(Input::HandlerDone { id, exit: ended.ok().flatten() });
                false
            }
        });
    }
}
