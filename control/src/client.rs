//! A blocking client, for programs that do one thing after the other.

use crate::{Answer, Command, Failure, Reply, Request, frame};
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
    /// The daemon had closed its end when it was asked.
    hung_up: Option<io::Error>,
}

impl Client {
    /// Connects to the daemon whose control socket is `path`.
    ///
    /// # Errors
    /// With exit code 20 if no daemon is there, telling how to start one.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { stream, path: path.to_owned(), hung_up: None }),
            Err(error) => Err(unreachable(path, &error)),
        }
    }

    /// Asks and waits for the end of the answer.
    ///
    /// # Errors
    /// What the daemon refuses, or exit code 20 if it goes away meanwhile.
    pub fn call(
        &mut self,
        command: Command,
        mut note: impl FnMut(&str),
    ) -> Result<Answer, Failure> {
        self.ask(command)?;
        loop {
            match self.reply()? {
                Reply::Note(text) => note(&text),
                Reply::Done(answer) => return Ok(answer),
                Reply::Failed(failure) => return Err(failure),
                // For those who read one frame after the other.
                Reply::Waiting(_) => {}
                Reply::Status(_) | Reply::Helper(_) => {
                    return Err(not_understood("it is for those who watch"));
                }
            }
        }
    }

    /// Asks, for one who reads the [replies](Self::reply) one by one.
    ///
    /// # Errors
    /// If the daemon has gone away.
    pub fn ask(&mut self, command: Command) -> Result<(), Failure> {
        if let Err(error) = frame::write(&mut self.stream, &Request::new(command)) {
            // A daemon that does not obey us says so before it is asked, and closes.
            match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    self.hung_up = Some(error);
                }
                _ => return Err(self.lost(&error)),
            }
        }
        Ok(())
    }

    /// Waits for the next frame of the answer.
    ///
    /// # Errors
    /// With exit code 20 if the daemon goes away meanwhile.
    pub fn reply(&mut self) -> Result<Reply, Failure> {
        match frame::read(&mut self.stream) {
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(not_understood),
            Ok(None) => {
                let error = self.hung_up.take();
                let error = error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                Err(self.lost(&error))
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// The stream, for instance to bound how long an answer may take.
    pub const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        Failure::failed(format!(
            "the daemon at {path} went away before it answered ({error}); its log tells why"
        ))
    }
}

fn not_understood(error: impl fmt::Display) -> Failure {
    Failure::failed(format!(
        "the daemon's answer is not understood ({error}); \
         use the repadm that was installed with this daemon"
    ))
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: it answers root and the user that it runs as".to_owned()
        }
        _ => error.to_string(),
    };
    Failure::failed(format!(
        "the daemon cannot be reached at {path}: {why}; start it with «repd --control {path}», \
         or name its socket with --control"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HelperEvent, exit};

    #[test]
    fn a_daemon_that_is_not_there_is_said_so() {
        let failure = Client::connect(Path::new("/nonexistent/control.sock")).unwrap_err();
        assert_eq!(failure.exit, exit::FAILED);
        assert!(failure.text.contains("cannot be reached at /nonexistent/control.sock"));
        assert!(failure.text.contains("start it with"), "{failure}");
    }

    #[test]
    fn notes_come_before_the_answer_and_a_hang_up_is_a_failure() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for reply in [Reply::Note("one".into()), Reply::Done(Answer::Nothing)] {
            frame::write(&mut theirs, &reply).unwrap();
        }
        let mut client = Client { stream: ours, path: "test".into(), hung_up: None };
        let mut notes = Vec::new();
        let answer = client.call(Command::Shutdown, |text| notes.push(text.to_owned()));
        assert_eq!((answer, notes), (Ok(Answer::Nothing), vec!["one".to_owned()]));
        drop(theirs);
        let failure = client.call(Command::Shutdown, |_| {}).unwrap_err();
        assert_eq!(failure.exit, exit::FAILED);
    }

    #[test]
    fn a_watcher_reads_one_frame_after_the_other() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let replies = [Reply::Status(Vec::new()), Reply::Helper(HelperEvent::Missed(3))];
        for reply in &replies {
            frame::write(&mut theirs, reply).unwrap();
        }
        let mut client = Client { stream: ours, path: "test".into(), hung_up: None };
        client.ask(Command::Watch).unwrap();
        for reply in replies {
            assert!(!reply.is_final());
            assert_eq!(client.reply().unwrap(), reply);
        }
        drop(theirs);
        assert_eq!(client.reply().unwrap_err().exit, exit::FAILED);
    }

    #[test]
    fn a_refusal_is_heard_though_the_daemon_has_hung_up_before_it_was_asked() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        frame::write(&mut theirs, &Reply::Failed(Failure::failed("not you"))).unwrap();
        drop(theirs);
        let mut client = Client { stream: ours, path: "test".into(), hung_up: None };
        assert_eq!(client.call(Command::Shutdown, |_| {}).unwrap_err().text, "not you");
    }
}
