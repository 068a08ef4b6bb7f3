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
use serde_json::{Map, Value, json};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use types::{ConnectionState, DiskState, Role, VolumeId};

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// These only; everything otherwise.
    pub only: Option<Vec<Chosen>>,
    /// Sizes and counters, too.
    pub statistics: bool,
    /// Of what has changed, all of its state and not only the change.
    pub full: bool,
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

    fn event(&self, verb: &'static str, state: &Keys) -> Event {
        let keys = self.name.0.iter().chain(&state.0).cloned().collect();
        Event { verb, kind: self.kind, keys }
    }
}

/// What is told in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    verb: &'static str,
    kind: &'static str,
    keys: Vec<(&'static str, String)>,
}

impl Event {
    /// The end of what there is at first.
    const END_OF_DUMP: Self = Self { verb: "exists", kind: "-", keys: Vec::new() };

    /// In DRBD's shape.
    pub fn text(&self) -> String {
        let mut line = format!("{} {}", self.verb, self.kind);
        for (key, value) in &self.keys {
            let _ = write!(line, " {key}:{value}");
        }
        line
    }

    /// As an object on one line, with the same keys; what is a number there is one here.
    pub fn json(&self, timestamp: Option<&str>) -> String {
        let mut all = Map::new();
        if let Some(timestamp) = timestamp {
            all.insert("timestamp".to_owned(), json!(timestamp));
        }
        all.insert("event".to_owned(), json!(self.verb));
        all.insert("object".to_owned(), json!(self.kind));
        for (key, value) in &self.keys {
            // Names are text also if they are digits.
            let is_name = matches!(*key, "name" | "conn-name" | "backing_dev");
            let number = value.parse::<u64>().ok().filter(|_| !is_name);
            all.insert((*key).to_owned(), number.map_or_else(|| json!(value), |n| json!(n)));
        }
        Value::Object(all).to_string()
    }
}

/// The objects of a picture: of each resource itself, its connection and its path, its devices, its
/// peer devices.
pub fn objects(resources: &[ResourceStatus], scope: &Scope) -> Vec<Object> {
    let mut all = Vec::new();
    for resource in resources.iter().filter(|resource| scope.has(&resource.name)) {
        let shown = |volume: &&VolumeStatus| scope.has_volume(&resource.name, volume.volume);
        let volumes = || resource.volumes.iter().filter(shown);
        all.push(resource_itself(resource, scope.statistics));
        all.push(connection(resource, scope.statistics));
        all.push(path(resource));
        all.extend(volumes().map(|volume| device(resource, volume, scope.statistics)));
        all.extend(volumes().map(|volume| peer_device(resource, volume, scope.statistics)));
    }
    all
}

/// What there is, and that this was all of it.
pub fn dump(objects: &[Object]) -> Vec<Event> {
    let events = objects.iter().map(|object| object.event("exists", &object.state));
    events.chain([Event::END_OF_DUMP]).collect()
}

/// What has become of `old`: what is gone, the inner before the outer; what is new; and of what has
/// changed, only that, or with `full` all of it.
pub fn changes(old: &[Object], new: &[Object], full: bool) -> Vec<Event> {
    let find = |all: &'_ [Object], object: &Object| {
        all.iter().position(|other| other.is_called_as(object))
    };
    let gone = old.iter().rev().filter(|object| find(new, object).is_none());
    let mut events: Vec<Event> =
        gone.map(|object| object.event("destroy", &Keys::default())).collect();
    for object in new {
        match find(old, object) {
            None => events.push(object.event("create", &object.state)),
            Some(at) => {
                let changed = object.state.without(&old[at].state);
                if !changed.0.is_empty() {
                    events
                        .push(object.event("change", if full { &object.state } else { &changed }));
                }
            }
        }
    }
    events
}

/// The event of a handler, if it is about a resource that is shown.
pub fn helper(event: &HelperEvent, scope: &Scope) -> Option<Event> {
    let named = |resource: &str, helper: &str| {
        let name = Keys::default().with("name", resource).with("helper", helper);
        scope.has(resource).then(|| Object::new("helper", name))
    };
    match event {
        HelperEvent::Called { resource, helper } => {
            named(resource, helper).map(|object| object.event("call", &object.state))
        }
        HelperEvent::Ended { resource, helper, status } => named(resource, helper)
            .map(|object| object.event("response", &Keys::default().with("status", status))),
        HelperEvent::Missed(_) => None,
    }
}

/// Whether this node could be made Primary as things are: nobody is, and all of its disks are
/// UpToDate.
fn may_promote(resource: &ResourceStatus) -> bool {
    let primary = [resource.role, resource.peer.role].contains(&Role::Primary);
    let good =
        |volume: &VolumeStatus| volume.disk == DiskState::UpToDate && !volume.suspended.any();
    !primary && !resource.restoring && resource.volumes.iter().all(good)
}

/// How good a Primary this node would be, as DRBD 9 counts: 10000 if every device has a disk, 100 for
/// each that is UpToDate, and the number of UpToDate copies.
fn promotion_score(resource: &ResourceStatus) -> u64 {
    const MOST: u64 = 99;
    let volumes = || resource.volumes.iter();
    let up_to_date = |disk: DiskState| u64::from(disk == DiskState::UpToDate);
    let disks = volumes().all(|volume| volume.disk > DiskState::Failed);
    let good: u64 = volumes().map(|volume| up_to_date(volume.disk)).sum();
    let copies = volumes().map(|v| up_to_date(v.disk) + up_to_date(v.peer_disk)).min();
    10_000 * u64::from(disks) + 100 * good.min(MOST) + copies.unwrap_or(0).min(MOST)
}

fn resource_itself(resource: &ResourceStatus, statistics: bool) -> Object {
    let mut object = Object::new("resource", Keys::default().with("name", &resource.name));
    object.state = Keys::default()
        .with("role", resource.role)
        .with("suspended", suspended(resource))
        .with("force-io-failures", "no")
        .with("may_promote", yes_no(may_promote(resource)))
        .with("promotion_score", promotion_score(resource))
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

/// The one path of the connection.
fn path(resource: &ResourceStatus) -> Object {
    let address = |address: SocketAddr| {
        format!("{}:{address}", if address.is_ipv4() { "ipv4" } else { "ipv6" })
    };
    let name = peer_name(resource)
        .with("local", address(resource.address))
        .with("peer", address(resource.peer.address));
    let mut object = Object::new("path", name);
    let established = resource.peer.connection == ConnectionState::Connected;
    object.state = Keys::default().with("established", yes_no(established));
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
        .with("peer-client", "no")
        .with("resync-suspended", volume.resync_suspended.words())
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
        let lines_of = |events: &[Event]| events.iter().map(Event::text).collect::<Vec<_>>();
        let mut lines = lines_of(&dump(&shown));
        for picture in pictures {
            lines.push("---".to_owned());
            lines.extend(lines_of(&changes(&shown, &picture, scope.full)));
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
            changes(&old, &new, false).iter().map(Event::text).collect::<Vec<_>>()
        };
        assert_eq!(change(&Scope::default()), Vec::<String>::new());
        insta::assert_snapshot!(change(&statistics()).join("\n"), @r"
        change device name:r0 volume:0 minor:1 conflicts-won:2 superseded:1 conflicts-won-same:2
        change peer-device name:r0 peer-node-id:1 conn-name:beta volume:0 sent:1048512
        ");
    }

    #[test]
    fn a_full_change_has_all_keys() {
        let (old, mut new) = (samples::both_primary(), samples::both_primary());
        new.volumes[0].peer_disk = DiskState::Inconsistent;
        let [old, new] =
            [old, new].map(|status| objects(std::slice::from_ref(&status), &Scope::default()));
        let told = |full| {
            let events = changes(&old, &new, full);
            events.last().map(Event::text).expect("the peer device has changed")
        };
        assert!(!told(false).contains("replication:"), "{}", told(false));
        assert!(told(true).contains(" replication:Established peer-disk:Inconsistent "));
    }

    #[test]
    fn lines_of_json_have_the_same_keys() {
        let mut status = samples::both_primary();
        status.name = "7".into();
        let events = dump(&objects(&[status], &Scope::default()));
        let lines: Vec<String> = events.iter().map(|event| event.json(None)).collect();
        insta::assert_snapshot!(lines.join("\n"));
        for (event, line) in events.iter().zip(&lines) {
            let value: Value = serde_json::from_str(line).expect("JSON");
            let keys = value.as_object().expect("an object").len();
            assert_eq!(keys, 2 + event.keys.len(), "{line}");
        }
        let stamped = Event::END_OF_DUMP.json(Some("2026"));
        let expected = json!({"timestamp": "2026", "event": "exists", "object": "-"});
        assert_eq!(serde_json::from_str::<Value>(&stamped).expect("JSON"), expected);
    }

    #[test]
    fn only_who_has_good_data_and_no_primary_beside_it_may_be_promoted() {
        let secondary = |mut status: ResourceStatus| {
            (status.role, status.peer.role) = (Role::Secondary, Role::Secondary);
            status
        };
        let good = secondary(samples::both_primary());
        assert!(may_promote(&good) && !may_promote(&samples::both_primary()));
        assert_eq!(promotion_score(&good), 10_102);
        let bad = secondary(samples::just_created());
        assert!(!may_promote(&bad));
        assert_eq!(promotion_score(&bad), 10_000);
        let diskless = secondary(samples::diskless());
        assert!(!may_promote(&diskless));
        assert_eq!(promotion_score(&diskless), 1);
        assert_eq!(promotion_score(&secondary(samples::connecting())), 10_101);
        let mut two = secondary(samples::two_volumes());
        assert_eq!(promotion_score(&two), 10_202);
        two.volumes[1].suspended.user = true;
        assert!(!may_promote(&two));
    }

    #[test]
    fn what_was_not_asked_for_is_not_shown() {
        let other = ResourceStatus { name: "r1".into(), ..samples::both_primary() };
        let picture = vec![samples::two_volumes(), other];
        let only = |name: &str, volume| {
            let chosen = Chosen { name: name.into(), volume };
            Scope { only: Some(vec![chosen]), ..Scope::default() }
        };
        let one = dump(&objects(&picture, &only("r0", Some(VolumeId(1)))));
        assert_eq!(one.len(), 6, "{one:?}");
        assert!(one[3].text().starts_with("exists device name:r0 volume:1 minor:11 "), "{one:?}");
        assert_eq!(dump(&objects(&picture, &only("r1", None))).len(), 6);
        assert_eq!(dump(&objects(&picture, &only("r2", None))), [Event::END_OF_DUMP]);
        let called = HelperEvent::Called { resource: "r1".into(), helper: "split-brain".into() };
        assert_eq!(helper(&called, &only("r0", None)), None);
        let line = helper(&called, &only("r1", None)).map(|event| event.text());
        assert_eq!(line.as_deref(), Some("call helper name:r1 helper:split-brain"));
    }

    #[test]
    fn the_end_of_a_handler_has_its_status() {
        let (resource, name) = ("r0".to_owned(), "local-io-error".to_owned());
        let ended = HelperEvent::Ended { resource, helper: name, status: 3 };
        let line = helper(&ended, &Scope::default()).map(|event| event.text());
        let expected = "response helper name:r0 helper:local-io-error status:3";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(helper(&HelperEvent::Missed(3), &Scope::default()), None);
    }
}
