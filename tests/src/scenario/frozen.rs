//! A Secondary stands still for a while, and then goes on as if nothing had been: DP8.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Plan};
use anyhow::Context;
use std::collections::BTreeMap;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup::new(64 * MIB).net("ping-int", "2").net("ping-timeout", "10");
    let cluster = Cluster::one_primary(setup)?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    let load = Load::start(&[alpha.address()], Plan::scattered(8, 8, 3))?;
    load.wait_answered(0, 200)?;
    beta.freeze()?;
    alpha.wait_for("the loss of beta", |status| status.connection() != "Connected")?;
    load.wait_answered(0, 2000).context("alone")?;
    beta.thaw()?;
    cluster.wait_settled()?;
    load.wait_answered(0, 200).context("together again")?;
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    beta.repadm(&["primary", "r0"])?;
    let through_beta = Load::start(&[beta.address()], Plan::scattered(8, 8, 4))?.finish()?;
    through_beta.check(&loaded.last).context("through beta")?;
    report.line(&format!(
        "a Secondary frozen until it was given up, then thawed: {} answers, no error, resync of {} \
         KiB, and it serves nothing old",
        loaded.answered,
        beta.status()?.resync_sent_kib()
    ));
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}
