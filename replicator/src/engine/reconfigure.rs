//! Options that change while the resource is up: `adjust`, `net-options` and their like.
//!
//! Everything here is read where it is used, so that a new value holds from the next moment on:
//! limits of time from the next look at them, policies from the next question. What the copies and
//! the peer rely on is not taken from under them: such a change is refused, with the order that
//! makes it possible.

use super::Engine;
use crate::effect::{Effects, Refusal, RefusalKind};
use crate::input::Reconfigure;
use crate::options::{Fencing, Options};
use types::Role;
use types::mutation::{self, Mutation};

impl Engine {
    /// Takes new options, or leaves all of them as they are.
    pub(super) fn reconfigure(
        &mut self,
        wanted: Reconfigure,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let Reconfigure { node_name, peer_name, options } = wanted;
        if !mutation::on(Mutation::OptionsUnchecked) {
            self.check_primaries(&options)?;
            self.check_fencing(&options)?;
        }
        self.config.options = options;
        self.config.node_name = node_name;
        self.config.peer_name = peer_name;
        self.shorten_pause();
        self.hello_is_stale("the options have changed meanwhile", out);
        for v in 0..self.volumes.len() {
            self.answer_all_early(v, out);
        }
        self.touch_all();
        Ok(())
    }

    /// Two Primaries are not forbidden from under one of them.
    fn check_primaries(&self, wanted: &Options) -> Result<(), Refusal> {
        let here = self.role == Role::Primary || self.promoting();
        let peer = self.peer_role == Role::Primary || self.peer_may_promote;
        let forbids = self.config.options.allow_two_primaries && !wanted.allow_two_primaries;
        if forbids && here && peer {
            let text = format!(
                "both nodes are Primary, which needs allow-two-primaries: run `repadm secondary \
                 {}` on one of them first",
                self.config.resource
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        Ok(())
    }

    /// I/O that stands still until the peer is fenced is not set going by a change of options.
    fn check_fencing(&self, wanted: &Options) -> Result<(), Refusal> {
        let frozen = (0..self.volumes.len()).any(|v| self.is_frozen(v));
        if frozen && wanted.fencing != Fencing::ResourceAndStonith {
            let text = format!(
                "I/O is frozen until the peer is fenced, as the fencing in force says: connect or \
                 fence the peer, or let it go on without that by `repadm resume-io {}`, and change \
                 it then",
                self.config.resource
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        Ok(())
    }

    /// `flush_bytes` that was lowered holds once what was outstanding before is within it; until then
    /// what was outstanding does not grow beyond what was allowed then.
    pub(super) fn settle_outstanding_limit(&mut self) {
        let limit = self.config.options.flush_bytes.max(types::EXTENT_BYTES);
        let outstanding = self.volumes.iter().map(|vol| vol.durable.outstanding()).max();
        // Never raised by what is outstanding: `check_invariants` would have nothing to find.
        let old = self.outstanding_limit.min(outstanding.unwrap_or(0));
        self.outstanding_limit = limit.max(old);
    }
}
