//! Other projects' servers. What was started ends with this program, however it ends.

use crate::servers::{Running, Server};
use anyhow::{Context, bail};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How often, and how long, a server's socket is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;
/// More connections than are ever measured at once.
const MOST_CONNECTIONS: &str = "64";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Nbdkit,
    Qemu,
    NbdServer,
    /// Two copies: QEMU's quorum of a file and of another QEMU's export of a file.
    Quorum,
}

impl Peer {
    const fn program(self) -> &'static str {
        match self {
            Self::Nbdkit => "nbdkit",
            Self::Qemu => "qemu-nbd",
            Self::NbdServer => "nbd-server",
            Self::Quorum => "qemu-storage-daemon",
        }
    }

    /// What Debian calls the package that it is in.
    const fn package(self) -> &'static str {
        match self {
            Self::Nbdkit => "nbdkit",
            Self::Qemu => "qemu-utils",
            Self::NbdServer => "nbd-server",
            Self::Quorum => "qemu-system-common",
        }
    }

    /// What it is called in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "qemu quorum",
            one => one.program(),
        }
    }

    const fn export(self) -> &'static str {
        match self {
            Self::Nbdkit | Self::Qemu => "",
            Self::NbdServer | Self::Quorum => "disk",
        }
    }

    /// The ways to reach the disk that it offers, the best first: not each kernel takes each.
    const fn ways(self) -> &'static [Way] {
        const OF_QEMU: &[Way] = &[
            Way { cache: "none", aio: "io_uring" },
            Way { cache: "none", aio: "native" },
            Way { cache: "none", aio: "threads" },
        ];
        match self {
            Self::Nbdkit | Self::NbdServer => &[Way { cache: "", aio: "" }],
            Self::Qemu | Self::Quorum => OF_QEMU,
        }
    }

    fn about(self, way: Way) -> String {
        let Way { cache, aio } = way;
        match self {
            Self::Nbdkit => {
                "file, 16 threads, the kernel's page cache (it has no O_DIRECT): a write \
                is a copy to memory, and its flush writes that out"
                    .into()
            }
            Self::NbdServer => "a process for each connection, page cache".into(),
            Self::Qemu => format!("--cache={cache} --aio={aio}: O_DIRECT"),
            Self::Quorum => {
                format!("two copies: its own file and qemu-nbd's by TCP, fifo; O_DIRECT, {aio}")
            }
        }
    }
}

/// How QEMU reaches a disk.
#[derive(Clone, Copy, Debug)]
struct Way {
    cache: &'static str,
    aio: &'static str,
}

/// Starts a server with a file of so many bytes, or two, in that directory.
pub(crate) fn start(peer: Peer, dir: &Path, bytes: u64) -> anyhow::Result<Server> {
    let Some(program) = found(peer.program()) else {
        bail!("{} is not installed (Debian: {})", peer.program(), peer.package());
    };
    let mut refused = String::new();
    for (at, way) in peer.ways().iter().enumerate() {
        let base = dir.join(format!("{}-{at}", peer.program()));
        match start_so(peer, *way, &program, &base, bytes) {
            Ok(processes) => {
                let about = format!("{}; {}", version(&program), peer.about(*way));
                let socket = base.with_extension("nbd");
                return Ok(Server::theirs(peer.name(), about, socket, peer.export(), processes));
            }
            Err(error) => refused = format!("{error:#}"),
        }
    }
    bail!("{} does not start: {refused}", peer.program())
}

/// `base` is what its files are called, but for the extension.
fn start_so(
    peer: Peer,
    way: Way,
    program: &Path,
    base: &Path,
    bytes: u64,
) -> anyhow::Result<Vec<Running>> {
    let (socket, image) = (base.with_extension("nbd"), base.with_extension("img"));
    File::create(&image)?.set_len(bytes)?;
    let mut command = ends_with_this(program);
    let mut others = Vec::new();
    match peer {
        Peer::Nbdkit => {
            command.args(["-f", "--exit-with-parent", "-U"]).arg(&socket).arg("file").arg(&image);
        }
        Peer::Qemu => {
            command.args(qemu_nbd(way)).arg("-k").arg(&socket).arg(&image);
        }
        Peer::NbdServer => {
            let config = base.with_extension("conf");
            let text = format!(
                "[generic]\nunixsock = {}\nlistenaddr = 127.0.0.1\nport = {}\n[disk]\nexportname = {}\nflush = true\nfua = true\n",
                socket.display(),
                free_port()?,
                image.display()
            );
            std::fs::write(&config, text)?;
            // It leaves for the background, unless it is to serve one client only: so it gets
            // processes of its own, which end with their first.
            command = ends_with_this(Path::new("unshare"));
            command.args(["--pid", "--fork", "--kill-child", "sh", "-c"]);
            command.arg("\"$0\" -C \"$1\" && exec sleep infinity").arg(program).arg(&config);
        }
        Peer::Quorum => {
            let remote = base.with_extension("remote.img");
            File::create(&remote)?.set_len(bytes)?;
            let qemu =
                found("qemu-nbd").context("qemu-nbd is not installed (Debian: qemu-utils)")?;
            let port = free_port()?;
            let mut server = ends_with_this(&qemu);
            server
                .args(qemu_nbd(way))
                .args(["-b", "127.0.0.1", "-p", &port.to_string()])
                .arg(&remote);
            let log = base.with_extension("remote.log");
            others.push(spawned(server, &log, || TcpStream::connect(("127.0.0.1", port)).is_ok())?);
            command.args(quorum(way, &image, port, &socket));
        }
    }
    let up = || UnixStream::connect(&socket).is_ok();
    others.push(spawned(command, &base.with_extension("log"), up)?);
    Ok(others)
}

fn qemu_nbd(way: Way) -> Vec<String> {
    let fixed = ["-t", "-f", "raw", "--discard=unmap", "-e", MOST_CONNECTIONS].map(String::from);
    let ways = [format!("--cache={}", way.cache), format!("--aio={}", way.aio)];
    fixed.into_iter().chain(ways).collect()
}

fn quorum(way: Way, image: &Path, port: u16, socket: &Path) -> Vec<String> {
    let file = format!(
        "driver=file,node-name=here,filename={},cache.direct=on,aio={}",
        image.display(),
        way.aio
    );
    let there = format!(
        "driver=nbd,node-name=there,server.type=inet,server.host=127.0.0.1,server.port={port}"
    );
    let both = "driver=quorum,node-name=both,children.0=here,children.1=there,vote-threshold=1,\
        read-pattern=fifo";
    let mut words = Vec::new();
    for blockdev in [file.as_str(), &there, both] {
        words.extend(["--blockdev".to_owned(), blockdev.to_owned()]);
    }
    let address = format!("addr.type=unix,addr.path={}", socket.display());
    words.extend(["--nbd-server".to_owned(), address, "--export".to_owned()]);
    words.push("type=nbd,id=disk,node-name=both,name=disk,writable=on".to_owned());
    words
}

/// Not all can be told to end with their parent; the kernel can, by a tool that is always there.
fn ends_with_this(program: &Path) -> Command {
    match found("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Starts it, and waits until it is up.
pub(crate) fn spawned(
    mut command: Command,
    log: &Path,
    up: impl Fn() -> bool,
) -> anyhow::Result<Running> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log)?)
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let mut running = Running::new(child);
    for _ in 0..LOOKS {
        if up() {
            return Ok(running);
        }
        if running.has_ended()? {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bail!("{}", std::fs::read_to_string(log).unwrap_or_default().trim())
}

/// Free when this returns, and most likely when it is used.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Where a program is, on the path or where those for the administrator are.
pub(crate) fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let dirs = std::env::split_paths(&path).chain(more);
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
