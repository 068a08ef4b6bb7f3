//! Clients that stand still, are slow, or vanish: what they cost a daemon, and that those who want
//! something are served all the same.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::runtime;
use crate::nbd_client::{Address, Client, Stream};
use crate::{clock, foreign};
use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{JoinSet, LocalSet};
use types::Prng;

/// The longest request.
const LONG: u32 = 32 << 20;
/// Clients that write such.
const WRITERS: u64 = 8;
/// Those who stop in the middle of a WRITE. Each holds its memory until it is given up.
const HALF: usize = 4;
/// What a daemon may ever have in memory.
const MEMORY_MAX_KIB: u64 = 256 << 10;
/// A client that is let in among all the others is served within this.
const LONG_PATIENCE: Duration = Duration::from_secs(300);

const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const WRITE_ZEROES: u16 = 6;

/// How a client stands still.
#[derive(Clone, Copy, Debug)]
enum Stall {
    /// It connects, and says nothing.
    Silent,
    /// It stops in the middle of an option.
    InOption,
    /// It has opened the export, and asks for nothing.
    Opened,
    /// It announces a long WRITE.
    Announced,
    /// It announces one, and sends the beginning of it.
    Begun,
    /// It asks for a long READ, and does not take the answer.
    NotTaken,
    /// It sends half of a long WRITE.
    Half,
}

const STALLS: [Stall; 6] = [
    Stall::Silent,
    Stall::InOption,
    Stall::Opened,
    Stall::Announced,
    Stall::Begun,
    Stall::NotTaken,
];

/// The header of a request, and its cookie.
fn request(command: u16, offset: u64, len: u32, cookie: u64) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

/// A thousand clients that stand still, in every way there is, and eight that each write 32 MiB at
/// once: all of theirs is answered, and the daemons stay small.
pub(super) fn memory(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    crowded(scale, report, 1)
}

/// The same at both nodes at once, where each has the other's writes besides.
pub(super) fn memory_of_both(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    crowded(scale, report, 2)
}

fn crowded(scale: &Scale, report: &mut Report, nodes: u64) -> anyhow::Result<()> {
    raise_limit()?;
    let writers = nodes * WRITERS;
    let cluster = Cluster::two_primaries(patient((writers + 1) * u64::from(LONG)))?;
    let before = nodes_descriptors(&cluster)?;
    let addresses = cluster.nodes().map(|node| node.address());
    let addresses = &addresses[..nodes as usize];
    let (stalled, again) = run(async {
        // Dropped at the end: they go all at once.
        let mut crowd = JoinSet::new();
        for at in 0..scale.stalled_clients {
            let kind = if at < HALF { Stall::Half } else { STALLS[at % STALLS.len()] };
            for address in addresses {
                let stalled = stall(address, kind, at).await;
                crowd.spawn_local(stalled.with_context(|| format!("{at}: {kind:?}"))?);
            }
        }
        report.line(&format!("{} clients stand still", crowd.len()));
        let mut writing = JoinSet::new();
        for at in 0..writers {
            let address = addresses[(at % nodes) as usize].clone();
            let writes = scale.long_writes;
            writing.spawn_local(async move { write_long(&address, at, writes).await });
        }
        let mut again = 0;
        while let Some(written) = writing.join_next().await {
            again += written?.context("a writer")?;
        }
        anyhow::Ok((crowd.len(), again))
    })?;
    let mut peaks = Vec::new();
    for node in cluster.nodes() {
        let peak = peak_kib(node)?;
        anyhow::ensure!(peak < MEMORY_MAX_KIB, "{}: {peak} KiB at most", node.name());
        peaks.push(peak >> 10);
    }
    report.line(&format!(
        "{stalled} clients stand still, and {writers} have each written {} times {} MiB, all \
         answered ({again} times a writer was closed and came again): at most {} MiB in alpha's memory, {} MiB in beta's",
        scale.long_writes,
        LONG >> 20,
        peaks[0],
        peaks[1]
    ));
    for node in cluster.nodes() {
        let reads: Vec<String> =
            (0..writers).map(|at| format!("read -P {} {}M 32M", at + 1, 32 * at)).collect();
        foreign::qemu_io(&node.uri(), &reads.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    is_well(&cluster, &before)?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Makes a client that stands still, up to the point where it does. What is given holds its
/// connection for ever.
async fn stall(
    address: &Address,
    kind: Stall,
    at: usize,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut rest = 0;
    // Of several lengths: buffers of the one are of no use to the other.
    let len = LONG - ((at + at / 6) as u32 % 3) * (9 << 20);
    let stream: Box<dyn Stream> = match kind {
        Stall::Silent => Box::new(connect(address).await?),
        Stall::InOption => {
            let mut stream = connect(address).await?;
            stream.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x20").await?;
            Box::new(stream)
        }
        Stall::Opened => open(address).await?,
        Stall::Announced | Stall::Begun | Stall::NotTaken | Stall::Half => {
            let mut stream = open(address).await?;
            let command = if matches!(kind, Stall::NotTaken) { READ } else { WRITE };
            // Where a writer writes: what is never whole must not be seen there.
            stream.write_all(&request(command, 0, len, 7)).await?;
            rest = match kind {
                Stall::Begun => 31 << 10,
                Stall::Half => len as usize / 2,
                _ => 0,
            };
            stream
        }
    };
    Ok(async move {
        let (mut stream, piece) = (stream, vec![0xee; 64 << 10]);
        while rest > 0 {
            let len = rest.min(piece.len());
            // The daemon may have had enough of it.
            if stream.write_all(&piece[..len]).await.is_err() {
                break;
            }
            rest -= len;
        }
        std::future::pending().await
    })
}

/// Writes 32 MiB again and again, and each time waits for the answer. On a machine that is so busy
/// that it gets no turn itself it may be taken for one that stands still: it comes again, as any
/// client would. How often it did.
async fn write_long(address: &Address, at: u64, writes: u64) -> anyhow::Result<u64> {
    let mut again = 0;
    let mut stream = open(address).await?;
    let piece = vec![at as u8 + 1; 1 << 20];
    for cookie in 1..=writes {
        let until_answered = async {
            loop {
                match write_once(&mut stream, &piece, at, cookie).await {
                    Ok(reply) => return anyhow::Ok(reply),
                    Err(_) => (stream, again) = (open(address).await?, again + 1),
                }
            }
        };
        let reply = tokio::time::timeout(LONG_PATIENCE, until_answered).await;
        let reply =
            reply.with_context(|| format!("write {cookie} of client {at} is not answered"))??;
        anyhow::ensure!(reply[4..8] == [0; 4], "error {:?}", &reply[4..8]);
        anyhow::ensure!(reply[8..] == cookie.to_be_bytes(), "the answer to another request");
    }
    Ok(again)
}

async fn write_once(
    stream: &mut Box<dyn Stream>,
    piece: &[u8],
    at: u64,
    cookie: u64,
) -> std::io::Result<[u8; 16]> {
    stream.write_all(&request(WRITE, at * u64::from(LONG), LONG, cookie)).await?;
    for _ in 0..LONG as usize / piece.len() {
        stream.write_all(piece).await?;
    }
    let mut reply = [0; 16];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Clients that drip their negotiation, and such as vanish in the middle of anything: nobody else
/// notices, and nothing of them is left.
pub(super) fn vanishing(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    raise_limit()?;
    let cluster = Cluster::two_primaries(patient(16 * MIB))?;
    let before = nodes_descriptors(&cluster)?;
    let uri = cluster.alpha.uri();
    let address = cluster.alpha.address();
    run(async {
        let mut slow = JoinSet::new();
        for _ in 0..SLOW {
            let stream = connect(&address).await?;
            slow.spawn_local(drip(stream));
        }
        foreign::qemu_io(&uri, &["write -P 0x33 0 1M", "read -P 0x33 0 1M"])?;
        let ends = async {
            while let Some(said_all) = slow.join_next().await {
                anyhow::ensure!(!said_all?, "a client may negotiate for ever");
            }
            Ok(())
        };
        let ended = tokio::time::timeout(PATIENCE, ends).await;
        ended.context("those who negotiate slowly are still there")?
    })?;
    report.line(&format!("{SLOW} that negotiate a byte at a time: others served, they closed"));

    let addresses = cluster.nodes().map(|node| node.address());
    let mut prng = Prng::new(9);
    run(async {
        let mut left = scale.vanishing_clients;
        while left > 0 {
            let mut together = JoinSet::new();
            for _ in 0..left.min(20) {
                left -= 1;
                let address = addresses[prng.below(2) as usize].clone();
                together.spawn_local(vanish(address, Script::new(&mut prng)));
            }
            while let Some(gone) = together.join_next().await {
                gone??;
            }
        }
        anyhow::Ok(())
    })?;
    report.line(&format!("{} clients vanished", scale.vanishing_clients));
    is_well(&cluster, &before)?;
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Clients that negotiate slowly.
const SLOW: usize = 50;

/// Sends an option one byte after the other. Whether all of it was taken.
async fn drip(mut stream: UnixStream) -> bool {
    const OPTION_BYTES: u32 = 4000;
    let mut bytes = b"\0\0\0\x03IHAVEOPT\0\0\0\x07".to_vec();
    bytes.extend(OPTION_BYTES.to_be_bytes());
    bytes.resize(bytes.len() + OPTION_BYTES as usize, 0);
    for byte in bytes {
        if stream.write_all(&[byte]).await.is_err() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// What a client says before it vanishes, and how much of the answers it takes.
struct Script {
    says: Vec<u8>,
    takes: u64,
}

impl Script {
    /// A negotiation and requests of all kinds, cut off anywhere.
    fn new(prng: &mut Prng) -> Self {
        let mut says = b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x08\0\0\0\x02r0\0\0".to_vec();
        if prng.below(4) == 0 {
            says.truncate(prng.below(says.len() as u64) as usize);
            return Self { says, takes: prng.below(40) };
        }
        for cookie in 0..prng.between(1, 40) {
            let (offset, len) = (prng.below(8 * MIB), prng.between(1, 256 << 10) as u32);
            let command = [READ, WRITE, WRITE, FLUSH, TRIM, WRITE_ZEROES][prng.below(6) as usize];
            let len = if command == FLUSH { 0 } else { len };
            let offset = if command == FLUSH { 0 } else { offset };
            says.extend(request(command, offset, len, cookie));
            if command == WRITE {
                says.resize(says.len() + len as usize, cookie as u8);
            }
        }
        let cut = prng.below(says.len() as u64);
        // Not in the negotiation, which has had its turn.
        says.truncate(says.len().min(cut as usize + 40));
        Self { says, takes: prng.below(2 * MIB) }
    }
}

async fn vanish(address: Address, script: Script) -> anyhow::Result<()> {
    let (mut from, mut to) = connect(&address).await?.into_split();
    let sending = async {
        // A daemon that refuses it may be gone before it has said everything.
        let _ = to.write_all(&script.says).await;
    };
    let taking = async {
        let mut answers = vec![0; 64 << 10];
        let mut left = script.takes;
        while left > 0 {
            match from.read(&mut answers).await {
                Ok(0) | Err(_) => break,
                Ok(len) => left = left.saturating_sub(len as u64),
            }
        }
    };
    // Whichever ends first: what the other would still do is what is cut off.
    tokio::select! {
        () = sending => {}
        () = taking => {}
    }
    Ok(())
}

/// Nodes that do not take a busy disk for a dead peer.
fn patient(disk_bytes: u64) -> Setup {
    let setup = Setup::new(disk_bytes).net("timeout", "100");
    setup.net("ping-int", "10").net("connect-int", "10")
}

/// Drives what belongs to this thread.
fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    LocalSet::new().block_on(&runtime()?, work)
}

async fn connect(address: &Address) -> anyhow::Result<UnixStream> {
    let Address::Unix(path) = address else { anyhow::bail!("nodes of a test have a Unix socket") };
    Ok(UnixStream::connect(path).await?)
}

/// A connection with the export open.
async fn open(address: &Address) -> anyhow::Result<Box<dyn Stream>> {
    let opening = Client::connect(address, "r0");
    let client = tokio::time::timeout(LONG_PATIENCE, opening).await;
    Ok(client.context("a client is not let in")??.into_stream())
}

/// As many descriptors as this process may have: each client is one.
fn raise_limit() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// The most memory that a node's daemon has had so far.
fn peak_kib(node: &Node) -> anyhow::Result<u64> {
    let path = format!("/proc/{}/status", node.pid()?);
    let status = std::fs::read_to_string(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("{path}: {status}"))
}

fn descriptors(node: &Node) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", node.pid()?))?.count())
}

fn nodes_descriptors(cluster: &Cluster) -> anyhow::Result<[usize; 2]> {
    let [alpha, beta] = cluster.nodes();
    Ok([descriptors(alpha)?, descriptors(beta)?])
}

/// Clients are served by both nodes, and of those that are gone nothing is left.
fn is_well(cluster: &Cluster, before: &[usize; 2]) -> anyhow::Result<()> {
    for (node, before) in cluster.nodes().into_iter().zip(before) {
        foreign::qemu_io(&node.uri(), &["write -P 0x44 1M 1M", "flush", "read -P 0x44 1M 1M"])?;
        let mut now = 0;
        let gone = clock::until("descriptors to be closed", PATIENCE, || {
            now = descriptors(node)?;
            Ok((now <= *before && !node.status()?.has_clients()).then_some(()))
        });
        gone.with_context(|| format!("{}: {now}, there were {before}", node.name()))?;
        anyhow::ensure!(!node.log().contains("panicked"), "{}", node.end_of_log());
    }
    Ok(())
}
