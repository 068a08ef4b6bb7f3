//! That nothing happened between two Primaries that an operator would notice, and that their
//! counters of conflicts agree.

use crate::clock::until;
use crate::cluster::{Cluster, PATIENCE, Status};

/// What both nodes said before.
pub(super) struct Before {
    statuses: Vec<Status>,
    /// How long their logs were.
    logs: Vec<usize>,
}

impl Before {
    pub(super) fn look(cluster: &Cluster) -> anyhow::Result<Self> {
        let statuses = cluster.nodes().map(|node| node.status());
        let statuses = statuses.into_iter().collect::<anyhow::Result<_>>()?;
        let logs = cluster.nodes().map(|node| node.log().len()).to_vec();
        Ok(Self { statuses, logs })
    }

    /// Fails unless the link stood all the time.
    pub(super) fn check_connected(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.check_undivided(cluster)?;
        for ((node, before), log) in cluster.nodes().iter().zip(&self.statuses).zip(&self.logs) {
            // The counter would miss a new session, and the log is not for counting resets.
            let lost = node.log()[*log..].contains("connection Connected ->");
            anyhow::ensure!(
                !lost && node.status()?.resumed() == before.resumed(),
                "{} has lost the link",
                node.name()
            );
        }
        Ok(())
    }

    /// Fails unless both are Primary still with one generation, and nothing was marked, copied or
    /// in doubt. The link may have been lost.
    pub(super) fn check_undivided(&self, cluster: &Cluster) -> anyhow::Result<()> {
        for ((node, before), log) in cluster.nodes().iter().zip(&self.statuses).zip(&self.logs) {
            let status = node.status()?;
            let (name, brief) = (node.name(), status.brief());
            anyhow::ensure!(status.role() == "Primary", "{name}: {brief}");
            anyhow::ensure!(status.is_settled() && !status.is_split(), "{name}: {brief}");
            let (was, is) = (before.generation(), status.generation());
            anyhow::ensure!(was == is, "{name}: a new generation {is}, it was {was}");
            let log = &node.log()[*log..];
            for state in ["SyncSource", "SyncTarget", "split brain"] {
                anyhow::ensure!(!log.contains(state), "{name}: {state}; {brief}");
            }
        }
        Ok(())
    }
}

/// How many writes were concurrent. Fails unless both nodes agree: what the arbiter won is what
/// the other node lost, and what it was told to be superseded.
pub(super) fn conflicts(cluster: &Cluster) -> anyhow::Result<u64> {
    // Answered clients do not mean that all is counted: a superseded write is told by a message.
    let idle = |status: &Status| {
        let pending = &status.value()["connections"][0]["ap-in-flight"];
        pending.as_u64() == Some(0)
    };
    let ([alpha, beta], _) = until("no write in flight", PATIENCE, || {
        let [alpha, beta] = cluster.nodes().map(|node| node.status());
        let both = [alpha?, beta?];
        Ok(both.iter().all(idle).then_some(both))
    })?;
    let won = alpha.conflicts_won();
    let counters = [&alpha, &beta].map(|s| (s.conflicts_won(), s.conflicts_lost(), s.superseded()));
    anyhow::ensure!(
        counters == [(won, 0, 0), (0, won, won)],
        "won, lost and superseded on alpha and beta: {counters:?}"
    );
    Ok(won)
}
