//! `status`.

use crate::cli::ColorOption;
use crate::context::{Context, not_up};
use crate::outcome::Outcome;
use crate::render::color::painted;
use crate::render::status::{Detail, text};
use crate::render::status_json;
use crate::target::Target;
use control::ResourceStatus;
use types::VolumeId;

/// Without targets, or with `all`, everything that is up; what is named must be up.
pub(super) fn run(
    context: &mut Context<'_>,
    statistics: bool,
    color: ColorOption,
    targets: &[Target],
) -> Outcome {
    let everything = targets.is_empty() || targets.contains(&Target::All);
    let chosen = if everything { Vec::new() } else { context.choose(targets)? };
    let statuses = context.statuses()?;
    let mut shown: Vec<(ResourceStatus, Option<VolumeId>)> = Vec::new();
    if everything {
        shown.extend(statuses.into_iter().map(|status| (status, None)));
    } else {
        for chosen in &chosen {
            let status = statuses.iter().find(|status| status.name == chosen.name);
            let status = status.ok_or_else(|| not_up(&chosen.name))?;
            shown.push((status.clone(), chosen.volume));
        }
    }
    if context.global.json {
        return context.out.print(&status_json::pretty(&status_json::array(&shown)));
    }
    if shown.is_empty() {
        // Scripts know the beginning of this line.
        let nothing = "# No currently configured DRBD found: no resource is up; repadm up all brings \
                       up what is configured";
        return context.out.line(nothing);
    }
    let detail = Detail { verbose: context.global.verbose, statistics };
    let whole: String = shown.iter().map(|(status, only)| text(status, *only, detail)).collect();
    context.out.print(&if color.is_wanted() { painted(&whole) } else { whole })
}
