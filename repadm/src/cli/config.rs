//! What `config` takes.

use clap::Subcommand;
use std::path::PathBuf;

/// What is asked about the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with a configuration, and what of it has no effect; exit code
    /// 10 if anything is wrong
    Check {
        /// The file [default: the configuration]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Explain an option, or another word of the language: where it goes, its values, its default,
    /// and what it does here
    Explain {
        /// For instance after-sb-0pri, syncer, floating
        #[arg(value_name = "WORD")]
        word: String,
    },
}
