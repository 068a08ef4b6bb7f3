//! What the size of a volume costs, from 16 MiB to 16 TiB: memory at rest and under load, and the rate
//! of writes at 1 GiB of it.

use super::{Args, writes};
use crate::compare::fio::{self, Target};
use crate::nodes::{Name, Nodes, metadata_bytes};
use anyhow::Context;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// 16 MiB, 1 GiB, 1 TiB, 16 TiB less the file system's limit for a file.
const SIZES: [u64; 4] = [16 * MIB, 1 << 30, 1 << 40, (16 << 40) - 64 * MIB];
/// Without the bitmap, which has a bit for each block of 4 KiB.
const AT_REST: u64 = 64 * MIB;
const UNDER_LOAD: u64 = 256 * MIB;
const DEPTH: u32 = 128;

pub(super) fn measure(args: &Args) -> anyhow::Result<usize> {
    println!("\nmemory of a daemon of a pair, sparse disks in {}", args.dir.display());
    println!(
        "  {:<12} {:>10} {:>12} {:>12} {:>12}",
        "volume", "bitmap", "at rest", "under load", "writes"
    );
    let mut missed = 0;
    for size in SIZES {
        let mut nodes = Nodes::sparse(&args.dir, size)?;
        nodes.start_both()?;
        let most = || -> anyhow::Result<u64> {
            let all = nodes.pids().into_iter().map(resident);
            Ok(all.collect::<anyhow::Result<Vec<_>>>()?.into_iter().max().unwrap_or_default())
        };
        let rest = most()?;
        let target = Target::Nbd(nodes.uri(Name::Alpha));
        // A part of it: what is measured is memory, and the disk is sparse.
        let bytes = nodes.data_bytes().min(1 << 30);
        let outcome = fio::run(&writes(DEPTH), &target, bytes, args.time(), || Duration::ZERO)?;
        let load = most()?;
        let bitmap = metadata_bytes(size) - 4 * MIB;
        println!(
            "  {:<12} {:>6} MiB {:>8} MiB {:>8} MiB {:>7.0} IOPS",
            format!("{} MiB", size / MIB),
            bitmap / MIB,
            rest / MIB,
            load / MIB,
            outcome.per_second
        );
        for (what, found, most) in [("at rest", rest, AT_REST), ("under load", load, UNDER_LOAD)] {
            if found > most + bitmap {
                println!("  MISS {what}: to be at most {} MiB and the bitmap", most / MIB);
                missed += 1;
            }
        }
    }
    Ok(missed)
}

/// What of a process is in memory, in bytes; proc_pid_status(5).
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<u64>()? << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_takes_memory() {
        assert!(super::resident(std::process::id()).unwrap() > 1 << 20);
    }
}
