//! What can happen to a node, its disk or the cable.

use super::Torture;
use crate::clock;
use crate::cluster::{Cluster, PATIENCE};
use crate::namespace;
use crate::proxy::{self, Proxy};
use anyhow::Context;
use std::fmt;
use std::time::Duration;
use types::Prng;

/// What happens, each to its end: what was taken away is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SIGKILL of one daemon; it is started again after a while.
    Kill,
    /// SIGKILL of both at one moment; they are started in either order.
    KillBoth,
    /// SIGKILL again and again, also before it is what it was.
    KillAgain,
    /// SIGKILL while the cable is cut.
    KillWhileCut,
    /// SIGSTOP and SIGCONT of one.
    Freeze,
    /// Of both.
    FreezeBoth,
    /// SIGTERM, and started again.
    Restart,
    /// Connections end with a reset, several times.
    Resets,
    /// Connections end with a reset, and none can be made for a while.
    Cut,
    /// The cable swallows everything for a while, or everything that goes one way.
    Silence,
    /// The cable is far and thin until the end of the round.
    Weather,
    /// `disconnect` and `connect` on one node. With one Primary only.
    Disconnect,
    /// The Primary becomes Secondary, and the other Primary. With one Primary only.
    Swap,
    /// A Primary becomes Secondary, and Primary again. With two only.
    Demote,
    /// `detach` and `attach`.
    Detach,
    /// The file system of one disk is full for a while.
    FullDisk,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act {
    pub(super) kind: Kind,
    /// The node, 0 is alpha.
    node: usize,
    /// How long.
    time: Duration,
    /// Chooses details.
    detail: u64,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = ["alpha", "beta"][self.node];
        match self.kind {
            KillBoth => write!(f, "KillBoth {node} first {:.1?}", self.time),
            FreezeBoth | Resets | Cut | Silence | Weather => {
                write!(f, "{:?} {:.1?}", self.kind, self.time)
            }
            kind => write!(f, "{kind:?} {node} {:.1?}", self.time),
        }
    }
}

use Kind::{
    Cut, Demote, Detach, Disconnect, Freeze, FreezeBoth, FullDisk, Kill, KillAgain, KillBoth,
    KillWhileCut, Resets, Restart, Silence, Swap, Weather,
};

impl Kind {
    /// Something that may happen with so many Primaries.
    pub(super) fn choose(prng: &mut Prng, two_primaries: bool, can_fill: bool) -> Self {
        const ALL: &[Kind] = &[
            Kill,
            Kill,
            KillBoth,
            KillBoth,
            KillAgain,
            KillWhileCut,
            Freeze,
            Freeze,
            FreezeBoth,
            Restart,
            Resets,
            Resets,
            Cut,
            Cut,
            Silence,
            Silence,
            Weather,
            Weather,
            Disconnect,
            Swap,
            Demote,
            Detach,
            FullDisk,
        ];
        loop {
            let kind = *prng.pick(ALL);
            let is_possible = match kind {
                Disconnect | Swap => !two_primaries,
                Demote => two_primaries,
                FullDisk => can_fill,
                _ => true,
            };
            if is_possible {
                return kind;
            }
        }
    }

    /// Whether both nodes must be in sync before: an operator would look, too.
    const fn needs_both(self) -> bool {
        matches!(self, Swap | Demote | Detach | FullDisk)
    }

    /// How long it takes at most, in milliseconds. Two Primaries must meet again well before they
    /// give each other up, and before one that was started again stops waiting for the other.
    const fn most_ms(self, two_primaries: bool) -> u64 {
        match (self, two_primaries) {
            (Cut | Silence | KillWhileCut, true) => 1500,
            (Freeze | FreezeBoth, true) => 2000,
            (Kill, true) => 7000,
            (KillBoth, true) => 2500,
            (KillAgain, _) => 600,
            (Resets | Weather, _) => 100,
            (Cut | Silence | Freeze | FreezeBoth, false) => 12_000,
            (Kill | KillBoth | KillWhileCut | Disconnect, _) => 8000,
            (Detach | FullDisk | Restart | Swap | Demote, _) => 1500,
        }
    }
}

impl Act {
    /// Something that may happen.
    pub(super) fn choose(prng: &mut Prng, two_primaries: bool, can_fill: bool) -> Self {
        let kind = Kind::choose(prng, two_primaries, can_fill);
        // Short times are as likely as long ones.
        let most = kind.most_ms(two_primaries);
        let time = Duration::from_millis((most >> prng.below(7)) * prng.between(70, 100) / 100);
        Self { kind, node: prng.below(2) as usize, time, detail: prng.next_u64() }
    }
}

impl Torture {
    /// Lets it happen. Gives whether clients may be told of errors: the only good copy of
    /// something was taken away.
    pub(super) fn happen(&mut self, act: Act) -> anyhow::Result<bool> {
        if act.kind.needs_both() {
            self.cluster.wait_settled()?;
        } else if self.options.two_primaries {
            // One that waits for the other in vain goes on with what it has.
            wait_met(&self.cluster)?;
        }
        let takes_away = !matches!(act.kind, Resets | Weather) && !act.kind.needs_both();
        // Also where requests wait for a good copy: what a Primary that is being resynced had in
        // flight when its source died fails when that is back, for it may have gone on alone.
        let lenient = takes_away && !self.is_settled()?;
        self.count(act);
        match act.kind {
            Kill | KillBoth | KillAgain | KillWhileCut => self.kill(act)?,
            Freeze | FreezeBoth => self.freeze(act)?,
            Restart => self.restart(act)?,
            Resets | Cut | Silence | Weather => self.trouble_cable(act),
            Disconnect | Swap | Demote => self.order(act)?,
            Detach | FullDisk => self.lose_disk(act)?,
        }
        Ok(lenient)
    }

    fn is_settled(&self) -> anyhow::Result<bool> {
        let mut settled = true;
        for node in self.cluster.nodes() {
            settled &= node.status()?.is_settled();
        }
        Ok(settled)
    }

    fn count(&mut self, act: Act) {
        let tally = &mut self.tally;
        match act.kind {
            Kill => tally.kills += 1,
            KillBoth => tally.kills += 2,
            KillAgain => tally.kills += times(act),
            KillWhileCut => (tally.kills, tally.cuts) = (tally.kills + 1, tally.cuts + 1),
            Freeze => tally.pauses += 1,
            FreezeBoth => tally.pauses += 2,
            Resets => tally.cuts += times(act),
            Cut | Silence | Weather => tally.cuts += 1,
            Restart | Disconnect | Swap | Demote => tally.orders += 1,
            Detach | FullDisk => tally.disks += 1,
        }
    }

    fn kill(&mut self, act: Act) -> anyhow::Result<()> {
        let cluster = &mut self.cluster;
        let (one, other) = (act.node, 1 - act.node);
        match act.kind {
            Kill => {
                cluster.nodes_mut()[one].kill()?;
                clock::pass(act.time);
                cluster.nodes_mut()[one].start()
            }
            KillBoth => {
                cluster.nodes_mut()[one].kill()?;
                cluster.nodes_mut()[other].kill()?;
                clock::pass(act.time / 4);
                let first = if act.detail.is_multiple_of(2) { one } else { other };
                cluster.nodes_mut()[first].start()?;
                clock::pass(act.time);
                cluster.nodes_mut()[1 - first].start()
            }
            KillAgain => {
                for _ in 0..times(act) {
                    cluster.nodes_mut()[one].kill()?;
                    cluster.nodes_mut()[one].start()?;
                    clock::pass(act.time);
                }
                Ok(())
            }
            _ => {
                cables(cluster, Proxy::cut);
                clock::pass(act.time / 2);
                cluster.nodes_mut()[one].kill()?;
                cluster.nodes_mut()[one].start()?;
                clock::pass(act.time / 2);
                cables(cluster, Proxy::mend);
                Ok(())
            }
        }
    }

    fn freeze(&mut self, act: Act) -> anyhow::Result<()> {
        let nodes = self.cluster.nodes();
        let both = act.kind == FreezeBoth;
        nodes[act.node].freeze()?;
        if both {
            nodes[1 - act.node].freeze()?;
        }
        clock::pass(act.time);
        if both {
            nodes[1 - act.node].thaw()?;
        }
        nodes[act.node].thaw()
    }

    fn restart(&mut self, act: Act) -> anyhow::Result<()> {
        let node = &mut self.cluster.nodes_mut()[act.node];
        node.terminate()?;
        clock::pass(act.time);
        node.start()
    }

    fn trouble_cable(&self, act: Act) {
        let cluster = &self.cluster;
        match act.kind {
            Resets => {
                for _ in 0..times(act) {
                    cables(cluster, Proxy::reset);
                    clock::pass(act.time);
                }
            }
            Cut => {
                cables(cluster, Proxy::cut);
                clock::pass(act.time);
                cables(cluster, Proxy::mend);
            }
            Silence => {
                let way = [proxy::Silence::Both, proxy::Silence::There, proxy::Silence::Back]
                    [(act.detail % 3) as usize];
                cables(cluster, |cable| cable.silence_one_way(way));
                clock::pass(act.time);
                cables(cluster, Proxy::mend);
            }
            _ => {
                // A thin cable and a long one, or one of them.
                let rate = (!act.detail.is_multiple_of(3)).then_some((1 + act.detail % 8) << 20);
                let delay = if act.detail % 3 == 1 { Duration::ZERO } else { act.time / 4 };
                cables(cluster, |cable| {
                    cable.throttle(rate);
                    cable.delay(delay);
                });
            }
        }
    }

    fn order(&mut self, act: Act) -> anyhow::Result<()> {
        let node = self.cluster.nodes()[act.node];
        match act.kind {
            Disconnect => {
                node.repadm(&["disconnect", "r0"])?;
                clock::pass(act.time);
                node.repadm(&["connect", "r0"]).map(drop)
            }
            Demote => {
                node.repadm(&["secondary", "--force", "r0"])?;
                clock::pass(act.time);
                node.repadm(&["primary", "r0"]).map(drop)
            }
            _ => {
                let was = usize::from(!self.primary[0]);
                let nodes = self.cluster.nodes();
                nodes[was].repadm(&["secondary", "--force", "r0"])?;
                clock::pass(act.time);
                nodes[1 - was].repadm(&["primary", "r0"])?;
                self.primary = [was == 1, was == 0];
                Ok(())
            }
        }
    }

    fn lose_disk(&mut self, act: Act) -> anyhow::Result<()> {
        let node = self.cluster.nodes()[act.node];
        if act.kind == Detach {
            node.repadm(&["detach", "r0"])?;
            clock::pass(act.time);
            return node.repadm(&["attach", "r0"]).map(drop);
        }
        let gone = self.cluster.fill_disk(node);
        clock::pass(act.time);
        namespace::make_room(&node.small_mount())?;
        gone?;
        node.repadm(&["attach", "r0"]).map(drop)
    }
}

const fn times(act: Act) -> u64 {
    2 + act.detail % 3
}

pub(super) fn cables(cluster: &Cluster, act: impl Fn(&Proxy)) {
    cluster.cables().iter().for_each(act);
}

/// Waits until both nodes talk to each other, and are what they were before a restart.
pub(super) fn wait_met(cluster: &Cluster) -> anyhow::Result<()> {
    let met = clock::until("both nodes to meet", PATIENCE, || {
        let mut met = true;
        for node in cluster.nodes() {
            let status = node.status()?;
            met &= status.connection() == "Connected" && !status.is_restoring();
        }
        Ok(met.then_some(()))
    });
    met.map(drop).with_context(|| cluster.describe())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everything_that_may_happen_is_chosen_and_nothing_else() {
        for (two_primaries, without) in [(true, vec![Disconnect, Swap]), (false, vec![Demote])] {
            let mut prng = Prng::new(1);
            let choose = |_| Act::choose(&mut prng, two_primaries, true);
            let acts: Vec<Act> = (0..2000).map(choose).collect();
            let kinds: BTreeSet<String> =
                acts.iter().map(|act| format!("{:?}", act.kind)).collect();
            assert_eq!(kinds.len(), 16 - without.len(), "{kinds:?}");
            assert!(acts.iter().all(|act| !without.contains(&act.kind)));
            let longest_cut = acts.iter().filter(|act| act.kind == Cut).map(|act| act.time).max();
            assert_eq!(longest_cut < Some(Duration::from_secs(3)), two_primaries);
        }
    }
}
