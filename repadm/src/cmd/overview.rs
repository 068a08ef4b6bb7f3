//! `overview`.

use super::used_by::Machine;
use crate::cli::ColorOption;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::render::color::painted;
use crate::render::overview::{Row, Up, text};
use crate::render::status_json;
use crate::target::{Chosen, Target};
use control::{ResourceStatus, VolumeStatus};
use rustix::termios::isatty;
use std::time::Duration;

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// A line for each volume; with `watch`, again and again until interrupted.
pub(super) fn run(
    context: &mut Context<'_>,
    watch: bool,
    color: ColorOption,
    targets: &[Target],
) -> Outcome {
    let chosen = context.choose(targets)?;
    let everything = targets.is_empty() || targets.contains(&Target::All);
    loop {
        let mut picture = picture(context, &chosen, everything)?;
        if color.is_wanted() && !context.global.json {
            picture = painted(&picture);
        }
        if watch && isatty(std::io::stdout()) {
            context.out.print(CLEAR_SCREEN)?;
        }
        context.out.print(&picture)?;
        if !watch || context.out.is_gone() {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn picture(context: &Context<'_>, chosen: &[Chosen], everything: bool) -> Outcome<String> {
    let statuses = context.statuses()?;
    if context.global.json {
        let shown: Vec<_> = statuses
            .into_iter()
            .filter_map(|status| {
                let chosen = chosen.iter().find(|chosen| chosen.name == status.name);
                match chosen {
                    Some(chosen) => Some((status, chosen.volume)),
                    None => everything.then_some((status, None)),
                }
            })
            .collect();
        return Ok(status_json::pretty(&status_json::array(&shown)));
    }
    Ok(text(&rows(context, chosen, everything, &statuses)?))
}

/// A row for each volume that is meant.
pub(super) fn rows(
    context: &Context<'_>,
    chosen: &[Chosen],
    everything: bool,
    statuses: &[ResourceStatus],
) -> Outcome<Vec<Row>> {
    let machine = Machine::here();
    let mut rows = Vec::new();
    for chosen in chosen {
        match statuses.iter().find(|status| status.name == chosen.name) {
            Some(status) => rows.extend(up(status, chosen, &machine)),
            None => rows.extend(down(context, chosen)?),
        }
    }
    if everything {
        let named = |status: &&ResourceStatus| chosen.iter().any(|c| c.name == status.name);
        for status in statuses.iter().filter(|status| !named(status)) {
            let all = Chosen { name: status.name.clone(), volume: None };
            rows.extend(up(status, &all, &machine));
        }
    }
    Ok(rows)
}

fn up(status: &ResourceStatus, chosen: &Chosen, machine: &Machine) -> Vec<Row> {
    let row = |volume: &VolumeStatus| {
        let uses = volume.device.as_ref().map(|device| machine.uses(device)).unwrap_or_default();
        Row {
            minor: volume.minor,
            resource: status.name.clone(),
            volume: volume.volume,
            up: Some(Up::new(status, volume, uses)),
        }
    };
    status.volumes.iter().filter(|volume| chosen.includes(volume.volume)).map(row).collect()
}

fn down(context: &Context<'_>, chosen: &Chosen) -> Outcome<Vec<Row>> {
    let mine = context.configured(&chosen.name)?;
    let rows = crate::context::volumes(mine.me, chosen).map(|volume| Row {
        minor: volume.minor,
        resource: chosen.name.clone(),
        volume: volume.id,
        up: None,
    });
    Ok(rows.collect())
}
