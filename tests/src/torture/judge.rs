//! Whether a round went as promised.

use super::Torture;
use crate::disks;
use crate::load::{Loaded, registers};
use anyhow::Context;
use sim::history::{BlockId, ZERO};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use types::{BLOCK_BYTES, SECTOR_BYTES};

/// Judges a window, and prints its line. With `lenient`, requests may have been answered with
/// errors.
pub(super) fn judge(
    torture: &mut Torture,
    loaded: Loaded,
    lenient: bool,
    story: &str,
) -> anyhow::Result<()> {
    let judged = history(torture, &loaded, lenient).and_then(|()| {
        torture.known = loaded.last.clone();
        same_disks(torture)
    });
    if judged.is_err() {
        write_history(&torture.cluster.directory().join("history"), &loaded)
            .context("writing the history down")?;
    }
    judged?;
    let tally = &mut torture.tally;
    tally.operations += loaded.answered;
    tally.refused += loaded.refused.len() as u64;
    tally.reconnects += loaded.reconnects;
    let pauses: Vec<String> = loaded.pauses.values().map(|pause| format!("{pause:.1?}")).collect();
    tally.longest_pause = loaded.pauses.values().copied().fold(tally.longest_pause, Duration::max);
    println!(
        "{:>7.1?} round {}: {story}: {} operations verified, {} reconnects, {} errors, pauses {}",
        torture.start.elapsed(),
        tally.rounds,
        loaded.answered,
        loaded.reconnects,
        loaded.refused.len(),
        pauses.join(" ")
    );
    Ok(())
}

fn history(torture: &Torture, loaded: &Loaded, lenient: bool) -> anyhow::Result<()> {
    match lenient {
        true => loaded.check_history(&torture.known),
        false => loaded.check(&torture.known),
    }
}

/// Both disks hold what is known, and nothing else.
pub(super) fn same_disks(torture: &Torture) -> anyhow::Result<()> {
    let data = disks::data_bytes(torture.cluster.setup().disk_bytes)?;
    let [alpha, beta] = torture.cluster.nodes().map(|node| node.disk());
    if let Some(at) = disks::first_difference(&alpha, &beta, data)? {
        anyhow::bail!("the disks differ at byte {at}");
    }
    holds(&alpha, data, &torture.areas, &torture.known)
}

/// The disk holds that in these areas, and zeros everywhere else.
fn holds(
    disk: &Path,
    data_bytes: u64,
    areas: &[Range<u64>],
    known: &BTreeMap<BlockId, u64>,
) -> anyhow::Result<()> {
    let per_block = BLOCK_BYTES / SECTOR_BYTES * registers::PER_SECTOR;
    let file = File::open(disk)?;
    let mut from = 0;
    for area in areas {
        zeros(&file, from..area.start * BLOCK_BYTES)?;
        from = area.end * BLOCK_BYTES;
        let range = area.start * per_block..area.end * per_block;
        let mut bytes = vec![0; registers::bytes(&range).1 as usize];
        file.read_exact_at(&mut bytes, area.start * BLOCK_BYTES)?;
        let found = registers::values(&range, &bytes).context("on the disks")?;
        for (register, value) in range.zip(found) {
            let expected = known.get(&registers::name(register)).copied().unwrap_or(ZERO);
            anyhow::ensure!(
                value == expected,
                "both disks hold {value} at byte {}, and clients have read {expected}",
                registers::start(register)
            );
        }
    }
    zeros(&file, from..data_bytes)
}

fn zeros(file: &File, range: Range<u64>) -> anyhow::Result<()> {
    const PIECE: u64 = 1 << 20;
    let mut piece = vec![0; PIECE as usize];
    for at in range.clone().step_by(PIECE as usize) {
        let piece = &mut piece[..PIECE.min(range.end - at) as usize];
        file.read_exact_at(piece, at)?;
        if let Some(byte) = piece.iter().position(|&byte| byte != 0) {
            anyhow::bail!("byte {} was never written, and is not zero", at + byte as u64);
        }
    }
    Ok(())
}

/// Everything that clients did, a line each.
fn write_history(path: &Path, loaded: &Loaded) -> anyhow::Result<()> {
    let mut ops: Vec<_> = loaded.history.ops().iter().collect();
    ops.sort_by_key(|op| (op.block, op.invoke));
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for op in ops {
        writeln!(file, "{op}")?;
    }
    for line in loaded.errors.iter().chain(&loaded.refused) {
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    Ok(())
}
