//! A round with a split brain on purpose: both nodes find it and name it, and what the operator
//! keeps is kept.

use super::acts::cables;
use super::{Torture, judge};
use crate::cluster::{Cluster, Node};
use crate::load::Load;
use crate::proxy::Proxy;
use anyhow::Context;

impl Torture {
    pub(super) fn split_brain(&mut self) -> anyhow::Result<()> {
        self.tally.split_brains += 1;
        let survivor = self.prng.below(2) as usize;
        let story = format!("split brain, {} kept", ["alpha", "beta"][survivor]);
        let judged = self.part_and_meet(survivor);
        judged.with_context(|| story.clone())?;
        println!("{:>7.1?} round {}: {story}", self.start.elapsed(), self.tally.rounds);
        Ok(())
    }

    fn part_and_meet(&mut self, survivor: usize) -> anyhow::Result<()> {
        cables(&self.cluster, Proxy::cut);
        // Each node is a world of its own now, with a history of its own.
        let mut worlds = Vec::new();
        for node in self.cluster.nodes().map(Node::address) {
            let plan = self.plan();
            worlds.push(Load::start(&[node], plan)?);
        }
        let mut ends = Vec::new();
        for (at, load) in worlds.into_iter().enumerate() {
            load.wait_answered(0, 300).with_context(|| format!("alone on node {at}"))?;
            let loaded = load.finish()?;
            loaded.check(&self.known).with_context(|| format!("alone on node {at}"))?;
            self.tally.operations += loaded.answered;
            ends.push(loaded.last);
        }
        cables(&self.cluster, Proxy::mend);
        keep_one(&self.cluster, survivor)?;
        self.known = ends.swap_remove(survivor);
        judge::same_disks(self)
    }
}

/// Both nodes stand alone with a split brain, and say so; one side is given up as docs/runbooks.md
/// has it. Both are Primary and in sync then.
pub(crate) fn keep_one(cluster: &Cluster, survivor: usize) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let status = node.wait_for("the split brain", |s| !s.value()["split-brain"].is_null())?;
        anyhow::ensure!(status.connection() == "StandAlone", "{}", status.brief());
        let waited = node.try_repadm(&["wait-connect", "--wfc-timeout", "5", "r0"])?;
        waited.ended_with(18)?;
        anyhow::ensure!(
            node.log().contains("split brain"),
            "{}'s log does not name it",
            node.name()
        );
    }
    // As docs/runbooks.md has it.
    let (kept, victim) = (cluster.nodes()[survivor], cluster.nodes()[1 - survivor]);
    victim.repadm(&["secondary", "--force", "r0"])?;
    victim.repadm(&["connect", "--discard-my-data", "r0"])?;
    kept.repadm(&["connect", "r0"])?;
    victim.repadm(&["wait-sync", "--wfc-timeout", "100", "r0"])?;
    cluster.wait_settled()?;
    victim.repadm(&["primary", "r0"])?;
    Ok(())
}
