//! Drives the negotiation of one socket, within a deadline.

use crate::export::{ExportInfo, Exports, Refusal, Session};
use crate::negotiate::{
    Negotiation, NegotiationError, OPTION_DATA_MAX, OpenQuestion, Question, Terms, Tls, Turn,
};
use crate::tls::{Identity, MaybeTls, TlsOffer};
use bytes::BytesMut;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// What a negotiation has agreed on.
#[derive(Debug)]
pub struct Negotiated<S> {
    /// The connection.
    pub stream: MaybeTls<S>,
    /// The export that the client uses, as it was told, and how it is spoken of.
    pub terms: Terms,
    /// Bytes of the transmission phase that were received with the negotiation's.
    pub leftover: BytesMut,
}

/// Negotiates with a client that has just connected.
///
/// `peer` is what the client is called in logs. `timeout` bounds the time that the client takes,
/// from the greeting to the end, TLS included; the time that [`Exports::open`] waits does not
/// count.
///
/// # Errors
/// Whenever no transmission phase follows; the connection is closed then. Ask
/// [`NegotiationError::is_ordinary`] before logging it loudly.
pub async fn negotiate<S, E>(
    stream: S,
    exports: &E,
    tls: &TlsOffer,
    peer: &str,
    timeout: Duration,
) -> Result<Negotiated<S>, NegotiationError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Exports,
{
    let mut output = BytesMut::new();
    let (stage, identity) = match tls {
        TlsOffer::Off => (Tls::Off, None),
        TlsOffer::Allow(identity) => (Tls::Allowed, Some(identity)),
        TlsOffer::Require(identity) => (Tls::Required, Some(identity)),
    };
    let machine = Negotiation::begin(stage, &mut output);
    let deadline = Instant::now() + timeout;
    let (input, stream) = (BytesMut::new(), Some(MaybeTls::Plain(stream)));
    Handshake { stream, identity, machine, input, output, deadline, timeout, peer }
        .run(exports)
        .await
}

struct Handshake<'a, S> {
    /// Gone only while TLS begins.
    stream: Option<MaybeTls<S>>,
    identity: Option<&'a Identity>,
    machine: Negotiation,
    input: BytesMut,
    output: BytesMut,
    deadline: Instant,
    timeout: Duration,
    peer: &'a str,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<'_, S> {
    async fn run<E: Exports>(mut self, exports: &E) -> Result<Negotiated<S>, NegotiationError> {
        loop {
            self.send().await?;
            let turn = match self.machine.advance(&mut self.input, &mut self.output) {
                Turn::Ask(question) => self.ask(question, exports).await?,
                turn => turn,
            };
            match turn {
                Turn::NeedInput => self.receive().await?,
                Turn::Answered | Turn::Ask(_) => {}
                Turn::StartTls => {
                    self.send().await?;
                    self.start_tls().await?;
                }
                Turn::Done(terms) => {
                    self.send().await?;
                    let stream = self.stream.expect("it is gone only while TLS begins");
                    return Ok(Negotiated { stream, terms, leftover: self.input });
                }
                Turn::Close(error) => {
                    // A client that goes need not wait for the last word, and often does not.
                    if let Err(unsent) = self.send().await {
                        let peer = self.peer;
                        tracing::trace!(peer, error = %unsent, "the last reply is not taken");
                    }
                    // Within TLS, a good-bye tells that nothing was cut off.
                    let _ = timeout_at(self.deadline, self.stream().shutdown()).await;
                    return Err(error);
                }
            }
        }
    }

    fn stream(&mut self) -> &mut MaybeTls<S> {
        self.stream.as_mut().expect("it is gone only while TLS begins")
    }

    fn session(&self) -> Session<'_> {
        let is_tls = self.stream.as_ref().is_some_and(MaybeTls::is_tls);
        Session { peer: self.peer, is_tls, may_tls: self.identity.is_some() }
    }

    async fn start_tls(&mut self) -> Result<(), NegotiationError> {
        let identity = self.identity.expect("TLS begins only where it is offered");
        let Some(MaybeTls::Plain(stream)) = self.stream.take() else {
            unreachable!("TLS begins only in the clear");
        };
        let accepted = timeout_at(self.deadline, identity.accept(stream)).await;
        let accepted = accepted.map_err(|_| NegotiationError::TimedOut(self.timeout))?;
        let stream = accepted.map_err(|error| match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => NegotiationError::HungUp,
            _ => NegotiationError::Tls(error),
        })?;
        self.stream = Some(MaybeTls::Tls(Box::new(stream)));
        self.machine.tls_begun();
        Ok(())
    }

    async fn ask<E: Exports>(
        &mut self,
        question: Question,
        exports: &E,
    ) -> Result<Turn, NegotiationError> {
        match question {
            Question::List(question) => {
                let list = exports.list(self.session());
                question.answer(&list, &mut self.output);
            }
            Question::Find(question) => {
                let found = exports.find(question.name(), self.session());
                question.answer(found, &mut self.output);
            }
            Question::Contexts(question) => {
                let found = exports.find(question.name(), self.session());
                question.answer(found, &mut self.machine, &mut self.output);
            }
            Question::Open(question) => {
                let opened = self.open(&question, exports).await?;
                if let Err(refusal) = &opened {
                    let (peer, export) = (self.peer, question.name());
                    tracing::info!(peer, export, why = %refusal, "NBD refused");
                }
                return Ok(question.answer(opened, &mut self.output));
            }
        }
        Ok(Turn::Answered)
    }

    /// Opens the export, unless the client hangs up meanwhile. The wait is the daemon's, so the
    /// client's deadline moves by as much.
    async fn open<E: Exports>(
        &mut self,
        question: &OpenQuestion,
        exports: &E,
    ) -> Result<Result<ExportInfo, Refusal>, NegotiationError> {
        let begun = Instant::now();
        let Session { is_tls, may_tls, .. } = self.session();
        let session = Session { peer: self.peer, is_tls, may_tls };
        let mut open = std::pin::pin!(exports.open(question.name(), session));
        let opened = loop {
            // What a client sends before it is answered is kept, up to a bound.
            let listen = self.input.len() < OPTION_DATA_MAX;
            let stream = self.stream.as_mut().expect("it is gone only while TLS begins");
            tokio::select! {
                biased;
                opened = &mut open => break opened,
                read = stream.read_buf(&mut self.input), if listen => {
                    match read {
                        Ok(0) => return Err(NegotiationError::HungUp),
                        Ok(_) => {}
                        Err(error) => return Err(lost(error)),
                    }
                }
            }
        };
        self.deadline += begun.elapsed();
        Ok(opened)
    }

    async fn receive(&mut self) -> Result<(), NegotiationError> {
        let stream = self.stream.as_mut().expect("it is gone only while TLS begins");
        let read = timeout_at(self.deadline, stream.read_buf(&mut self.input)).await;
        match read.map_err(|_| NegotiationError::TimedOut(self.timeout))? {
            Ok(0) => Err(NegotiationError::HungUp),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }

    /// Sends the output, if any, in one piece.
    async fn send(&mut self) -> Result<(), NegotiationError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let stream = self.stream.as_mut().expect("it is gone only while TLS begins");
        let send = async {
            stream.write_all(&self.output).await?;
            stream.flush().await
        };
        timeout_at(self.deadline, send)
            .await
            .map_err(|_| NegotiationError::TimedOut(self.timeout))?
            .map_err(lost)?;
        self.output.clear();
        Ok(())
    }
}

/// A client that vanishes shows as one of several errors, by what was under way.
fn lost(error: io::Error) -> NegotiationError {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => NegotiationError::HungUp,
        _ => NegotiationError::Io(error),
    }
}
