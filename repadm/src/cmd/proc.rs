//! `proc`.

use crate::context::{Context, volumes};
use crate::outcome::Outcome;
use crate::render::proc::{Row, text};
use crate::target::{Chosen, Target};
use control::{ResourceStatus, VolumeStatus};

/// Every volume of this node, whether it is up or not; or those that are named.
pub(super) fn run(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let statuses = context.statuses()?;
    let everything = targets.is_empty() || targets.contains(&Target::All);
    // Who only looks at what is up needs no configuration.
    let chosen = match context.choose(targets) {
        Ok(chosen) => chosen,
        Err(_) if everything => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let find = |name: &str| statuses.iter().find(|status| status.name == name);
    let mut rows = Vec::new();
    for chosen in &chosen {
        match find(&chosen.name) {
            Some(status) => rows.extend(up(status, chosen)),
            None => {
                let mine = context.configured(&chosen.name)?;
                let down = volumes(mine.me, chosen).map(|v| Row { minor: v.minor, up: None });
                rows.extend(down);
            }
        }
    }
    if everything {
        let named = |name: &str| chosen.iter().any(|chosen| chosen.name == name);
        for status in statuses.iter().filter(|status| !named(&status.name)) {
            rows.extend(up(status, &Chosen { name: status.name.clone(), volume: None }));
        }
    }
    let shown = text(&rows);
    context.out.print(&shown)
}

fn up<'s>(status: &'s ResourceStatus, chosen: &Chosen) -> Vec<Row<'s>> {
    let row = |volume: &'s VolumeStatus| Row { minor: volume.minor, up: Some((status, volume)) };
    status.volumes.iter().filter(|volume| chosen.includes(volume.volume)).map(row).collect()
}
