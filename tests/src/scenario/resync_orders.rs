//! What an operator orders about resyncs, with real daemons: `pause-sync` on either side and over a
//! restart (RS5), `invalidate` under a load on both nodes, `invalidate-remote`, `resync-after`, `csums-alg`
//! (RS7), and `new-current-uuid --clear-bitmap` of two fresh disks.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup, Status};
use crate::load::{Load, Plan};
use std::collections::BTreeMap;

const DISK_BYTES: u64 = 24 * MIB;
/// `repadm` exits with it: refused in this state.
const STATE: i32 = 11;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(DISK_BYTES))?;
    pauses(&mut cluster)?;
    report.line("paused on both sides, over a SIGKILL of the target, and seen with its causes");
    under_load(&cluster)?;
    report.line("invalidate of a Primary under load on both nodes: no error, linearizable");
    remote(&cluster)?;
    report.line("invalidate-remote: refused while the peer is Primary, else all is copied");
    cluster.down_and_compare()?;
    cluster.finish()?;
    one_after_the_other()?;
    report.line("resync-after: the second volume waits for the first, and says so");
    compared()?;
    report.line("csums-alg: a copy that was given up and is good is compared, and not copied");
    left_out()?;
    report.line("new-current-uuid --clear-bitmap: both UpToDate, and nothing was copied");
    Ok(())
}

fn pauses(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.beta.repadm(&["pause-sync", "r0"])?;
    cluster.beta.repadm(&["invalidate", "r0"])?;
    let paused = |node: &Node, state: &str, cause: &str| {
        node.wait_for(state, |s| s.replication() == state && suspended(s) == cause).map(drop)
    };
    paused(&cluster.beta, "PausedSyncT", "user")?;
    paused(&cluster.alpha, "PausedSyncS", "peer")?;
    let proc = cluster.beta.repadm(&["proc", "r0"])?;
    anyhow::ensure!(proc.contains("cs:PausedSyncT") && proc.contains("r--u--"), "{proc}");
    cluster.alpha.repadm(&["pause-sync", "r0"])?;
    paused(&cluster.alpha, "PausedSyncS", "user,peer")?;
    cluster.beta.kill()?;
    cluster.beta.start()?;
    paused(&cluster.beta, "PausedSyncT", "user,peer")?;
    cluster.alpha.repadm(&["resume-sync", "r0"])?;
    paused(&cluster.beta, "PausedSyncT", "user")?;
    // Done again it is done, and nothing else.
    cluster.beta.repadm(&["pause-sync", "r0"])?;
    cluster.beta.repadm(&["resume-sync", "r0"])?;
    cluster.wait_settled()?;
    cluster.beta.wait_for("the role again", |s| s.role() == "Primary" && !s.is_restoring())?;
    anyhow::ensure!(suspended(&cluster.beta.status()?) == "no", "it still says paused");
    Ok(())
}

fn suspended(status: &Status) -> &str {
    let peer = &status.value()["connections"][0]["peer_devices"][0];
    peer["resync-suspended"].as_str().unwrap_or_default()
}

fn under_load(cluster: &Cluster) -> anyhow::Result<()> {
    let addresses = cluster.nodes().map(Node::address);
    let load = Load::start(&addresses, Plan::scattered(4, 6, 11))?;
    load.wait_answered(1, 100)?;
    cluster.beta.repadm(&["invalidate", "r0"])?;
    load.wait_answered(1, 300)?;
    cluster.wait_settled()?;
    load.wait_answered(1, 100)?;
    load.finish()?.check(&BTreeMap::new())?;
    let sent = cluster.beta.status()?.resync_sent_kib();
    anyhow::ensure!(sent >= (DISK_BYTES - 2 * MIB) >> 10, "{sent} KiB of the disk were copied");
    Ok(())
}

fn remote(cluster: &Cluster) -> anyhow::Result<()> {
    let refused = cluster.alpha.try_repadm(&["invalidate-remote", "r0"])?.ended_with(STATE)?;
    anyhow::ensure!(refused.err.contains("repadm invalidate r0"), "{refused}");
    cluster.beta.repadm(&["secondary", "r0"])?;
    cluster.alpha.repadm(&["invalidate-remote", "r0"])?;
    cluster.beta.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    cluster.wait_settled()?;
    Ok(())
}

fn one_after_the_other() -> anyhow::Result<()> {
    let setup = Setup { volumes: 2, ..Setup::new(DISK_BYTES) };
    let cluster = Cluster::one_primary(setup)?;
    let after = |node: &Node| -> anyhow::Result<()> {
        let text = std::fs::read_to_string(node.config())?;
        // The last volume of each host comes after the first.
        let text = text.replace("volume 1 {", "volume 1 { disk { resync-after r0/0; }");
        std::fs::write(node.config(), text)?;
        node.repadm(&["adjust", "r0"]).map(drop)
    };
    cluster.nodes().into_iter().try_for_each(after)?;
    cluster.beta.repadm(&["pause-sync", "r0/0"])?;
    cluster.beta.repadm(&["invalidate", "r0/0"])?;
    let second = |what: &str, key: &str, word: &str| {
        cluster.beta.wait_for(what, |status| {
            let peer = &status.value()["connections"][0]["peer_devices"][1];
            peer[key].as_str().unwrap_or_default().contains(word)
        })
    };
    second("the second to be told to wait", "resync-suspended", "dependency")?;
    cluster.beta.repadm(&["invalidate", "r0/1"])?;
    second("the second to wait", "replication-state", "PausedSyncT")?;
    cluster.beta.repadm(&["resume-sync", "r0/0"])?;
    cluster.beta.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    cluster.finish()
}

/// RS7: all of a copy is marked, and none of it differs; then the same under a load on both nodes.
fn compared() -> anyhow::Result<()> {
    let setup = Setup::new(DISK_BYTES).net("csums-alg", "xxh3");
    let cluster = Cluster::two_primaries(setup)?;
    let addresses = cluster.nodes().map(Node::address);
    cluster.beta.repadm(&["invalidate", "r0"])?;
    cluster.wait_settled()?;
    let sent = cluster.beta.status()?.resync_sent_kib();
    anyhow::ensure!(sent == 0, "{sent} KiB were copied, and all was the same");
    let load = Load::start(&addresses, Plan::scattered(4, 6, 13))?;
    load.wait_answered(1, 100)?;
    cluster.beta.repadm(&["invalidate", "r0"])?;
    load.wait_answered(1, 300)?;
    cluster.wait_settled()?;
    load.finish()?.check(&BTreeMap::new())?;
    cluster.down_and_compare()?;
    cluster.finish()
}

fn left_out() -> anyhow::Result<()> {
    let cluster = Cluster::connected(Setup::new(DISK_BYTES))?;
    cluster.alpha.repadm(&["new-current-uuid", "--clear-bitmap", "r0"])?;
    cluster.wait_settled()?;
    for node in cluster.nodes() {
        let status = node.status()?;
        anyhow::ensure!(status.disk() == "UpToDate", "{}", status.brief());
        anyhow::ensure!(status.resync_sent_kib() == 0, "{} KiB sent", status.resync_sent_kib());
    }
    let again = cluster.alpha.try_repadm(&["new-current-uuid", "--clear-bitmap", "r0"])?;
    anyhow::ensure!(again.ended_with(STATE)?.err.contains("just created"), "refused otherwise");
    cluster.alpha.repadm(&["primary", "r0"])?;
    cluster.finish()
}
