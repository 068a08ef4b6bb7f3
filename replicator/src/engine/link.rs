//! The link: dialling, greeting, keeping alive, losing.

use super::Engine;
use super::volume::Mode;
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use crate::input::{LinkDownCause, LinkEpoch};
use crate::wire::{Hello, Message, Plan, Purpose, RefuseCode, State};
use types::{ConnectionState, DiskState, ReplicationState, Role, Span, Time, VolumeId};

/// The first pause between two attempts to connect; it doubles up to `connect-int`.
const FIRST_PAUSE: Span = Span::millis(100);

/// How far a link is.
///
/// ```text
/// Greeting --Hello--> Proving --Auth--> Draining --own work done, State sent--> Deciding
///    --State--> Agreeing --Plan--> Settling --Ready sent and received--> Established
///                           --Auth--> Inspecting --State, Bitmap, Bye--> closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Our hello is sent.
    Greeting,
    /// Our proof is sent.
    Proving,
    /// One of the two only looks: see `inspect`. Nothing of the node's own work is touched.
    Inspecting,
    /// The peer is who it should be. Clients' new writes wait from here on; what is on its way to
    /// the disk ends first, so that the state that is sent stays true.
    Draining,
    /// Our state is sent.
    Deciding,
    /// The verdict is taken, and our plan is said. Nothing is done about it yet.
    Agreeing,
    /// The peer's plan is the mirror of ours; it is made durable, and said.
    Settling,
    /// Both are ready.
    Established,
}

/// A connection to the peer.
#[derive(Debug)]
pub(super) struct Link {
    pub epoch: LinkEpoch,
    pub initiated: bool,
    pub phase: Phase,
    pub hello: Hello,
    /// Our hello is not said before the peer's is here: this node stands alone.
    mute: bool,
    pub peer_hello: Option<Box<Hello>>,
    pub state: Option<State>,
    pub peer_state: Option<Box<State>>,
    pub plans: Vec<Plan>,
    /// Our plan is said.
    pub plans_said: bool,
    /// The peer's plan.
    pub peer_plans: Option<Vec<Plan>>,
    /// This node gives up the role of Primary before it acts on them, for this reason.
    pub demote: Option<&'static str>,
    /// How split brains are settled, told once the peer means the same.
    pub settled: Vec<(VolumeId, String)>,
    /// Superblocks that must be durable before we are ready.
    pub saves_pending: usize,
    pub ready_sent: bool,
    pub ready_received: bool,
    last_heard: Time,
    /// When the open ping was sent.
    pinged: Option<Time>,
}

/// Seeking the peer.
#[derive(Debug)]
pub(super) struct Dial {
    /// The operator wants a connection.
    pub wanted: bool,
    /// The next connection is to look only.
    pub inspect: bool,
    under_way: bool,
    next_at: Time,
    pause: Span,
}

/// How a link was lost: decides how long the peer may take to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The connection broke; the peer may be well.
    Broken,
    /// The peer sent what is not the protocol.
    Protocol,
    /// The peer did not answer in time.
    Silent,
    /// One of the two ended it in order.
    Ordered,
    /// This node closes it to negotiate anew at once.
    Renegotiate,
}

impl Dial {
    /// Whether an attempt to connect is under way.
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(super) fn new(now: Time) -> Self {
        Self { wanted: false, inspect: false, under_way: false, next_at: now, pause: FIRST_PAUSE }
    }
}

impl Link {
    pub(super) fn established(&self) -> bool {
        self.phase == Phase::Established
    }

    /// Whether this node or the peer only looks.
    pub(super) fn inspects(&self) -> bool {
        let theirs = self.peer_hello.as_ref().map(|hello| hello.purpose);
        self.hello.purpose == Purpose::Inspect || theirs == Some(Purpose::Inspect)
    }
}

impl Engine {
    pub(super) fn link_epoch(&self) -> Option<LinkEpoch> {
        self.link.as_ref().map(|link| link.epoch)
    }

    /// Whether a handshake keeps clients' new writes waiting.
    pub(super) fn link_holds(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase >= Phase::Draining && !link.established())
    }

    /// Whether messages about that volume's session go over the link now.
    pub(super) fn session_open(&self, v: usize) -> bool {
        self.link.as_ref().is_some_and(|link| {
            link.established()
                || link.phase == Phase::Settling && link.plans.get(v) == Some(&Plan::Resume)
        })
    }

    /// Whether the peer on the link has shown that it is the one that was meant.
    pub(super) fn peer_is_proven(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase >= Phase::Draining)
    }

    /// Queues a message on the link, if there is one.
    pub(super) fn send(&mut self, message: Message, out: &mut Effects) {
        if let Some(link) = &self.link {
            out.push(Effect::Send { epoch: link.epoch, message });
        }
    }

    pub(super) fn on_link_up(&mut self, epoch: LinkEpoch, initiated: bool, out: &mut Effects) {
        if initiated {
            self.dial.under_way = false;
        }
        if initiated && self.dial.inspect && self.link.is_some() {
            out.push(Effect::CloseLink { epoch });
            return self.end_inspection(Err("it was connecting just then".to_owned()), out);
        }
        if let Some(link) = &self.link {
            // Both nodes dial; of two links the one that the arbiter dialled stays.
            let preferred = |initiated| initiated == self.config.is_arbiter();
            let established = link.established();
            // Nor does a stranger push out a peer that has proven itself.
            if link.phase >= Phase::Draining || (preferred(link.initiated) && !preferred(initiated))
            {
                out.push(Effect::CloseLink { epoch });
                if established {
                    // The peer would not dial if it thought well of the link that we have.
                    self.ping(out);
                }
                return;
            }
            let old = link.epoch;
            self.link = None;
            out.push(Effect::CloseLink { epoch: old });
            self.end_inspection(Err("it was connecting just then".to_owned()), out);
        }
        self.greet(epoch, initiated, out);
    }

    /// Whether this node seeks its peer.
    pub(super) fn wants_peer(&self) -> bool {
        self.dial.wanted && !self.is_preparing()
    }

    fn greet(&mut self, epoch: LinkEpoch, initiated: bool, out: &mut Effects) {
        let inspect = initiated && std::mem::take(&mut self.dial.inspect);
        let purpose = if inspect { Purpose::Inspect } else { Purpose::Replicate };
        let hello = self.make_hello(purpose);
        self.link = Some(Link {
            epoch,
            initiated,
            phase: Phase::Greeting,
            hello,
            mute: true,
            peer_hello: None,
            state: None,
            peer_state: None,
            plans: Vec::new(),
            plans_said: false,
            peer_plans: None,
            demote: None,
            settled: Vec::new(),
            saves_pending: 0,
            ready_sent: false,
            ready_received: false,
            last_heard: self.now,
            pinged: None,
        });
        // Whoever stands alone says nothing before it knows what the other wants.
        if inspect || self.wants_peer() {
            self.say_hello(out);
        }
    }

    pub(super) fn say_hello(&mut self, out: &mut Effects) {
        let Some(link) = self.link.as_mut().filter(|link| link.mute) else { return };
        link.mute = false;
        let hello = link.hello.clone();
        self.send(Message::Hello(Box::new(hello)), out);
    }

    /// What our hello, or our state, said is no longer so.
    pub(super) fn hello_is_stale(&mut self, why: &str, out: &mut Effects) {
        if self.link.as_ref().is_some_and(|link| !link.established()) {
            self.drop_link(Loss::Renegotiate, why, out);
        }
    }

    /// What our state said, or is about to say, is no longer so.
    pub(super) fn state_is_stale(&mut self, out: &mut Effects) {
        let said = |link: &Link| link.state.is_some() && !link.established();
        if self.link.as_ref().is_some_and(said) {
            self.drop_link(Loss::Renegotiate, "an operator has said otherwise meanwhile", out);
        }
    }

    pub(super) fn on_connect_failed(&mut self, refused: bool, out: &mut Effects) {
        self.dial.under_way = false;
        if std::mem::take(&mut self.dial.inspect) {
            let why = if refused { "nobody listens there" } else { "it cannot be reached" };
            return self.end_inspection(Err(why.to_owned()), out);
        }
        self.pause_dialling();
        if refused && self.link.is_none() {
            // Nobody listens: the peer's daemon does not run, its session is gone with it.
            self.decide_all_alone(out);
        }
    }

    fn pause_dialling(&mut self) {
        let limit = self.config.options.connect_int;
        let pause = self.dial.pause;
        // A little chance, or two nodes dial in step for ever.
        let jitter = self.ids.below(pause.0 / 4 + 1);
        self.dial.next_at = self.now + pause + Span(jitter);
        self.dial.pause = Span(pause.0.saturating_mul(2).min(limit.0)).max(FIRST_PAUSE);
    }

    /// `connect-int` has changed: no pause is longer than it is now.
    pub(super) fn shorten_pause(&mut self) {
        let limit = self.config.options.connect_int;
        self.dial.pause = self.dial.pause.min(limit);
        self.dial.next_at = self.dial.next_at.min(self.now + limit);
    }

    pub(super) fn start_dialling(&mut self, out: &mut Effects) {
        self.dial.wanted = true;
        self.dial_now();
        self.set_connection(ConnectionState::Connecting, "connect", out);
    }

    /// The next attempt to connect is not waited for.
    pub(super) fn dial_now(&mut self) {
        self.dial.next_at = self.now;
        self.dial.pause = FIRST_PAUSE;
    }

    pub(super) fn pump_dial(&mut self, out: &mut Effects) {
        let wanted = self.wants_peer() && self.dial.next_at <= self.now;
        let dial = &mut self.dial;
        if (wanted || dial.inspect) && !dial.under_way && self.link.is_none() {
            dial.under_way = true;
            out.push(Effect::Connect);
        }
    }

    pub(super) fn on_link_progress(&mut self, epoch: LinkEpoch) {
        let now = self.now;
        if let Some(link) = self.link.as_mut().filter(|link| link.epoch == epoch) {
            link.last_heard = now;
            link.pinged = None;
        }
    }

    pub(super) fn on_link_down(
        &mut self,
        epoch: LinkEpoch,
        cause: LinkDownCause,
        out: &mut Effects,
    ) {
        if self.link_epoch() != Some(epoch) {
            return;
        }
        let (loss, text) = match cause {
            LinkDownCause::Closed => (Loss::Broken, "the connection broke"),
            LinkDownCause::Protocol => (Loss::Protocol, "the peer sent what is not the protocol"),
        };
        self.drop_link(loss, text, out);
    }

    /// A message that the peer may not send now: it is not the program that we think.
    pub(super) fn protocol_error(&mut self, what: &str, out: &mut Effects) {
        out.push(Effect::Event(Event::Warning { text: format!("protocol error: {what}") }));
        self.drop_link(Loss::Protocol, what, out);
    }

    fn ping(&mut self, out: &mut Effects) {
        let now = self.now;
        let Some(link) = self.link.as_mut() else { return };
        if link.pinged.is_none() {
            link.pinged = Some(now);
            let epoch = link.epoch;
            out.push(Effect::Send { epoch, message: Message::Ping });
        }
    }

    /// Keeps the link alive, or finds that it is not.
    pub(super) fn pump_link_timers(&mut self, out: &mut Effects) {
        let Some((at, what)) = self.link_deadline() else { return };
        if at > self.now {
            return;
        }
        match what {
            LinkTimer::PingDue => self.ping(out),
            LinkTimer::NoAnswer => {
                self.drop_link(Loss::Silent, "the peer did not answer within ping-timeout", out);
            }
            LinkTimer::Handshake => {
                self.drop_link(Loss::Silent, "the peer did not go on with the handshake", out);
            }
            LinkTimer::Write => {
                let text = "the peer did not answer a write within timeout * ko-count";
                self.drop_link(Loss::Silent, text, out);
            }
        }
    }

    fn link_deadline(&self) -> Option<(Time, LinkTimer)> {
        let options = &self.config.options;
        let link = self.link.as_ref()?;
        if !link.established() {
            return Some((link.last_heard + options.timeout, LinkTimer::Handshake));
        }
        let ping = match link.pinged {
            Some(at) => (at + options.ping_timeout, LinkTimer::NoAnswer),
            None => (link.last_heard + options.ping_int, LinkTimer::PingDue),
        };
        let patience = options.timeout.times(u64::from(options.ko_count));
        let write = self.oldest_pending().filter(|_| options.ko_count > 0);
        let write = write.map(|since| (since + patience, LinkTimer::Write));
        write.into_iter().chain([ping]).min_by_key(|(at, _)| *at)
    }

    pub(super) fn next_link_deadline(&self) -> Option<Time> {
        let dialling = self.wants_peer() && !self.dial.under_way && self.link.is_none();
        let dial = dialling.then_some(self.dial.next_at);
        self.link_deadline().map(|(at, _)| at).into_iter().chain(dial).min()
    }

    /// The link is over: closed, forgotten, and (after a pause, or at once) sought anew.
    pub(super) fn drop_link(&mut self, loss: Loss, why: &str, out: &mut Effects) {
        let Some(link) = self.link.take() else { return };
        out.push(Effect::CloseLink { epoch: link.epoch });
        if link.inspects() {
            // Nobody has joined: nothing is lost.
            return self.end_inspection(Err(why.to_owned()), out);
        }
        let was_established = link.established();
        if was_established || link.ready_sent {
            self.begin_loss();
        }
        let deadline = match loss {
            Loss::Ordered => self.now,
            _ => self.now + self.config.options.timeout,
        };
        self.role_request_lost();
        self.peer_may_promote = false;
        for v in 0..self.volumes.len() {
            // From our `Ready` on the peer may have begun: it may come back into that session.
            if self.volumes[v].joined() || link.ready_sent {
                self.volumes[v].mode = Mode::Waiting { deadline };
                self.leave_peer(v, why, out);
            }
            self.volumes[v].touched = true;
        }
        self.set_peer_role(Role::Unknown, out);
        if was_established {
            self.dial.pause = FIRST_PAUSE;
            self.dial.next_at = self.now;
        } else if loss == Loss::Renegotiate {
            self.dial.next_at = self.now;
        } else {
            self.pause_dialling();
        }
        let state = match loss {
            Loss::Broken => ConnectionState::NetworkFailure,
            Loss::Protocol => ConnectionState::ProtocolError,
            Loss::Silent => ConnectionState::Timeout,
            Loss::Ordered => ConnectionState::TearDown,
            Loss::Renegotiate => ConnectionState::Unconnected,
        };
        if was_established {
            self.set_connection(state, why, out);
            if loss != Loss::Renegotiate {
                self.run_handler(Handler::Disconnected, None, out);
            }
        }
        let next = match self.dial.wanted {
            true => ConnectionState::Connecting,
            false => ConnectionState::StandAlone,
        };
        self.set_connection(next, why, out);
        if loss == Loss::Ordered || !self.dial.wanted {
            self.decide_all_alone(out);
        }
    }

    fn leave_peer(&mut self, v: usize, why: &str, out: &mut Effects) {
        self.interrupt_resync(v);
        self.forget_sync_control(v);
        self.volumes[v].ahead = None;
        self.interrupt_verify(v);
        self.unask_flushes(v);
        let known = [DiskState::Diskless, DiskState::Inconsistent, DiskState::Outdated];
        let known = known.contains(&self.volumes[v].peer_disk);
        // It may have become good, and its word was lost.
        let confirmed = self.volumes[v].sync.as_ref().is_some_and(|sync| sync.confirmed);
        if !known || confirmed {
            self.set_peer_disk(v, DiskState::DUnknown, out);
        }
        self.set_replication(v, ReplicationState::Off, why, out);
        self.volumes[v].clients_since_loss = self.has_clients();
    }

    /// Refuses the peer: it is told why, and so is the log.
    pub(super) fn refuse_link(&mut self, code: RefuseCode, text: String, out: &mut Effects) {
        let peer = &self.config.peer_name;
        out.push(Effect::Event(Event::Refused {
            text: format!("connection with {peer} refused: {text}"),
        }));
        self.send(Message::Refuse { code, text: text.clone() }, out);
        self.refused(code, text, out);
    }

    pub(super) fn on_refused(&mut self, code: RefuseCode, text: String, out: &mut Effects) {
        let peer = &self.config.peer_name;
        out.push(Effect::Event(Event::Refused {
            text: format!("{peer} refuses the connection: {text}"),
        }));
        self.refused_after_split_brain(&text, out);
        self.refused(code, text, out);
    }

    fn refused(&mut self, code: RefuseCode, text: String, out: &mut Effects) {
        if self.link.as_ref().is_some_and(Link::inspects) {
            return self.drop_link(Loss::Broken, &text, out);
        }
        self.last_refusal = Some(text.clone());
        if !self.peer_is_proven() && matches!(code, RefuseCode::SplitBrain | RefuseCode::Data) {
            return self.drop_link(Loss::Broken, &text, out);
        }
        match code {
            RefuseCode::SplitBrain | RefuseCode::Data => {
                if code == RefuseCode::SplitBrain {
                    self.split_brain = Some(text.clone());
                }
                self.dial.wanted = false;
                self.discard_my_data = false;
                self.drop_link(Loss::Ordered, &text, out);
            }
            RefuseCode::Mismatch | RefuseCode::Authentication => {
                self.lasting_refusals += 1;
                self.drop_link(Loss::Broken, &text, out);
                self.dial.pause = self.config.options.connect_int;
                self.pause_dialling();
            }
            RefuseCode::Busy => self.drop_link(Loss::Broken, &text, out),
        }
    }

    /// A message came in: the peer lives. Returns whether it is to be looked at.
    pub(super) fn heard(&mut self, epoch: LinkEpoch) -> bool {
        let now = self.now;
        let Some(link) = self.link.as_mut().filter(|link| link.epoch == epoch) else {
            return false;
        };
        link.last_heard = now;
        link.pinged = None;
        true
    }
}

#[derive(Clone, Copy, Debug)]
enum LinkTimer {
    PingDue,
    NoAnswer,
    Handshake,
    Write,
}
