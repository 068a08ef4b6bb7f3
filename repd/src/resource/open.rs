//! Takes a disk from its path to where the engine can attach it: open, read the metadata, make
//! durable what the recovery asks for.

use crate::ends::Ends;
use config::{MetaDisk, Volume};
use control::{Failure, exit};
use metadata::{ActivityLog, Expected, LoadError, Placement, Recovered};
use std::path::Path;
use storage::{BufferPool, Device, DeviceError, OpenOptions};
use types::{ByteRange, NodeId};

/// A disk that is open, and what its metadata says.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where the data is.
    pub(crate) data: Device,
    /// Where the metadata is, if on another device.
    pub(crate) meta: Option<Device>,
    /// What the metadata says, recovered; its plan is durable.
    pub(crate) recovered: Box<Recovered>,
    /// Whether it is to keep an activity log.
    pub(crate) al_updates: bool,
}

/// Opens the disk of a volume. To be called on the thread that will own it.
///
/// Reading the metadata blocks the thread: 32 KiB for each GiB of the disk.
///
/// # Errors
/// With exit code 10, naming the disk and the way out.
pub(crate) async fn open(
    resource: String,
    node: NodeId,
    volume: Volume,
    pool: BufferPool,
    ends: Ends,
) -> Result<Opened, Failure> {
    let place = format!("{resource}/{}", volume.id);
    let Some(path) = &volume.disk else {
        let text = format!("{place} has no disk on this host: the configuration says «disk none»");
        return Err(Failure::new(exit::CONFIG, text));
    };
    let data = open_device(&place, path, &pool).await?;
    let meta = match &volume.meta_disk {
        MetaDisk::Internal => None,
        MetaDisk::External(path) => Some(open_device(&place, path, &pool).await?),
    };
    let placement = match &meta {
        None => Placement::Internal,
        Some(_) => Placement::External { data_device_bytes: data.bytes() },
    };
    let meta_device = meta.as_ref().unwrap_or(&data);
    let meta_path = match &volume.meta_disk {
        MetaDisk::Internal => path,
        MetaDisk::External(path) => path,
    };
    let was = ends.get(&resource, volume.id);
    let expected = Expected { resource: resource.clone(), volume: volume.id, node: Some(node) };
    let flushed = meta_device.flush_now().map_err(|error| not_written(&place, meta_path, &error));
    flushed?;
    let mut read = |range: ByteRange| meta_device.read_now(range).map(Vec::from);
    let bytes = meta_device.bytes();
    let mut recovered = metadata::load_grown(&mut read, bytes, placement, Some(expected), &was)
        .map_err(|error| refused(&place, path, &volume.meta_disk, &error))?;
    if let Some(slot) = recovered.damaged_slot {
        tracing::warn!(
            volume = %place, disk = %meta_path.display(),
            "superblock slot {slot} is damaged; the other one is good, and is used"
        );
    }
    if recovered.crashed {
        tracing::warn!(
            volume = %place, disk = %path.display(), marked_blocks = recovered.marked_blocks,
            bad_pages = recovered.bad_pages, log_lost = recovered.log_lost,
            "the disk was not detached in order; what may have been in flight is marked"
        );
    }
    size_the_log(&place, &mut recovered, volume.disk_options.al_extents);
    let remember = |sizes: &[u64]| {
        let put = if meta.is_none() { ends.put(&resource, volume.id, sizes) } else { Ok(()) };
        put.map_err(|error| not_remembered(&place, &error))
    };
    let (before, end) = recovered.ends();
    remember(&before)?;
    make_durable(meta_device, &recovered)
        .map_err(|error| not_written(&place, meta_path, &error))?;
    remember(&[end])?;
    if let Some(old) = recovered.moved_from {
        let room = recovered.metadata.layout.data_bytes();
        tracing::info!(
            volume = %place, disk = %path.display(), old,
            "the disk has grown, and its metadata were moved to its new end: there is room for \
             {room} bytes, which «repadm resize» takes into use"
        );
    }
    let elsewhere = meta.as_ref().map(Device::describe);
    tracing::info!(volume = place, disk = data.describe(), meta_disk = elsewhere, "opened");
    let al_updates = volume.disk_options.al_updates;
    Ok(Opened { data, meta, recovered: Box::new(recovered), al_updates })
}

async fn open_device(place: &str, path: &Path, pool: &BufferPool) -> Result<Device, Failure> {
    let options = OpenOptions { pool: pool.clone(), ..OpenOptions::default() };
    Device::open(path, options)
        .await
        .map_err(|error| Failure::new(exit::CONFIG, format!("{place}: {error}")))
}

fn refused(
    place: &str,
    disk: &Path,
    meta_disk: &MetaDisk,
    error: &LoadError<DeviceError>,
) -> Failure {
    let disk = disk.display();
    let on = match meta_disk {
        MetaDisk::Internal => format!("disk {disk}"),
        MetaDisk::External(meta) => format!("disk {disk}, meta-disk {}", meta.display()),
    };
    Failure::new(exit::CONFIG, format!("{place}: {on}: {error}"))
}

/// Makes room in the log for as many hot extents as are configured now. It is empty after the
/// recovery, so it may start over.
fn size_the_log(place: &str, recovered: &mut Recovered, al_extents: u32) {
    let metadata = &mut recovered.metadata;
    let room = ActivityLog::new(&metadata.layout, al_extents).capacity();
    if room < al_extents {
        tracing::warn!(
            volume = place,
            al_extents,
            room,
            "al-extents is more than the log on this disk has room for; create-md makes a larger one"
        );
    }
    if room == metadata.superblock.al_extents {
        return;
    }
    tracing::info!(volume = place, old = metadata.superblock.al_extents, new = room, "al-extents");
    recovered.plan.push(metadata.set_al_extents(al_extents));
    recovered.plan.push(metadata.save_superblock());
}

fn not_written(place: &str, meta: &Path, error: &DeviceError) -> Failure {
    let text = format!("{place}: writing the metadata on {} failed: {error}", meta.display());
    Failure::new(exit::CONFIG, text)
}

fn not_remembered(place: &str, error: &std::io::Error) -> Failure {
    let text = format!("{place}: how large its disk is cannot be remembered: {error}");
    Failure::new(exit::FAILED, text)
}

/// The batches of a plan, one after the other: each is durable before the next begins.
fn make_durable(device: &Device, recovered: &Recovered) -> Result<(), DeviceError> {
    for batch in &recovered.plan {
        for write in &batch.writes {
            device.write_now(write.offset, &write.data)?;
        }
        device.flush_now()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use metadata::{AL_BLOCKS_DEFAULT, CreateParams, Layout, LayoutError, Metadata};
    use types::{Time, VolumeId};

    const DISK_BYTES: u64 = 16 << 20;
    const META_BYTES: u64 = 1 << 20;

    fn volume(path: &Path, meta_disk: MetaDisk) -> Volume {
        let volume = testing::resource("r0").hosts[0].volumes[0].clone();
        Volume { disk: Some(path.to_owned()), meta_disk, ..volume }
    }

    async fn try_open_volume(volume: Volume) -> Result<Opened, Failure> {
        let state = tempfile::tempdir().unwrap();
        let ends = Ends::new(state.path().to_owned());
        open("r0".into(), NodeId(0), volume, BufferPool::default(), ends).await
    }

    async fn try_open(path: &Path) -> Result<Opened, Failure> {
        try_open_volume(volume(path, MetaDisk::Internal)).await
    }

    fn create(path: &Path, resource: &str) {
        create_on(path, DISK_BYTES, Layout::internal(DISK_BYTES, AL_BLOCKS_DEFAULT), resource);
    }

    fn create_on(path: &Path, bytes: u64, layout: Result<Layout, LayoutError>, resource: &str) {
        let file = std::fs::File::options().write(true).create(true).truncate(false).open(path);
        let file = file.unwrap();
        file.set_len(bytes).unwrap();
        let params = CreateParams {
            layout: layout.unwrap(),
            resource: resource.into(),
            volume: VolumeId(0),
            node: Some(NodeId(0)),
            disk_incarnation: 7,
            al_extents: 67,
            now: Time(1),
        };
        for write in Metadata::create(params).1.into_iter().flat_map(|batch| batch.writes) {
            std::os::unix::fs::FileExt::write_all_at(&file, &write.data, write.offset).unwrap();
        }
    }

    #[tokio::test]
    async fn a_disk_is_opened_or_the_way_out_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let failure = try_open(&path).await.unwrap_err();
        assert_eq!(failure.exit, exit::CONFIG);
        assert!(failure.text.starts_with("r0/0: "), "{failure}");

        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let failure = try_open(&path).await.unwrap_err();
        assert!(failure.text.contains("create-md"), "{failure}");

        create(&path, "other");
        let failure = try_open(&path).await.unwrap_err();
        assert!(failure.text.contains("other/0"), "{failure}");

        create(&path, "r0");
        let opened = try_open(&path).await.unwrap();
        assert!(!opened.recovered.crashed);
        let failure = try_open(&path).await.unwrap_err();
        assert!(failure.text.contains("in use"), "{failure}");
    }
    #[tokio::test]
    async fn rs12_a_disk_of_another_volume_or_node_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        create(&path, "r0");
        let disk = path.to_str().unwrap();
        let other = Volume { id: VolumeId(3), ..volume(&path, MetaDisk::Internal) };
        let failure = try_open_volume(other).await.unwrap_err();
        for words in [disk, "belongs to volume r0/0, not to r0/3", "correct `disk`"] {
            assert!(failure.text.contains(words), "{failure}");
        }
        let volume = volume(&path, MetaDisk::Internal);
        let ends = Ends::new(dir.path().to_owned());
        let failure = open("r0".into(), NodeId(1), volume, BufferPool::default(), ends).await;
        let failure = failure.unwrap_err();
        for words in [disk, "written by node 0, and this is node 1", "correct `disk`"] {
            assert!(failure.text.contains(words), "{failure}");
        }
    }

    #[tokio::test]
    async fn metadata_on_another_device_are_looked_for_there_and_both_are_locked() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, meta) = (dir.path().join("disk"), dir.path().join("meta"));
        std::fs::File::create(&disk).unwrap().set_len(DISK_BYTES).unwrap();
        let external = || volume(&disk, MetaDisk::External(meta.clone()));
        let layout = Layout::external(DISK_BYTES, META_BYTES, AL_BLOCKS_DEFAULT);
        create_on(&meta, META_BYTES, layout, "other");
        let failure = try_open_volume(external()).await.unwrap_err();
        for word in [disk.to_str().unwrap(), meta.to_str().unwrap(), "other/0", "create-md"] {
            assert!(failure.text.contains(word), "{word}: {failure}");
        }
        let layout = Layout::external(DISK_BYTES, META_BYTES, AL_BLOCKS_DEFAULT);
        create_on(&meta, META_BYTES, layout, "r0");
        let opened = try_open_volume(external()).await.unwrap();
        assert_eq!(opened.recovered.metadata.layout.data_bytes(), DISK_BYTES);
        for taken in [&disk, &meta] {
            let other = dir.path().join("other");
            create(&other, "r0");
            let volume = match taken == &disk {
                true => volume(taken, MetaDisk::External(other)),
                false => volume(&other, MetaDisk::External(taken.clone())),
            };
            let failure = try_open_volume(volume).await.unwrap_err();
            assert!(failure.text.contains("open already"), "{failure}");
            assert!(failure.text.contains(taken.to_str().unwrap()), "{failure}");
        }
        drop(opened);
        let failure = try_open(&disk).await.unwrap_err();
        assert!(failure.text.contains("no metadata"), "{failure}");
    }

    /// A disk that has grown while nobody used it: found where it ended, moved, and found again; and
    /// without what is remembered the way out is told.
    #[tokio::test]
    async fn op4_a_disk_that_has_grown_is_found_by_the_size_that_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        create(&path, "r0");
        let ends = Ends::new(dir.path().to_owned());
        let try_open = || {
            let volume = volume(&path, MetaDisk::Internal);
            open("r0".into(), NodeId(0), volume, BufferPool::default(), ends.clone())
        };
        try_open().await.unwrap();
        assert_eq!(ends.get("r0", VolumeId(0)), [DISK_BYTES]);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(4 * DISK_BYTES).unwrap();
        let remembered = std::fs::read_dir(dir.path()).unwrap();
        let mut remembered = remembered.map(|entry| entry.unwrap().path());
        std::fs::remove_file(remembered.find(|it| *it != path).unwrap()).unwrap();
        let failure = try_open().await.unwrap_err();
        assert!(failure.text.contains("--was-size"), "{failure}");
        ends.put("r0", VolumeId(0), &[DISK_BYTES]).unwrap();
        let opened = try_open().await.unwrap();
        assert_eq!(opened.recovered.moved_from, Some(DISK_BYTES));
        assert!(opened.recovered.metadata.layout.data_bytes() > 3 * DISK_BYTES);
        drop(opened);
        assert_eq!(ends.get("r0", VolumeId(0)), [4 * DISK_BYTES]);
        assert!(try_open().await.unwrap().recovered.plan.is_empty());
    }

    #[tokio::test]
    async fn the_log_gets_as_many_slots_as_are_configured_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        create(&path, "r0");
        let mut wanted = volume(&path, MetaDisk::Internal);
        for al_extents in [1237, 100, 6000] {
            wanted.disk_options.al_extents = al_extents;
            let opened = try_open_volume(wanted.clone()).await.unwrap();
            assert_eq!(opened.recovered.metadata.al.capacity(), al_extents);
            assert!(!opened.recovered.plan.is_empty());
            drop(opened);
            let again = try_open_volume(wanted.clone()).await.unwrap();
            assert_eq!(again.recovered.metadata.superblock.al_extents, al_extents);
            assert!(again.recovered.plan.is_empty(), "it was durable");
        }
    }
}
