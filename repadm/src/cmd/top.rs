//! `top`: the whole screen, anew every second.

use super::overview::rows;
use crate::cli::ColorOption;
use crate::context::{Context, note};
use crate::outcome::{Exit, Failure, Outcome};
use crate::render::color::painted;
use crate::render::top::frame;
use crate::target::{Chosen, Target};
use control::ResourceStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{Stdin, Write, stdin, stdout};
use std::time::{Duration, Instant};

/// How long a look is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Another page of the screen without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H\x1b[2J";
/// What Ctrl-C is when it is not a signal.
const CTRL_C: u8 = 3;

/// Until `q` or Ctrl-C; without a terminal, frame after frame until interrupted; with `once`, one.
pub(super) fn run(
    context: &mut Context<'_>,
    once: bool,
    color: ColorOption,
    targets: &[Target],
) -> Outcome {
    let look = Look {
        everything: targets.is_empty() || targets.contains(&Target::All),
        chosen: context.choose(targets)?,
    };
    let terminal = if once { None } else { Terminal::take()? };
    let mut before = look.statuses(context)?;
    let mut then = now();
    if terminal.is_some() {
        // There is something to see from the beginning.
        show(context, &look, (&before, &before, LOOK_EVERY), color, terminal.as_ref())?;
    }
    while !wait(terminal.as_ref())? {
        let statuses = look.statuses(context)?;
        let elapsed = then.elapsed();
        then = now();
        show(context, &look, (&before, &statuses, elapsed), color, terminal.as_ref())?;
        before = statuses;
        if once || context.out.is_gone() {
            break;
        }
    }
    Ok(())
}

/// What is looked at.
struct Look {
    chosen: Vec<Chosen>,
    everything: bool,
}

impl Look {
    fn statuses(&self, context: &Context<'_>) -> Outcome<Vec<ResourceStatus>> {
        let mut statuses = context.statuses()?;
        if !self.everything {
            for status in &mut statuses {
                let meant =
                    |chosen: &Chosen, volume| chosen.name == status.name && chosen.includes(volume);
                status
                    .volumes
                    .retain(|volume| self.chosen.iter().any(|one| meant(one, volume.volume)));
            }
            statuses.retain(|status| !status.volumes.is_empty());
        }
        Ok(statuses)
    }
}

fn show(
    context: &mut Context<'_>,
    look: &Look,
    (before, statuses, elapsed): (&[ResourceStatus], &[ResourceStatus], Duration),
    color: ColorOption,
    terminal: Option<&Terminal>,
) -> Outcome {
    let rows = rows(context, &look.chosen, look.everything, statuses)?;
    let mut text = frame(&rows, before, statuses, elapsed);
    if terminal.is_some() {
        let lines = tcgetwinsize(stdout()).map_or(0, |size| size.ws_row.into());
        text = on_screen(&text, lines);
    }
    if color.is_wanted() {
        text = painted(&text);
    }
    match terminal {
        Some(_) => context.out.print(&format!("{HOME}{text}")),
        None => context.out.print(&format!("{text}\n")),
    }
}

/// So much of a frame as there is room for, and how it is ended. A terminal that does not know its
/// size has 24 lines.
fn on_screen(text: &str, lines: usize) -> String {
    let lines = if lines == 0 { 24 } else { lines };
    let room = lines.saturating_sub(1).max(1);
    let mut shown: Vec<&str> = text.lines().take(room).collect();
    let left = text.lines().count().saturating_sub(shown.len());
    let last = match left {
        0 => "q ends".to_owned(),
        left => format!("{left} more lines; q ends"),
    };
    shown.push(&last);
    shown.join("\n")
}

/// A while; whether it was the end.
fn wait(terminal: Option<&Terminal>) -> Outcome<bool> {
    let Some(terminal) = terminal else {
        std::thread::sleep(LOOK_EVERY);
        return Ok(false);
    };
    terminal.key_within(LOOK_EVERY).map(|key| matches!(key, Some(b'q' | b'Q' | CTRL_C)))
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command line is a driver: it tells how long a look was"
)]
fn now() -> Instant {
    Instant::now()
}

/// The terminal, key by key, as it was before when this goes.
struct Terminal {
    keys: Stdin,
    before: Termios,
}

impl Terminal {
    /// It, if there is one on both sides.
    fn take() -> Outcome<Option<Self>> {
        let keys = stdin();
        if !isatty(&keys) || !isatty(stdout()) {
            return Ok(None);
        }
        let failed = |error: rustix::io::Errno| {
            Failure::new(Exit::Failed, format!("the terminal cannot be used: {error}"))
        };
        let before = tcgetattr(&keys).map_err(failed)?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(&keys, OptionalActions::Flush, &raw).map_err(failed)?;
        let terminal = Self { keys, before };
        if let Err(error) = stdout().write_all(ENTER.as_bytes()) {
            note(&format!("the screen cannot be cleared: {error}"));
        }
        Ok(Some(terminal))
    }

    fn key_within(&self, time: Duration) -> Outcome<Option<u8>> {
        let failed = |error: rustix::io::Errno| {
            Failure::new(Exit::Failed, format!("the terminal does not answer: {error}"))
        };
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let patience = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        let mut ready = [PollFd::new(&self.keys, PollFlags::IN)];
        match poll(&mut ready, Some(&patience)) {
            // A window that changed its size: look at once.
            Err(rustix::io::Errno::INTR) | Ok(0) => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        let mut key = [0];
        match rustix::io::read(&self.keys, &mut key).map_err(failed)? {
            // It has hung up.
            0 => Ok(Some(b'q')),
            _ => Ok(Some(key[0])),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing more can be done if the terminal has gone.
        let _ = stdout().write_all(LEAVE.as_bytes());
        let _ = stdout().flush();
        let _ = tcsetattr(&self.keys, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_to_the_screen() {
        assert_eq!(on_screen("a\nb\nc\n", 10), "a\nb\nc\nq ends");
        assert_eq!(on_screen("a\nb\nc\n", 3), "a\nb\n1 more lines; q ends");
        assert_eq!(on_screen("a\nb\nc\n", 1), "a\n2 more lines; q ends");
        assert_eq!(on_screen("a\nb\nc\n", 0), "a\nb\nc\nq ends");
    }
}
