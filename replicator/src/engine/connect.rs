//! Orders about the peer: `connect`, `disconnect`, `outdate`.

use super::Engine;
use super::command::Stage;
use super::link::Link;
use crate::effect::{Effect, Effects, Refusal, RefusalKind};
use crate::input::CommandId;
use crate::wire::Message;
use types::{DiskState, Role, Time};

/// A `disconnect` that waits until somebody is Outdated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub id: CommandId,
    /// It does not wait longer.
    pub deadline: Time,
}

impl Engine {
    /// Seeks the peer. What the operator gives up is given up at the next verdict.
    pub(super) fn connect(
        &mut self,
        discard_my_data: bool,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        if discard_my_data && self.role == Role::Primary {
            let text = format!(
                "{} is Primary here, and a Primary's data is not discarded: run `repadm secondary \
                 {0}` first",
                self.config.resource
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        let joined = self.link.as_ref().is_some_and(Link::established);
        if !joined && self.discard_my_data != discard_my_data {
            self.discard_my_data = discard_my_data;
            self.state_is_stale(out);
        }
        if !self.dial.wanted {
            self.start_dialling(out);
        }
        Ok(())
    }

    /// Leaves the peer; a peer that is to be Outdated is given the time to make that durable.
    pub(super) fn disconnect(&mut self, id: CommandId, out: &mut Effects) {
        self.discard_my_data = false;
        self.forget_preparation();
        if self.leaving.is_none() && self.asks_to_outdate() {
            self.send(Message::Outdate, out);
            let deadline = self.now + self.config.options.timeout;
            self.leaving = Some(Leaving { id, deadline });
            return;
        }
        if self.leaving.is_none() && self.outdates_itself() {
            // The peer goes on as Primary, and need not fence this node.
            self.outdate_all("this node leaves a Primary", out);
            let deadline = self.now + self.config.options.timeout;
            self.leaving = Some(Leaving { id, deadline });
            return self.pump_leave(out);
        }
        if let Some(leaving) = self.leaving.take() {
            out.push(Effect::CommandDone { id: leaving.id, result: Ok(()) });
        }
        self.say_goodbye("disconnect", out);
        out.push(Effect::CommandDone { id, result: Ok(()) });
    }

    /// Goes on with leaving the peer.
    pub(super) fn pump_leave(&mut self, out: &mut Effects) {
        let Some(Leaving { id, deadline }) = self.leaving else { return };
        let gone = self.link.as_ref().is_none_or(|link| !link.established());
        let told = match self.role {
            Role::Primary => !self.asks_to_outdate(),
            _ => self.volumes.iter().all(|vol| vol.saves.is_idle()),
        };
        if gone || told || deadline <= self.now {
            self.leaving = None;
            self.say_goodbye("disconnect", out);
            out.push(Effect::CommandDone { id, result: Ok(()) });
        }
    }

    /// `outdate`: what is here is not the newest any more, says somebody who knows.
    pub(super) fn pump_outdate(
        &mut self,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        let name = &self.config.resource;
        match stage {
            Stage::Start => {
                if self.role == Role::Primary {
                    let text = format!("{name} is Primary here, and is not outdated");
                    return Err(Refusal::new(RefusalKind::NoData, text));
                }
                if self.link.as_ref().is_some_and(Link::established) {
                    let text = format!(
                        "{name} is connected, and has what its peer has: run `disconnect` first"
                    );
                    return Err(Refusal::new(RefusalKind::State, text));
                }
                let low =
                    |vol: &super::volume::Volume| vol.disk.to_u8() < DiskState::Outdated.to_u8();
                if let Some(v) = self.volumes.iter().position(low) {
                    let text = format!(
                        "{} is {}, which is less than Outdated",
                        self.volume_name(v),
                        self.volumes[v].disk
                    );
                    return Err(Refusal::new(RefusalKind::Lower, text));
                }
                self.state_is_stale(out);
                Ok(Some(Stage::Saving(self.outdate_all("outdate", out))))
            }
            Stage::Saving(0) => Ok(None),
            other => Ok(Some(other)),
        }
    }
}
