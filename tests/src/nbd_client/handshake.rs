//! The client's side of the negotiation.

use super::{Address, Client, ClientError, Stream};
use bytes::{Buf, BufMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const LIST: u32 = 3;
const INFO: u32 = 6;
const GO: u32 = 7;
const ACK: u32 = 1;
const SERVER: u32 = 2;
const INFORMATION: u32 = 3;
/// Set in the type of every reply that is an error.
const ERROR: u32 = 1 << 31;
/// The longest reply to an option that is taken.
const REPLY_MAX_BYTES: usize = 64 << 10;

/// What a server says of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportInfo {
    /// Canonical name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Bytes.
    pub size: u64,
    /// Transmission flags.
    pub flags: u16,
    /// Minimum block, preferred block, maximum payload, if the server says.
    pub block_size: Option<[u32; 3]>,
}

impl ExportInfo {
    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// A connection in its negotiation.
pub struct Handshake {
    stream: Box<dyn Stream>,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshake")
    }
}

impl Handshake {
    /// Connects and exchanges greetings.
    pub async fn connect(address: &Address) -> Result<Self, ClientError> {
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Self::over(stream).await
    }

    /// Exchanges greetings over a stream that is connected.
    pub async fn over(mut stream: Box<dyn Stream>) -> Result<Self, ClientError> {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await?;
        // Fixed newstyle and no zeroes, which is what this client knows.
        if greeting[..16] != GREETING[..] || greeting[17] & 3 != 3 {
            return Err(ClientError::Protocol(format!("greeting {greeting:02x?}")));
        }
        stream.write_all(&3_u32.to_be_bytes()).await?;
        Ok(Self { stream })
    }

    /// The names and descriptions of all exports.
    pub async fn list(&mut self) -> Result<Vec<(String, String)>, ClientError> {
        self.send(LIST, &[]).await?;
        let mut exports = Vec::new();
        loop {
            let (kind, data) = self.reply(LIST).await?;
            match kind {
                ACK => return Ok(exports),
                SERVER => {
                    let mut data = &data[..];
                    let len = data.try_get_u32().map_err(short)? as usize;
                    let (name, description) = data.split_at_checked(len).ok_or_else(too_short)?;
                    exports.push((text(name)?, text(description)?));
                }
                kind => return Err(strange(kind)),
            }
        }
    }

    /// What the server says of `export`, without opening it.
    pub async fn info(&mut self, export: &str) -> Result<ExportInfo, ClientError> {
        self.describe(INFO, export).await
    }

    /// Opens `export`. When it is refused, the negotiation is given back with the error, and may
    /// go on.
    pub async fn go(mut self, export: &str) -> Result<Client, (ClientError, Self)> {
        match self.describe(GO, export).await {
            Ok(info) => Ok(Client::new(self.stream, info)),
            Err(error) => Err((error, self)),
        }
    }

    /// Opens `export` in the old way, which cannot say why it is refused: the server hangs up.
    pub async fn export_name(mut self, export: &str) -> Result<Client, ClientError> {
        self.send(EXPORT_NAME, export.as_bytes()).await?;
        let size = self.stream.read_u64().await?;
        let flags = self.stream.read_u16().await?;
        let name = export.to_owned();
        Ok(Client::new(self.stream, ExportInfo { name, size, flags, ..ExportInfo::default() }))
    }

    /// Goes away.
    pub async fn abort(mut self) -> Result<(), ClientError> {
        self.send(ABORT, &[]).await?;
        match self.reply(ABORT).await? {
            (ACK, _) => Ok(()),
            (kind, _) => Err(strange(kind)),
        }
    }

    /// Sends any option, and gives its first reply: type and data.
    pub async fn raw(&mut self, option: u32, data: &[u8]) -> Result<(u32, Vec<u8>), ClientError> {
        self.send(option, data).await?;
        self.reply(option).await
    }

    async fn describe(&mut self, option: u32, export: &str) -> Result<ExportInfo, ClientError> {
        let mut data = Vec::new();
        data.put_u32(u32::try_from(export.len()).expect("a name is short"));
        data.put_slice(export.as_bytes());
        data.put_u16(3);
        for wanted in [1, 2, 3] {
            data.put_u16(wanted);
        }
        self.send(option, &data).await?;
        let mut info = ExportInfo { name: export.to_owned(), ..ExportInfo::default() };
        let mut has_size = false;
        loop {
            let (kind, data) = self.reply(option).await?;
            match kind {
                ACK if has_size => return Ok(info),
                INFORMATION => has_size |= take_information(&data, &mut info)?,
                kind => return Err(strange(kind)),
            }
        }
    }

    async fn send(&mut self, option: u32, data: &[u8]) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        bytes.put_slice(&GREETING[8..]);
        bytes.put_u32(option);
        bytes.put_u32(u32::try_from(data.len()).expect("an option is short"));
        bytes.put_slice(data);
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn reply(&mut self, option: u32) -> Result<(u32, Vec<u8>), ClientError> {
        let magic = self.stream.read_u64().await?;
        let answered = self.stream.read_u32().await?;
        let kind = self.stream.read_u32().await?;
        let len = self.stream.read_u32().await? as usize;
        if magic != OPTION_REPLY_MAGIC || answered != option || len > REPLY_MAX_BYTES {
            let why = format!("reply {magic:016x} to option {answered} with {len} bytes");
            return Err(ClientError::Protocol(why));
        }
        let mut data = vec![0; len];
        self.stream.read_exact(&mut data).await?;
        if kind & ERROR != 0 {
            let text = String::from_utf8_lossy(&data).into_owned();
            return Err(ClientError::Refused { kind, text });
        }
        Ok((kind, data))
    }
}

/// Whether it was the size.
fn take_information(mut data: &[u8], info: &mut ExportInfo) -> Result<bool, ClientError> {
    let kind = data.try_get_u16().map_err(short)?;
    match kind {
        0 => {
            info.size = data.try_get_u64().map_err(short)?;
            info.flags = data.try_get_u16().map_err(short)?;
        }
        1 => info.name = text(data)?,
        2 => info.description = text(data)?,
        3 => {
            let mut next = || data.try_get_u32().map_err(short);
            info.block_size = Some([next()?, next()?, next()?]);
        }
        _ => {}
    }
    Ok(kind == 0)
}

fn text(bytes: &[u8]) -> Result<String, ClientError> {
    let text = std::str::from_utf8(bytes);
    Ok(text.map_err(|error| ClientError::Protocol(error.to_string()))?.to_owned())
}

fn short(_: bytes::TryGetError) -> ClientError {
    too_short()
}

fn too_short() -> ClientError {
    ClientError::Protocol("the data of a reply ends too early".to_owned())
}

fn strange(kind: u32) -> ClientError {
    ClientError::Protocol(format!("a reply of type 0x{kind:x} that is not awaited here"))
}
