//! What is wrong with a file, shown so that it can be put right without the manual.

use crate::source::{SourceId, Sources, Span};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use std::fmt;

/// How many diagnostics of one run are shown; the rest is counted.
const MAX_SHOWN: usize = 50;
/// A line longer than this is not shown: it is no text that somebody has typed.
const MAX_LINE: usize = 4096;
/// How many are kept: a file may be wrong at each of its bytes.
const MAX_KEPT: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// The configuration is used, and something in it does not do what it says.
    Warning,
}

/// One thing to say about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one line without the place.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to write under the place; may be empty.
    pub label: String,
    /// Other places that belong to it.
    pub related: Vec<(Span, String)>,
    /// The rule behind it.
    pub notes: Vec<String>,
    /// The way out.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error at that place.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span,
            label: String::new(),
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning at that place.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// Writes this under the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at another place too.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds a rule.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a way out, if there is one.
    #[must_use]
    pub fn help_maybe(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }

    /// One line: `warning: FILE:LINE:COLUMN: message`.
    pub fn one_line(&self, sources: &Sources) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!("{severity}: {}: {}", sources.place(self.span), self.message)
    }

    /// The full picture, with the source lines; plain text, no colour, ends with a newline.
    pub fn render(&self, sources: &Sources) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        for snippet in self.snippets(sources) {
            group = group.element(snippet);
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = Renderer::plain().decor_style(DecorStyle::Ascii).term_width(140);
        let mut text = renderer.render(&[group]);
        text.push('\n');
        text
    }

    /// One snippet for each file that the diagnostic points into, its own first.
    fn snippets<'a>(&'a self, sources: &'a Sources) -> Vec<Element<'a>> {
        let mut files = vec![self.span.source];
        for (span, _) in &self.related {
            if !files.contains(&span.source) {
                files.push(span.source);
            }
        }
        files.into_iter().map(|file| self.snippet(file, sources)).collect()
    }

    /// The lines of one file that the diagnostic points at.
    fn snippet<'a>(&'a self, file: SourceId, sources: &'a Sources) -> Element<'a> {
        let own = (self.span, self.label.as_str(), AnnotationKind::Primary);
        let related = self
            .related
            .iter()
            .map(|(span, label)| (*span, label.as_str(), AnnotationKind::Context));
        let marks: Vec<_> =
            std::iter::once(own).chain(related).filter(|(span, ..)| span.source == file).collect();
        let source = sources.get(file);
        let path = source.path.to_string_lossy();
        // Only the lines in question are handed over: the renderer reads all that it is given.
        let first = marks.iter().map(|(span, ..)| span.start).min().unwrap_or(0);
        let last = marks.iter().map(|(span, ..)| span.end).max().unwrap_or(0);
        let (line, lines) = source.lines(first, last);
        let text = &source.text[lines.clone()];
        if text.lines().any(|line| line.len() > MAX_LINE) {
            let place = marks.first().map_or(self.span, |(span, ..)| *span);
            let (line, column) = sources.line_column(place);
            return Origin::path(path).line(line).char_column(column).into();
        }
        let annotations = marks.into_iter().map(|(span, label, kind)| {
            let annotation = kind.span(span.start - lines.start..span.end - lines.start);
            if label.is_empty() { annotation } else { annotation.label(label) }
        });
        Snippet::source(text).path(path).line_start(line + 1).annotations(annotations).into()
    }
}

/// What was found so far. Beyond [`MAX_KEPT`] it is only counted.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    kept: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
}

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.kept.len() < MAX_KEPT {
            self.kept.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// How many errors were found.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The warnings, by place, if there is no error; else everything.
    pub(crate) fn finish(mut self, sources: Sources) -> Result<(Vec<Diagnostic>, Sources), Report> {
        self.kept.sort_by_key(|diagnostic| diagnostic.span);
        let Self { kept: diagnostics, errors, dropped } = self;
        if errors == 0 {
            Ok((diagnostics, sources))
        } else {
            Err(Report { diagnostics, sources, errors, dropped })
        }
    }
}

/// Everything that is wrong with a configuration, with the texts to show it in.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first 1000 diagnostics by their places, warnings among them.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that they point into.
    pub sources: Sources,
    errors: usize,
    dropped: usize,
}

impl Report {
    /// How many errors there are; at least one.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many diagnostics were found beyond those that are kept.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.diagnostics.iter().take(MAX_SHOWN) {
            writeln!(f, "{}", diagnostic.render(&self.sources))?;
        }
        let more = self.diagnostics.len().saturating_sub(MAX_SHOWN) + self.dropped;
        if more > 0 {
            writeln!(f, "and {more} more, not shown")?;
        }
        match self.errors {
            1 => write!(f, "the configuration is not used: 1 error"),
            errors => write!(f, "the configuration is not used: {errors} errors"),
        }
    }
}
