//! The texts that were read, and places in them.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// Which text: an index into [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub usize);

/// A range of bytes of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: usize,
    /// The first byte after it.
    pub end: usize,
}

impl Span {
    /// From the start of `self` to the end of `last`, if both are of one text.
    pub fn to(self, last: Self) -> Self {
        if self.source != last.source {
            return self;
        }
        Self { end: self.end.max(last.end), ..self }
    }

    /// The empty range right after it.
    pub fn after(self) -> Self {
        Self { start: self.end, ..self }
    }
}

/// One file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name as errors show it: as typed by the user, or the including file's directory joined
    /// with the pattern.
    pub path: PathBuf,
    /// Its text. Bytes that are no UTF-8 stand as U+FFFD.
    pub text: String,
    /// Where its newlines are, so that a line number is a search and not a scan.
    newlines: Vec<usize>,
}

impl Source {
    /// The lines from the byte `first` to the byte `last`: the number of the first, from 0, and
    /// their bytes.
    pub(crate) fn lines(&self, first: usize, last: usize) -> (usize, Range<usize>) {
        let line = self.line(first);
        let start = line.checked_sub(1).map_or(0, |before| self.newlines[before] + 1);
        let end = self.newlines.get(self.line(last)).copied().unwrap_or(self.text.len());
        (line, start..end)
    }

    /// The number of the line that a byte is on, from 0.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.newlines.partition_point(|&newline| newline < at)
    }
}

/// Every file that was read, in order; the first is the one asked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, path: &Path, text: String) -> SourceId {
        let newlines = text.match_indices('\n').map(|(at, _)| at).collect();
        self.files.push(Source { path: path.to_path_buf(), text, newlines });
        SourceId(self.files.len() - 1)
    }

    /// The text of that id.
    ///
    /// # Panics
    /// If the id is of another set of sources.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.files[id.0]
    }

    /// All of them.
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// Line and column of the start of a span, both from 1; columns count characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let source = self.get(span.source);
        let (line, bytes) = source.lines(span.start, span.start);
        let before = &source.text[bytes.start..floor_boundary(&source.text, span.start)];
        (line + 1, before.chars().count() + 1)
    }

    /// The start of a span as `FILE:LINE:COLUMN`.
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.line_column(span);
        format!("{}:{line}:{column}", self.get(span.source).path.display())
    }

    /// The start of a span as `FILE:LINE`.
    pub fn file_line(&self, span: Span) -> String {
        let (line, _) = self.line_column(span);
        format!("{}:{line}", self.get(span.source).path.display())
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters() {
        let mut sources = Sources::default();
        let source = sources.add(Path::new("a.conf"), "one\n  «two»\n".into());
        let start = sources.get(source).text.find("two").unwrap();
        let span = Span { source, start, end: start + 3 };
        assert_eq!(sources.place(span), "a.conf:2:4");
        assert_eq!(sources.file_line(span), "a.conf:2");
    }
}
