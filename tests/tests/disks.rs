//! Disks of real daemons: metadata on a device of their own, disks that are exchanged, disks that
//! fail.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tests::cluster::{Cluster, Node, Setup, Status};
use tests::disks::{data_bytes, first_difference};
use tests::load::{runtime, scatter};
use tests::nbd_client::{Address, Client};

const DISK_BYTES: u64 = 32 << 20;
/// Room for the metadata of such a disk: two superblocks, a log, two pages of bitmap.
const META_BYTES: u64 = 64 << 10;

/// A file beside a node's disk.
fn beside(node: &Node, name: &str) -> PathBuf {
    node.disk().with_file_name(name)
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn create(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

/// Changes what both nodes read as their configuration.
fn edit(cluster: &Cluster, change: impl Fn(&str) -> String) {
    for node in cluster.nodes() {
        let text = fs::read_to_string(node.config()).unwrap();
        fs::write(node.config(), change(&text)).unwrap();
    }
}

/// Each host's metadata on a file of its own.
fn external_metadata(cluster: &Cluster) {
    let metas = cluster.nodes().map(|node| beside(node, "meta"));
    metas.iter().for_each(|meta| create(meta, META_BYTES));
    edit(cluster, |text| {
        // The hosts stand in the order of the nodes.
        let text =
            text.replacen("meta-disk internal", &format!("meta-disk {}", quoted(&metas[0])), 1);
        let flexible = format!("flexible-meta-disk {}", quoted(&metas[1]));
        text.replacen("meta-disk internal", &flexible, 1)
    });
}

/// Alpha Primary, both UpToDate.
fn bring_up(cluster: &mut Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes_mut() {
        node.start()?;
        node.repadm(&["create-md", "r0"])?;
        node.repadm(&["up", "r0"])?;
    }
    cluster.alpha.repadm(&["wait-connect", "--wfc-timeout", "60", "r0"])?;
    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    cluster.wait_settled()?;
    Ok(())
}

fn compare_whole_disks(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        node.repadm(&["down", "r0"])?;
    }
    let (alpha, beta) = (cluster.alpha.disk(), cluster.beta.disk());
    anyhow::ensure!(first_difference(&alpha, &beta, DISK_BYTES)?.is_none(), "the disks differ");
    Ok(())
}

#[test]
fn with_metadata_on_another_device_nothing_is_lost_by_a_crash_and_only_marks_are_copied() {
    run_external().unwrap();
}

fn run_external() -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    external_metadata(&cluster);
    bring_up(&mut cluster)?;
    let size = cluster.alpha.status()?.value()["devices"][0]["size"].as_u64();
    assert_eq!(size, Some(DISK_BYTES / 1024), "the whole disk is data");
    let text = cluster.alpha.repadm(&["status", "-v", "r0"])?;
    assert!(text.contains("meta-disk:"), "{text}");

    // The Secondary is away for some writes, in the last block too.
    cluster.beta.kill()?;
    scatter(&cluster.alpha.address(), 64, 8, 3)?;
    let last = vec![0xA7; 4096];
    runtime()?.block_on(async {
        let mut client = Client::connect(&cluster.alpha.address(), "r0").await?;
        client.write(DISK_BYTES - 4096, &last, true).await?;
        client.disconnect().await
    })?;
    // The Primary crashes: its log says what may have been in flight.
    cluster.alpha.kill()?;
    cluster.alpha.start()?;
    cluster
        .alpha
        .wait_for("Primary again", |status| status.role() == "Primary" && !status.is_restoring())?;
    cluster.beta.start()?;
    cluster.wait_settled()?;
    let copied = cluster.alpha.status()?.resync_sent_kib();
    assert!((65 * 4..DISK_BYTES / 1024).contains(&copied), "{copied} KiB copied");
    compare_whole_disks(&cluster)?;
    let mut end = vec![0; 4096];
    let disk = File::open(cluster.beta.disk())?;
    std::os::unix::fs::FileExt::read_exact_at(&disk, &mut end, DISK_BYTES - 4096)?;
    assert!(end == last, "what was answered is on the other disk");
    let dump = cluster.alpha.repadm(&["dump-md", "r0"])?;
    assert!(dump.contains("placement external;") && dump.contains(", 0 set"), "{dump}");
    cluster.finish()
}

#[test]
fn cr7_without_an_activity_log_everything_is_copied_after_the_crash_of_a_primary() {
    run_without_log().unwrap();
}

fn run_without_log() -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    edit(&cluster, |text| text.replacen("  net {", "  disk { al-updates no; }\n  net {", 1));
    bring_up(&mut cluster)?;
    scatter(&cluster.alpha.address(), 64, 100, 3)?;
    let status = cluster.alpha.status()?;
    assert_eq!(status.value()["devices"][0]["al-writes"], 0);
    cluster.alpha.kill()?;
    let dump = cluster.alpha.repadm(&["dump-md", "--force", "r0"])?;
    assert!(dump.contains("al-disabled"), "{dump}");
    cluster.alpha.start()?;
    cluster.wait_settled()?;
    let copied = cluster.alpha.status()?.resync_sent_kib();
    assert_eq!(copied, data_bytes(DISK_BYTES)? / 1024, "all of it");
    cluster.down_and_compare()?;
    cluster.finish()
}

#[test]
fn attach_reads_the_configuration_anew() {
    run_exchange().unwrap();
}

fn run_exchange() -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    bring_up(&mut cluster)?;
    scatter(&cluster.alpha.address(), 64, 100, 3)?;
    let (old, new) = (cluster.beta.disk(), beside(&cluster.beta, "new"));
    create(&new, DISK_BYTES);
    cluster.beta.repadm(&["detach", "r0"])?;
    cluster.beta.wait_for("no disk", |status| status.disk() == "Diskless")?;
    // Its lock is gone: it can be looked into, and used elsewhere.
    assert!(cluster.beta.repadm(&["dump-md", "r0"])?.contains("resource \"r0\";"));
    edit(&cluster, |text| text.replace(&quoted(&old), &quoted(&new)));
    let ran = cluster.beta.try_repadm(&["attach", "r0"])?.ended_with(10)?;
    assert!(ran.err.contains(&format!("disk {}: no metadata", new.display())), "{}", ran.err);
    cluster.beta.repadm(&["create-md", "r0"])?;
    cluster.beta.repadm(&["attach", "r0"])?;
    cluster.beta.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    cluster.wait_settled()?;
    // A restarted daemon knows the new disk.
    cluster.beta.kill()?;
    cluster.beta.start()?;
    cluster.wait_settled()?;
    let path = cluster.beta.status()?.value()["devices"][0]["backing-dev"].clone();
    assert_eq!(path.as_str(), new.to_str());
    for node in cluster.nodes() {
        node.repadm(&["down", "r0"])?;
    }
    let differs = first_difference(&cluster.alpha.disk(), &new, data_bytes(DISK_BYTES)?)?;
    assert_eq!(differs, None);
    cluster.finish()
}

#[test]
fn rs11_a_disk_that_was_put_back_is_refused_and_both_nodes_say_so() {
    run_put_back().unwrap();
}

fn run_put_back() -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    bring_up(&mut cluster)?;
    cluster.beta.repadm(&["down", "r0"])?;
    let (disk, backup) = (cluster.beta.disk(), beside(&cluster.beta, "backup"));
    fs::copy(&disk, &backup)?;
    cluster.beta.repadm(&["up", "r0"])?;
    cluster.wait_settled()?;
    scatter(&cluster.alpha.address(), 64, 8, 3)?;
    // Who goes first hears nothing more of the other.
    for node in [&cluster.alpha, &cluster.beta] {
        node.repadm(&["down", "r0"])?;
    }
    fs::copy(&backup, &disk)?;
    for node in cluster.nodes() {
        node.repadm(&["up", "r0"])?;
    }
    for node in cluster.nodes() {
        let status = node.wait_for("a refusal", |status| !status.last_refusal().is_empty())?;
        let told = status.last_refusal();
        assert!(told.contains("the disk of node 1 is older than it was"), "{told}");
        assert!(node.log().contains("snapshot or a backup"), "{}", node.name());
    }
    // The way out.
    cluster.beta.repadm(&["down", "r0"])?;
    cluster.beta.repadm(&["create-md", "--force", "r0"])?;
    cluster.beta.repadm(&["up", "r0"])?;
    cluster.alpha.repadm(&["connect", "r0"])?;
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Reads of a file that was made shorter under the daemon fail, until it is written again. (A hole
/// would read as zeros.)
fn cut(node: &Node) {
    File::options().write(true).open(node.disk()).unwrap().set_len(4096).unwrap();
}

#[test]
fn io7_what_the_disk_cannot_read_is_served_by_the_peer_and_repaired() {
    run_repair().unwrap();
}

fn run_repair() -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    external_metadata(&cluster);
    bring_up(&mut cluster)?;
    scatter(&cluster.alpha.address(), DISK_BYTES / 4096, 1, 3)?;
    let before = read(&cluster)?;
    cut(&cluster.alpha);
    assert!(read(&cluster)? == before, "the peer serves what the disk has lost");
    let repaired = |status: &Status| {
        let device = &status.value()["devices"][0];
        let count = |name: &str| device[name].as_u64().unwrap();
        status.is_settled() && count("read-errors") > 0 && count("repaired-blocks") > 0
    };
    cluster.alpha.wait_for("what was read is repaired", repaired)?;
    assert!(cluster.alpha.log().contains("the device is shorter"), "what failed is in the log");
    compare_whole_disks(&cluster)?;
    cluster.finish()
}

#[test]
fn io4_a_disk_that_fails_without_the_peer_runs_the_handler_and_requests_wait_for_data() {
    run_failure().unwrap();
}

fn run_failure() -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    external_metadata(&cluster);
    let told = beside(&cluster.alpha, "told");
    edit(&cluster, |text| {
        let command =
            format!("env | grep ^DRBD_ > {0}.new; mv {0}.new {0}; exit 7", told.display());
        let more = format!(
            "  disk {{ on-io-error call-local-io-error; }}\n  \
             options {{ on-no-data-accessible suspend-io; }}\n  \
             handlers {{ local-io-error \"{command}\"; }}\n  net {{"
        );
        text.replacen("  net {", &more, 1)
    });
    bring_up(&mut cluster)?;
    scatter(&cluster.alpha.address(), 64, 100, 3)?;
    let before = read(&cluster)?;
    cluster.alpha.repadm(&["disconnect", "r0"])?;
    cut(&cluster.alpha);
    let address = cluster.alpha.address();
    let reader = std::thread::spawn(move || read_from(&address));
    failed_and_suspended(&cluster, &told)?;
    cluster.alpha.repadm(&["connect", "r0"])?;
    let waited = reader.join().expect("the reader does not panic")?;
    assert!(waited == before, "what waited is served by the peer");
    assert_eq!(cluster.alpha.status()?.value()["suspended-no-data"], false);
    // A new disk in its place.
    create(&cluster.alpha.disk(), DISK_BYTES);
    cluster.alpha.repadm(&["create-md", "--force", "r0"])?;
    cluster.alpha.repadm(&["attach", "r0"])?;
    cluster.alpha.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    cluster.wait_settled()?;
    assert!(read(&cluster)? == before);
    compare_whole_disks(&cluster)?;
    cluster.finish()
}

fn failed_and_suspended(cluster: &Cluster, told: &Path) -> anyhow::Result<()> {
    let alpha = &cluster.alpha;
    alpha.wait_for("requests that wait", |status| {
        status.disk() == "Diskless" && status.value()["suspended-no-data"] == true
    })?;
    assert!(alpha.repadm(&["status", "r0"])?.contains("suspended:no-data"));
    alpha.wait_for("the handler", |_| told.exists())?;
    let told = fs::read_to_string(told)?;
    for line in ["DRBD_RESOURCE=r0", "DRBD_MINOR=1", "DRBD_PEER=beta", "DRBD_VOLUME=0"] {
        assert!(told.lines().any(|found| found == line), "{line} in {told}");
    }
    let exit_code = "handler ended: exit code 7";
    alpha.wait_for("its exit code in the log", |_| alpha.log().contains(exit_code))?;
    Ok(())
}

/// The whole device, at alpha.
fn read(cluster: &Cluster) -> anyhow::Result<Vec<u8>> {
    read_from(&cluster.alpha.address())
}

fn read_from(address: &Address) -> anyhow::Result<Vec<u8>> {
    const PIECE: u64 = 1 << 20;
    runtime()?.block_on(async {
        let mut client = Client::connect(address, "r0").await?;
        let mut all = Vec::new();
        for at in (0..DISK_BYTES).step_by(PIECE as usize) {
            all.extend_from_slice(&client.read(at, PIECE as u32).await?);
        }
        client.disconnect().await?;
        Ok(all)
    })
}
