//! A real daemon to hold to the NBD specification: one node, Primary and alone, on a Unix socket
//! and on TCP. `docs/nbd-conformance.md` has the requirements, `tests/nbd_conformance` the tests.

pub mod transcript;

use crate::cluster::{Cluster, Setup};
use crate::load::runtime;
use crate::nbd_client::{Address, Client, ClientError, Handshake, Style};
use anyhow::Context;
use std::future::Future;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// The longest that one test may take.
const PATIENCE: Duration = Duration::from_secs(240);
/// Areas of the disk begin at multiples of this.
const AREA_BYTES: u64 = 1 << 20;
/// The transcripts have the beginning of the disk, at places of their own.
const RESERVED_BYTES: u64 = 64 << 20;
/// The name of the context that tells holes and zeros.
pub const ALLOCATION: &str = "base:allocation";
/// The name of the context that tells what the peer lacks.
pub const OUT_OF_SYNC: &str = "x-repd:out-of-sync";

/// A node that serves NBD.
#[derive(Debug)]
pub struct Served {
    /// The node is its alpha. Beta does not run.
    pub cluster: Cluster,
    tcp: Address,
    next_area: AtomicU64,
}

impl Served {
    /// Starts a node with a disk of that size. It is Secondary.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn secondary(disk_bytes: u64) -> anyhow::Result<Self> {
        Self::start(Setup::new(disk_bytes))
    }

    /// The same, and Primary.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn primary(disk_bytes: u64) -> anyhow::Result<Self> {
        Self::primary_with(disk_bytes, &[])
    }

    /// The same, with these options of `nbd`.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn primary_with(disk_bytes: u64, options: &[String]) -> anyhow::Result<Self> {
        let mut setup = Setup::new(disk_bytes);
        setup.nbd = options.to_vec();
        let served = Self::start(setup)?;
        served.cluster.alpha.repadm(&["primary", "--force", "r0"])?;
        Ok(served)
    }

    fn start(mut setup: Setup) -> anyhow::Result<Self> {
        setup.direct = true;
        let mut cluster = Cluster::new(setup)?;
        let tcp = format!("127.0.0.1:{}", cluster.spare_port());
        let alpha = &mut cluster.alpha;
        alpha.start_with(&["--nbd", &format!("tcp:{tcp}")]);
        alpha.start()?;
        alpha.repadm(&["create-md", "r0"])?;
        alpha.repadm(&["up", "r0"])?;
        let next_area = AtomicU64::new(RESERVED_BYTES);
        Ok(Self { cluster, tcp: Address::Tcp(tcp), next_area })
    }

    /// Its Unix socket.
    pub fn unix(&self) -> Address {
        self.cluster.alpha.address()
    }

    /// Its TCP socket.
    pub fn tcp(&self) -> Address {
        self.tcp.clone()
    }

    /// The beginning of so many bytes that no other test touches.
    pub fn area(&self, len: u64) -> u64 {
        let len = len.next_multiple_of(AREA_BYTES);
        let begin = self.next_area.fetch_add(len, Ordering::Relaxed);
        let end = self.cluster.setup().disk_bytes - AREA_BYTES;
        assert!(begin + len <= end, "the tests need a larger disk than {end} bytes");
        begin
    }

    /// A negotiation over the Unix socket.
    ///
    /// # Errors
    /// If it does not begin.
    pub async fn negotiate(&self) -> Result<Handshake, ClientError> {
        Handshake::connect(&self.unix()).await
    }

    /// A client of `r0/0` with that style of replies.
    ///
    /// # Errors
    /// If anything is refused.
    pub async fn client(&self, style: Style) -> Result<Client, ClientError> {
        let mut handshake = self.negotiate().await?;
        agree(&mut handshake, style).await?;
        handshake.go("r0/0").await.map_err(|(error, _)| error)
    }

    /// The same, with contexts.
    ///
    /// # Errors
    /// If anything is refused.
    pub async fn client_with(
        &self,
        style: Style,
        contexts: &[&str],
    ) -> Result<Client, ClientError> {
        let mut handshake = self.negotiate().await?;
        agree(&mut handshake, style).await?;
        handshake.select_contexts("r0/0", contexts).await?;
        handshake.go("r0/0").await.map_err(|(error, _)| error)
    }

    /// Whether it still serves: a new client reads.
    ///
    /// # Errors
    /// If not.
    pub async fn lives(&self) -> anyhow::Result<()> {
        let mut client = self.client(Style::Simple).await.context("a new client")?;
        client.read(0, 512).await.context("its first read")?;
        client.disconnect().await.context("its end")?;
        Ok(())
    }
}

/// Agrees on a style of replies.
///
/// # Errors
/// If it is refused.
pub async fn agree(handshake: &mut Handshake, style: Style) -> Result<(), ClientError> {
    match style {
        Style::Simple => Ok(()),
        Style::Structured => handshake.structured_replies().await,
        Style::Extended => handshake.extended_headers().await,
    }
}

/// Runs what a test does to its end, which comes in time.
///
/// # Panics
/// If it does not.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = runtime().expect("a runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    assert!(ended.is_ok(), "no end within {PATIENCE:?}");
}

/// One node for all tests of a process, Primary, with a disk of that size: the size that it was
/// first called with. It dies with the process, and its files go.
pub fn shared(disk_bytes: u64) -> &'static Served {
    static SHARED: OnceLock<Served> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        // The kernel ends a daemon with the thread that has started it: not one of a test.
        thread::spawn(move || {
            let served = Served::primary(disk_bytes);
            let broom = served.as_ref().ok().map(sweep_behind_us);
            let _ = tell.send(served);
            loop {
                // Keeps the pipe to the broom open. The process ends without asking this thread.
                thread::park();
                let _ = &broom;
            }
        });
        told.recv().expect("the thread that starts the daemon").expect("a daemon")
    })
}

/// Removes the files when this process has ended, however it does.
fn sweep_behind_us(served: &Served) -> std::io::Result<Child> {
    // The daemon ends at the same moment, and may still make a file.
    let script = r#"cat; for i in 1 2 3 4 5; do rm -rf -- "$0" && exit; sleep 0.2; done"#;
    let mut broom = Command::new("sh");
    broom.args(["-c", script]).arg(served.cluster.directory());
    broom.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
