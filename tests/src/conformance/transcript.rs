//! Golden transcripts: whole sessions as annotated bytes, replayed against a daemon.
//!
//! Lines of a transcript:
//!
//! ```text
//! # a comment
//! > 00 00 00 03 "IHAVEOPT"      bytes of the client
//! < 67 44 66 98 ?? ??           bytes of the server; ?? is one that may vary
//! < len32+6 ... len16 text      a text for people, and its lengths
//! < end                         the server hangs up
//! ```
//!
//! Words are bytes in hexadecimal, `"ASCII"`, `N*HH` for N times the same byte, and, in lines of
//! the server, `??`, `len16`, `len32`, `len64` and `text`. A `len` is the length of the next text,
//! plus what stands behind a `+`; the text is UTF-8 without NUL and at least one byte long. Each
//! line of the server is awaited before the next line, so a transcript has an order; what the
//! server may reorder must not stand in one.

use crate::nbd_client::{Address, Wire};
use anyhow::{Context, bail, ensure};

/// One word of a server's line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Byte(u8),
    Any,
    /// The length of the next text, plus something, in so many bytes.
    Len {
        bytes: usize,
        plus: u64,
    },
    Text,
}

#[derive(Debug)]
enum Line {
    Client(Vec<u8>),
    Server(Vec<Word>),
    End,
}

/// A whole session.
#[derive(Debug)]
pub struct Transcript {
    /// With their numbers in the file.
    lines: Vec<(usize, Line)>,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// If a word means nothing, with its line.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let parsed = parse_line(line).with_context(|| format!("line {}: {line}", at + 1))?;
            lines.extend(parsed.map(|line| (at + 1, line)));
        }
        ensure!(!lines.is_empty(), "no session");
        Ok(Self { lines })
    }

    /// Plays the client's part, and compares the server's.
    ///
    /// # Errors
    /// At the first byte that differs, with its line.
    pub async fn replay(&self, address: &Address) -> anyhow::Result<()> {
        let mut wire = Wire::connect(address).await?;
        for (at, line) in &self.lines {
            let played = match line {
                Line::Client(bytes) => wire.send(bytes).await.map_err(Into::into),
                Line::Server(words) => compare(&mut wire, words).await,
                Line::End => wire.closed().await.map_err(Into::into),
            };
            played.with_context(|| format!("line {at}"))?;
        }
        Ok(())
    }
}

async fn compare(wire: &mut Wire, words: &[Word]) -> anyhow::Result<()> {
    let mut heard = Vec::new();
    let mut text_len: Option<u64> = None;
    for word in words {
        let before = heard.len();
        let right = match *word {
            Word::Byte(byte) => {
                heard.extend(wire.receive(1).await?);
                heard[before] == byte
            }
            Word::Any => {
                heard.extend(wire.receive(1).await?);
                true
            }
            Word::Len { bytes, plus } => {
                heard.extend(wire.receive(bytes).await?);
                let value =
                    heard[before..].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
                let len = value.checked_sub(plus);
                let agrees = text_len.is_none_or(|known| Some(known) == len);
                text_len = len;
                agrees && len.is_some_and(|len| (1..4096).contains(&len))
            }
            Word::Text => {
                let len = text_len.take().context("a text without a length")?;
                heard.extend(wire.receive(len as usize).await?);
                std::str::from_utf8(&heard[before..]).is_ok_and(|text| !text.contains('\0'))
            }
        };
        ensure!(right, "{word:x?} does not go with the end of {}", hex(&heard));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

fn parse_line(line: &str) -> anyhow::Result<Option<Line>> {
    let Some((side, rest)) = line.split_at_checked(2) else {
        ensure!(line.is_empty() || line == "#", "no line of a transcript");
        return Ok(None);
    };
    match (side, rest) {
        ("# ", _) => Ok(None),
        ("< ", "end") => Ok(Some(Line::End)),
        ("< ", rest) => words(rest).map(|words| Some(Line::Server(words))),
        ("> ", rest) => {
            let bytes = words(rest)?.into_iter().map(|word| match word {
                Word::Byte(byte) => Ok(byte),
                word => bail!("the client says {word:?}"),
            });
            Ok(Some(Line::Client(bytes.collect::<anyhow::Result<_>>()?)))
        }
        _ => bail!("no line of a transcript"),
    }
}

fn words(mut rest: &str) -> anyhow::Result<Vec<Word>> {
    let mut words = Vec::new();
    while !rest.trim_start().is_empty() {
        rest = rest.trim_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            let (ascii, behind) = quoted.split_once('"').context("a quote without an end")?;
            words.extend(ascii.bytes().map(Word::Byte));
            rest = behind;
            continue;
        }
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = behind;
        match (word, word.split_once('*')) {
            ("??", _) => words.push(Word::Any),
            ("text", _) => words.push(Word::Text),
            (_, Some((times, byte))) => {
                let times: usize = times.parse().context("how many times?")?;
                words.extend(std::iter::repeat_n(Word::Byte(byte_of(byte)?), times));
            }
            (word, None) => words.push(match word.strip_prefix("len") {
                Some(bits) => len_of(bits)?,
                None => Word::Byte(byte_of(word)?),
            }),
        }
    }
    Ok(words)
}

fn byte_of(word: &str) -> anyhow::Result<u8> {
    ensure!(word.len() == 2, "{word} is no byte");
    u8::from_str_radix(word, 16).with_context(|| format!("{word} is no byte"))
}

fn len_of(bits: &str) -> anyhow::Result<Word> {
    let (bits, plus) = bits.split_once('+').unwrap_or((bits, "0"));
    let bytes = match bits {
        "16" => 2,
        "32" => 4,
        "64" => 8,
        _ => bail!("a length of {bits} bits"),
    };
    Ok(Word::Len { bytes, plus: plus.parse().context("plus what?")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixListener;

    /// Replays a transcript against a server that says these bytes, and hangs up.
    fn replay(transcript: &str, bytes: &'static [u8]) -> anyhow::Result<()> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        crate::load::runtime().unwrap().block_on(async {
            let listener = UnixListener::bind(&path).unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                // A client that has heard enough may be gone.
                let _ = stream.write_all(bytes).await;
            };
            let transcript = Transcript::parse(transcript).unwrap();
            let address = Address::Unix(path.clone());
            tokio::join!(transcript.replay(&address), serve).0
        })
    }

    #[test]
    fn what_the_server_says_is_compared_byte_by_byte() {
        let bytes = b"NBD\x01\x02\0\0\0\x08\0\x02ho";
        let good = "# a session\n< \"NBD\" 01 ??\n< len32+6 len16 text\n< end\n";
        replay(good, bytes).unwrap();
        for (bad, why) in [
            ("< \"NBD\" 02", "another byte"),
            ("< \"NBD\" 01 02\n< end", "more than expected"),
            ("< \"NBD\" 01 02\n< len32+5 len16 text", "lengths that differ"),
            ("< \"NBD\" 01 02\n< len32 len16+6 text", "a text that is cut"),
            ("< \"NBD\" 01 02\n< len32+8 text", "no text"),
            ("< 3*4e", "the same byte thrice"),
        ] {
            assert!(replay(bad, bytes).is_err(), "{why}");
        }
    }

    #[test]
    fn words_that_mean_nothing_are_errors() {
        for bad in ["", "=", "> ??", "> 1", "> zz", "< len8 text", "< \"open", "< x*00", "# only"] {
            assert!(Transcript::parse(bad).is_err(), "{bad}");
        }
        assert!(Transcript::parse("> 2*00 ff \"a\"").is_ok());
    }
}
