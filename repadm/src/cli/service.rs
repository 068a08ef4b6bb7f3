//! The words of `service`, and of waiting.

use super::Looked;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

/// As many as `startup { wfc-timeout }` takes.
fn seconds() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(0..=300_000)
}

/// How long a command waits.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Patience {
    /// Give up after so many seconds; 0 waits for ever [default: as startup { wfc-timeout } of the
    /// resource says, else for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    pub wfc_timeout: Option<u32>,
    /// The same, if this node was alone already when it went down; no longer than --wfc-timeout
    /// [default: as startup { degr-wfc-timeout } says]
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    pub degr_wfc_timeout: Option<u32>,
    /// The same, if the peer is known to be Outdated; no longer than --degr-wfc-timeout [default: as
    /// startup { outdated-wfc-timeout } says]
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    pub outdated_wfc_timeout: Option<u32>,
    /// Wait on after a split brain, until it is settled [default: as startup { wait-after-sb } says]
    #[arg(long)]
    pub wait_after_sb: bool,
}

/// What is done at boot, and at shutdown.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Bring up what is configured for this host, wait for the peers, then become Primary where
    /// become-primary-on says so
    #[command(after_help = START_HELP)]
    Start {
        /// How long.
        #[command(flatten)]
        patience: Patience,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Become Secondary and take down whatever is up
    Stop {
        /// Drop the clients that still use it
        #[arg(long)]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
}

const START_HELP: &str = "\
Resources do not wait for each other. A peer that does not come in time is gone on without: exit
code 5, and become-primary-on all the same. After a split brain (18), or if the peers refuse each
other (11), nothing becomes Primary by itself. On a terminal, yes and Enter end the waiting.";
