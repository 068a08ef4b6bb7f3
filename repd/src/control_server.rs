//! Serves the control socket.

use crate::daemon::Daemon;
use crate::waits::{Goal, wait};
use control::{Answer, Command, Failure, Reply, Request, frame};
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
                    if let Err(error) = converse(stream, &daemon).await {
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

/// Answers one request after the other.
async fn converse(mut stream: UnixStream, daemon: &Rc<Daemon>) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() != 0 && peer.uid() != own {
        tracing::warn!(uid = peer.uid(), pid = peer.pid(), "a stranger's control connection");
        let text = "permission denied: the daemon obeys root and the user that it runs as";
        return send(&mut stream, &Reply::Failed(Failure::failed(text))).await;
    }
    while let Some(bytes) = frame::read_async(&mut stream).await? {
        let reply = match Request::decode(&bytes) {
            Ok(Request { command, .. }) => {
                tracing::debug!(pid = peer.pid(), ?command, "asked");
                let (mut read, mut write) = stream.split();
                let mut early = [0; 1];
                tokio::select! {
                    answer = execute(daemon, &command) => match answer {
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
                    _ = read.read(&mut early), if is_wait(&command) => return Ok(()),
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

const fn is_wait(command: &Command) -> bool {
    matches!(command, Command::WaitConnect { .. } | Command::WaitSync { .. })
}

async fn execute(daemon: &Rc<Daemon>, command: &Command) -> Result<(Vec<String>, Answer), Failure> {
    let mut notes = Vec::new();
    match command {
        Command::Version => return Ok((notes, Answer::Version(daemon.version()))),
        Command::Status { resource } => {
            return Ok((notes, Answer::Status(daemon.status(resource.as_deref()).await?)));
        }
        Command::Up { resource, node } => {
            notes = daemon.up(resource.clone(), node.clone()).await?;
        }
        Command::Down { resource, force } => daemon.down(resource, *force).await?,
        Command::Attach { resource, volume } => daemon.attach(resource, *volume).await?,
        Command::Detach { resource, volume } => daemon.detach(resource, *volume).await?,
        Command::Connect { resource } => daemon.connect(resource).await?,
        Command::Disconnect { resource } => daemon.disconnect(resource).await?,
        Command::Primary { resource, force } => notes = daemon.primary(resource, *force).await?,
        Command::Secondary { resource, force } => daemon.secondary(resource, *force).await?,
        Command::WaitConnect { resource, timeout } => {
            wait(&*daemon.entry(resource)?, Goal::Connected, *timeout).await?;
        }
        Command::WaitSync { resource, volume, timeout } => {
            wait(&*daemon.entry(resource)?, Goal::InSync(*volume), *timeout).await?;
        }
        Command::Shutdown => daemon.ask_to_stop(),
    }
    Ok((notes, Answer::Nothing))
}
