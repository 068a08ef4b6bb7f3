//! An export in memory, and the shortest program that serves it: read, do, push, flush. It does
//! one request after another, so every answered write is durable, as far as memory is.

use bytes::Bytes;
use nbd_server::{
    Answer, Command, ConnectionError, ExportInfo, Exports, Extents, Incoming, Negotiated, Refusal,
    ReplyWriter, RequestReader, Session, TlsOffer, VecBuffers, negotiate,
};
use std::cell::RefCell;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use types::{ByteRange, StatusMap};

/// When so many bytes of replies wait, no more requests are taken.
const PENDING_MAX_BYTES: usize = 32 << 20;

/// One writable export, one read-only view of it, and one that is refused.
pub(crate) struct Memory {
    info: ExportInfo,
    data: RefCell<Vec<u8>>,
    tls: TlsOffer,
}

impl Memory {
    /// The export `name` of `size` zeros.
    pub(crate) fn new(name: &str, size: u64) -> Self {
        let description = format!("{size} bytes of memory");
        let info = ExportInfo { description, ..ExportInfo::new(name, size) };
        let size = usize::try_from(size).expect("memory is addressable");
        Self { info, data: RefCell::new(vec![0; size]), tls: TlsOffer::Off }
    }

    fn read_only(&self) -> ExportInfo {
        let name = format!("{}-ro", self.info.name);
        ExportInfo { name, read_only: true, ..self.info.clone() }
    }

    /// Serves one client from the greeting to its end.
    pub(crate) async fn serve<S>(
        &self,
        stream: S,
        peer: &str,
    ) -> Result<(), Box<dyn std::error::Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let patience = Duration::from_secs(10);
        let negotiated = negotiate(stream, self, &self.tls, peer, patience).await?;
        let Negotiated { stream, terms, leftover } = negotiated;
        let (read, write) = tokio::io::split(stream);
        let mut writer = ReplyWriter::new(write, terms.replies);
        let mut reader = RequestReader::new(read, terms, leftover, VecBuffers);
        loop {
            let mut next = Some(reader.next().await);
            // A client that has hung up may still listen for the replies that are queued.
            while let Some(incoming) = next.take() {
                match incoming {
                    Ok(Incoming::Request(request)) => {
                        writer.push(request.ticket, Ok(self.execute(request.command)));
                    }
                    Ok(Incoming::Reject { ticket, failure }) => writer.push(ticket, Err(failure)),
                    Ok(Incoming::Disconnect) | Err(ConnectionError::HungUp) => {
                        return Ok(writer.flush().await?);
                    }
                    Err(error) => return Err(error.into()),
                }
                if writer.pending_bytes() < PENDING_MAX_BYTES {
                    next = reader.buffered();
                }
            }
            writer.flush().await?;
        }
    }

    fn execute(&self, command: Command) -> Answer {
        let mut data = self.data.borrow_mut();
        match command {
            Command::Read(range) => {
                return Answer::Data(vec![Bytes::copy_from_slice(&data[indices(range)])]);
            }
            Command::Write { range, data: new, .. } => data[indices(range)].copy_from_slice(&new),
            Command::Zero { range, .. } => data[indices(range)].fill(0),
            Command::Flush | Command::Cache(_) => {}
            Command::Status { range, contexts, .. } => {
                let map = || StatusMap::of(range.len, StatusMap::DATA);
                let whole = |context| Extents { context, map: map() };
                return Answer::Status(contexts.iter().map(whole).collect());
            }
        }
        Answer::Done
    }
}

fn indices(range: ByteRange) -> std::ops::Range<usize> {
    let index = |at| usize::try_from(at).expect("a valid range lies in memory");
    index(range.offset)..index(range.end())
}

impl Exports for Memory {
    fn list(&self, _: Session<'_>) -> Vec<ExportInfo> {
        vec![self.info.clone(), self.read_only()]
    }

    fn find(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal> {
        match name {
            "" => Ok(self.info.clone()),
            "secondary" => Err(Refusal::Policy("this node is Secondary".to_owned())),
            name => self.list(session).into_iter().find(|e| e.name == name).ok_or(Refusal::Unknown),
        }
    }

    async fn open(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal> {
        self.find(name, session)
    }
}
