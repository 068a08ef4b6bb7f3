//! The client's side of the negotiation.

mod replies;

use super::answer::{Agreed, READ_MAX_BYTES, Style};
use super::error::{ClientError, breach};
use super::{Address, Client, Stream, wire};
use bytes::BufMut;
use replies::{check_flags, check_reply, context, server, take_information, text};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const LIST: u32 = 3;
const INFO: u32 = 6;
const GO: u32 = 7;
const STRUCTURED_REPLY: u32 = 8;
const LIST_META_CONTEXT: u32 = 9;
const SET_META_CONTEXT: u32 = 10;
const EXTENDED_HEADERS: u32 = 11;
const ACK: u32 = 1;
/// Data of a reply is shorter, because a client in use loses step on longer ones.
const REPLY_MAX_BYTES: usize = 4096;
/// Fixed newstyle and no zeroes: what this client wants, and all that a server may offer.
const FLAGS: u8 = 3;
const NO_ZEROES: u32 = 2;
/// Zeros behind the answer to EXPORT_NAME.
const PADDING: usize = 124;
/// What a client asks that wants to know everything.
const EVERYTHING: [u16; 3] = [1, 2, 3];

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
    /// The kinds of information that were sent, in their order.
    pub kinds: Vec<u16>,
}

impl ExportInfo {
    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// One reply to an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionReply {
    /// Its type.
    pub kind: u32,
    /// Its data.
    pub data: Vec<u8>,
}

/// A connection in its negotiation.
pub struct Handshake {
    stream: Box<dyn Stream>,
    client_flags: u32,
    style: Style,
    /// For which export contexts were selected, and which.
    selected: Option<(String, BTreeMap<u32, String>)>,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshake")
    }
}

impl Handshake {
    /// Connects and exchanges greetings.
    pub async fn connect(address: &Address) -> Result<Self, ClientError> {
        Self::over(wire::connect(address).await?).await
    }

    /// The same with these client flags.
    pub async fn connect_with(address: &Address, flags: u32) -> Result<Self, ClientError> {
        Self::over_with(wire::connect(address).await?, flags).await
    }

    /// Exchanges greetings over a stream that is connected.
    pub async fn over(stream: Box<dyn Stream>) -> Result<Self, ClientError> {
        Self::over_with(stream, FLAGS.into()).await
    }

    async fn over_with(mut stream: Box<dyn Stream>, flags: u32) -> Result<Self, ClientError> {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await?;
        if greeting[..16] != GREETING[..] || greeting[16..] != [0, FLAGS] {
            return breach(format!("greeting {greeting:02x?}"));
        }
        stream.write_all(&flags.to_be_bytes()).await?;
        Ok(Self { stream, client_flags: flags, style: Style::Simple, selected: None })
    }

    /// The names and descriptions of all exports.
    pub async fn list(&mut self) -> Result<Vec<(String, String)>, ClientError> {
        let replies = self.accepted(LIST, &[]).await?;
        replies.iter().map(|reply| server(&reply.data)).collect()
    }

    /// What the server says of `export`, without opening it.
    pub async fn info(&mut self, export: &str) -> Result<ExportInfo, ClientError> {
        self.info_with(export, &EVERYTHING).await
    }

    /// The same, asked for these pieces of information.
    pub async fn info_with(
        &mut self,
        export: &str,
        requests: &[u16],
    ) -> Result<ExportInfo, ClientError> {
        self.describe(INFO, export, requests).await
    }

    /// Opens `export`. When it is refused, the negotiation is given back with the error, and may
    /// go on.
    pub async fn go(self, export: &str) -> Result<Client, (ClientError, Self)> {
        self.go_with(export, &EVERYTHING).await
    }

    /// The same, asked for these pieces of information.
    pub async fn go_with(
        mut self,
        export: &str,
        requests: &[u16],
    ) -> Result<Client, (ClientError, Self)> {
        match self.describe(GO, export, requests).await {
            Ok(info) => Ok(self.transmission(export, info)),
            Err(error) => Err((error, self)),
        }
    }

    /// Opens `export` in the old way, which cannot say why it is refused: the server hangs up.
    pub async fn export_name(mut self, export: &str) -> Result<Client, ClientError> {
        self.send(EXPORT_NAME, export.as_bytes()).await?;
        let size = self.stream.read_u64().await?;
        let flags = self.stream.read_u16().await?;
        if self.client_flags & NO_ZEROES == 0 {
            let mut padding = [0; PADDING];
            self.stream.read_exact(&mut padding).await?;
            if padding != [0; PADDING] {
                return breach(format!("zeros {padding:02x?}"));
            }
        }
        check_flags(flags, self.style)?;
        let name = export.to_owned();
        Ok(self.transmission(export, ExportInfo { name, size, flags, ..ExportInfo::default() }))
    }

    fn transmission(self, export: &str, info: ExportInfo) -> Client {
        let contexts = match self.selected {
            Some((name, contexts)) if name == export => contexts,
            _ => BTreeMap::new(),
        };
        let payload_max = info.block_size.map_or(READ_MAX_BYTES, |[_, _, max]| max.into());
        let style = self.style;
        let agreed = Agreed { style, contexts, export_bytes: info.size, payload_max };
        Client::new(self.stream, info, agreed)
    }

    /// Agrees on structured replies.
    pub async fn structured_replies(&mut self) -> Result<(), ClientError> {
        self.accepted(STRUCTURED_REPLY, &[]).await?;
        self.style = self.style.max(Style::Structured);
        Ok(())
    }

    /// Agrees on extended headers.
    pub async fn extended_headers(&mut self) -> Result<(), ClientError> {
        self.accepted(EXTENDED_HEADERS, &[]).await?;
        self.style = Style::Extended;
        Ok(())
    }

    /// The names of the contexts of an export that match a query, or of all.
    pub async fn list_contexts(
        &mut self,
        export: &str,
        queries: &[&str],
    ) -> Result<Vec<String>, ClientError> {
        let replies = self.accepted(LIST_META_CONTEXT, &name_and_strings(export, queries)).await?;
        let contexts = replies.iter().map(|reply| context(&reply.data));
        contexts.map(|context| context.map(|(_, name)| name)).collect()
    }

    /// Selects contexts, and gives their names by id.
    pub async fn select_contexts(
        &mut self,
        export: &str,
        queries: &[&str],
    ) -> Result<BTreeMap<u32, String>, ClientError> {
        self.selected = None;
        let replies = self.accepted(SET_META_CONTEXT, &name_and_strings(export, queries)).await?;
        let mut contexts = BTreeMap::new();
        for reply in replies {
            let (id, name) = context(&reply.data)?;
            if contexts.values().any(|known| *known == name) || contexts.insert(id, name).is_some()
            {
                return breach(format!("a context or an id twice: {id}, {contexts:?}"));
            }
        }
        self.selected = Some((export.to_owned(), contexts.clone()));
        Ok(contexts)
    }

    /// Goes away.
    pub async fn abort(mut self) -> Result<(), ClientError> {
        self.accepted(ABORT, &[]).await?;
        match self.stream.read(&mut [0]).await? {
            0 => Ok(()),
            _ => breach("something behind the answer to ABORT"),
        }
    }

    async fn describe(
        &mut self,
        option: u32,
        export: &str,
        requests: &[u16],
    ) -> Result<ExportInfo, ClientError> {
        let replies = self.accepted(option, &name_and_requests(export, requests)).await?;
        let mut info = ExportInfo { name: export.to_owned(), ..ExportInfo::default() };
        for reply in replies {
            take_information(&reply.data, &mut info)?;
        }
        if !info.kinds.contains(&0) {
            return breach(format!("success without size and flags: {:?}", info.kinds));
        }
        check_flags(info.flags, self.style)?;
        Ok(info)
    }

    /// Sends an option that must be accepted. Gives the replies before the ACK.
    async fn accepted(
        &mut self,
        option: u32,
        data: &[u8],
    ) -> Result<Vec<OptionReply>, ClientError> {
        let mut replies = self.ask(option, data).await?;
        match replies.pop() {
            Some(OptionReply { kind: ACK, .. }) => Ok(replies),
            Some(OptionReply { kind, data }) => {
                Err(ClientError::Refused { kind, text: text(&data)? })
            }
            None => breach("no reply"),
        }
    }

    /// Sends any option, and gives all replies to it: the last one is an ACK or an error. The
    /// client does not note what was agreed on.
    pub async fn ask(&mut self, option: u32, data: &[u8]) -> Result<Vec<OptionReply>, ClientError> {
        self.send(option, data).await?;
        let mut replies = Vec::new();
        loop {
            let reply = self.reply(option).await?;
            let is_final = check_reply(option, &reply)?;
            replies.push(reply);
            if is_final {
                return Ok(replies);
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

    async fn reply(&mut self, option: u32) -> Result<OptionReply, ClientError> {
        let magic = self.stream.read_u64().await?;
        let answered = self.stream.read_u32().await?;
        let kind = self.stream.read_u32().await?;
        let len = self.stream.read_u32().await? as usize;
        if magic != OPTION_REPLY_MAGIC || answered != option || len >= REPLY_MAX_BYTES {
            return breach(format!("reply {magic:016x} to option {answered} with {len} bytes"));
        }
        let mut data = vec![0; len];
        self.stream.read_exact(&mut data).await?;
        Ok(OptionReply { kind, data })
    }
}

/// The data of INFO and GO.
pub fn name_and_requests(export: &str, requests: &[u16]) -> Vec<u8> {
    let mut data = Vec::new();
    put_string(&mut data, export);
    data.put_u16(u16::try_from(requests.len()).expect("few requests"));
    requests.iter().for_each(|request| data.put_u16(*request));
    data
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub fn name_and_strings(export: &str, strings: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    put_string(&mut data, export);
    data.put_u32(u32::try_from(strings.len()).expect("few strings"));
    strings.iter().for_each(|string| put_string(&mut data, string));
    data
}

fn put_string(data: &mut Vec<u8>, string: &str) {
    data.put_u32(u32::try_from(string.len()).expect("a short string"));
    data.put_slice(string.as_bytes());
}

#[cfg(test)]
mod tests;
