//! A small NBD client, for tests that need to know exactly what was asked and answered: which
//! requests are in flight when a connection breaks, in which order replies come, which error a
//! request gets.
//!
//! It shares no code and no number with the server, so that a mistake in one is not made in both.
//! It speaks whatever was agreed on: simple replies, structured ones, extended headers. A server
//! that breaks the protocol is an error, [`ClientError::Protocol`]. What no client would send is
//! sent by a [`Wire`]. One connection belongs to one task; requests are pipelined:
//!
//! ```text
//! let mut client = Client::connect(&address, "r0/0").await?;
//! client.write(0, &data, false).await?;                  // one request and its answer
//! let first = client.submit(Operation::read(0, 4096));   // many requests, answers in any order
//! let second = client.submit(Operation::Flush);
//! let answer = client.reply().await?;                    // whichever comes first
//! client.disconnect().await?;
//! ```

mod answer;
mod error;
mod handshake;
mod operation;
mod wire;

pub use answer::{Chunk, Detail, Extent, Style};
pub use error::ClientError;
pub use handshake::{ExportInfo, Handshake, OptionReply, name_and_requests, name_and_strings};
pub use operation::{
    FLAG_DF, FLAG_FAST_ZERO, FLAG_FUA, FLAG_NO_HOLE, FLAG_PAYLOAD_LEN, FLAG_REQ_ONE, Operation,
};
pub use wire::Wire;

use answer::{Agreed, Answer, RawChunk};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use error::breach;
use operation::command;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};

const REQUEST_MAGIC: u32 = 0x2560_9513;
const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
const EXTENDED_REPLY_MAGIC: u32 = 0x6e8a_278c;
/// The longest payload of a chunk that is taken: as much data as is read at once, or as many
/// extents as may be sent.
const CHUNK_MAX_BYTES: u64 = answer::READ_MAX_BYTES + 64;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

/// `unix:PATH` or `tcp:HOST:PORT`, as `repd --nbd` takes it.
impl FromStr for Address {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        match text.split_once(':') {
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => Ok(Self::Tcp(address.to_owned())),
            _ => breach(format!("'{text}' is not unix:PATH or tcp:HOST:PORT")),
        }
    }
}

/// A connection to a server, of whatever kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's.
    pub cookie: u64,
    /// The data of a read, nothing for others, or the protocol's number of an error.
    pub result: Result<Bytes, u32>,
    /// In which chunks it came, what it said to people, the extents.
    pub detail: Detail,
}

/// A connection in its transmission phase.
pub struct Client {
    read: ReadHalf<Box<dyn Stream>>,
    write: WriteHalf<Box<dyn Stream>>,
    export: ExportInfo,
    agreed: Agreed,
    /// Bytes to send.
    output: BytesMut,
    /// Bytes received and not yet understood.
    input: BytesMut,
    next_cookie: u64,
    /// What is in flight, by cookie.
    in_flight: BTreeMap<u64, Operation>,
    /// Replies of which the last chunk is missing.
    begun: BTreeMap<u64, Answer>,
    /// Answers that came while another was waited for.
    answered: BTreeMap<u64, Reply>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("export", &self.export)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and opens `export` by GO.
    pub async fn connect(address: &Address, export: &str) -> Result<Self, ClientError> {
        Handshake::connect(address).await?.go(export).await.map_err(|(error, _)| error)
    }

    /// Connects and opens `export` by EXPORT_NAME.
    pub async fn connect_by_export_name(
        address: &Address,
        export: &str,
    ) -> Result<Self, ClientError> {
        Handshake::connect(address).await?.export_name(export).await
    }

    fn new(stream: Box<dyn Stream>, export: ExportInfo, agreed: Agreed) -> Self {
        let (read, write) = split(stream);
        Self {
            read,
            write,
            export,
            agreed,
            output: BytesMut::new(),
            input: BytesMut::new(),
            next_cookie: 1,
            in_flight: BTreeMap::new(),
            begun: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    /// The connection itself, for a client that does not keep to the protocol. Nothing may be in
    /// flight.
    ///
    /// # Panics
    /// If anything is.
    pub fn into_stream(self) -> Box<dyn Stream> {
        assert!(self.in_flight.is_empty() && self.input.is_empty() && self.output.is_empty());
        self.read.unsplit(self.write)
    }

    /// What the server said of the export.
    pub fn export(&self) -> &ExportInfo {
        &self.export
    }

    /// The id of a context that was selected.
    pub fn context(&self, name: &str) -> Option<u32> {
        let found = self.agreed.contexts.iter().find(|(_, context)| *context == name);
        found.map(|(id, _)| *id)
    }

    /// What was submitted and is not answered, by cookie.
    pub fn in_flight(&self) -> &BTreeMap<u64, Operation> {
        &self.in_flight
    }

    /// The cookie of the next request. One that is in flight must not be chosen.
    pub fn set_cookie(&mut self, cookie: u64) {
        self.next_cookie = cookie;
    }

    /// Queues a request and gives its cookie. It is sent while a reply is waited for, or by
    /// [`send`](Self::send).
    pub fn submit(&mut self, operation: Operation) -> u64 {
        let cookie = self.next_cookie;
        self.next_cookie = cookie.wrapping_add(1);
        self.put_header(&operation, cookie);
        self.output.extend_from_slice(operation.payload());
        self.in_flight.insert(cookie, operation);
        cookie
    }

    fn put_header(&mut self, operation: &Operation, cookie: u64) {
        let extended = self.agreed.style == Style::Extended;
        let header = operation.header(extended);
        self.output.put_u32(if extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC });
        self.output.put_u16(header.flags);
        self.output.put_u16(header.command);
        self.output.put_u64(cookie);
        self.output.put_u64(header.offset);
        match extended {
            true => self.output.put_u64(header.len),
            false => self.output.put_u32(header.len as u32),
        }
    }

    /// Sends what was submitted. Replies that come meanwhile are kept.
    pub async fn send(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() {
            self.progress().await?;
        }
        Ok(())
    }

    /// The next reply, in the order of the server. Cancel-safe. Do not call it with nothing in
    /// flight, unless to see the server close the connection.
    pub async fn reply(&mut self) -> Result<Reply, ClientError> {
        loop {
            if let Some((_, reply)) = self.answered.pop_first() {
                return Ok(reply);
            }
            match self.parse()? {
                Some(reply) => return Ok(reply),
                None => self.progress().await?,
            }
        }
    }

    /// The whole answer to the request with this cookie; others that come before are kept for
    /// [`reply`](Self::reply).
    pub async fn wait_reply(&mut self, cookie: u64) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.answered.remove(&cookie) {
                return Ok(reply);
            }
            match self.parse()? {
                Some(reply) => {
                    self.answered.insert(reply.cookie, reply);
                }
                None => self.progress().await?,
            }
        }
    }

    /// The result of the request with this cookie; others that come before are kept.
    pub async fn wait(&mut self, cookie: u64) -> Result<Result<Bytes, u32>, ClientError> {
        Ok(self.wait_reply(cookie).await?.result)
    }

    /// One request, and its whole answer.
    pub async fn ask(&mut self, operation: Operation) -> Result<Reply, ClientError> {
        let cookie = self.submit(operation);
        self.wait_reply(cookie).await
    }

    async fn done(&mut self, operation: Operation) -> Result<Bytes, ClientError> {
        self.ask(operation).await?.result.map_err(ClientError::Errno)
    }

    /// Reads, and waits for it.
    pub async fn read(&mut self, offset: u64, len: u32) -> Result<Bytes, ClientError> {
        self.done(Operation::Read { offset, len }).await
    }

    /// Writes, and waits for it.
    pub async fn write(&mut self, offset: u64, data: &[u8], fua: bool) -> Result<(), ClientError> {
        let data = Bytes::copy_from_slice(data);
        self.done(Operation::Write { offset, data, fua }).await.map(drop)
    }

    /// Flushes, and waits for it.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.done(Operation::Flush).await.map(drop)
    }

    /// Trims, and waits for it.
    pub async fn trim(&mut self, offset: u64, len: u32) -> Result<(), ClientError> {
        self.done(Operation::Trim { offset, len, fua: false }).await.map(drop)
    }

    /// Writes zeros, and waits for it.
    pub async fn write_zeroes(
        &mut self,
        offset: u64,
        len: u32,
        no_hole: bool,
    ) -> Result<(), ClientError> {
        self.done(Operation::WriteZeroes { offset, len, no_hole, fua: false }).await.map(drop)
    }

    /// Goes away in order. Gives the replies to what was in flight, up to the end of the stream.
    pub async fn disconnect(mut self) -> Result<Vec<Reply>, ClientError> {
        self.put_header(&Operation::raw(command::DISC, 0, 0, 0), 0);
        self.send().await?;
        self.rest().await
    }

    /// All replies up to the end of the stream, which must come between two of them.
    pub async fn rest(&mut self) -> Result<Vec<Reply>, ClientError> {
        let mut replies: Vec<Reply> = std::mem::take(&mut self.answered).into_values().collect();
        loop {
            while let Some(reply) = self.parse()? {
                replies.push(reply);
            }
            if self.read.read_buf(&mut self.input).await? == 0 {
                return match self.input.is_empty() && self.begun.is_empty() {
                    true => Ok(replies),
                    false => Err(closed()),
                };
            }
        }
    }

    /// One send or one receive, whichever is possible: a client that only sends while the server
    /// only answers would wait for ever.
    async fn progress(&mut self) -> Result<(), ClientError> {
        tokio::select! {
            sent = self.write.write_buf(&mut self.output), if !self.output.is_empty() => {
                sent?;
                if self.output.is_empty() {
                    self.write.flush().await?;
                }
                Ok(())
            }
            received = self.read.read_buf(&mut self.input) => match received? {
                0 => Err(closed()),
                _ => Ok(()),
            }
        }
    }

    /// One whole reply from what was received: its end, if it comes in chunks.
    fn parse(&mut self) -> Result<Option<Reply>, ClientError> {
        loop {
            let Ok(magic) = (&self.input[..]).try_get_u32() else { return Ok(None) };
            match (magic, self.agreed.style) {
                (SIMPLE_REPLY_MAGIC, _) => return self.parse_simple(),
                (STRUCTURED_REPLY_MAGIC, Style::Structured)
                | (EXTENDED_REPLY_MAGIC, Style::Extended) => {}
                (_, style) => {
                    return breach(format!("a reply begins with 0x{magic:08x}, {style:?}"));
                }
            }
            let Some((cookie, chunk)) = self.take_chunk()? else { return Ok(None) };
            let new = Answer::to(self.asked(cookie)?, &self.agreed);
            let answer = self.begun.entry(cookie).or_insert(new);
            if answer.take(chunk, &self.agreed)? {
                self.in_flight.remove(&cookie);
                let answer = self.begun.remove(&cookie).expect("it was just there");
                let (result, detail) = answer.finish();
                return Ok(Some(Reply { cookie, result, detail }));
            }
        }
    }

    fn asked(&self, cookie: u64) -> Result<&Operation, ClientError> {
        match self.in_flight.get(&cookie) {
            Some(operation) => Ok(operation),
            None => breach(format!("a reply to {cookie}, not in flight")),
        }
    }

    fn parse_simple(&mut self) -> Result<Option<Reply>, ClientError> {
        let mut header = &self.input[4..];
        let (Ok(error), Ok(cookie)) = (header.try_get_u32(), header.try_get_u64()) else {
            return Ok(None);
        };
        let operation = self.asked(cookie)?;
        if self.begun.contains_key(&cookie) {
            return breach(format!("a simple reply to {cookie} behind chunks"));
        }
        let asked = operation.header(self.agreed.style == Style::Extended);
        let result = answer::simple(asked, error, self.agreed.style)?;
        let len = result.unwrap_or(0);
        if len > answer::READ_MAX_BYTES {
            return breach(format!("a READ of {len} bytes is answered"));
        }
        if (header.len() as u64) < len {
            return Ok(None);
        }
        self.input.advance(16);
        self.in_flight.remove(&cookie);
        let data = self.input.split_to(len as usize).freeze();
        Ok(Some(Reply { cookie, result: result.map(|_| data), detail: Detail::default() }))
    }

    /// One whole chunk from what was received, with its cookie.
    fn take_chunk(&mut self) -> Result<Option<(u64, RawChunk)>, ClientError> {
        let extended = self.agreed.style == Style::Extended;
        let header_len = if extended { 32 } else { 20 };
        let mut header = &self.input[..];
        if header.len() < header_len {
            return Ok(None);
        }
        header.advance(4);
        let (flags, kind, cookie) = (header.get_u16(), header.get_u16(), header.get_u64());
        let offset = extended.then(|| header.get_u64());
        let len = if extended { header.get_u64() } else { header.get_u32().into() };
        if len > CHUNK_MAX_BYTES {
            return breach(format!("a chunk of {len} bytes"));
        }
        if ((self.input.len() - header_len) as u64) < len {
            return Ok(None);
        }
        self.input.advance(header_len);
        let payload = self.input.split_to(len as usize).freeze();
        Ok(Some((cookie, RawChunk { flags, kind, offset, payload })))
    }
}

fn closed() -> ClientError {
    ClientError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server has hung up"))
}

#[cfg(test)]
mod tests;
