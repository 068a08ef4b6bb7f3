//! The syntax tree: statements of words, each ended by `;` or by a block of statements.
//!
//! What the words mean is not known here. Comments are gone; every word knows its place.

use crate::source::Span;

/// One word, quoted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) quoted: bool,
    pub(crate) span: Span,
}

/// `word word … ;` or `word word … { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) keyword: Word,
    pub(crate) arguments: Vec<Word>,
    pub(crate) block: Option<Block>,
}

/// `{ … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The `{`.
    pub(crate) open: Span,
    pub(crate) statements: Vec<Statement>,
}

impl Statement {
    /// From its first word to its last.
    pub(crate) fn span(&self) -> Span {
        self.arguments.last().map_or(self.keyword.span, |last| self.keyword.span.to(last.span))
    }

    /// The words after the keyword.
    pub(crate) fn arguments_span(&self) -> Span {
        match (self.arguments.first(), self.arguments.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.keyword.span,
        }
    }
}
