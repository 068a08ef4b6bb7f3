//! What must be true of a disk after a loss of power: alone, and when it meets its peer.

use super::bench::Bench;
use super::platter::Image;
use super::scripts::LONG;
use replicator::Command;
use types::{DiskState, Span};

/// Until then what was under way has arrived.
const HEARD: Span = Span::millis(5);

/// What becomes of a node whose power went, and of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It starts, and never meets the peer.
    Alone,
    /// It is back at once. What it had sent is lost.
    Soon,
    /// It is back at once. What it had sent has arrived.
    SoonHeard,
    /// It is back when the peer has long given it up.
    Late,
    /// It serves clients alone before it meets the peer.
    ServesFirst,
    /// The peer's power goes too, and its disk keeps everything.
    BothKept,
    /// The peer's power goes too, and its disk keeps only what is durable.
    BothLost,
}

impl Fate {
    pub(super) const ALL: [Self; 7] = [
        Self::Alone,
        Self::Soon,
        Self::SoonHeard,
        Self::Late,
        Self::ServesFirst,
        Self::BothKept,
        Self::BothLost,
    ];

    /// Whether it is a fate of its own at this instant.
    pub(super) fn applies(self, bench: &Bench, victim: usize) -> bool {
        match self {
            Self::SoonHeard => bench.has_sent(victim),
            // A peer that goes on by itself meanwhile would rightly find split brain.
            Self::ServesFirst => bench.engine(1 - victim).is_some_and(|engine| {
                let volume = &engine.status().volumes[0];
                let alone = volume.generations.as_ref().is_some_and(|all| all.bitmap.id.is_set());
                let going = alone || engine.is_minting(volume.id);
                engine.status().role == types::Role::Secondary && !going
            }),
            _ => true,
        }
    }
}

/// The power of the victim goes, its disk keeps `image`; everything that must be true then is
/// looked at, and what is not is left in the bench. `good` says that it must be UpToDate.
pub(super) fn judge(bench: &mut Bench, victim: usize, image: Image, fate: Fate, good: bool) {
    let peer = 1 - victim;
    bench.go_on();
    if bench.disk(peer) == DiskState::Inconsistent {
        // A target cannot give back what its source has lost.
        bench.ledger.overruled(peer);
    }
    bench.cut_power(victim, image, fate == Fate::SoonHeard);
    bench.ledger.lose_cache(victim);
    match fate {
        Fate::Alone => {
            let image = bench.nodes[peer].platter.newest_image();
            bench.cut_power(peer, image, false);
            bench.start(victim, false);
            bench.settle();
            return serves_alone(bench, victim, good);
        }
        Fate::Soon => {}
        Fate::SoonHeard => bench.run_for(HEARD),
        Fate::Late => bench.run_for(LONG),
        Fate::ServesFirst => {
            bench.cut_wire();
            bench.start(victim, true);
            bench.settle();
            serves_alone(bench, victim, good);
            if bench.disk(victim) == DiskState::UpToDate {
                bench.ledger.overruled(peer);
                bench.write(victim, 9..10, false);
                bench.settle();
                bench.flush(victim);
                bench.settle();
            }
        }
        Fate::BothKept | Fate::BothLost => {
            let platter = &bench.nodes[peer].platter;
            let image = match fate {
                Fate::BothKept => platter.newest_image(),
                _ => platter.durable_image().clone(),
            };
            bench.ledger.lose_cache(peer);
            bench.cut_power(peer, image, false);
        }
    }
    meet(bench, victim);
}

/// A node with nobody to ask gives its data out only if it is good.
fn serves_alone(bench: &mut Bench, node: usize, good: bool) {
    if bench.stopped() {
        return;
    }
    let disk = bench.disk(node);
    let promoted = bench.obey(node, Command::Promote { force: false });
    match (disk, promoted) {
        (DiskState::UpToDate, Ok(())) => {}
        (DiskState::UpToDate, Err(refusal)) => {
            return bench.fail(format!("UpToDate, and not promoted: {}", refusal.text));
        }
        (disk, Ok(())) => return bench.fail(format!("promoted with a disk that is {disk}")),
        (disk, Err(_)) if good => return bench.fail(format!("a good disk came back {disk}")),
        (_, Err(_)) => return,
    }
    bench.open(node, true);
    let Some(data) = bench.read_used(node) else {
        return bench.fail("the data cannot be read".into());
    };
    if let Err(text) = bench.ledger.check_alone(node, &data) {
        bench.fail(format!("alone, node {node} is UpToDate: {text}"));
    }
}

/// The nodes find each other, and come to agree, with all that was promised.
fn meet(bench: &mut Bench, victim: usize) {
    bench.wire = true;
    bench.must_agree = true;
    for node in [victim, 1 - victim] {
        if bench.engine(node).is_some() {
            let connected = bench.obey(node, Command::Connect { discard_my_data: false });
            connected.expect("an order to connect is never refused");
        } else {
            bench.start(node, true);
        }
    }
    bench.run_until("both nodes are UpToDate and replicate", Bench::at_rest);
    if bench.stopped() {
        return;
    }
    let differing = bench.differing().next();
    if let Some(sector) = differing {
        return bench.fail(format!("both are UpToDate, and sector {sector} differs"));
    }
    let data = bench.data(victim);
    if let Err(text) = bench.ledger.check_both(&data) {
        bench.fail(format!("in the end, on both nodes: {text}"));
    }
}
