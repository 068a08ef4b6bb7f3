//! Tokens with their places.
//!
//! DRBD's scanner has many token classes; here there are five, and what a word means is decided
//! where it stands. So a device may be called `disk1` and an address is one word.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{SourceId, Span};

/// The longest unquoted word, in bytes.
pub(crate) const MAX_WORD: usize = 128;
/// The longest quoted string, in bytes between the quotes.
pub(crate) const MAX_STRING: usize = 255;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Letters, digits, and `/ . _ - : [ ] %`.
    Word(String),
    /// What stood between quotes, escapes undone.
    Quoted(String),
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    Semicolon,
}

/// What is too long was reported; messages that quote it need not be as long.
fn clipped(mut text: String) -> String {
    let end = (0..=MAX_STRING.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    text.truncate(end.unwrap_or(0));
    text
}

/// Whether a character may stand in an unquoted word.
pub(crate) fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-:[]%".contains(c)
}

/// The text as it stands between quotes.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What no text of a configuration has on purpose: U+FEFF is the mark that editors put at the start.
fn is_invisible(c: char) -> bool {
    c.is_control() || c == '\u{feff}'
}

/// Cuts a text into tokens. What is no token is reported and left out.
pub(crate) fn tokens(
    source: SourceId,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<(Token, Span)> {
    let mut lexer = Lexer { source, text, at: 0, diagnostics };
    let mut tokens = Vec::new();
    lexer.byte_order_mark();
    while let Some(token) = lexer.token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    source: SourceId,
    text: &'a str,
    at: usize,
    diagnostics: &'a mut Diagnostics,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn span(&self, start: usize) -> Span {
        Span { source: self.source, start, end: self.at }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn byte_order_mark(&mut self) {
        if self.peek() == Some('\u{feff}') {
            self.at += '\u{feff}'.len_utf8();
            let wrong = Diagnostic::error(self.span(0), "byte order mark at the start of the file");
            self.diagnostics.push(wrong.help("save the file as UTF-8 without it"));
        }
    }

    fn token(&mut self) -> Option<(Token, Span)> {
        loop {
            let start = self.at;
            let c = self.peek()?;
            let token = match c {
                ' ' | '\t' | '\r' | '\n' => {
                    self.at += 1;
                    continue;
                }
                '#' => {
                    self.skip_while(|c| c != '\n');
                    continue;
                }
                '{' | '}' | ';' => {
                    self.at += 1;
                    match c {
                        '{' => Token::Open,
                        '}' => Token::Close,
                        _ => Token::Semicolon,
                    }
                }
                '"' => self.quoted(),
                '\'' => self.single_quoted(),
                '=' => {
                    self.at += 1;
                    let wrong = Diagnostic::error(self.span(start), "`=` between name and value");
                    self.diagnostics.push(wrong.help("they are separated by a space alone"));
                    continue;
                }
                '/' if self.foreign_comment() => continue,
                ',' => {
                    self.at += 1;
                    let wrong = Diagnostic::error(self.span(start), "`,` between words");
                    self.diagnostics.push(
                        wrong.help("end a statement with `;`, and separate words by a space alone"),
                    );
                    let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r']);
                    if !rest.is_empty() && !rest.starts_with('\n') {
                        continue;
                    }
                    Token::Semicolon
                }
                c if c.is_whitespace() => {
                    self.at += c.len_utf8();
                    let text = format!("character {c:?} between words");
                    let wrong = Diagnostic::error(self.span(start), text);
                    self.diagnostics.push(wrong.help("write a plain space in its place"));
                    continue;
                }
                _ => self.word(),
            };
            return Some((token, self.span(start)));
        }
    }

    /// Steps over a comment as in C, which is a mistake; tells whether there was one.
    fn foreign_comment(&mut self) -> bool {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with("//") {
            self.skip_while(|c| c != '\n');
        } else if rest.starts_with("/*") {
            self.at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else {
            return false;
        }
        let mark = Span { source: self.source, start, end: start + 2 };
        self.diagnostics.push(
            Diagnostic::error(mark, "comment as in C")
                .help("a comment begins with `#` and ends with the line"),
        );
        true
    }

    /// A word. Characters that belong in no word are reported and taken along, so that one slip
    /// does not become several errors.
    fn word(&mut self) -> Token {
        let start = self.at;
        self.skip_while(|c| !"#{};\"=".contains(c) && !c.is_whitespace());
        if self.text[start..self.at].ends_with(',') {
            self.at -= 1;
        }
        let word = &self.text[start..self.at];
        let span = self.span(start);
        if let Some((at, c)) = word.char_indices().find(|(_, c)| !is_word_char(*c)) {
            let place = Span { start: start + at, end: start + at + c.len_utf8(), ..span };
            let wrong = Diagnostic::error(place, format!("character {c:?} in a word"))
                .note("a word is letters, digits and `/ . _ - : [ ] %`; anything else is quoted");
            self.diagnostics.push(if is_invisible(c) {
                wrong.help("remove it")
            } else if c == '\u{fffd}' {
                wrong.help("save the file as UTF-8, or use ASCII")
            } else {
                wrong.help_maybe((word.len() <= MAX_WORD).then(|| format!("write {}", quote(word))))
            });
            return Token::Word(clipped(word.replace(is_invisible, "")));
        } else if word.len() > MAX_WORD {
            self.diagnostics.push(
                Diagnostic::error(span, "word too long")
                    .label(format!("{} characters", word.len()))
                    .note(format!("a word has at most {MAX_WORD} characters, quoted {MAX_STRING}")),
            );
        }
        Token::Word(clipped(word.to_owned()))
    }

    /// A string in the quotes of a shell, if they are closed on their line.
    fn single_quoted(&mut self) -> Token {
        let start = self.at;
        let rest = &self.text[start + 1..];
        let end = rest.find(['\'', '\n']).filter(|&end| rest[end..].starts_with('\''));
        let Some(length) = end else { return self.word() };
        let inside = &rest[..length];
        self.at += length + 2;
        let wrong = Diagnostic::error(self.span(start), "string in single quotes")
            .note("a string stands between `\"`")
            .help_maybe((length <= MAX_STRING).then(|| format!("write {}", quote(inside))));
        self.diagnostics.push(wrong);
        Token::Quoted(clipped(inside.to_owned()))
    }

    fn quoted(&mut self) -> Token {
        let start = self.at;
        self.at += 1;
        let mut string = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => {
                    string = self.unterminated(start);
                    break;
                }
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('\\') => self.escape(&mut string),
                Some(c) => {
                    self.at += c.len_utf8();
                    string.push(c);
                }
            }
        }
        let span = self.span(start);
        if string.len() > MAX_STRING {
            self.diagnostics.push(
                Diagnostic::error(span, "string too long")
                    .label(format!("{} bytes", string.len()))
                    .note(format!("a quoted string has at most {MAX_STRING} bytes"))
                    .help("put a long command into a script and name the script"),
            );
        } else if string.contains('\u{fffd}') {
            self.diagnostics.push(
                Diagnostic::error(span, "string is not UTF-8")
                    .help("save the file as UTF-8, or use ASCII"),
            );
        }
        Token::Quoted(clipped(string))
    }

    fn escape(&mut self, string: &mut String) {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(c @ ('"' | '\\')) => {
                self.at += 1;
                string.push(c);
            }
            // The loop of the caller reports the missing quote.
            None | Some('\n') => {}
            Some(c) => {
                self.at += c.len_utf8();
                self.diagnostics.push(
                    Diagnostic::error(self.span(start), format!("unknown escape `\\{c}`"))
                        .note("within quotes, `\\\"` stands for a quote and `\\\\` for a backslash")
                        .help("write the backslash twice"),
                );
            }
        }
    }

    /// The string ends with the line, or before the last `;` and `}` on it, which were most likely
    /// meant as such.
    fn unterminated(&mut self, start: usize) -> String {
        let line = &self.text[start + 1..self.at];
        let is_mark = |c: char| matches!(c, ';' | '}');
        let string = match line.rfind(is_mark) {
            Some(last) => line[..last].trim_end_matches(|c| is_mark(c) || c == ' ' || c == '\t'),
            None => line.trim_end_matches('\r'),
        };
        self.at = start + 1 + string.len();
        let string = string.to_owned();
        let first = Span { source: self.source, start, end: start + 1 };
        self.diagnostics.push(
            Diagnostic::error(first, "quote is not closed")
                .label("opened here")
                .note("a string ends on the line on which it begins")
                .help("write `\"` at its end"),
        );
        string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> (Vec<Token>, usize) {
        let mut diagnostics = Diagnostics::default();
        let tokens = tokens(SourceId(0), text, &mut diagnostics);
        (tokens.into_iter().map(|(token, _)| token).collect(), diagnostics.errors())
    }

    #[test]
    fn words_strings_and_marks() {
        let word = |text: &str| Token::Word(text.into());
        let (tokens, errors) = lex("address [::1]:7789;#;\n}\"a \\\"b\\\\\"{");
        let expected = [
            word("address"),
            word("[::1]:7789"),
            Token::Semicolon,
            Token::Close,
            Token::Quoted("a \"b\\".into()),
            Token::Open,
        ];
        assert_eq!((tokens.as_slice(), errors), (expected.as_slice(), 0));
    }

    #[test]
    fn an_open_quote_ends_with_its_line_and_leaves_the_semicolon() {
        let (tokens, errors) = lex("a \"b c;\nd;");
        assert_eq!(errors, 1);
        assert_eq!(tokens[1], Token::Quoted("b c".into()));
        assert_eq!(tokens[2], Token::Semicolon);
        let (tokens, errors) = lex("a \"b; c; } # of a\nd");
        assert_eq!(errors, 1);
        let word = |text: &str| Token::Word(text.into());
        let rest = [Token::Semicolon, Token::Close, word("d")];
        assert_eq!(tokens[1..], [&[Token::Quoted("b; c".into())], &rest[..]].concat());
        assert_eq!(lex("\"\\").1, 1);
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(lex(&"x".repeat(MAX_WORD)).1, 0);
        assert_eq!(lex(&"x".repeat(MAX_WORD + 1)).1, 1);
        assert_eq!(lex(&format!("\"{}\"", "x".repeat(MAX_STRING + 1))).1, 1);
    }
}
