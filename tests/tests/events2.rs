//! `repadm events2` beside real daemons.

#![allow(clippy::unwrap_used, reason = "a test")]

use anyhow::Context;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use tests::clock::until;
use tests::cluster::{Cluster, Node, PATIENCE, Setup};

/// One `repadm events2`, and what it has printed so far.
struct Watcher {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// How many of them have been looked at.
    seen: usize,
}

impl Watcher {
    fn start(node: &Node) -> anyhow::Result<Self> {
        let mut command = node.repadm_command(&["events2", "r0"])?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("events2")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (from, kept) = (child.stdout.take().context("piped")?, lines.clone());
        // It ends with the program.
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Ok(Self { child, lines, seen: 0 })
    }

    /// Waits for a line that begins so and has these words, after those that were waited for.
    fn expect(&mut self, begins: &str, words: &[&str]) -> anyhow::Result<()> {
        let is = |line: &String| {
            line.starts_with(begins) && words.iter().all(|word| line.split(' ').any(|w| w == *word))
        };
        let found = until(&format!("{begins} {words:?}"), PATIENCE, || {
            let lines = self.lines.lock().unwrap();
            Ok(lines[self.seen..].iter().position(is).map(|at| self.seen + at + 1))
        });
        let lines = || self.lines.lock().unwrap().join("\n");
        self.seen = found.with_context(lines)?.0;
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watcher_sees_what_becomes_of_resources_and_the_end_of_the_daemon() {
    run().unwrap();
}

fn run() -> anyhow::Result<()> {
    let mut cluster = Cluster::connected(Setup::new(16 << 20))?;
    let mut watcher = Watcher::start(&cluster.alpha)?;
    watcher.expect("exists resource name:r0", &["role:Secondary", "split-brain:no"])?;
    watcher.expect("exists connection name:r0", &["conn-name:beta", "connection:Connected"])?;
    watcher.expect("exists device name:r0 volume:0 minor:1", &["disk:Inconsistent"])?;
    watcher.expect("exists peer-device name:r0", &["peer-disk:Inconsistent"])?;
    watcher.expect("exists -", &[])?;

    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    watcher.expect("change resource name:r0", &["role:Primary"])?;
    cluster.wait_settled()?;
    watcher.expect("change peer-device name:r0", &["peer-disk:UpToDate"])?;

    cluster.beta.repadm(&["primary", "r0"])?;
    watcher.expect("change connection name:r0", &["role:Primary"])?;
    cluster.beta.kill()?;
    watcher.expect("change connection name:r0", &["role:Unknown"])?;
    cluster.beta.start()?;
    watcher.expect("change connection name:r0", &["connection:Connected"])?;
    cluster.wait_settled()?;

    cluster.alpha.repadm(&["down", "r0"])?;
    watcher.expect("destroy device name:r0 volume:0 minor:1", &[])?;
    watcher.expect("destroy resource name:r0", &[])?;
    cluster.alpha.repadm(&["up", "r0"])?;
    watcher.expect("create resource name:r0", &["role:Secondary"])?;
    // It may be so already when it is seen for the first time.
    watcher.expect("c", &["connection", "connection:Connected"])?;

    cluster.alpha.kill()?;
    let ended = until("the end of events2", PATIENCE, || Ok(watcher.child.try_wait()?))?.0;
    anyhow::ensure!(ended.code() == Some(20), "events2 ended with {ended}");
    cluster.finish()
}
