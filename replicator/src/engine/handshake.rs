//! The handshake: who is there, what each has, and what follows from it.
//!
//! Both sides say the same in the same order; each decides alone, and the decision table is
//! antisymmetric. New traffic starts when both have said `Ready`: then everything that the
//! decision needs is durable on both sides, and both know the new session.

use super::Engine;
use super::auth;
use super::durable::FlushThen;
use super::judge::{Judgement, agreed_size, settings_differ};
use super::link::{Link, Loss, Phase};
use super::superblock::Then;
use super::volume::{Mode, Session};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::input::LinkEpoch;
use crate::wire::{
    Auth, Hello, Message, PROTOCOL_VERSION, Plan, Purpose, RefuseCode, SideState, State,
    VolumeHello, VolumeState,
};
use metadata::{Extent, GenerationId, Generations};
use types::mutation::{self, Mutation};
use types::{DiskState, NodeId, Role};

impl Engine {
    pub(super) fn make_hello(&mut self, purpose: Purpose) -> Hello {
        let mut nonce = [0; 32];
        for part in nonce.chunks_exact_mut(8) {
            part.copy_from_slice(&self.ids.next_u64().to_le_bytes());
        }
        let volumes = self.volumes.iter().map(|vol| VolumeHello {
            volume: vol.id.0,
            session: vol.session.id,
            peer_incarnation: vol.session.peer_incarnation,
            resumable: vol.session.goes_on(),
        });
        Hello {
            purpose,
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            features: 0,
            resource: self.config.resource.clone(),
            node: self.config.node.0,
            name: self.config.node_name.clone(),
            incarnation: self.incarnation,
            nonce,
            authenticate: self.config.options.shared_secret.is_some(),
            volumes: volumes.collect(),
        }
    }

    pub(super) fn on_hello(&mut self, hello: Box<Hello>, out: &mut Effects) {
        let Some(link) = self.link.as_mut().filter(|link| link.peer_hello.is_none()) else {
            return self.protocol_error("a second hello", out);
        };
        if link.phase != Phase::Greeting {
            return self.protocol_error("a hello out of turn", out);
        }
        let looks = link.hello.purpose == Purpose::Inspect || hello.purpose == Purpose::Inspect;
        if !looks && !self.wants_peer() {
            let text = format!("{} stands alone: run `connect` there", self.config.node_name);
            return self.refuse_link(RefuseCode::Busy, text, out);
        }
        self.say_hello(out);
        if let Err(text) = self.check_hello(&hello) {
            let code = match hello.authenticate == self.config.options.shared_secret.is_some() {
                true => RefuseCode::Mismatch,
                false => RefuseCode::Authentication,
            };
            return self.refuse_link(code, text, out);
        }
        let link = self.link.as_mut().expect("just seen");
        link.peer_hello = Some(hello);
        match &self.config.options.shared_secret {
            None => self.peer_is_known(out),
            Some(secret) => {
                let peer = link.peer_hello.as_ref().expect("just set");
                let proof = auth::prove(secret, &link.hello, peer);
                link.phase = Phase::Proving;
                self.send(Message::Auth(proof), out);
            }
        }
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), String> {
        let here = &self.config;
        if hello.version_min > PROTOCOL_VERSION || hello.version_max < PROTOCOL_VERSION {
            return Err(format!(
                "protocol versions do not meet: {} speaks {PROTOCOL_VERSION}, the peer {} to {}; \
                 run the same release on both nodes",
                here.node_name, hello.version_min, hello.version_max
            ));
        }
        if hello.resource != here.resource {
            return Err(format!(
                "resource `{}` here, `{}` at the peer: correct the addresses in the configuration",
                here.resource, hello.resource
            ));
        }
        if NodeId(hello.node) != here.peer() {
            return Err(format!(
                "node id {} expected of the peer, it has {}: the `on` sections differ between the nodes",
                here.peer(),
                hello.node
            ));
        }
        let secret = here.options.shared_secret.is_some();
        if hello.authenticate != secret {
            let (with, without) = if secret { ("here", "the peer") } else { ("the peer", "here") };
            return Err(format!(
                "shared-secret is set at {with} and not at {without}: set the same on both nodes"
            ));
        }
        let mine: Vec<u16> = self.volumes.iter().map(|vol| vol.id.0).collect();
        let theirs: Vec<u16> = hello.volumes.iter().map(|vol| vol.volume).collect();
        if mine != theirs {
            return Err(format!("volumes {mine:?} here, {theirs:?} at the peer"));
        }
        Ok(())
    }

    pub(super) fn on_auth(&mut self, proof: &Auth, out: &mut Effects) {
        let link = self.link.as_ref().filter(|link| link.phase == Phase::Proving);
        let (Some(link), Some(secret)) = (link, &self.config.options.shared_secret) else {
            return self.protocol_error("a proof out of turn", out);
        };
        let peer = link.peer_hello.as_ref().expect("a hello precedes the proof");
        if !auth::verify(secret, peer, &link.hello, proof) {
            let text = "the shared secrets differ".to_owned();
            return self.refuse_link(RefuseCode::Authentication, text, out);
        }
        self.peer_is_known(out);
    }

    /// The peer is who it should be: it joins, or looks.
    fn peer_is_known(&mut self, out: &mut Effects) {
        match self.link.as_ref().is_some_and(Link::inspects) {
            true => self.begin_inspection(out),
            false => self.begin_draining(out),
        }
    }

    fn begin_draining(&mut self, out: &mut Effects) {
        self.link.as_mut().expect("in a handshake").phase = Phase::Draining;
        self.pump_draining(out);
    }

    /// Whether both sides can go on in the session of that volume: both compute the same.
    pub(super) fn resumable(&self, v: usize) -> bool {
        let Some(link) = &self.link else { return false };
        let Some(peer) = &link.peer_hello else { return false };
        let (mine, theirs) = (link.hello.volumes[v], peer.volumes[v]);
        mine.resumable
            && theirs.resumable
            && mine.session == theirs.session
            && mine.peer_incarnation == peer.incarnation
            && theirs.peer_incarnation == link.hello.incarnation
    }

    /// Sends our state once it will stay true. In a volume whose session is over, what was in
    /// flight is marked now, and everything on its way to the disk ends first.
    ///
    /// It is flushed too: a peer that crashed has forgotten which of its writes we may still lose.
    /// If a resync copied them to it and cleared the marks, and we then lost our cache, the copies
    /// would differ and nobody would know.
    pub(super) fn pump_draining(&mut self, out: &mut Effects) {
        if self.link.as_ref().is_none_or(|link| link.phase != Phase::Draining) {
            return;
        }
        let mut drained = true;
        for v in 0..self.volumes.len() {
            drained &= self.volumes[v].saves.is_idle() && !self.volumes[v].growing.commits();
            if self.resumable(v) {
                continue;
            }
            self.end_session(v);
            self.stand_by_answers(v, out);
            let vol = &self.volumes[v];
            let saving = vol.minted == super::volume::Minted::Saving;
            let quiet = vol.order.is_empty() && !saving;
            if quiet && vol.has_disk() && !vol.durable.is_clean() {
                self.want_flush(v, FlushThen::Nothing, out);
            }
            let vol = &self.volumes[v];
            drained &= quiet && (!vol.has_disk() || vol.durable.is_clean());
        }
        if !drained {
            return;
        }
        let state = self.make_state();
        let link = self.link.as_mut().expect("just seen");
        link.phase = Phase::Deciding;
        link.state = Some(state.clone());
        self.send(Message::State(Box::new(state)), out);
        self.try_decide(out);
    }

    pub(super) fn make_state(&mut self) -> State {
        let mut volumes = Vec::new();
        for v in 0..self.volumes.len() {
            let new_session = self.ids.next_u64() | 1;
            let resync_name = GenerationId::from_random(self.ids.next_u64()).0;
            let (node, now) = (self.config.node, self.now);
            let vol = &self.volumes[v];
            let none = Generations::just_created(node, now);
            let superblock = vol.meta.as_ref().map(|meta| &meta.superblock);
            let flags = superblock.map(|superblock| superblock.flags).unwrap_or_default();
            volumes.push(VolumeState {
                volume: vol.id.0,
                new_session,
                resync_name,
                received: vol.session.received,
                disk_bytes: self.usable(v),
                agreed_bytes: superblock.map_or(vol.size, |superblock| superblock.agreed_bytes),
                side: SideState {
                    disk: vol.disk,
                    generations: superblock.map_or(none, |s| s.generations.clone()),
                    crashed_primary: flags.crashed_primary,
                    peer_outdated: flags.peer_outdated,
                    full_sync: flags.full_sync,
                    dirty_blocks: vol.dirty_blocks(),
                    discard_my_data: self.discard_my_data,
                    disk_incarnation: superblock.map_or(0, |s| s.disk_incarnation),
                    newest_exposed: superblock.map_or(GenerationId::UNSET, |s| s.newest_exposed),
                    sequence: vol.told_sequence(),
                    peer_disk_incarnation: superblock.map_or(0, |s| s.peer_disk_incarnation),
                    peer_sequence: superblock.map_or(0, |s| s.peer_sequence),
                },
            });
        }
        let settings = self.config.options.must_match.iter();
        let mut settings: Vec<_> = settings.map(|(k, v)| (k.clone(), v.clone())).collect();
        let two = if self.config.options.allow_two_primaries { "yes" } else { "no" };
        settings.push(("allow-two-primaries".to_owned(), two.to_owned()));
        settings.push(("protocol".to_owned(), self.config.options.protocol.to_string()));
        let primary = self.role == Role::Primary || self.promotion_is_granted();
        let seen = self.volumes.iter().any(|vol| vol.clients_since_loss);
        let in_use = self.has_clients();
        State { primary, in_use, idle: !seen && !in_use, settings, volumes }
    }

    pub(super) fn on_state(&mut self, state: Box<State>, out: &mut Effects) {
        let link = self.link.as_mut().filter(|link| {
            matches!(link.phase, Phase::Draining | Phase::Deciding) && link.peer_state.is_none()
        });
        let Some(link) = link else { return self.protocol_error("a state out of turn", out) };
        let unreal = |volume: &VolumeState| !GenerationId(volume.resync_name).is_real();
        if state.volumes.iter().any(unreal) {
            return self.protocol_error("a state that names no generation", out);
        }
        link.peer_state = Some(state);
        self.try_decide(out);
    }

    /// With both states known, the verdict.
    fn try_decide(&mut self, out: &mut Effects) {
        let Some(link) = self.link.as_ref().filter(|link| link.phase == Phase::Deciding) else {
            return;
        };
        let (Some(mine), Some(theirs)) = (link.state.clone(), link.peer_state.clone()) else {
            return;
        };
        if let Some(text) = settings_differ(&mine, &theirs) {
            return self.refuse_link(RefuseCode::Mismatch, text, out);
        }
        if theirs.volumes.len() != self.volumes.len() {
            return self.protocol_error("a state with other volumes than the hello", out);
        }
        let Judgement { plans, demote, settled } = match self.judge_all(&mine, &theirs, out) {
            Ok(judgement) => judgement,
            Err((code, text)) => return self.refuse_link(code, text, out),
        };
        if self.prepares_first(&plans, out) {
            return;
        }
        let link = self.link.as_mut().expect("just seen");
        link.phase = Phase::Agreeing;
        link.plans.clone_from(&plans);
        link.demote = demote;
        link.settled = settled;
        for (v, plan) in plans.into_iter().enumerate() {
            self.unfenced_by_meeting(v, plan, &theirs.volumes[v], out);
        }
        self.pump_plans(out);
    }

    /// From our plan on the peer may call its copy good: it must not count as fenced any more, also
    /// after a crash, if the link breaks before the two have joined.
    fn unfenced_by_meeting(
        &mut self,
        v: usize,
        plan: Plan,
        theirs: &VolumeState,
        out: &mut Effects,
    ) {
        let same = plan == Plan::Resume
            && matches!(theirs.side.disk, DiskState::Inconsistent | DiskState::Diskless);
        if plan == Plan::Idle || same {
            return;
        }
        self.set_peer_disk(v, DiskState::DUnknown, out);
        let Some(meta) = self.volumes[v].meta.as_mut() else { return };
        if std::mem::take(&mut meta.superblock.flags.peer_outdated) {
            self.want_unfence();
            let link = self.link.as_mut().expect("in a handshake");
            link.saves_pending += 1;
            let epoch = link.epoch;
            self.save_superblock(v, Then::Handshake(epoch), out);
        }
    }

    /// Says our plan once what must be durable before it is, and acts when the peer's is here, too.
    fn pump_plans(&mut self, out: &mut Effects) {
        let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Agreeing) else {
            return;
        };
        if link.saves_pending > 0 {
            return;
        }
        if !std::mem::replace(&mut link.plans_said, true) {
            let plans = link.plans.clone();
            self.send(Message::Plan(plans), out);
        }
        self.act_on_plans(out);
    }

    /// The peer has judged, too. Nothing is done, and nobody's data discarded, unless both mean the
    /// same.
    pub(super) fn on_plans(&mut self, theirs: &[Plan], out: &mut Effects) {
        let agreeing =
            |link: &&mut Link| link.phase == Phase::Agreeing && link.peer_plans.is_none();
        let Some(link) = self.link.as_mut().filter(agreeing) else {
            return self.protocol_error("a plan out of turn", out);
        };
        link.peer_plans = Some(theirs.to_vec());
        self.pump_plans(out);
    }

    fn act_on_plans(&mut self, out: &mut Effects) {
        let in_use = self.has_clients();
        let link = self.link.as_mut().expect("in a handshake");
        let Some(theirs) = link.peer_plans.clone() else { return };
        let mirror: Vec<Plan> = link.plans.iter().map(|plan| plan.mirrored()).collect();
        if mirror != theirs {
            let text = format!(
                "the nodes judge differently: {:?} here, {theirs:?} at the peer: run the same \
                 release on both, and report this",
                link.plans
            );
            return self.refuse_link(RefuseCode::Data, text, out);
        }
        if link.demote.is_some() && in_use {
            let text = "a client opened the device while the nodes agreed that it gives way";
            return self.refuse_link(RefuseCode::Busy, text.to_owned(), out);
        }
        link.phase = Phase::Settling;
        let (plans, demote) = (link.plans.clone(), link.demote);
        for (volume, text) in std::mem::take(&mut link.settled) {
            out.push(Effect::Event(Event::SplitBrain { volume, settled: true, text }));
        }
        let mine = link.state.clone().expect("judged");
        let theirs = link.peer_state.clone().expect("judged");
        self.split_brain = None;
        self.last_refusal = None;
        self.discard_my_data = false;
        if let Some(cause) = demote {
            self.demote_for_resync(cause, out);
        }
        for (v, plan) in plans.into_iter().enumerate() {
            // A peer that contradicts itself costs the link.
            if self.link.is_some() {
                self.apply_plan(v, plan, &mine.volumes[v], &theirs.volumes[v], out);
            }
        }
        self.pump_ready(out);
    }

    /// Does what the verdict asks for before `Ready`.
    fn apply_plan(
        &mut self,
        v: usize,
        plan: Plan,
        mine: &VolumeState,
        theirs: &VolumeState,
        out: &mut Effects,
    ) {
        let epoch = self.link_epoch().expect("in a handshake");
        let agreed = agreed_size(mine, theirs).expect("checked with the verdict");
        self.set_size(v, agreed);
        let vol = &mut self.volumes[v];
        vol.clip_marks();
        if plan == Plan::Resume {
            self.note_role(v, epoch, out);
            return self.resume(v, theirs, out);
        }
        let vol = &mut self.volumes[v];
        let Some(meta) = vol.meta.as_mut() else { return };
        if plan != Plan::Idle {
            // Not the higher of two: a disk that was rolled back, and is copied anew, starts over.
            meta.superblock.peer_disk_incarnation = theirs.side.disk_incarnation;
            meta.superblock.peer_sequence = theirs.side.sequence;
        }
        meta.superblock.agreed_bytes = agreed;
        let current = &mut meta.superblock.generations.current;
        current.id = current.id.with_primary(self.role == Role::Primary);
        self.plan_generations(v, plan, mine, theirs);
        self.tell_lost_answers(v, plan, mine, out);
        self.link.as_mut().expect("in a handshake").saves_pending += 1;
        self.save_superblock(v, Then::Handshake(epoch), out);
        self.begin_plan(v, plan, out);
    }

    /// Should the two part again, it is remembered who was Primary then (bit 0 of what both have).
    fn note_role(&mut self, v: usize, epoch: LinkEpoch, out: &mut Effects) {
        let primary = self.role == Role::Primary;
        let Some(meta) = self.volumes[v].meta.as_mut() else { return };
        let current = &mut meta.superblock.generations.current;
        if current.id.was_primary() != primary {
            current.id = current.id.with_primary(primary);
            self.link.as_mut().expect("in a handshake").saves_pending += 1;
            self.save_superblock(v, Then::Handshake(epoch), out);
        }
    }

    /// What the verdict makes of generations, flags and marks.
    fn plan_generations(&mut self, v: usize, plan: Plan, mine: &VolumeState, theirs: &VolumeState) {
        let (node, now) = (self.config.node, self.now);
        let vol = &mut self.volumes[v];
        let meta = vol.meta.as_mut().expect("there is a disk");
        let superblock = &mut meta.superblock;
        let name = match plan {
            Plan::Source(_) => mine.resync_name,
            _ => theirs.resync_name,
        };
        let name = GenerationId(name);
        match plan {
            Plan::InSync => {
                superblock.flags.was_up_to_date = true;
                superblock.generations.settled_with_peer();
                superblock.flags.crashed_primary = false;
            }
            Plan::Source(Extent::Full) => {
                superblock.flags.was_up_to_date = true;
                superblock.flags.full_sync = true;
                superblock.generations.begin_full_resync_as_source(name, node, now);
                vol.mark_all();
            }
            Plan::Target(extent) => {
                superblock.flags.consistent = false;
                superblock.flags.was_up_to_date = false;
                if extent == Extent::Full {
                    superblock.flags.full_sync = true;
                    superblock.generations.begin_full_resync_as_target(name, node, now);
                    vol.mark_all();
                }
            }
            Plan::Source(Extent::Bitmap) => {
                superblock.flags.was_up_to_date = true;
                if mutation::on(Mutation::ClearByDecision) {
                    meta.bitmap.clear_all();
                }
            }
            Plan::Idle | Plan::Resume => {}
        }
    }

    /// What the copy is worth by the verdict; the marks of both sides become one.
    fn begin_plan(&mut self, v: usize, plan: Plan, out: &mut Effects) {
        match plan {
            Plan::Target(_) => {
                self.set_disk(v, DiskState::Inconsistent, "a resync begins", out);
            }
            Plan::InSync => self.set_disk(v, DiskState::UpToDate, "equal to the peer's", out),
            Plan::Source(_) => self.set_disk(v, DiskState::UpToDate, "newer than the peer's", out),
            Plan::Idle | Plan::Resume => {}
        }
        if matches!(plan, Plan::Source(Extent::Bitmap) | Plan::Target(Extent::Bitmap)) {
            self.send_bitmap(v, out);
        }
    }

    pub(super) fn handshake_saved(&mut self, epoch: LinkEpoch, out: &mut Effects) {
        if let Some(link) = self.link.as_mut().filter(|link| link.epoch == epoch) {
            link.saves_pending -= 1;
            self.pump_plans(out);
            self.pump_ready(out);
        }
    }

    fn pump_ready(&mut self, out: &mut Effects) {
        let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Settling) else {
            return;
        };
        if link.saves_pending == 0 && !link.ready_sent {
            link.ready_sent = true;
            self.adopt_sessions();
            self.send(Message::Ready, out);
        }
        self.try_join(out);
    }

    /// From our `Ready` on the peer may begin, so from here on the new sessions count: if the link
    /// breaks before the peer's `Ready` is here, they are resumed as if it had come.
    fn adopt_sessions(&mut self) {
        let link = self.link.as_ref().expect("in a handshake");
        let peer_incarnation = link.peer_hello.as_ref().expect("said").incarnation;
        let mine = link.state.clone().expect("said");
        let theirs = link.peer_state.clone().expect("said");
        for (v, plan) in link.plans.clone().into_iter().enumerate() {
            if plan == Plan::Resume {
                continue;
            }
            let arbiter = if self.config.is_arbiter() { &mine } else { &*theirs };
            let id = arbiter.volumes[v].new_session;
            let session = Session { id, peer_incarnation, next_seq: 1, ..Session::default() };
            self.begin_session(v, session, plan, (&mine.volumes[v], &theirs.volumes[v]));
        }
    }

    pub(super) fn on_ready(&mut self, out: &mut Effects) {
        let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Settling) else {
            return self.protocol_error("ready out of turn", out);
        };
        link.ready_received = true;
        self.try_join(out);
    }

    fn try_join(&mut self, out: &mut Effects) {
        let link = self.link.as_mut().expect("in a handshake");
        if link.ready_sent && link.ready_received {
            link.phase = Phase::Established;
            let plans = link.plans.clone();
            let state = link.peer_state.clone().expect("the verdict was taken");
            self.join(&plans, &state, out);
        }
    }

    /// Whether a bitmap may come in now.
    pub(super) fn expects_bitmap(&self, v: usize) -> bool {
        let Some(link) = &self.link else { return false };
        let settling = link.phase == Phase::Settling && !link.ready_received;
        let resync = match link.plans.get(v) {
            Some(Plan::Source(_) | Plan::Target(_)) => true,
            Some(Plan::Resume) => self.volumes[v].sync.is_some(),
            Some(Plan::InSync | Plan::Idle) | None => false,
        };
        let target = self.volumes[v].sync.as_ref().is_some_and(super::resync::Sync::is_target);
        settling && resync || link.established() && target
    }

    /// A volume's data changed under the link: negotiate anew, at once.
    pub(super) fn renegotiate(&mut self, why: &str, out: &mut Effects) {
        self.drop_link(Loss::Renegotiate, why, out);
    }

    /// Tells the peer how often our superblocks were made durable: older ones are a rollback.
    pub(super) fn tell_sequences(&mut self, out: &mut Effects) {
        for v in 0..self.volumes.len() {
            let vol = &self.volumes[v];
            let (volume, sequence) = (vol.id, vol.durable_sequence);
            // A disk that has no part in the session yet is told of as it was found.
            if vol.meta.is_some() && vol.joined() && vol.found_sequence.is_none() {
                self.send(Message::SequenceIs { volume, sequence }, out);
            }
        }
    }

    pub(super) fn on_peer_sequence(&mut self, v: usize, sequence: u64, out: &mut Effects) {
        let Some(meta) = self.volumes[v].meta.as_mut() else { return };
        if sequence > meta.superblock.peer_sequence {
            meta.superblock.peer_sequence = sequence;
            self.save_superblock(v, Then::Nothing, out);
        }
    }

    /// Closes the link with a good-bye.
    pub(super) fn say_goodbye(&mut self, why: &str, out: &mut Effects) {
        self.dial.wanted = false;
        if self.link.is_some() {
            self.send(Message::Bye, out);
            self.drop_link(Loss::Ordered, why, out);
        } else {
            self.set_connection(types::ConnectionState::StandAlone, why, out);
            self.decide_all_alone(out);
        }
    }

    /// Whether any volume still waits for a lost peer.
    pub(super) fn undecided(&self) -> bool {
        self.volumes.iter().any(|vol| matches!(vol.mode, Mode::Waiting { .. }))
    }
}
