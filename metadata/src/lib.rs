//! What is on disk besides data: superblock, generation identifiers, activity log, out-of-sync
//! bitmap; and the verdict that two nodes draw from theirs when they meet.
//!
//! Everything here is pure. A change of state gives back a [`Batch`] of writes, and whoever owns
//! the disk makes it durable; nothing here knows a file, a clock or a source of randomness.
//! The format on disk is fixed by `docs/ondisk.md`; golden bytes in the tests hold the code to it.
//!
//! | module | the rule that is there |
//! |---|---|
//! | `plan` | what a batch promises, and what it does not |
//! | `layout` | where everything is on a device |
//! | `superblock` | two slots written in turn; which one counts |
//! | `generation` | when an identifier moves to bitmap or history |
//! | `verdict` | who is the source of a resync, and when nobody may be |
//! | `split_brain` | which of two diverged copies gives way |
//! | `activity_log` | which extents may hold unsettled writes after a crash |
//! | `bitmap` | which blocks may differ from the peer's |
//! | `rle` | how a bitmap travels to the peer |
//! | `growth` | where it all goes when a device has grown |
//! | `volume` | all of it for one volume: create, save, wipe |
//! | `recovery` | reading it back after anything |

#![forbid(unsafe_code)]

mod activity_log;
mod bitmap;
#[doc(hidden)]
pub mod crash;
/// The bodies of the fuzz targets.
#[doc(hidden)]
pub mod fuzz;
mod generation;
#[cfg(test)]
mod golden;
mod growth;
mod layout;
mod plan;
mod recovery;
/// Run-length coding of the out-of-sync bitmap for the wire.
pub mod rle;
mod split_brain;
mod superblock;
mod verdict;
mod volume;

pub use activity_log::{AL_EXTENTS_DEFAULT, AL_EXTENTS_MAX, AL_EXTENTS_MIN, ActivityLog, ExtentNo};
pub use bitmap::{OutOfSync, PAGE_BLOCKS};
pub use generation::{Cause, GenerationId, GenerationRecord, Generations, HISTORY};
pub use growth::{GrowError, Growth};
pub use layout::{
    AL_BLOCKS_DEFAULT, AL_BLOCKS_MAX, AL_BLOCKS_MIN, Layout, LayoutError, MAX_DATA_BYTES, Placement,
};
pub use plan::{Batch, META_BLOCK, MetaWrite};
pub use recovery::{Expected, LoadError, Loader, Recovered, load, load_grown};
pub use split_brain::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Policies, Settlement, Unresolved, settle,
};
pub use superblock::{Flags, RESOURCE_NAME_MAX, SlotsError, Superblock, SuperblockError, newest};
pub use verdict::{Decision, Extent, RefuseReason, Rule, Side, Verdict, decide};
pub use volume::{CreateParams, Metadata, wipe};
