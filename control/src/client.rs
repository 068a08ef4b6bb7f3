//! A blocking client, for programs that do one thing after the other.

use crate::{Answer, Command, Failure, Reply, Request, frame};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon whose control socket is `path`.
    ///
    /// # Errors
    /// With exit code 20 if no daemon is there, telling how to start one.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { stream, path: path.to_owned() }),
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
        let mut hung_up = None;
        if let Err(error) = frame::write(&mut self.stream, &Request::new(command)) {
            // A daemon that does not obey us says so before it is asked, and closes.
            match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => hung_up = Some(error),
                _ => return Err(self.lost(&error)),
            }
        }
        loop {
            let bytes = match frame::read(&mut self.stream) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    let error = hung_up.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Err(self.lost(&error));
                }
                Err(error) => return Err(self.lost(&error)),
            };
            match serde_json::from_slice(&bytes) {
                Ok(Reply::Note(text)) => note(&text),
                Ok(Reply::Done(answer)) => return Ok(answer),
                Ok(Reply::Failed(failure)) => return Err(failure),
                Err(error) => {
                    return Err(Failure::failed(format!(
                        "the daemon's answer is not understood ({error}); \
                         use the repadm that was installed with this daemon"
                    )));
                }
            }
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
    use crate::exit;

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
        let mut client = Client { stream: ours, path: "test".into() };
        let mut notes = Vec::new();
        let answer = client.call(Command::Shutdown, |text| notes.push(text.to_owned()));
        assert_eq!((answer, notes), (Ok(Answer::Nothing), vec!["one".to_owned()]));
        drop(theirs);
        let failure = client.call(Command::Shutdown, |_| {}).unwrap_err();
        assert_eq!(failure.exit, exit::FAILED);
    }

    #[test]
    fn a_refusal_is_heard_though_the_daemon_has_hung_up_before_it_was_asked() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        frame::write(&mut theirs, &Reply::Failed(Failure::failed("not you"))).unwrap();
        drop(theirs);
        let mut client = Client { stream: ours, path: "test".into() };
        assert_eq!(client.call(Command::Shutdown, |_| {}).unwrap_err().text, "not you");
    }
}
