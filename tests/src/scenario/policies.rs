//! Both nodes have written alone, and a policy says whose changes go: SB3. Each policy, each in the
//! row that it is for; what both disks hold at the end is compared with what the winner served.

use super::divergence::{DISK_BYTES, Parting, check_disks, meet, part, read_all};
use super::{Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::load::runtime;
use crate::nbd_client::Client;
use anyhow::Context;

const A: usize = 0;
const B: usize = 1;
const NOBODY: [bool; 2] = [false; 2];
const ONLY_A: [bool; 2] = [true, false];
const ONLY_B: [bool; 2] = [false, true];
const BOTH: [bool; 2] = [true; 2];

/// What is configured, who is Primary when they meet again, and whose data both have then: nobody's
/// if it is left to the operator.
#[derive(Clone, Debug)]
struct Case {
    net: Vec<(&'static str, &'static str)>,
    /// Beta's, where it has another than alpha.
    other: Option<(&'static str, &'static str)>,
    parting: Parting,
    primary: [bool; 2],
    /// Whether each Primary has a client.
    in_use: bool,
    winner: Option<usize>,
    /// The policy has an answer, but `rr-conflict` forbids it.
    forbidden: bool,
    /// The Primary that has to give way by `call-pri-lost-after-sb`: it is demoted, or, with a
    /// client, the handler of that name runs.
    loser: Option<usize>,
}

impl Case {
    fn new(
        net: &[(&'static str, &'static str)],
        primary: [bool; 2],
        winner: Option<usize>,
    ) -> Self {
        Self {
            net: net.to_vec(),
            other: None,
            parting: Parting::BothPrimary,
            primary,
            in_use: false,
            winner,
            forbidden: false,
            loser: None,
        }
    }

    fn setup(&self) -> Setup {
        let mut setup = Setup::new(DISK_BYTES);
        for (name, value) in &self.net {
            setup = setup.net(name, value);
        }
        let names = ["initial-split-brain", "split-brain", "pri-lost-after-sb"];
        setup.handlers = names.map(|name| format!("{name} \"exit 0\"")).to_vec();
        setup
    }

    fn started(&self) -> anyhow::Result<Cluster> {
        let setup = self.setup();
        let mut cluster = Cluster::new(setup.clone())?;
        if let Some((name, value)) = self.other {
            cluster.configure(&cluster.beta, &setup.net(name, value))?;
        }
        cluster.bring_up()?;
        cluster.first_sync()?;
        Ok(cluster)
    }
}

fn check_log(node: &Node, ran: bool, handler: &str) -> anyhow::Result<()> {
    let started = format!("handler=\"{handler}\"");
    let found = node.log().contains(&started);
    anyhow::ensure!(found == ran, "{}: {handler} has run: {found}", node.name());
    Ok(())
}

fn show(case: &Case) -> anyhow::Result<()> {
    let mut cluster = case.started()?;
    let images = part(&mut cluster, case.parting, 0)?;
    for (node, primary) in cluster.nodes().iter().zip(case.primary) {
        if !primary {
            node.repadm(&["secondary", "r0"])?;
        }
    }
    let runtime = runtime()?;
    let mut clients = Vec::new();
    for (node, _) in cluster.nodes().iter().zip(case.primary).filter(|(_, is)| case.in_use && *is) {
        clients.push(runtime.block_on(Client::connect(&node.address(), "r0"))?);
    }
    let settled = meet(&cluster)?;
    anyhow::ensure!(settled == case.winner.is_some(), "{}", cluster.describe());
    for (at, node) in cluster.nodes().into_iter().enumerate() {
        let status = node.status()?;
        anyhow::ensure!(status.is_split() != settled, "{}: {}", node.name(), status.brief());
        check_log(node, true, "initial-split-brain")?;
        check_log(node, !settled && !case.forbidden, "split-brain")?;
        let loses = case.loser == Some(at);
        check_log(node, loses && case.in_use, "pri-lost-after-sb")?;
        let demoted = loses && !case.in_use;
        let role = if case.primary[at] && !demoted { "Primary" } else { "Secondary" };
        anyhow::ensure!(status.role() == role, "{}: {}", node.name(), status.brief());
    }
    if let (true, Some(winner)) = (settled, case.winner) {
        // Whoever has a client of the loser's sees the winner's data at once.
        let served = cluster.nodes()[winner];
        if case.primary[winner] {
            let image = runtime.block_on(read_all(served))?;
            anyhow::ensure!(image == images[winner], "{} serves something else", served.name());
        }
    }
    drop(clients);
    let winner = |at| case.winner.unwrap_or(at);
    check_disks(&cluster, [&images[winner(A)], &images[winner(B)]])?;
    cluster.finish()
}

fn show_all(cases: &[Case], report: &mut Report) -> anyhow::Result<()> {
    for case in cases {
        let names: Vec<_> =
            case.net.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let story = format!("{} ({:?}, in use: {})", names.join(", "), case.parting, case.in_use);
        show(case).with_context(|| story.clone())?;
        let outcome = match case.winner {
            Some(winner) => format!("both disks are {}'s", ["alpha", "beta"][winner]),
            None => "both stand alone, each with its own".to_owned(),
        };
        let primaries = case.primary.iter().filter(|is| **is).count();
        report.line(&format!("{primaries} Primaries, {story}: {outcome}"));
    }
    Ok(())
}

const LEAST: (&str, &str) = ("after-sb-0pri", "discard-least-changes");

/// `after-sb-0pri`.
pub(super) fn no_primary(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let of = |value| Case::new(&[("after-sb-0pri", value)], NOBODY, None);
    let cases = [
        of("disconnect"),
        // Both have changed something.
        of("discard-zero-changes"),
        Case { parting: Parting::AlphaCrashed, winner: Some(B), ..of("discard-zero-changes") },
        Case { winner: Some(B), ..of("discard-least-changes") },
        Case { parting: Parting::BetaLater, winner: Some(A), ..of("discard-younger-primary") },
        Case { parting: Parting::BetaLater, winner: Some(B), ..of("discard-older-primary") },
        Case {
            other: Some(("after-sb-0pri", "discard-remote")),
            winner: Some(B),
            ..of("discard-local")
        },
        Case {
            other: Some(("after-sb-0pri", "discard-local")),
            winner: Some(A),
            ..of("discard-remote")
        },
    ];
    show_all(&cases, report)
}

/// `after-sb-1pri`. Without regard to the roles beta would win: it has changed more.
pub(super) fn one_primary(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let of =
        |value, primary, winner| Case::new(&[LEAST, ("after-sb-1pri", value)], primary, winner);
    let mut violently = of("violently-as0p", ONLY_A, Some(B));
    violently.net.push(("rr-conflict", "violently"));
    let pri_lost = |winner| Case { loser: Some(A), ..of("call-pri-lost-after-sb", ONLY_A, winner) };
    let cases = [
        of("disconnect", ONLY_A, None),
        // The Secondary would prevail.
        of("consensus", ONLY_A, None),
        of("consensus", ONLY_B, Some(B)),
        of("discard-secondary", ONLY_A, Some(A)),
        of("discard-secondary", ONLY_B, Some(B)),
        // rr-conflict is disconnect.
        Case { in_use: true, forbidden: true, ..of("violently-as0p", ONLY_A, None) },
        Case { in_use: true, ..violently },
        Case { in_use: true, ..pri_lost(None) },
        pri_lost(Some(B)),
    ];
    show_all(&cases, report)
}

/// `after-sb-2pri`.
pub(super) fn two_primaries(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let of = |value, winner| Case::new(&[LEAST, ("after-sb-2pri", value)], BOTH, winner);
    let mut violently = of("violently-as0p", Some(B));
    violently.net.push(("rr-conflict", "violently"));
    let pri_lost = |winner| Case { loser: Some(A), ..of("call-pri-lost-after-sb", winner) };
    let cases = [
        of("disconnect", None),
        Case { in_use: true, forbidden: true, ..of("violently-as0p", None) },
        Case { in_use: true, ..violently },
        Case { in_use: true, ..pri_lost(None) },
        pri_lost(Some(B)),
    ];
    show_all(&cases, report)
}
