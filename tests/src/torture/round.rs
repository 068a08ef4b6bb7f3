//! One round: trouble, mending, and the judgement.

use super::acts::{Act, cables};
use super::{Torture, judge};
use crate::clock;
use crate::load::Load;
use anyhow::Context;
use std::time::Duration;

/// One round in so many is about a split brain.
const SPLIT_BRAINS: u64 = 12;

impl Torture {
    /// The next round.
    pub(super) fn round(&mut self) -> anyhow::Result<()> {
        if self.options.two_primaries && self.prng.chance(1, SPLIT_BRAINS) {
            return self.split_brain();
        }
        let plan = self.plan();
        let count = self.prng.between(1, 4);
        let (two, can_fill) = (self.options.two_primaries, self.can_fill);
        let acts: Vec<Act> =
            (0..count).map(|_| Act::choose(&mut self.prng, two, can_fill)).collect();
        let story = acts.iter().map(Act::to_string).collect::<Vec<_>>().join(", ");
        self.troubled(plan, &acts, &story).with_context(|| story)
    }

    fn troubled(
        &mut self,
        plan: crate::load::Plan,
        acts: &[Act],
        story: &str,
    ) -> anyhow::Result<()> {
        let load = Load::start(&self.cluster.nodes().map(|node| node.address()), plan)?;
        let mut lenient = false;
        let mut happen = || -> anyhow::Result<()> {
            self.wait_answered(&load, 50)?;
            for act in acts {
                clock::pass(Duration::from_millis(self.prng.below(500)));
                lenient |= self.happen(*act).with_context(|| act.to_string())?;
            }
            self.mend()?;
            self.wait_answered(&load, 50).context("at the end")
        };
        let happened = happen();
        if happened.is_err() {
            // Clients that wait for a frozen or dead daemon would never end.
            cables(&self.cluster, crate::proxy::Proxy::mend);
        }
        happened?;
        let primary = self.primary;
        let loaded = load.finish_through(|node| primary[usize::from(node)])?;
        self.cluster.wait_settled()?;
        judge::judge(self, loaded, lenient, story)
    }

    /// Waits until so many more requests are answered at every Primary.
    fn wait_answered(&self, load: &Load, more: u64) -> anyhow::Result<()> {
        for node in (0..2).filter(|&node| self.primary[node]) {
            load.wait_answered(node, more).with_context(|| self.cluster.describe())?;
        }
        Ok(())
    }

    /// Brings back everything that a round has taken away.
    fn mend(&mut self) -> anyhow::Result<()> {
        cables(&self.cluster, |cable| {
            cable.delay(Duration::ZERO);
            cable.throttle(None);
        });
        self.cluster.wait_settled()?;
        for (node, is_primary) in self.cluster.nodes().into_iter().zip(self.primary) {
            // One that was ended in order without clients comes back as Secondary.
            if is_primary && node.status()?.role() != "Primary" {
                node.repadm(&["primary", "r0"])?;
                self.tally.promoted += 1;
            }
        }
        Ok(())
    }
}
