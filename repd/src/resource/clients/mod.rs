//! The NBD connections of a resource: requests in, answers out.

mod request;
mod stall;

use crate::budget::{Budget, Payloads, Share};
use crate::clock::Clock;
use crate::resource::disks::Disks;
use crate::stream::{ReadHalf, Stream, WriteHalf, split};
use bytes::{Bytes, BytesMut};
use control::ClientStatus;
use nbd_server::{
    Answer, Command, ConnectionError, Failure, Incoming, MaybeTls, ReplyWriter, Request,
    RequestReader, Terms, Ticket,
};
use replicator::{ClientId, Input, IoError, RequestId};
use request::{Steps, failure, going_away};
use stall::Watch;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use types::{Histogram, StatusMap, Time, VolumeId};

/// A connection with so many requests that are not answered, or whose answer is not sent, is not read
/// from.
const REQUESTS_IN_FLIGHT: usize = 256;
/// A connection with so many bytes in flight, or of answers not taken, is not read from.
const BYTES_IN_FLIGHT: u64 = 64 << 20;
/// With so many requests of all connections in flight none is read from.
const REQUESTS_OF_ALL: usize = 8192;
/// What a request takes besides data, in the budget of requests: itself, and an answer without data.
const REQUEST_BYTES: usize = 256;
/// What the longest map of a BLOCK_STATUS takes, in memory and on the wire.
const MAP_BYTES: usize = StatusMap::RUNS_MAX * 32;
/// How many requests of a connection are taken in one turn.
const REQUESTS_PER_TURN: usize = 64;
/// How many connections a resource serves.
pub(crate) const CLIENTS_MAX: usize = 1024;

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
    /// Tells somebody that the connection is over.
    pub(crate) gone: Option<Gone>,
}

/// Tells somebody, when it is dropped, that a connection is over.
#[derive(Debug)]
pub(crate) struct Gone(pub(crate) mpsc::UnboundedSender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        // Whoever does not listen does not care.
        let _ = self.0.send(());
    }
}

/// See the module's page.
pub(crate) struct Clients {
    payloads: Payloads,
    answers: Arc<Budget>,
    request_budget: Arc<Budget>,
    clients: BTreeMap<ClientId, Client>,
    requests: BTreeMap<RequestId, InFlight>,
    last_client: u64,
    last_request: u64,
    clock: Clock,
    /// How long answers wait until the sockets have taken them.
    replies: BTreeMap<VolumeId, Histogram>,
    /// Who is read from first in the next turn: everyone in turn, where there is not enough for all.
    first: ClientId,
    mode: Mode,
}

/// How long the device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// For now.
    Serving,
    /// The daemon ends, and the next one serves it again: what comes now is left unanswered, so that
    /// a client that connects again asks again. An error would go to its application.
    Pausing,
    /// It is taken away: what comes now is refused with ESHUTDOWN.
    TakenAway,
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
    clock: Clock,
    unsent: VecDeque<Unsent>,
    /// A READ for whose answer there was no room. Nothing more is read until there is.
    waiting: Option<Request>,
    /// It has said good-bye, or is to go: what is in flight is answered, then it is closed.
    leaving: bool,
    /// It has closed its side: what of it was not begun never will be.
    has_hung_up: bool,
    watch: Watch,
    _gone: Option<Gone>,
}

/// An answer that is not yet sent, or not all of it.
#[derive(Debug)]
struct Unsent {
    /// Where it ends in the stream.
    end: u64,
    since: Time,
    /// Its part of the budgets.
    shares: Shares,
}

struct InFlight {
    client: ClientId,
    ticket: Ticket,
    steps: Steps,
    /// Of writes.
    bytes: u64,
    /// Its part of the budgets; what it writes is counted in the payload.
    shares: Shares,
}

/// Of the budget of requests, and of that of answers.
#[derive(Debug)]
struct Shares {
    _request: Share,
    answer: Option<Share>,
}

impl Clients {
    pub(crate) fn new(
        payloads: Payloads,
        answers: Arc<Budget>,
        request_budget: Arc<Budget>,
        clock: Clock,
    ) -> Self {
        Self {
            payloads,
            answers,
            request_budget,
            clock,
            replies: BTreeMap::new(),
            clients: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_client: 0,
            last_request: 0,
            first: ClientId(0),
            mode: Mode::Serving,
        }
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
            clock: self.clock,
            unsent: VecDeque::new(),
            waiting: None,
            leaving: false,
            has_hung_up: false,
            watch: Watch::begin(now),
            _gone: new.gone,
        };
        self.clients.insert(id, client);
        inputs.push_back(Input::ClientOpened { client: id, volume });
    }

    /// A volume has so many bytes now: who knows of that may use them.
    pub(crate) fn grow(&mut self, volume: VolumeId, size: u64) {
        let clients = self.clients.values_mut().filter(|client| client.volume == volume);
        clients.for_each(|client| client.reader.grow(size));
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

    /// How long answers waited until the sockets had taken them.
    pub(crate) fn replies(&self, volume: VolumeId) -> Option<&Histogram> {
        self.replies.get(&volume)
    }

    /// The daemon ends: see [`Mode::Pausing`].
    pub(crate) fn pause(&mut self) {
        self.mode = Mode::Pausing;
        self.clients.values_mut().for_each(|client| client.leaving = true);
    }

    /// The device is taken away: see [`Mode::TakenAway`]. [`Self::drop_all`] is the end of it.
    pub(crate) fn take_away(&mut self) {
        self.mode = Mode::TakenAway;
        self.clients.values_mut().for_each(|client| client.leaving = true);
    }

    /// Takes the requests that have come in. `disks` know which zeros are fast.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        disks: &Disks,
        inputs: &mut VecDeque<Input>,
    ) {
        let mut over = Vec::new();
        let (behind, before) = (self.clients.range(self.first..), self.clients.range(..self.first));
        let ids: Vec<ClientId> = behind.chain(before).map(|(id, _)| *id).collect();
        let mut starved = None;
        for id in ids {
            match self.poll_one(id, cx, disks, inputs) {
                Ok(true) => {}
                Ok(false) => starved = starved.or(Some(id)),
                Err(error) => over.push((id, Some(error))),
            }
        }
        // Who is the first to go short now is the first to be asked next.
        self.first = starved.unwrap_or(self.first);
        self.close_all(over, inputs);
    }

    /// Takes what has come in from one client, up to a bound. False if there was no room for more,
    /// which is not its own doing.
    fn poll_one(
        &mut self,
        id: ClientId,
        cx: &mut Context<'_>,
        disks: &Disks,
        inputs: &mut VecDeque<Input>,
    ) -> Result<bool, ConnectionError> {
        for _ in 0..REQUESTS_PER_TURN {
            let client = self.clients.get_mut(&id).expect("it is closed after the turn");
            if client.waits_for_room() {
                client.check_hung_up();
            }
            if client.has_hung_up {
                return Ok(true);
            }
            if client.is_full() {
                client.hold_back();
                return Ok(true);
            }
            let is_crowded = self.requests.len() >= REQUESTS_OF_ALL;
            if is_crowded || self.request_budget.poll_room(cx).is_pending() {
                client.hold_back();
                return Ok(false);
            }
            let incoming = match client.waiting.take() {
                Some(request) => Incoming::Request(request),
                None => match client.reader.poll_next(cx) {
                    Poll::Ready(incoming) => incoming?,
                    Poll::Pending if client.reader.waits_for_buffer() => {
                        client.hold_back();
                        return Ok(false);
                    }
                    Poll::Pending => return Ok(true),
                },
            };
            match incoming {
                Incoming::Request(request @ Request { command: Command::Read(_), .. })
                    if self.mode == Mode::Serving && self.answers.poll_room(cx).is_pending() =>
                {
                    client.waiting = Some(request);
                    client.hold_back();
                    return Ok(false);
                }
                Incoming::Request(request) => self.begin(id, request, disks, inputs),
                Incoming::Reject { ticket, failure } => {
                    let Failure { errno, why } = &failure;
                    tracing::debug!(client = client.peer, %errno, "request refused: {why}");
                    let shares = Shares::of(&self.request_budget, 0, None);
                    client.answer(ticket, Err(failure), shares);
                }
                Incoming::Disconnect => {
                    client.leaving = true;
                    return Ok(true);
                }
            }
        }
        // There may be more, and the socket has not said that there is none.
        cx.waker().wake_by_ref();
        Ok(true)
    }

    fn begin(
        &mut self,
        id: ClientId,
        request: Request,
        disks: &Disks,
        inputs: &mut VecDeque<Input>,
    ) {
        let client = self.clients.get_mut(&id).expect("it has just been read from");
        let Request { ticket, command } = request;
        client.requests += 1;
        let (bytes, answer) = match &command {
            Command::Write { range, .. } => (range.len, None),
            Command::Read(range) => (range.len, Some(self.answers.share(range.len as usize))),
            _ => (0, None),
        };
        let maps = match &command {
            Command::Status { one: false, contexts, .. } => contexts.iter().count() * MAP_BYTES,
            _ => 0,
        };
        let shares = Shares::of(&self.request_budget, maps, answer);
        let steps = match self.mode {
            Mode::Pausing => return,
            Mode::TakenAway => Err(going_away()),
            Mode::Serving => Steps::of(command, |unmap| disks.zeroes_fast(client.volume, unmap)),
        };
        match steps {
            Ok(steps) => {
                client.in_flight += 1;
                client.bytes_in_flight += bytes;
                let in_flight = InFlight { client: id, ticket, steps, bytes, shares };
                self.go_on(in_flight, inputs);
            }
            Err(failure) => client.answer(ticket, Err(failure), shares),
        }
    }

    /// Asks the engine for the next step of a request; answers it if there is none.
    fn go_on(&mut self, mut request: InFlight, inputs: &mut VecDeque<Input>) {
        let Some(op) = request.steps.next() else { return self.finish(request, None) };
        self.last_request += 1;
        let (id, client) = (RequestId(self.last_request), request.client);
        let volume = self.clients[&client].volume;
        self.requests.insert(id, request);
        inputs.push_back(Input::Request { id, client, volume, op });
    }

    /// The engine has done what it was asked for, for a client that may be gone.
    pub(crate) fn complete(
        &mut self,
        id: RequestId,
        result: Result<Bytes, IoError>,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        match result {
            Ok(bytes) => {
                request.steps.take(bytes);
                self.go_on(request, inputs);
            }
            Err(error) => self.finish(request, Some(error)),
        }
    }

    fn finish(&mut self, request: InFlight, error: Option<IoError>) {
        let InFlight { client, ticket, steps, bytes, shares } = request;
        let client = self.clients.get_mut(&client).expect("its requests go with a client");
        client.in_flight -= 1;
        client.bytes_in_flight -= bytes;
        match error {
            None => client.answer(ticket, Ok(steps.answer()), shares),
            // It was not begun. Who comes again asks again.
            Some(IoError::Shutdown) if self.mode == Mode::Pausing => {}
            Some(error) => client.answer(ticket, Err(failure(error)), shares),
        }
    }

    /// Sends the answers, as far as the sockets take them.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, inputs: &mut VecDeque<Input>) {
        let mut over = Vec::new();
        for (&id, client) in &mut self.clients {
            if client.writer.needs_flush() {
                let sent = client.writer.poll_flush(cx);
                client.forget_sent(self.replies.entry(client.volume).or_default());
                if let Poll::Ready(Err(error)) = sent {
                    over.push((id, Some(error.into())));
                    continue;
                }
            }
            // A READ that waits is refused first, if the device is taken away.
            let waits = client.waiting.is_some() && self.mode == Mode::TakenAway;
            if client.leaving && client.in_flight == 0 && !waits && !client.writer.needs_flush() {
                over.push((id, None));
            }
        }
        self.close_all(over, inputs);
    }

    /// Closes every connection at once. What is in flight is answered with ESHUTDOWN, as far as the
    /// sockets take it at once.
    pub(crate) fn drop_all(&mut self, cx: &mut Context<'_>, inputs: &mut VecDeque<Input>) {
        for (_, request) in std::mem::take(&mut self.requests) {
            self.finish(request, Some(IoError::Shutdown));
        }
        self.poll_send(cx, inputs);
        let all = self.clients.keys().map(|&id| (id, None)).collect();
        self.close_all(all, inputs);
    }

    /// New connections are served again: an order that took the device away has ended.
    pub(crate) fn serve_again(&mut self) {
        assert!(self.clients.is_empty(), "a client is left over");
        self.mode = Mode::Serving;
    }

    fn close_all(
        &mut self,
        over: Vec<(ClientId, Option<ConnectionError>)>,
        inputs: &mut VecDeque<Input>,
    ) {
        for (id, error) in over {
            let mut client = self.clients.remove(&id).expect("it was just there");
            client.writer.close_now();
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

impl Shares {
    /// `more`: what it takes of the budget of requests besides itself, in bytes.
    fn of(requests: &Arc<Budget>, more: usize, answer: Option<Share>) -> Self {
        Self { _request: requests.share(REQUEST_BYTES + more), answer }
    }
}

impl Client {
    /// Whether enough of it is in flight. It is read from again when something is answered.
    fn is_full(&self) -> bool {
        let bytes = self.bytes_in_flight + self.writer.pending_bytes() as u64;
        let requests = self.in_flight + self.unsent.len();
        requests >= REQUESTS_IN_FLIGHT || bytes >= BYTES_IN_FLIGHT
    }

    /// It is not read from in this turn.
    fn hold_back(&mut self) {
        self.watch.hold_back();
        self.check_hung_up();
    }

    /// Whether something of it is there that only memory is lacking for.
    fn waits_for_room(&self) -> bool {
        self.waiting.is_some() || self.reader.waits_for_buffer()
    }

    /// What a client has sent that is gone is not begun: it may have sent it again by another
    /// connection, and written something newer there. What is read promptly is in its order; this is
    /// for a client that is not read from. It may still listen: what was begun is answered.
    fn check_hung_up(&mut self) {
        if !self.leaving && self.reader.get_ref().has_hung_up() {
            self.has_hung_up = true;
            self.leaving = true;
            self.waiting = None;
        }
    }

    /// Queues an answer.
    fn answer(&mut self, ticket: Ticket, result: Result<Answer, Failure>, shares: Shares) {
        self.writer.push(ticket, result);
        let (end, since) = (self.writer.pushed_bytes(), self.clock.now());
        self.unsent.push_back(Unsent { end, since, shares });
    }

    fn forget_sent(&mut self, replies: &mut Histogram) {
        let (sent, now) = (self.writer.written_bytes(), self.clock.now());
        while let Some(unsent) = self.unsent.pop_front_if(|unsent| unsent.end <= sent) {
            replies.record(now.since(unsent.since));
        }
    }
}

#[cfg(test)]
mod tests;
