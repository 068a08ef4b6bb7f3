//! Questions before something is lost: on a terminal they are asked, elsewhere `--force` answers.

use crate::context::Context;
use crate::outcome::{Exit, Failure, Outcome};
use rustix::termios::isatty;
use std::io::BufRead;

/// A question whose answer must be a whole «yes».
pub(super) struct Question {
    /// What is there: no full stop.
    pub(super) there: String,
    /// The question.
    pub(super) ask: &'static str,
    /// What is said when it is not asked.
    pub(super) forced: String,
    /// The way out where nobody can be asked.
    pub(super) way: &'static str,
}

impl Question {
    /// Put it, unless it was answered beforehand.
    ///
    /// # Errors
    /// Exit code 10 without a terminal, 1 if the answer is no.
    pub(super) fn put(&self, context: &mut Context<'_>, force: bool) -> Outcome {
        if force || context.global.dry_run {
            return context.out.line(&self.forced);
        }
        if !isatty(std::io::stdin()) {
            return Err(Failure::new(Exit::Config, format!("{}; {}", self.there, self.way)));
        }
        context.out.print(&format!("{}.\n{} (yes/no) ", self.there, self.ask))?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && answer.trim() == "yes" {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, "cancelled: nothing was written"))
    }
}
