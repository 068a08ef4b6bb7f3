//! What resources cost that nobody uses: memory, processor and the speed of the one that is used, with 1
//! to 200 of them on each node.

use super::{Args, memory::resident, writes};
use crate::compare::fio::{self, Target};
use crate::load::now;
use crate::nodes::{Name, Nodes};
use crate::servers::processor_time;
use std::thread::sleep;
use std::time::Duration;

const DISK_BYTES: u64 = 64 << 20;
const NUMBERS: [usize; 4] = [1, 10, 50, 200];
const DEPTH: u32 = 1;
/// How long it is looked at while nobody asks for anything.
const REST: Duration = Duration::from_secs(5);

pub(super) fn measure(args: &Args) -> anyhow::Result<usize> {
    println!(
        "\nresources on each node, all Primary on one; one is used, in {}",
        args.tmpfs.display()
    );
    println!(
        "  {:<10} {:>10} {:>14} {:>22} {:>16}",
        "resources", "ready in", "memory", "processor at rest", "4 KiB, depth 1"
    );
    for number in NUMBERS {
        let mut nodes = Nodes::many(&args.tmpfs, DISK_BYTES, number)?;
        let begun = now();
        nodes.start_both()?;
        let ready = begun.elapsed();
        let used = || nodes.pids().into_iter().filter_map(processor_time).sum::<Duration>();
        let before = used();
        sleep(REST);
        let at_rest = (used() - before).as_secs_f64() / REST.as_secs_f64();
        let target = Target::Nbd(nodes.uri(Name::Alpha));
        let bytes = nodes.data_bytes();
        let outcome = fio::run(&writes(DEPTH), &target, bytes, args.time(), || Duration::ZERO)?;
        let memory = nodes.pids().into_iter().map(resident).collect::<anyhow::Result<Vec<_>>>()?;
        println!(
            "  {number:<10} {:>8.1} s {:>10} MiB {:>20.2} % {:>11.0} IOPS",
            ready.as_secs_f64(),
            memory.into_iter().max().unwrap_or_default() >> 20,
            at_rest * 100.0,
            outcome.per_second
        );
    }
    println!("  (memory: of the larger daemon; processor: of both, in parts of one processor)");
    Ok(0)
}
