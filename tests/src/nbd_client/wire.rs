//! Bytes as they are: for what no client would send, and for what must come back byte by byte.

use super::error::{ClientError, breach};
use super::{Address, Stream};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// A connection on which nothing is understood.
pub struct Wire {
    stream: Box<dyn Stream>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// Connects, and says nothing.
    pub async fn connect(address: &Address) -> Result<Self, ClientError> {
        Ok(Self { stream: connect(address).await? })
    }

    /// The same, and takes the greeting and answers it with these flags.
    pub async fn greeted(address: &Address, flags: u32) -> Result<Self, ClientError> {
        let mut wire = Self::connect(address).await?;
        wire.receive(18).await?;
        wire.send(&flags.to_be_bytes()).await?;
        Ok(wire)
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends the beginning of an option: as many bytes as `len` says should follow.
    pub async fn send_option(
        &mut self,
        option: u32,
        len: u32,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let header = [&b"IHAVEOPT"[..], &option.to_be_bytes(), &len.to_be_bytes(), data];
        self.send(&header.concat()).await
    }

    /// The next so many bytes.
    pub async fn receive(&mut self, len: usize) -> Result<Vec<u8>, ClientError> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// One reply to an option: its type and its data.
    pub async fn option_reply(&mut self, option: u32) -> Result<(u32, Vec<u8>), ClientError> {
        let header = self.receive(20).await?;
        let number =
            |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        if header[..8] != [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9] || number(8) != option {
            return breach(format!("no reply to option {option}: {header:02x?}"));
        }
        Ok((number(12), self.receive(number(16) as usize).await?))
    }

    /// Everything up to the end, which must be the server's.
    pub async fn rest(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes).await {
            Ok(_) => Ok(bytes),
            // Closed with bytes of ours that it has not read.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(bytes),
            Err(error) => Err(error.into()),
        }
    }

    /// The server hangs up without another byte.
    pub async fn closed(&mut self) -> Result<(), ClientError> {
        match self.rest().await?.as_slice() {
            [] => Ok(()),
            bytes => breach(format!("instead of hanging up it says {bytes:02x?}")),
        }
    }

    /// Sends nothing more, and listens on.
    pub async fn shut_down(&mut self) -> Result<(), ClientError> {
        Ok(self.stream.shutdown().await?)
    }
}

pub(super) async fn connect(address: &Address) -> Result<Box<dyn Stream>, ClientError> {
    Ok(match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}
