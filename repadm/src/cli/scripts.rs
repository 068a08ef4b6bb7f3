//! drbdadm's commands that scripts and agents use, and people do not: hidden from the help,
//! `repadm hidden-commands` lists them.

use super::{Looked, Named};
use clap::Subcommand;

/// What scripts ask.
#[derive(Clone, Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Script {
    /// Read the configuration, and print as shell variables which release this is
    #[command(hide = true)]
    ShNop,
    /// Print the names of all resources of this host on one line
    #[command(hide = true)]
    ShResources,
    /// Print the name of the resource
    #[command(hide = true)]
    ShResource(Named),
    /// Print the devices
    #[command(hide = true)]
    ShDev(Looked),
    /// Print what udev makes links of, as shell variables
    #[command(hide = true)]
    ShUdev(Named),
    /// Print the minor numbers of the devices
    #[command(hide = true)]
    ShMinor(Looked),
    /// Print the disks
    #[command(hide = true)]
    ShLlDev(Looked),
    /// Print where the metadata are
    #[command(hide = true)]
    ShMdDev(Looked),
    /// Print how the metadata are laid out: internal or flexible
    #[command(hide = true)]
    ShMdIdx(Looked),
    /// Print the address of this host, without the port
    #[command(hide = true)]
    ShIp(Looked),
    /// Print the lower resource of a stacked one; there are none
    #[command(hide = true)]
    ShLrOf(Named),
    /// Print the parameters for the kernel module; there are none
    #[command(hide = true)]
    ShModParms,
    /// Print the files of the configuration
    #[command(hide = true)]
    ShListConfigFile,
    /// Print the state of each volume as shell variables, as DRBD 8.4 does
    #[command(hide = true)]
    ShStatus(Looked),
    /// Become Primary if startup { become-primary-on } says so
    #[command(hide = true)]
    ShBPri(Looked),
    /// Nothing by itself: up, attach and adjust make a resource with its volumes
    #[command(hide = true)]
    NewResource(Named),
    /// Nothing by itself: up, attach and adjust make a resource with its volumes
    #[command(hide = true)]
    NewMinor(Named),
    /// See whether the disks still have the size that their metadata were made for
    #[command(hide = true)]
    CheckResize(Named),
    /// List the commands that the help does not show
    #[command(hide = true)]
    HiddenCommands,
}

/// Handlers as commands: what is configured for them is run.
#[derive(Clone, Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Helper {
    /// Run that handler
    #[command(hide = true)]
    PriOnInconDegr(Named),
    /// Run that handler
    #[command(hide = true)]
    PriLostAfterSb(Named),
    /// Run that handler
    #[command(hide = true)]
    PriLost(Named),
    /// Run that handler
    #[command(hide = true)]
    InitialSplitBrain(Named),
    /// Run that handler
    #[command(hide = true)]
    FencePeer(Named),
    /// Run that handler
    #[command(hide = true)]
    UnfencePeer(Named),
    /// Run that handler
    #[command(hide = true)]
    LocalIoError(Named),
    /// Run that handler
    #[command(hide = true)]
    BeforeResyncTarget(Named),
    /// Run that handler
    #[command(hide = true)]
    AfterResyncTarget(Named),
    /// Run that handler
    #[command(hide = true)]
    BeforeResyncSource(Named),
    /// Run that handler
    #[command(hide = true)]
    OutOfSync(Named),
    /// Run that handler
    #[command(hide = true)]
    QuorumLost(Named),
    /// Run that handler
    #[command(hide = true)]
    Disconnected(Named),
}

impl Helper {
    /// Its name in the configuration, and what it is about.
    pub const fn parts(&self) -> (&'static str, &Named) {
        match self {
            Self::PriOnInconDegr(on) => ("pri-on-incon-degr", on),
            Self::PriLostAfterSb(on) => ("pri-lost-after-sb", on),
            Self::PriLost(on) => ("pri-lost", on),
            Self::InitialSplitBrain(on) => ("initial-split-brain", on),
            Self::FencePeer(on) => ("fence-peer", on),
            Self::UnfencePeer(on) => ("unfence-peer", on),
            Self::LocalIoError(on) => ("local-io-error", on),
            Self::BeforeResyncTarget(on) => ("before-resync-target", on),
            Self::AfterResyncTarget(on) => ("after-resync-target", on),
            Self::BeforeResyncSource(on) => ("before-resync-source", on),
            Self::OutOfSync(on) => ("out-of-sync", on),
            Self::QuorumLost(on) => ("quorum-lost", on),
            Self::Disconnected(on) => ("disconnected", on),
        }
    }
}
