//! `connection { … }` and `connection-mesh { … }`, as of DRBD 9.

use super::{Lower, Seen, twice};
use crate::diagnostic::Diagnostic;
use crate::options::Section;
use crate::syntax::{Block, Statement, Word};
use crate::tree::{At, ConnectionTree, EndTree, Settings};

impl Lower<'_> {
    /// A connection; whether its hosts are those of the resource is checked by `resolve`.
    pub(super) fn connection(
        &mut self,
        statement: &Statement,
        block: &Block,
        mesh: bool,
    ) -> ConnectionTree {
        let mut connection = ConnectionTree {
            span: statement.keyword.span,
            name: statement.arguments.first().map(|name| name.text.clone()),
            mesh,
            in_path: false,
            hosts: Vec::new(),
            net: Settings::default(),
            disk: Settings::default(),
            volumes: Vec::new(),
        };
        let section = if mesh { Section::Mesh } else { Section::Connection };
        let mut seen = Seen::new();
        for statement in &block.statements {
            let Some(row) = self.keyword(section, statement) else { continue };
            if ["net", "disk", "path", "hosts"].contains(&row.name)
                && let Some(first) = seen.insert(row.name, statement.keyword.span)
            {
                let wrong = twice(row.name, statement.keyword.span, first);
                self.report(match row.name {
                    "path" => Diagnostic::error(statement.keyword.span, "a second path")
                        .related(first, "the first one")
                        .note(
                            "repd has one path between the nodes: with the first alone the \
                             redundancy that the second stands for would be lost without a word",
                        )
                        .help(
                            "remove one; to survive the loss of a network, let the address be one \
                             of a bond",
                        ),
                    _ => wrong,
                });
                continue;
            }
            match (row.name, &statement.block) {
                ("net", Some(block)) => {
                    for statement in &block.statements {
                        self.own_setting(Section::Net, statement, &mut connection.net);
                    }
                }
                ("disk", Some(block)) => self.peer_options(block, &mut connection.disk),
                ("volume", Some(block)) => self.peer_volume(statement, block, &mut connection),
                ("path", Some(block)) => {
                    connection.in_path = true;
                    for statement in &block.statements {
                        if self.keyword(Section::Path, statement).is_some() {
                            connection.hosts.extend(self.end(statement));
                        }
                    }
                }
                ("host", _) => connection.hosts.extend(self.end(statement)),
                ("hosts", _) => {
                    connection.hosts.extend(statement.arguments.iter().map(EndTree::named));
                }
                _ => {}
            }
        }
        connection
    }

    fn peer_volume(
        &mut self,
        statement: &Statement,
        block: &Block,
        connection: &mut ConnectionTree,
    ) {
        let Some(id) = self.volume_number(statement) else { return };
        let mut settings = Settings::default();
        for statement in &block.statements {
            let Some(row) = self.keyword(Section::Volume, statement) else { continue };
            match (row.name, &statement.block) {
                ("disk", Some(block)) => self.peer_options(block, &mut settings),
                (name, _) => {
                    let text = format!("`{name}` does not go into a volume of a connection");
                    let wrong = Diagnostic::error(statement.keyword.span, text);
                    self.report(wrong.help("here only `disk { … }` goes"));
                }
            }
        }
        if let Some((first, _)) = connection.volumes.iter().find(|(at, _)| at.value == id) {
            let wrong = twice(&format!("volume {id}"), statement.span(), first.span);
            self.report(wrong);
            return;
        }
        connection.volumes.push((At { value: id, span: statement.span() }, settings));
    }

    /// `disk { … }` of a connection: only what concerns the resync with that peer.
    fn peer_options(&mut self, block: &Block, settings: &mut Settings) {
        for statement in &block.statements {
            self.own_setting(Section::Disk, statement, settings);
        }
        for setting in settings.0.iter().filter(|setting| !setting.spec.peer_device) {
            let text = format!("`{}` does not go into a connection", setting.spec.name);
            self.diagnostics.push(
                Diagnostic::error(setting.span, text)
                    .note("here go the options of the resync with that peer")
                    .help("write it into `disk { … }` of the resource or of a volume"),
            );
        }
    }

    /// Whether the end of a connection goes `via` a proxy, with or without a section of it; that was
    /// reported then.
    pub(super) fn is_proxied(&mut self, statement: &Statement) -> bool {
        let via = statement.arguments.iter().skip(1).find(|word| word.text == "via");
        if let Some(via) = via {
            self.report(
                Diagnostic::error(via.span, "bad end of a connection")
                    .label("`via` a proxy is refused")
                    .note("repd has no proxy: the traffic would not go where you want it")
                    .help("write the address under which the nodes reach each other directly"),
            );
        }
        via.is_some()
    }

    /// `host NAME [address [FAMILY] ADDRESS:PORT | port N]`.
    fn end(&mut self, statement: &Statement) -> Option<EndTree> {
        let (name, words) = statement.arguments.split_first()?;
        let mut end = EndTree::named(name);
        match words {
            [] => {}
            [keyword, address] if keyword.text == "address" => {
                end.address = Some(self.family_address(None, address)?);
            }
            [keyword, family, address] if keyword.text == "address" => {
                end.address = Some(self.family_address(Some(family), address)?);
            }
            [keyword, port] if keyword.text == "port" => match port.text.parse() {
                Ok(number) if number != 0 => end.port = Some(number),
                _ => {
                    let wrong = Diagnostic::error(port.span, "bad port");
                    self.report(wrong.note("a port is 1 to 65535"));
                    return None;
                }
            },
            [first, ..] => {
                let wrong = Diagnostic::error(first.span, "bad end of a connection");
                self.report(wrong.help("write `host NAME;` or `host NAME address ADDRESS:PORT;`"));
                return None;
            }
        }
        Some(end)
    }
}

impl EndTree {
    fn named(word: &Word) -> Self {
        Self { host: word.text.clone(), span: word.span, address: None, port: None }
    }
}
