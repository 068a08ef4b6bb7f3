//! Split brain: which of two diverged copies gives way, by the policies that were configured.
//!
//! [`settle`] is one pure function of both sides, total and antisymmetric like
//! [`decide`](crate::decide): both nodes compute it alone and reach mirrored outcomes. What it may
//! look at is what both were told in the handshake. The policies mean exactly what they mean in
//! DRBD 8.4 (its manual, drbd.conf(5), and its handshake), where they may be written:
//!
//! | Primaries now | option | values |
//! |---|---|---|
//! | none | `after-sb-0pri` | disconnect, discard-younger-primary, discard-older-primary, discard-zero-changes, discard-least-changes, discard-local, discard-remote |
//! | one | `after-sb-1pri` | disconnect, consensus, violently-as0p, discard-secondary, call-pri-lost-after-sb |
//! | two | `after-sb-2pri` | disconnect, violently-as0p, call-pri-lost-after-sb |
//!
//! Ties go against the arbiter, as in DRBD: its copy is discarded.

use crate::verdict::{Extent, Side, Verdict};
use std::cmp::Ordering;
use types::NodeId;

/// What is configured for split brains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// `after-sb-0pri`.
    pub zero: AfterSb0Pri,
    /// `after-sb-1pri`.
    pub one: AfterSb1Pri,
    /// `after-sb-2pri`.
    pub two: AfterSb2Pri,
    /// `always-asbp`: also where the common generation is too old for the marks; then everything
    /// is copied.
    pub always: bool,
}

/// What to do when nobody is Primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterSb0Pri {
    /// An operator decides.
    #[default]
    Disconnect,
    /// The node gives way that was not Primary when the two parted. If that does not tell them
    /// apart: as [`Self::DiscardLeastChanges`].
    DiscardYoungerPrimary,
    /// The node gives way that was Primary when the two parted. If that does not tell them apart:
    /// as [`Self::DiscardLeastChanges`].
    DiscardOlderPrimary,
    /// The node gives way that has nothing marked; if both have, an operator decides.
    DiscardZeroChanges,
    /// The node gives way that has fewer blocks marked.
    DiscardLeastChanges,
    /// This node gives way: `discard-local` there, `discard-remote` at the other.
    DiscardNode(NodeId),
}

/// What to do when one node is Primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterSb1Pri {
    /// An operator decides.
    #[default]
    Disconnect,
    /// As `after-sb-0pri` says if that makes the Secondary give way, else an operator decides.
    Consensus,
    /// As `after-sb-0pri` says, whoever gives way.
    ViolentlyAs0p,
    /// The Secondary gives way.
    DiscardSecondary,
    /// As `after-sb-0pri` says; a Primary that gives way becomes Secondary first.
    CallPriLostAfterSb,
}

/// What to do when both nodes are Primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterSb2Pri {
    /// An operator decides.
    #[default]
    Disconnect,
    /// As `after-sb-0pri` says, whoever gives way.
    ViolentlyAs0p,
    /// As `after-sb-0pri` says; the Primary that gives way becomes Secondary first.
    CallPriLostAfterSb,
}

/// What comes of a split brain, seen from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Nobody gives way: both stand alone until an operator decides.
    Unresolved(Unresolved),
    /// One side gives way.
    Resolved {
        /// [`Verdict::Source`] or [`Verdict::Target`].
        verdict: Verdict,
        /// The side that gives way is Primary and becomes Secondary first.
        demote: bool,
        /// The option that says so.
        by: &'static str,
    },
}

/// Why nobody gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The common generation is too old for the marks, and `always-asbp` is not set.
    TooOld,
    /// Both nodes were told to give up their changes: whose are to be kept is not known.
    BothGiveUp,
    /// The policy of this name leaves it to the operator.
    Policy(&'static str),
    /// The node that is to give way is Primary and has clients: `call-pri-lost-after-sb`.
    InUse(NodeId),
}

impl Settlement {
    /// What the other side finds.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Unresolved(_) => self,
            Self::Resolved { verdict, demote, by } => {
                Self::Resolved { verdict: verdict.mirrored(), demote, by }
            }
        }
    }
}

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooOld => f.write_str(
                "the marks do not reach back to the last common generation, and always-asbp is \
                 not set",
            ),
            Self::BothGiveUp => f.write_str("both nodes were told to give up their changes"),
            Self::Policy(option) => write!(f, "{option} leaves it to the operator"),
            Self::InUse(node) => {
                write!(f, "node {node} would give way, and clients have its device open")
            }
        }
    }
}

/// Who gives way, for a pair of sides whose verdict is [`Verdict::SplitBrain`]. `automatic` is the
/// verdict's.
pub fn settle(me: &Side, peer: &Side, automatic: bool, policies: &Policies) -> Settlement {
    if me.discard_my_data && peer.discard_my_data {
        return Settlement::Unresolved(Unresolved::BothGiveUp);
    }
    if !automatic && !policies.always {
        return Settlement::Unresolved(Unresolved::TooOld);
    }
    let extent = if automatic { me.extent_with(peer) } else { Extent::Full };
    let resolved = |me_is_source: bool, demote, by| {
        let verdict = Verdict::toward_peer(me_is_source, extent);
        Settlement::Resolved { verdict, demote, by }
    };
    let nobody = |option| Settlement::Unresolved(Unresolved::Policy(option));
    let zero = no_primary(me, peer, policies.zero);
    let (option, policy) = match (me.primary, peer.primary) {
        (false, false) => {
            let option = "after-sb-0pri";
            return zero.map_or_else(|| nobody(option), |source| resolved(source, false, option));
        }
        (true, true) => ("after-sb-2pri", two_primaries(policies.two)),
        _ => ("after-sb-1pri", policies.one),
    };
    match (policy, zero) {
        (AfterSb1Pri::DiscardSecondary, _) => resolved(me.primary, false, option),
        (AfterSb1Pri::Disconnect, _) => nobody(option),
        (_, None) => nobody("after-sb-0pri"),
        (AfterSb1Pri::Consensus, Some(source)) if source == me.primary => {
            resolved(source, false, option)
        }
        (AfterSb1Pri::Consensus, Some(_)) => nobody(option),
        (AfterSb1Pri::ViolentlyAs0p, Some(source)) => resolved(source, false, option),
        (AfterSb1Pri::CallPriLostAfterSb, Some(source)) => {
            let loser = if source { peer } else { me };
            if loser.primary && loser.in_use {
                return Settlement::Unresolved(Unresolved::InUse(loser.node));
            }
            resolved(source, loser.primary, option)
        }
    }
}

/// What may be said of two Primaries may be said of one, too.
const fn two_primaries(policy: AfterSb2Pri) -> AfterSb1Pri {
    match policy {
        AfterSb2Pri::Disconnect => AfterSb1Pri::Disconnect,
        AfterSb2Pri::ViolentlyAs0p => AfterSb1Pri::ViolentlyAs0p,
        AfterSb2Pri::CallPriLostAfterSb => AfterSb1Pri::CallPriLostAfterSb,
    }
}

/// Whether this side is the source, by `after-sb-0pri`; nothing if an operator must say.
fn no_primary(me: &Side, peer: &Side, policy: AfterSb0Pri) -> Option<bool> {
    let (mine, theirs) = (me.changes(), peer.changes());
    let tie = !me.is_arbiter(peer);
    let fewer = match mine.cmp(&theirs) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => tie,
    };
    // Bit 0 of the generation that both have in common: was this node Primary in it to the end?
    let (older, peer_older) = (me.was_primary(), peer.was_primary());
    match policy {
        AfterSb0Pri::Disconnect => None,
        AfterSb0Pri::DiscardYoungerPrimary if older != peer_older => Some(older),
        AfterSb0Pri::DiscardOlderPrimary if older != peer_older => Some(peer_older),
        AfterSb0Pri::DiscardZeroChanges => match (mine, theirs) {
            (0, 0) => Some(tie),
            (_, 0) => Some(true),
            (0, _) => Some(false),
            _ => None,
        },
        AfterSb0Pri::DiscardYoungerPrimary
        | AfterSb0Pri::DiscardOlderPrimary
        | AfterSb0Pri::DiscardLeastChanges => Some(fewer),
        AfterSb0Pri::DiscardNode(loser) => Some(me.node != loser),
    }
}

#[cfg(test)]
mod tests;
