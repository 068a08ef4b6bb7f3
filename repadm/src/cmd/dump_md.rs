//! `dump-md`: the metadata of a disk as text, or as JSON.

use super::each;
use crate::context::{Context, volumes};
use crate::offline::{disks, shown, unusable};
use crate::outcome::{Exit, Failure, Outcome};
use crate::render::status_json;
use crate::render::time::utc;
use crate::target::Target;
use control::GenerationStatus;
use metadata::{Expected, Flags, Metadata};
use serde_json::{Value, json};
use std::fmt::Write as _;
use types::BlockRange;

/// Everything that is there, for each volume with a disk on this node.
pub(super) fn run(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    let chosen = context.choose(targets)?;
    each(context, &chosen, |context, chosen| {
        let mine = context.configured(&chosen.name)?;
        let (resource, node) = (mine.resource.name.clone(), mine.me.node_id);
        let volumes: Vec<_> = volumes(mine.me, chosen).cloned().collect();
        for volume in volumes.iter().filter(|volume| volume.disk.is_some()) {
            let name = format!("{resource}/{}", volume.id);
            let disks = disks(&name, volume, true)?;
            let expected =
                Expected { resource: resource.clone(), volume: volume.id, node: Some(node) };
            let loaded = disks.load(expected);
            let recovered = loaded.map_err(|error| unusable(&name, volume, &disks, &error))?;
            let meta = disks.meta().path().display();
            if recovered.crashed && !force {
                let text = format!(
                    "{name}: {meta}: the activity log is not applied: the disk was not detached in \
                     order, and its bitmap lacks what was in flight then; «repadm apply-al {name}» \
                     applies it, dump-md --force shows what would come of that"
                );
                return Err(Failure::new(Exit::Config, text));
            }
            let metadata = recovered.metadata;
            let text = match context.global.json {
                true => status_json::pretty(&as_json(&name, &metadata)),
                false => as_text(&format!("{name}, read from {meta}"), &metadata),
            };
            context.out.print(&text)?;
        }
        Ok(())
    })
}

/// Runs of blocks that are marked.
fn runs(metadata: &Metadata) -> impl Iterator<Item = BlockRange> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let run = metadata.bitmap.next_run(from, u64::MAX)?;
        from = run.end;
        Some(run)
    })
}

fn flags(flags: &Flags) -> Vec<&'static str> {
    [
        (flags.consistent, "consistent"),
        (flags.was_up_to_date, "was-up-to-date"),
        (flags.primary, "primary"),
        (flags.crashed_primary, "crashed-primary"),
        (flags.peer_outdated, "peer-outdated"),
        (flags.full_sync, "full-sync"),
        (flags.attached, "attached"),
        (flags.al_disabled, "al-disabled"),
    ]
    .into_iter()
    .filter_map(|(is, name)| is.then_some(name))
    .collect()
}

fn as_text(title: &str, metadata: &Metadata) -> String {
    let (block, layout) = (&metadata.superblock, &metadata.layout);
    let mut text = format!("# repd metadata of {title}\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{name} {value};");
    };
    line("resource", &format!("{:?}", block.resource));
    line("volume", &block.volume);
    line("node-id", &block.node.map_or_else(|| "unknown".to_owned(), |node| node.to_string()));
    line("created", &utc(block.created.unix_millis()));
    line("disk-incarnation", &format!("{:016X}", block.disk_incarnation));
    line("peer-disk-incarnation", &format!("{:016X}", block.peer_disk_incarnation));
    line("peer-sequence", &block.peer_sequence);
    if block.last_verify != types::Time(0) {
        line("last-verify", &utc(block.last_verify.unix_millis()));
    }
    line("placement", &if block.internal { "internal" } else { "external" });
    line("data-bytes", &block.data_bytes);
    line("agreed-bytes", &block.agreed_bytes);
    line("superblock-sequence", &block.sequence);
    let flags = flags(&block.flags);
    line("flags", &if flags.is_empty() { "none".to_owned() } else { flags.join(" ") });
    line("newest-exposed", &block.newest_exposed);
    line("al-extents", &block.al_extents);
    line("al", &format!("at {} blocks {}", layout.al_offset(), layout.al_blocks()));
    line("bitmap-area", &format!("at {} pages {}", layout.bitmap_offset(), layout.bitmap_pages()));
    let generations = shown(&block.generations);
    let mut story = |name: &str, generation: &GenerationStatus| {
        let _ = writeln!(
            text,
            "{name} {} {{ born {:?}; cause {:?}; node {}; }}",
            generation.id,
            utc(generation.born),
            generation.cause,
            generation.node
        );
    };
    story("current", &generations.current);
    generations.bitmap.iter().for_each(|generation| story("bitmap-base", generation));
    generations.history.iter().for_each(|generation| story("history", generation));
    let _ = writeln!(text, "bitmap {{ # blocks of 4 KiB, {} set", metadata.bitmap.weight());
    for run in runs(metadata) {
        let _ = writeln!(text, "    {} {};", run.start, run.len());
    }
    text + "}\n"
}

fn as_json(name: &str, metadata: &Metadata) -> Value {
    let (block, layout) = (&metadata.superblock, &metadata.layout);
    json!({
        "name": name,
        "resource": block.resource,
        "volume": block.volume,
        "node-id": block.node,
        "created": block.created.unix_millis(),
        "disk-incarnation": format!("{:016X}", block.disk_incarnation),
        "peer-disk-incarnation": format!("{:016X}", block.peer_disk_incarnation),
        "peer-sequence": block.peer_sequence,
        "last-verify": block.last_verify.unix_millis(),
        "placement": if block.internal { "internal" } else { "external" },
        "data-bytes": block.data_bytes,
        "agreed-bytes": block.agreed_bytes,
        "superblock-sequence": block.sequence,
        "flags": flags(&block.flags),
        "newest-exposed": block.newest_exposed.to_string(),
        "al-extents": block.al_extents,
        "al-offset": layout.al_offset(),
        "al-blocks": layout.al_blocks(),
        "bitmap-offset": layout.bitmap_offset(),
        "bitmap-pages": layout.bitmap_pages(),
        "generations": shown(&block.generations),
        "blocks-out-of-sync": metadata.bitmap.weight(),
        "bitmap": runs(metadata).map(|run| [run.start, run.len()]).collect::<Vec<_>>(),
    })
}
