//! The same for several resources at once: a thread for each, and one that tells the person.
//!
//! Nobody waits for another: a resource whose disk is broken, or whose peer does not come, is in no
//! other's way. Failures are told as they come; who is waited for is told again and again.

use crate::context::{from_daemon, note};
use crate::interrupt::Interrupt;
use crate::outcome::{Exit, Failure, Outcome};
use control::{Answer, Client, Command, Reply, WaitLimit};
use rustix::termios::{isatty, tcgetpgrp};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use types::Span;

/// How soon an interruption is seen.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A thread only asks and waits.
const STACK_BYTES: usize = 256 << 10;
/// Names that a line has room for.
const NAMES: usize = 6;

/// What is done for one resource.
pub(crate) struct Job {
    /// Its name.
    pub(crate) name: String,
    /// Who is waited for, if it comes to that.
    pub(crate) peer: String,
    /// What is done. It runs in a thread of its own.
    pub(crate) act: Box<dyn FnOnce(&Asker) -> Outcome + Send>,
}

/// How much the person is told of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Silent,
    /// Who is waited for, how long so far, and how long at most; and the person may end it.
    Telling,
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// What was waited for is so.
    Reached,
    /// The person has waited long enough.
    GivenUp,
}

/// What a thread asks the daemon through, and tells the person through.
pub(crate) struct Asker {
    index: usize,
    name: String,
    control: PathBuf,
    tell: Sender<(usize, Told)>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    given_up: AtomicBool,
    /// The connections of those who wait: closing one ends the wait.
    waiting: Mutex<BTreeMap<usize, UnixStream>>,
}

enum Told {
    Note(String),
    Waiting(Option<WaitLimit>),
    Ended(Outcome),
}

impl Asker {
    /// Have the daemon do that. What it has to say is said.
    ///
    /// # Errors
    /// What it refuses, about the resource.
    pub(crate) fn order(&self, command: Command) -> Outcome<Answer> {
        let mut client = Client::connect(&self.control).map_err(from_daemon)?;
        let answer = client.call(command, |text| self.note(text));
        answer.map_err(|failure| from_daemon(failure).about(&self.name))
    }

    /// Say something to the person.
    pub(crate) fn note(&self, text: &str) {
        self.tell(Told::Note(text.to_owned()));
    }

    /// Have the daemon wait.
    ///
    /// # Errors
    /// What it refuses, about the resource; exit code 5 when the time is over.
    pub(crate) fn wait(&self, command: Command) -> Outcome<Waited> {
        let mut client = Client::connect(&self.control).map_err(from_daemon)?;
        let stream = client.stream().try_clone().map_err(|error| {
            Failure::new(Exit::Failed, format!("{}: cannot wait: {error}", self.name))
        })?;
        self.shared.lock().insert(self.index, stream);
        let waited = self.wait_on(&mut client, command);
        self.shared.lock().remove(&self.index);
        self.tell(Told::Waiting(None));
        match waited {
            Err(_) if self.shared.given_up.load(Ordering::SeqCst) => Ok(Waited::GivenUp),
            Err(failure) => Err(from_daemon(failure).about(&self.name)),
            Ok(()) => Ok(Waited::Reached),
        }
    }

    fn wait_on(&self, client: &mut Client, command: Command) -> Result<(), control::Failure> {
        if self.shared.given_up.load(Ordering::SeqCst) {
            return Err(control::Failure::failed("given up"));
        }
        client.ask(command)?;
        loop {
            match client.reply()? {
                Reply::Waiting(limit) => self.tell(Told::Waiting(Some(limit))),
                Reply::Note(text) => self.note(&text),
                Reply::Done(_) => return Ok(()),
                Reply::Failed(failure) => return Err(failure),
                Reply::Status(_) | Reply::Helper(_) => {}
            }
        }
    }

    fn tell(&self, told: Told) {
        // Nobody listens any more after an interruption.
        let _ = self.tell.send((self.index, told));
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, UnixStream>> {
        self.waiting.lock().expect("nothing panics with the lock held")
    }

    /// Ends every wait.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        for stream in self.lock().values() {
            // One that has just ended needs no end.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Do all of it. Failures are said as they come; the exit code is that of the first in order.
///
/// # Errors
/// The first failure, whose words are said already; or that it was interrupted.
pub(crate) fn run(jobs: Vec<Job>, control: &Path, manner: Manner) -> Outcome {
    let interrupt = match manner {
        Manner::Silent => None,
        Manner::Telling => Some(Interrupt::catch()?),
    };
    let shared = Arc::new(Shared::default());
    let mut table = Table::of(&jobs);
    let told = start(jobs, control, &shared)?;
    let mut patience = interrupt.is_some().then(|| Telling::begin(shared));
    while table.is_running() {
        match told.recv_timeout(LOOK_EVERY) {
            Ok((index, told)) => table.take(index, told),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => table.end_all(),
        }
        if interrupt.as_ref().is_some_and(Interrupt::is_seen) {
            return Err(table.interrupted());
        }
        patience.iter_mut().for_each(|telling| telling.look(&table));
    }
    table.outcome()
}

fn start(jobs: Vec<Job>, control: &Path, shared: &Arc<Shared>) -> Outcome<Receiver<(usize, Told)>> {
    let (tell, told) = channel();
    for (index, Job { name, act, .. }) in jobs.into_iter().enumerate() {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).name(name.clone());
        let (control, tell, shared) = (control.to_owned(), tell.clone(), Arc::clone(shared));
        let asker = Asker { index, name, control, tell, shared };
        let run = move || asker.tell(Told::Ended(act(&asker)));
        thread
            .spawn(run)
            .map_err(|error| Failure::new(Exit::Failed, format!("no thread to be had: {error}")))?;
    }
    Ok(told)
}

/// What is known of each resource.
#[derive(Debug)]
struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    peer: String,
    /// Since when it waits, and how long at most.
    waiting: Option<(Instant, WaitLimit)>,
    ended: Option<Result<(), Exit>>,
}

impl Table {
    fn of(jobs: &[Job]) -> Self {
        let row = |job: &Job| Row {
            name: job.name.clone(),
            peer: job.peer.clone(),
            waiting: None,
            ended: None,
        };
        Self { rows: jobs.iter().map(row).collect() }
    }

    fn is_running(&self) -> bool {
        self.rows.iter().any(|row| row.ended.is_none())
    }

    fn take(&mut self, index: usize, told: Told) {
        let row = &mut self.rows[index];
        match told {
            Told::Note(text) => note(&text),
            Told::Waiting(limit) => row.waiting = limit.map(|limit| (now(), limit)),
            Told::Ended(Ok(())) => row.ended = Some(Ok(())),
            Told::Ended(Err(failure)) => {
                if !failure.text.is_empty() {
                    note(&failure.text);
                }
                row.ended = Some(Err(failure.exit));
            }
        }
    }

    /// No thread is left.
    fn end_all(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.ended.is_none()) {
            note(&format!("{}: its thread has failed; report this as a bug", row.name));
            row.ended = Some(Err(Exit::Failed));
        }
    }

    fn outcome(&self) -> Outcome {
        let first = self.rows.iter().find_map(|row| row.ended.and_then(Result::err));
        first.map_or(Ok(()), |exit| Err(Failure::said(exit)))
    }

    fn interrupted(&self) -> Failure {
        let left = self.rows.iter().filter(|row| row.ended.is_none());
        let left = names(left.map(|row| row.name.as_str()).collect());
        let text = format!("interrupted: not done with {left}; what is up stays up");
        Failure::new(Exit::Timeout, text)
    }

    /// Lines about who is waited for: one for each peer and limit.
    fn waits(&self, now: Instant) -> Vec<String> {
        /// A peer, an option and its limit.
        type Alike<'a> = (&'a str, &'a str, Option<Span>);
        let mut groups: BTreeMap<Alike<'_>, (Duration, Vec<&str>)> = BTreeMap::new();
        for row in &self.rows {
            let Some((since, WaitLimit { circumstance, limit })) = row.waiting else { continue };
            let key = (row.peer.as_str(), circumstance.option(), limit);
            let (longest, names) = groups.entry(key).or_default();
            *longest = (*longest).max(now.saturating_duration_since(since));
            names.push(&row.name);
        }
        let line = |((peer, option, limit), (so_far, waiting)): (Alike<'_>, (Duration, _))| {
            let left = match limit {
                None => "for as long as it takes".to_owned(),
                Some(limit) => {
                    let left = Duration::from(limit).saturating_sub(so_far);
                    format!("{} s left ({option})", left.as_secs_f64().ceil())
                }
            };
            format!("waiting for {peer}: {}; {} s so far, {left}", names(waiting), so_far.as_secs())
        };
        groups.into_iter().map(line).collect()
    }
}

/// Tells of waiting, and hears when the person has had enough of it.
struct Telling {
    shared: Arc<Shared>,
    next: Instant,
    begun: Instant,
    enough: Option<Arc<AtomicBool>>,
}

impl Telling {
    fn begin(shared: Arc<Shared>) -> Self {
        let begun = now();
        Self { shared, next: begun + Duration::from_secs(2), begun, enough: None }
    }

    fn look(&mut self, table: &Table) {
        let now = now();
        if self.enough.as_ref().is_some_and(|enough| enough.swap(false, Ordering::SeqCst)) {
            self.shared.give_up();
            return;
        }
        if now < self.next || self.shared.given_up.load(Ordering::SeqCst) {
            return;
        }
        self.next = now + pause(now - self.begun);
        let lines = table.waits(now);
        if !lines.is_empty() && self.enough.is_none() {
            self.enough = Some(listen());
        }
        lines.iter().for_each(|line| note(line));
    }
}

/// Long waits are told of less often.
fn pause(so_far: Duration) -> Duration {
    Duration::from_secs(match so_far.as_secs() {
        0..30 => 5,
        30..300 => 30,
        _ => 120,
    })
}

/// On a terminal: tells how to end the waiting, and hears it.
fn listen() -> Arc<AtomicBool> {
    let enough = Arc::new(AtomicBool::new(false));
    let stdin = std::io::stdin();
    // To read from the terminal of somebody else's foreground would stop this process.
    let is_mine = tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
    if !isatty(&stdin) || !is_mine {
        return enough;
    }
    note("type yes and Enter to wait no longer");
    let heard = Arc::clone(&enough);
    std::thread::spawn(move || {
        for line in stdin.lock().lines() {
            match line {
                Ok(line) if line.trim() == "yes" => heard.store(true, Ordering::SeqCst),
                Ok(_) => note("only yes ends the waiting"),
                Err(_) => return,
            }
        }
    });
    enough
}

fn names(mut names: Vec<&str>) -> String {
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command line is a driver: it tells a person how long something takes"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::Circumstance;

    fn job(name: &str, act: impl FnOnce(&Asker) -> Outcome + Send + 'static) -> Job {
        Job { name: name.into(), peer: "beta".into(), act: Box::new(act) }
    }

    #[test]
    fn each_is_done_whatever_becomes_of_the_others_and_the_first_failure_counts() {
        let (done, all) = channel();
        let fails = |exit| {
            let done = done.clone();
            move |_: &Asker| {
                let _ = done.send(exit);
                Err(Failure::new(exit, "because"))
            }
        };
        let last = done.clone();
        let jobs = vec![
            job("r0", |_| Ok(())),
            job("r1", fails(Exit::Config)),
            job("r2", fails(Exit::NoData)),
            job("r3", move |_| {
                let _ = last.send(Exit::Done);
                Ok(())
            }),
        ];
        let outcome = run(jobs, Path::new("/nonexistent"), Manner::Silent);
        assert_eq!(outcome, Err(Failure::said(Exit::Config)));
        let mut seen: Vec<_> = all.try_iter().collect();
        seen.sort();
        assert_eq!(seen, [Exit::Done, Exit::Config, Exit::NoData]);
    }

    #[test]
    fn a_thread_that_panics_is_a_failure() {
        let jobs = vec![job("r0", |_| panic!("of the test"))];
        let outcome = run(jobs, Path::new("/nonexistent"), Manner::Silent);
        assert_eq!(outcome, Err(Failure::said(Exit::Failed)));
    }

    #[test]
    fn who_is_waited_for_is_told_in_one_line_for_all_alike() {
        let begun = now();
        let row = |name: String, peer: &str, circumstance, limit: Option<u64>| Row {
            name,
            peer: peer.into(),
            waiting: Some((begun, WaitLimit { circumstance, limit: limit.map(Span::secs) })),
            ended: None,
        };
        let mut rows: Vec<Row> = (0..9)
            .map(|n| row(format!("r{n}"), "beta", Circumstance::Ordinary, Some(30)))
            .collect();
        rows.push(row("x".into(), "beta", Circumstance::Degraded, Some(15)));
        rows.push(row("y".into(), "gamma", Circumstance::Ordinary, None));
        let mut idle = row("z".into(), "gamma", Circumstance::Ordinary, None);
        idle.waiting = None;
        rows.push(idle);
        let lines = Table { rows }.waits(begun + Duration::from_millis(12_300));
        assert_eq!(
            lines,
            [
                "waiting for beta: x; 12 s so far, 3 s left (degr-wfc-timeout)",
                "waiting for beta: r0, r1, r2, r3, r4, r5 and 3 more; 12 s so far, \
                 18 s left (wfc-timeout)",
                "waiting for gamma: y; 12 s so far, for as long as it takes",
            ]
        );
    }
}
