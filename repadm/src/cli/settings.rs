//! Options of the configuration given on the command line, as `net-options` and its like take
//! them: made from the option table.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use config::{Effect, Kind, OPTIONS, OptionSpec, Override, Section};
use std::marker::PhantomData;

/// Which part of a resource's options a command sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `net`.
    Net,
    /// `disk`, but for the resync.
    Disk,
    /// What `disk` says of the resync.
    PeerDevice,
    /// `options`.
    Resource,
}

impl Part {
    /// The command that sets it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Net => "net-options",
            Self::Disk => "disk-options",
            Self::PeerDevice => "peer-device-options",
            Self::Resource => "resource-options",
        }
    }
}

/// Which options a command takes.
pub trait Which {
    /// What they are part of.
    const PART: Part;
    /// The section they belong to.
    const SECTION: Section;
    /// Whether it takes that one of the section.
    fn takes(spec: &OptionSpec) -> bool;
}

/// Those of `net`.
#[derive(Clone, Copy, Debug)]
pub struct Net;
/// Those of `disk` that concern the local disk.
#[derive(Clone, Copy, Debug)]
pub struct Disk;
/// Those of `disk` that concern the resync with the peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerDevice;
/// Those of `options`.
#[derive(Clone, Copy, Debug)]
pub struct ResourceOptions;

impl Which for Net {
    const PART: Part = Part::Net;
    const SECTION: Section = Section::Net;
    fn takes(_: &OptionSpec) -> bool {
        true
    }
}

impl Which for Disk {
    const PART: Part = Part::Disk;
    const SECTION: Section = Section::Disk;
    fn takes(spec: &OptionSpec) -> bool {
        !spec.peer_device
    }
}

impl Which for PeerDevice {
    const PART: Part = Part::PeerDevice;
    const SECTION: Section = Section::Disk;
    fn takes(spec: &OptionSpec) -> bool {
        spec.peer_device
    }
}

impl Which for ResourceOptions {
    const PART: Part = Part::Resource;
    const SECTION: Section = Section::Options;
    fn takes(_: &OptionSpec) -> bool {
        true
    }
}

/// The options that were given, in the order of the table.
#[derive(Clone, Debug)]
pub struct Settings<W> {
    /// What was given.
    pub given: Vec<Override>,
    which: PhantomData<W>,
}

fn specs<W: Which>() -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS
        .iter()
        .filter(|spec| spec.home() == W::SECTION && W::takes(spec) && !spec.name.starts_with('_'))
}

fn arg(spec: &'static OptionSpec) -> Arg {
    let help = format!("{} [{}]", spec.doc.trim_end_matches('.'), spec.values());
    let arg = Arg::new(spec.name).long(spec.name).value_name("VALUE").help(help);
    let arg = arg.hide(matches!(spec.effect, Effect::Refused(_)));
    match spec.kind {
        Kind::Flag => arg.num_args(0..=1).require_equals(true).default_missing_value("yes"),
        _ => arg.num_args(1),
    }
}

impl<W: Which> Args for Settings<W> {
    fn augment_args(command: Command) -> Command {
        specs::<W>().fold(command, |command, spec| command.arg(arg(spec)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<W: Which> FromArgMatches for Settings<W> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = specs::<W>().filter_map(|spec| {
            let value = matches.get_one::<String>(spec.name)?.clone();
            Some(Override { section: W::SECTION, name: spec.name.to_owned(), value })
        });
        Ok(Self { given: given.collect(), which: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
