//! From what was in the file to what it means: defaults, inheritance, and what must fit together.

mod claims;
mod fencing;
mod host;
mod nbd;
mod options;
mod protocol;
mod resync_after;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{BecomePrimary, Config, Global, Resource, Startup, same_host};
use crate::options::Section;
use crate::source::Sources;
use crate::tree::{ConnectionTree, HostTree, ResourceTree, Sections, Settings, Tree};
use crate::value::Value;
pub use host::node_ids;

use claims::Claims;
use options::Chain;

/// Resolves every resource that has no error of its own.
pub(crate) fn resolve(tree: &Tree, sources: &Sources, diagnostics: &mut Diagnostics) -> Config {
    let none = Sections::default();
    let global = tree.global.as_ref().map_or(&none, |at| &at.value);
    let common = tree.common.as_ref().map_or(&none, |at| &at.value);
    let (claims, afters) = (Claims::default(), Vec::new());
    let mut resolver = Resolver { global, common, sources, diagnostics, claims, afters };
    let mut resources: Vec<Resource> =
        tree.resources.iter().filter_map(|resource| resolver.resource(resource)).collect();
    let afters = resolver.afters;
    // What is named may be what is wrong.
    if diagnostics.errors() == 0 {
        resync_after::link(&mut resources, &afters, diagnostics);
    }
    let top = Chain::new([global.get(Section::Global)]);
    Config {
        global: Global {
            disable_ip_verification: top.flag(Section::Global, "disable-ip-verification"),
            nbd: options::nbd(&Chain::new([global.get(Section::Nbd)])),
        },
        resources,
    }
}

struct Resolver<'a> {
    global: &'a Sections,
    common: &'a Sections,
    sources: &'a Sources,
    diagnostics: &'a mut Diagnostics,
    claims: Claims,
    /// Each `resync-after`, to be looked up when all volumes are known.
    afters: Vec<resync_after::After>,
}

impl<'a> Resolver<'a> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn resource(&mut self, tree: &ResourceTree) -> Option<Resource> {
        if tree.broken {
            return None;
        }
        let pair = self.two_hosts(tree)?;
        let connection = self.one_connection(tree, pair)?;
        self.check_net(tree, connection);
        self.check_startup(tree, connection);
        let common = self.common(tree);
        let handlers =
            Chain::new([tree.sections.get(Section::Handlers), common.get(Section::Handlers)]);
        let said = fencing::check(&tree.name, &self.net_chain(tree, connection), &handlers);
        said.into_iter().for_each(|said| self.report(said));
        let said = protocol::check(&self.net_chain(tree, connection));
        said.into_iter().for_each(|said| self.report(said));
        let hosts = self.hosts(tree, pair, connection)?;
        let own = self.host_options(tree, pair)?;
        let common = self.common(tree);
        let section = |section| Chain::new([tree.sections.get(section), common.get(section)]);
        let options = Chain::new([
            Some(own),
            tree.sections.get(Section::Options),
            common.get(Section::Options),
        ]);
        let nbd = Chain::new([
            tree.sections.get(Section::Nbd),
            common.get(Section::Nbd),
            self.global.get(Section::Nbd),
        ]);
        let said = nbd::check(&tree.name, &nbd);
        said.into_iter().for_each(|said| self.report(said));
        Some(Resource {
            name: tree.name.clone(),
            hosts,
            net: options::net(&self.net_chain(tree, connection)),
            options: options::resource_options(&options),
            startup: of_these_hosts(options::startup(&section(Section::Startup)), &tree.hosts),
            handlers: options::handlers(&section(Section::Handlers)),
            nbd: options::nbd(&nbd),
            ignore_on: tree.ignore_on.iter().map(|at| at.value.clone()).collect(),
            defined_at: self.sources.file_line(tree.span),
        })
    }

    /// What the resource inherits from: its template, else `common`.
    fn common<'t>(&self, tree: &'t ResourceTree) -> &'t Sections
    where
        'a: 't,
    {
        tree.template.as_ref().map_or(self.common, |template| &template.value.sections)
    }

    /// What the hosts say for themselves in `options { … }`; both must mean the same.
    fn host_options<'t>(
        &mut self,
        tree: &'t ResourceTree,
        pair: [&'t HostTree; 2],
    ) -> Option<&'t Settings> {
        let [first, second] = pair.map(|host| &host.options);
        let mut agree = true;
        for spec in crate::options::of_section(Section::Options) {
            let (one, other) = (first.get(spec.name), second.get(spec.name));
            if one.map(|setting| &setting.value) == other.map(|setting| &setting.value) {
                continue;
            }
            let Some(setting) = one.or(other) else { continue };
            let mut wrong = Diagnostic::error(
                setting.span,
                format!("`{}` is not the same on both hosts of `{}`", spec.name, tree.name),
            );
            if let (Some(_), Some(other)) = (one, other) {
                wrong = wrong.label("one here").related(other.span, "the other one here");
            } else {
                let lacks = if one.is_some() { pair[1] } else { pair[0] };
                wrong = wrong.related(lacks.span, "does not set it");
            }
            self.report(
                wrong
                    .note("what a resource does is one agreement of its two nodes")
                    .help("write it into `options { … }` of the resource, for both"),
            );
            agree = false;
        }
        agree.then_some(first)
    }

    fn net_chain<'t>(
        &'t self,
        tree: &'t ResourceTree,
        connection: Option<&'t ConnectionTree>,
    ) -> Chain<'t> {
        Chain::new([
            connection.map(|connection| &connection.net),
            tree.sections.get(Section::Net),
            self.common(tree).get(Section::Net),
        ])
    }

    /// The two hosts; any other number, or one host twice, is an error.
    fn two_hosts<'t>(&mut self, tree: &'t ResourceTree) -> Option<[&'t HostTree; 2]> {
        let name = &tree.name;
        let twice = tree.hosts.iter().enumerate().find_map(|(at, second)| {
            let mut before = tree.hosts[..at].iter();
            before.find(|first| same_host(&first.name, &second.name)).map(|first| (first, second))
        });
        if let Some((first, second)) = twice {
            let text = format!("one host twice in `{name}`");
            let wrong = Diagnostic::error(second.span, text)
                .label(format!("means the same host as `{}`", first.name))
                .related(first.span, "first here");
            self.report(match second.floating {
                true => wrong.help("give each the address that it has"),
                false => wrong
                    .note(
                        "names are compared without regard to case, and by the first label if one \
                         has no dot",
                    )
                    .help("name the two machines"),
            });
            return None;
        }
        match tree.hosts.as_slice() {
            [first, second] => Some([first, second]),
            [_, _, third, ..] => {
                let wrong =
                    Diagnostic::error(third.span, format!("a third host in resource `{name}`"))
                        .note("not yet: a resource has exactly two hosts");
                let shared = tree.hosts.iter().find(|host| host.with_previous);
                self.report(match shared {
                    // Several machines that an address moves between, as DRBD can have them.
                    Some(shared) => {
                        wrong.related(shared.span, "a second name after `on` is a host")
                    }
                    None => wrong,
                });
                None
            }
            few => {
                let text = format!("resource `{name}` needs two hosts and has {}", few.len());
                self.report(Diagnostic::error(tree.span, text).help(
                    "add an `on HOST { … }` section for each of the two, or `floating \
                             ADDRESS:PORT { … }`",
                ));
                None
            }
        }
    }

    /// The connection section, if there is one; its hosts are those of the resource.
    fn one_connection<'t>(
        &mut self,
        tree: &'t ResourceTree,
        pair: [&HostTree; 2],
    ) -> Option<Option<&'t ConnectionTree>> {
        let connection = match tree.connections.as_slice() {
            [] => return Some(None),
            [only] => only,
            [first, second, ..] => {
                self.report(
                    Diagnostic::error(second.span, "a second connection")
                        .related(first.span, "the first one")
                        .note("two hosts have one connection")
                        .help("write all of it into one `connection { … }`"),
                );
                return None;
            }
        };
        let mut named = [false; 2];
        for end in &connection.hosts {
            match pair.iter().position(|host| same_host(&host.name, &end.host)) {
                Some(index) if !named[index] => named[index] = true,
                Some(_) => {
                    let text = format!("host `{}` twice in a connection", end.host);
                    let names = format!("name `{}` and `{}`", pair[0].name, pair[1].name);
                    self.report(Diagnostic::error(end.span, text).help(names));
                    return None;
                }
                None => {
                    let text = format!("host `{}` has no `on` section", end.host);
                    let hosts = format!("the hosts are `{}` and `{}`", pair[0].name, pair[1].name);
                    self.report(Diagnostic::error(end.span, text).note(hosts));
                    return None;
                }
            }
        }
        if named != [true; 2] {
            let what = if connection.mesh { "hosts A B;" } else { "host A; host B;" };
            self.report(
                Diagnostic::error(connection.span, "a connection needs its two hosts")
                    .help(format!("write `{what}` with the names of both into it")),
            );
            return None;
        }
        Some(Some(connection))
    }

    fn check_net(&mut self, tree: &ResourceTree, connection: Option<&ConnectionTree>) {
        let chain = self.net_chain(tree, connection);
        let empty = chain.setting("shared-secret").filter(|secret| secret.raw.is_empty());
        if let Some(secret) = empty {
            let wrong = Diagnostic::error(secret.span, "empty `shared-secret`")
                .note("whoever has the address of the peer would know it")
                .help("remove the line if the peers need not be authenticated");
            self.report(wrong);
            return;
        }
        let chain = self.net_chain(tree, connection);
        if let Some(digest) = chain.setting("cram-hmac-alg")
            && chain.setting("shared-secret").is_none()
        {
            let wrong = Diagnostic::error(digest.span, "`cram-hmac-alg` without `shared-secret`")
                .label(format!("resource `{}` has no secret", tree.name))
                .note("peers would not be authenticated, although this line reads as if they were")
                .help("set `shared-secret` in the same `net { … }`, or remove the line");
            self.report(wrong);
        }
    }

    fn check_startup(&mut self, tree: &ResourceTree, connection: Option<&ConnectionTree>) {
        let startup = tree.sections.get(Section::Startup);
        let setting = startup.and_then(|settings| settings.get("become-primary-on"));
        let Some((setting, Value::Text(names))) = setting.map(|setting| (setting, &setting.value))
        else {
            return;
        };
        let names: Vec<&str> = names.split_whitespace().collect();
        for name in names.iter().filter(|name| **name != "both") {
            if !tree.hosts.iter().any(|host| same_host(&host.name, name)) {
                let hosts: Vec<_> =
                    tree.hosts.iter().map(|host| format!("`{}`", host.name)).collect();
                let wrong = Diagnostic::error(setting.span, format!("host `{name}` is not known"))
                    .note(format!("the hosts of `{}` are {}", tree.name, hosts.join(" and ")))
                    .help("name one of them, or write `both`");
                self.report(wrong);
            }
        }
        let both = names.contains(&"both") || names.len() > 1;
        if both && !self.net_chain(tree, connection).flag(Section::Net, "allow-two-primaries") {
            let text = "`become-primary-on` names both hosts, but `allow-two-primaries` is not \
                        set: the second one will be refused";
            self.report(Diagnostic::warning(setting.span, text));
        }
    }
}

impl BecomePrimary {
    fn from_words(words: &str) -> Self {
        let names: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        match names.as_slice() {
            [] => Self::Nobody,
            names if names.iter().any(|name| name == "both") => Self::Both,
            _ => Self::Hosts(names),
        }
    }
}

/// What is inherited may name hosts of other resources.
fn of_these_hosts(mut startup: Startup, hosts: &[HostTree]) -> Startup {
    if let BecomePrimary::Hosts(names) = &mut startup.become_primary_on {
        names.retain(|name| hosts.iter().any(|host| same_host(&host.name, name)));
        if names.is_empty() {
            startup.become_primary_on = BecomePrimary::Nobody;
        }
    }
    startup
}

/// The settings of a slot, or none.
fn of<'a>(settings: Option<&'a Settings>, name: &str) -> Option<&'a crate::tree::Setting> {
    settings.and_then(|settings| settings.get(name))
}
