//! Growing a volume: room on both disks first, then one size for both.
//!
//! ```text
//! this node                               the peer
//!   asks its driver for the device's size, moves the metadata to the new end
//!   Resize (no size)    ----------------->  the same
//!   numbers no more     <-----------------  ResizeReply: how much room there is
//!   all of it done, durable on both
//!   Resize (the size)   ----------------->  numbers no more, all of it done and durable
//!   marks what is new   <-----------------  ResizeReply
//!   the size is durable
//!   a new handshake: the larger size counts, and what is marked is copied
//! ```
//! The size counts on one node before it does on the other: whoever has the larger one has marked
//! what the other may lack, and every handshake gives both the larger one, or joins them not at all.
//! So nothing is lost wherever it is cut off. Between the two holding still and the handshake
//! nothing gets a number, so a Primary that becomes target of the new part loses nothing by it.

use super::Engine;
use super::superblock::{MetaUse, Then};
use super::volume::{Minted, Mode, Volume, has_data};
use crate::effect::{DeviceSizes, Effect, Effects, Refusal, RefusalKind};
use crate::event::Event;
use crate::input::{Command, LinkEpoch, Resize};
use crate::wire::{Message, State};
use metadata::{Growth, Layout};
use types::{BLOCK_BYTES, BlockRange, DiskState, blocks_of};

/// What a volume remembers of growing.
#[derive(Debug, Default)]
pub(super) struct Growing {
    /// The order that runs here.
    order: Option<Progress>,
    /// The link by which the peer was asked for it.
    asked_by: Option<LinkEpoch>,
    /// Making room on the local disk.
    room: Option<Room>,
    /// The peer's order, with the link that it came by, waits for that.
    asked: Option<(LinkEpoch, u64)>,
    /// Both hold still, or did until the link was lost.
    still: Option<Still>,
}

/// How far an order is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Room is made on the local disk.
    Room,
    /// The peer makes room.
    Asking(u64, Option<Result<u64, String>>),
    /// Nothing gets a number here; what has one ends.
    Stilling(u64),
    /// The peer does the same.
    Holding(u64, u64, Option<Result<u64, String>>),
    /// What is new is marked, and the marks become durable.
    Marking(u64),
    /// The size becomes durable.
    Saving(u64),
    /// The nodes meet anew.
    Meeting(u64),
}

/// Making room.
#[derive(Debug)]
enum Room {
    /// The driver looks how large the devices are.
    Measuring,
    /// The metadata are to be moved, once nothing of them is under way.
    Waiting(Layout),
    /// They are being moved.
    Moving(Box<Growth>),
    /// Done, or not possible.
    Made(Result<(), String>),
}

/// Since when nothing has got a number here.
#[derive(Clone, Copy, Debug)]
struct Still {
    /// In that session.
    session: u64,
    /// The number of the next write.
    next_seq: u64,
    /// The size that there was, and the one that there will be.
    old: u64,
    new: u64,
    /// The peer is to be told when all is done.
    reply: Option<(LinkEpoch, u64)>,
}

impl Growing {
    /// Whether new writes wait.
    pub(super) const fn holds_still(&self) -> bool {
        self.still.is_some()
    }

    /// Whether marks or size are on their way to the disk: the state would not stay true.
    pub(super) const fn commits(&self) -> bool {
        matches!(self.order, Some(Progress::Marking(_) | Progress::Saving(_)))
    }

    /// The peer is back, or of no use: what was held goes on.
    pub(super) fn let_go(&mut self) {
        self.still = None;
    }
}

impl Volume {
    /// Whether everything that has a number is done, and durable on both nodes.
    pub(super) fn is_still(&self) -> bool {
        self.local.is_empty() && self.durable.everything_durable_at_peer()
    }

    /// Whether the volume has grown while the disk was away.
    pub(super) fn is_shorter(&self) -> bool {
        let agreed = self.meta.as_ref().map_or(0, |meta| meta.superblock.agreed_bytes);
        agreed != 0 && agreed < self.size
    }

    /// What is new at that size.
    fn added(&self, size: u64) -> BlockRange {
        BlockRange::new(blocks_of(self.size), blocks_of(size))
    }
}

impl Engine {
    /// How many bytes a volume can have on the disk here: all that there are, or what `size` leaves;
    /// what it has it keeps.
    pub(super) fn usable(&self, v: usize) -> u64 {
        let vol = &self.volumes[v];
        let room = vol.meta.as_ref().map_or(0, |meta| meta.layout.data_bytes());
        match self.config.options.of_volume(vol.id).size {
            0 => room,
            size => room.min((size / BLOCK_BYTES * BLOCK_BYTES).max(BLOCK_BYTES).max(vol.size)),
        }
    }

    /// `resize`: goes on with the order.
    pub(super) fn pump_resize(
        &mut self,
        order: Resize,
        stage: super::command::Stage,
        out: &mut Effects,
    ) -> Result<Option<super::command::Stage>, Refusal> {
        let Some(v) = self.find_volume(order.volume) else {
            let text = format!("resource {} has no volume {}", self.config.resource, order.volume);
            return Err(Refusal::new(RefusalKind::State, text));
        };
        match self.go_on_growing(v, order, out) {
            Ok(false) => Ok(Some(stage)),
            done => {
                let growing = &mut self.volumes[v].growing;
                let progress = growing.order.take();
                // An order that was refused at once leaves alone what the peer has begun.
                if progress.is_some() {
                    growing.still = None;
                }
                let holds = matches!(progress, Some(Progress::Holding(_, _, None | Some(Ok(_)))));
                if done.is_err() && holds && self.volumes[v].joined() {
                    // The peer would hold still until somebody tells it otherwise.
                    self.renegotiate("the volume does not grow", out);
                }
                self.touch(v);
                done.map(|_| None)
            }
        }
    }

    /// Whether it is done.
    fn go_on_growing(
        &mut self,
        v: usize,
        order: Resize,
        out: &mut Effects,
    ) -> Result<bool, Refusal> {
        let Some(progress) = self.volumes[v].growing.order.clone() else {
            return self.begin_growing(v, order, out);
        };
        let committed =
            matches!(progress, Progress::Marking(_) | Progress::Saving(_) | Progress::Meeting(_));
        if !committed {
            self.may_grow(v, order)?;
            if self.was_cut_off(v, &progress) {
                let growing = &mut self.volumes[v].growing;
                (growing.order, growing.still) = (None, None);
                return self.begin_growing(v, order, out);
            }
        }
        match progress {
            Progress::Room => self.grow_with_room(v, order, out),
            Progress::Asking(_, Some(reply)) => {
                let theirs = reply.map_err(|text| self.not_grown(v, &self.at_peer(&text)))?;
                self.agree(v, order, Some(theirs), out)
            }
            Progress::Stilling(size) => self.grow_still(v, size, out),
            Progress::Holding(size, _, Some(reply)) => {
                reply.map_err(|text| self.not_grown(v, &self.at_peer(&text)))?;
                if self.volumes[v].is_still() && self.volumes[v].order.is_empty() {
                    self.mark_added(v, order, size, out);
                }
                Ok(false)
            }
            Progress::Asking(_, None) | Progress::Holding(_, _, None) | Progress::Saving(_) => {
                Ok(false)
            }
            Progress::Marking(size) => {
                self.save_added(v, size, out);
                Ok(false)
            }
            Progress::Meeting(size) => self.grown(v, order, size),
        }
    }

    /// Whether what the peer was asked has been lost with the link, or the peer with it.
    fn was_cut_off(&self, v: usize, progress: &Progress) -> bool {
        let asked = matches!(
            progress,
            Progress::Asking(..) | Progress::Stilling(_) | Progress::Holding(..)
        );
        let by = self.volumes[v].growing.asked_by;
        asked && (by != self.link_epoch() || !self.volumes[v].joined())
    }

    fn begin_growing(
        &mut self,
        v: usize,
        order: Resize,
        out: &mut Effects,
    ) -> Result<bool, Refusal> {
        if self.link_holds() {
            return Ok(false);
        }
        self.may_grow(v, order)?;
        let vol = &mut self.volumes[v];
        let holds = vol.joined() && vol.growing.still.is_some();
        if vol.growing.room.is_some() || holds {
            return Err(self.not_grown(v, "the peer is growing it just now"));
        }
        let vol = &mut self.volumes[v];
        vol.growing.order = Some(Progress::Room);
        self.make_room(v, out);
        Ok(false)
    }

    /// What is in the way of growing, from the beginning to the point at which the size is decided.
    fn may_grow(&self, v: usize, order: Resize) -> Result<(), Refusal> {
        let (vol, resource) = (&self.volumes[v], &self.config.resource);
        if self.stopping() {
            return Err(self.not_grown(v, "the resource is going down"));
        }
        if let Some(size) = order.size.filter(|size| *size < vol.size) {
            let text = format!(
                "shrinking is not done: it has {} bytes, and {size} are fewer; what lies beyond \
                 would be lost",
                vol.size
            );
            return Err(self.not_grown(v, &text));
        }
        if let Some(text) = self.unfit_to_grow(v) {
            return Err(self.not_grown(v, &text));
        }
        if vol.joined() && has_data(vol.peer_disk) {
            return match vol.peer_disk {
                DiskState::UpToDate => Ok(()),
                disk => {
                    let text = format!("the peer's copy is {disk}: let it become UpToDate first");
                    Err(self.not_grown(v, &text))
                }
            };
        }
        if !order.assume_peer_has_space {
            let what = match vol.joined() {
                true => format!("the peer has no disk: run `repadm attach {resource}` there"),
                false => format!("the peer is not connected: run `repadm connect {resource}`"),
            };
            let text = format!(
                "{what}; or grow it here alone with --assume-peer-has-space, and the peer takes \
                 the size when it is back with a disk that is large enough"
            );
            return Err(self.not_grown(v, &text));
        }
        if matches!(vol.mode, Mode::Waiting { .. }) || vol.minted == Minted::Saving {
            return Err(self.not_grown(v, "the peer was lost a moment ago: try again"));
        }
        Ok(())
    }

    /// What is in the way on this node, whoever gave the order.
    fn unfit_to_grow(&self, v: usize) -> Option<String> {
        let vol = &self.volumes[v];
        if vol.meta.is_none() || vol.disk != DiskState::UpToDate {
            let disk = vol.disk;
            let text = "it grows where there is a disk that is UpToDate";
            return Some(format!("the disk of {} is {disk}: {text}", self.config.node_name));
        }
        let copies = vol.joined() && has_data(vol.peer_disk);
        let resource = &self.config.resource;
        if vol.sync.is_some() {
            return Some(format!(
                "a resync runs: wait for its end with `repadm wait-sync {resource}`"
            ));
        }
        if copies && vol.dirty_blocks() > 0 {
            return Some(format!(
                "blocks are marked as different: `repadm verify --report {resource}` lists them, and \
                 `repadm invalidate --reset-bitmap=no {resource}` on one node takes them from the \
                 other"
            ));
        }
        None
    }

    fn not_grown(&self, v: usize, why: &str) -> Refusal {
        let text = format!("{} is not grown: {why}", self.volume_name(v));
        Refusal::new(RefusalKind::State, text)
    }

    fn at_peer(&self, text: &str) -> String {
        format!("{} says: {text}", self.config.peer_name)
    }

    /// There is as much room here as there can be.
    fn grow_with_room(
        &mut self,
        v: usize,
        order: Resize,
        out: &mut Effects,
    ) -> Result<bool, Refusal> {
        let made = match &mut self.volumes[v].growing.room {
            Some(Room::Made(result)) => result.clone(),
            Some(_) => return Ok(false),
            None => Err("the disk was let go meanwhile".to_owned()),
        };
        self.volumes[v].growing.room = None;
        made.map_err(|text| self.not_grown(v, &text))?;
        let room = self.usable(v);
        if let Some(size) = order.size.filter(|size| *size > room) {
            let node = &self.config.node_name;
            let text = format!(
                "{size} bytes are asked for, and the disk of {node} has room for {room}: enlarge it, \
                 or what `size` leaves of it"
            );
            return Err(self.not_grown(v, &text));
        }
        let vol = &mut self.volumes[v];
        if vol.size == 0 {
            // Nobody has seen a size yet: the first meeting, or promotion, takes what there is.
            return Ok(true);
        }
        if !vol.joined() || !has_data(vol.peer_disk) {
            return self.agree(v, order, None, out);
        }
        let (volume, id) = (vol.id, self.next_op);
        self.next_op += 1;
        self.volumes[v].growing.order = Some(Progress::Asking(id, None));
        self.volumes[v].growing.asked_by = self.link_epoch();
        self.send(Message::Resize { volume, id, size: 0 }, out);
        Ok(false)
    }

    /// The rooms of both are known, or the peer's is taken for large enough.
    fn agree(
        &mut self,
        v: usize,
        order: Resize,
        theirs: Option<u64>,
        out: &mut Effects,
    ) -> Result<bool, Refusal> {
        let vol = &self.volumes[v];
        let (mine, old, joined) = (self.usable(v), vol.size, vol.joined());
        let both = theirs.map_or(mine, |theirs| mine.min(theirs));
        let size = order.size.unwrap_or(both);
        let size = size / BLOCK_BYTES * BLOCK_BYTES;
        let wanted = order.size.unwrap_or_else(|| mine.max(theirs.unwrap_or(mine)));
        if size > both || size <= old && wanted > old && both <= old {
            let (small, room) = match theirs {
                Some(theirs) if theirs < mine => (&self.config.peer_name, theirs),
                _ => (&self.config.node_name, mine),
            };
            let (here, there) = (&self.config.node_name, &self.config.peer_name);
            let theirs = theirs.map_or_else(String::new, |room| format!(", {room} at {there}"));
            let text = format!(
                "the disk of {small} is too small, with room for {room} bytes: there is room for \
                 {mine} at {here}{theirs}; enlarge it, and try again"
            );
            return Err(self.not_grown(v, &text));
        }
        if size <= old {
            return Ok(true);
        }
        match joined {
            true => {
                self.hold_still(v, size, None);
                self.volumes[v].growing.asked_by = self.link_epoch();
                self.volumes[v].growing.order = Some(Progress::Stilling(size));
                self.grow_still(v, size, out)
            }
            false => {
                self.mark_added(v, order, size, out);
                Ok(false)
            }
        }
    }

    fn hold_still(&mut self, v: usize, new: u64, reply: Option<(LinkEpoch, u64)>) {
        let vol = &mut self.volumes[v];
        let (session, next_seq, old) = (vol.session.id, vol.session.next_seq, vol.size);
        vol.growing.still = Some(Still { session, next_seq, old, new, reply });
    }

    /// Waits until all is done here; then the peer is to hold still, too.
    fn grow_still(&mut self, v: usize, size: u64, out: &mut Effects) -> Result<bool, Refusal> {
        if !self.volumes[v].is_still() {
            self.hasten_still(v, out);
            return Ok(false);
        }
        self.say_settled(v, out);
        let (volume, id) = (self.volumes[v].id, self.next_op);
        self.next_op += 1;
        self.volumes[v].growing.order = Some(Progress::Holding(size, id, None));
        self.send(Message::Resize { volume, id, size }, out);
        Ok(false)
    }

    /// What the peer has and may lose would be marked when the nodes meet anew: it is to be durable.
    pub(super) fn hasten_still(&mut self, v: usize, out: &mut Effects) {
        if self.volumes[v].local.is_empty() {
            self.ask_peer_durable(v, out);
        }
    }

    /// From here on the size is decided. What is new counts as different, but for an operator who
    /// says that it is not.
    fn mark_added(&mut self, v: usize, order: Resize, size: u64, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let added = vol.added(size);
        vol.session.ended = true;
        if !order.assume_clean
            && let Some(meta) = vol.meta.as_mut()
        {
            meta.bitmap.set(added);
        }
        vol.growing.order = Some(Progress::Marking(size));
        // A handshake that began meanwhile has said that the session may go on.
        self.hello_is_stale("the volume grows", out);
        self.save_added(v, size, out);
    }

    fn save_added(&mut self, v: usize, size: u64, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let added = vol.added(size);
        let Some(meta) = vol.meta.as_mut() else { return };
        if vol.log.bitmap_saving {
            return;
        }
        if !meta.bitmap.is_durable(added) {
            return self.save_bitmap(v, None, out);
        }
        meta.superblock.agreed_bytes = size;
        vol.growing.order = Some(Progress::Saving(size));
        self.save_superblock(v, Then::Grown, out);
    }

    /// The size is durable here.
    pub(super) fn on_grown(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(Progress::Saving(size)) = vol.growing.order else { return };
        vol.growing.order = Some(Progress::Meeting(size));
        self.set_size(v, size);
        self.show_size(v, out);
        if self.link.is_some() {
            self.renegotiate("the volume has grown", out);
        }
    }

    /// The size from now on. Clients are not told before it is durable: it would shrink in a crash.
    pub(super) fn set_size(&mut self, v: usize, size: u64) {
        let vol = &mut self.volumes[v];
        let old = std::mem::replace(&mut vol.size, size);
        if old != 0 && old < size {
            vol.shown_size.get_or_insert(old);
        }
    }

    /// The size is durable.
    pub(super) fn show_size(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let (volume, new) = (vol.id, vol.size);
        if let Some(old) = vol.shown_size.take() {
            out.push(Effect::Event(Event::Resized { volume, old, new }));
        }
    }

    /// Whether both have the size.
    fn grown(&self, v: usize, order: Resize, size: u64) -> Result<bool, Refusal> {
        let vol = &self.volumes[v];
        match vol.mode {
            Mode::Joined => Ok(true),
            Mode::Waiting { .. } => Ok(self.stopping()),
            Mode::Alone if self.link_holds() => Ok(false),
            Mode::Alone if order.assume_peer_has_space => Ok(true),
            Mode::Alone => {
                let text = format!(
                    "{} has {size} bytes here from now on, and the peer was lost before it had \
                     them: it takes the size when it is back",
                    self.volume_name(v)
                );
                Err(Refusal::new(RefusalKind::Failed, text))
            }
        }
    }

    /// The peer grows the volume.
    pub(super) fn on_resize(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        id: u64,
        size: u64,
        out: &mut Effects,
    ) {
        let bare = !self.volumes[v].has_disk();
        let unfit = self.unfit_to_grow(v).filter(|_| size == 0 || !bare);
        let growing = &self.volumes[v].growing;
        let busy = growing.order.is_some() || growing.still.is_some() || growing.asked.is_some();
        let busy = busy.then(|| "it is being grown there, too: try again".to_owned());
        let vol = &self.volumes[v];
        let fits = size == 0 || bare || size > vol.size && size <= self.usable(v);
        let wrong = (!fits).then(|| format!("there is no room for {size} bytes there"));
        if let Some(text) = unfit.or(busy).or(wrong) {
            return self.answer_resize(v, epoch, id, Err(text), out);
        }
        if size == 0 {
            self.volumes[v].growing.asked = Some((epoch, id));
            if self.volumes[v].growing.room.is_none() {
                self.make_room(v, out);
            }
        } else {
            self.hold_still(v, size, Some((epoch, id)));
            self.touch(v);
        }
    }

    fn answer_resize(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        id: u64,
        result: Result<u64, String>,
        out: &mut Effects,
    ) {
        let volume = self.volumes[v].id;
        if self.link_epoch() == Some(epoch) && self.session_open(v) {
            self.send(Message::ResizeReply { volume, id, result }, out);
        }
    }

    pub(super) fn on_resize_reply(&mut self, v: usize, id: u64, result: Result<u64, String>) {
        match &mut self.volumes[v].growing.order {
            Some(Progress::Asking(asked, reply) | Progress::Holding(_, asked, reply))
                if *asked == id =>
            {
                *reply = Some(result);
            }
            // An order that was given up meanwhile.
            _ => {}
        }
    }

    /// Goes on with what needs no order here: making room, and what the peer waits for.
    pub(super) fn pump_growing(&mut self, v: usize, out: &mut Effects) {
        if matches!(self.volumes[v].growing.room, Some(Room::Waiting(_))) {
            self.begin_move(v, out);
        }
        let growing = &mut self.volumes[v].growing;
        if let (Some(Room::Made(result)), Some((epoch, id))) = (&growing.room, growing.asked) {
            let result = result.clone();
            growing.asked = None;
            if growing.order.is_none() {
                growing.room = None;
            }
            let result = result.map(|()| self.usable(v));
            self.answer_resize(v, epoch, id, result, out);
        }
        // Nobody waits for it any more.
        let growing = &mut self.volumes[v].growing;
        if matches!(growing.room, Some(Room::Made(_))) && growing.order != Some(Progress::Room) {
            growing.room = None;
        }
        let Some((epoch, id)) = growing.still.and_then(|still| still.reply) else { return };
        let vol = &self.volumes[v];
        if !vol.is_still() {
            self.hasten_still(v, out);
        } else if vol.order.is_empty() {
            let room = self.usable(v);
            self.say_settled(v, out);
            if let Some(still) = &mut self.volumes[v].growing.still {
                still.reply = None;
            }
            self.answer_resize(v, epoch, id, Ok(room), out);
        }
    }

    fn make_room(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        vol.growing.room = Some(Room::Measuring);
        out.push(Effect::MeasureDisk { volume: vol.id });
    }

    /// How large the devices of a volume are now.
    pub(super) fn on_disk_measured(
        &mut self,
        volume: types::VolumeId,
        sizes: Result<DeviceSizes, String>,
    ) {
        let Some(v) = self.find_volume(volume) else { return };
        let vol = &mut self.volumes[v];
        let Some(meta) = vol.meta.as_ref() else { return };
        if !matches!(vol.growing.room, Some(Room::Measuring)) {
            return;
        }
        let larger = sizes.and_then(|DeviceSizes { data_bytes, meta_bytes }| {
            meta.larger_layout(data_bytes, meta_bytes).map_err(|error| error.to_string())
        });
        vol.growing.room = Some(match larger {
            Ok(Some(layout)) => Room::Waiting(layout),
            Ok(None) => Room::Made(Ok(())),
            Err(text) => Room::Made(Err(format!("on {}: {text}", self.config.node_name))),
        });
        self.touch(v);
    }

    /// Nobody else writes metadata until the move is done.
    fn begin_move(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if !vol.saves.is_idle() || !vol.log.is_at_rest() {
            return;
        }
        let Some(Room::Waiting(layout)) = vol.growing.room else { return };
        let Some(meta) = vol.meta.as_mut() else { return };
        let (volume, from, to) = (vol.id, meta.layout.md_range().end(), layout.md_range().end());
        out.push(Effect::Event(Event::Moving { volume, from, to }));
        let growth = Growth::begin(meta, layout);
        vol.growing.room = Some(Room::Moving(Box::new(growth)));
        vol.saves.occupy();
        vol.log.occupy();
        self.go_on_moving(v, out);
    }

    /// The batch before is durable.
    pub(super) fn go_on_moving(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(Room::Moving(growth)) = &mut vol.growing.room else { return };
        let Some(meta) = vol.meta.as_mut() else { return };
        if let Some(batch) = growth.next(meta) {
            let volume = vol.id;
            let id = self.meta_op(v, MetaUse::Move);
            out.push(Effect::Meta { volume, id, batch });
            return;
        }
        vol.durable_sequence = meta.superblock.sequence;
        let (room, end) = (meta.layout.data_bytes(), meta.layout.md_range().end());
        vol.growing.room = Some(Room::Made(Ok(())));
        vol.log.release();
        vol.saves.release();
        let volume = vol.id;
        out.push(Effect::Event(Event::Moved { volume, room, end }));
        self.start_save(v, out);
        self.pump_parked_mirrors(v, out);
        self.touch(v);
    }

    /// The disk is gone.
    pub(super) fn growing_lost_disk(&mut self, v: usize, out: &mut Effects) {
        let growing = std::mem::take(&mut self.volumes[v].growing);
        let asked = growing.asked.or_else(|| growing.still.and_then(|still| still.reply));
        if let Some((epoch, id)) = asked {
            self.answer_resize(v, epoch, id, Err("its disk was let go".to_owned()), out);
        }
    }

    /// Whether the command that runs grows that volume.
    pub(super) fn is_growing(&self, volume: types::VolumeId) -> bool {
        let running = self.running.as_ref().map(|running| &running.command);
        matches!(running, Some(Command::Resize(order)) if order.volume == volume)
    }

    /// Whether the peer has grown the volume with us, and nothing has got a number here since: what it
    /// has marked is the new part, of which no client here has seen anything.
    pub(super) fn grew(&self, vol: &Volume, mine: &State, theirs: &State) -> bool {
        let Some(v) = self.find_volume(vol.id) else { return false };
        let (Some(still), Some(link)) = (vol.growing.still, &self.link) else { return false };
        let Some(peer) = &link.peer_hello else { return false };
        let (here, there) = (link.hello.volumes[v], peer.volumes[v]);
        let (mine, theirs) = (&mine.volumes[v], &theirs.volumes[v]);
        // The peer may have begun the next session, in a handshake that was cut off before this node
        // had: it cannot have given out a number in it.
        let same_session = here.session == still.session
            && here.peer_incarnation == peer.incarnation
            && there.peer_incarnation == link.hello.incarnation;
        let [one, other] = [mine, theirs].map(|state| state.side.generations.current.id);
        same_session
            && one.same(other)
            && vol.session.next_seq == still.next_seq
            && vol.minted == Minted::No
            && mine.side.dirty_blocks == 0
            && theirs.side.dirty_blocks == blocks_of(still.new) - blocks_of(still.old)
            && (mine.agreed_bytes, theirs.agreed_bytes) == (still.old, still.new)
    }
}
