//! The engine: see [`Engine`]. Its rules are in one module each:
//!
//! | module | what it decides |
//! |---|---|
//! | `request` | how a client's request is cut up and answered |
//! | `write` | when a write gets its number, and when it is answered |
//! | `early` | what is answered before the peer has written it: protocols A and B |
//! | `congestion` | what becomes of writes that the link cannot keep up with |
//! | `mirror` | what becomes of the peer's writes: the verdict on concurrent ones |
//! | `read` | when a read may be answered, and by whom |
//! | `block_status` | what is data, what reads as zeros, and what is out-of-sync |
//! | `mutated` | deliberate bugs, in no build that serves anybody |
//! | `order` | which disk work waits for which |
//! | `disk` | disk operations in their turn, and the loss of a disk |
//! | `balance` | which of two good copies serves a read |
//! | `disk_timeout` | disks that do not answer |
//! | `disk_error`, `repair` | what becomes of a disk with errors, and of what it could not read |
//! | `log` | when an extent is hot, and may go cold |
//! | `durable` | flushes, and what is durable where |
//! | `superblock` | one superblock write at a time, and what goes on after it |
//! | `link` | dialling, keeping alive, losing the peer |
//! | `auth` | the proof of the shared secret |
//! | `handshake` | who is there, what each has |
//! | `judge` | the verdict, and who gives way after a split brain |
//! | `prepare` | what runs before a resync to here |
//! | `join` | sessions that go on, and sessions that begin |
//! | `lost_writes` | what was in flight at a target whose source was away |
//! | `inspect` | looking at the peer without joining it |
//! | `suspend` | when I/O stands still |
//! | `fence` | what must be known of a lost peer before going on |
//! | `solo` | going on alone |
//! | `resync`, `csums` | copying what is marked; what of it needs no copying |
//! | `pace`, `pause` | how fast a resync or a verify goes; when it stands still |
//! | `invalidate`, `new_uuid` | copies given up, and fresh ones taken for equal, by order |
//! | `verify` | comparing the copies without a false alarm |
//! | `role` | who is Primary |
//! | `resize` | how a volume grows |
//! | `connect` | orders about the peer: connect, disconnect, outdate |
//! | `command` | operators' other commands |

mod auth;
mod balance;
mod block_status;
mod command;
mod congestion;
mod connect;
mod csums;
mod disk;
mod disk_error;
mod disk_timeout;
mod durable;
mod early;
mod fence;
mod handshake;
mod inspect;
mod invalidate;
mod join;
mod judge;
mod link;
mod log;
mod lost_writes;
mod mirror;
mod mutated;
mod new_uuid;
mod order;
mod pace;
mod pause;
mod picture;
mod prepare;
mod read;
mod reconfigure;
mod repair;
mod request;
mod resize;
mod resync;
mod role;
mod solo;
mod state;
mod superblock;
mod suspend;
mod verify;
mod volume;
mod write;

use crate::effect::Effects;
use crate::input::{ClientId, Command, CommandId, DiskOpId, Input, LinkEpoch, MetaOpId, RequestId};
use crate::options::EngineConfig;
use crate::wire::{Message, ResyncStep};
use congestion::Calm;
use connect::Leaving;
use disk::DiskUse;
use fence::Fence;
use inspect::Look;
use link::{Dial, Link, Loss};
use metadata::OutOfSync;
use prepare::Preparation;
use read::Reader;
use request::Request;
use std::collections::{BTreeMap, VecDeque};
use superblock::MetaUse;
use types::{ByteRange, ConnectionState, DiskState, Prng, Role, Span, Time, VolumeId};
use volume::{Mode, Payload, Volume};

/// Marks that no log transaction has made durable yet are saved after so long: it bounds what a
/// crash makes of a finished resync.
const BITMAP_SAVE_INTERVAL: Span = Span::secs(1);

/// One resource on one node.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    /// Makes up generations, sessions, nonces.
    ids: Prng,
    now: Time,
    /// New at every start: an engine that restarted is never taken for the one before it.
    incarnation: u64,

    role: Role,
    peer_role: Role,
    connection: ConnectionState,
    link: Option<Link>,
    dial: Dial,
    split_brain: Option<String>,
    last_refusal: Option<String>,
    /// How often a connection was refused for what only an operator can change.
    lasting_refusals: u64,
    resumed: u64,

    volumes: Vec<Volume>,
    clients: BTreeMap<ClientId, VolumeId>,
    requests: BTreeMap<RequestId, Request>,
    /// Requests that have ended well and are not answered while I/O is suspended.
    withheld: Vec<RequestId>,
    /// Reads that the peer does for us.
    peer_reads: BTreeMap<u64, (usize, Reader, ByteRange)>,
    disk_ops: BTreeMap<DiskOpId, (usize, DiskUse)>,
    meta_ops: BTreeMap<MetaOpId, (usize, MetaUse)>,
    /// Since when each operation of a disk is under way, by its number: of which volume.
    started: BTreeMap<u64, (usize, Time)>,
    next_op: u64,
    next_write: u64,

    commands: VecDeque<(CommandId, Command)>,
    running: Option<command::Running>,
    /// Commands that the peer has ordered: by which link, of which volume, under which number.
    peer_orders: BTreeMap<CommandId, (LinkEpoch, usize, u64)>,
    renegotiate_wanted: bool,
    /// The peer asked for the role of Primary and got our consent; it has not said yet that it is.
    peer_may_promote: bool,
    /// The operator gave up what was written here, until the next verdict.
    discard_my_data: bool,
    /// `suspend-io`.
    io_suspended: bool,
    /// `resume-io` although nobody has the data: what nobody can serve fails.
    no_data_borne: bool,
    fence: Fence,
    preparation: Preparation,
    look: Option<Look>,
    /// An orderly leave that waits until the peer has outdated itself.
    leaving: Option<Leaving>,
    /// So many bytes at most are outstanding at the peer: `flush_bytes`, or what it was before as long
    /// as there is more.
    outstanding_limit: u64,
    /// How long the link is left alone after it was congested.
    calm: Calm,
    stopped: bool,
    next_bitmap_save: Time,
    /// When a client's request was last taken or answered.
    last_client: Option<Time>,
}

impl Engine {
    /// An engine with no disk attached and no link. `seed` feeds every id that it makes up
    /// (generations, sessions, nonces): random in the daemon, chosen in the simulator.
    pub fn new(config: EngineConfig, seed: u64, now: Time) -> Self {
        assert!(config.node.0 < 2, "a resource has two nodes, 0 and 1");
        let mut ids = Prng::new(seed);
        let incarnation = ids.next_u64() | 1;
        let volumes = config.volumes.iter().map(|&id| Volume::new(id)).collect();
        Self {
            config,
            ids,
            now,
            incarnation,
            role: Role::Secondary,
            peer_role: Role::Unknown,
            connection: ConnectionState::StandAlone,
            link: None,
            dial: Dial::new(now),
            split_brain: None,
            last_refusal: None,
            lasting_refusals: 0,
            resumed: 0,
            volumes,
            clients: BTreeMap::new(),
            requests: BTreeMap::new(),
            withheld: Vec::new(),
            peer_reads: BTreeMap::new(),
            disk_ops: BTreeMap::new(),
            meta_ops: BTreeMap::new(),
            started: BTreeMap::new(),
            next_op: 1,
            next_write: 1,
            commands: VecDeque::new(),
            running: None,
            peer_orders: BTreeMap::new(),
            renegotiate_wanted: false,
            peer_may_promote: false,
            discard_my_data: false,
            io_suspended: false,
            no_data_borne: false,
            fence: Fence::default(),
            preparation: Preparation::default(),
            look: None,
            leaving: None,
            outstanding_limit: 0,
            calm: Calm::default(),
            stopped: false,
            next_bitmap_save: now,
            last_client: None,
        }
    }

    /// Takes one input and appends what is to be done. `now` never goes backwards.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Effects) {
        self.now = self.now.max(now);
        match input {
            Input::ClientOpened { client, volume } => {
                self.clients.insert(client, volume);
                for vol in &mut self.volumes {
                    vol.clients_since_loss |= !vol.joined();
                }
                self.touch_all();
            }
            Input::ClientClosed { client } => self.on_client_closed(client),
            Input::Request { id, client, volume, op } => {
                self.on_request(id, client, volume, op, out);
            }
            Input::DiskDone { id, result } => self.on_disk_done(id, result, out),
            Input::MetaDone { id, result } => self.on_meta_done(id, result, out),
            Input::DiskMeasured { volume, sizes } => self.on_disk_measured(volume, sizes),
            Input::LinkUp { epoch, initiated } => self.on_link_up(epoch, initiated, out),
            Input::ConnectFailed { refused } => self.on_connect_failed(refused, out),
            Input::Message { epoch, message } => {
                if self.heard(epoch) {
                    self.on_message(epoch, message, out);
                }
            }
            Input::LinkProgress { epoch } => self.on_link_progress(epoch),
            Input::LinkDown { epoch, cause } => self.on_link_down(epoch, cause, out),
            Input::HandlerDone { id, exit } => {
                self.on_fenced(id, exit, out);
                self.on_prepared(id, exit, out);
            }
            Input::Timer => self.on_timer(out),
            Input::Command { id, command } => self.on_command(id, command, out),
        }
        self.pump(out);
        self.settle_outstanding_limit();
        self.check_invariants();
    }

    /// When [`Input::Timer`] is wanted, if ever. It may lie in the past: then at once (after
    /// what else is ready: small messages are batched until then).
    pub fn next_deadline(&self) -> Option<Time> {
        if self.stopped {
            return None;
        }
        let holds = self.link_holds();
        let volumes = self.volumes.iter().flat_map(|vol| {
            let waiting = match vol.mode {
                Mode::Waiting { deadline } if !holds && deadline != solo::NEVER => Some(deadline),
                Mode::Waiting { .. } | Mode::Alone | Mode::Joined => None,
            };
            let settled = (vol.joined() && !vol.settled_unsaid.is_empty()).then_some(self.now);
            let flush = vol.durable.flush_due(&self.config.options);
            let unsaved = vol.meta.as_ref().is_some_and(|meta| meta.bitmap.unsaved_pages() > 0);
            let save = unsaved.then_some(self.next_bitmap_save);
            let calm = self.catch_up_at(vol);
            [waiting, settled, flush, save, calm].into_iter().flatten()
        });
        let paces = (0..self.volumes.len()).filter_map(|v| self.pace_deadline(v));
        let disks = (0..self.volumes.len()).filter_map(|v| self.disk_deadline(v));
        let volumes = volumes.chain(paces).chain(disks);
        let verify = (0..self.volumes.len()).filter_map(|v| self.verify_due(v));
        let leaving = self.leaving.as_ref().map(|leaving| leaving.deadline);
        volumes.chain(verify).chain(self.next_link_deadline()).chain(leaving).min()
    }

    fn on_timer(&mut self, out: &mut Effects) {
        self.pump_link_timers(out);
        self.pump_leave(out);
        for v in 0..self.volumes.len() {
            self.flush_settled(v, out);
            self.pump_waiting(v, out);
            self.pump_own_flush(v, out);
            self.pump_pace_timer(v);
            self.pump_disk_timeout(v, out);
            self.pump_ahead(v, out);
            self.pump_verify_interval(v, out);
        }
        if self.next_bitmap_save <= self.now {
            self.next_bitmap_save = self.now + BITMAP_SAVE_INTERVAL;
            for v in 0..self.volumes.len() {
                self.save_bitmap(v, None, out);
            }
        }
    }

    fn on_message(&mut self, epoch: LinkEpoch, message: Message, out: &mut Effects) {
        match message {
            Message::Ping => self.send(Message::Pong, out),
            Message::Pong => {}
            Message::Hello(hello) => self.on_hello(hello, out),
            Message::Auth(proof) => self.on_auth(&proof, out),
            Message::State(state) if self.is_looking() => self.on_inspected_state(state, out),
            Message::State(state) => self.on_state(state, out),
            Message::Plan(plans) => self.on_plans(&plans, out),
            Message::Ready => self.on_ready(out),
            Message::Refuse { code, text } => self.on_refused(code, text, out),
            Message::Bye if self.is_looking() => self.end_inspection(Ok(()), out),
            // Whoever has proven nothing cannot send us off alone.
            Message::Bye if !self.peer_is_proven() => {
                self.drop_link(Loss::Broken, "the connection was given up", out);
            }
            Message::Bye => self.drop_link(Loss::Ordered, "the peer says good-bye", out),
            Message::Bitmap { volume, from, runs } if self.is_looking() => {
                match self.find_volume(volume) {
                    Some(v) => self.on_inspected_bitmap(v, from, &runs, out),
                    None => self.protocol_error("a bitmap of another volume", out),
                }
            }
            Message::Bitmap { volume, from, runs } => match self.find_volume(volume) {
                Some(v) if self.expects_bitmap(v) => self.on_bitmap(v, from, &runs, out),
                _ => self.protocol_error("a bitmap out of turn", out),
            },
            Message::RoleRequest { .. } | Message::RoleReply { .. } | Message::RoleIs(_)
                if !self.link.as_ref().is_some_and(Link::established) =>
            {
                self.protocol_error("a role before the handshake is done", out);
            }
            Message::RoleRequest { id, role } => self.on_role_request(id, role, out),
            Message::RoleReply { id, granted, text } => self.on_role_reply(id, granted, text, out),
            Message::RoleIs(role) => {
                self.peer_may_promote = false;
                self.set_peer_role(role, out);
                for v in 0..self.volumes.len() {
                    self.say_settled(v, out);
                }
                self.touch_all();
            }
            Message::Outdate if self.link.as_ref().is_some_and(Link::established) => {
                self.on_outdate(out);
            }
            Message::Outdate => self.protocol_error("an order before the handshake is done", out),
            message => self.on_volume_message(epoch, message, out),
        }
    }

    /// Messages about the data of one volume: only in a session.
    fn on_volume_message(&mut self, epoch: LinkEpoch, message: Message, out: &mut Effects) {
        let volume = volume_of(&message);
        let open =
            volume.and_then(|volume| self.find_volume(volume)).filter(|&v| self.session_open(v));
        let Some(v) = open else { return self.protocol_error("data outside a session", out) };
        self.touch(v);
        match message {
            Message::Write { stamp, range, data, fua } => {
                self.on_mirror(v, stamp, range, Payload::Data(data), fua, out);
            }
            Message::Zero { stamp, range, unmap, fua } => {
                self.on_mirror(v, stamp, range, Payload::Zero { unmap }, fua, out);
            }
            Message::Ack { seq, kind, .. } => self.on_ack(v, seq, kind, out),
            Message::Settled { below, seqs, .. } => self.on_settled(v, below, &seqs, out),
            Message::Flush { id, .. } => self.on_peer_asks_flush(v, epoch, id, out),
            Message::StandIn { id, .. } => self.on_stand_in(v, epoch, id, out),
            Message::FlushDone { id, ok, .. } => self.on_peer_flushed(v, id, ok, out),
            Message::Durable { upto, .. } => self.on_peer_durable(v, upto, out),
            Message::Read { id, range, .. } => self.on_peer_read(v, epoch, id, range, out),
            Message::ReadDone { id, data, .. } => self.on_peer_read_done(id, data, out),
            Message::ResyncEnd { step: ResyncStep::Adopted, .. } if !self.volumes[v].has_disk() => {
                // The peer's copy was good before ours was lost.
                self.set_peer_disk(v, DiskState::UpToDate, out);
            }
            Message::ResyncRequest { .. }
            | Message::ResyncData { .. }
            | Message::ResyncFailed { .. }
            | Message::ResyncEnd { .. }
                if !self.volumes[v].has_disk() =>
            {
                // Said before the peer has heard that the disk here is gone, and the resync with
                // it.
            }
            Message::ResyncRequest { range, known, .. } => {
                self.on_resync_request(v, csums::ResyncRead { range, epoch, known }, out);
            }
            Message::ResyncData { range, content, .. } => {
                self.on_resync_data(v, range, content, out);
            }
            Message::ResyncFailed { range, .. } => self.on_resync_failed(v, range, out),
            Message::InSync { blocks, .. } => self.on_in_sync(v, &blocks, out),
            Message::ResyncEnd { step, .. } => self.on_resync_end(v, step, out),
            Message::VerifyRequest { range, id, total, done, digest, locked, .. } => {
                let asked = verify::Asked { range, id, total, done, digest, locked };
                self.on_verify_request(v, epoch, asked, out);
            }
            Message::VerifyReply { id, range, digests, .. } => {
                self.on_verify_reply(v, id, range, digests, out);
            }
            Message::VerifyOutOfSync { blocks, .. } => self.on_verify_out_of_sync(v, &blocks, out),
            Message::VerifyEnd { id, complete, whole, found, text, .. } => {
                self.on_verify_end(v, id, (complete, whole, found), text, out);
            }
            Message::DiskIs { disk, .. } => self.on_peer_disk(v, disk, out),
            Message::Resize { id, size, .. } => self.on_resize(v, epoch, id, size, out),
            Message::ResizeReply { id, result, .. } => self.on_resize_reply(v, id, result),
            Message::SequenceIs { sequence, .. } => self.on_peer_sequence(v, sequence, out),
            Message::Order { id, order, .. } => self.on_peer_order(v, epoch, id, order, out),
            Message::OrderDone { id, done, text, .. } => self.on_order_done(id, done, text, out),
            Message::SyncControl { user, dependency, speed, .. } => {
                self.on_sync_control(v, user, dependency, speed, out);
            }
            Message::Behind { .. } => self.on_behind(v, out),
            other => unreachable!("{} is about no volume's data", other.name()),
        }
    }

    /// Everything that may go on now, goes on.
    fn pump(&mut self, out: &mut Effects) {
        /// Far more rounds than any chain of causes has.
        const ROUNDS_MAX: u32 = 1000;
        let mut rounds = 0;
        loop {
            for v in 0..self.volumes.len() {
                while std::mem::take(&mut self.volumes[v].touched) {
                    rounds += 1;
                    assert!(rounds < ROUNDS_MAX, "volume {v} does not come to rest");
                    self.pump_volume(v, out);
                }
            }
            self.pump_no_data();
            self.pump_endless(out);
            self.pump_withheld(out);
            self.pump_fence(out);
            self.pump_leave(out);
            self.pump_draining(out);
            self.pump_dial(out);
            self.pump_commands(out);
            if !self.volumes.iter().any(|vol| vol.touched) {
                return;
            }
        }
    }

    fn pump_volume(&mut self, v: usize, out: &mut Effects) {
        self.pump_ghosts(v, out);
        self.pump_unmarked(v, out);
        self.pump_queue(v, out);
        self.pump_parked_reads(v, out);
        self.pump_flushes(v, out);
        self.pump_log(v, out);
        self.pump_sync_control(v, out);
        self.pump_target(v, out);
        self.pump_repairs(v, out);
        self.pump_ahead(v, out);
        self.pump_verify(v, out);
        self.pump_full_sync_flag(v, out);
        self.pump_growing(v, out);
    }

    fn find_volume(&self, volume: VolumeId) -> Option<usize> {
        self.volumes.iter().position(|vol| vol.id == volume)
    }

    fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    fn touch(&mut self, v: usize) {
        self.volumes[v].touched = true;
    }

    fn touch_all(&mut self) {
        for vol in &mut self.volumes {
            vol.touched = true;
        }
    }

    /// Whether a generation is on its way to the disk: for the simulator's oracles.
    pub fn is_minting(&self, volume: VolumeId) -> bool {
        self.find_volume(volume).is_some_and(|v| self.volumes[v].minted == volume::Minted::Saving)
    }

    /// The out-of-sync bitmap of a volume with a disk: for the simulator's oracles and dumps.
    pub fn out_of_sync(&self, volume: VolumeId) -> Option<&OutOfSync> {
        let v = self.find_volume(volume)?;
        self.volumes[v].meta.as_ref().map(|meta| &meta.bitmap)
    }

    /// Whether this node would, if the peer were lost now, mark that block: it is marked, or a
    /// write to it is in flight, or was acknowledged by the peer and is not known durable there.
    pub fn covers(&self, volume: VolumeId, block: u64) -> bool {
        let Some(v) = self.find_volume(volume) else { return false };
        let vol = &self.volumes[v];
        let range = types::BlockRange::new(block, block + 1).bytes();
        let marked = |marks: &OutOfSync| block < marks.blocks() && marks.get(block);
        vol.meta.as_ref().is_some_and(|meta| marked(&meta.bitmap))
            || vol.local.values().any(|write| write.range.overlaps(range))
            || vol.durable.undurable().any(|undurable| undurable.overlaps(range))
    }

    fn check_invariants(&self) {
        for vol in &self.volumes {
            let limit = self.outstanding_limit;
            assert!(vol.durable.is_bounded(limit), "more may be lost at the peer than was allowed");
            assert!(vol.by_seq.len() <= vol.local.len(), "a numbered write is remembered");
            assert!(
                vol.meta.is_none() || vol.disk != DiskState::Diskless,
                "a disk that is attached has a state"
            );
            assert!(
                !vol.joined() || self.link.as_ref().is_some_and(Link::established),
                "joined without a link"
            );
        }
    }
}

fn volume_of(message: &Message) -> Option<VolumeId> {
    match message {
        Message::Write { stamp, .. } | Message::Zero { stamp, .. } => Some(stamp.volume),
        Message::Ack { volume, .. }
        | Message::Settled { volume, .. }
        | Message::Flush { volume, .. }
        | Message::StandIn { volume, .. }
        | Message::Behind { volume }
        | Message::FlushDone { volume, .. }
        | Message::Durable { volume, .. }
        | Message::Read { volume, .. }
        | Message::ReadDone { volume, .. }
        | Message::ResyncRequest { volume, .. }
        | Message::ResyncData { volume, .. }
        | Message::ResyncFailed { volume, .. }
        | Message::InSync { volume, .. }
        | Message::ResyncEnd { volume, .. }
        | Message::VerifyRequest { volume, .. }
        | Message::VerifyReply { volume, .. }
        | Message::VerifyOutOfSync { volume, .. }
        | Message::VerifyEnd { volume, .. }
        | Message::DiskIs { volume, .. }
        | Message::SyncControl { volume, .. }
        | Message::Order { volume, .. }
        | Message::OrderDone { volume, .. }
        | Message::Resize { volume, .. }
        | Message::ResizeReply { volume, .. }
        | Message::SequenceIs { volume, .. } => Some(*volume),
        _ => None,
    }
}
