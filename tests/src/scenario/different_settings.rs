//! Settings that must be the same on both nodes, and are not.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup, Status};

fn setup() -> Setup {
    Setup::new(8 * MIB).net("after-sb-1pri", "consensus")
}

/// Both nodes refuse, and say which setting it is and what each has.
pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::connected(setup())?;
    let one_primary = Setup { two_primaries: false, ..setup() };
    let local = || setup().net("after-sb-0pri", "discard-local");
    for (name, alpha, beta, values) in [
        (
            "after-sb-1pri",
            setup(),
            setup().net("after-sb-1pri", "discard-secondary"),
            ["consensus", "discard-secondary"],
        ),
        ("allow-two-primaries", setup(), one_primary, ["yes", "no"]),
        ("always-asbp", setup(), setup().net("always-asbp", "yes"), ["no", "yes"]),
        // In one file for both nodes each would discard the other's.
        ("after-sb-0pri", local(), local(), ["discard-node-alpha", "discard-node-beta"]),
    ] {
        for (node, setup) in cluster.nodes().into_iter().zip([alpha, beta]) {
            node.repadm(&["down", "r0"])?;
            cluster.configure(node, &setup)?;
        }
        for node in cluster.nodes() {
            node.repadm(&["up", "r0"])?;
        }
        let tells = |text: &str| text.contains(name) && values.iter().all(|it| text.contains(it));
        // Whoever waits is told, and does not wait for what will not come.
        let ran = cluster.alpha.try_repadm(&["wait-connect", "--wfc-timeout", "60", "r0"])?;
        let ran = ran.ended_with(11)?;
        anyhow::ensure!(tells(&ran.err), "{}", ran.err);
        for node in cluster.nodes() {
            let told = |status: &Status| tells(status.last_refusal());
            let status = node.wait_for("a refusal that shows both values", told)?;
            anyhow::ensure!(status.connection() != "Connected", "{}", status.brief());
            let logged = node.log().lines().any(tells);
            anyhow::ensure!(logged, "{}'s log does not tell it", node.name());
            report.line(&format!("{}: «{}»", node.name(), status.last_refusal()));
        }
    }
    cluster.finish()
}
