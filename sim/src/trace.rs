//! What happened in a world: always as a number, and as text for the one who replays it.

use std::fmt::Write as _;
use types::Time;

/// A running hash of everything that engines were told and asked for, and the text of it.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    text: Option<String>,
}

impl Trace {
    /// A trace; with `text`, of lines too.
    pub fn new(text: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, text: text.then(String::new) }
    }

    /// Whether lines are wanted.
    pub const fn wants_text(&self) -> bool {
        self.text.is_some()
    }

    /// Takes a number into the hash.
    pub fn number(&mut self, number: u64) {
        // FNV-1a by words, with a rotation so that high bits matter too.
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    /// Takes bytes into the hash.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.number(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.number(u64::from(*byte)));
        self.number(bytes.len() as u64);
    }

    /// Adds a line, made only if lines are wanted.
    pub fn line(&mut self, now: Time, who: &str, what: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            let ms = now.0 as f64 / 1e6;
            writeln!(text, "{ms:12.3} {who:<5} {}", what()).expect("writing to a string");
        }
    }

    /// The hash so far.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines so far.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}
