//! Metadata without a daemon: what is on a disk, and what is to be written there.

use crate::outcome::{Exit, Failure, Outcome};
use crate::probe::{Found, PROBE_BYTES, probe};
use crate::render::generations::Copy;
use config::{MetaDisk, Volume};
use control::{FlagStatus, GenerationStatus, GenerationsStatus};
use metadata::{
    Batch, Expected, GenerationRecord, Generations, LoadError, Loader, Placement, Recovered,
    Superblock,
};
use std::path::{Path, PathBuf};
use storage::{Backend, Device, DeviceError, OpenOptions};
use types::{ByteRange, NodeId};

/// An open disk of this node, locked against the daemon and other tools.
#[derive(Debug)]
pub struct Disk {
    device: Device,
    path: PathBuf,
}

impl Disk {
    /// Open it. A shared lock is enough to read.
    ///
    /// # Errors
    /// Exit code 10: it is not there, in use, or nothing that can be used.
    pub fn open(path: &Path, read_only: bool) -> Outcome<Self> {
        let options = OpenOptions { backend: Backend::Inline, read_only, ..OpenOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Failed, format!("no runtime: {error}")))?;
        let device = runtime
            .block_on(Device::open(path, options))
            .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
        Ok(Self { device, path: path.to_owned() })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.device.bytes()
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of that range.
    ///
    /// # Errors
    /// Exit code 10 if it cannot be read.
    pub fn read(&self, range: ByteRange) -> Outcome<Vec<u8>> {
        match self.device.read_now(range) {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What is at its start.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn found(&self) -> Outcome<Option<Found>> {
        let bytes = self.bytes().min(PROBE_BYTES as u64);
        Ok(probe(&self.read(ByteRange::new(0, bytes))?))
    }

    /// Make batches durable, one after the other.
    ///
    /// # Errors
    /// Exit code 10. What was there before is gone then, and `create-md` can be run again.
    pub fn write(&self, batches: &[Batch]) -> Outcome {
        for batch in batches {
            for write in &batch.writes {
                let done = self.device.write_now(write.offset, &write.data);
                done.map_err(|error| self.failed(error))?;
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Makes durable what a process wrote that was killed before its own flush.
    ///
    /// # Errors
    /// If the device cannot.
    pub fn flush(&self) -> Outcome {
        self.device.flush_now().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: DeviceError) -> Failure {
        let mut text = format!("{}: {error}", self.path.display());
        if error.is_no_space() {
            text += "; make room on the file system or in the pool that it is on, then do it again";
        }
        Failure::new(Exit::Config, text)
    }
}

/// The disks of a volume.
#[derive(Debug)]
pub struct Disks {
    /// The one with the data.
    pub data: Disk,
    /// The one with the metadata, if that is another.
    pub meta: Option<Disk>,
}

impl Disks {
    /// Open them; `None` if the volume has no disk on this node.
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn open(volume: &Volume, read_only: bool) -> Outcome<Option<Self>> {
        let Some(path) = &volume.disk else { return Ok(None) };
        let data = Disk::open(path, read_only)?;
        let meta = match &volume.meta_disk {
            MetaDisk::Internal => None,
            MetaDisk::External(path) => Some(Disk::open(path, read_only)?),
        };
        Ok(Some(Self { data, meta }))
    }

    /// The one that the metadata are on.
    pub fn meta(&self) -> &Disk {
        self.meta.as_ref().unwrap_or(&self.data)
    }

    /// Where on it they are.
    pub fn placement(&self) -> Placement {
        match self.meta {
            None => Placement::Internal,
            Some(_) => Placement::External { data_device_bytes: self.data.bytes() },
        }
    }

    /// The superblock that counts.
    ///
    /// # Errors
    /// If it cannot be read, or is no metadata of that volume.
    pub fn superblock(&self, expected: Option<Expected>) -> Result<Superblock, LoadError<Failure>> {
        let meta = self.meta();
        let mut loader = Loader::new(meta.bytes(), self.placement(), expected)?;
        while loader.superblock().is_none() {
            let range = loader.wants().expect("a loader wants the superblock first");
            let bytes = meta.read(range).map_err(|error| LoadError::Read { range, error })?;
            loader = loader.feed(&bytes)?;
        }
        Ok(loader.superblock().expect("just seen").clone())
    }

    /// All of the metadata, with what the log says applied to the bitmap in memory.
    ///
    /// # Errors
    /// As [`Self::superblock`].
    pub fn load(&self, expected: Expected) -> Result<Recovered, LoadError<Failure>> {
        let meta = self.meta();
        let mut read = |range| meta.read(range);
        metadata::load(&mut read, meta.bytes(), self.placement(), Some(expected))
    }
}

/// The disks of a volume that must have some on this node.
///
/// # Errors
/// Exit code 10 if it has none; as [`Disks::open`].
pub fn disks(name: &str, volume: &Volume, read_only: bool) -> Outcome<Disks> {
    Disks::open(volume, read_only).map_err(|failure| failure.about(name))?.ok_or_else(|| {
        let text = format!("{name}: it has no disk on this node, so there are no metadata");
        Failure::new(Exit::Config, text)
    })
}

/// Why the metadata of a volume cannot be used, with the disks named.
pub fn unusable(name: &str, volume: &Volume, disks: &Disks, error: &LoadError<Failure>) -> Failure {
    let what = match error {
        LoadError::Slots(metadata::SlotsError::NoMetadata) => {
            format!(
                "no metadata; repadm create-md {name} makes it, or, if the disk had metadata, \
                 give the device the size that it had"
            )
        }
        other => other.to_string(),
    };
    let on = match &volume.meta_disk {
        MetaDisk::Internal => format!("disk {}", disks.data.path().display()),
        MetaDisk::External(meta) => {
            format!("disk {}, meta-disk {}", disks.data.path().display(), meta.display())
        }
    };
    Failure::new(Exit::Config, format!("{name}: {on}: {what}"))
}

/// The identifiers of a volume, read from its disk.
///
/// # Errors
/// Exit code 10 if there is no disk, no metadata, or another volume's.
pub fn generations(resource: &str, volume: &Volume, node: NodeId) -> Outcome<Copy> {
    let name = format!("{resource}/{}", volume.id);
    let disks = disks(&name, volume, true)?;
    let expected = Expected { resource: resource.to_owned(), volume: volume.id, node: Some(node) };
    let superblock = disks
        .superblock(Some(expected))
        .map_err(|error| unusable(&name, volume, &disks, &error))?;
    let meta = disks.meta().path().display();
    Ok(Copy {
        name,
        node: superblock.node,
        source: format!("read from {meta}"),
        generations: shown(&superblock.generations),
        flags: FlagStatus {
            consistent: superblock.flags.consistent,
            was_up_to_date: superblock.flags.was_up_to_date,
            primary: superblock.flags.primary,
            crashed_primary: superblock.flags.crashed_primary,
            peer_outdated: superblock.flags.peer_outdated,
            full_sync: superblock.flags.full_sync,
            al_disabled: superblock.flags.al_disabled,
        },
        connected: false,
        unclean: superblock.flags.attached,
    })
}

/// The generations of a superblock, for people.
pub fn shown(generations: &Generations) -> GenerationsStatus {
    let record = |record: &GenerationRecord| GenerationStatus {
        id: record.id.to_string(),
        born: record.born.unix_millis(),
        cause: record.cause.to_string(),
        node: record.node,
        first_solo: record.first_solo.map(|time| time.unix_millis()),
        last_solo: record.last_solo.map(|time| time.unix_millis()),
    };
    GenerationsStatus {
        current: record(&generations.current),
        bitmap: generations.bitmap.id.is_set().then(|| record(&generations.bitmap)),
        history: generations.history.iter().map(record).collect(),
    }
}

/// The version of DRBD whose metadata are on a disk, if there are such.
///
/// Its superblock is a block of 4 KiB with a magic number at byte 60: the last one of a disk with
/// internal metadata, the first one of each slot of 128 MiB of a device for metadata alone.
///
/// # Errors
/// If the disk cannot be read.
pub fn drbd_metadata(disk: &Disk, for_metadata: bool) -> Outcome<Option<&'static str>> {
    const BLOCK: u64 = 4096;
    const MAGIC_AT: usize = 60;
    const SLOT: u64 = 128 << 20;
    /// DRBD counts them in one byte.
    const MAX_SLOTS: usize = 256;
    let Some(last) = (disk.bytes() / BLOCK * BLOCK).checked_sub(BLOCK) else { return Ok(None) };
    let slots = (0..=last).step_by(SLOT as usize).take(if for_metadata { MAX_SLOTS } else { 0 });
    for at in slots.chain([last]) {
        let block = disk.read(ByteRange::new(at, BLOCK))?;
        let magic: [u8; 4] = block[MAGIC_AT..MAGIC_AT + 4].try_into().expect("four bytes");
        let version = match u32::from_be_bytes(magic) {
            0x8374_026A => "DRBD 8.0",
            0x8374_026B | 0x8374_026C => "DRBD 8.4",
            0x8374_026D => "DRBD 9",
            _ => continue,
        };
        return Ok(Some(version));
    }
    Ok(None)
}
