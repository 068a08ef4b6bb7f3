//! How a command ends: the exit codes that scripts rely on, and what is printed.

use std::fmt;
use std::io::{self, Write};

/// Exit codes, with DRBD's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, or there was nothing to do.
    Done = 0,
    /// Usage, an unknown resource, a resource that is not up.
    Usage = 1,
    /// A wait has timed out; or `outdate` has found a disk that is worth less already.
    Timeout = 5,
    /// Invalid configuration; no metadata, or metadata in the way; a disk that is missing or in
    /// use.
    Config = 10,
    /// A change of state was refused.
    Refused = 11,
    /// Refused for want of UpToDate data.
    NoData = 17,
    /// Split brain.
    SplitBrain = 18,
    /// The configuration cannot be opened, or the daemon cannot be reached or has failed.
    Failed = 20,
}

impl Exit {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Usage,
        Self::Timeout,
        Self::Config,
        Self::Refused,
        Self::NoData,
        Self::SplitBrain,
        Self::Failed,
    ];

    /// The code of that number. One that is not ours is a failure of whoever sent it.
    pub fn from_u8(number: u8) -> Self {
        Self::ALL.into_iter().find(|exit| *exit as u8 == number).unwrap_or(Self::Failed)
    }
}

/// Why a command did not do what it was asked to: one message that says what is in the way, and
/// which command removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// For the person.
    pub text: String,
}

impl Failure {
    /// A failure with that message.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// A failure whose words the person has read already.
    pub fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// The same, said about that resource or volume, unless the text begins with it already.
    #[must_use]
    pub fn about(mut self, name: &str) -> Self {
        if !self.text.starts_with(name) {
            self.text = format!("{name}: {}", self.text);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// What a command ends with.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Whoever reads our output has gone: `repadm status | head -1` is a success.
#[derive(Debug)]
enum Sink<'a> {
    Stream(&'a mut dyn Writer),
    Gone,
}

/// Something that can be written to and named in a panic.
pub trait Writer: Write + fmt::Debug {}
impl<T: Write + fmt::Debug> Writer for T {}

/// Standard output, or what stands for it in a test.
#[derive(Debug)]
pub struct Out<'a> {
    sink: Sink<'a>,
}

impl<'a> Out<'a> {
    /// Print there.
    pub fn new(stream: &'a mut dyn Writer) -> Self {
        Self { sink: Sink::Stream(stream) }
    }

    /// Print this as it is. Once nobody reads any more, nothing is printed and nothing fails.
    ///
    /// # Errors
    /// When writing fails in any other way, for instance because a disk is full.
    pub fn print(&mut self, text: &str) -> Outcome {
        let Sink::Stream(stream) = &mut self.sink else { return Ok(()) };
        match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.sink = Sink::Gone;
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Failed, format!("cannot print: {error}"))),
        }
    }

    /// Print this and a line end.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn line(&mut self, text: impl fmt::Display) -> Outcome {
        self.print(&format!("{text}\n"))
    }

    /// Whether nobody reads any more, so that what repeats itself may end.
    pub const fn is_gone(&self) -> bool {
        matches!(self.sink, Sink::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one write, then fails as told.
    #[derive(Debug)]
    struct Ends(Option<io::ErrorKind>, Vec<u8>);

    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.1.is_empty() {
                return Err(self.0.expect("told how to fail").into());
            }
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let mut stream = Ends(Some(io::ErrorKind::BrokenPipe), Vec::new());
        let mut out = Out::new(&mut stream);
        assert_eq!(out.line("one"), Ok(()));
        assert!(!out.is_gone());
        assert_eq!(out.line("two"), Ok(()));
        assert!(out.is_gone());
        assert_eq!(out.line("three"), Ok(()));
        assert_eq!(stream.1, b"one\n");
    }

    #[test]
    fn a_full_disk_is() {
        let mut stream = Ends(Some(io::ErrorKind::StorageFull), Vec::new());
        let mut out = Out::new(&mut stream);
        assert_eq!(out.line("one"), Ok(()));
        assert_eq!(out.line("two").map_err(|failure| failure.exit), Err(Exit::Failed));
    }

    #[test]
    fn codes_come_back_and_foreign_ones_are_failures() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_u8(exit as u8), exit);
        }
        assert_eq!(Exit::from_u8(42), Exit::Failed);
    }

    #[test]
    fn a_name_is_not_said_twice() {
        let failure = Failure::new(Exit::Refused, "r0: clients are attached");
        assert_eq!(failure.clone().about("r0"), failure);
        let failure = Failure::new(Exit::Refused, "clients are attached");
        assert_eq!(failure.about("r0").text, "r0: clients are attached");
    }
}
