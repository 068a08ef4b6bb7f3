//! When I/O stands still: nothing new begins for clients, and nothing is answered as done, not even
//! what both disks have.
//!
//! | why | since | until |
//! |---|---|---|
//! | by order | `suspend-io` | `resume-io` |
//! | no data | no good copy can be reached (`on-no-data-accessible suspend-io`) | one can, or `resume-io`: then errors |
//! | fencing | the link was lost (`fencing resource-and-stonith`), see `fence` | the peer is back or fenced, or `resume-io` |

use super::Engine;
use super::solo::NEVER;
use super::volume::Mode;
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::options::OnNoData;
use crate::status::Suspended;
use types::Role;

impl Engine {
    /// Whether requests that no good copy can serve wait (`on-no-data-accessible suspend-io`).
    pub(super) fn suspends(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        let wanted = self.config.options.on_no_data_accessible == OnNoData::SuspendIo;
        let leaves = self.stopping() || self.demoting() || self.no_data_borne;
        let serves = self.role == Role::Primary && !leaves;
        wanted && serves && !vol.readable() && !vol.peer_has_good()
    }

    /// Whether they wait now: the wait for a lost peer is over.
    fn lacks_data(&self, v: usize) -> bool {
        let patient = self.volumes[v].mode == (Mode::Waiting { deadline: NEVER });
        let waiting = matches!(self.volumes[v].mode, Mode::Waiting { .. });
        self.suspends(v) && (patient || !waiting) && !self.session_open(v)
    }

    /// Whether an operator has suspended I/O. Whoever ends, or gives up the role, is not kept from it.
    pub(super) fn is_suspended_by_user(&self) -> bool {
        self.io_suspended && !self.stopping() && !self.demoting()
    }

    /// Why I/O of a volume stands still, if it does.
    pub(super) fn suspended(&self, v: usize) -> Suspended {
        Suspended {
            by_user: self.is_suspended_by_user(),
            no_data: self.lacks_data(v),
            fencing: self.is_frozen(v),
        }
    }

    /// Whether it does.
    pub(super) fn is_suspended(&self, v: usize) -> bool {
        self.suspended(v).any()
    }

    /// The peer that has the data is waited for without end: it may come back into the session.
    pub(super) fn suspend(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.mode != (Mode::Waiting { deadline: NEVER }) {
            vol.mode = Mode::Waiting { deadline: NEVER };
            let text = "I/O is suspended: no UpToDate copy can be reached; connect the peer, or \
                        attach a disk with the data";
            out.push(Effect::Event(Event::Warning { text: text.to_owned() }));
        }
    }

    /// Whoever waited without end is decided upon anew.
    pub(super) fn end_suspension(&mut self, out: &mut Effects) {
        if self.link_holds() {
            return;
        }
        for v in 0..self.volumes.len() {
            if self.volumes[v].mode == (Mode::Waiting { deadline: NEVER }) {
                self.decide_alone(v, out);
            }
        }
    }

    /// Whoever waits without end, and has no reason for it any more, is decided upon.
    pub(super) fn pump_endless(&mut self, out: &mut Effects) {
        if self.link_holds() || self.is_suspended_by_user() {
            return;
        }
        for v in 0..self.volumes.len() {
            let endless = self.volumes[v].mode == (Mode::Waiting { deadline: NEVER });
            if endless && !self.is_frozen(v) && !self.suspends(v) {
                self.decide_alone(v, out);
            }
        }
    }

    /// `suspend-io`.
    pub(super) fn suspend_by_user(&mut self) {
        self.io_suspended = true;
    }

    /// `resume-io`: goes on, whatever the reason was to stand still.
    pub(super) fn resume_by_user(&mut self, out: &mut Effects) {
        self.io_suspended = false;
        if (0..self.volumes.len()).any(|v| self.lacks_data(v)) {
            self.no_data_borne = true;
        }
        self.overrule_fence(out);
        self.end_suspension(out);
        self.touch_all();
    }

    /// There is data again, or nobody asks for it.
    pub(super) fn pump_no_data(&mut self) {
        let good = |vol: &super::volume::Volume| vol.readable() || vol.peer_has_good();
        if self.role != Role::Primary || self.volumes.iter().all(good) {
            self.no_data_borne = false;
        }
    }
}
