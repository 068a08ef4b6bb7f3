//! Takes a disk from its path to where the engine can attach it: open, read the metadata, make
//! durable what the recovery asks for.

use config::{MetaDisk, Volume};
use control::{Failure, exit};
use metadata::{Expected, LoadError, Placement, Recovered};
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
    let expected = Expected { resource, volume: volume.id, node: Some(node) };
    let mut read = |range: ByteRange| meta_device.read_now(range).map(Vec::from);
    let recovered = metadata::load(&mut read, meta_device.bytes(), placement, Some(expected))
        .map_err(|error| refused(&place, path, &error))?;
    if recovered.crashed {
        tracing::warn!(
            volume = %place, disk = %path.display(), marked_blocks = recovered.marked_blocks,
            bad_pages = recovered.bad_pages, log_lost = recovered.log_lost,
            "the disk was not detached in order; what may have been in flight is marked"
        );
    }
    make_durable(meta_device, &recovered).map_err(|error| {
        let text = format!("{place}: writing the metadata of {} failed: {error}", path.display());
        Failure::new(exit::CONFIG, text)
    })?;
    tracing::info!(volume = %place, disk = %data.describe(), "opened");
    Ok(Opened { data, meta, recovered: Box::new(recovered) })
}

async fn open_device(place: &str, path: &Path, pool: &BufferPool) -> Result<Device, Failure> {
    let options = OpenOptions { pool: pool.clone(), ..OpenOptions::default() };
    Device::open(path, options)
        .await
        .map_err(|error| Failure::new(exit::CONFIG, format!("{place}: {error}")))
}

fn refused(place: &str, path: &Path, error: &LoadError<DeviceError>) -> Failure {
    let disk = path.display();
    Failure::new(exit::CONFIG, format!("{place}: disk {disk}: {error}"))
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
    use metadata::{AL_BLOCKS_DEFAULT, CreateParams, Layout, Metadata};
    use types::{Time, VolumeId};

    async fn try_open(path: &Path) -> Result<Opened, Failure> {
        let mut volume = testing::resource("r0").hosts[0].volumes[0].clone();
        volume.disk = Some(path.to_owned());
        open("r0".into(), NodeId(0), volume, BufferPool::default()).await
    }

    fn create(path: &Path, resource: &str) {
        let file = std::fs::File::options().write(true).create(true).truncate(false).open(path);
        let file = file.unwrap();
        file.set_len(16 << 20).unwrap();
        let params = CreateParams {
            layout: Layout::internal(16 << 20, AL_BLOCKS_DEFAULT).unwrap(),
            resource: resource.into(),
            volume: VolumeId(0),
            node: None,
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
}
