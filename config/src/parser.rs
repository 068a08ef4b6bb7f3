//! Recursive descent from tokens to statements, with recovery.
//!
//! The grammar needs no keyword: a statement is words up to `;` or a block. The keywords are asked
//! only where something is missing, to say where, and to go on so that one slip is one error:
//!
//! - A word on a new line that begins a statement here, after a statement that could be complete:
//!   the `;` is missing at the end of the line before.
//! - A section that does not go here but goes one level up, if the braces of the file do not balance:
//!   the `}` is missing before it.
//! - A word on a new line after `on HOST`: the `{` is missing.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::grammar;
use crate::lexer::Token;
use crate::options::Section;
use crate::source::{Source, Sources, Span};
use crate::syntax::{Block, Statement, Word};

/// How deep sections may nest; the language itself needs four levels.
const MAX_DEPTH: usize = 16;

/// Parses the tokens of one file, which ends at `end`. `top` is what its outermost statements stand
/// in: the top level, or that of a template.
pub(crate) fn parse(
    tokens: &[(Token, Span)],
    end: Span,
    top: Section,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Vec<Statement> {
    let mut parser = Parser {
        tokens,
        at: 0,
        end,
        top,
        source: sources.get(end.source),
        open: Vec::new(),
        closed_early: 0,
        leaving: None,
        balanced: is_balanced(tokens),
        diagnostics,
    };
    let statements = parser.statements(top);
    debug_assert_eq!(parser.at, tokens.len(), "the top level consumes every token");
    statements
}

fn is_balanced(tokens: &[(Token, Span)]) -> bool {
    let mut depth = 0_usize;
    for (token, _) in tokens {
        match token {
            Token::Open => depth += 1,
            Token::Close if depth == 0 => return false,
            Token::Close => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

struct Parser<'a> {
    tokens: &'a [(Token, Span)],
    at: usize,
    end: Span,
    top: Section,
    source: &'a Source,
    /// The sections that are open, with their `{`.
    open: Vec<(Section, Span)>,
    /// How many sections were closed for want of a `}`: as many surplus ones are no new error.
    closed_early: usize,
    /// The token at which sections are being left, as its `}` was reported missing.
    leaving: Option<usize>,
    /// Whether each `{` has its `}`: then none is missing.
    balanced: bool,
    diagnostics: &'a mut Diagnostics,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(self.end, |(_, span)| *span)
    }

    /// The place right after the token before this one.
    fn before(&self) -> Span {
        self.at.checked_sub(1).map_or(self.end, |last| self.tokens[last].1.after())
    }

    fn starts_line(&self) -> bool {
        match self.at.checked_sub(1) {
            Some(last) => {
                self.source.line(self.tokens[last].1.end) < self.source.line(self.span().start)
            }
            None => true,
        }
    }

    /// Statements up to the `}` that closes the section, which is consumed.
    fn statements(&mut self, section: Section) -> Vec<Statement> {
        let mut statements = Vec::new();
        loop {
            match self.peek() {
                None => {
                    self.end_of_file(section);
                    return statements;
                }
                Some(Token::Close) => {
                    if section != self.top || !self.open.is_empty() {
                        self.at += 1;
                        return statements;
                    }
                    self.surplus_close();
                }
                Some(Token::Semicolon) => {
                    let wrong = Diagnostic::error(self.span(), "`;` without a statement")
                        .label("nothing stands before it")
                        .note("`;` ends a statement; after `}` there is none")
                        .help("remove it");
                    self.diagnostics.push(wrong);
                    self.at += 1;
                }
                Some(Token::Open) => {
                    let wrong = Diagnostic::error(self.span(), "`{` without a section's name")
                        .label("which section begins here?")
                        .help("write its name before the `{`, as `net {`");
                    self.diagnostics.push(wrong);
                    self.at += 1;
                    self.block(Section::Unknown);
                }
                Some(Token::Word(_) | Token::Quoted(_)) => {
                    if self.belongs_outside(section) {
                        return statements;
                    }
                    statements.push(self.statement(section));
                }
            }
        }
    }

    fn end_of_file(&mut self, section: Section) {
        if section == self.top && self.open.is_empty() {
            return;
        }
        // The innermost section reports for all that are open.
        if self.leaving != Some(self.at) {
            self.leaving = Some(self.at);
            let Some((section, open)) = self.open.last().copied() else { return };
            let mut wrong = Diagnostic::error(open, "`{` is not closed")
                .label(format!("the `}}` of `{}` is missing", section.name()))
                .help("write `}` where the section ends");
            let outer = self.open.iter().rev().skip(1);
            for (section, open) in outer.take(MAX_DEPTH) {
                wrong = wrong.related(*open, format!("that of `{}` too", section.name()));
            }
            self.diagnostics.push(wrong);
        }
    }

    fn surplus_close(&mut self) {
        if self.closed_early > 0 {
            self.closed_early -= 1;
        } else {
            let wrong = Diagnostic::error(self.span(), "`}` without a `{`")
                .label("no section is open here")
                .help("remove it, or look for a `}` too many above");
            self.diagnostics.push(wrong);
        }
        self.at += 1;
    }

    /// Whether the statement here is a section that does not go into this one but into an outer
    /// one. The first section that is left for that reports the missing `}`.
    fn belongs_outside(&mut self, section: Section) -> bool {
        let Some((Token::Word(name), span)) = self.tokens.get(self.at) else { return false };
        if self.balanced || section == self.top || grammar::begins_statement(section, name) {
            return false;
        }
        let mut outer = self.open.iter().rev().skip(1).map(|(section, _)| *section);
        let fits = |outer| grammar::opens(outer, name).is_some();
        if !(outer.any(fits) || fits(self.top)) || !self.block_follows() {
            return false;
        }
        if self.leaving != Some(self.at) {
            self.leaving = Some(self.at);
            let mut wrong =
                Diagnostic::error(*span, format!("`{name}` does not go into `{}`", section.name()))
                    .label("is a `}` missing before it?")
                    .help(format!("write `}}` where `{}` ends", section.name()));
            if let Some((section, open)) = self.open.last() {
                wrong = wrong.related(*open, format!("`{}` begins here", section.name()));
            }
            self.diagnostics.push(wrong);
        }
        self.closed_early += 1;
        true
    }

    /// Whether `{` comes before `;` or `}`.
    fn block_follows(&self) -> bool {
        let marks =
            |(token, _): &&(Token, Span)| !matches!(token, Token::Word(_) | Token::Quoted(_));
        self.tokens[self.at..].iter().find(marks).is_some_and(|(token, _)| *token == Token::Open)
    }

    fn word(&mut self) -> Option<Word> {
        let (token, span) = self.tokens.get(self.at)?;
        let (text, quoted) = match token {
            Token::Word(text) => (text.clone(), false),
            Token::Quoted(text) => (text.clone(), true),
            _ => return None,
        };
        self.at += 1;
        Some(Word { text, quoted, span: *span })
    }

    fn statement(&mut self, section: Section) -> Statement {
        let keyword = self.word().expect("the caller has seen a word");
        let mut statement = Statement { keyword, arguments: Vec::new(), block: None };
        loop {
            match self.peek() {
                Some(Token::Semicolon) => {
                    self.at += 1;
                    return statement;
                }
                Some(Token::Open) => {
                    let name = &statement.keyword.text;
                    let inner = match name.as_str() {
                        "skip" => Section::Unknown,
                        _ => grammar::opens(section, name).unwrap_or(Section::Unknown),
                    };
                    self.at += 1;
                    statement.block = Some(self.block(inner));
                    // `via proxy on HOST { … };` is a line with a section in it.
                    let is_via = statement.arguments.iter().any(|word| word.text == "via");
                    if is_via && self.peek() == Some(&Token::Semicolon) {
                        self.at += 1;
                    }
                    return statement;
                }
                Some(Token::Word(_) | Token::Quoted(_)) => {
                    if self.is_cut_here(section, &statement) {
                        return self.cut(section, statement);
                    }
                    statement.arguments.extend(self.word());
                }
                Some(Token::Close) | None => return self.cut(section, statement),
            }
        }
    }

    /// Whether the word here begins a new statement, so that the one before lacks its end.
    fn is_cut_here(&self, section: Section, statement: &Statement) -> bool {
        let Some(Token::Word(word)) = self.peek() else { return false };
        let keyword = &statement.keyword.text;
        if !self.starts_line() || keyword == "skip" {
            return false;
        }
        let inner = grammar::opens(section, keyword);
        let complete = statement.arguments.len() >= grammar::most_words(section, keyword);
        let begins = |section| grammar::begins_statement(section, word);
        complete || begins(section) || inner.is_some_and(begins)
    }

    /// Ends a statement that lacks its end, and says so.
    fn cut(&mut self, section: Section, mut statement: Statement) -> Statement {
        let name = &statement.keyword.text;
        let place = self.before();
        if let Some(inner) = grammar::opens(section, name)
            && grammar::always_opens(section, name)
            && matches!(self.peek(), Some(Token::Word(_)))
        {
            let wrong = Diagnostic::error(place, "`{` expected")
                .label(format!("`{name}` is a section"))
                .related(statement.keyword.span, "begun here")
                .help_maybe(
                    grammar::usage(section, name).map(|usage| format!("it is written `{usage}`")),
                );
            self.diagnostics.push(wrong);
            statement.block = Some(self.block(inner));
            return statement;
        }
        let wrong = Diagnostic::error(place, "`;` expected")
            .label(match self.peek() {
                Some(Token::Close) => "before the `}`".to_owned(),
                Some(Token::Word(next)) => format!("before `{next}` on the next line"),
                _ => "before the end of the file".to_owned(),
            })
            .note("every statement ends with `;` or with a section in braces");
        self.diagnostics.push(wrong);
        statement
    }

    /// The inside of a section whose `{` has been consumed (or is missing).
    fn block(&mut self, section: Section) -> Block {
        let open = self.tokens[self.at - 1].1;
        if self.open.len() >= MAX_DEPTH {
            self.too_deep(open);
            return Block { open, statements: Vec::new() };
        }
        self.open.push((section, open));
        let statements = self.statements(section);
        self.open.pop();
        Block { open, statements }
    }

    /// Steps over a section that is nested too deep, without recursion.
    fn too_deep(&mut self, open: Span) {
        let wrong = Diagnostic::error(open, "sections nest too deep")
            .note(format!("at most {MAX_DEPTH} levels; the language needs four"));
        self.diagnostics.push(wrong);
        let mut depth = 1;
        while depth > 0 && self.at < self.tokens.len() {
            match self.peek() {
                Some(Token::Open) => depth += 1,
                Some(Token::Close) => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }
}
