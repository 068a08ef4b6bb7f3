//! Waiting for a state of a resource.

use crate::entry::Entry;
use crate::resource::Glance;
use control::{Circumstance, Failure, Patience, WaitLimit, exit};
use types::{ConnectionState, DiskState, ReplicationState, Span, VolumeId};

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Connected, and the verdict is taken.
    Connected,
    /// Connected, established, and the local disks are UpToDate: of all volumes or of one.
    InSync(Option<VolumeId>),
}

/// How long the peer of a resource is waited for: the longer the more likely it is to come.
pub(crate) fn limit(entry: &Entry, patience: &Patience) -> WaitLimit {
    patience.limit(circumstance(&entry.resource.glance()))
}

const fn circumstance(glance: &Glance) -> Circumstance {
    if glance.peer_outdated {
        Circumstance::Outdated
    } else if glance.was_alone {
        Circumstance::Degraded
    } else {
        Circumstance::Ordinary
    }
}

/// Waits until the goal is reached.
///
/// # Errors
/// With exit code 5 when the time is over; at once with 18 on split brain, unless it is waited after
/// one, too; at once with 11 if the peer is not being sought, or the nodes refuse each other
/// meanwhile for what only an operator can change.
pub(crate) async fn wait(
    entry: &Entry,
    goal: Goal,
    limit: WaitLimit,
    after_split_brain: bool,
) -> Result<(), Failure> {
    let mut restoring = entry.restoring.subscribe();
    let restored = async {
        // Until it is brought back it stands alone, which means nothing.
        let _ = restoring.wait_for(|restoring| !restoring).await;
    };
    within(entry, limit.limit, limit.circumstance.option(), async {
        restored.await;
        let refusals = entry.resource.glance().lasting_refusals;
        reach(entry, goal, Bounds { after_split_brain, refusals }).await
    })
    .await
}

/// As [`wait`], for the one who brings the resource back.
pub(crate) async fn wait_while_restoring(
    entry: &Entry,
    goal: Goal,
    timeout: Span,
) -> Result<(), Failure> {
    // Whatever keeps the peer away is told in the log.
    let bounds = Bounds { after_split_brain: false, refusals: u64::MAX };
    within(entry, Some(timeout), "after a restart", reach(entry, goal, bounds)).await
}

/// What does not end a wait.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// A split brain.
    after_split_brain: bool,
    /// So many refusals: they were there before.
    refusals: u64,
}

async fn reach(entry: &Entry, goal: Goal, bounds: Bounds) -> Result<(), Failure> {
    let mut glance = entry.resource.watch();
    loop {
        let seen = judge(entry.name(), goal, &glance.borrow_and_update(), bounds);
        if let Some(outcome) = seen {
            return outcome;
        }
        if glance.changed().await.is_err() {
            return Err(entry.resource.gone());
        }
    }
}

async fn within(
    entry: &Entry,
    timeout: Option<Span>,
    why: &str,
    waiting: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    match timeout {
        None => waiting.await,
        Some(timeout) => match tokio::time::timeout(timeout.into(), waiting).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let connection = entry.resource.glance().connection;
                let text = format!(
                    "{}: not reached within {:.1} s ({why}); the connection is {connection}",
                    entry.name(),
                    timeout.as_secs_f64()
                );
                Err(Failure::new(exit::TIMEOUT, text))
            }
        },
    }
}

/// Whether the waiting is over, and how. After a split brain a node stands alone, until an operator
/// has settled it.
fn judge(name: &str, goal: Goal, glance: &Glance, bounds: Bounds) -> Option<Result<(), Failure>> {
    let is_connected = glance.connection == ConnectionState::Connected;
    if let Some(text) = glance.split_brain.as_ref().filter(|_| !is_connected) {
        if bounds.after_split_brain {
            return None;
        }
        return Some(Err(Failure::new(exit::SPLIT_BRAIN, format!("{name}: {text}"))));
    }
    match glance.connection {
        ConnectionState::StandAlone | ConnectionState::Disconnecting => {
            let text = format!("{name}: it stands alone; «repadm connect {name}» seeks its peer");
            Some(Err(Failure::new(exit::STATE, text)))
        }
        ConnectionState::Connected => is_reached(goal, glance).then_some(Ok(())),
        _ if glance.lasting_refusals > bounds.refusals => {
            let why = glance.last_refusal.as_deref().unwrap_or("the nodes refuse each other");
            let text = format!("{name}: {why}; correct it, and run «repadm adjust {name}»");
            Some(Err(Failure::new(exit::STATE, text)))
        }
        _ => None,
    }
}

fn is_reached(goal: Goal, glance: &Glance) -> bool {
    let Goal::InSync(only) = goal else { return true };
    let mut volumes = glance.volumes.iter();
    volumes.all(|volume| {
        only.is_some_and(|only| only != volume.id)
            || (is_established(volume.replication) && volume.disk == DiskState::UpToDate)
    })
}

/// Whether writes are replicated and no resync is under way.
const fn is_established(replication: ReplicationState) -> bool {
    matches!(
        replication,
        ReplicationState::Established | ReplicationState::VerifyS | ReplicationState::VerifyT
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::VolumeGlance;

    fn glance(connection: ConnectionState, disks: &[DiskState]) -> Glance {
        let volumes = disks.iter().zip(0..).map(|(&disk, id)| VolumeGlance {
            id: VolumeId(id),
            disk,
            peer_disk: DiskState::UpToDate,
            replication: match disk {
                DiskState::UpToDate => ReplicationState::Established,
                _ => ReplicationState::SyncTarget,
            },
            size_bytes: 1,
            suspended: false,
            pauses: replicator::Pauses::default(),
        });
        Glance { connection, volumes: volumes.collect(), ..Glance::unknown() }
    }

    #[test]
    fn the_goals_are_what_they_say() {
        use ConnectionState::{Connected, Connecting, StandAlone};
        use DiskState::{Inconsistent, UpToDate};
        let judged = |goal, glance: &Glance, after_split_brain| {
            let outcome = judge("r0", goal, glance, Bounds { after_split_brain, refusals: 3 });
            outcome.map(|outcome| outcome.map_or_else(|failure| failure.exit, |()| 0))
        };
        let code = |goal, glance: &Glance| judged(goal, glance, false);
        let syncing = glance(Connected, &[UpToDate, Inconsistent]);
        assert_eq!(code(Goal::Connected, &syncing), Some(0));
        assert_eq!(code(Goal::InSync(None), &syncing), None);
        assert_eq!(code(Goal::InSync(Some(VolumeId(0))), &syncing), Some(0));
        assert_eq!(code(Goal::InSync(Some(VolumeId(1))), &syncing), None);
        assert_eq!(code(Goal::InSync(None), &glance(Connected, &[UpToDate])), Some(0));
        assert_eq!(code(Goal::Connected, &glance(Connecting, &[UpToDate])), None);
        assert_eq!(code(Goal::Connected, &glance(StandAlone, &[])), Some(exit::STATE));
        let mut split = glance(StandAlone, &[UpToDate]);
        split.split_brain = Some("both wrote".into());
        assert_eq!(code(Goal::InSync(None), &split), Some(exit::SPLIT_BRAIN));
        assert_eq!(judged(Goal::InSync(None), &split, true), None, "wait-after-sb");
        let parted = glance(StandAlone, &[UpToDate]);
        assert_eq!(judged(Goal::Connected, &parted, true), Some(exit::STATE), "by order");
        let mut refused = glance(Connecting, &[UpToDate]);
        refused.last_refusal = Some("the shared secrets differ".into());
        refused.lasting_refusals = 3;
        assert_eq!(code(Goal::Connected, &refused), None, "it was so before");
        refused.lasting_refusals = 4;
        assert_eq!(code(Goal::Connected, &refused), Some(exit::STATE));
        assert_eq!(code(Goal::InSync(None), &refused), Some(exit::STATE));
        refused.connection = Connected;
        assert_eq!(code(Goal::Connected, &refused), Some(0), "and is not any more");
    }

    #[test]
    fn what_is_known_of_the_peer_says_how_long_it_is_waited_for() {
        let mut known = glance(ConnectionState::Connecting, &[DiskState::UpToDate]);
        assert_eq!(circumstance(&known), Circumstance::Ordinary);
        known.was_alone = true;
        assert_eq!(circumstance(&known), Circumstance::Degraded);
        known.peer_outdated = true;
        assert_eq!(circumstance(&known), Circumstance::Outdated);
    }
}
