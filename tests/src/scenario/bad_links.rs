//! Links that are neither there nor gone: SB4. With `resource-and-stonith` nobody goes on alone,
//! whatever the link does, and when it is well again nothing has happened.

use super::undisturbed::Before;
use super::{MIB, Report, Scale, stonith_resets};
use crate::clock;
use crate::cluster::{Cluster, Node, Setup};
use crate::load::Load;
use crate::proxy::{Proxy, Silence};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long each trouble lasts: so long that the link is given up, and the peer counts as lost.
const LASTS: Duration = Duration::from_secs(6);
/// Bytes a second, each way: far less than the clients write.
const SLOW: u64 = 20_000;
const FAR: Duration = Duration::from_millis(150);

/// A name, what begins it on both cables, and what ends it.
type Trouble = (&'static str, fn(&Proxy), fn(&Proxy));

const TROUBLES: [Trouble; 5] = [
    ("one way only", |cable| cable.silence_one_way(Silence::There), Proxy::mend),
    ("the other way only", |cable| cable.silence_one_way(Silence::Back), Proxy::mend),
    ("half-open: silent, and nobody told", Proxy::silence, Proxy::mend),
    ("slow", |cable| cable.throttle(Some(SLOW)), |cable| cable.throttle(None)),
    ("far away", |cable| cable.delay(FAR), |cable| cable.delay(Duration::ZERO)),
];

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(64 * MIB).net("fencing", "resource-and-stonith");
    setup.handlers = vec!["fence-peer \"exit 1\"".to_owned()];
    let cluster = Cluster::two_primaries(setup)?;
    let before = Before::look(&cluster)?;
    let load = Load::start(&cluster.nodes().map(Node::address), stonith_resets::paced(1))?;
    let both = |what: &str| {
        (0..2).try_for_each(|at| load.wait_answered(at, 200)).with_context(|| what.to_owned())
    };
    for (name, begin, end) in TROUBLES {
        both("connected")?;
        cluster.cables().iter().for_each(begin);
        clock::pass(LASTS);
        cluster.cables().iter().for_each(end);
        both(name)?;
    }
    // One of the two directions of connecting only: the other is there.
    cluster.cables()[0].cut();
    both("one cable cut")?;
    cluster.cables()[0].mend();
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    before.check_undivided(&cluster)?;
    report.line(&format!(
        "links that pass one way, are half-open, slow ({SLOW} bytes a second), far ({FAR:?} each \
         way), or can be made in one direction only, {LASTS:?} each, under load on both Primaries: \
         {} requests, no error, linearizable, no split brain, no resync",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}
