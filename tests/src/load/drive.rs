//! One client of a load, through all its connections.

use super::registers::{self, PER_SECTOR};
use super::{Mix, PATIENCE, PER_BLOCK, Plan, VALUES};
use crate::clock;
use crate::nbd_client::{Address, Client, ClientError, Operation};
use sim::history::{Kind, Op, ZERO};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use types::Prng;

/// A server answers so when it takes the device away: by the specification the client must go.
const ESHUTDOWN: u32 = 108;

/// What a client has done and seen.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) ops: Vec<Op>,
    pub(super) errors: Vec<String>,
    pub(super) refused: Vec<String>,
    pub(super) reconnects: u64,
    /// The longest time without an answer.
    pub(super) pause: Duration,
}

/// A request in flight.
pub(super) struct Pending {
    registers: Range<u64>,
    /// The value that is written; nothing for a read.
    write: Option<u64>,
    invoke: u64,
}

/// One client.
pub(super) struct Drive {
    pub(super) plan: Plan,
    pub(super) node: u8,
    pub(super) process: u64,
    pub(super) prng: Prng,
    pub(super) base: u64,
    pub(super) written: u64,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) start: Instant,
    pub(super) answered_at: Instant,
    pub(super) done: Arc<AtomicU64>,
    /// What is in flight, by cookie; nothing for a flush.
    pub(super) pending: BTreeMap<u64, Option<Pending>>,
    pub(super) outcome: Outcome,
}

impl Drive {
    pub(super) async fn live(&mut self, address: &Address) {
        loop {
            let Some(mut client) = self.connect(address).await else { return };
            match self.pump(&mut client).await {
                Ok(()) => {
                    // A node that goes away now has answered everything.
                    let lost = |error: &ClientError| error.is_connection_lost();
                    match client.disconnect().await {
                        Err(error) if !(lost(&error) && self.plan.reconnect) => {
                            self.complain(format!("going away: {error}"));
                        }
                        _ => {}
                    }
                    return;
                }
                Err(error) if error.is_connection_lost() && self.plan.reconnect => {
                    self.forget();
                    self.outcome.reconnects += 1;
                }
                Err(error) => {
                    self.forget();
                    return self.complain(format!("{error:?}"));
                }
            }
        }
    }

    fn complain(&mut self, text: String) {
        let now = self.now();
        self.outcome.errors.push(format!("node {} at {now} ns: {text}", self.node));
    }

    /// A connection; nothing if it is not wanted any more. A Secondary refuses until it is
    /// Primary, however long that takes.
    async fn connect(&mut self, address: &Address) -> Option<Client> {
        const PAUSE: Duration = Duration::from_millis(10);
        let mut since = clock::now();
        while !self.stop.load(Ordering::Relaxed) {
            let connecting = Client::connect(address, "r0");
            let error = match tokio::time::timeout(PATIENCE, connecting).await {
                Ok(Ok(client)) => return Some(client),
                Ok(Err(error)) => error,
                Err(_) => ClientError::Protocol("no answer within a minute".to_owned()),
            };
            if matches!(error, ClientError::Refused { kind: ClientError::POLICY, .. }) {
                since = clock::now();
            }
            if !self.plan.reconnect || since.elapsed() > PATIENCE {
                self.complain(format!("connecting: {error:?}"));
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Keeps the depth until it is told to stop, and then waits for what is in flight.
    async fn pump(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let mut next_at = tokio::time::Instant::now();
        // The device is taken away: nothing more is asked, and what is still in flight is heard.
        let mut told_to_go = false;
        loop {
            if told_to_go && self.pending.is_empty() {
                return Err(ClientError::Io(io::ErrorKind::ConnectionAborted.into()));
            }
            let wants_more = |drive: &Self| drive.wants_more() && !told_to_go;
            while wants_more(self) && next_at <= tokio::time::Instant::now() {
                self.ask(client);
                next_at = tokio::time::Instant::now() + self.plan.pace;
            }
            if self.pending.is_empty() && !wants_more(self) {
                return Ok(());
            }
            let reply = tokio::select! {
                reply = tokio::time::timeout(PATIENCE, client.reply()),
                    if !self.pending.is_empty() => reply,
                () = tokio::time::sleep_until(next_at), if wants_more(self) => continue,
            };
            let Ok(reply) = reply else {
                return Err(ClientError::Protocol("no answer within a minute".to_owned()));
            };
            let reply = reply?;
            let pending = self.pending.remove(&reply.cookie).expect("the client checks cookies");
            let now = clock::now();
            self.outcome.pause = self.outcome.pause.max(now - self.answered_at);
            self.answered_at = now;
            match reply.result {
                Ok(data) => self.answered(pending, &data),
                Err(ESHUTDOWN) if self.plan.reconnect => {
                    told_to_go = true;
                    pending.into_iter().for_each(|pending| self.unknown(&pending));
                }
                Err(errno) => {
                    let now = self.now();
                    let what = match &pending {
                        None => "a flush".to_owned(),
                        Some(Pending { write: None, registers, .. }) => {
                            format!("a read of {registers:?}")
                        }
                        Some(Pending { registers, .. }) => format!("a write of {registers:?}"),
                    };
                    self.outcome.refused.push(format!(
                        "node {} at {now} ns: {what} was answered with error {errno}",
                        self.node
                    ));
                    pending.into_iter().for_each(|pending| self.unknown(&pending));
                }
            }
        }
    }

    fn wants_more(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.pending.len() < self.plan.depth
    }

    fn ask(&mut self, client: &mut Client) {
        if self.plan.mix != Mix::Writes && self.prng.chance(1, 64) {
            self.pending.insert(client.submit(Operation::Flush), None);
            return;
        }
        let registers = self.choose();
        let (offset, len) = registers::bytes(&registers);
        let all_writes = self.plan.mix == Mix::Writes;
        let fua = !all_writes && self.prng.chance(1, 16);
        let zeroes = self.plan.mix == Mix::Everything && self.prng.chance(1, 12);
        let (operation, write) = match (zeroes, !all_writes && self.prng.chance(1, 3)) {
            (true, true) => {
                let no_hole = self.prng.chance(1, 2);
                (Operation::WriteZeroes { offset, len, no_hole, fua }, Some(ZERO))
            }
            (true, false) => (Operation::Trim { offset, len, fua }, Some(ZERO)),
            (false, true) => (Operation::read(offset, len), None),
            (false, false) => {
                self.written += 1;
                assert!(self.written < VALUES, "values are unique");
                let value = self.base + self.written;
                let data = registers::filled(&registers, value);
                (Operation::Write { offset, data, fua }, Some(value))
            }
        };
        let invoke = self.now();
        self.pending.insert(client.submit(operation), Some(Pending { registers, write, invoke }));
    }

    /// What the next request is about.
    fn choose(&mut self) -> Range<u64> {
        let areas = &self.plan.areas;
        let is_hot = self.plan.mix == Mix::Everything && self.prng.chance(1, 2);
        let some = if is_hot { areas.len().div_ceil(4) } else { areas.len() };
        let area = &areas[self.prng.below(some as u64) as usize];
        let all = area.start * PER_BLOCK..area.end * PER_BLOCK;
        let block = area.start + self.prng.below(area.end - area.start);
        let block = block * PER_BLOCK..(block + 1) * PER_BLOCK;
        if self.plan.mix != Mix::Everything {
            return block;
        }
        let (granule, most) = match self.prng.below(16) {
            0..8 => return block,
            8 => return all,
            9..13 => (1, PER_BLOCK),
            _ => (PER_SECTOR, all.end - all.start),
        };
        let begin = all.start + self.prng.below((all.end - all.start) / granule) * granule;
        let most = most.min(all.end - begin) / granule;
        begin..begin + (1 + self.prng.below(most)) * granule
    }

    fn answered(&mut self, pending: Option<Pending>, data: &[u8]) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let Some(pending) = pending else { return };
        let ret = Some(self.now());
        if let Some(value) = pending.write {
            return self.push(&pending, std::iter::repeat(Kind::Write(value)), ret);
        }
        match registers::values(&pending.registers, data) {
            Ok(values) => self.push(&pending, values.into_iter().map(Kind::Read), ret),
            Err(error) => self.complain(format!("a read: {error:#}")),
        }
    }

    fn unknown(&mut self, pending: &Pending) {
        if let Some(value) = pending.write {
            self.push(pending, std::iter::repeat(Kind::Write(value)), None);
        }
    }

    /// The connection is gone: whether what was in flight was done is not known.
    fn forget(&mut self) {
        for pending in std::mem::take(&mut self.pending).into_values().flatten() {
            self.unknown(&pending);
        }
    }

    fn push(&mut self, pending: &Pending, kinds: impl Iterator<Item = Kind>, ret: Option<u64>) {
        let (process, node, invoke) = (self.process, self.node, pending.invoke);
        for (register, kind) in pending.registers.clone().zip(kinds) {
            let block = registers::name(register);
            self.outcome.ops.push(Op { process, node, block, kind, invoke, ret });
        }
    }
}
