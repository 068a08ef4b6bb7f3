//! As much of an NBD client as a measurement needs: GO, READ, WRITE, simple replies.

use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_ERROR: u32 = 1 << 31;

/// A connection that requests can be sent on.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Opens the export of that name.
    pub(crate) fn connect(socket: &Path, export: &str) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        let mut client = Self { stream };
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

    /// Sends one request, `data` with it if it is a write.
    pub(crate) fn send(
        &mut self,
        write: bool,
        cookie: u64,
        offset: u64,
        len: u32,
        data: &[u8],
    ) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(28 + data.len());
        bytes.extend(0x2560_9513_u32.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(u16::from(write).to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes.extend(data);
        self.stream.write_all(&bytes)
    }

    /// The cookie of the next reply; `into` takes the data if it is one of a read.
    pub(crate) fn reply(&mut self, into: Option<&mut [u8]>) -> anyhow::Result<u64> {
        let header: [u8; 16] = self.receive()?;
        ensure!(number(&header[..4]) == 0x6744_6698, "a reply does not begin as one");
        let error = number(&header[4..8]);
        ensure!(error == 0, "a request failed with error {error}");
        if let Some(into) = into {
            self.stream.read_exact(into)?;
        }
        let (mut cookie, mut bytes) = (0, &header[8..]);
        while let Some((byte, rest)) = bytes.split_first() {
            cookie = cookie << 8 | u64::from(*byte);
            bytes = rest;
        }
        Ok(cookie)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
