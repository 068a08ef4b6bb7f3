//! What every command needs: the configuration, who this node is, and the daemon.

use crate::cli::GlobalOptions;
use crate::outcome::{Exit, Failure, Out, Outcome};
use crate::target::{Chosen, Target, choose, nearest};
use config::{Host, Loaded, Resource, Volume};
use control::{Answer, Client, Command, ResourceStatus, SplitBrainReport};
use std::cell::OnceCell;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

/// One run of the program.
#[derive(Debug)]
pub struct Context<'a> {
    /// The options of every command.
    pub global: GlobalOptions,
    /// Where the answer goes.
    pub out: Out<'a>,
    loaded: OnceCell<Loaded>,
}

/// A resource as this node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Mine<'a> {
    /// All of it.
    pub resource: &'a Resource,
    /// This host.
    pub me: &'a Host,
    /// The other one.
    pub peer: &'a Host,
}

impl<'a> Context<'a> {
    /// A run with these options. An empty node, as of a variable that is set to nothing, is as good
    /// as none.
    pub fn new(mut global: GlobalOptions, out: Out<'a>) -> Self {
        global.node = global.node.filter(|node| !node.is_empty());
        Self { global, out, loaded: OnceCell::new() }
    }

    /// The configuration, read when it is first needed.
    ///
    /// # Errors
    /// Exit code 20 if the file cannot be opened, 10 if it is wrong; with every mistake shown.
    pub fn config(&self) -> Outcome<&Loaded> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = load(&self.global.config)?;
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// Say on standard error what the configuration asks for and will not get.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub fn warn(&self) -> Outcome {
        let loaded = self.config()?;
        loaded.warning_lines().for_each(|line| note(&line));
        Ok(())
    }

    /// The name of this node: `--node`, `REPD_NODE`, or the host name.
    pub fn node(&self) -> String {
        match &self.global.node {
            Some(node) => node.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// Which resources and volumes are meant; without targets all that are for this host. A
    /// resource that is up and no longer configured can still be named.
    ///
    /// # Errors
    /// Exit code 1 for a name that nobody knows, with the nearest one; those of the configuration.
    pub fn choose(&self, targets: &[Target]) -> Outcome<Vec<Chosen>> {
        let node = self.node();
        let resources = &self.config()?.config.resources;
        let for_us: Vec<&str> = resources
            .iter()
            .filter(|resource| resource.host(&node).is_some())
            .map(|resource| resource.name.as_str())
            .collect();
        let all = [Target::All];
        let targets = if targets.is_empty() { &all[..] } else { targets };
        let known = |name: &str| {
            resources.iter().any(|resource| resource.name == name)
                || matches!(self.status_of(name), Ok(Some(_)))
        };
        let chosen = choose(targets, &for_us, known).map_err(|name| self.unknown(&name))?;
        for chosen in &chosen {
            if let Some(resource) = self.config()?.config.resource(&chosen.name) {
                let mine = self.mine(resource)?;
                check_volume(chosen, mine.me)?;
            }
        }
        if chosen.is_empty() {
            let file = self.global.config.display();
            return Err(Failure::new(
                Exit::Usage,
                if resources.is_empty() {
                    format!("no resource is configured in {file}")
                } else {
                    format!(
                        "no resource of {file} is for this host, {node}; say which host of the \
                         configuration this is with --node NAME or REPD_NODE"
                    )
                },
            ));
        }
        Ok(chosen)
    }

    fn unknown(&self, name: &str) -> Failure {
        let known: Vec<&str> = self
            .loaded
            .get()
            .map(|loaded| loaded.config.resources.iter().map(|r| r.name.as_str()).collect())
            .unwrap_or_default();
        let file = self.global.config.display();
        let mut text = format!("'{name}': no such resource in {file}");
        if let Some(near) = nearest(name, &known) {
            text += &format!("; did you mean {near}?");
        } else if known.is_empty() {
            text += ", which defines none";
        } else {
            text += &format!("; it defines {}", known.join(", "));
        }
        Failure::new(Exit::Usage, text)
    }

    /// A configured resource as this node sees it.
    ///
    /// # Errors
    /// Exit code 1 if it is not configured, or not for this host.
    pub fn configured(&self, name: &str) -> Outcome<Mine<'_>> {
        match self.config()?.config.resource(name) {
            Some(resource) => self.mine(resource),
            None => Err(self.unknown(name)),
        }
    }

    fn mine<'r>(&self, resource: &'r Resource) -> Outcome<Mine<'r>> {
        let node = self.node();
        if let Some((me, peer)) = resource.host(&node) {
            return Ok(Mine { resource, me, peer });
        }
        let [one, other] = &resource.hosts;
        let (name, place) = (&resource.name, &resource.defined_at);
        Err(Failure::new(
            Exit::Usage,
            format!(
                "{name}: it is for {} and {} ({place}), and this host is {node}; say which of \
                 them this is with --node NAME or REPD_NODE",
                one.name, other.name
            ),
        ))
    }

    /// Refuse an address that is not one of this host's: its daemon could not listen there.
    ///
    /// # Errors
    /// Exit code 10.
    pub fn check_address(&self, mine: Mine<'_>) -> Outcome {
        let trusted = self.global.node.is_some()
            || self.config()?.config.global.disable_ip_verification
            || mine.me.address.ip().is_unspecified();
        // An address can be bound to if it is one of ours.
        if trusted || UdpSocket::bind((mine.me.address.ip(), 0)).is_ok() {
            return Ok(());
        }
        let (name, me) = (&mine.resource.name, &mine.me);
        Err(Failure::new(
            Exit::Config,
            format!(
                "{name}: the address {} of {} is not one of this host's; correct it ({}), give \
                 it to this host, or set disable-ip-verification in global",
                me.address, me.name, mine.resource.defined_at
            ),
        ))
    }

    /// A connection to the daemon.
    ///
    /// # Errors
    /// Exit code 20 if it cannot be reached.
    pub fn client(&self) -> Outcome<Client> {
        Client::connect(&self.control_path()).map_err(from_daemon)
    }

    /// Where the daemon's control socket is.
    pub fn control_path(&self) -> PathBuf {
        let environment = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let is_root = rustix::process::geteuid().is_root();
        self.global.control.clone().unwrap_or_else(|| default_control(is_root, environment))
    }

    /// Have the daemon do that, or only say so if this is a dry run. `what` says it for people.
    /// Gives whether it was done, and what the daemon had to say about it.
    ///
    /// # Errors
    /// What the daemon refuses, about that resource.
    pub fn order(&mut self, what: &str, command: Command) -> Outcome<Done> {
        if self.global.dry_run || self.global.verbose {
            self.out.line(what)?;
        }
        if self.global.dry_run {
            return Ok(Done { really: false, notes: 0 });
        }
        let name = command.resource().map(ToOwned::to_owned);
        let mut client = self.client()?;
        let mut notes = 0;
        let result = client.call(command, |text| {
            notes += 1;
            note(text);
        });
        match result {
            Ok(_) => Ok(Done { really: true, notes }),
            Err(failure) => {
                let failure = from_daemon(failure);
                Err(match name {
                    Some(name) => failure.about(&name),
                    None => failure,
                })
            }
        }
    }

    /// Every resource that is up.
    ///
    /// # Errors
    /// If the daemon cannot be reached.
    pub fn statuses(&self) -> Outcome<Vec<ResourceStatus>> {
        match self.client()?.call(Command::Status { resource: None }, note) {
            Ok(Answer::Status(statuses)) => Ok(statuses),
            Ok(_) => Err(another_answer()),
            Err(failure) => Err(from_daemon(failure)),
        }
    }

    /// What both nodes have of a resource; the daemon asks the peer if it can.
    ///
    /// # Errors
    /// If the daemon cannot be reached, or the resource is not up.
    pub fn split_brain(&self, name: &str) -> Outcome<SplitBrainReport> {
        let command = Command::SplitBrain { resource: name.to_owned() };
        match self.client()?.call(command, note) {
            Ok(Answer::SplitBrain(report)) => Ok(*report),
            Ok(_) => Err(another_answer()),
            Err(failure) => Err(from_daemon(failure).about(name)),
        }
    }

    /// The resource of that name, if it is up.
    ///
    /// # Errors
    /// If the daemon cannot be reached.
    pub fn status_of(&self, name: &str) -> Outcome<Option<ResourceStatus>> {
        Ok(self.statuses()?.into_iter().find(|status| status.name == name))
    }
}

/// What came of an order.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// False if it was only said what would be done.
    pub really: bool,
    /// How much the daemon had to say.
    pub notes: usize,
}

/// Read a configuration.
///
/// # Errors
/// As [`Context::config`].
pub fn load(path: &Path) -> Outcome<Loaded> {
    config::load(path, &config::FsLoader).map_err(|error| match error {
        config::LoadError::Open { path, source } => Failure::new(
            Exit::Failed,
            format!(
                "the configuration {} cannot be opened: {source}; name another with -c FILE or \
                 REPD_CONFIG",
                path.display()
            ),
        ),
        config::LoadError::Invalid(report) => {
            Failure::new(Exit::Config, report.to_string().trim_end())
        }
    })
}

/// Where a daemon of this user has its control socket if nobody says otherwise: as `repd` chooses.
fn default_control(is_root: bool, environment: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if is_root {
        return "/run/repd/control.sock".into();
    }
    environment("XDG_RUNTIME_DIR")
        .or_else(|| environment("XDG_STATE_HOME"))
        .or_else(|| environment("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| "/tmp".into())
        .join("repd/control.sock")
}

fn check_volume(chosen: &Chosen, host: &Host) -> Outcome {
    let Some(volume) = chosen.volume else { return Ok(()) };
    if host.volumes.iter().any(|known| known.id == volume) {
        return Ok(());
    }
    let known: Vec<String> = host.volumes.iter().map(|known| known.id.to_string()).collect();
    let text =
        format!("{chosen}: {} has no volume {volume}; it has {}", chosen.name, known.join(", "));
    Err(Failure::new(Exit::Usage, text))
}

/// The volumes of a host that are meant.
pub fn volumes<'r>(host: &'r Host, chosen: &Chosen) -> impl Iterator<Item = &'r Volume> {
    let chosen = chosen.clone();
    host.volumes.iter().filter(move |volume| chosen.includes(volume.id))
}

/// A refusal of the daemon's.
pub fn from_daemon(failure: control::Failure) -> Failure {
    Failure::new(Exit::from_u8(failure.exit), failure.text)
}

fn another_answer() -> Failure {
    Failure::new(
        Exit::Failed,
        "the daemon answered something else than it was asked; use the repadm that was installed \
         with it",
    )
}

/// What a resource that is not up is answered with.
pub fn not_up(name: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{name}: not up; repadm up {name} brings it up"))
}

/// A line for the person, on standard error. Nobody is told if it cannot be printed.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn the_socket_is_looked_for_where_the_daemon_has_it() {
        let mut daemon = repd::Options::parse_from(["repd"]);
        // REPD_CONTROL may be set where this runs, and would hide the default.
        daemon.control = None;
        for set in [&["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"][..], &["HOME"], &[]] {
            let environment =
                |name: &str| set.contains(&name).then(|| PathBuf::from("/x").join(name));
            for is_root in [true, false] {
                assert_eq!(
                    default_control(is_root, environment),
                    daemon.paths(is_root, environment).control,
                    "{set:?}"
                );
            }
        }
    }
}
