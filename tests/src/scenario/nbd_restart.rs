//! A daemon is ended and started again, in order or not, under clients of other people that come
//! back: to them it is a pause.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::{clock, foreign};
use anyhow::Context;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What each client must have done between two ends of a daemon.
const PROGRESS: usize = 200;
/// QEMU waits longer and longer before it tries again.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// The program for libnbd.
const REOPENING: &str = include_str!("nbd_restart.py");

pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(32 * MIB))?;
    let stop = tempfile::tempdir()?;
    let mut qemu = Worker::qemu_io(&cluster.alpha)?;
    let mut libnbd = Worker::libnbd(&cluster.beta, stop.path())?;
    let mut rounds = 0;
    for _ in 0..scale.restarts {
        for (victim, in_order) in [(0, false), (1, false), (0, true), (1, true)] {
            for worker in [&mut qemu, &mut libnbd] {
                worker.goes_on().with_context(|| format!("{rounds} restarts"))?;
            }
            let node = &mut cluster.nodes_mut()[victim];
            match in_order {
                true => node.terminate()?,
                false => node.kill()?,
            }
            node.start()?;
            rounds += 1;
            // The other may be the next: it must not be the only one with the data then.
            cluster.wait_settled()?;
        }
    }
    for worker in [&mut qemu, &mut libnbd] {
        worker.goes_on().context("after the last restart")?;
    }
    std::fs::write(stop.path().join("stop"), "")?;
    let (qemu, libnbd) = (qemu.end()?, libnbd.end()?);
    let failed = |line: &String| line.contains("failed") || line.contains("error");
    anyhow::ensure!(!qemu.iter().any(failed), "qemu-io: {qemu:?}");
    let well = libnbd.last().filter(|line| line.starts_with("well"));
    let well = well.with_context(|| format!("libnbd: {libnbd:?}"))?;
    report.line(&format!(
        "{rounds} restarts, half of them after SIGKILL, half in order: no error for qemu-io \
         (reconnect-delay), {} requests verified; libnbd, with what was not answered asked again: \
         {well}",
        qemu.iter().filter(|line| is_progress(line)).count()
    ));
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

fn is_progress(line: &str) -> bool {
    ["wrote ", "read ", "answered "].iter().any(|word| line.contains(word))
}

/// A client at work. Dropping it kills it.
struct Worker {
    name: &'static str,
    child: Child,
    /// What it has said so far.
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
    feeder: Option<Feeder>,
    /// How many lines say of one answer, one in so many.
    answers_per_line: usize,
}

/// Tells a program what to do, until it is told to stop.
struct Feeder {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// `qemu-io`, which comes back by itself, and verifies what it writes.
    fn qemu_io(node: &Node) -> anyhow::Result<Self> {
        let uri = node.uri();
        let path = uri.rsplit("socket=").next().unwrap_or_default();
        let image = format!(
            "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},\
             file.export=r0,file.reconnect-delay=100"
        );
        let mut command = Command::new(foreign::locate("qemu-io")?);
        command.args(["--image-opts", &image]).stdin(Stdio::piped());
        let mut worker = Self::start("qemu-io", command, 1)?;
        let mut stdin = worker.child.stdin.take().context("no stdin")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            for round in 0_u64.. {
                // It has ended if it does not take them: that is seen elsewhere.
                let taken = stdin.write_all(commands(round).as_bytes());
                if taken.is_err() || stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        worker.feeder = Some(Feeder { stop, thread });
        Ok(worker)
    }

    /// A program for libnbd, which opens its export again and asks again.
    fn libnbd(node: &Node, directory: &Path) -> anyhow::Result<Self> {
        let arguments = [&node.uri(), &directory.display().to_string()];
        let command = foreign::nbd_python(REOPENING, &arguments.map(String::as_str))?;
        Self::start("libnbd", command, 50)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        answers_per_line: usize,
    ) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>);
        for from in [out, err].into_iter().flatten() {
            let lines = lines.clone();
            readers.push(thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    lines.lock().expect("a reader does not panic").push(line);
                }
            }));
        }
        Ok(Self { name, child, lines, readers, feeder: None, answers_per_line })
    }

    fn said(&self) -> Vec<String> {
        self.lines.lock().expect("a reader does not panic").clone()
    }

    /// Waits for some more answers.
    fn goes_on(&mut self) -> anyhow::Result<()> {
        let count = |lines: Vec<String>| lines.iter().filter(|line| is_progress(line)).count();
        let enough = count(self.said()) + PROGRESS.div_ceil(self.answers_per_line);
        let name = self.name;
        let going = clock::until(&format!("{name} to go on"), BACK_WITHIN, || {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{name} has ended with {status}");
            }
            Ok((count(self.said()) >= enough).then_some(()))
        });
        let last = |lines: Vec<String>| lines[lines.len().saturating_sub(10)..].join("\n");
        going.map(drop).with_context(|| last(self.said()))
    }

    /// Waits for its end, which must be a good one. What it said.
    fn end(mut self) -> anyhow::Result<Vec<String>> {
        if let Some(Feeder { stop, thread }) = self.feeder.take() {
            stop.store(true, Ordering::Relaxed);
            thread.join().ok().context("the feeder does not panic")?;
        }
        let ended = clock::until(&format!("the end of {}", self.name), PATIENCE * 2, || {
            Ok(self.child.try_wait()?)
        });
        let (status, _) = ended?;
        for reader in self.readers.drain(..) {
            reader.join().ok().context("a reader does not panic")?;
        }
        let said = self.said();
        let end = said[said.len().saturating_sub(10)..].join("\n");
        anyhow::ensure!(status.success(), "{} ended with {status}: {end}", self.name);
        Ok(said)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Four writes at once, and four reads of them, behind what libnbd uses.
fn commands(round: u64) -> String {
    let pattern = round % 255 + 1;
    let offset = |at: u64| (4 << 20) + ((round * 4 + at) % 256) * 65536;
    let mut text = String::new();
    for at in 0..4 {
        let flags = if at == 3 { "-f " } else { "" };
        let _ = writeln!(text, "aio_write {flags}-P {pattern} {} 20k", offset(at));
    }
    text += "aio_flush\n";
    for at in 0..4 {
        let _ = writeln!(text, "read -P {pattern} {} 20k", offset(at));
    }
    if round.is_multiple_of(8) {
        text += "flush\n";
    }
    text
}
