//! `before-resync-target`: a handler that runs before a resync to here begins, for instance to
//! make a snapshot of the data as they are now. It may forbid the resync.
//!
//! It runs while there is no link, so that neither node's clients wait for it: the handshake that
//! found that this node is the target is given up, and repeated when the handler has ended well.

use super::Engine;
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use crate::input::HandlerId;
use crate::wire::{Plan, RefuseCode};
use types::ConnectionState;

/// How far the preparation of a resync is.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    /// Handlers that have not ended.
    running: Vec<HandlerId>,
    /// All have ended well, and the next handshake may begin the resync.
    done: bool,
}

impl Engine {
    /// Whether the handshake is given up because a handler must run first.
    pub(super) fn prepares_first(&mut self, plans: &[Plan], out: &mut Effects) -> bool {
        if !self.config.options.prepares_resync || self.preparation.done {
            return false;
        }
        let targets: Vec<usize> = plans
            .iter()
            .enumerate()
            .filter(|(_, plan)| matches!(plan, Plan::Target(_)))
            .map(|(v, _)| v)
            .collect();
        if targets.is_empty() {
            return false;
        }
        for v in targets {
            let id = self.run_handler(Handler::BeforeResyncTarget, Some(v), out);
            self.preparation.running.push(id);
        }
        let text = format!("{} runs before-resync-target first", self.config.node_name);
        self.refuse_link(RefuseCode::Busy, text, out);
        true
    }

    /// Whether no connection is wanted just now.
    pub(super) fn is_preparing(&self) -> bool {
        !self.preparation.running.is_empty()
    }

    /// A handler has ended; nothing if it was not one of these.
    pub(super) fn on_prepared(&mut self, id: HandlerId, exit: Option<i32>, out: &mut Effects) {
        let running = &mut self.preparation.running;
        let Some(at) = running.iter().position(|of| *of == id) else { return };
        running.swap_remove(at);
        if exit != Some(0) {
            self.preparation = Preparation::default();
            let code = exit.map_or_else(|| "no exit code".to_owned(), |code| code.to_string());
            let text = format!(
                "before-resync-target forbids the resync ({code}): this node stands alone; \
                 `repadm connect {}` tries again",
                self.config.resource
            );
            out.push(Effect::Event(Event::Warning { text: text.clone() }));
            self.last_refusal = Some(text.clone());
            self.dial.wanted = false;
            self.set_connection(ConnectionState::StandAlone, &text, out);
            return self.decide_all_alone(out);
        }
        if self.preparation.running.is_empty() {
            self.preparation.done = true;
            if self.dial.wanted {
                self.dial_now();
            }
        }
    }

    /// The resync has begun, or nobody wants it any more.
    pub(super) fn forget_preparation(&mut self) {
        self.preparation = Preparation::default();
    }
}
