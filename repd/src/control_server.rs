//! Serves the control socket.

use crate::daemon::Daemon;
use crate::entry::Entry;
use crate::waits::{self, Goal};
use crate::watch;
use control::{Answer, Command, Failure, Patience, Reply, Request, WaitLimit, frame};
use replicator::Resize;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// How long to rest when no connection can be accepted.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves for ever. To be spawned on the main thread.
pub(crate) async fn serve(listener: UnixListener, daemon: Rc<Daemon>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::task::spawn_local(async move {
                    let done = match Asker::of(&stream) {
                        Ok(asker) => converse(stream, asker, &daemon).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = done {
                        tracing::debug!("a control connection ended: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("accepting a control connection failed: {error}");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Who is at the other end of a connection, by the kernel's word.
#[derive(Clone, Copy, Debug)]
struct Asker {
    uid: u32,
    pid: Option<i32>,
}

impl Asker {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid() })
    }

    fn is_obeyed(self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

/// Answers one request after the other.
async fn converse(mut stream: UnixStream, peer: Asker, daemon: &Rc<Daemon>) -> io::Result<()> {
    if !peer.is_obeyed() {
        tracing::warn!(uid = peer.uid, pid = peer.pid, "a stranger's control connection");
        let text = "permission denied: the daemon obeys root and the user that it runs as";
        return send(&mut stream, &Reply::Failed(Failure::failed(text))).await;
    }
    while let Some(bytes) = frame::read_async(&mut stream).await? {
        let reply = match Request::decode(&bytes) {
            Ok(Request { command, .. }) => {
                // By name only: a configuration has the shared secret in it.
                tracing::debug!(pid = peer.pid, command = command.name(), "asked");
                let (mut read, mut write) = stream.split();
                let mut early = [0; 1];
                if command == Command::Watch {
                    return tokio::select! {
                        gone = watch::serve(daemon, &mut write) => gone.map(|never| match never {}),
                        _ = read.read(&mut early) => Ok(()),
                    };
                }
                let waiting = waiting(daemon, &command);
                if let Some(Ok(waiting)) = &waiting {
                    write.write_all(&frame::encode(&Reply::Waiting(waiting.limit))?).await?;
                }
                let is_wait = waiting.is_some();
                tokio::select! {
                    answer = execute(daemon, &command, waiting) => match answer {
                        Ok((notes, answer)) => {
                            for note in notes {
                                write.write_all(&frame::encode(&Reply::Note(note))?).await?;
                            }
                            Reply::Done(answer)
                        }
                        Err(failure) => Reply::Failed(failure),
                    },
                    // Whoever waits may hang up, and then the waiting ends. Nothing else may be
                    // sent before the answer.
                    _ = read.read(&mut early), if is_wait => return Ok(()),
                }
            }
            Err(error) => Reply::Failed(error.into()),
        };
        send(&mut stream, &reply).await?;
    }
    Ok(())
}

async fn send(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    stream.write_all(&frame::encode(reply)?).await
}

/// What somebody waits for, and how long.
struct Waiting {
    entry: Rc<Entry>,
    goal: Goal,
    limit: WaitLimit,
    after_split_brain: bool,
}

impl Waiting {
    async fn end(self) -> Result<(), Failure> {
        waits::wait(&self.entry, self.goal, self.limit, self.after_split_brain).await
    }
}

/// The wait that a command is, if it is one.
fn waiting(daemon: &Daemon, command: &Command) -> Option<Result<Waiting, Failure>> {
    let (resource, goal, patience): (_, _, &Patience) = match command {
        Command::WaitConnect { resource, patience } => (resource, Goal::Connected, patience),
        Command::WaitSync { resource, volume, patience } => {
            (resource, Goal::InSync(*volume), patience)
        }
        _ => return None,
    };
    Some(daemon.entry(resource).map(|entry| {
        let limit = waits::limit(&entry, patience);
        Waiting { entry, goal, limit, after_split_brain: patience.wait_after_sb }
    }))
}

async fn execute(
    daemon: &Rc<Daemon>,
    command: &Command,
    waiting: Option<Result<Waiting, Failure>>,
) -> Result<(Vec<String>, Answer), Failure> {
    let mut notes = Vec::new();
    match command {
        Command::Version => return Ok((notes, Answer::Version(daemon.version()))),
        Command::Status { resource } => {
            return Ok((notes, Answer::Status(daemon.status(resource.as_deref()).await?)));
        }
        Command::Up { resource, node, spare } => {
            notes = daemon.up(resource.clone(), node.clone(), *spare).await?;
        }
        Command::Reconfigure { resource, node } => {
            notes = daemon.reconfigure(resource.clone(), node.clone()).await?;
        }
        Command::Down { resource, force } => daemon.down(resource, *force).await?,
        Command::Attach { resource, volume, config } => {
            daemon.attach(resource, *volume, config.clone()).await?;
        }
        Command::Detach { resource, volume } => daemon.detach(resource, *volume).await?,
        Command::Volumes { resource, volume, order } => {
            daemon.volumes(resource, *volume, *order).await?;
        }
        Command::Connect { resource, discard_my_data } => {
            daemon.connect(resource, *discard_my_data).await?;
        }
        Command::SplitBrain { resource } => {
            let report = daemon.split_brain(resource).await?;
            return Ok((notes, Answer::SplitBrain(Box::new(report))));
        }
        Command::Running { resource } => {
            let (resource, node) = daemon.running(resource)?;
            return Ok((notes, Answer::Running { resource, node }));
        }
        Command::Resize { resource, volume, size, assume_clean, assume_peer_has_space } => {
            let (volume, size) = (*volume, *size);
            let (assume_clean, assume_peer_has_space) = (*assume_clean, *assume_peer_has_space);
            let order = Resize { volume, size, assume_clean, assume_peer_has_space };
            daemon.resize(resource, order).await?;
        }
        Command::WasSize { resource, volume, bytes } => {
            daemon.was_size(resource, *volume, *bytes)?;
        }
        Command::Outdate { resource } => daemon.outdate(resource).await?,
        Command::Verify { resource, volume, start, stop } => {
            daemon.verify(resource, *volume, *start, *stop).await?;
        }
        Command::CancelVerify { resource, volume } => {
            daemon.cancel_verify(resource, *volume).await?;
        }
        Command::VerifyReport { resource, volume } => {
            let found = daemon.verified(resource, *volume).await?;
            return Ok((notes, Answer::Verified(found)));
        }
        Command::SuspendIo { resource } => daemon.suspend_io(resource, true).await?,
        Command::ResumeIo { resource } => daemon.suspend_io(resource, false).await?,
        Command::Disconnect { resource } => daemon.disconnect(resource).await?,
        Command::Primary { resource, force } => notes = daemon.primary(resource, *force).await?,
        Command::Secondary { resource, force } => daemon.secondary(resource, *force).await?,
        Command::WaitConnect { .. } | Command::WaitSync { .. } => {
            waiting.expect("a wait is looked at before it begins")?.end().await?;
        }
        Command::Watch => unreachable!("a watcher is told until it hangs up"),
        Command::Shutdown => daemon.ask_to_stop(),
    }
    Ok((notes, Answer::Nothing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Origin;
    use crate::testing::{self, daemon};
    use control::{HelperEvent, ResourceStatus, Spare, exit};
    use tokio::task::LocalSet;
    use types::ConnectionState;

    async fn ask(stream: &mut UnixStream, bytes: &[u8]) -> Reply {
        stream.write_all(bytes).await.unwrap();
        next(stream).await
    }

    async fn next(stream: &mut UnixStream) -> Reply {
        let frame = frame::read_async(stream).await.unwrap().unwrap();
        serde_json::from_slice(&frame).unwrap()
    }

    fn request(command: Command) -> Vec<u8> {
        frame::encode(&Request::new(command)).unwrap()
    }

    async fn with_daemon(test: impl AsyncFnOnce(UnixStream, Rc<Daemon>)) {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(dir.path());
        let (near, far) = UnixStream::pair().unwrap();
        LocalSet::new()
            .run_until(async {
                let served = daemon.clone();
                let asker = Asker::of(&far).unwrap();
                let serving =
                    tokio::task::spawn_local(async move { converse(far, asker, &served).await });
                test(near, daemon).await;
                // The test has hung up.
                serving.await.unwrap().unwrap();
            })
            .await;
    }

    #[tokio::test]
    async fn one_question_after_the_other_is_answered() {
        with_daemon(async |mut stream, _daemon| {
            let version = ask(&mut stream, &request(Command::Version)).await;
            let Reply::Done(Answer::Version(version)) = version else { panic!("{version:?}") };
            assert_eq!((version.pid, version.node), (std::process::id(), Some("alpha".into())));
            let all = ask(&mut stream, &request(Command::Status { resource: None })).await;
            assert_eq!(all, Reply::Done(Answer::Status(Vec::new())));
            let down = Command::Down { resource: "r0".into(), force: false };
            let down = ask(&mut stream, &request(down)).await;
            assert_eq!(down, Reply::Done(Answer::Nothing), "there is nothing to do");
            for command in [
                Command::Connect { resource: "r0".into(), discard_my_data: false },
                Command::Status { resource: Some("r0".into()) },
                Command::Running { resource: "r0".into() },
                Command::WaitConnect { resource: "r0".into(), patience: Patience::default() },
            ] {
                let reply = ask(&mut stream, &request(command)).await;
                let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
                assert_eq!(failure.exit, exit::USAGE);
                assert!(failure.text.contains("repadm up r0"), "{failure}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn what_runs_is_told_whole() {
        with_daemon(async |mut stream, daemon| {
            let resource = testing::resource_on_any_port("r0");
            daemon.create(resource.clone(), "alpha".into(), Origin::Asked).await.unwrap();
            let running = Command::Running { resource: "r0".into() };
            let reply = ask(&mut stream, &request(running)).await;
            let Reply::Done(Answer::Running { resource: told, node }) = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(serde_json::from_value::<config::Resource>(told).unwrap(), resource);
            assert_eq!(node, "alpha");
            daemon.down("r0", false).await.unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_stranger_is_not_obeyed_whatever_it_asks() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(dir.path());
        let own = rustix::process::geteuid().as_raw();
        for (uid, is_obeyed) in [(0, true), (own, true), (own + 1, false), (u32::MAX, false)] {
            let asker = Asker { uid, pid: Some(1) };
            assert_eq!(asker.is_obeyed(), is_obeyed, "{uid}");
            let (mut near, far) = UnixStream::pair().unwrap();
            let asking = async {
                let reply = ask(&mut near, &request(Command::Version)).await;
                // A stranger's connection is closed, and nothing more is read from it.
                drop(near);
                reply
            };
            let (reply, _) = tokio::join!(asking, converse(far, asker, &daemon));
            match reply {
                Reply::Done(Answer::Version(_)) => assert!(is_obeyed, "{uid}"),
                Reply::Failed(failure) => {
                    assert!(!is_obeyed && failure.text.contains("permission denied"), "{failure}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_tells_who_asks() {
        let (near, _far) = UnixStream::pair().unwrap();
        let asker = Asker::of(&near).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!((asker.uid, asker.pid), (rustix::process::geteuid().as_raw(), Some(pid)));
    }

    #[tokio::test]
    async fn what_is_not_understood_is_said_so_and_the_conversation_goes_on() {
        with_daemon(async |mut stream, _daemon| {
            let garbage = frame::encode(&"garbage").unwrap();
            assert!(matches!(ask(&mut stream, &garbage).await, Reply::Failed(_)));
            let other = serde_json::json!({"version": 99, "command": "version"});
            let reply = ask(&mut stream, &frame::encode(&other).unwrap()).await;
            let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
            assert!(failure.text.contains("99"), "{failure}");
            let up = Command::Up {
                resource: serde_json::json!({"name": 7}),
                node: "a".into(),
                spare: Spare::default(),
            };
            assert!(matches!(ask(&mut stream, &request(up)).await, Reply::Failed(_)));
            let version = ask(&mut stream, &request(Command::Version)).await;
            assert!(matches!(version, Reply::Done(Answer::Version(_))));
        })
        .await;
    }

    #[tokio::test]
    async fn a_resource_of_other_nodes_is_refused() {
        with_daemon(async |mut stream, daemon| {
            for node in ["beta", "gamma"] {
                let resource = serde_json::to_value(testing::resource("r0")).unwrap();
                let up = Command::Up { resource, node: node.into(), spare: Spare::default() };
                let reply = ask(&mut stream, &request(up)).await;
                let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
                assert_eq!(failure.exit, exit::CONFIG, "{failure}");
            }
            assert!(daemon.resources().is_empty());
        })
        .await;
    }

    #[tokio::test]
    async fn a_daemon_with_a_name_can_be_any_floating_host() {
        with_daemon(async |mut stream, daemon| {
            let mut resource = testing::resource_on_any_port("r0");
            resource.hosts[1].address.set_ip([127, 0, 0, 2].into());
            for host in &mut resource.hosts {
                host.name = host.address.to_string();
                host.volumes[0].disk = None;
            }
            let node = resource.hosts[0].name.clone();
            let up = Command::Up {
                resource: serde_json::to_value(resource).unwrap(),
                node,
                spare: Spare::default(),
            };
            let reply = ask(&mut stream, &request(up)).await;
            assert_eq!(daemon.resources().len(), 1, "{reply:?}");
        })
        .await;
    }

    /// The next picture in which that is so. Others may come before: a counter has moved.
    async fn picture(stream: &mut UnixStream, is: impl Fn(&[ResourceStatus]) -> bool) {
        loop {
            match next(stream).await {
                Reply::Status(all) if is(&all) => return,
                Reply::Status(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_watcher_sees_resources_come_change_and_go_and_handlers_run() {
        with_daemon(async |mut stream, daemon| {
            let first = ask(&mut stream, &request(Command::Watch)).await;
            assert_eq!(first, Reply::Status(Vec::new()));
            let resource = testing::resource_on_any_port("r0");
            daemon.create(resource, "alpha".into(), Origin::Asked).await.unwrap();
            picture(&mut stream, |all| all.len() == 1).await;
            let is =
                |connection| move |all: &[ResourceStatus]| all[0].peer.connection == connection;
            daemon.connect("r0", false).await.unwrap();
            picture(&mut stream, is(ConnectionState::Connecting)).await;
            daemon.disconnect("r0").await.unwrap();
            picture(&mut stream, is(ConnectionState::StandAlone)).await;
            let called = HelperEvent::Called { resource: "r0".into(), helper: "fence".into() };
            daemon.news().helper(called.clone());
            let mut told = next(&mut stream).await;
            while matches!(told, Reply::Status(_)) {
                told = next(&mut stream).await;
            }
            assert_eq!(told, Reply::Helper(called));
            daemon.down("r0", false).await.unwrap();
            picture(&mut stream, <[_]>::is_empty).await;
            // Hanging up ends it.
        })
        .await;
    }

    #[tokio::test]
    async fn shutdown_is_answered_and_then_done() {
        with_daemon(async |mut stream, daemon| {
            let reply = ask(&mut stream, &request(Command::Shutdown)).await;
            assert_eq!(reply, Reply::Done(Answer::Nothing));
            daemon.asked_to_stop().await;
        })
        .await;
    }
}
