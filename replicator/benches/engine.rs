//! What the engine costs: `cargo bench -p replicator --bench engine`.
//!
//! The time of a request in **both** nodes' engines and the codec, by criterion.

mod pair;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pair::Pair;

/// Requests of one measured turn.
const TURN: u64 = 1024;

fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("both nodes");
    group.throughput(Throughput::Elements(TURN));
    let mut pair = Pair::new();
    for depth in [1, 32] {
        let mut run = |name: &str, work: &dyn Fn(&mut Pair)| {
            group.bench_function(format!("{name}, depth {depth}"), |bench| {
                bench.iter(|| work(&mut pair));
            });
        };
        run("write 4 KiB", &|pair| pair.write(0, TURN, depth));
        run("read 4 KiB", &|pair| pair.read(0, TURN, depth));
        run("both write the same", &|pair| pair.conflict(TURN / 2, depth));
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
