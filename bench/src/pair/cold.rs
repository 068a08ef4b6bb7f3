//! Random writes over 16 GiB, far more than the activity log holds, next to the same over a part that it
//! does hold.

use super::{Args, bar, writes};
use crate::compare::fio::{self, Target};
use crate::compare::report::median;
use crate::nodes::{Name, Nodes};
use anyhow::ensure;
use std::time::Duration;

const DISK_BYTES: u64 = 16 << 30;
/// 256 extents of 4 MiB: by default the log holds 1237.
const HOT_BYTES: u64 = 1 << 30;
const DEPTH: u32 = 32;
const LEAST: f64 = 0.5;

pub(super) fn measure(args: &Args) -> anyhow::Result<usize> {
    println!("\n4 KiB at random, depth {DEPTH}, two disks of 16 GiB in {}", args.dir.display());
    let mut nodes = Nodes::make(&args.dir, DISK_BYTES)?;
    nodes.start_both()?;
    let target = Target::Nbd(nodes.uri(Name::Alpha));
    let bytes = nodes.data_bytes();
    let (mut hot, mut cold) = (vec![], vec![]);
    for _ in 0..args.repeats {
        for (size, rates) in [(HOT_BYTES, &mut hot), (bytes, &mut cold)] {
            let outcome = fio::run(&writes(DEPTH), &target, size, args.time(), || Duration::ZERO)?;
            rates.push(outcome.per_second);
        }
    }
    for name in [Name::Alpha, Name::Beta] {
        nodes.repadm(name, &["down", "r0"])?;
    }
    ensure!(nodes.are_equal()?, "the two disks differ: that is a bug, please report it");
    let (hot, cold) = (median(hot), median(cold));
    println!("  hot, over 1 GiB   {hot:>9.0} IOPS\n  cold, over 16 GiB {cold:>9.0} IOPS");
    Ok(bar("cold in parts of hot", cold / hot, LEAST))
}
