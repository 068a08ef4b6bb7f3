//! The verdict on every volume, and who gives way where it is a split brain.
//!
//! Both nodes judge alone, from what both have said, and tell each other their plan; nothing is
//! done about it before each has found the mirror of the other's.

use super::Engine;
use super::volume::Volume;
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use crate::options::RrConflict;
use crate::wire::{Plan, RefuseCode, State, VolumeState};
use metadata::{Rule, Settlement, Side, Unresolved, Verdict, decide, settle};
use types::{NodeId, Role, VolumeId};

/// What the verdicts on all volumes come to.
pub(super) struct Judgement {
    pub plans: Vec<Plan>,
    /// This node gives up the role of Primary first, and why.
    pub demote: Option<&'static str>,
    /// How split brains were settled, for the log.
    pub settled: Vec<(VolumeId, String)>,
}

/// Why two nodes must not join.
pub(super) type Objection = (RefuseCode, String);

/// What a volume's verdict comes to.
struct Judged {
    plan: Plan,
    /// The Primary that gives way becomes Secondary first.
    demote: bool,
    /// A split brain that a policy has settled.
    split: Option<Settled>,
    /// The peer has answered writes that this copy lacks.
    behind: bool,
}

/// A split brain that a policy has settled, for the log.
struct Settled {
    found: String,
    how: String,
}

impl Settled {
    fn text(&self) -> String {
        format!("{}; {}", self.found, self.how)
    }
}

impl Engine {
    /// The verdict on every volume. A split brain of one is what an operator must hear of, whatever
    /// else is wrong: both nodes find it then.
    pub(super) fn judge_all(
        &mut self,
        mine: &State,
        theirs: &State,
        out: &mut Effects,
    ) -> Result<Judgement, Objection> {
        let mut judged = Vec::new();
        let mut refusal = None;
        for v in 0..self.volumes.len() {
            let resumable = self.resumable(v);
            let me = side(self.config.node, mine, v, resumable);
            let peer = side(self.config.peer(), theirs, v, resumable);
            match self.judge_volume(v, &me, &peer, out) {
                Ok(one) => {
                    judged.push(one);
                    if let Err(text) = agreed_size(&mine.volumes[v], &theirs.volumes[v]) {
                        let name = self.volume_name(v);
                        refusal =
                            refusal.or_else(|| Some((RefuseCode::Data, format!("{name}: {text}"))));
                    }
                }
                Err(error) if error.0 == RefuseCode::SplitBrain => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if let Some(error) = refusal {
            return Err(error);
        }
        let demote = match self.may_be_primary(mine, theirs, &judged, out) {
            Ok(demote) => demote,
            Err(objection) => return Err(self.split_all_the_same(&judged, objection, out)),
        };
        let settled = (self.volumes.iter().zip(&judged))
            .filter_map(|(vol, one)| Some((vol.id, one.split.as_ref()?.text())))
            .collect();
        let plans = judged.into_iter().map(|one| one.plan).collect();
        Ok(Judgement { plans, demote, settled })
    }

    /// Whether the roles go together with the plans; why this node gives its role up, if so.
    fn may_be_primary(
        &mut self,
        mine: &State,
        theirs: &State,
        judged: &[Judged],
        out: &mut Effects,
    ) -> Result<Option<&'static str>, Objection> {
        let target = judged.iter().any(|one| matches!(one.plan, Plan::Target(_)));
        let source = judged.iter().any(|one| matches!(one.plan, Plan::Source(_)));
        let demotes =
            |target: fn(Plan) -> bool| judged.iter().any(|one| one.demote && target(one.plan));
        let demote_here = demotes(|plan| matches!(plan, Plan::Target(_)));
        let demote_there = demotes(|plan| matches!(plan, Plan::Source(_)));
        let both = mine.primary && theirs.primary && !self.config.options.allow_two_primaries;
        let yields = mine.idle && target || demote_here;
        if both && !yields && !(theirs.idle && source || demote_there) {
            let text = "both nodes are Primary and allow-two-primaries is not set: \
                        run `secondary` on one of them, then `connect` on both";
            return Err((RefuseCode::Data, text.to_owned()));
        }
        if self.role != Role::Primary {
            return Ok(None);
        }
        if demote_here {
            if self.has_clients() {
                let text = "a client opened the device while the nodes agreed that it gives way";
                return Err((RefuseCode::Busy, text.to_owned()));
            }
            return Ok(Some("gave way after a split brain (call-pri-lost-after-sb)"));
        }
        // A copy that is not good serves its Primary through the peer already: nothing changes.
        let betrayed = judged.iter().zip(&self.volumes).position(|(one, vol)| {
            let was_good = vol.readable() || vol.clients_saw_old;
            matches!(one.plan, Plan::Target(_)) && was_good && !self.grew(vol, mine, theirs)
        });
        let Some(v) = betrayed else { return Ok(None) };
        if mine.idle && !self.has_clients() {
            // No client has had the device open since the link was lost: nobody is betrayed.
            return Ok(Some("the peer went on alone, and no client here has the device open"));
        }
        let behind: Vec<usize> = (0..judged.len()).filter(|&v| judged[v].behind).collect();
        let conflict = self.conflict_of_roles(v, !behind.is_empty(), out);
        if conflict.is_err() {
            self.serve_nothing_old(&behind, theirs, out);
        }
        conflict.map(|()| None)
    }

    /// A policy has settled a split brain, but the roles forbid what it says: it is one still.
    fn split_all_the_same(
        &mut self,
        judged: &[Judged],
        (code, why): Objection,
        out: &mut Effects,
    ) -> Objection {
        let found =
            |(one, vol): (&Judged, &Volume)| Some((vol.id, one.split.as_ref()?.found.clone()));
        let Some((volume, found)) = judged.iter().zip(&self.volumes).find_map(found) else {
            return (code, why);
        };
        let text = self.left_to_an_operator(&found, &why);
        self.name_split_brain(volume, &text, out);
        let code = if code == RefuseCode::Data { RefuseCode::SplitBrain } else { code };
        (code, text)
    }

    /// It is told once, however often the nodes try again.
    fn name_split_brain(&mut self, volume: VolumeId, text: &str, out: &mut Effects) {
        if self.split_brain.replace(text.to_owned()).is_none() {
            let text = text.to_owned();
            out.push(Effect::Event(Event::SplitBrain { volume, settled: false, text }));
        }
    }

    /// The peer refuses what a policy here has settled.
    pub(super) fn refused_after_split_brain(&mut self, text: &str, out: &mut Effects) {
        let settled = self.link.as_ref().and_then(|link| link.settled.first());
        if let Some(volume) = settled.map(|(volume, _)| *volume) {
            self.name_split_brain(volume, text, out);
        }
    }

    /// What to do about a split brain that nothing settles.
    fn left_to_an_operator(&self, found: &str, why: &str) -> String {
        let resource = &self.config.resource;
        format!(
            "{found}; {why}; nothing is discarded until an operator decides: `repadm split-brain \
             {resource}` tells what each has; to give up one node's changes, run `repadm secondary \
             {resource}` and `repadm connect --discard-my-data {resource}` there, and `repadm \
             connect {resource}` on the other"
        )
    }

    /// The peer went on alone, this Primary has now been told so, and the two do not join: it neither
    /// serves what was overwritten nor begins a split brain. What the peer had received is done.
    fn serve_nothing_old(&mut self, behind: &[usize], theirs: &State, out: &mut Effects) {
        for &v in behind {
            self.outdate_volume(v, "the peer went on alone", out);
            self.answer_received(v, theirs.volumes[v].received, out);
        }
    }

    /// A Primary with clients would become the target of a resync: `rr-conflict`.
    fn conflict_of_roles(
        &mut self,
        v: usize,
        behind: bool,
        out: &mut Effects,
    ) -> Result<(), Objection> {
        let (policy, code) = match self.config.options.rr_conflict {
            RrConflict::Violently => {
                let text = format!(
                    "{}: the data under the clients of this Primary is replaced by the peer's \
                     (rr-conflict violently)",
                    self.volume_name(v)
                );
                out.push(Effect::Event(Event::Warning { text }));
                return Ok(());
            }
            RrConflict::Disconnect => ("disconnect", RefuseCode::Data),
            RrConflict::RetryConnect => ("retry-connect", RefuseCode::Busy),
            RrConflict::CallPriLost => {
                self.run_handler(Handler::PriLost, Some(v), out);
                ("call-pri-lost", RefuseCode::Data)
            }
        };
        let stale = match behind {
            true => "; its copy is Outdated, and it serves nothing more from it",
            false => "",
        };
        let text = format!(
            "{}: {} is Primary and would become SyncTarget (rr-conflict {policy}){stale}: run \
             `secondary` there, then `connect` on both",
            self.volume_name(v),
            self.config.node_name
        );
        Err((code, text))
    }

    fn judge_volume(
        &mut self,
        v: usize,
        me: &Side,
        peer: &Side,
        out: &mut Effects,
    ) -> Result<Judged, Objection> {
        let decision = decide(me, peer, self.config.options.protocol);
        let volume = self.volumes[v].id;
        let text = format!("{:?} ({})", decision.verdict, decision.rule.explain());
        out.push(Effect::Event(Event::Verdict { volume, text }));
        if decision.rule == Rule::Discarded {
            self.run_handler(Handler::InitialSplitBrain, Some(v), out);
        }
        let plan = match decision.verdict {
            // One copy, and clients that reach it from both nodes: their writes go on.
            Verdict::NoPeerDisk | Verdict::NoLocalDisk if me.resumable => Plan::Resume,
            Verdict::Resume => Plan::Resume,
            Verdict::InSync => Plan::InSync,
            Verdict::Source(extent) => Plan::Source(extent),
            Verdict::Target(extent) => Plan::Target(extent),
            Verdict::BothUnusable
            | Verdict::NoPeerDisk
            | Verdict::NoLocalDisk
            | Verdict::NeitherDisk => Plan::Idle,
            Verdict::SplitBrain { automatic } => {
                return self.split_brain_found(v, me, peer, automatic, out);
            }
            Verdict::Unrelated => {
                let text = format!(
                    "{}: the data of the two nodes never had anything in common; to give one \
                     copy up, run `create-md --force` on it",
                    self.volume_name(v)
                );
                return Err((RefuseCode::Data, text));
            }
            Verdict::Refuse(reason) => {
                let name = self.volume_name(v);
                return Err((RefuseCode::Data, format!("{name}: {}", reason.explain())));
            }
        };
        let ahead = matches!(decision.rule, Rule::AheadByBitmap | Rule::AheadByHistory);
        let behind = ahead && matches!(plan, Plan::Target(_));
        Ok(Judged { plan, demote: false, split: None, behind })
    }

    /// Both nodes wrote alone. The policies may say who gives way; else an operator must.
    fn split_brain_found(
        &mut self,
        v: usize,
        me: &Side,
        peer: &Side,
        automatic: bool,
        out: &mut Effects,
    ) -> Result<Judged, Objection> {
        self.run_handler(Handler::InitialSplitBrain, Some(v), out);
        let (volume, name) = (self.volumes[v].id, self.volume_name(v));
        let found = format!(
            "split brain on {name}: both nodes wrote alone since {}; marked: {} blocks here, {} at \
             the peer",
            me.generations.bitmap.id, me.dirty_blocks, peer.dirty_blocks
        );
        match settle(me, peer, automatic, &self.config.options.after_sb) {
            Settlement::Resolved { verdict, demote, by } => {
                let (plan, from, lost) = match verdict {
                    Verdict::Source(extent) => (Plan::Source(extent), "here", peer.dirty_blocks),
                    Verdict::Target(extent) => (Plan::Target(extent), "the peer", me.dirty_blocks),
                    other => unreachable!("{other:?} settles nothing"),
                };
                let primaries = usize::from(me.primary) + usize::from(peer.primary);
                let how = format!(
                    "settled by {by} with {primaries} Primaries: the data of {from} is taken, and \
                     what was written to {lost} blocks on the other node is discarded"
                );
                Ok(Judged { plan, demote, split: Some(Settled { found, how }), behind: false })
            }
            Settlement::Unresolved(why) => {
                if why == Unresolved::InUse(self.config.node) {
                    self.run_handler(Handler::PriLostAfterSb, Some(v), out);
                }
                let why = match (me.discard_my_data, peer.discard_my_data) {
                    (true, false) if me.primary => "a Primary gives up nothing".to_owned(),
                    (false, true) if peer.primary => "a Primary gives up nothing".to_owned(),
                    _ => why.to_string(),
                };
                let text = self.left_to_an_operator(&found, &why);
                let event = Event::SplitBrain { volume, settled: false, text: text.clone() };
                out.push(Effect::Event(event));
                self.run_handler(Handler::SplitBrain, Some(v), out);
                Err((RefuseCode::SplitBrain, text))
            }
        }
    }

    /// `RESOURCE/VOLUME`.
    pub(super) fn volume_name(&self, v: usize) -> String {
        format!("{}/{}", self.config.resource, self.volumes[v].id)
    }
}

/// The size that both can have; zero if neither has a disk.
pub(super) fn agreed_size(mine: &VolumeState, theirs: &VolumeState) -> Result<u64, String> {
    let disks = [mine.disk_bytes, theirs.disk_bytes].into_iter().filter(|bytes| *bytes > 0);
    let agreed = match (mine.agreed_bytes, theirs.agreed_bytes) {
        (0, 0) => return Ok(disks.min().unwrap_or(0)),
        (0, agreed) | (agreed, 0) => agreed,
        // Whoever has the larger size has marked what the other may lack.
        (one, other) => one.max(other),
    };
    match disks.min() {
        Some(smaller) if smaller < agreed => {
            let at = if smaller == mine.disk_bytes { "here" } else { "at the peer" };
            Err(format!(
                "the volume has {agreed} bytes, and the disk {at} has room for {smaller} only: \
                 enlarge that disk, or what `size` leaves of it, attach it anew, and connect again; \
                 nothing is lost meanwhile"
            ))
        }
        _ => Ok(agreed),
    }
}

/// What one node brings to the verdict on a volume.
pub(super) fn side(node: NodeId, state: &State, v: usize, resumable: bool) -> Side {
    let side = state.volumes[v].side.clone();
    Side {
        node,
        generations: side.generations,
        disk: side.disk,
        primary: state.primary,
        crashed_primary: side.crashed_primary,
        peer_outdated: side.peer_outdated,
        full_sync: side.full_sync,
        dirty_blocks: side.dirty_blocks,
        resumable,
        in_use: state.in_use,
        discard_my_data: side.discard_my_data,
        disk_incarnation: side.disk_incarnation,
        newest_exposed: side.newest_exposed,
        sequence: side.sequence,
        peer_disk_incarnation: side.peer_disk_incarnation,
        peer_sequence: side.peer_sequence,
    }
}

/// The settings that must be equal and are not, with both values.
pub(super) fn settings_differ(mine: &State, theirs: &State) -> Option<String> {
    let differing = mine.settings.iter().find_map(|(name, value)| {
        let other = theirs.settings.iter().find(|(other, _)| other == name);
        match other {
            Some((_, other)) if other == value => None,
            Some((_, other)) => Some((name, value, other.as_str())),
            None => Some((name, value, "not known")),
        }
    });
    differing.map(|(name, mine, theirs)| {
        format!(
            "option {name} is `{mine}` here and `{theirs}` at the peer: set the same on both nodes"
        )
    })
}
