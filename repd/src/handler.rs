//! Runs the handlers of the configuration: an operator's commands for what should be noticed.
//!
//! A handler is a shell command with DRBD's variables in its environment. It runs on the main
//! thread, never on a resource's: however long it takes, no request waits for it, but where the
//! engine says so. It is given its [`patience`], then it and what it has started in its process group
//! are killed. Its exit code and what it printed are logged, and the engine is told the code.
//! Handlers of one resource run one after the other; but `fence-peer`, which clients may be
//! waiting for, at once.

use crate::watch::News;
use control::HelperEvent;
use std::collections::BTreeMap;
use std::fmt;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// How long a handler may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same of `fence-peer`: to turn a machine off and see that it is off takes minutes with some
/// hardware, and to give up keeps clients waiting longer than to go on.
const FENCE_PATIENCE: Duration = Duration::from_secs(300);
/// How long what it has printed is waited for when it has ended: a process that it left behind may
/// hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// So much of what it prints is logged, of each of its outputs.
const OUTPUT_BYTES: usize = 4096;
/// What ends a handler that takes too long.
const KILL: i32 = 9;
/// Handlers that may wait to be run, of each resource. More are dropped, and that is logged.
const WAITING: usize = 64;

/// A handler to be run, and who is told of its end.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) handler: Handler,
    /// Told its exit code, if it has one.
    pub(crate) done: oneshot::Sender<Option<i32>>,
}

/// A handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handler {
    /// The resource, for the log.
    pub(crate) resource: String,
    /// Its name in the configuration.
    pub(crate) name: &'static str,
    /// What the shell is told.
    pub(crate) command: String,
    /// What is added to the environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// How a handler has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long and was killed.
    TooLong,
    /// It could not be started.
    NotRun,
}

impl Outcome {
    /// The exit code, if it ended by itself.
    const fn code(self) -> Option<i32> {
        match self {
            Self::Exit(code) => Some(code),
            Self::Signal(_) | Self::TooLong | Self::NotRun => None,
        }
    }

    /// As a shell would have it.
    const fn status(self) -> i32 {
        match self {
            Self::Exit(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::TooLong => 128 + KILL,
            Self::NotRun => 127,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::TooLong => f.write_str("killed: it took too long"),
            Self::NotRun => f.write_str("not run"),
        }
    }
}

/// Where a resource's thread leaves handlers to be run, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Handlers(mpsc::Sender<Job>);

impl Handlers {
    /// With the other end, for [`serve`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Has it run, soon; its exit code comes, or the channel is closed. Never waits.
    pub(crate) fn start(&self, handler: Handler) -> oneshot::Receiver<Option<i32>> {
        let (done, ended) = oneshot::channel();
        if let Err(refused) = self.0.try_send(Job { handler, done }) {
            let name = refused.into_inner().handler.name;
            tracing::error!(handler = name, "not run: too many handlers are waiting");
        }
        ended
    }
}

/// Runs what comes until nobody can send more, and tells those who watch. To be spawned on the main
/// thread.
pub(crate) async fn serve(mut jobs: mpsc::Receiver<Job>, news: News) {
    let (queue, mut waiting) = mpsc::channel::<Job>(WAITING);
    let of_queue = news.clone();
    let one_by_one = tokio::task::spawn_local(async move {
        while let Some(job) = waiting.recv().await {
            run_job(job, &of_queue).await;
        }
    });
    while let Some(job) = jobs.recv().await {
        if is_fence_peer(job.handler.name) {
            let news = news.clone();
            tokio::task::spawn_local(async move { run_job(job, &news).await });
        } else if let Err(refused) = queue.try_send(job) {
            let name = refused.into_inner().handler.name;
            tracing::error!(handler = name, "not run: too many handlers are waiting");
        }
    }
    drop(queue);
    let _ = one_by_one.await;
}

fn is_fence_peer(name: &str) -> bool {
    name == replicator::Handler::FencePeer.as_str()
}

fn patience(name: &str) -> Duration {
    if is_fence_peer(name) { FENCE_PATIENCE } else { PATIENCE }
}

async fn run_job(Job { handler, done }: Job, news: &News) {
    let (resource, helper) = (handler.resource.clone(), handler.name.to_owned());
    news.helper(HelperEvent::Called { resource: resource.clone(), helper: helper.clone() });
    let outcome = run(&handler, patience(handler.name)).await;
    news.helper(HelperEvent::Ended { resource, helper, status: outcome.status() });
    // Whoever asked may have ended.
    let _ = done.send(outcome.code());
}

/// Runs one, and logs what comes of it.
pub(crate) async fn run(handler: &Handler, patience: Duration) -> Outcome {
    let Handler { resource, name, .. } = handler;
    tracing::info!(resource, handler = name, command = handler.command, "handler started");
    let (outcome, printed) = match spawn(handler) {
        Ok(child) => wait(child, patience).await,
        Err(error) => (Outcome::NotRun, error.to_string()),
    };
    match outcome {
        Outcome::Exit(0) => {
            tracing::info!(resource, handler = name, printed, "handler ended: {outcome}");
        }
        _ => tracing::warn!(resource, handler = name, printed, "handler ended: {outcome}"),
    }
    outcome
}

fn spawn(handler: &Handler) -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", &handler.command])
        .envs(&handler.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn wait(mut child: Child, patience: Duration) -> (Outcome, String) {
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    let (mut printed, mut errors) = (Vec::new(), Vec::new());
    let out = child.stdout.take().expect("it was piped");
    let err = child.stderr.take().expect("it was piped");
    let outcome = {
        let mut reading =
            std::pin::pin!(async { tokio::join!(read(out, &mut printed), read(err, &mut errors)) });
        let mut read_all = false;
        let ended = tokio::time::timeout(patience, async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = &mut reading, if !read_all => read_all = true,
                }
            }
        });
        let outcome = match ended.await {
            Ok(Ok(status)) => outcome(status),
            Ok(Err(_)) => Outcome::NotRun,
            Err(_) => {
                // With all that it has started, which would go on without anybody knowing.
                if let Some(group) = group {
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait().await;
                Outcome::TooLong
            }
        };
        if !read_all {
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        outcome
    };
    printed.extend_from_slice(&errors);
    (outcome, String::from_utf8_lossy(&printed).trim_end().to_owned())
}

fn outcome(status: std::process::ExitStatus) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exit(code),
        (None, signal) => Outcome::Signal(signal.unwrap_or(0)),
    }
}

/// Reads to the end, and keeps the beginning.
async fn read(mut from: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let mut piece = [0; 1024];
    while let Ok(got @ 1..) = from.read(&mut piece).await {
        let room = OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..got.min(room)]);
    }
}

/// The variables that DRBD gives to handlers: of the resource as a node sees it, and of one volume
/// if the event is about one.
pub(crate) fn environment(
    resource: &config::Resource,
    me: &config::Host,
    peer: &config::Host,
    status: &replicator::Status,
    volume: Option<types::VolumeId>,
) -> BTreeMap<String, String> {
    let family = |host: &config::Host| if host.address.is_ipv4() { "ipv4" } else { "ipv6" };
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(all.insert(name.to_owned(), value));
    set("DRBD_RESOURCE", resource.name.clone());
    set("DRBD_MY_NODE_ID", me.node_id.to_string());
    set("DRBD_MY_ADDRESS", me.address.ip().to_string());
    set("DRBD_MY_AF", family(me).into());
    set("DRBD_PEER", peer.name.clone());
    set("DRBD_PEERS", peer.name.clone());
    set("DRBD_PEER_NODE_ID", peer.node_id.to_string());
    set("DRBD_PEER_ADDRESS", peer.address.ip().to_string());
    set("DRBD_PEER_AF", family(peer).into());
    set("DRBD_CSTATE", status.connection.to_string());
    // A mask of node ids: DRBD gives it to fence-peer and unfence-peer.
    let up_to_date = |of: fn(&replicator::VolumeStatus) -> types::DiskState| {
        status.volumes.iter().all(|volume| of(volume) == types::DiskState::UpToDate)
    };
    let mine = u8::from(up_to_date(|volume| volume.disk)) << me.node_id.0;
    let theirs = u8::from(up_to_date(|volume| volume.peer_disk)) << peer.node_id.0;
    set("UP_TO_DATE_NODES", format!("0x{:08x}", mine | theirs));
    for host in [me, peer] {
        set(&format!("DRBD_NODE_ID_{}", host.node_id), host.name.clone());
    }
    let minor = |volume: &config::Volume| volume.minor.map(|minor| minor.to_string());
    let disk =
        |volume: &config::Volume| volume.disk.as_ref().map(|disk| disk.display().to_string());
    for volume in &me.volumes {
        let id = volume.id;
        minor(volume).into_iter().for_each(|minor| set(&format!("DRBD_MINOR_{id}"), minor));
        disk(volume).into_iter().for_each(|disk| set(&format!("DRBD_BACKING_DEV_{id}"), disk));
    }
    let meant = || me.volumes.iter().filter(|known| volume.is_none_or(|id| id == known.id));
    let list = |of: &dyn Fn(&config::Volume) -> Option<String>| {
        meant().filter_map(of).collect::<Vec<_>>().join(" ")
    };
    set("DRBD_VOLUME", list(&|volume| Some(volume.id.to_string())));
    set("DRBD_MINOR", list(&minor));
    set("DRBD_LL_DISK", list(&disk));
    if volume.is_some() {
        set("DRBD_BACKING_DEV", list(&disk));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{ConnectionState, DiskState, VolumeId};

    fn handler(command: &str) -> Handler {
        Handler {
            resource: "r0".into(),
            name: "local-io-error",
            command: command.into(),
            environment: BTreeMap::from([("DRBD_RESOURCE".to_owned(), "r0".to_owned())]),
        }
    }

    async fn ends(command: &str, patience: Duration) -> (Outcome, String) {
        wait(spawn(&handler(command)).unwrap(), patience).await
    }

    #[tokio::test]
    async fn the_code_and_both_outputs_come_back() {
        let ran = ends("echo about $DRBD_RESOURCE; echo trouble >&2; exit 3", PATIENCE).await;
        assert_eq!(ran, (Outcome::Exit(3), "about r0\ntrouble".into()));
        let (outcome, _) = ends("kill -TERM $$", PATIENCE).await;
        assert_eq!(outcome, Outcome::Signal(15));
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let command = format!("flock {} sleep 1000 & wait", lock.display());
        let (outcome, _) = ends(&command, Duration::from_millis(500)).await;
        assert_eq!(outcome, Outcome::TooLong);
        // Whoever held the lock is gone, or this would wait for it.
        if let Ok(file) = std::fs::File::open(&lock) {
            file.lock().unwrap();
        }
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_not_waited_for_and_long_output_is_cut() {
        let (outcome, _) = ends("sleep 5 & exit 0", PATIENCE).await;
        assert_eq!(outcome, Outcome::Exit(0));
        let (outcome, printed) = ends("yes | head -c 1000000", PATIENCE).await;
        assert_eq!((outcome, printed.len()), (Outcome::Exit(0), OUTPUT_BYTES - 1));
    }

    #[tokio::test]
    async fn those_who_watch_are_told_of_calls_and_ends() {
        let (handlers, waiting) = Handlers::new();
        let commands = ["exit 0", "exit 3", "kill -TERM $$"];
        commands.map(handler).into_iter().for_each(|handler| drop(handlers.start(handler)));
        drop(handlers);
        let news = News::new();
        let mut told = news.helpers();
        tokio::task::LocalSet::new().run_until(serve(waiting, news)).await;
        for code in [0, 3, 143] {
            let (resource, helper) = ("r0".to_owned(), "local-io-error".to_owned());
            let called = HelperEvent::Called { resource: resource.clone(), helper: helper.clone() };
            assert_eq!(told.recv().await.unwrap(), called);
            let ended = HelperEvent::Ended { resource, helper, status: code };
            assert_eq!(told.recv().await.unwrap(), ended);
        }
    }

    #[test]
    fn the_environment_has_drbds_variables() {
        let resource = crate::testing::resource("r0");
        let (me, peer) = resource.host("beta").unwrap();
        let engine = replicator::Engine::new(
            crate::resource::engine_config(&resource, me, peer),
            1,
            types::Time(0),
        );
        let mut status = engine.status();
        status.connection = ConnectionState::Connected;
        status.volumes[0].disk = DiskState::UpToDate;
        let all = environment(&resource, me, peer, &status, Some(VolumeId(0)));
        for (name, value) in [
            ("DRBD_RESOURCE", "r0"),
            ("DRBD_MINOR", "1"),
            ("DRBD_MINOR_0", "1"),
            ("DRBD_VOLUME", "0"),
            ("DRBD_BACKING_DEV", "/nonexistent/beta"),
            ("DRBD_LL_DISK", "/nonexistent/beta"),
            ("DRBD_MY_NODE_ID", "1"),
            ("DRBD_NODE_ID_0", "alpha"),
            ("DRBD_PEER", "alpha"),
            ("DRBD_PEER_AF", "ipv4"),
            ("DRBD_CSTATE", "Connected"),
            ("UP_TO_DATE_NODES", "0x00000002"),
        ] {
            assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}
