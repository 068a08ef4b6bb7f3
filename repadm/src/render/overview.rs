//! `overview`: a line for each volume, with who uses it and how far a resync is.
//!
//! ```text
//!  1:r0/0  Connected Primary/Primary UpToDate/UpToDate C r-----  /srv/mail ext4
//! ```

use super::{pairs, proc, progress};
use control::{ResourceStatus, VolumeStatus};
use std::fmt::Write as _;
use types::{ConflictCounts, ConflictKind, VolumeId};

/// A volume, and what is known of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The minor number of its device, if it has one.
    pub minor: Option<u32>,
    /// Its resource.
    pub resource: String,
    /// Its number.
    pub volume: VolumeId,
    /// What it is doing; nothing if it is not up.
    pub up: Option<Up>,
}

/// What a volume that is up is doing.
#[derive(Clone, Debug)]
pub struct Up {
    connection: String,
    roles: String,
    disks: String,
    flags: String,
    used_by: String,
    progress: Option<String>,
    remarks: Vec<String>,
}

impl Up {
    /// Of that volume; `uses` is what uses its device on this machine.
    pub fn new(resource: &ResourceStatus, volume: &VolumeStatus, uses: Vec<String>) -> Self {
        let mut used_by = uses;
        used_by.extend(clients(volume));
        Self {
            connection: pairs::connection(resource, volume).to_owned(),
            roles: pairs::roles(resource),
            disks: pairs::disks(volume),
            flags: format!("{} {}", proc::protocol(resource), proc::flags(volume)),
            used_by: used_by.join(" "),
            progress: (volume.resync.as_ref())
                .map(|resync| progress::line(resync, progress::is_verify(volume))),
            remarks: (resource.split_brain.iter())
                .map(|_| super::split_brain_in_short(&resource.name))
                .chain(conflicts(volume))
                .collect(),
        }
    }
}

/// How often both nodes' clients wrote one place at once, if they did.
fn conflicts(volume: &VolumeStatus) -> Option<String> {
    let one = |whose: &str, counts: &ConflictCounts| {
        let kinds = ConflictKind::ALL.into_iter().filter(|kind| counts.of(*kind) > 0);
        let kinds: Vec<_> =
            kinds.map(|kind| format!("{} {}", counts.of(kind), kind.as_str())).collect();
        (!kinds.is_empty())
            .then(|| format!("{whose} prevailed in {} ({})", counts.total(), kinds.join(", ")))
    };
    let won = one("ours", &volume.counters.conflicts_won);
    let lost = one("the peer's", &volume.counters.conflicts_lost);
    let said: Vec<_> = won.into_iter().chain(lost).collect();
    (!said.is_empty()).then(|| format!("concurrent writes: {}", said.join(", ")))
}

/// How many clients are named; the others are counted.
const CLIENTS_NAMED: usize = 2;

fn clients(volume: &VolumeStatus) -> Option<String> {
    let mut peers: Vec<&str> =
        volume.clients.iter().take(CLIENTS_NAMED).map(|client| client.peer.as_str()).collect();
    let more = volume.clients.len().saturating_sub(CLIENTS_NAMED);
    let rest = format!("and {more} more");
    if more > 0 {
        peers.push(&rest);
    }
    (!peers.is_empty()).then(|| format!("nbd: {}", peers.join(", ")))
}

/// All of them, each column as wide as its widest word.
pub fn text(rows: &[Row]) -> String {
    let minor = |row: &Row| row.minor.map_or_else(|| "-".to_owned(), |minor| minor.to_string());
    let name = |row: &Row| format!("{}/{}", row.resource, row.volume);
    let column = |of: fn(&Up) -> &str| move |row: &Row| row.up.as_ref().map_or(".", of).to_owned();
    let connection = |row: &Row| match &row.up {
        Some(up) => up.connection.clone(),
        None => pairs::UNCONFIGURED.to_owned(),
    };
    let roles = column(|up| &up.roles);
    let disks = column(|up| &up.disks);
    let width = |of: &dyn Fn(&Row) -> String| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
    };
    let widths = [width(&minor), width(&name), width(&connection), width(&roles), width(&disks)];
    let mut text = String::new();
    for row in rows {
        let line = format!(
            " {:>w0$}:{:<w1$}  {:<w2$} {:<w3$} {:<w4$}",
            minor(row),
            name(row),
            connection(row),
            roles(row),
            disks(row),
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
            w4 = widths[4],
        );
        match &row.up {
            Some(up) => {
                let line = format!("{line} {}  {}", up.flags, up.used_by);
                let _ = writeln!(text, "{}", line.trim_end());
                for below in up.progress.iter().chain(&up.remarks) {
                    let _ = writeln!(text, "    {below}");
                }
            }
            None => {
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for (_, status) in samples::all() {
            for volume in &status.volumes {
                let used = volume.clients.len() == 2;
                let uses = used.then(|| "/srv/mail ext4".to_owned()).into_iter().collect();
                rows.push(Row {
                    minor: volume.minor,
                    resource: status.name.clone(),
                    volume: volume.volume,
                    up: Some(Up::new(&status, volume, uses)),
                });
            }
        }
        rows
    }

    #[test]
    fn every_state_in_columns() {
        let mut rows = rows();
        rows.push(Row { minor: None, resource: "not-up".into(), volume: VolumeId(0), up: None });
        insta::assert_snapshot!(text(&rows));
    }

    #[test]
    fn a_lone_line_is_drbds() {
        insta::assert_snapshot!(text(&rows()[..1]), @" 1:r0/0  Connected Primary/Primary UpToDate/UpToDate C r-----");
    }

    #[test]
    fn io_that_stands_still_is_the_first_flag_for_each_reason() {
        type Why = fn(&mut control::Suspended) -> &mut bool;
        let reasons: [Why; 3] =
            [|why| &mut why.user, |why| &mut why.no_data, |why| &mut why.fencing];
        for why in reasons {
            let mut status = samples::both_primary();
            *why(&mut status.volumes[0].suspended) = true;
            assert_eq!(Up::new(&status, &status.volumes[0], Vec::new()).flags, "C s-----");
        }
    }

    #[test]
    fn many_clients_are_counted() {
        let mut volume = samples::two_volumes().volumes.remove(1);
        volume.clients.extend_from_within(..);
        assert_eq!(
            clients(&volume).as_deref(),
            Some("nbd: process 4242, 10.0.0.5:40112, and 2 more")
        );
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(text(&[]), "");
    }
}
