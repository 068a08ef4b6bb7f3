//! Generation identifiers: random names of states of the data.
//!
//! A node that writes while its peer does not get the writes («solo») gives its data a new name
//! first. From the names of both nodes, and which name each remembers as what the peer last had,
//! the verdict finds who is ahead, and whether both are.
//!
//! ```text
//!             go_solo                        settled_with_peer
//!   current ----------> bitmap (if unset) ----------------------> history, newest first
//!        \------------------------------------------------------->   (if the bitmap id is set)
//! ```
//! The **bitmap id** names the generation that the peer last had in full: the out-of-sync bits
//! are all that was written since.

use std::fmt;
use types::{NodeId, Time};

/// How many former generations are remembered.
pub const HISTORY: usize = 32;

/// The random name of a generation of data. Bit 0 tells that the node was Primary while it was
/// written; it is ignored when names are compared with [`GenerationId::same`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

impl GenerationId {
    /// No generation.
    pub const UNSET: Self = Self(0);
    /// Fresh metadata: the data has no name yet, and is worth nothing.
    pub const JUST_CREATED: Self = Self(4);

    /// The name made of 64 random bits: never unset or just created, not marked as a Primary's.
    pub const fn from_random(bits: u64) -> Self {
        let name = bits & !1;
        // The first few numbers have meanings of their own.
        Self(if name < 8 { name | 8 } else { name })
    }

    /// Whether both name the same generation. Two unset ones are the same, too.
    pub const fn same(self, other: Self) -> bool {
        self.0 & !1 == other.0 & !1
    }

    /// Whether it names anything.
    pub const fn is_set(self) -> bool {
        !self.same(Self::UNSET)
    }

    /// Whether it names data that somebody once had: neither unset nor just created.
    pub const fn is_real(self) -> bool {
        self.is_set() && !self.same(Self::JUST_CREATED)
    }

    /// Whether the node was Primary while it was written.
    pub const fn was_primary(self) -> bool {
        self.0 & 1 == 1
    }

    /// The same name with the mark of a Primary set or cleared.
    pub const fn with_primary(self, primary: bool) -> Self {
        Self(self.0 & !1 | primary as u64)
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// Why a generation was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cause {
    /// The metadata was created.
    Created = 0,
    /// An operator forced a node to be Primary.
    Forced = 1,
    /// The peer was lost, and a write was about to be answered without it.
    PeerLost = 2,
    /// Promoted while the peer was away, and a write was about to be answered.
    PromotedAlone = 3,
    /// Names the state that a resync leads away from.
    Resync = 4,
    /// Taken over from the peer at the end of a resync.
    Adopted = 5,
    /// An operator asked for it.
    NewCurrent = 6,
}

impl Cause {
    /// Every cause, in order.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Forced,
        Self::PeerLost,
        Self::PromotedAlone,
        Self::Resync,
        Self::Adopted,
        Self::NewCurrent,
    ];

    /// Its number on disk and on the wire.
    pub const fn to_u8(self) -> u8 {
        self as u8
    }

    /// The cause of that number, if there is one.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// In words, for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Forced => "forced Primary",
            Self::PeerLost => "peer lost",
            Self::PromotedAlone => "promoted alone",
            Self::Resync => "resync",
            Self::Adopted => "taken over from the peer",
            Self::NewCurrent => "new-current-uuid",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A generation and its story, so that an operator who must choose between two copies can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationRecord {
    /// Its name.
    pub id: GenerationId,
    /// When it was begun, or taken over, at this node.
    pub born: Time,
    /// Why.
    pub cause: Cause,
    /// The node that begun it, or took it over.
    pub node: NodeId,
    /// The first write answered without the peer in this generation at this node.
    pub first_solo: Option<Time>,
    /// The last such write that was recorded.
    pub last_solo: Option<Time>,
}

impl GenerationRecord {
    /// No generation.
    pub const UNSET: Self = Self {
        id: GenerationId::UNSET,
        born: Time(0),
        cause: Cause::Created,
        node: NodeId(0),
        first_solo: None,
        last_solo: None,
    };

    /// A generation that begins now.
    pub const fn new(id: GenerationId, cause: Cause, node: NodeId, now: Time) -> Self {
        Self { id, born: now, cause, node, first_solo: None, last_solo: None }
    }
}

/// The generations that one copy of a volume knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    /// What the data is now.
    pub current: GenerationRecord,
    /// What the peer last had in full; the out-of-sync bits are relative to it. Unset: nothing
    /// was written alone since the peer had `current`.
    pub bitmap: GenerationRecord,
    /// Former ones, newest first, at most [`HISTORY`]; all of them real.
    pub history: Vec<GenerationRecord>,
}

impl Generations {
    /// Of fresh metadata.
    pub fn just_created(node: NodeId, now: Time) -> Self {
        Self {
            current: GenerationRecord::new(GenerationId::JUST_CREATED, Cause::Created, node, now),
            bitmap: GenerationRecord::UNSET,
            history: Vec::new(),
        }
    }

    /// A new generation, to be durable before the first solo write is answered. The old current
    /// one goes to `bitmap` if that is unset, otherwise to the history: the bits stay relative to
    /// what the peer really has.
    pub fn go_solo(&mut self, id: GenerationId, cause: Cause, node: NodeId, now: Time) {
        assert!(id.is_real(), "{id} is no name for a generation");
        assert!(!self.knows(id), "{id} is not new");
        let old = std::mem::replace(&mut self.current, GenerationRecord::new(id, cause, node, now));
        if self.bitmap.id.is_set() {
            self.remember(old);
        } else {
            self.bitmap = old;
        }
    }

    /// Forced promotion of a copy that is Inconsistent or Outdated: it becomes the truth. The
    /// caller marks every block out-of-sync: nothing is known about what a peer has.
    pub fn force(&mut self, id: GenerationId, node: NodeId, now: Time) {
        assert!(id.is_real(), "{id} is no name for a generation");
        assert!(!self.knows(id), "{id} is not new");
        self.settled_with_peer();
        self.bitmap = self.current;
        self.current = GenerationRecord::new(id, Cause::Forced, node, now);
    }

    /// A resync from here has ended (or the peer missed its end): the peer has `current`.
    pub fn settled_with_peer(&mut self) {
        let bitmap = std::mem::replace(&mut self.bitmap, GenerationRecord::UNSET);
        self.remember(bitmap);
    }

    /// A full resync begins here, as its source: `id` is new and names what the target has from
    /// now on, so that the resync resumes from the bits when it is interrupted, even if this node
    /// goes solo meanwhile. To be durable, after all bits are, before the target hears of it.
    ///
    /// Not for a resync by bitmap: there the target's own generation already is that name.
    pub fn begin_full_resync_as_source(&mut self, id: GenerationId, node: NodeId, now: Time) {
        assert!(id.is_real(), "{id} is no name for a generation");
        assert!(!self.knows(id), "{id} is not new");
        self.settled_with_peer();
        self.bitmap = GenerationRecord::new(id, Cause::Resync, node, now);
    }

    /// The same at its target, which is Inconsistent already: what is here from now on has the
    /// name that the source gave it.
    pub fn begin_full_resync_as_target(&mut self, id: GenerationId, node: NodeId, now: Time) {
        assert!(id.is_real(), "{id} is no name for a generation");
        let new = GenerationRecord::new(id, Cause::Resync, node, now);
        let old = std::mem::replace(&mut self.current, new);
        self.settled_with_peer();
        self.remember(old);
        self.history.retain(|record| !record.id.same(id));
    }

    /// A resync to here has ended: the source's generation is here now. The source's history
    /// comes first, then what only this node remembers.
    pub fn adopt(&mut self, source: &Self, node: NodeId, now: Time) {
        let id = source.current.id;
        let mine = std::mem::replace(
            self,
            Self {
                current: GenerationRecord::new(id, Cause::Adopted, node, now),
                bitmap: GenerationRecord::UNSET,
                history: Vec::with_capacity(HISTORY),
            },
        );
        // The record of a generation that was here all the time keeps its story.
        if mine.current.id.same(id) {
            self.current = GenerationRecord { id, ..mine.current };
        }
        let theirs = std::iter::once(&source.bitmap).chain(&source.history);
        let ours = [&mine.current, &mine.bitmap].into_iter().chain(&mine.history);
        for record in theirs.chain(ours) {
            if self.history.len() < HISTORY && record.id.is_real() && !self.knows(record.id) {
                self.history.push(*record);
            }
        }
    }

    /// A write was answered without the peer.
    pub fn note_solo_write(&mut self, now: Time) {
        self.current.first_solo.get_or_insert(now);
        self.current.last_solo = Some(now);
    }

    /// Whether the history has that generation. An unset or just created one never is in it.
    pub fn remembers(&self, id: GenerationId) -> bool {
        id.is_real() && self.history.iter().any(|record| record.id.same(id))
    }

    /// Whether it is the current, the bitmap's or a former generation.
    pub fn knows(&self, id: GenerationId) -> bool {
        id.is_real() && (self.current.id.same(id) || self.bitmap.id.same(id) || self.remembers(id))
    }

    /// Put a former generation at the front of the history, unless it names nothing or is there.
    fn remember(&mut self, record: GenerationRecord) {
        if record.id.is_real() && !self.remembers(record.id) {
            self.history.truncate(HISTORY - 1);
            self.history.insert(0, record);
        }
    }
}

#[cfg(test)]
mod tests;
