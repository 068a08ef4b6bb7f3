//! `events2`: what there is and what becomes of it, a line for each event, in DRBD's shape.
//!
//! ```text
//! exists resource name:r0 role:Primary suspended:no split-brain:no
//! exists -
//! change connection name:r0 peer-node-id:1 conn-name:beta connection:Connecting role:Unknown
//! ```
//! A picture of the state is a list of objects; the events are the difference between two of them.

use super::progress::percent_down;
use super::status::{is_open, suspended};
use super::{blocks_kib, kib, yes_no};
use crate::target::Chosen;
use control::{HelperEvent, ResourceStatus, VolumeStatus};
use std::fmt::{Display, Write as _};
use types::VolumeId;

/// The end of what there is at first.
const END_OF_DUMP: &str = "exists -";

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// These only; everything otherwise.
    pub only: Option<Vec<Chosen>>,
    /// Sizes and counters, too.
    pub statistics: bool,
}

impl Scope {
    fn has(&self, resource: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|chosen| chosen.name == resource))
    }

    fn has_volume(&self, resource: &str, volume: VolumeId) -> bool {
        let is = |chosen: &Chosen| chosen.name == resource && chosen.includes(volume);
        self.only.as_ref().is_none_or(|only| only.iter().any(is))
    }
}

/// Something that has a name and a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    kind: &'static str,
    name: Keys,
    state: Keys,
}

/// `key:value` in the order in which they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keys(Vec<(&'static str, String)>);

impl Keys {
    fn with(mut self, key: &'static str, value: impl Display) -> Self {
        self.0.push((key, value.to_string()));
        self
    }

    fn with_some(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// What is not the same there.
    fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|pair| !other.0.contains(pair)).cloned().collect())
    }
}

impl Object {
    fn new(kind: &'static str, name: Keys) -> Self {
        Self { kind, name, state: Keys::default() }
    }

    fn is_called_as(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name
    }

    fn line(&self, verb: &str, state: &Keys) -> String {
        let mut line = format!("{verb} {}", self.kind);
        for (key, value) in self.name.0.iter().chain(&state.0) {
            let _ = write!(line, " {key}:{value}");
        }
        line
    }
}

/// The objects of a picture: of each resource itself, its connection, its devices, its peer
/// devices.
pub fn objects(resources: &[ResourceStatus], scope: &Scope) -> Vec<Object> {
    let mut all = Vec::new();
    for resource in resources.iter().filter(|resource| scope.has(&resource.name)) {
        let shown = |volume: &&VolumeStatus| scope.has_volume(&resource.name, volume.volume);
        let volumes = || resource.volumes.iter().filter(shown);
        all.push(resource_itself(resource, scope.statistics));
        all.push(connection(resource, scope.statistics));
        all.extend(volumes().map(|volume| device(resource, volume, scope.statistics)));
        all.extend(volumes().map(|volume| peer_device(resource, volume, scope.statistics)));
    }
    all
}

/// What there is, and that this was all of it.
pub fn dump(objects: &[Object]) -> Vec<String> {
    let lines = objects.iter().map(|object| object.line("exists", &object.state));
    lines.chain([END_OF_DUMP.to_owned()]).collect()
}

/// What has become of `old`: what is gone, the inner before the outer; what is new; and of what has
/// changed, only that.
pub fn changes(old: &[Object], new: &[Object]) -> Vec<String> {
    let find = |all: &'_ [Object], object: &Object| {
        all.iter().position(|other| other.is_called_as(object))
    };
    let gone = old.iter().rev().filter(|object| find(new, object).is_none());
    let mut lines: Vec<String> =
        gone.map(|object| object.line("destroy", &Keys::default())).collect();
    for object in new {
        match find(old, object) {
            None => lines.push(object.line("create", &object.state)),
            Some(at) => {
                let changed = object.state.without(&old[at].state);
                if !changed.0.is_empty() {
                    lines.push(object.line("change", &changed));
                }
            }
        }
    }
    lines
}

/// The line of a handler, if it is about a resource that is shown.
pub fn helper(event: &HelperEvent, scope: &Scope) -> Option<String> {
    let named = |resource: &str, helper: &str| {
        let name = Keys::default().with("name", resource).with("helper", helper);
        scope.has(resource).then(|| Object::new("helper", name))
    };
    match event {
        HelperEvent::Called { resource, helper } => {
            named(resource, helper).map(|object| object.line("call", &object.state))
        }
        HelperEvent::Ended { resource, helper, status } => named(resource, helper)
            .map(|object| object.line("response", &Keys::default().with("status", status))),
        HelperEvent::Missed(_) => None,
    }
}

fn resource_itself(resource: &ResourceStatus, statistics: bool) -> Object {
    let mut object = Object::new("resource", Keys::default().with("name", &resource.name));
    object.state = Keys::default()
        .with("role", resource.role)
        .with("suspended", suspended(resource))
        .with("split-brain", yes_no(resource.split_brain.is_some()));
    if statistics {
        object.state = object
            .state
            .with("write-ordering", "flush")
            .with("sessions-resumed", resource.resumed)
            .with("strangers-refused", resource.strangers_refused);
    }
    object
}

/// How connections and what they have are called.
fn peer_name(resource: &ResourceStatus) -> Keys {
    Keys::default()
        .with("name", &resource.name)
        .with("peer-node-id", resource.peer.node_id)
        .with("conn-name", &resource.peer.name)
}

fn connection(resource: &ResourceStatus, statistics: bool) -> Object {
    let mut object = Object::new("connection", peer_name(resource));
    object.state = Keys::default()
        .with("connection", resource.peer.connection)
        .with("role", resource.peer.role);
    if statistics {
        let pending: u64 = resource.volumes.iter().map(|volume| volume.counters.pending).sum();
        object.state = object
            .state
            .with("congested", "no")
            .with("ap-in-flight", pending)
            .with("rs-in-flight", 0);
    }
    object
}

fn device(resource: &ResourceStatus, volume: &VolumeStatus, statistics: bool) -> Object {
    let name = Keys::default()
        .with("name", &resource.name)
        .with("volume", volume.volume)
        .with_some("minor", volume.minor);
    let disk = volume.disk_path.as_ref();
    let mut object = Object::new("device", name);
    object.state = Keys::default()
        .with("disk", volume.disk)
        .with("backing_dev", disk.map_or_else(|| "none".into(), |disk| disk.to_string_lossy()))
        .with("client", yes_no(disk.is_none()))
        .with("quorum", "yes")
        .with("open", yes_no(is_open(volume)));
    if statistics {
        let counters = &volume.counters;
        object.state = object
            .state
            .with("size", kib(volume.size_bytes))
            .with("read", kib(counters.read_bytes))
            .with("written", kib(counters.written_bytes))
            .with("al-writes", counters.al_writes)
            .with("al-hits", counters.al_hits)
            .with("al-misses", counters.al_misses)
            .with("bm-writes", counters.bm_writes)
            .with("upper-pending", counters.upper_pending)
            .with("lower-pending", counters.lower_pending)
            .with("al-suspended", yes_no(volume.flags.is_some_and(|flags| flags.al_disabled)))
            .with("blocked", "no")
            .with("read-errors", counters.read_errors)
            .with("write-errors", counters.write_errors)
            .with("repaired-blocks", counters.repaired_blocks)
            .with("conflicts-won", counters.conflicts_won.total())
            .with("conflicts-lost", counters.conflicts_lost.total())
            .with("superseded", counters.superseded);
        let (won, lost) = (&counters.conflicts_won, &counters.conflicts_lost);
        object.state = object
            .state
            .with("conflicts-won-same", won.same)
            .with("conflicts-won-covers", won.covers)
            .with("conflicts-won-covered", won.covered)
            .with("conflicts-won-partial", won.partial)
            .with("conflicts-lost-same", lost.same)
            .with("conflicts-lost-covers", lost.covers)
            .with("conflicts-lost-covered", lost.covered)
            .with("conflicts-lost-partial", lost.partial);
    }
    object
}

fn peer_device(resource: &ResourceStatus, volume: &VolumeStatus, statistics: bool) -> Object {
    let mut object = Object::new("peer-device", peer_name(resource).with("volume", volume.volume));
    let done = volume.resync.map(|resync| format!("{:.2}", percent_down(resync.percent, 2)));
    object.state = Keys::default()
        .with("replication", volume.replication)
        .with("peer-disk", volume.peer_disk)
        .with("resync-suspended", "no")
        .with_some("done", done);
    if statistics {
        let counters = &volume.counters;
        object.state = object
            .state
            .with("received", kib(counters.received_bytes))
            .with("sent", kib(counters.sent_bytes))
            .with("out-of-sync", blocks_kib(volume.out_of_sync_blocks))
            .with("pending", counters.pending)
            .with("unacked", counters.unacked)
            .with("undurable", kib(volume.undurable_bytes))
            .with("undurable-writes", volume.undurable_writes)
            .with("resync-sent", kib(volume.resync_bytes));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    /// The dump of the first picture, and what changes from each to the next.
    fn told(pictures: &[Vec<ResourceStatus>], scope: &Scope) -> String {
        let mut pictures = pictures.iter().map(|picture| objects(picture, scope));
        let mut shown = pictures.next().expect("at least one");
        let mut lines = dump(&shown);
        for picture in pictures {
            lines.push("---".to_owned());
            lines.extend(changes(&shown, &picture));
            shown = picture;
        }
        lines.join("\n")
    }

    fn statistics() -> Scope {
        Scope { statistics: true, ..Scope::default() }
    }

    #[test]
    fn every_state_is_told() {
        let show = |(name, status): (&str, ResourceStatus)| {
            format!("# {name}\n{}\n", told(&[vec![status]], &Scope::default()))
        };
        insta::assert_snapshot!(samples::all().into_iter().map(show).collect::<String>());
    }

    #[test]
    fn all_numbers_are_told_if_asked() {
        insta::assert_snapshot!(told(&[vec![samples::two_volumes()]], &statistics()));
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let other = || ResourceStatus { name: "r1".into(), ..samples::just_created() };
        let (source, mut further) = (samples::sync_source(), samples::sync_source());
        further.volumes[0].resync = Some(control::ResyncProgress::new(0, 9_000, 262_127, 120_000));
        further.volumes[0].out_of_sync_blocks = 120_000;
        let story = [
            vec![],
            vec![samples::just_created()],
            vec![source.clone(), other()],
            vec![source, other()],
            vec![further, other()],
            vec![samples::both_primary(), other()],
            vec![samples::connecting(), other()],
            vec![samples::split_brain()],
            vec![samples::suspended()],
            vec![samples::two_volumes()],
            vec![],
        ];
        insta::assert_snapshot!(told(&story, &Scope::default()));
    }

    #[test]
    fn numbers_change_only_for_who_asked_for_them() {
        let (old, mut new) = (samples::both_primary(), samples::both_primary());
        new.volumes[0].counters.conflicts_won.same = 2;
        new.volumes[0].counters.superseded = 1;
        new.volumes[0].counters.sent_bytes += 4 << 10;
        let change = |scope: &Scope| {
            let [old, new] = [&old, &new].map(|s| objects(std::slice::from_ref(s), scope));
            changes(&old, &new)
        };
        assert_eq!(change(&Scope::default()), Vec::<String>::new());
        insta::assert_snapshot!(change(&statistics()).join("\n"), @r"
        change device name:r0 volume:0 minor:1 conflicts-won:2 superseded:1 conflicts-won-same:2
        change peer-device name:r0 peer-node-id:1 conn-name:beta volume:0 sent:1048512
        ");
    }

    #[test]
    fn what_was_not_asked_for_is_not_shown() {
        let other = ResourceStatus { name: "r1".into(), ..samples::both_primary() };
        let picture = vec![samples::two_volumes(), other];
        let only = |name: &str, volume| {
            let chosen = Chosen { name: name.into(), volume };
            Scope { only: Some(vec![chosen]), statistics: false }
        };
        let one = dump(&objects(&picture, &only("r0", Some(VolumeId(1)))));
        assert_eq!(one.len(), 5, "{one:?}");
        assert!(one[2].starts_with("exists device name:r0 volume:1 minor:11 "), "{one:?}");
        assert_eq!(dump(&objects(&picture, &only("r1", None))).len(), 5);
        assert_eq!(dump(&objects(&picture, &only("r2", None))), ["exists -"]);
        let called = HelperEvent::Called { resource: "r1".into(), helper: "split-brain".into() };
        assert_eq!(helper(&called, &only("r0", None)), None);
        let line = helper(&called, &only("r1", None));
        assert_eq!(line.as_deref(), Some("call helper name:r1 helper:split-brain"));
    }

    #[test]
    fn the_end_of_a_handler_has_its_status() {
        let (resource, name) = ("r0".to_owned(), "local-io-error".to_owned());
        let ended = HelperEvent::Ended { resource, helper: name, status: 3 };
        let line = helper(&ended, &Scope::default());
        let expected = "response helper name:r0 helper:local-io-error status:3";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(helper(&HelperEvent::Missed(3), &Scope::default()), None);
    }
}
