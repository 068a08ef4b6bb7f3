//! Whether what is printed is in colour.

use clap::{Args, ValueEnum};
use rustix::termios::isatty;

/// When.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Whatever it is printed to.
    Always,
    /// Never.
    Never,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ColorOption {
    /// Whether to use colour; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "auto", default_missing_value = "always")]
    color: When,
}

impl ColorOption {
    /// Whether colour is to be used on standard output.
    pub fn is_wanted(self) -> bool {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.decide(isatty(std::io::stdout()), no_color)
    }

    const fn decide(self, terminal: bool, no_color: bool) -> bool {
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !no_color,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_colour_unless_somebody_objects() {
        let decide = |color, terminal, no_color| ColorOption { color }.decide(terminal, no_color);
        assert!(decide(When::Auto, true, false));
        assert!(!decide(When::Auto, true, true));
        assert!(!decide(When::Auto, false, false));
        assert!(decide(When::Always, false, true));
        assert!(!decide(When::Never, true, false));
    }
}
