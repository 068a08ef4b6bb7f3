//! The words of the command line, and the help that explains them.

use crate::target::Target;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Commands keep drbdadm's names and meaning. Its way of passing options, before the command and after
two dashes, works too: repadm -- --overwrite-data-of-peer primary all

Known, and not built yet (they say so, exit code 10):
  invalidate invalidate-remote verify pause-sync resume-sync adjust resize show
  new-current-uuid net-options disk-options resource-options
  peer-device-options service config proc top

Exit codes:
   0  done, also when there was nothing to do
   1  usage, unknown resource, resource not up
   5  a wait has timed out; of outdate: the disk is worth less than Outdated already
  10  invalid configuration, no metadata or metadata in the way, disk missing or in use
  11  the change of state was refused
  17  refused for want of UpToDate data
  18  split brain
  20  the configuration cannot be opened, the daemon cannot be reached or has failed";

/// Operate resources that repd replicates between two nodes
#[derive(Debug, Parser)]
#[command(name = "repadm", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true)]
#[command(arg_required_else_help = true, args_override_self = true)]
pub struct Cli {
    /// What concerns every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Clone, Debug, Default, Args)]
pub struct GlobalOptions {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "REPD_CONFIG", global = true)]
    #[arg(default_value = "/etc/repd.conf", hide_env_values = true)]
    pub config: PathBuf,
    /// Which host of the configuration this one is [default: the host name]
    #[arg(long, value_name = "NAME", env = "REPD_NODE", global = true, hide_env_values = true)]
    pub node: Option<String>,
    /// The daemon's control socket [default: /run/repd/control.sock for root, else
    /// $XDG_RUNTIME_DIR/repd/control.sock]
    #[arg(long, value_name = "PATH", env = "REPD_CONTROL", global = true, hide_env_values = true)]
    pub control: Option<PathBuf>,
    /// Print what would be done, and do nothing
    #[arg(short, long, global = true)]
    pub dry_run: bool,
    /// Say what is done; show more
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print JSON where there is something to print
    #[arg(long, global = true)]
    pub json: bool,
}

/// Targets of a command that changes something: they must be named.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// all, RESOURCE or RESOURCE/VOLUME; several may be given
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<Target>,
}

/// Targets of a command that only looks: without any, all are meant.
#[derive(Clone, Debug, Args)]
pub struct Looked {
    /// all, RESOURCE or RESOURCE/VOLUME; several may be given [default: all]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
}

/// How long a command waits.
#[derive(Clone, Copy, Debug, Args)]
pub struct Patience {
    /// Give up after so many seconds; 0 waits for ever [default: as startup { wfc-timeout } of the
    /// resource says, else for ever]
    #[arg(long, value_name = "SECONDS")]
    pub wfc_timeout: Option<u32>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write fresh metadata on the disks of this node
    #[command(name = "create-md")]
    CreateMd {
        /// Replace metadata that is there, without asking
        #[arg(long)]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Bring resources up: disks attached, connecting to the peer
    Up {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Take resources down: disconnected, disks let go
    Down {
        /// Drop the clients that still use it
        #[arg(long)]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Take the local disk in
    Attach {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Let the local disk go; a Primary goes on through its peer
    Detach {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Seek the peer
    Connect {
        /// After a split brain: give up what was written here since, and take the peer's data
        #[arg(long)]
        discard_my_data: bool,
        /// Say what the handshake would decide, and go no further
        #[arg(long, conflicts_with = "discard_my_data")]
        tentative: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// After a split brain: when the nodes parted, what each wrote since, what the policies would
    /// do, and what each choice throws away
    #[command(name = "split-brain")]
    SplitBrain {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Leave the peer, and seek it no more
    Disconnect {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Become Primary: serve the device to clients
    Primary {
        /// Make an Inconsistent or Outdated disk UpToDate, if no UpToDate copy can be reached:
        /// the peer's copy is overwritten by this one
        #[arg(long, visible_alias = "overwrite-data-of-peer")]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Become Secondary: serve the device no more
    Secondary {
        /// Drop the clients that still use it
        #[arg(long)]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Let I/O stand still: requests of clients wait
    #[command(name = "suspend-io")]
    SuspendIo {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Let I/O go on, whatever it stands still for
    #[command(name = "resume-io")]
    ResumeIo {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Take the copies of this node for Outdated: they cannot be Primary without the peer's data
    Outdate {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Print the roles, ours first: Primary/Secondary
    Role {
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Print the replication state if it is above Established, else the connection state
    Cstate {
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Print the disk states, ours first: UpToDate/Inconsistent
    Dstate {
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Show the state of resources, nested, as DRBD 9 does
    Status {
        /// Show sizes and counters, too
        #[arg(short, long)]
        statistics: bool,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Print what there is, and what becomes of it: one event a line, as DRBD does
    #[command(name = "events2")]
    Events {
        /// Stop after what there is
        #[arg(long)]
        now: bool,
        /// Show sizes and counters, too; what only counts is told once a second
        #[arg(long)]
        statistics: bool,
        /// Begin each line with the time
        #[arg(long)]
        timestamps: bool,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Show one line for each volume, who uses it, and the progress of a resync
    Overview {
        /// Show it anew every second
        #[arg(long)]
        watch: bool,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Wait until the peer is connected and it is decided who has the newer data
    #[command(name = "wait-connect")]
    WaitConnect {
        /// How long.
        #[command(flatten)]
        patience: Patience,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Wait until the peer is connected and the local disk is UpToDate
    #[command(name = "wait-sync")]
    WaitSync {
        /// How long.
        #[command(flatten)]
        patience: Patience,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Explain the generation identifiers of this node's copies
    #[command(name = "show-gi")]
    ShowGi {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Print the generation identifiers of this node's copies, one line each
    #[command(name = "get-gi")]
    GetGi {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Print the configuration in its normal form
    Dump {
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Print the metadata of disks that no daemon has
    #[command(name = "dump-md")]
    DumpMd {
        /// Also of a disk whose activity log is not applied: as it will be after that
        #[arg(long)]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Take the metadata off disks; the data stay
    #[command(name = "wipe-md")]
    WipeMd {
        /// Do it without asking
        #[arg(long)]
        force: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Mark what was in flight when this node stopped, as attaching does, on disks that no daemon
    /// has
    #[command(name = "apply-al")]
    ApplyAl {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Make two nodes on this machine in a temporary directory, and show what replication does
    Demo {
        /// Leave the nodes running, and print what to try next
        #[arg(long)]
        keep: bool,
    },
    /// One node of the demo: the daemon itself, as a child of this program
    #[command(name = "__daemon", hide = true)]
    Daemon {
        /// End when the process that started it ends
        #[arg(long)]
        die_with_parent: bool,
        /// Options of repd
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// The demo's network cable
    #[command(name = "__wire", hide = true)]
    Wire {
        /// End when the process that started it ends
        #[arg(long)]
        die_with_parent: bool,
        /// Let so many bytes a second through, each way
        #[arg(long)]
        rate: Option<u64>,
        /// FROM=TO: what connects to 127.0.0.1:FROM is led to 127.0.0.1:TO
        #[arg(required = true)]
        links: Vec<String>,
    },
    /// A command of drbdadm's, or of ours, that is still to be built
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Commands whose names are kept for what they will do.
pub const NOT_YET: &[&str] = &[
    "adjust",
    "config",
    "disk-options",
    "invalidate",
    "invalidate-remote",
    "net-options",
    "new-current-uuid",
    "pause-sync",
    "peer-device-options",
    "proc",
    "resize",
    "resource-options",
    "resume-sync",
    "service",
    "show",
    "top",
    "verify",
];

/// Options that have a value, and stand before a command.
const WITH_VALUE: &[&str] = &["-c", "--config", "--node", "--control"];

/// drbdadm's spelling `-- --OPTION... COMMAND TARGET...` put in the usual order: the options after
/// the command. Anything else is left as it is.
pub fn reorder(args: Vec<OsString>, commands: &[String]) -> Vec<OsString> {
    let is_command =
        |word: &OsString| commands.iter().any(|name| word.to_str() == Some(name.as_str()));
    let Some(dashes) = args.iter().position(|word| word == "--") else { return args };
    if command_at(&args[..dashes], 1).is_some() {
        return args;
    }
    let Some(command) = args[dashes..].iter().position(is_command) else { return args };
    let command = dashes + command;
    let mut ordered = args[..dashes].to_vec();
    ordered.push(args[command].clone());
    ordered.extend_from_slice(&args[dashes + 1..command]);
    ordered.extend_from_slice(&args[command + 1..]);
    ordered
}

/// Where the first word is that is neither an option nor the value of one.
fn command_at(args: &[OsString], from: usize) -> Option<usize> {
    let mut at = from;
    while at < args.len() {
        let word = args[at].to_string_lossy();
        if !word.starts_with('-') {
            return Some(at);
        }
        at += if WITH_VALUE.contains(&word.as_ref()) { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn commands() -> Vec<String> {
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    fn reordered(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let args: Vec<_> = reorder(args, &commands())
            .into_iter()
            .map(|word| word.into_string().expect("text"))
            .collect();
        args.join(" ")
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_everything() {
        let mut all = Cli::command().term_width(100);
        all.build();
        let mut text = all.render_long_help().to_string();
        for command in all.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let name = command.get_name().to_owned();
            text += &format!("\n=== {name}\n\n{}", command.render_long_help());
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn options_after_two_dashes_go_after_the_command() {
        assert_eq!(
            reordered("repadm -- --overwrite-data-of-peer primary all"),
            "repadm primary --overwrite-data-of-peer all"
        );
        assert_eq!(
            reordered("repadm -c primary -d -- --wfc-timeout 3 wait-connect r0"),
            "repadm -c primary -d wait-connect --wfc-timeout 3 r0"
        );
        for same in ["repadm status -- r0", "repadm primary r0", "repadm -- nonsense r0"] {
            assert_eq!(reordered(same), same);
        }
    }

    #[test]
    fn both_spellings_of_force_parse() {
        for option in ["--force", "--overwrite-data-of-peer"] {
            let cli = Cli::try_parse_from(["repadm", "primary", option, "all"]).expect("good");
            assert!(matches!(cli.command, Command::Primary { force: true, .. }));
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["repadm", "status", "r0", "--json", "-c", "f"]).expect("ok");
        assert!(cli.global.json);
        assert_eq!(cli.global.config, PathBuf::from("f"));
    }

    #[test]
    fn what_changes_something_needs_a_target() {
        for command in ["up", "down", "primary", "create-md", "wait-sync"] {
            assert!(Cli::try_parse_from(["repadm", command]).is_err(), "{command}");
        }
        assert!(Cli::try_parse_from(["repadm", "status"]).is_ok());
    }

    #[test]
    fn every_command_not_yet_built_is_listed_in_the_help_and_no_other() {
        for name in NOT_YET {
            assert!(AFTER_HELP.split_whitespace().any(|word| word == *name), "{name}");
            assert!(!commands().contains(&(*name).to_owned()), "{name}");
        }
    }
}
