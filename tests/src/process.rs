//! Running a program to its end, with an end to patience.

use crate::clock;
use anyhow::Context;
use std::fmt;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// Its exit code; nothing if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, code, out, err, took } = self;
        write!(f, "`{line}` ended with {code:?} after {took:.1?}\n{out}{err}")
    }
}

impl Ran {
    /// The same, if it ended with that code.
    ///
    /// # Errors
    /// With everything it printed, if not.
    pub fn ended_with(self, code: i32) -> anyhow::Result<Self> {
        anyhow::ensure!(self.code == Some(code), "{self}(expected {code})");
        Ok(self)
    }
}

/// Runs a program to its end; after `patience` it is killed.
///
/// # Errors
/// If it cannot be started, or has to be killed.
pub fn run(command: &mut Command, patience: Duration) -> anyhow::Result<Ran> {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = words.join(" ");
    let start = clock::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let ended = clock::until(&format!("the end of `{line}`"), patience, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill().context("kill")?;
    }
    let status = child.wait().with_context(|| line.clone())?;
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.map_or_else(String::new, |reader| reader.join().expect("a reader does not panic"))
    };
    let ran =
        Ran { code: status.code(), out: text(out), err: text(err), took: start.elapsed(), line };
    ended.with_context(|| ran.to_string())?;
    Ok(ran)
}

/// Reads a pipe to its end in a thread of its own: a full pipe would stop the program.
fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_kept_apart() {
        let mut command = Command::new("sh");
        let ran = run(command.args(["-c", "echo a; echo b >&2; exit 3"]), Duration::from_secs(60));
        let ran = ran.unwrap();
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(3), "a\n", "b\n"));
        assert!(ran.ended_with(0).unwrap_err().to_string().contains("(expected 0)"));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let error = run(Command::new("sleep").arg("1000"), Duration::ZERO).unwrap_err();
        assert!(format!("{error:#}").contains("not within"), "{error:#}");
    }
}
