//! `auto-promote yes`: a node is Primary as long as it has clients.

use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::runtime;
use crate::nbd_client::{Client, Wire, name_and_requests};

/// Fixed newstyle and no zeroes.
const FLAGS: u32 = 3;
const GO: u32 = 7;

/// A client that comes makes the node Primary, and the last that goes makes it Secondary; also one that
/// hangs up while the node is becoming Primary for it.
pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(16 * MIB);
    setup.options.push("auto-promote yes".to_owned());
    let cluster = Cluster::one_primary(setup)?;
    let alpha = &cluster.alpha;
    alpha.repadm(&["secondary", "r0"])?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut client = Client::connect(&alpha.address(), "r0").await?;
        client.write(0, &[7; 4096], false).await?;
        anyhow::ensure!(alpha.status()?.role() == "Primary", "a client is served by a Secondary");
        client.disconnect().await?;
        anyhow::Ok(())
    })?;
    alpha.wait_for("Secondary without clients", |status| status.role() == "Secondary")?;
    report.line("Primary for a client, Secondary after it");

    let before = promotions(alpha);
    runtime.block_on(async {
        let mut wire = Wire::greeted(&alpha.address(), FLAGS).await?;
        let data = name_and_requests("r0", &[]);
        wire.send_option(GO, data.len() as u32, &data).await
    })?;
    clock::until("a promotion for who has hung up", PATIENCE, || {
        Ok((promotions(alpha) > before).then_some(()))
    })?;
    alpha.wait_for("Secondary after that", |status| status.role() == "Secondary")?;
    cluster.beta.repadm(&["primary", "r0"])?;
    report.line("a client that hangs up while the node becomes Primary for it leaves a Secondary");
    cluster.down_and_compare()?;
    cluster.finish()
}

/// How often the node was told to become Primary.
fn promotions(node: &Node) -> usize {
    node.log().matches("order=Primary").count()
}
