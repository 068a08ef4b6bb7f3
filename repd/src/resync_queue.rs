//! Which resyncs wait for others on this node: `resync-after`, and no more than so many at once.
//!
//! A volume waits as long as the one that it comes after, or one further up, is being synchronised,
//! waits itself, or is paused: the order is kept, whatever holds the first one up. Of those that
//! wait for nobody the first may run, by name, up to the bound; what is paused by an operator does
//! not count for it.

use crate::daemon::Daemon;
use crate::resource::Order;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use types::{ReplicationState, VolumeId};

/// Changes that come together are looked at once.
const PAUSE: Duration = Duration::from_millis(50);

/// No resource is waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A volume of this node, by its resource.
type Place = (String, VolumeId);

/// What is known of a volume.
#[derive(Clone, Debug, Default)]
struct Candidate {
    /// It is being synchronised, or would be.
    syncs: bool,
    /// Somebody has paused it, here or at the peer.
    paused: bool,
    /// It was told to wait.
    waits: bool,
    /// Who comes first.
    after: Option<Place>,
}

/// Those that have to wait.
fn waiting(all: &BTreeMap<Place, Candidate>, at_once: usize) -> BTreeSet<Place> {
    let mut waiting: BTreeSet<Place> = BTreeSet::new();
    for (place, candidate) in all {
        let mut seen = BTreeSet::from([place]);
        let mut next = candidate.after.as_ref();
        while let Some(first) = next.filter(|first| seen.insert(*first)) {
            let Some(ancestor) = all.get(first) else { break };
            if ancestor.syncs {
                waiting.insert(place.clone());
                break;
            }
            next = ancestor.after.as_ref();
        }
    }
    let runs =
        |(place, of): &(&Place, &Candidate)| of.syncs && !of.paused && !waiting.contains(*place);
    // Whoever runs already goes on: a resync is not stopped for one with a better name.
    let mut running: Vec<(&Place, &Candidate)> = all.iter().filter(runs).collect();
    running.sort_by_key(|(_, of)| of.waits);
    let late: Vec<Place> =
        running.into_iter().skip(at_once).map(|(place, _)| place.clone()).collect();
    waiting.extend(late);
    waiting
}

fn candidates(daemon: &Daemon) -> BTreeMap<Place, Candidate> {
    let mut all = BTreeMap::new();
    for entry in daemon.resources() {
        let remembered = entry.remembered();
        let Some((me, _)) = remembered.resource.host(&remembered.node) else { continue };
        let glance = entry.resource.glance();
        for volume in &me.volumes {
            let Some(seen) = glance.volume(volume.id) else { continue };
            let candidate = Candidate {
                syncs: matches!(
                    seen.replication,
                    ReplicationState::SyncSource
                        | ReplicationState::SyncTarget
                        | ReplicationState::PausedSyncS
                        | ReplicationState::PausedSyncT
                ),
                // What both have told to wait is nobody's turn for that.
                paused: seen.pauses.user
                    || seen.pauses.peer_user
                    || seen.pauses.peer_dependency && !seen.pauses.dependency,
                waits: seen.pauses.dependency,
                after: volume.disk_options.resync_after.clone(),
            };
            all.insert((entry.name().to_owned(), volume.id), candidate);
        }
    }
    all
}

/// Keeps the order as long as the daemon lives.
pub(crate) async fn keep(daemon: Rc<Daemon>, at_once: usize) {
    let mut changes = daemon.news().changes();
    while changes.changed().await.is_ok() {
        tokio::time::sleep(PAUSE).await;
        changes.borrow_and_update();
        let all = candidates(&daemon);
        let waiting = waiting(&all, at_once);
        for (place, candidate) in &all {
            let waits = waiting.contains(place);
            if waits != candidate.waits
                && let Ok(entry) = daemon.entry(&place.0)
            {
                let order = entry.resource.order(Order::Yield(place.1, waits));
                // One that is ending, or hangs on its disk, keeps no other waiting.
                match tokio::time::timeout(PATIENCE, order).await {
                    Ok(Ok(())) => {}
                    Ok(Err(failure)) => {
                        tracing::debug!(resource = place.0, "resync order: {failure}");
                    }
                    Err(_) => tracing::warn!(resource = place.0, "it does not answer"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        (name.to_owned(), VolumeId(0))
    }

    /// Which of these wait: each with whether it is being synchronised, and after whom it comes.
    fn names(all: &[(&str, bool, Option<&str>)], at_once: usize) -> Vec<String> {
        let all = all.iter().map(|(name, syncs, after)| {
            let after = after.map(place);
            (place(name), Candidate { syncs: *syncs, after, ..Candidate::default() })
        });
        waiting(&all.collect(), at_once).into_iter().map(|(name, _)| name).collect()
    }

    const NO_BOUND: usize = usize::MAX;

    #[test]
    fn whoever_comes_after_waits_as_long_as_anybody_before_it_is_busy() {
        let chain = |a, b, c| {
            names(&[("a", a, None), ("b", b, Some("a")), ("c", c, Some("b"))], NO_BOUND).join("")
        };
        assert_eq!(chain(true, true, true), "bc");
        assert_eq!(chain(false, true, true), "c");
        assert_eq!(chain(false, false, true), "");
        // Also what is not yet being synchronised is told, and who is further up counts.
        assert_eq!(chain(true, false, false), "bc");
    }

    #[test]
    fn whoever_is_not_up_is_not_waited_for_and_a_circle_ends() {
        assert_eq!(names(&[("b", true, Some("a"))], NO_BOUND), Vec::<String>::new());
        let circle = [("a", true, Some("b")), ("b", true, Some("a"))];
        assert_eq!(names(&circle, NO_BOUND), ["a", "b"]);
    }

    #[test]
    fn no_more_than_so_many_run_and_whoever_runs_goes_on() {
        let all = [("a", true, None), ("b", true, None), ("c", true, None), ("d", false, None)];
        assert_eq!(names(&all, 2), ["c"]);
        let mut all: BTreeMap<Place, Candidate> = all
            .iter()
            .map(|(name, syncs, _)| {
                (place(name), Candidate { syncs: *syncs, ..Candidate::default() })
            })
            .collect();
        all.get_mut(&place("a")).unwrap().waits = true;
        assert_eq!(waiting(&all, 2), BTreeSet::from([place("a")]));
        // A paused one takes nobody's turn.
        all.get_mut(&place("b")).unwrap().paused = true;
        assert_eq!(waiting(&all, 2), BTreeSet::new());
    }
}
