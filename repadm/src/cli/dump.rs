//! What `dump` and `dump-xml` take.

use super::Looked;
use clap::Args;
use std::path::PathBuf;

/// Files that are tried out or left out, as cluster managers do before they put one in place. They
/// stand anywhere, as drbdadm's do; commands that would act by such a configuration refuse them.
#[derive(Clone, Debug, Default, Args)]
pub struct CandidateFiles {
    /// Read this file too, after the configuration
    #[arg(short = 't', long = "config-to-test", value_name = "FILE", global = true, hide = true)]
    pub to_test: Vec<PathBuf>,
    /// Leave this file out where the configuration includes it
    #[arg(
        short = 'E',
        long = "config-to-exclude",
        value_name = "FILE",
        global = true,
        hide = true
    )]
    pub to_exclude: Vec<PathBuf>,
}

impl CandidateFiles {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.to_test.is_empty() && self.to_exclude.is_empty()
    }
}

/// What of the configuration is printed.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    /// Which.
    #[command(flatten)]
    pub on: Looked,
}
