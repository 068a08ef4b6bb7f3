//! An online verify of 1 GiB in memory: nothing of it is different.

use super::Args;
use crate::compare::fio::{self, Target};
use crate::compare::report::median;
use crate::load::now;
use crate::nodes::{Name, Nodes};
use anyhow::ensure;
use std::thread::sleep;
use std::time::Duration;

const DISK_BYTES: u64 = 1 << 30;
const LOOK_EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn measure(args: &Args) -> anyhow::Result<usize> {
    println!("\nverify of 1 GiB by crc32c, disks in {}", args.tmpfs.display());
    let mut nodes = Nodes::sparse(&args.tmpfs, DISK_BYTES)?;
    nodes.start_both()?;
    let bytes = nodes.data_bytes();
    fio::fill(&Target::Nbd(nodes.uri(Name::Alpha)), bytes)?;
    let mut times = Vec::new();
    for _ in 0..args.repeats {
        let last = nodes.last_verify(Name::Alpha)?;
        let begun = now();
        nodes.repadm(Name::Alpha, &["verify", "r0"])?;
        while nodes.last_verify(Name::Alpha)? == last {
            ensure!(begun.elapsed() < PATIENCE, "the verify does not end");
            sleep(LOOK_EVERY);
        }
        times.push(begun.elapsed().as_secs_f64());
    }
    let found = nodes.out_of_sync(Name::Alpha)?;
    ensure!(found == 0, "the verify says that {found} KiB differ: that is a bug, please report it");
    let time = median(times);
    println!("  {time:>7.2} s {:>7.0} MiB/s", bytes as f64 / time / f64::from(1 << 20));
    Ok(0)
}
