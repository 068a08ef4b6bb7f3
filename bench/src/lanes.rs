//! Several connections to one server, served by one thread: the same for each server, so that what
//! differs is the server.

use crate::client::{Client, Command, REPLY_BYTES, cookie_of, request};
use crate::contents::Contents;
use crate::load::{Measured, now};
use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use types::Prng;

/// A server that says nothing for so long has lost a request.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// How much is taken off a socket at once: many small replies by one call.
const INBOX_BYTES: usize = 256 << 10;

/// What is asked for, request by request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) command: Command,
    pub(crate) len: usize,
    pub(crate) places: Places,
    /// How many requests are in flight, on all connections together.
    pub(crate) depth: usize,
}

/// Where the requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Anywhere, for so long.
    Random(Duration),
    /// Each connection through a part of its own, again and again, for so long.
    Sequential(Duration),
    /// Everything once, by one connection; what is read is checked to the last byte.
    Once,
}

impl Places {
    const fn time(self) -> Option<Duration> {
        match self {
            Self::Random(time) | Self::Sequential(time) => Some(time),
            Self::Once => None,
        }
    }
}

/// The connections.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    random: Prng,
}

#[derive(Debug)]
struct Lane {
    stream: UnixStream,
    out: Vec<u8>,
    sent: usize,
    inbox: Vec<u8>,
    /// What has come and was not looked at yet.
    unread: Range<usize>,
    /// By cookie: where each request went, and when.
    slots: Vec<(u64, Instant)>,
    /// Where it goes in sequence, and where it is.
    part: Range<u64>,
    cursor: u64,
}

impl Lanes {
    /// So many connections to a server.
    pub(crate) fn connect(
        socket: &Path,
        export: &str,
        count: usize,
        bytes: u64,
    ) -> anyhow::Result<Self> {
        let lanes = (0..count).map(|_| {
            let client = Client::connect(socket, export)?;
            ensure!(client.bytes() >= bytes, "an export of {} bytes", client.bytes());
            let stream = client.into_stream();
            stream.set_nonblocking(true)?;
            Ok(Lane {
                stream,
                out: Vec::new(),
                sent: 0,
                inbox: vec![0; INBOX_BYTES],
                unread: 0..0,
                slots: Vec::new(),
                part: 0..0,
                cursor: 0,
            })
        });
        Ok(Self { lanes: lanes.collect::<anyhow::Result<_>>()?, random: Prng::new(1) })
    }

    /// Does the work, and says how long each request took.
    pub(crate) fn run(&mut self, work: Work, contents: &mut Contents) -> anyhow::Result<Measured> {
        let (count, mut took, mut open) = (self.lanes.len(), Vec::new(), 0);
        let expected = if work.command == Command::Read { work.len } else { 0 };
        let part = contents.bytes() / count as u64 / work.len as u64 * work.len as u64;
        let begun = now();
        for at in 0..count {
            // The first connections take what cannot be divided.
            let depth = work.depth / count + usize::from(at < work.depth % count);
            let begin = part * at as u64;
            self.lanes[at].part = begin..begin + part;
            self.lanes[at].cursor = begin;
            self.lanes[at].slots = vec![(0, begun); depth];
            for slot in 0..depth {
                open += usize::from(self.ask(at, slot, work, contents));
            }
            self.lanes[at].send()?;
        }
        while open > 0 {
            for at in self.ready()? {
                self.lanes[at].receive(REPLY_BYTES + expected)?;
                while let Some((slot, data)) = self.lanes[at].reply(expected)? {
                    let lane = &self.lanes[at];
                    let (offset, sent) = *lane.slots.get(slot).context("an unknown cookie")?;
                    let came = now();
                    took.push(came.duration_since(sent));
                    contents.check(offset, &lane.inbox[data], work.places == Places::Once)?;
                    open -= 1;
                    if work.places.time().is_none_or(|time| came.duration_since(begun) < time) {
                        open += usize::from(self.ask(at, slot, work, contents));
                    }
                }
                self.lanes[at].send()?;
            }
        }
        Ok(Measured::new(took, begun.elapsed()))
    }

    /// How long a flush takes.
    pub(crate) fn flush(&mut self) -> anyhow::Result<Duration> {
        let begun = now();
        let lane = self.lanes.first_mut().context("no connection")?;
        lane.out.extend(request(Command::Flush, 0, 0, 0));
        lane.send()?;
        loop {
            for at in self.ready()? {
                self.lanes[at].receive(REPLY_BYTES)?;
                if self.lanes[at].reply(0)?.is_some() {
                    return Ok(begun.elapsed());
                }
            }
        }
    }

    /// Puts the next request in the queue, if there is one.
    fn ask(&mut self, at: usize, slot: usize, work: Work, contents: &mut Contents) -> bool {
        let len = work.len as u64;
        let lane = &mut self.lanes[at];
        let offset = match work.places {
            Places::Random(_) => self.random.below(contents.bytes() / len) * len,
            Places::Once if lane.cursor == lane.part.end => return false,
            Places::Sequential(_) | Places::Once => {
                let offset = lane.cursor;
                lane.cursor += len;
                if lane.cursor + len > lane.part.end && work.places != Places::Once {
                    lane.cursor = lane.part.start;
                }
                offset
            }
        };
        lane.slots[slot] = (offset, now());
        lane.out.extend(request(work.command, slot as u64, offset, work.len as u32));
        if work.command != Command::Read {
            contents.write(offset, work.len, &mut lane.out);
        }
        true
    }

    /// Waits for connections that have something, or take something.
    fn ready(&self) -> anyhow::Result<Vec<usize>> {
        let wanted = |lane: &Lane| match lane.out.is_empty() {
            true => PollFlags::IN,
            false => PollFlags::IN | PollFlags::OUT,
        };
        let mut polled: Vec<_> =
            self.lanes.iter().map(|lane| PollFd::new(&lane.stream, wanted(lane))).collect();
        let some = rustix::io::retry_on_intr(|| poll(&mut polled, Some(&PATIENCE)))?;
        ensure!(some > 0, "no answer within {} s", PATIENCE.tv_sec);
        let ready = polled.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(at, _)| at).collect())
    }
}

impl Lane {
    /// Sends as much as the socket takes.
    fn send(&mut self) -> anyhow::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("sending a request"),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Takes what has come; a reply of so many bytes must find room.
    fn receive(&mut self, largest: usize) -> anyhow::Result<()> {
        self.inbox.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.inbox.len() < largest {
            self.inbox.resize(largest + INBOX_BYTES, 0);
        }
        match self.stream.read(&mut self.inbox[self.unread.end..]) {
            Ok(0) => anyhow::bail!("the server has closed the connection"),
            Ok(count) => self.unread.end += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("receiving replies"),
        }
        Ok(())
    }

    /// The next reply that is here as a whole: its cookie, and where its data are,
    /// of which so many bytes are expected.
    fn reply(&mut self, expected: usize) -> anyhow::Result<Option<(usize, Range<usize>)>> {
        let Some(header) = self.inbox[self.unread.clone()].first_chunk::<REPLY_BYTES>() else {
            return Ok(None);
        };
        let cookie = cookie_of(header)?;
        let begin = self.unread.start + REPLY_BYTES;
        let data = begin..begin + expected;
        if data.end > self.unread.end {
            return Ok(None);
        }
        self.unread.start = data.end;
        Ok(Some((usize::try_from(cookie)?, data)))
    }
}
