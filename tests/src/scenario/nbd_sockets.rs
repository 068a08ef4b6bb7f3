//! Where NBD is served: sockets that others have made, who may connect, and clients that only
//! connect.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, PATIENCE, Setup};
use crate::nbd_client::Address;
use crate::{clock, foreign};
use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

/// A daemon that is given its sockets, as systemd gives them: a control socket by its name, one
/// for NBD on a path and one on a port. It serves on all three, and leaves them.
pub(super) fn activated(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(16 * MIB))?;
    let port = cluster.spare_port();
    let resource = cluster.directory().join("r0.sock");
    let mut setup = cluster.setup().clone();
    let group = rustix::process::getegid().as_raw();
    setup.nbd = vec![
        format!("unix \"{}\"", resource.display()),
        "unix-mode 0660".to_owned(),
        format!("unix-group {group}"),
    ];
    cluster.configure(&cluster.alpha, &setup)?;
    let path = cluster.directory().join("passed.sock");
    let alpha = &mut cluster.alpha;
    let control = UnixListener::bind(alpha.control())?;
    let nbd = UnixListener::bind(&path)?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for again in [false, true] {
        let given =
            [OwnedFd::from(nbd.try_clone()?), control.try_clone()?.into(), tcp.try_clone()?.into()];
        let command = given_to(&alpha.daemon_command()?, given, "nbd:control:tcp")?;
        alpha.start_by(command)?;
        if !again {
            alpha.repadm(&["create-md", "r0"])?;
            alpha.repadm(&["up", "r0"])?;
            alpha.repadm(&["primary", "--force", "r0"])?;
        }
        let uri = format!("nbd+unix:///r0?socket={}", path.display());
        let mode = fs::metadata(&resource)?.permissions().mode() & 0o7777;
        anyhow::ensure!(mode == 0o660, "the resource's own socket has mode {mode:04o}");
        let of_resource = format!("nbd+unix:///r0?socket={}", resource.display());
        for uri in [&uri, &of_resource, &format!("nbd://127.0.0.1:{port}/r0")] {
            foreign::qemu_io(uri, &["write -P 0x11 0 1M", "read -P 0x11 0 1M"])?;
        }
        let Address::Unix(own) = alpha.address() else { anyhow::bail!("a path") };
        anyhow::ensure!(!own.exists(), "a socket of its own was made too");
        match again {
            false => alpha.kill()?,
            true => alpha.terminate()?,
        }
        anyhow::ensure!(alpha.control().exists() && path.exists(), "it has removed a socket");
    }
    anyhow::ensure!(!resource.exists(), "the socket that it has made is still there");
    report.line("control, Unix and TCP sockets that were passed: served, by two daemons in a row");

    // Nobody is to take its control connections in its place.
    drop((control, nbd, tcp));
    let file = fs::File::create(cluster.directory().join("file"))?;
    let command = given_to(&cluster.alpha.daemon_command()?, [file.into()], "odd")?;
    let refused = cluster.alpha.start_by(command);
    anyhow::ensure!(refused.is_err(), "a daemon runs with a file for a socket");
    anyhow::ensure!(cluster.alpha.log().contains("«odd» of LISTEN_FDS is not a stream socket"));
    report.line("a file for a socket: it does not start, and says which");
    cluster.finish()
}

/// The same command with these descriptors as systemd passes them. The shell knows its own number,
/// and keeps it.
fn given_to<const N: usize>(
    daemon: &Command,
    descriptors: [OwnedFd; N],
    names: &str,
) -> anyhow::Result<Command> {
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]).arg(daemon.get_program());
    command.args(daemon.get_args());
    command.env("LISTEN_FDS", N.to_string()).env("LISTEN_FDNAMES", names);
    let mappings = descriptors.into_iter().zip(3..);
    let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).context("descriptors")?;
    Ok(command)
}

/// `--nbd-mode`: the daemon's own socket.
pub(super) fn permissions(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(16 * MIB))?;
    let Address::Unix(path) = cluster.alpha.address() else { anyhow::bail!("a path") };
    let group = rustix::process::getegid().as_raw().to_string();
    for (words, mode) in [(&[][..], 0o600), (&["--nbd-mode", "0660", "--nbd-group", &group], 0o660)]
    {
        cluster.alpha.start_with(words);
        cluster.alpha.start()?;
        let found = fs::metadata(&path)?.permissions().mode() & 0o7777;
        anyhow::ensure!(found == mode, "{found:04o}, not {mode:04o}, by {words:?}");
        cluster.alpha.terminate()?;
        anyhow::ensure!(!path.exists(), "the socket is still there");
    }
    cluster.alpha.start_with(&["--nbd-group", "no such group"]);
    anyhow::ensure!(cluster.alpha.start().is_err(), "a daemon runs with a group that is none");
    anyhow::ensure!(cluster.alpha.log().contains("there is no group «no such group»"));
    report.line("0600, or by --nbd-mode and --nbd-group; a group that is none is named");
    cluster.finish()
}

/// Many that connect and say nothing: who wants something is served among them.
pub(super) fn silent(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(16 * MIB))?;
    cluster.alpha.start()?;
    cluster.alpha.repadm(&["create-md", "r0"])?;
    cluster.alpha.repadm(&["up", "r0"])?;
    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    let Address::Unix(path) = cluster.alpha.address() else { anyhow::bail!("a path") };
    let uri = cluster.alpha.uri();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    // As many as negotiate at once, and some.
    let mut silent = Vec::new();
    for _ in 0..1100 {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0; 18]).context("no greeting")?;
        silent.push(stream);
    }
    foreign::qemu_io(&uri, &["write -P 0x22 0 1M", "read -P 0x22 0 1M"])?;
    let closed = |stream: &mut UnixStream| matches!(stream.read(&mut [0]), Ok(0) | Err(_));
    anyhow::ensure!(silent[..50].iter_mut().all(closed), "the oldest are still there");
    let log = "closed for a newer one";
    clock::until("a line about it", PATIENCE, || {
        Ok(cluster.alpha.log().contains(log).then_some(()))
    })?;
    report.line("1100 silent clients: a 1101st is served, the oldest are closed");
    cluster.finish()
}
