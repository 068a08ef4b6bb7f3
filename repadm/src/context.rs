//! What every command needs: the configuration, who this node is, and the daemon.

use crate::cli::GlobalOptions;
use crate::outcome::{Exit, Failure, Out, Outcome};
use crate::target::{Chosen, Target, choose, nearest};
use config::{Candidates, Host, Loaded, Node, Override, Place, Resource, Volume};
use control::{Answer, Client, Command, ResourceStatus, SplitBrainReport, VolumeVerify};
use std::cell::OnceCell;
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
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
        let loaded = load(&self.global.config, self.candidates())?;
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// The files that are tried out or left out.
    pub fn candidates(&self) -> Candidates<'_> {
        let files = &self.global.candidates;
        Candidates { also: &files.to_test, without: &files.to_exclude }
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
            .filter(|resource| as_node(&node).place(resource) != Place::Neither)
            .map(|resource| resource.name.as_str())
            .collect();
        let all = [Target::All];
        let targets = if targets.is_empty() { &all[..] } else { targets };
        let resolved: Vec<Target> =
            targets.iter().map(|target| self.resolve(target)).collect::<Outcome<_>>()?;
        let targets = &resolved[..];
        let known = |name: &str| {
            resources.iter().any(|resource| resource.name == name)
                || matches!(self.status_of(name), Ok(Some(_)))
        };
        let chosen = choose(targets, &for_us, known).map_err(|name| self.unknown(&name))?;
        for chosen in &chosen {
            if let Some(resource) = self.config()?.config.resource(&chosen.name) {
                match self.mine(resource) {
                    Ok(mine) => check_volume(chosen, mine.me)?,
                    // What is up can be named, as one that is configured no more.
                    Err(_) if matches!(self.status_of(&chosen.name), Ok(Some(_))) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        if chosen.is_empty() {
            let file = self.global.config.display();
            return Err(Failure::new(
                Exit::Usage,
                if resources.is_empty() {
                    format!("no resource is configured in {file}")
                } else if resources.iter().all(|resource| resource.is_ignored_on(&node)) {
                    format!("no resource of {file} is for this host: `ignore-on` names {node}")
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

    /// A volume in the place of its minor number, and a peer that is known to be one.
    fn resolve(&self, target: &Target) -> Outcome<Target> {
        let node = self.node();
        let resources = &self.config()?.config.resources;
        match target {
            Target::Minor(minor) => self.volume_of(*minor),
            Target::Peer { resource, peer, .. } => {
                let configured = resources.iter().find(|one| one.name == *resource);
                let Some((me, other)) = configured.and_then(|one| one.host(&node)) else {
                    return Ok(target.clone());
                };
                if config::same_host(&other.name, peer) {
                    return Ok(target.clone());
                }
                let why = match config::same_host(&me.name, peer) {
                    true => "it is this host".to_owned(),
                    false => format!("the other host of {resource} is {}", other.name),
                };
                Err(Failure::new(Exit::Usage, format!("{target}: {peer} is not its peer: {why}")))
            }
            _ => Ok(target.clone()),
        }
    }

    /// The volume of this host whose device has that minor number: configured so, or up so.
    fn volume_of(&self, minor: u32) -> Outcome<Target> {
        let node = self.node();
        for resource in &self.config()?.config.resources {
            let Some((me, _)) = resource.host(&node) else { continue };
            if let Some(volume) = me.volumes.iter().find(|volume| volume.minor == Some(minor)) {
                return Ok(Target::Volume(resource.name.clone(), volume.id));
            }
        }
        for status in self.statuses().unwrap_or_default() {
            if let Some(volume) = status.volumes.iter().find(|v| v.minor == Some(minor)) {
                return Ok(Target::Volume(status.name.clone(), volume.volume));
            }
        }
        let file = self.global.config.display();
        let text = format!("minor-{minor}: no device of this host has that number in {file}");
        Err(Failure::new(Exit::Usage, text))
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
        let [one, other] = &resource.hosts;
        let (name, place) = (&resource.name, &resource.defined_at);
        match as_node(&node).place(resource) {
            Place::Is(me, peer) => return Ok(Mine { resource, me, peer }),
            Place::Both => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "{name}: this host has the addresses of both its hosts, {} and {} \
                         ({place}); say which of them this is with --node ADDRESS:PORT or \
                         REPD_NODE",
                        one.name, other.name
                    ),
                ));
            }
            Place::Neither if resource.is_ignored_on(&node) => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "{name}: `ignore-on` says that it is not for this host, {node} ({place})"
                    ),
                ));
            }
            Place::Neither => {}
        }
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
        if trusted || owns(mine.me.address.ip()) {
            return Ok(());
        }
        let (name, me) = (&mine.resource.name, &mine.me);
        let loaded = self.config()?;
        let shown = loaded.foreign_address(name, &me.name);
        let shown = shown.map(|wrong| wrong.render(&loaded.sources)).unwrap_or_default();
        Err(Failure::new(
            Exit::Config,
            format!(
                "{name}: the address {} of {} is not one of this host's; correct it ({}), give \
                 it to this host, or set disable-ip-verification in global\n{}",
                me.address,
                me.name,
                mine.resource.defined_at,
                shown.trim_end()
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

    /// What verifies of a resource have found, or of one volume of it.
    ///
    /// # Errors
    /// If the daemon cannot be reached, or the resource is not up.
    pub fn verified(
        &self,
        name: &str,
        volume: Option<types::VolumeId>,
    ) -> Outcome<Vec<VolumeVerify>> {
        let command = Command::VerifyReport { resource: name.to_owned(), volume };
        match self.client()?.call(command, note) {
            Ok(Answer::Verified(found)) => Ok(found),
            Ok(_) => Err(another_answer()),
            Err(failure) => Err(from_daemon(failure).about(name)),
        }
    }

    /// The configuration that a resource runs with, and which of its hosts this node is.
    ///
    /// # Errors
    /// If the daemon cannot be reached, or the resource is not up.
    pub fn running(&self, name: &str) -> Outcome<(Resource, String)> {
        let command = Command::Running { resource: name.to_owned() };
        match self.client()?.call(command, note) {
            Ok(Answer::Running { resource, node }) => match serde_json::from_value(resource) {
                Ok(resource) => Ok((resource, node)),
                Err(_) => Err(another_answer()),
            },
            Ok(_) => Err(another_answer()),
            Err(failure) => Err(from_daemon(failure).about(name)),
        }
    }

    /// The resource of that name, if it is up.
    ///
    /// # Errors
    /// If the daemon cannot be reached.
    pub fn status_of(&self, name: &str) -> Outcome<Option<ResourceStatus>> {
        // Of that one only: there may be hundreds.
        let command = Command::Status { resource: Some(name.to_owned()) };
        match self.client()?.call(command, note) {
            Ok(Answer::Status(statuses)) => {
                Ok(statuses.into_iter().find(|status| status.name == name))
            }
            Ok(_) => Err(another_answer()),
            Err(failure) if failure.exit == control::exit::USAGE => Ok(None),
            Err(failure) => Err(from_daemon(failure)),
        }
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
pub fn load(path: &Path, candidates: Candidates<'_>) -> Outcome<Loaded> {
    loaded(config::load_with(path, candidates, &config::FsLoader))
}

/// The same, with options of one resource that were given on the command line.
///
/// # Errors
/// As [`Context::config`].
pub fn load_given(path: &Path, resource: &str, given: &[Override]) -> Outcome<Loaded> {
    loaded(config::load_given(path, resource, given, &config::FsLoader))
}

fn loaded(loaded: Result<Loaded, config::LoadError>) -> Outcome<Loaded> {
    loaded.map_err(|error| match error {
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

/// This node, to be found among the hosts of a resource.
pub fn as_node(name: &str) -> Node<'_> {
    Node { name, owns: &owns }
}

/// Whether this host has an address: then it can be bound to.
pub fn owns(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
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
