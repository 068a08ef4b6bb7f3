//! `service start` and `service stop`: what DRBD's init script did.

use super::{up_down, wait, whole};
use crate::at_once::{self, Asker, Job, Manner, Waited};
use crate::cli::{self, Service};
use crate::context::{Context, note};
use crate::outcome::{Exit, Failure, Outcome};
use crate::target::Target;
use control::{Answer, Command, Patience};
use std::time::Duration;
use types::Role;

/// How often it is tried to become Primary, and how long it is waited between: as drbdadm's
/// `sh-b-pri`.
const TRIES: u32 = 5;
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What is done at boot, or at shutdown.
pub(super) fn run(context: &mut Context<'_>, what: &Service) -> Outcome {
    match what {
        Service::Start { patience, on } => start(context, *patience, &on.targets),
        Service::Stop { force, on } => stop(context, *force, &on.targets),
    }
}

/// Brings resources up, waits for their peers, and makes Primary what is to be. Each resource for
/// itself.
fn start(context: &mut Context<'_>, patience: cli::Patience, targets: &[Target]) -> Outcome {
    context.warn()?;
    if context.config()?.config.resources.is_empty() {
        note(&format!("no resource is configured in {}", context.global.config.display()));
        return Ok(());
    }
    let mut starts = Vec::new();
    let mut first = Ok(());
    for chosen in &context.choose(targets)? {
        let name = whole(chosen, "service start")?;
        match prepare(context, patience, name) {
            Ok(start) => starts.push(start),
            Err(failure) => {
                note(&failure.text);
                if first.is_ok() {
                    first = Err(Failure::said(failure.exit));
                }
            }
        }
    }
    if context.global.dry_run || context.global.verbose {
        for start in &starts {
            context.out.line(&start.what)?;
        }
    }
    if context.global.dry_run {
        return first;
    }
    let jobs = starts.into_iter().map(Start::into_job).collect();
    let ran = at_once::run(jobs, &context.control_path(), Manner::Telling);
    first.and(ran)
}

fn prepare(context: &Context<'_>, patience: cli::Patience, name: &str) -> Outcome<Start> {
    let mine = context.configured(name)?;
    context.check_address(mine)?;
    let patience = wait::patience(patience, &mine.resource.startup);
    let promote = mine.resource.startup.become_primary_on.includes(&mine.me.name);
    let mut what = up_down::describe(mine);
    what += &format!("\n{name}: wait {} for {}", wait::how_long(&patience), mine.peer.name);
    if promote {
        what += &format!("\n{name}: become Primary");
    }
    let up = up_down::order(mine)?;
    Ok(Start { name: name.to_owned(), peer: mine.peer.name.clone(), what, up, patience, promote })
}

/// How one resource starts.
struct Start {
    name: String,
    peer: String,
    what: String,
    up: Command,
    patience: Patience,
    promote: bool,
}

impl Start {
    fn into_job(self) -> Job {
        let (name, peer) = (self.name.clone(), self.peer.clone());
        Job { name, peer, act: Box::new(move |asker| self.run(asker)) }
    }

    fn run(self, asker: &Asker) -> Outcome {
        asker.order(self.up.clone())?;
        let wait = Command::WaitConnect { resource: self.name.clone(), patience: self.patience };
        let waited = asker.wait(wait);
        match &waited {
            Ok(Waited::Reached) => {}
            Ok(Waited::GivenUp) => {
                asker.note(&format!("{}: {} is waited for no longer", self.name, self.peer));
            }
            Err(failure) if failure.exit == Exit::Timeout => {
                asker.note(&format!("{}; going on without {}", failure.text, self.peer));
            }
            // Its peer is there and does not go with it: two that write apart would only make it
            // worse.
            Err(failure) => {
                return Err(self.not_promoted(failure, self.is_primary(asker)));
            }
        }
        let promoted = if self.promote { self.promote(asker) } else { Ok(()) };
        match (waited, promoted) {
            // Said already.
            (Err(timeout), Ok(())) => Err(Failure::said(timeout.exit)),
            (Err(timeout), Err(failure)) => {
                asker.note(&failure.text);
                Err(Failure::said(timeout.exit))
            }
            (Ok(_), promoted) => promoted,
        }
    }

    fn not_promoted(&self, failure: &Failure, is_primary: bool) -> Failure {
        let Self { name, .. } = self;
        let mut text = failure.text.clone();
        let settles = match failure.exit {
            Exit::SplitBrain => format!("; «repadm split-brain {name}» tells how to settle it"),
            _ => String::new(),
        };
        text += &settles;
        if self.promote && !is_primary {
            text += "; not made Primary, though become-primary-on says so";
            // In a split brain that would only make it worse.
            if failure.exit != Exit::SplitBrain {
                text += &format!(": «repadm primary {name}» makes it so all the same");
            }
        }
        Failure::new(failure.exit, text)
    }

    /// It may have been before.
    fn is_primary(&self, asker: &Asker) -> bool {
        let status = asker.order(Command::Status { resource: Some(self.name.clone()) });
        let Ok(Answer::Status(statuses)) = status else { return false };
        statuses.iter().any(|one| one.name == self.name && one.role == Role::Primary)
    }

    fn promote(&self, asker: &Asker) -> Outcome {
        let mut tries = 0;
        loop {
            let order = Command::Primary { resource: self.name.clone(), force: false };
            let Err(failure) = asker.order(order) else { return Ok(()) };
            tries += 1;
            if tries == TRIES || failure.exit == Exit::Failed {
                let Self { name, .. } = self;
                let text = format!(
                    "{}; it is up and not Primary, tried {tries} times; when that is mended, \
                     «repadm primary {name}» or «repadm service start {name}»",
                    failure.text
                );
                return Err(Failure::new(failure.exit, text));
            }
            std::thread::sleep(TRY_EVERY);
        }
    }
}

/// Takes down whatever is up, or what is named. Needs no configuration for the former: at shutdown
/// it may be broken, and what is up must go down all the same.
fn stop(context: &mut Context<'_>, force: bool, targets: &[Target]) -> Outcome {
    let everything = targets.is_empty() || targets.contains(&Target::All);
    let names = match everything {
        true => context.statuses()?.into_iter().map(|status| status.name).collect(),
        false => named(context, targets)?,
    };
    let clients = if force { ", dropping its clients" } else { "" };
    if context.global.dry_run || context.global.verbose {
        for name in &names {
            context.out.line(format!("{name}: demote, disconnect and detach{clients}"))?;
        }
    }
    if context.global.dry_run {
        return Ok(());
    }
    let job = |name: String| Job {
        name: name.clone(),
        peer: String::new(),
        act: Box::new(move |asker| asker.order(Command::Down { resource: name, force }).map(drop)),
    };
    let jobs = names.into_iter().map(job).collect();
    at_once::run(jobs, &context.control_path(), Manner::Silent)
}

fn named(context: &Context<'_>, targets: &[Target]) -> Outcome<Vec<String>> {
    let chosen = context.choose(targets)?;
    chosen.iter().map(|chosen| whole(chosen, "service stop").map(ToOwned::to_owned)).collect()
}
