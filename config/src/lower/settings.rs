//! Options: `name value;`, in all the spellings of it.

use super::Lower;
use crate::diagnostic::Diagnostic;
use crate::model::Digest;
use crate::options::{self, Effect, Kind, OptionSpec, Section};
use crate::syntax::{Statement, Word};
use crate::tree::{Sections, Setting, Settings};
use crate::value::{self, Value};

impl Lower<'_> {
    /// An option in `section`; it goes where it belongs, which for `syncer` is elsewhere.
    pub(super) fn setting(
        &mut self,
        section: Section,
        statement: &Statement,
        sections: &mut Sections,
    ) {
        if let Some(setting) = self.checked(section, statement) {
            let settings = sections.0.entry(setting.spec.home()).or_default();
            self.insert(settings, setting, &statement.keyword);
        }
    }

    /// An option of a section that has a place of its own: a volume's or a connection's.
    pub(super) fn own_setting(
        &mut self,
        section: Section,
        statement: &Statement,
        settings: &mut Settings,
    ) {
        let Some(setting) = self.checked(section, statement) else { return };
        if setting.spec.home() != section {
            let home = setting.spec.home().name();
            self.report(
                Diagnostic::error(
                    setting.span,
                    format!("`{}` does not go here", setting.spec.name),
                )
                .help(format!("write it into `{home} {{ … }}` of the resource")),
            );
            return;
        }
        self.insert(settings, setting, &statement.keyword);
    }

    fn insert(&mut self, settings: &mut Settings, setting: Setting, keyword: &Word) {
        let name = setting.spec.name;
        if let Some(first) = settings.get(name) {
            let text = format!("option `{name}` twice");
            let again = if keyword.text == name { "again here" } else { "means the same" };
            let wrong = Diagnostic::error(keyword.span, text)
                .label(again)
                .related(first.span, "first set here")
                .help("remove one of them");
            self.report(wrong);
            return;
        }
        settings.0.push(setting);
    }

    /// Looks the option up, checks its value and says what has no effect or is refused.
    fn checked(&mut self, section: Section, statement: &Statement) -> Option<Setting> {
        if section == Section::Unknown || self.is_skipped(statement) {
            return None;
        }
        if statement.block.is_some() {
            self.not_here(section, statement);
            return None;
        }
        let name = statement.keyword.text.as_str();
        let positive = name.strip_prefix("no-").and_then(|name| options::find(section, name));
        let (spec, negated) = match (options::find(section, name), positive) {
            (Some(spec), _) => (spec, false),
            (None, Some(spec)) if spec.kind == Kind::Flag => (spec, true),
            _ => {
                self.not_here(section, statement);
                return None;
            }
        };
        let raw = self.raw_value(spec, negated, statement)?;
        let span = statement.span();
        let value = match value::parse(spec, &raw) {
            Ok(value) => value,
            Err(bad) => {
                let shown = if matches!(spec.name, "shared-secret") { "…" } else { &raw };
                let wrong = Diagnostic::error(
                    statement.arguments_span(),
                    format!("bad value `{shown}` of `{}`", spec.name),
                );
                self.report(wrong.label(bad.problem).note(bad.rule).help_maybe(bad.help));
                return None;
            }
        };
        self.effect(spec, value, &raw, statement).map(|value| Setting {
            spec,
            value,
            raw: raw.clone(),
            span,
        })
    }

    /// The text of the value: the one word, or what a bare or negated flag stands for.
    fn raw_value(
        &mut self,
        spec: &OptionSpec,
        negated: bool,
        statement: &Statement,
    ) -> Option<String> {
        let name = &statement.keyword;
        let words = &statement.arguments;
        if spec.kind == Kind::Hosts && !words.is_empty() {
            for word in words {
                self.check_name("host", word);
            }
            let names: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
            return Some(names.join(" "));
        }
        match words.as_slice() {
            [] if negated => Some("no".into()),
            [] if spec.kind == Kind::Flag => Some("yes".into()),
            [] => {
                let wrong = Diagnostic::error(name.span.after(), "value expected")
                    .label(format!("`{}` needs a value", name.text))
                    .note(format!("it takes {}", value::describe(spec)));
                self.report(wrong);
                None
            }
            [value] if negated => {
                let wrong = Diagnostic::error(value.span, format!("value after `{}`", name.text))
                    .note(format!("`{0}` by itself means `{1} no`", name.text, spec.name));
                self.report(wrong);
                None
            }
            [value] => Some(value.text.clone()),
            [_, surplus, ..] => {
                self.surplus(name, surplus, None);
                None
            }
        }
    }

    /// Applies the row's effect: the value to use, or none if the setting is refused.
    fn effect(
        &mut self,
        spec: &OptionSpec,
        value: Value,
        raw: &str,
        statement: &Statement,
    ) -> Option<Value> {
        let is = |word: &str| value::parse(spec, word).as_ref() == Ok(&value);
        match spec.effect {
            Effect::NoEffect(why) => {
                let text = format!("`{}` has no effect: {why}", spec.name);
                self.report(Diagnostic::warning(statement.span(), text));
                Some(value)
            }
            Effect::ActsAs(word, why) if !is(word) => {
                let text = format!("`{} {raw}` acts as `{word}`: {why}", spec.name);
                self.report(Diagnostic::warning(statement.span(), text));
                Some(value)
            }
            Effect::Except(word, acts_as, why) if is(word) => {
                let text = format!("`{} {raw}` acts as `{acts_as}`: {why}", spec.name);
                self.report(Diagnostic::warning(statement.span(), text));
                Some(value)
            }
            Effect::StrongDigest if is(Digest::Crc32c.as_str()) => {
                let text = format!(
                    "`{} {raw}` acts as `xxh3`: of 2^32 blocks that differ one has the same CRC-32C, \
                     and would not be copied",
                    spec.name
                );
                self.report(Diagnostic::warning(statement.span(), text));
                Some(value)
            }
            Effect::Digest | Effect::StrongDigest => self.digest(spec, value, raw, statement),
            Effect::Refused(why) => {
                let text = format!("`{}` is refused", spec.name);
                let wrong = Diagnostic::error(statement.span(), text).note(why);
                self.report(wrong.help("remove the line"));
                None
            }
            Effect::Only(words, why) if !words.iter().any(|word| is(word)) => {
                let text = format!("`{} {raw}` is refused", spec.name);
                let help = format!("remove the line, or write {}", one_of(words));
                self.report(Diagnostic::error(statement.span(), text).note(why).help(help));
                None
            }
            Effect::Works | Effect::ActsAs(..) | Effect::Only(..) | Effect::Except(..) => {
                Some(value)
            }
        }
    }

    /// A digest by name. What both nodes compare never leaves them, so another digest that is at
    /// least as strong does what was wanted.
    fn digest(
        &mut self,
        spec: &OptionSpec,
        value: Value,
        raw: &str,
        statement: &Statement,
    ) -> Option<Value> {
        let is = |word: &str| value::parse(spec, word).as_ref() == Ok(&value);
        if Digest::ALL.iter().any(|digest| is(digest.as_str())) || is("") {
            return Some(value);
        }
        if Digest::OLD.iter().any(|old| is(old)) {
            let text = format!(
                "`{} {raw}` acts as `sha256`: that is the digest for those who trust no shorter one",
                spec.name
            );
            self.report(Diagnostic::warning(statement.span(), text));
            return Some(value);
        }
        let text = format!("`{} {raw}` is refused", spec.name);
        let help =
            format!("write {}, or remove the line", one_of(&Digest::ALL.map(Digest::as_str)));
        let wrong = Diagnostic::error(statement.span(), text);
        self.report(wrong.note("no digest of that name is here").help(help));
        None
    }
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(" or ")
}
