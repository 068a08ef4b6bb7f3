//! The NBD connections of a resource: requests in, answers out.

use crate::budget::{Payloads, Share};
use crate::stream::{ReadHalf, Stream, WriteHalf, split};
use bytes::{Bytes, BytesMut};
use control::ClientStatus;
use nbd_server::{
    Answer, Command, ConnectionError, Context as Status, Errno, Extents, Failure, Incoming,
    MaybeTls, ReplyWriter, Request, RequestReader, Terms, Ticket,
};
use replicator::{ClientId, ClientOp, Input, IoError, RequestId};
use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};
use types::{Time, VolumeId};

/// A connection with so many requests in flight is not read from.
const REQUESTS_IN_FLIGHT: usize = 256;
/// A connection with so many bytes in flight, or of answers not taken, is not read from.
const BYTES_IN_FLIGHT: u64 = 64 << 20;
/// How many requests of a connection are taken in one turn.
const REQUESTS_PER_TURN: usize = 64;
/// How many connections a resource serves.
const CLIENTS_MAX: usize = 1024;

/// A connection that has been negotiated, on its way to the thread of its resource.
#[derive(Debug)]
pub(crate) struct NewClient {
    /// Out of its runtime.
    pub(crate) stream: MaybeTls<Stream>,
    /// Received after the negotiation's last byte.
    pub(crate) leftover: BytesMut,
    pub(crate) terms: Terms,
    pub(crate) volume: VolumeId,
    /// What is known of the other end.
    pub(crate) peer: String,
}

/// See the module's page.
pub(crate) struct Clients {
    payloads: Payloads,
    clients: BTreeMap<ClientId, Client>,
    requests: BTreeMap<RequestId, InFlight>,
    last_client: u64,
    last_request: u64,
}

struct Client {
    volume: VolumeId,
    export: String,
    peer: String,
    since: Time,
    reader: RequestReader<ReadHalf, Payloads>,
    writer: ReplyWriter<WriteHalf>,
    in_flight: usize,
    bytes_in_flight: u64,
    requests: u64,
    /// It has said good-bye: what is in flight is answered, then it is closed.
    leaving: bool,
}

struct InFlight {
    client: ClientId,
    ticket: Ticket,
    is_read: bool,
    bytes: u64,
    /// A read's part of the budget; a write's is in its payload.
    _share: Option<Share>,
}

impl Clients {
    pub(crate) fn new(payloads: Payloads) -> Self {
        let (clients, requests) = (BTreeMap::new(), BTreeMap::new());
        Self { payloads, clients, requests, last_client: 0, last_request: 0 }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Takes a connection over. To be called in the resource's runtime.
    pub(crate) fn insert(&mut self, mut new: NewClient, now: Time, inputs: &mut VecDeque<Input>) {
        if self.clients.len() >= CLIENTS_MAX {
            tracing::warn!(client = new.peer, "closed: {CLIENTS_MAX} clients are connected");
            return;
        }
        if let Err(error) = new.stream.underneath().attach() {
            tracing::warn!(client = new.peer, "closed: {error}");
            return;
        }
        let (read, write) = split(new.stream);
        self.last_client += 1;
        let (id, volume) = (ClientId(self.last_client), new.volume);
        tracing::info!(client = new.peer, export = new.terms.export.name, "NBD client connected");
        let client = Client {
            volume,
            peer: new.peer,
            since: now,
            writer: ReplyWriter::new(write, new.terms.replies),
            export: new.terms.export.name.clone(),
            reader: RequestReader::new(read, new.terms, new.leftover, self.payloads.clone()),
            in_flight: 0,
            bytes_in_flight: 0,
            requests: 0,
            leaving: false,
        };
        self.clients.insert(id, client);
        inputs.push_back(Input::ClientOpened { client: id, volume });
    }

    /// Who has a volume open, or any volume.
    pub(crate) fn holders(&self, volume: Option<VolumeId>) -> Vec<ClientStatus> {
        self.clients
            .values()
            .filter(|client| volume.is_none_or(|volume| client.volume == volume))
            .map(|client| ClientStatus {
                peer: client.peer.clone(),
                export: client.export.clone(),
                since: client.since.unix_millis(),
                in_flight: client.in_flight as u64,
                requests: client.requests,
            })
            .collect()
    }

    /// Takes the requests that have come in.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, inputs: &mut VecDeque<Input>) {
        let mut over = Vec::new();
        for (&id, client) in &mut self.clients {
            for _ in 0..REQUESTS_PER_TURN {
                if client.is_full() || self.payloads.budget.poll_room(cx).is_pending() {
                    break;
                }
                let Poll::Ready(incoming) = client.reader.poll_next(cx) else { break };
                match incoming {
                    Ok(Incoming::Request(request)) => {
                        client.requests += 1;
                        self.last_request += 1;
                        let request_id = RequestId(self.last_request);
                        let ticket = request.ticket;
                        let (op, bytes) = match next_step(request) {
                            Ok(step) => step,
                            Err(result) => {
                                client.writer.push(ticket, result);
                                continue;
                            }
                        };
                        let is_read = matches!(op, ClientOp::Read(_));
                        let share = is_read.then(|| self.payloads.budget.share(bytes as usize));
                        client.in_flight += 1;
                        client.bytes_in_flight += bytes;
                        let in_flight =
                            InFlight { client: id, ticket, is_read, bytes, _share: share };
                        self.requests.insert(request_id, in_flight);
                        let volume = client.volume;
                        inputs.push_back(Input::Request { id: request_id, client: id, volume, op });
                    }
                    Ok(Incoming::Reject { ticket, failure }) => {
                        let Failure { errno, why } = &failure;
                        tracing::debug!(client = client.peer, %errno, "request refused: {why}");
                        client.writer.push(ticket, Err(failure));
                    }
                    Ok(Incoming::Disconnect) => {
                        client.leaving = true;
                        break;
                    }
                    Err(error) => {
                        over.push((id, Some(error)));
                        break;
                    }
                }
            }
        }
        self.close_all(over, inputs);
    }

    /// Passes an answer on; to nobody if its client is gone.
    pub(crate) fn complete(&mut self, id: RequestId, result: Result<Bytes, IoError>) {
        let Some(InFlight { client, ticket, is_read, bytes, .. }) = self.requests.remove(&id)
        else {
            return;
        };
        let client = self.clients.get_mut(&client).expect("its requests go with a client");
        client.in_flight -= 1;
        client.bytes_in_flight -= bytes;
        let answer = |data| if is_read { Answer::Data(vec![data]) } else { Answer::Done };
        client.writer.push(ticket, result.map(answer).map_err(failure));
    }

    /// Sends the answers, as far as the sockets take them.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, inputs: &mut VecDeque<Input>) {
        let mut over = Vec::new();
        for (&id, client) in &mut self.clients {
            if client.writer.needs_flush() {
                match client.writer.poll_flush(cx) {
                    Poll::Pending => continue,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        over.push((id, Some(error.into())));
                        continue;
                    }
                }
            }
            // A client that has said good-bye need not wait for ours, and many do not.
            if client.leaving && client.in_flight == 0 && client.writer.poll_shutdown(cx).is_ready()
            {
                over.push((id, None));
            }
        }
        self.close_all(over, inputs);
    }

    /// Closes every connection at once, whatever is in flight.
    pub(crate) fn drop_all(&mut self, inputs: &mut VecDeque<Input>) {
        let all = self.clients.keys().map(|&id| (id, None)).collect();
        self.close_all(all, inputs);
    }

    fn close_all(
        &mut self,
        over: Vec<(ClientId, Option<ConnectionError>)>,
        inputs: &mut VecDeque<Input>,
    ) {
        for (id, error) in over {
            let client = self.clients.remove(&id).expect("it was just there");
            if client.in_flight > 0 {
                self.requests.retain(|_, request| request.client != id);
            }
            let (peer, export) = (client.peer, client.export);
            match error {
                None => tracing::info!(client = peer, export, "NBD client disconnected"),
                Some(error) => tracing::info!(
                    client = peer,
                    export,
                    in_flight = client.in_flight,
                    "NBD client lost: {error}"
                ),
            }
            inputs.push_back(Input::ClientClosed { client: id });
        }
    }
}

impl Client {
    /// Whether enough of it is in flight. It is read from again when something is answered.
    fn is_full(&self) -> bool {
        let bytes = self.bytes_in_flight + self.writer.pending_bytes() as u64;
        self.leaving || self.in_flight >= REQUESTS_IN_FLIGHT || bytes >= BYTES_IN_FLIGHT
    }
}

/// What the engine is asked, and how many bytes it keeps in memory; or the answer, if there is
/// nothing to do.
fn next_step(request: Request) -> Result<(ClientOp, u64), Result<Answer, Failure>> {
    let is_empty = request.is_empty();
    Ok(match request.command {
        Command::Read(_) if is_empty => return Err(Ok(Answer::Data(Vec::new()))),
        _ if is_empty => return Err(Ok(Answer::Done)),
        Command::Read(range) => (ClientOp::Read(range), range.len),
        Command::Write { range, data, fua } => (ClientOp::Write { range, data, fua }, range.len),
        Command::Zero { range, unmap, fua, .. } => (ClientOp::Zero { range, unmap, fua }, 0),
        Command::Flush => (ClientOp::Flush, 0),
        Command::Cache(_) => return Err(Ok(Answer::Done)),
        Command::Status { range, contexts, .. } => {
            let flags = |context| if context == Status::OutOfSync { Status::DIFFERS } else { 0 };
            let whole = |context| Extents::whole(context, range, flags(context));
            return Err(Ok(Answer::Status(contexts.iter().map(whole).collect())));
        }
    })
}

fn failure(error: IoError) -> Failure {
    match error {
        IoError::Io => Failure::new(Errno::Io, "no disk that has these blocks can do it"),
        IoError::NoSpace => Failure::new(Errno::NoSpc, "a backing device is full"),
        IoError::NotPrimary => Failure::new(Errno::Perm, "this node is not Primary any more"),
        IoError::Shutdown => Failure::new(Errno::Shutdown, "the device is going away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use std::future::poll_fn;
    use storage::BufferPool;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use types::ByteRange;

    fn clients(limit: usize) -> Clients {
        Clients::new(Payloads { pool: BufferPool::default(), budget: Budget::new(limit) })
    }

    /// A client that has negotiated.
    fn join(clients: &mut Clients) -> UnixStream {
        let (near, far) = UnixStream::pair().unwrap();
        let new = NewClient {
            stream: MaybeTls::Plain(Stream::Unix(near)),
            leftover: BytesMut::new(),
            terms: Terms::simple(nbd_server::ExportInfo::new("r0/0", 1 << 30)),
            volume: VolumeId(0),
            peer: "test".into(),
        };
        let mut inputs = VecDeque::new();
        clients.insert(new, Time(0), &mut inputs);
        let first = inputs.pop_front();
        assert!(matches!(first, Some(Input::ClientOpened { .. })) && inputs.is_empty());
        far
    }

    fn request(command: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend(0_u16.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes
    }

    async fn next(clients: &mut Clients) -> Input {
        let mut inputs = VecDeque::new();
        poll_fn(|cx| {
            clients.poll(cx, &mut inputs);
            clients.poll_send(cx, &mut inputs);
            inputs.pop_front().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    #[tokio::test]
    async fn requests_are_answered_and_a_good_bye_waits_for_the_answers() {
        let mut clients = clients(1 << 20);
        let mut far = join(&mut clients);
        far.write_all(&request(0, 11, 4096, 512)).await.unwrap();
        let read = next(&mut clients).await;
        let Input::Request { id, op: ClientOp::Read(range), .. } = read else { panic!("{read:?}") };
        assert_eq!(range, ByteRange::new(4096, 512));
        far.write_all(&request(2, 0, 0, 0)).await.unwrap();
        let mut inputs = VecDeque::new();
        poll_fn(|cx| {
            clients.poll(cx, &mut inputs);
            let leaving = clients.clients.values().all(|client| client.leaving);
            if leaving { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        clients.complete(id, Ok(vec![9; 512].into()));
        let closed = next(&mut clients).await;
        assert!(matches!(closed, Input::ClientClosed { .. }), "{closed:?}");
        let mut reply = Vec::new();
        far.read_to_end(&mut reply).await.unwrap();
        assert_eq!((reply.len(), &reply[8..16]), (16 + 512, &11_u64.to_be_bytes()[..]));
        assert!(clients.requests.is_empty() && clients.len() == 0);
    }

    #[tokio::test]
    async fn the_answer_to_a_client_that_hung_up_goes_nowhere() {
        let mut clients = clients(1 << 20);
        let mut far = join(&mut clients);
        far.write_all(&request(3, 1, 0, 0)).await.unwrap();
        let flush = next(&mut clients).await;
        let Input::Request { id, .. } = flush else { panic!("{flush:?}") };
        drop(far);
        let closed = next(&mut clients).await;
        assert!(matches!(closed, Input::ClientClosed { .. }), "{closed:?}");
        clients.complete(id, Ok(Bytes::new()));
        assert_eq!(clients.len(), 0);
    }

    #[tokio::test]
    async fn when_the_budget_is_used_up_nothing_more_is_read_until_something_is_answered() {
        let mut clients = clients(1024);
        let (mut one, mut other) = (join(&mut clients), join(&mut clients));
        one.write_all(&request(0, 1, 0, 4096)).await.unwrap();
        let first = next(&mut clients).await;
        let Input::Request { id, .. } = first else { panic!("{first:?}") };
        other.write_all(&request(0, 2, 0, 512)).await.unwrap();
        let mut inputs = VecDeque::new();
        poll_fn(|cx| {
            clients.poll(cx, &mut inputs);
            Poll::Ready(())
        })
        .await;
        assert!(inputs.is_empty(), "{inputs:?}");
        clients.complete(id, Err(IoError::Io));
        let second = next(&mut clients).await;
        assert!(matches!(second, Input::Request { .. }), "{second:?}");
    }
}
