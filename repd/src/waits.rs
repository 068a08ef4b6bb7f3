//! Waiting for a state of a resource.

use crate::entry::Entry;
use crate::resource::Glance;
use control::{Failure, exit};
use types::{ConnectionState, DiskState, ReplicationState, Span, VolumeId};

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Connected, and the verdict is taken.
    Connected,
    /// Connected, established, and the local disks are UpToDate: of all volumes or of one.
    InSync(Option<VolumeId>),
}

/// Waits until the goal is reached.
///
/// # Errors
/// With exit code 5 when the time is over; at once with 18 on split brain, with 11 if the peer is
/// not being sought.
pub(crate) async fn wait(entry: &Entry, goal: Goal, timeout: Option<Span>) -> Result<(), Failure> {
    let mut restoring = entry.restoring.subscribe();
    let restored = async {
        // Until it is brought back it stands alone, which means nothing.
        let _ = restoring.wait_for(|restoring| !restoring).await;
    };
    within(entry, timeout, async {
        restored.await;
        reach(entry, goal).await
    })
    .await
}

/// As [`wait`], for the one who brings the resource back.
pub(crate) async fn wait_while_restoring(
    entry: &Entry,
    goal: Goal,
    timeout: Span,
) -> Result<(), Failure> {
    within(entry, Some(timeout), reach(entry, goal)).await
}

async fn reach(entry: &Entry, goal: Goal) -> Result<(), Failure> {
    let mut glance = entry.resource.watch();
    loop {
        if let Some(outcome) = judge(entry.name(), goal, &glance.borrow_and_update()) {
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
    waiting: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    match timeout {
        None => waiting.await,
        Some(timeout) => match tokio::time::timeout(timeout.into(), waiting).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let connection = entry.resource.glance().connection;
                let text = format!(
                    "{}: not reached within {:.1} s; the connection is {connection}",
                    entry.name(),
                    timeout.as_secs_f64()
                );
                Err(Failure::new(exit::TIMEOUT, text))
            }
        },
    }
}

/// Whether the waiting is over, and how.
fn judge(name: &str, goal: Goal, glance: &Glance) -> Option<Result<(), Failure>> {
    let is_connected = glance.connection == ConnectionState::Connected;
    if let Some(text) = glance.split_brain.as_ref().filter(|_| !is_connected) {
        return Some(Err(Failure::new(exit::SPLIT_BRAIN, format!("{name}: {text}"))));
    }
    match glance.connection {
        ConnectionState::StandAlone | ConnectionState::Disconnecting => {
            let text = format!("{name}: it stands alone; «repadm connect {name}» seeks its peer");
            Some(Err(Failure::new(exit::STATE, text)))
        }
        ConnectionState::Connected if is_reached(goal, glance) => Some(Ok(())),
        _ => None,
    }
}

fn is_reached(goal: Goal, glance: &Glance) -> bool {
    let Goal::InSync(only) = goal else { return true };
    let mut volumes = glance.volumes.iter();
    volumes.all(|volume| {
        only.is_some_and(|only| only != volume.id)
            || (volume.replication == ReplicationState::Established
                && volume.disk == DiskState::UpToDate)
    })
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
        });
        Glance { connection, volumes: volumes.collect(), ..Glance::unknown() }
    }

    #[test]
    fn the_goals_are_what_they_say() {
        use ConnectionState::{Connected, Connecting, StandAlone};
        use DiskState::{Inconsistent, UpToDate};
        let code = |goal, glance: &Glance| {
            judge("r0", goal, glance).map(|outcome| outcome.map_or_else(|f| f.exit, |()| 0))
        };
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
    }
}
