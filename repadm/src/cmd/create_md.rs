//! `create-md`: fresh metadata on a disk that nothing else needs.

use super::each;
use super::question::Question;
use crate::context::{Context, Mine, note, volumes};
use crate::offline::{Disk, Disks, drbd_metadata};
use crate::outcome::{Exit, Failure, Outcome};
use crate::probe::{Found, Kind};
use crate::target::Target;
use config::Volume;
use metadata::{
    AL_BLOCKS_DEFAULT, AL_BLOCKS_MAX, ActivityLog, CreateParams, Layout, LoadError, MAX_DATA_BYTES,
    Metadata, SlotsError,
};
use std::time::{SystemTime, UNIX_EPOCH};
use types::{BLOCK_BYTES, Time};

/// For each volume: look, ask if something is in the way, write.
pub(super) fn run(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let mine = context.configured(&chosen.name)?;
        // The configuration lives as long as the context, which is borrowed below.
        let (resource, me) = (mine.resource.clone(), mine.me.clone());
        let peer = mine.peer.clone();
        let mine = Mine { resource: &resource, me: &me, peer: &peer };
        let mut done = 0;
        for volume in volumes(&me, chosen) {
            let name = format!("{}/{}", resource.name, volume.id);
            done += u32::from(
                create(context, mine, volume, force).map_err(|failure| failure.about(&name))?,
            );
        }
        if done == 0 {
            let text = format!("{chosen}: {} has no disk for it, so there is no metadata", me.name);
            return Err(Failure::new(Exit::Config, text));
        }
        Ok(())
    })
}

/// Whether there is a disk.
fn create(
    context: &mut Context<'_>,
    mine: Mine<'_>,
    volume: &Volume,
    force: bool,
) -> Outcome<bool> {
    let Some(disks) = Disks::open(volume, context.global.dry_run)? else { return Ok(false) };
    let layout = layout(&disks, volume.disk_options.al_extents)?;
    check_file_systems(&disks, &layout)?;
    if let Some(what) = in_the_way(&disks)? {
        let meta = disks.meta().path().display().to_string();
        let question = Question {
            there: format!("{meta} holds {what} already"),
            ask: "Replace it?",
            forced: format!("{meta}: {what} is replaced"),
            way: "create-md --force replaces it, and then everything must be copied from the peer",
        };
        question.put(context, force)?;
    }
    let name = format!("{}/{}", mine.resource.name, volume.id);
    let meta = disks.meta().path().display().to_string();
    let room = layout.data_bytes() / 1024;
    if context.global.dry_run {
        let text = format!("{name}: write fresh metadata on {meta}, for {room} KiB of data");
        context.out.line(text)?;
        return Ok(true);
    }
    let (_, batches) = Metadata::create(CreateParams {
        layout,
        resource: mine.resource.name.clone(),
        volume: volume.id,
        node: Some(mine.me.node_id),
        disk_incarnation: random_name()?,
        al_extents: volume.disk_options.al_extents,
        now: now(),
    });
    disks.meta().write(&batches)?;
    context.out.line(format!("{name}: metadata created on {meta}, for {room} KiB of data"))?;
    Ok(true)
}

/// Where everything goes, with a log that has room for so many extents.
fn layout(disks: &Disks, al_extents: u32) -> Outcome<Layout> {
    let has_room = |al_blocks: &u32| {
        // Whatever the device: how much a log holds hangs on its length alone.
        let layout = Layout::external(BLOCK_BYTES, MAX_DATA_BYTES, *al_blocks);
        layout.is_ok_and(|layout| ActivityLog::new(&layout, al_extents).capacity() >= al_extents)
    };
    let al_blocks = (AL_BLOCKS_DEFAULT..AL_BLOCKS_MAX).find(has_room).unwrap_or(AL_BLOCKS_MAX);
    let meta = disks.meta();
    Layout::of(disks.placement(), meta.bytes(), al_blocks)
        .map_err(|error| refuse(format!("{}: {error}", meta.path().display())))
}

fn refuse(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Config, text)
}

/// Refuse to write over the end of a file system, or over one that fills the metadata disk.
fn check_file_systems(disks: &Disks, layout: &Layout) -> Outcome {
    let Some(found) = disks.data.found()? else { return Ok(()) };
    let Some(bytes) = found.bytes else { return Ok(()) };
    let disk = disks.data.path().display().to_string();
    if bytes <= layout.data_bytes() {
        note(&format!("{disk} holds {}, which is kept: it ends before the metadata", found.kind));
        return Ok(());
    }
    let (have, room) = (bytes / 1024, layout.data_bytes() / 1024);
    let file = std::fs::metadata(disks.data.path()).is_ok_and(|meta| meta.is_file());
    let shrink = match found.kind.how_to_shrink() {
        Some(_) if file && found.kind == Kind::Ext => {
            // It cuts the file off, so that the metadata would lack room as before.
            let size = disks.data.bytes() / 1024;
            format!("make it smaller (resize2fs {disk} {room}K, then truncate -s {size}K {disk}), ")
        }
        Some(command) => {
            let command = command.replace("{}", &room.to_string()).replace("DISK", &disk);
            format!("make it smaller ({command}), ")
        }
        None => String::new(),
    };
    let enlarge = match growth(disks, layout.al_blocks(), bytes).filter(|_| file) {
        Some(more) => format!("enlarge the file (truncate -s +{}K {disk})", more / 1024),
        None => "enlarge the disk".to_owned(),
    };
    let elsewhere = match disks.meta {
        None => format!("{enlarge}, or put the metadata on another (meta-disk DEVICE)"),
        Some(_) => format!("or {enlarge}"),
    };
    Err(refuse(format!(
        "{disk} holds {} of {have} KiB, and there is room for {room} KiB: its end would be \
         overwritten or cut off; {shrink}{elsewhere}. If what is on it is not needed: \
         wipefs --all {disk}",
        found.kind
    )))
}

/// How many bytes the disk must have more, so that there is room for so many beside the metadata,
/// which grow with it. None if a metadata device of its own sets the limit.
fn growth(disks: &Disks, al_blocks: u32, wanted: u64) -> Option<u64> {
    if disks.meta.is_some() {
        return wanted.checked_sub(disks.data.bytes()).filter(|more| *more > 0);
    }
    let wanted = wanted.next_multiple_of(BLOCK_BYTES);
    let start = disks.data.bytes().next_multiple_of(BLOCK_BYTES);
    let mut size = start;
    loop {
        let layout = Layout::internal(size, al_blocks).ok()?;
        match wanted.saturating_sub(layout.data_bytes()) {
            0 => return Some(size - disks.data.bytes()),
            missing => size = size.checked_add(missing)?,
        }
    }
}

/// What would be lost, or may be.
fn in_the_way(disks: &Disks) -> Outcome<Option<String>> {
    let meta = disks.meta();
    match disks.superblock(None) {
        Ok(superblock) => {
            return Ok(Some(format!(
                "the metadata of {}/{}, generation {}",
                superblock.resource, superblock.volume, superblock.generations.current.id
            )));
        }
        Err(LoadError::Read { error, .. }) => return Err(error),
        Err(LoadError::Slots(SlotsError::NoMetadata)) => {}
        Err(error) => return Ok(Some(format!("metadata that cannot be used ({error})"))),
    }
    if let Some(version) = drbd_metadata(meta, disks.meta.is_some())? {
        return Ok(Some(format!("metadata of {version}")));
    }
    let unsized_on = |disk: &Disk| -> Outcome<Option<String>> {
        Ok(disk.found()?.filter(|found| found.bytes.is_none()).map(|found| unsure(&found)))
    };
    match &disks.meta {
        None => unsized_on(&disks.data),
        Some(meta) => match meta.found()? {
            Some(found) => Ok(Some(found.kind.to_string())),
            None => Ok(None),
        },
    }
}

fn unsure(found: &Found) -> String {
    format!("{}, which may reach to its end,", found.kind)
}

/// 64 random bits that are not all zero.
fn random_name() -> Outcome<u64> {
    loop {
        let number = getrandom::u64()
            .map_err(|error| Failure::new(Exit::Failed, format!("no random numbers: {error}")))?;
        if number != 0 {
            return Ok(number);
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command line is a driver: it says when the \
    metadata was made"
)]
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
