//! Lines of `key:value` words, broken before column 80 as DRBD's are.

use std::fmt::Display;

const WIDTH: usize = 80;

/// One such line, being written.
#[derive(Debug)]
pub struct Words<'a> {
    text: &'a mut String,
    indent: usize,
    rest: usize,
    column: usize,
}

impl<'a> Words<'a> {
    /// A line indented by so many blanks; what does not fit goes on four further in.
    pub fn indented(text: &'a mut String, indent: usize) -> Self {
        Self { text, indent, rest: indent + 4, column: 0 }
    }

    /// A line of which every part is indented by so many blanks.
    pub fn block(text: &'a mut String, indent: usize) -> Self {
        Self { text, indent, rest: indent, column: 0 }
    }

    /// A word.
    pub fn word(&mut self, word: &str) -> &mut Self {
        let len = word.chars().count();
        if self.column == 0 {
            self.start_at(self.indent);
        } else if self.column + 1 + len > WIDTH {
            self.text.push('\n');
            self.start_at(self.rest);
        } else {
            self.text.push(' ');
            self.column += 1;
        }
        self.text.push_str(word);
        self.column += len;
        self
    }

    /// `key:value`.
    pub fn pair(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.word(&format!("{key}:{value}"))
    }

    /// `key:value`, if that is to be shown.
    pub fn pair_if(&mut self, shown: bool, key: &str, value: impl Display) -> &mut Self {
        if shown { self.pair(key, value) } else { self }
    }

    /// `key:value`, if there is a value.
    pub fn pair_some(&mut self, key: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.pair(key, value),
            None => self,
        }
    }

    /// The end of the line, if there is anything on it.
    pub fn end(&mut self) {
        if self.column > 0 {
            self.text.push('\n');
            self.column = 0;
        }
    }

    fn start_at(&mut self, column: usize) {
        self.text.push_str(&" ".repeat(column));
        self.column = column;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_before_column_80() {
        let mut text = String::new();
        let mut words = Words::indented(&mut text, 2);
        (0..12).for_each(|n| _ = words.pair("a-counter", n * 1000));
        words.end();
        let mut words = Words::block(&mut text, 6);
        (0..12).for_each(|n| _ = words.pair("a-counter", n * 1000));
        words.end();
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_word_too_long_has_a_line_of_its_own() {
        let mut text = String::new();
        Words::indented(&mut text, 0).word("a").word(&"x".repeat(100)).word("b").end();
        assert_eq!(text.lines().count(), 3);
    }
}
