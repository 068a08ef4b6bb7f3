//! As much of an NBD client as a measurement needs: GO, READ, WRITE, FLUSH, simple replies.

use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_ERROR: u32 = 1 << 31;

/// The length of a request without its data, and of a simple reply without its data.
pub(crate) const REQUEST_BYTES: usize = 28;
pub(crate) const REPLY_BYTES: usize = 16;

/// What a server is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Read,
    Write,
    /// A write that is durable when it is answered.
    WriteFua,
    Flush,
}

/// A request as it is sent; the data of a write follow.
pub(crate) fn request(command: Command, cookie: u64, offset: u64, len: u32) -> [u8; REQUEST_BYTES] {
    let (flags, kind): (u16, u16) = match command {
        Command::Read => (0, 0),
        Command::Write => (0, 1),
        Command::WriteFua => (1, 1),
        Command::Flush => (0, 3),
    };
    let mut bytes = [0; REQUEST_BYTES];
    bytes[..4].copy_from_slice(&0x2560_9513_u32.to_be_bytes());
    bytes[4..6].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&kind.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// The cookie of a reply that says that all is well.
pub(crate) fn cookie_of(reply: &[u8; REPLY_BYTES]) -> anyhow::Result<u64> {
    ensure!(number(&reply[..4]) == 0x6744_6698, "a reply does not begin as one");
    let error = number(&reply[4..8]);
    ensure!(error == 0, "a request failed with error {error}");
    Ok(u64::from(number(&reply[8..12])) << 32 | u64::from(number(&reply[12..])))
}

/// A connection that requests can be sent on.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    bytes: u64,
}

impl Client {
    /// Opens the export of that name.
    pub(crate) fn connect(socket: &Path, export: &str) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        let mut client = Self { stream, bytes: 0 };
        let greeting: [u8; 18] = client.receive()?;
        ensure!(greeting[..16] == *b"NBDMAGICIHAVEOPT", "not an NBD server");
        // Fixed newstyle, no zeroes.
        let mut hello = 3u32.to_be_bytes().to_vec();
        hello.extend(b"IHAVEOPT");
        hello.extend(OPTION_GO.to_be_bytes());
        hello.extend((export.len() as u32 + 6).to_be_bytes());
        hello.extend((export.len() as u32).to_be_bytes());
        hello.extend(export.as_bytes());
        hello.extend([0, 0]);
        client.stream.write_all(&hello)?;
        loop {
            let header: [u8; 20] = client.receive()?;
            let kind = number(&header[12..16]);
            let mut data = vec![0; number(&header[16..20]) as usize];
            client.stream.read_exact(&mut data)?;
            match kind {
                REPLY_ACK => return Ok(client),
                // Information 0 is of the export: its size, and what it can do.
                REPLY_INFO if data.len() == 12 && data[..2] == [0, 0] => {
                    let [high, low] = [&data[2..6], &data[6..10]].map(number);
                    client.bytes = u64::from(high) << 32 | u64::from(low);
                }
                kind if kind & REPLY_ERROR != 0 => {
                    bail!("{export} is refused: {}", String::from_utf8_lossy(&data));
                }
                _ => {}
            }
        }
    }

    fn receive<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The size of the export.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The connection, for a user with a loop of its own.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Sends one request, `data` with it if it is a write.
    pub(crate) fn send(
        &mut self,
        command: Command,
        cookie: u64,
        offset: u64,
        len: u32,
        data: &[u8],
    ) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(REQUEST_BYTES + data.len());
        bytes.extend(request(command, cookie, offset, len));
        bytes.extend(data);
        self.stream.write_all(&bytes)
    }

    /// The cookie of the next reply; `into` takes the data if it is one of a read.
    pub(crate) fn reply(&mut self, into: Option<&mut [u8]>) -> anyhow::Result<u64> {
        let cookie = cookie_of(&self.receive()?)?;
        if let Some(into) = into {
            self.stream.read_exact(into)?;
        }
        Ok(cookie)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
