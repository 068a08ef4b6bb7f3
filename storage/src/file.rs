//! A file or block device that is open, and plain calls on it.

use crate::job::{Job, Step};
use crate::shared::{Shared, ZeroWay};
use crate::{BufferPool, DeviceError, Op};
use bytes::Bytes;
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use types::ByteRange;

/// An open file or block device. Its lock, if it has one, is on this very descriptor, so it ends
/// when the last I/O does and not before.
#[derive(Debug)]
pub(crate) struct BackingFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// What kind of thing it is, for people: `ext4`, `tmpfs`, `block device`.
    pub(crate) sort: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: BufferPool,
}

impl BackingFile {
    /// Do one request with plain calls, and return when it is done.
    pub(crate) fn run(&self, op: Op) -> Result<Bytes, DeviceError> {
        if let Op::Map(range) = op {
            op.check(self.shared.bytes(), self.shared.geometry.read_only)?;
            return crate::map::map(self, range).map(|map| map.encode().into());
        }
        let mut job = Job::new(op, &self.shared, &self.pool);
        loop {
            let outcome = match job.step() {
                Step::Read { into, at } => rustix::io::pread(&self.file, into, at),
                Step::Write { from, at, dsync: false } => rustix::io::pwrite(&self.file, from, at),
                Step::Write { from, at, dsync: true } => {
                    let flags = ReadWriteFlags::DSYNC;
                    rustix::io::pwritev2(&self.file, &[IoSlice::new(from)], at, flags)
                }
                Step::Zero { range, way } => self.zero(range, way).map(|()| 0),
                Step::Flush => {
                    let _alone = self.shared.flush_lock();
                    // Judged under the lock: the next flush must see that this one has failed.
                    let outcome = match self.shared.is_poisoned() {
                        true => Ok(()),
                        false => rustix::fs::fdatasync(&self.file),
                    };
                    job.answer(outcome.map(|()| 0));
                    continue;
                }
                Step::Done(result) => return result,
            };
            job.answer(outcome);
        }
    }

    fn zero(&self, range: ByteRange, way: ZeroWay) -> Result<(), Errno> {
        rustix::fs::fallocate(&self.file, way.flags(), range.offset, range.len)
    }
}

impl ZeroWay {
    /// The mode of `fallocate`. On a block device, too, both promise zeros: the kernel does not
    /// use a discard there unless it is known to read back as zeros.
    pub(crate) fn flags(self) -> FallocateFlags {
        match self {
            Self::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Self::ZeroRange => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        }
    }
}
