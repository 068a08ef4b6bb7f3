//! The one type that the rest of the program sees.

use crate::fault::{Faulty, Plan};
use crate::file::BackingFile;
use crate::inline::Inline;
use crate::pool::{Pool, THREADS};
use crate::shared::{Geometry, Shared};
use crate::uring::Uring;
use crate::{Backend, Completion, DeviceError, MemoryDisk, Op, OpId, OpenError, OpenOptions};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use types::{ByteRange, StatusMap};

/// A backing device that is open. See the crate's page for what it promises and expects.
#[derive(Debug)]
pub struct Device {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Uring(Box<Uring>),
    Inline(Inline),
    Pool(Pool),
    Memory(Memory),
    Faulty(Box<Faulty>),
}

/// A disk in memory and the requests on it.
#[derive(Debug)]
struct Memory {
    disk: MemoryDisk,
    shared: Arc<Shared>,
    queue: Vec<(OpId, Op)>,
    ready: Vec<Completion>,
}

impl Device {
    /// Opens, locks and measures a regular file or block device, and chooses how to do requests.
    ///
    /// To be called on the thread that will own it, in its runtime (with I/O and time enabled): a
    /// ring serves no other.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let file = crate::open::open(path, &options).await?;
        let inner = choose(file, options.backend)?;
        let device = Self { inner };
        tracing::debug!(device = %device.describe(), "opened");
        Ok(device)
    }

    /// A device of so many zero bytes in memory.
    pub fn memory(bytes: u64) -> Self {
        Self::on_memory(&MemoryDisk::new(bytes))
    }

    /// A device on this disk in memory, which outlives it.
    pub fn on_memory(disk: &MemoryDisk) -> Self {
        let shared = Arc::new(Shared::new(Geometry::of_memory(disk.bytes())));
        let (queue, ready) = (Vec::new(), Vec::new());
        Self { inner: Inner::Memory(Memory { disk: disk.clone(), shared, queue, ready }) }
    }

    /// The same device with the faults of a plan. The plan can be changed while it runs.
    pub fn with_faults(self, plan: &Plan) -> Self {
        Self { inner: Inner::Faulty(Box::new(Faulty::new(self, plan.clone()))) }
    }

    /// Its size: that of the file or device, in whole sectors.
    pub fn bytes(&self) -> u64 {
        self.shared().bytes()
    }

    /// Looks how large it is now. What is new can be used from then on; one that has become smaller
    /// fails requests beyond its end, and the size that it has is told.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn measure(&self) -> std::io::Result<u64> {
        use std::io::{Seek, SeekFrom};
        let bytes = match (self.file(), self.memory_disk()) {
            (Some(file), _) => (&file.file).seek(SeekFrom::End(0))?,
            (None, Some(disk)) => disk.bytes(),
            (None, None) => self.bytes(),
        };
        self.shared().grow_to(bytes);
        Ok(bytes)
    }

    /// The smallest unit that it writes without reading around: 1 for memory and files in the page
    /// cache, a sector of 512 or 4096 bytes where it goes past the page cache.
    pub fn granule(&self) -> u64 {
        self.shared().geometry.granule
    }

    /// How it does requests: `io_uring`, `inline`, `pool` or `memory`.
    pub fn backend(&self) -> &'static str {
        match &self.inner {
            Inner::Uring(_) => "io_uring",
            Inner::Inline(_) => "inline",
            Inner::Pool(_) => "pool",
            Inner::Memory(_) => "memory",
            Inner::Faulty(faulty) => faulty.inner.backend(),
        }
    }

    /// One line about it for people and logs.
    pub fn describe(&self) -> String {
        let (bytes, granule) = (self.bytes(), self.granule());
        let Some(file) = self.file() else {
            return format!("memory, {bytes} bytes");
        };
        let cache =
            if granule > 1 { format!("O_DIRECT by {granule}") } else { "page cache".into() };
        let (path, sort) = (file.path.display(), &file.sort);
        format!("{path} ({sort}), {bytes} bytes, {}, {cache}", self.backend())
    }

    /// Whether a flush has failed, so that it refuses every write and flush.
    pub fn is_poisoned(&self) -> bool {
        self.shared().is_poisoned()
    }

    /// Whether a request to zero is done without zeros being sent to the device, as far as is
    /// known. A block device says so itself. Of a file it is believed until the first such request
    /// finds otherwise: to try it would change the file.
    pub fn zeroes_fast(&self, unmap: bool) -> bool {
        self.shared().zeroes_fast(unmap)
    }

    /// Queue a request of any alignment. It begins with the next [`Device::kick`] or wait.
    ///
    /// The queue has no bound of its own: the caller admits requests by their bytes.
    ///
    /// # Panics
    /// If a write's data is not as long as its range.
    pub fn submit(&mut self, id: OpId, op: Op) {
        op.assert_whole();
        match &mut self.inner {
            Inner::Uring(uring) => uring.submit(id, op),
            Inner::Inline(inline) => inline.submit(id, op),
            Inner::Pool(pool) => pool.submit(id, op),
            Inner::Memory(memory) => memory.queue.push((id, op)),
            Inner::Faulty(faulty) => faulty.submit(id, op),
        }
    }

    /// Begin what is queued: one system call for all of it, once per turn of the caller's loop.
    ///
    /// # Panics
    /// If called from another thread than the one that opened the device, and it has a ring.
    pub fn kick(&mut self) {
        match &mut self.inner {
            Inner::Uring(uring) => uring.kick(),
            Inner::Inline(inline) => inline.kick(),
            Inner::Pool(pool) => pool.kick(),
            Inner::Memory(memory) => memory.kick(),
            Inner::Faulty(faulty) => faulty.kick(),
        }
    }

    /// Add to `out` what is done, after waiting until there is at least one; for ever if nothing is
    /// in flight. Begins what is queued. Dropping the future loses nothing.
    pub async fn completions(&mut self, out: &mut Vec<Completion>) {
        let before = out.len();
        loop {
            self.kick();
            self.try_completions(out);
            if out.len() > before {
                return;
            }
            match &mut self.inner {
                Inner::Uring(uring) => uring.wait().await,
                Inner::Pool(pool) => out.push(pool.completion().await),
                Inner::Inline(_) | Inner::Memory(_) => std::future::pending().await,
                Inner::Faulty(faulty) => faulty.wait(out).await,
            }
        }
    }

    /// Add to `out` what is done, without waiting. With plain calls on the caller's thread and in
    /// memory, that is everything that was queued at the last [`Device::kick`].
    pub fn try_completions(&mut self, out: &mut Vec<Completion>) {
        match &mut self.inner {
            Inner::Uring(uring) => uring.try_completions(out),
            Inner::Inline(inline) => inline.try_completions(out),
            Inner::Pool(pool) => pool.try_completions(out),
            Inner::Memory(memory) => out.append(&mut memory.ready),
            Inner::Faulty(faulty) => faulty.try_completions(out),
        }
    }

    /// How many requests were submitted whose completion was not handed out.
    pub fn in_flight(&self) -> usize {
        match &self.inner {
            Inner::Uring(uring) => uring.in_flight(),
            Inner::Inline(inline) => inline.in_flight(),
            Inner::Pool(pool) => pool.in_flight(),
            Inner::Memory(memory) => memory.queue.len() + memory.ready.len(),
            Inner::Faulty(faulty) => faulty.in_flight(),
        }
    }

    /// Wait for all that is in flight, then close: the ring first, then the file and so its lock.
    /// What was still to be answered is given back. Nothing is flushed that was not asked for.
    ///
    /// (Dropping a device also waits for what the kernel has, but blocks the thread, and forgets
    /// what had not begun.)
    pub async fn close(mut self) -> Vec<Completion> {
        let mut out = Vec::new();
        while self.in_flight() > 0 {
            self.completions(&mut out).await;
        }
        out
    }

    /// Read at once, blocking: for tools, and while attaching. At most 32 MiB.
    ///
    /// # Errors
    /// As the completion of the same request would have.
    pub fn read_now(&self, range: ByteRange) -> Result<Bytes, DeviceError> {
        self.run_now(Op::Read(range))
    }

    /// Say at once, blocking, which of these bytes read as zeros.
    ///
    /// # Errors
    /// As the completion of the same request would have.
    pub fn map_now(&self, range: ByteRange) -> Result<StatusMap, DeviceError> {
        let map = self.run_now(Op::Map(range))?;
        Ok(StatusMap::decode(&map).expect("a device encodes what it answers"))
    }

    /// Write at once, blocking. Not together with requests in flight on the same range.
    ///
    /// # Errors
    /// As the completion of the same request would have.
    pub fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let range = ByteRange::new(offset, data.len() as u64);
        let data = Bytes::copy_from_slice(data);
        self.run_now(Op::Write { range, data, fua: false }).map(drop)
    }

    /// Zero at once, blocking, and keep the space. Not together with requests in flight there.
    ///
    /// # Errors
    /// As the completion of the same request would have.
    pub fn zero_now(&self, range: ByteRange) -> Result<(), DeviceError> {
        self.run_now(Op::Zero { range, unmap: false, fua: false }).map(drop)
    }

    /// Flush at once, blocking.
    ///
    /// # Errors
    /// As the completion of a flush would have; [`DeviceError::FlushRunning`] while one is running.
    pub fn flush_now(&self) -> Result<(), DeviceError> {
        self.run_now(Op::Flush).map(drop)
    }

    fn run_now(&self, op: Op) -> Result<Bytes, DeviceError> {
        match &self.inner {
            // Two flushes at once could share one error between them.
            Inner::Uring(uring) if op == Op::Flush && uring.is_flushing() => {
                Err(DeviceError::FlushRunning)
            }
            Inner::Uring(uring) => uring.file.run(op),
            Inner::Inline(inline) => inline.file.run(op),
            Inner::Pool(pool) => pool.file.run(op),
            Inner::Memory(memory) => memory.disk.run(op, &memory.shared),
            Inner::Faulty(faulty) => faulty.run_now(op),
        }
    }

    pub(crate) fn run_unharmed(&self, op: Op) -> Result<Bytes, DeviceError> {
        self.run_now(op)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        match &self.inner {
            Inner::Memory(memory) => &memory.shared,
            Inner::Faulty(faulty) => faulty.inner.shared(),
            Inner::Uring(uring) => &uring.file.shared,
            Inner::Inline(inline) => &inline.file.shared,
            Inner::Pool(pool) => &pool.file.shared,
        }
    }

    /// The disk in memory behind it, if that is what it is on.
    pub(crate) fn memory_disk(&self) -> Option<&MemoryDisk> {
        match &self.inner {
            Inner::Memory(memory) => Some(&memory.disk),
            Inner::Faulty(faulty) => faulty.inner.memory_disk(),
            Inner::Uring(_) | Inner::Inline(_) | Inner::Pool(_) => None,
        }
    }

    fn file(&self) -> Option<&BackingFile> {
        match &self.inner {
            Inner::Uring(uring) => Some(&uring.file),
            Inner::Inline(inline) => Some(&inline.file),
            Inner::Pool(pool) => Some(&pool.file),
            Inner::Memory(_) => None,
            Inner::Faulty(faulty) => faulty.inner.file(),
        }
    }
}

/// Tasks of a current-thread runtime may have to be `Send`; that a ring stays on the thread that
/// opened it is checked at run time.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Device>();
};

impl Memory {
    fn kick(&mut self) {
        for (id, op) in self.queue.drain(..) {
            self.ready.push(Completion { id, result: self.disk.run(op, &self.shared) });
        }
    }
}

fn choose(file: BackingFile, backend: Backend) -> Result<Inner, OpenError> {
    let path = file.path.clone();
    let pool = |file| match Pool::new(Arc::new(file), THREADS) {
        Ok(pool) => Ok(Inner::Pool(pool)),
        Err(error) => Err(OpenError::Backend { path: path.clone(), backend: "disk thread", error }),
    };
    let is_direct = file.shared.geometry.granule > 1;
    match backend {
        Backend::Inline => Ok(Inner::Inline(Inline::new(file))),
        Backend::Auto if file.sort == "tmpfs" => Ok(Inner::Inline(Inline::new(file))),
        Backend::Pool => pool(file),
        // A ring would do these on threads of the kernel: no gain, and no bound of ours.
        Backend::Auto if !is_direct => pool(file),
        Backend::Auto | Backend::Uring => match Uring::new(file) {
            Ok(uring) => Ok(Inner::Uring(Box::new(uring))),
            Err((file, error)) if backend == Backend::Auto => {
                tracing::info!(path = %path.display(), %error, "no io_uring; using threads");
                pool(file)
            }
            Err((_, error)) => Err(OpenError::Backend { path, backend: "io_uring", error }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is behind the end is refused until the device has been measured, and works then.
    #[tokio::test]
    async fn what_is_new_can_be_used_once_the_device_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(64 << 10).unwrap();
        for backend in [Backend::Auto, Backend::Inline, Backend::Pool] {
            let device =
                Device::open(&path, OpenOptions { backend, ..OpenOptions::default() }).await;
            let device = device.unwrap();
            let old = device.bytes();
            file.set_len(old * 2 + 100).unwrap();
            device.write_now(old, &[7; 4096]).unwrap_err();
            assert_eq!(device.measure().unwrap(), old * 2 + 100);
            assert!(device.bytes() > old && device.bytes().is_multiple_of(512));
            device.write_now(old, &[7; 4096]).unwrap();
            assert_eq!(device.read_now(ByteRange::new(old, 4096)).unwrap()[..], [7; 4096]);
            file.set_len(old).unwrap();
            assert_eq!(device.measure().unwrap(), old, "one that shrinks is told as it is");
            drop(device);
            file.set_len(64 << 10).unwrap();
        }
        let disk = MemoryDisk::new(8192);
        let device = Device::on_memory(&disk);
        disk.enlarge(16384);
        assert_eq!(device.measure().unwrap(), 16384);
        device.write_now(12288, &[1; 4096]).unwrap();
    }
}
