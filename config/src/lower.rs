//! From syntax to meaning: which word may stand where, and what it says.

mod connection;
mod host;
mod settings;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::grammar::{self, Ends, Keyword};
use crate::include::Read;
use crate::lexer;
use crate::nearest::nearest;
use crate::options::{Effect, Section};
use crate::source::Span;
use crate::syntax::{Block, Statement, Word};
use crate::tree::{At, ResourceTree, Sections, TemplateTree, Tree, VolumeTree};
use std::collections::BTreeMap;

/// Checks the statements of all files and sorts them by meaning.
pub(crate) fn lower(read: &Read, diagnostics: &mut Diagnostics) -> Tree {
    let mut lower = Lower { diagnostics, read, templates: Vec::new() };
    let templates = read.template_files.iter().map(|file| lower.template(file)).collect();
    lower.templates = templates;
    lower.top(&read.statements)
}

struct Lower<'a> {
    diagnostics: &'a mut Diagnostics,
    read: &'a Read,
    /// What each template file says; none if something in it is wrong, which has been reported.
    templates: Vec<Option<Sections>>,
}

/// Which sections were seen in a block, to find those that come twice.
type Seen = BTreeMap<&'static str, Span>;

impl Lower<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn errors(&self) -> usize {
        self.diagnostics.errors()
    }

    fn top(&mut self, statements: &[Statement]) -> Tree {
        let mut tree = Tree::default();
        let mut names = BTreeMap::new();
        for statement in statements {
            let Some(row) = self.keyword(Section::Top, statement) else { continue };
            match (row.name, &statement.block) {
                ("global", Some(block)) => {
                    if let Some(first) = tree.resources.first() {
                        self.report(
                            Diagnostic::error(statement.keyword.span, "`global` after a resource")
                                .label("must come before every resource")
                                .related(first.span, "the first resource")
                                .help("move it to the top of the file"),
                        );
                    }
                    self.once(&mut tree.global, statement, block, Section::Global);
                }
                ("common", Some(block)) => {
                    self.once(&mut tree.common, statement, block, Section::Common);
                }
                ("resource", Some(block)) => {
                    let mut resource = self.resource(&statement.arguments[0], block);
                    resource.broken |= self.is_duplicate(&mut names, &resource);
                    tree.resources.push(resource);
                }
                _ => {}
            }
        }
        tree
    }

    fn is_duplicate(
        &mut self,
        names: &mut BTreeMap<String, Span>,
        resource: &ResourceTree,
    ) -> bool {
        let first = names.insert(resource.name.clone(), resource.span);
        if let Some(first) = first {
            self.report(
                Diagnostic::error(resource.span, format!("resource `{}` twice", resource.name))
                    .label("defined again here")
                    .related(first, "first defined here")
                    .help("give one of them another name"),
            );
        }
        first.is_some()
    }

    /// `global` or `common`: nothing but option sections, once.
    fn once(
        &mut self,
        slot: &mut Option<At<Sections>>,
        statement: &Statement,
        block: &Block,
        section: Section,
    ) {
        if let Some(first) = slot {
            self.report(twice(section.name(), statement.keyword.span, first.span));
            return;
        }
        let mut sections = Sections::default();
        let mut seen = Seen::new();
        for statement in &block.statements {
            if section == Section::Global && statement.block.is_none() {
                self.setting(Section::Global, statement, &mut sections);
            } else if let Some(row) = self.keyword(section, statement) {
                self.option_section(row, statement, &mut sections, &mut seen);
            }
        }
        *slot = Some(At { value: sections, span: statement.keyword.span });
    }

    /// A template file: the inside of `common`, or one such section.
    fn template(&mut self, statements: &[Statement]) -> Option<Sections> {
        let errors = self.errors();
        let mut sections = Sections::default();
        let mut common = None;
        let mut seen = Seen::new();
        for statement in statements {
            let Some(row) = self.keyword(Section::Template, statement) else { continue };
            match (row.name, &statement.block) {
                ("common", Some(block)) => {
                    self.once(&mut common, statement, block, Section::Common);
                }
                _ => self.option_section(row, statement, &mut sections, &mut seen),
            }
        }
        if let (Some(common), Some(section)) = (&common, seen.values().min()) {
            self.report(
                Diagnostic::error(common.span, "`common` and sections beside it in a template")
                    .related(*section, "this one stands outside of `common`")
                    .help("write all of them into `common { … }`, or none"),
            );
        }
        (self.errors() == errors).then(|| common.map_or(sections, |common| common.value))
    }

    fn resource(&mut self, name: &Word, block: &Block) -> ResourceTree {
        let errors = self.errors();
        match unaddressable(name) {
            Some(wrong) => self.report(wrong),
            None => self.check_name("resource", name),
        }
        let mut resource = ResourceTree::new(&name.text, name.span);
        let mut seen = Seen::new();
        let mut implicit = VolumeTree::implicit(name.span);
        for statement in &block.statements {
            let Some(row) = self.keyword(Section::Resource, statement) else { continue };
            match (row.name, &statement.block) {
                ("on", Some(block)) => resource.hosts.extend(self.on(statement, block)),
                ("floating", block) => {
                    resource.hosts.extend(self.floating(statement, block.as_ref()));
                }
                ("template-file", _) => self.set_template(statement, &mut resource),
                ("ignore-on", _) => {
                    for word in &statement.arguments {
                        self.check_name("host", word);
                        resource.ignore_on.push(At { value: word.text.clone(), span: word.span });
                    }
                }
                ("volume", Some(block)) => {
                    if let Some(volume) = self.volume(statement, block) {
                        self.add_volume(&mut resource.volumes, volume);
                    }
                }
                ("connection" | "connection-mesh", Some(block)) => {
                    let mesh = row.name == "connection-mesh";
                    resource.connections.push(self.connection(statement, block, mesh));
                }
                ("device" | "disk" | "meta-disk" | "flexible-meta-disk", None) => {
                    self.volume_line(statement, &mut implicit);
                }
                _ => self.option_section(row, statement, &mut resource.sections, &mut seen),
            }
        }
        self.add_implicit(&mut resource.volumes, implicit);
        self.check_numbering(&resource);
        resource.broken |= self.errors() > errors;
        resource
    }

    fn set_template(&mut self, statement: &Statement, resource: &mut ResourceTree) {
        let name = &statement.arguments[0];
        let file = self.read.templates.get(&name.span);
        let template = file.and_then(|file| {
            let sections = self.templates.get(file.index)?.clone()?;
            Some(TemplateTree { path: file.path.clone(), sections })
        });
        // Without one an error has been reported, and nothing can be said of the resource.
        resource.broken |= template.is_none();
        self.set(&mut resource.template, statement, template);
    }

    /// `net { … }` and its like, and `protocol C;` as of 8.3.
    fn option_section(
        &mut self,
        row: &'static Keyword,
        statement: &Statement,
        sections: &mut Sections,
        seen: &mut Seen,
    ) {
        let Some(block) = &statement.block else {
            if row.name == "protocol" {
                self.setting(Section::Net, statement, sections);
            }
            return;
        };
        let Ends::Block(section) = row.ends else { return };
        if let Some(first) = seen.get(row.name) {
            self.report(twice(row.name, statement.keyword.span, *first));
        } else {
            seen.insert(row.name, statement.keyword.span);
        }
        if section != Section::Syncer {
            sections.0.entry(section).or_default();
        }
        for statement in &block.statements {
            if statement.block.is_some() {
                // Only `tls` of `net` and `plugin` are sections here, and both are refused.
                self.keyword(section, statement);
            } else {
                self.setting(section, statement, sections);
            }
        }
    }

    /// The row of a statement's keyword, if it may stand here, has its words and does something.
    fn keyword(&mut self, section: Section, statement: &Statement) -> Option<&'static Keyword> {
        let name = &statement.keyword;
        if section == Section::Unknown || self.is_skipped(statement) {
            return None;
        }
        let wants_block = statement.block.is_some();
        if name.text == "host" && self.is_proxied(statement) {
            return None;
        }
        let fits = |row: &&Keyword| matches!(row.ends, Ends::Block(_)) == wants_block;
        let Some(row) = grammar::at(section, &name.text).find(fits) else {
            self.not_here(section, statement);
            return None;
        };
        let (least, most) = row.words;
        if statement.arguments.len() < least {
            self.report(
                Diagnostic::error(name.span.after(), format!("`{}` is not complete", name.text))
                    .label("something is missing here")
                    .help(format!("it is written `{}`", row.usage)),
            );
            return None;
        }
        if let Some(surplus) = statement.arguments.get(most) {
            self.surplus(name, surplus, Some(row));
            return None;
        }
        match row.effect {
            Effect::Refused(why) => {
                self.report(
                    Diagnostic::error(statement.span(), format!("`{}` is refused", name.text))
                        .note(why),
                );
                None
            }
            Effect::NoEffect(why) => {
                if self.is_well_formed(row, &statement.arguments) {
                    let text = format!("`{}` has no effect: {why}", name.text);
                    self.report(Diagnostic::warning(statement.span(), text));
                }
                None
            }
            _ => Some(row),
        }
    }

    /// Whether `skip` stands before the statement; alone it is a mistake, and reported.
    fn is_skipped(&mut self, statement: &Statement) -> bool {
        let skip = &statement.keyword;
        let is_skip = skip.text == "skip" && !skip.quoted;
        if is_skip && statement.arguments.is_empty() && statement.block.is_none() {
            let wrong = Diagnostic::error(skip.span, "`skip` of nothing");
            self.report(wrong.help("write it before what is to be skipped, as `skip net { … }`"));
        }
        is_skip
    }

    /// Whether the words of a keyword without effect are what it takes; if not, that was reported.
    fn is_well_formed(&mut self, row: &Keyword, words: &[Word]) -> bool {
        let Some(word) = words.first() else { return true };
        let (good, rule) = if row.name.starts_with("require-drbd-module-version-") {
            let parts: Vec<_> = word.text.split('.').collect();
            let good = parts.len() == 3 && parts.iter().all(|part| part.parse::<u16>().is_ok());
            (good, "a version is three numbers, as 9.1.4")
        } else if row.name == "tiebreaker" {
            (matches!(word.text.as_str(), "yes" | "no"), "`tiebreaker` takes `yes` or `no`")
        } else {
            return true;
        };
        if !good {
            let wrong = Diagnostic::error(word.span, format!("bad value of `{}`", row.name));
            self.report(wrong.note(rule).help(format!("it is written `{}`", row.usage)));
        }
        good
    }

    fn surplus(&mut self, name: &Word, surplus: &Word, row: Option<&Keyword>) {
        let is_block = row.is_some_and(|row| matches!(row.ends, Ends::Block(_)));
        let mark = if is_block { "{" } else { ";" };
        let wrong = Diagnostic::error(surplus.span, format!("too many words for `{}`", name.text))
            .label(format!("`{mark}` expected before this"))
            .help_maybe(row.map(|row| format!("it is written `{}`", row.usage)));
        self.report(wrong);
    }

    /// Reports a word that does not go here: ends the wrong way, goes elsewhere, or is not known.
    fn not_here(&mut self, section: Section, statement: &Statement) {
        let name = statement.keyword.text.as_str();
        let span = statement.keyword.span;
        let place = match section {
            Section::Top => "at the top level".to_owned(),
            Section::Template => "in a template".to_owned(),
            _ => format!("in `{}`", section.name()),
        };
        if let Some(row) = grammar::at(section, name).next() {
            let problem = match row.ends {
                Ends::Block(_) => format!("`{name}` is a section"),
                Ends::Semicolon => format!("`{name}` is not a section"),
            };
            let help = format!("it is written `{}`", row.usage);
            self.report(Diagnostic::error(statement.span(), problem).help(help));
            return;
        }
        let wrong = Diagnostic::error(span, format!("`{name}` is not known {place}"));
        let now = crate::options::old_names()
            .find(|(_, old, new)| *old == name && crate::options::find(section, new).is_some())
            .map(|(_, _, new)| new);
        let homes = homes(name);
        let nearest = nearest(name.strip_prefix("no-").unwrap_or(name), words_at(section));
        let wrong = if section == Section::Template && !homes.is_empty() {
            wrong
                .label("not here")
                .note("a template is the inside of `common { … }`: sections of options")
        } else if let Some(now) = now {
            wrong.help(format!("here it is called `{now}`"))
        } else if (section, name) == (Section::Floating, "address") {
            wrong.help("remove it: the address stands after `floating`")
        } else if !homes.is_empty() {
            wrong.label("not here").help(format!("it goes {}", homes.join(" or ")))
        } else if let Some(word) = nearest {
            wrong.help(format!("did you mean `{word}`?"))
        } else {
            let valid: Vec<_> = grammar::valid_words(section).collect();
            let mut valid: Vec<_> = valid.iter().map(|word| format!("`{word}`")).collect();
            valid.dedup();
            wrong.note(format!("valid {place}: {}", valid.join(", ")))
        };
        self.report(wrong);
    }

    /// Names that DRBD takes for something else unless they are quoted.
    fn check_name(&mut self, what: &str, name: &Word) {
        let numeric = name.text.starts_with(|c: char| c.is_ascii_digit())
            && name.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let why = if name.text.is_empty() {
            let wrong = Diagnostic::error(name.span, format!("empty name of a {what}"));
            self.report(wrong.help("write its name between the quotes"));
            return;
        } else if name.quoted {
            if let Some(c) = name.text.chars().find(|c| c.is_control() || c.is_whitespace()) {
                let text = format!("character {c:?} in the name of a {what}");
                self.report(Diagnostic::error(name.span, text));
            }
            return;
        } else if grammar::is_reserved(&name.text) {
            "it is a word of the language"
        } else if numeric {
            "it reads as a number or an address"
        } else if name.text.contains(|c: char| !lexer::is_word_char(c)) {
            // Reported by the lexer.
            return;
        } else if name.text.contains([':', '[', ']', '%']) {
            "a name has no `:`, `[`, `]`, `%` in it"
        } else {
            return;
        };
        self.report(
            Diagnostic::error(name.span, format!("`{}` as the name of a {what}", name.text))
                .label(why)
                .help(format!("quote it: \"{}\"", name.text)),
        );
    }
}

/// Why commands would take that name of a resource for something else, if they would.
fn unaddressable(word: &Word) -> Option<Diagnostic> {
    let name = word.text.as_str();
    let is_minor = |name: &str| {
        let digits = name.strip_prefix("minor-");
        digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
    };
    let (problem, why) = if name.contains('/') {
        (
            "`/` in the name of a resource",
            "commands and exports take `NAME/N` for volume N of a resource",
        )
    } else if name.contains(':') {
        ("`:` in the name of a resource", "commands take `NAME:PEER` for the connection to a peer")
    } else if name.starts_with('-') {
        ("name of a resource that begins with `-`", "commands take it for an option")
    } else if name == "all" {
        ("`all` as the name of a resource", "commands take it for every resource")
    } else if is_minor(name) {
        (
            "`minor-N` as the name of a resource",
            "commands take it for the volume with that minor number",
        )
    } else {
        return None;
    };
    let plain = name.replace(['/', ':'], "-");
    let plain = plain.trim_matches('-');
    let taken =
        plain.is_empty() || plain == "all" || is_minor(plain) || grammar::is_reserved(plain);
    let instead = if taken { format!("r-{plain}") } else { plain.to_owned() };
    let instead = instead.trim_end_matches('-');
    let wrong = Diagnostic::error(word.span, problem).note(why);
    Some(wrong.help(format!("for instance `{instead}`")))
}

fn twice(name: &str, again: Span, first: Span) -> Diagnostic {
    Diagnostic::error(again, format!("section `{name}` twice"))
        .label("again here")
        .related(first, "first here")
        .help("write all of it into one section")
}

/// Where a word that is not valid here would be, as «in `net { … }`».
fn homes(name: &str) -> Vec<String> {
    let name = name.strip_prefix("no-").unwrap_or(name);
    let mut sections: Vec<Section> = crate::options::OPTIONS
        .iter()
        .filter(|spec| spec.name == name)
        .map(|spec| spec.home())
        .chain(
            grammar::KEYWORDS
                .iter()
                .filter(|row| row.name == name)
                .flat_map(|row| row.within.iter().copied()),
        )
        .filter(|section| {
            use Section::{Floating, Proxy, Stacked, Template};
            !matches!(section, Floating | Stacked | Proxy | Template)
        })
        .collect();
    sections.sort_unstable();
    sections.dedup();
    sections
        .into_iter()
        .map(|section| match section {
            Section::Top => "to the top level".to_owned(),
            _ => format!("into `{} {{ … }}`", section.name()),
        })
        .collect()
}

fn words_at(section: Section) -> impl Iterator<Item = &'static str> {
    grammar::valid_words(section)
}
