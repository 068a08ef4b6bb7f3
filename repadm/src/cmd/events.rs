//! `events2`.

use crate::context::{Context, from_daemon, note};
use crate::outcome::Outcome;
use crate::render::events::{Event, Object, Scope, changes, dump, helper, objects};
use crate::render::time::iso;
use crate::target::Target;
use control::{Command, HelperEvent, Reply};
use std::time::SystemTime;

/// How it is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Only what there is.
    pub(super) now: bool,
    /// With sizes and counters.
    pub(super) statistics: bool,
    /// Each line with the time.
    pub(super) timestamps: bool,
    /// Of what has changed, all of it.
    pub(super) full: bool,
}

/// Without targets, or with `all`, everything, whatever is configured. What is named need not be up
/// yet.
pub(super) fn run(context: &mut Context<'_>, manner: Manner, targets: &[Target]) -> Outcome {
    let everything = targets.is_empty() || targets.contains(&Target::All);
    let only = if everything { None } else { Some(context.choose(targets)?) };
    let scope = Scope { only, statistics: manner.statistics, full: manner.full };
    if manner.now {
        let statuses = context.statuses()?;
        return print(context, manner, &dump(&objects(&statuses, &scope)));
    }
    let mut client = context.client()?;
    client.ask(Command::Watch).map_err(from_daemon)?;
    let mut shown: Option<Vec<Object>> = None;
    while !context.out.is_gone() {
        let lines = match client.reply().map_err(from_daemon)? {
            Reply::Status(statuses) => {
                let new = objects(&statuses, &scope);
                let lines = shown.map_or_else(|| dump(&new), |old| changes(&old, &new, scope.full));
                shown = Some(new);
                lines
            }
            Reply::Helper(HelperEvent::Missed(count)) => {
                note(&format!("{count} calls and ends of helpers were missed: read faster"));
                Vec::new()
            }
            Reply::Helper(event) => helper(&event, &scope).into_iter().collect(),
            Reply::Note(text) => {
                note(&text);
                Vec::new()
            }
            // For who waits.
            Reply::Waiting(_) => continue,
            Reply::Done(_) => return Ok(()),
            Reply::Failed(failure) => return Err(from_daemon(failure)),
        };
        print(context, manner, &lines)?;
    }
    Ok(())
}

fn print(context: &mut Context<'_>, manner: Manner, events: &[Event]) -> Outcome {
    for event in events {
        let stamp = manner.timestamps.then(|| iso(unix_micros()));
        let line = match (context.global.json, stamp) {
            (true, stamp) => event.json(stamp.as_deref()),
            (false, Some(stamp)) => format!("{stamp} {}", event.text()),
            (false, None) => event.text(),
        };
        context.out.line(line)?;
    }
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command line is a driver: it tells a person when a line was printed"
)]
fn unix_micros() -> u64 {
    // A clock before 1970 is no clock.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
