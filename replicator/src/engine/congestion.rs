//! A link that cannot keep up with the writes (`on-congestion`).
//!
//! | policy | what becomes of the next write |
//! |---|---|
//! | block | it waits until the peer has answered others |
//! | pull-ahead | it is marked instead of sent: this node is Ahead, the peer Behind |
//! | disconnect | the peer is left, and this node stands alone |
//!
//! The link is congested when as many bytes as `congestion-fill` are on their way to the peer, or as
//! many extents as `congestion-extents` have writes on their way. (What is on its way is bounded in
//! any case, by `flush_bytes`.)
//!
//! Going Ahead is going on alone while the peer is there: a generation is durable before the first
//! answer, and the session is not resumed. The peer knows that its copy is Outdated. When everything
//! that was sent is answered, and the link has been left alone for a while, the nodes negotiate anew:
//! a resync brings the peer back. Until that has ended a congested link makes writes wait, so that it
//! ends. Each time the link is congested again soon after, it is left alone for longer: under a load
//! that is too much for the link for good the two do not flap.

use super::Engine;
use super::volume::{Minted, Volume};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::options::OnCongestion;
use crate::wire::Message;
use types::{ByteRange, DiskState, Protocol, ReplicationState, Role, Span, Time};

/// How long a congested link is left alone at least.
const CALM_MIN: Span = Span::secs(2);
/// And at most, however often it is congested again.
const CALM_MAX: Span = Span::secs(64);

/// The peer is Behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    /// Not before then it is brought back.
    until: Time,
}

/// How long the link is left alone.
#[derive(Debug)]
pub(super) struct Calm {
    span: Span,
    /// When the peer was last brought back.
    ended: Option<Time>,
}

impl Default for Calm {
    fn default() -> Self {
        Self { span: CALM_MIN, ended: None }
    }
}

impl Calm {
    /// The link is congested: until when it is left alone.
    fn begin(&mut self, now: Time) -> Time {
        let soon = |ended: Time| now.since(ended) < self.span.times(2);
        self.span = match self.ended {
            Some(ended) if soon(ended) => Span(self.span.0 * 2).min(CALM_MAX),
            _ => CALM_MIN,
        };
        now + self.span
    }
}

impl Volume {
    /// Whether nothing is on its way to the peer.
    fn is_drained(&self) -> bool {
        self.by_seq.is_empty() && self.minted != Minted::Saving
    }
}

impl Engine {
    /// Whether the next write is too much for the link.
    pub(super) fn is_congested(&self, v: usize) -> bool {
        if !self.volumes[v].replicates() {
            return false;
        }
        match self.config.options.on_congestion {
            OnCongestion::Disconnect => self.is_full(v),
            OnCongestion::PullAhead if self.may_pull_ahead(v) => self.is_full(v),
            // Nor is the peer left Behind again before it is up to date. With C the clients wait by
            // themselves.
            OnCongestion::Block | OnCongestion::PullAhead => {
                self.answers_early(v) && self.is_filled()
            }
        }
    }

    /// `congestion-fill`.
    fn is_filled(&self) -> bool {
        let fill = self.config.options.congestion_fill;
        let sent: u64 = self.volumes.iter().map(|vol| vol.unanswered).sum();
        fill > 0 && sent >= fill
    }

    /// That, or `congestion-extents`.
    fn is_full(&self, v: usize) -> bool {
        self.is_filled() || self.volumes[v].log.busy() >= self.config.options.congestion_extents
    }

    fn may_pull_ahead(&self, v: usize) -> bool {
        self.config.options.on_congestion == OnCongestion::PullAhead
            && self.config.options.protocol == Protocol::A
            && self.answers_early(v)
            && self.volumes[v].peer_has_good()
            && self.volumes[v].sync.is_none()
    }

    /// Does what the policy says; whether writes go on at once.
    pub(super) fn meet_congestion(&mut self, v: usize, out: &mut Effects) -> bool {
        if self.may_pull_ahead(v) {
            self.pull_ahead(v, out);
            return true;
        }
        if self.config.options.on_congestion == OnCongestion::Disconnect {
            let text = format!(
                "the link is congested, and is given up (on-congestion disconnect): run `repadm \
                 connect {}` when it can keep up again",
                self.config.resource
            );
            out.push(Effect::Event(Event::Warning { text }));
            self.say_goodbye("the link is congested", out);
        }
        false
    }

    /// From here on writes are marked instead of sent.
    fn pull_ahead(&mut self, v: usize, out: &mut Effects) {
        // The volumes share the link, and its calm.
        let others = self.volumes.iter().find_map(|vol| vol.ahead);
        let until = others.map_or_else(|| self.calm.begin(self.now), |ahead| ahead.until);
        let vol = &mut self.volumes[v];
        vol.ahead = Some(Ahead { until });
        vol.session.lags = true;
        // What the peer has and may lose is marked too: the log need not wait for it any more.
        let sent = vol.local.values().filter(|write| write.seq != 0).map(|write| write.range);
        let sent: Vec<ByteRange> = sent.chain(vol.durable.undurable()).collect();
        for range in sent {
            vol.mark(range);
        }
        vol.durable.end_sending();
        vol.log.end_session();
        let volume = vol.id;
        self.set_replication(v, ReplicationState::Ahead, "the link is congested", out);
        self.set_peer_disk(v, DiskState::Outdated, out);
        self.send(Message::Behind { volume }, out);
        self.go_on_alone(v, "the link is congested", out);
    }

    /// When the peer is to be brought back, if that is a matter of time only.
    pub(super) fn catch_up_at(&self, vol: &Volume) -> Option<Time> {
        vol.ahead.filter(|_| vol.is_drained()).map(|ahead| ahead.until)
    }

    /// Brings the peer back, when the link has calmed down.
    pub(super) fn pump_ahead(&mut self, v: usize, out: &mut Effects) {
        if self.catch_up_at(&self.volumes[v]).is_some_and(|at| at <= self.now) {
            self.calm.ended = Some(self.now);
            self.renegotiate("the link is free again: the peer is brought up to date", out);
        }
    }

    /// The peer is Primary and goes on without this copy for now.
    pub(super) fn on_behind(&mut self, v: usize, out: &mut Effects) {
        if self.role == Role::Primary {
            return self.protocol_error("a Primary is left behind", out);
        }
        let why = "the peer has pulled ahead of a congested link";
        self.set_replication(v, ReplicationState::Behind, why, out);
        self.outdate_volume(v, why, out);
    }
}
