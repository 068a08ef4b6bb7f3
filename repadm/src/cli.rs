//! The words of the command line, and the help that explains them.

mod color;
mod config;
mod dump;
mod general;
mod scripts;
mod service;
pub mod settings;
mod size;
mod verify;

pub use color::{ColorOption, When};
pub use config::ConfigCommand;
pub use dump::{CandidateFiles, DumpArgs};
pub use general::DrbdadmOptions;
pub use scripts::{Helper, Script};
pub use service::{Patience, Service};
pub use size::{Size, WasSize};
pub use verify::VerifyArgs;

use crate::target::Target;
use clap::{Args, Parser, Subcommand};
use settings::Settings;
use std::ffi::OsString;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Commands keep drbdadm's names and meaning. Its way of passing options, before the command and after
two dashes, works too: repadm -- --overwrite-data-of-peer primary all

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
    /// What is not done.
    #[command(flatten)]
    pub drbdadm: DrbdadmOptions,
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
    /// Files that are tried out or left out.
    #[command(flatten)]
    pub candidates: CandidateFiles,
}

/// Targets of a command that changes something: they must be named.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// all, RESOURCE or RESOURCE/VOLUME, also RESOURCE:PEER[/VOLUME] and minor-N; several may be
    /// given
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<Target>,
}

/// Targets of a command that only looks: without any, all are meant.
#[derive(Clone, Debug, Args)]
pub struct Looked {
    /// all, RESOURCE or RESOURCE/VOLUME, also RESOURCE:PEER[/VOLUME] and minor-N; several may be
    /// given [default: all]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
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
    /// Make what runs what the configuration says, by the fewest steps; what is not up comes up
    Adjust {
        /// Leave disks attached or detached as they are
        #[arg(long)]
        skip_disk: bool,
        /// Leave the link as it is
        #[arg(long)]
        skip_net: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Set the options of net to what the configuration says, and to what is given, while all goes
    /// on; until the next adjust
    #[command(name = "net-options")]
    NetOptions {
        /// What is given.
        #[command(flatten)]
        settings: Settings<settings::Net>,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// The same for the options of disks
    #[command(name = "disk-options")]
    DiskOptions {
        /// What is given.
        #[command(flatten)]
        settings: Settings<settings::Disk>,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// The same for the options of the resync with the peer
    #[command(name = "peer-device-options")]
    PeerDeviceOptions {
        /// What is given.
        #[command(flatten)]
        settings: Settings<settings::PeerDevice>,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// The same for the options of the resource
    #[command(name = "resource-options")]
    ResourceOptions {
        /// What is given.
        #[command(flatten)]
        settings: Settings<settings::ResourceOptions>,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Bring resources up: disks attached, connecting to the peer
    Up {
        /// [VOLUME=]SIZE: the disk has been enlarged since it was used last, and was so large then;
        /// needed only where the daemon does not remember it
        #[arg(long, value_name = "SIZE")]
        was_size: Vec<WasSize>,
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
        /// [VOLUME=]SIZE: as for up
        #[arg(long, value_name = "SIZE")]
        was_size: Vec<WasSize>,
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
    /// Let a resync stand still, until resume-sync
    PauseSync {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Let a resync go on that pause-sync has stopped here
    ResumeSync {
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Give the copy here up, and copy it anew from the peer
    Invalidate {
        /// Of the marks.
        #[command(flatten)]
        marks: Marks,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Have the peer give its copy up, and copy it anew from here
    InvalidateRemote {
        /// Of the marks.
        #[command(flatten)]
        marks: Marks,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Begin a new generation here: the peer, once it is back, is copied to
    NewCurrentUuid {
        /// Of two disks that were just created and hold the same: take both for UpToDate, and leave
        /// the first resync out
        #[arg(long)]
        clear_bitmap: bool,
        /// Which.
        #[command(flatten)]
        on: Named,
    },
    /// Compare the copies of both nodes while they are in use; what differs is marked out-of-sync
    Verify(VerifyArgs),
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
        /// the peer's copy is overwritten by this one. --overwrite-data-of-peer is the same
        #[arg(long, alias = "overwrite-data-of-peer")]
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
    /// Make volumes as large as their disks have room for, on both nodes, while they are in use
    ///
    /// Enlarge the disks of both nodes first, in either order (lvextend, truncate). What is new is
    /// copied from one node to the other. A client sees the new size when it connects anew.
    Resize {
        /// How.
        #[command(flatten)]
        growth: Growth,
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
        /// In colour.
        #[command(flatten)]
        color: ColorOption,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Show what resources run with, as drbdsetup show does: which need not be what the file says now
    Show {
        /// Also what is as it would be by itself
        #[arg(long)]
        show_defaults: bool,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Show what /proc/drbd of DRBD 8.4 shows, for scripts that read it
    Proc {
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
        /// Tell with each change all of what has changed, and not only the change
        #[arg(long)]
        full: bool,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Show one line for each volume, who uses it, and the progress of a resync
    Overview {
        /// Show it anew every second
        #[arg(long)]
        watch: bool,
        /// In colour.
        #[command(flatten)]
        color: ColorOption,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// Show all volumes on the whole screen, with what they do in a second; q ends it
    Top {
        /// Print once what was done within a second, and end
        #[arg(long)]
        once: bool,
        /// In colour.
        #[command(flatten)]
        color: ColorOption,
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
    /// Wait as wait-connect does, and tell for whom; on a terminal, yes and Enter end it
    #[command(name = "wait-con-int")]
    WaitConInt {
        /// How long.
        #[command(flatten)]
        patience: Patience,
        /// Which.
        #[command(flatten)]
        on: Looked,
    },
    /// What is done at boot and at shutdown: everything up, everything down
    Service {
        /// Which of the two.
        #[command(subcommand)]
        what: Service,
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
    ///
    /// --verbose adds what is inherited, and the connection that there is; --json prints what it
    /// means, with secrets hidden. Before a file is put in place: -t FILE reads it too, -E FILE
    /// leaves it out where it is included.
    Dump(DumpArgs),
    /// The same as XML, with the elements that drbdadm prints
    #[command(name = "dump-xml")]
    DumpXml(DumpArgs),
    /// Check a configuration, or explain a word of its language
    #[command(subcommand)]
    Config(ConfigCommand),
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
    /// Print what a shell needs to complete commands and options
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// What scripts ask.
    #[command(flatten)]
    Script(Script),
    /// A handler as a command.
    #[command(flatten)]
    Helper(Helper),
    /// Write the man pages of all commands
    #[command(name = "__man", hide = true)]
    Man {
        /// Where
        directory: PathBuf,
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
    /// A word that is no command here
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `yes` or `no`, as drbdadm takes it.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("`{other}` is neither yes nor no")),
    }
}

/// Which blocks are copied.
#[derive(Args, Clone, Copy, Debug)]
pub struct Marks {
    /// With «no», copy only what is marked as out-of-sync, as after a verify
    #[arg(
        long,
        value_name = "YES|NO",
        default_value = "yes",
        action = clap::ArgAction::Set,
        value_parser = yes_or_no
    )]
    pub reset_bitmap: bool,
}

/// How volumes are to grow.
#[derive(Args, Clone, Copy, Debug)]
pub struct Growth {
    /// The new size, with its unit (20G), if the volume is not to take all the room that there is
    #[arg(long)]
    pub size: Option<Size>,
    /// What is new is equal on both disks already (both read zeros there): it is not copied
    #[arg(long)]
    pub assume_clean: bool,
    /// Grow it although the peer cannot be asked: it takes the size when it is back with a disk that
    /// is large enough, and is refused with one that is not
    #[arg(long)]
    pub assume_peer_has_space: bool,
}

/// Options that have a value, and stand before a command.
const WITH_VALUE: &[&str] = &[
    "-c",
    "--config",
    "--node",
    "--control",
    "-t",
    "--config-to-test",
    "-E",
    "--config-to-exclude",
];

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

/// `repadm help`, alone or with a command, as `--help`.
pub fn help_word(mut args: Vec<OsString>) -> Vec<OsString> {
    if let Some(at) = command_at(&args, 1).filter(|at| args[*at] == "help") {
        args.remove(at);
        args.push("--help".into());
    }
    args
}

/// Where the first word is that is neither an option nor the value of one.
fn command_at(args: &[OsString], from: usize) -> Option<usize> {
    let mut at = from;
    while at < args.len() {
        let word = args[at].to_string_lossy();
        if !word.starts_with('-') {
            return Some(at);
        }
        let with_value = |options: &[&str]| options.contains(&word.as_ref());
        let has_value = with_value(WITH_VALUE) || with_value(DrbdadmOptions::WITH_VALUE);
        at += if has_value { 2 } else { 1 };
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
    fn a_bitmap_is_kept_in_drbdadms_words() {
        let reset = |words: &[&str]| {
            let words = ["repadm"].iter().chain(words);
            match Cli::try_parse_from(words).map(|cli| cli.command) {
                Ok(Command::Invalidate { marks, .. } | Command::InvalidateRemote { marks, .. }) => {
                    Some(marks.reset_bitmap)
                }
                _ => None,
            }
        };
        for command in ["invalidate", "invalidate-remote"] {
            assert_eq!(reset(&[command, "r0"]), Some(true));
            assert_eq!(reset(&[command, "--reset-bitmap=no", "r0"]), Some(false));
            assert_eq!(reset(&[command, "--reset-bitmap", "yes", "r0"]), Some(true));
            assert_eq!(reset(&[command, "--reset-bitmap=maybe", "r0"]), None);
        }
    }

    #[test]
    fn what_changes_something_needs_a_target() {
        for command in ["up", "down", "primary", "create-md", "wait-sync"] {
            assert!(Cli::try_parse_from(["repadm", command]).is_err(), "{command}");
        }
        assert!(Cli::try_parse_from(["repadm", "status"]).is_ok());
    }
}
