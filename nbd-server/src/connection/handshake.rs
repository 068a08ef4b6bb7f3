//! Drives the negotiation of one socket, within a deadline.

use crate::export::{ExportInfo, Exports, Refusal};
use crate::negotiate::{
    Negotiation, NegotiationError, OPTION_DATA_MAX, OpenQuestion, Question, Turn,
};
use bytes::BytesMut;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// What a negotiation has agreed on.
#[derive(Debug)]
pub struct Negotiated {
    /// The export that the client uses, as it was told.
    pub export: ExportInfo,
    /// Bytes of the transmission phase that were received with the negotiation's.
    pub leftover: BytesMut,
    /// The transmission flags that the client was told.
    pub flags: u16,
}

/// Negotiates with a client that has just connected.
///
/// `peer` is what the client is called in logs. `timeout` bounds the time that the client takes,
/// from the greeting to the end; the time that [`Exports::open`] waits does not count.
///
/// # Errors
/// Whenever no transmission phase follows; close the socket then. Ask
/// [`NegotiationError::is_ordinary`] before logging it loudly.
pub async fn negotiate<S, E>(
    stream: &mut S,
    exports: &E,
    peer: &str,
    timeout: Duration,
) -> Result<Negotiated, NegotiationError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Exports,
{
    let mut output = BytesMut::new();
    let machine = Negotiation::begin(&mut output);
    let deadline = Instant::now() + timeout;
    let input = BytesMut::new();
    Handshake { stream, machine, input, output, deadline, timeout }.run(exports, peer).await
}

struct Handshake<'a, S> {
    stream: &'a mut S,
    machine: Negotiation,
    input: BytesMut,
    output: BytesMut,
    deadline: Instant,
    timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<'_, S> {
    async fn run<E: Exports>(
        mut self,
        exports: &E,
        peer: &str,
    ) -> Result<Negotiated, NegotiationError> {
        loop {
            self.send().await?;
            let turn = match self.machine.advance(&mut self.input, &mut self.output) {
                Turn::Ask(question) => self.ask(question, exports, peer).await?,
                turn => turn,
            };
            match turn {
                Turn::NeedInput => self.receive().await?,
                Turn::Answered | Turn::Ask(_) => {}
                Turn::Done(export) => {
                    self.send().await?;
                    let flags = export.transmission_flags();
                    return Ok(Negotiated { export, leftover: self.input, flags });
                }
                Turn::Close(error) => {
                    // A client that goes need not wait for the last word, and often does not.
                    if let Err(unsent) = self.send().await {
                        tracing::trace!(peer, error = %unsent, "the last reply is not taken");
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn ask<E: Exports>(
        &mut self,
        question: Question,
        exports: &E,
        peer: &str,
    ) -> Result<Turn, NegotiationError> {
        match question {
            Question::List(question) => question.answer(&exports.list(), &mut self.output),
            Question::Find(question) => {
                let found = exports.find(question.name());
                question.answer(found, &mut self.output);
            }
            Question::Open(question) => {
                let opened = self.open(&question, exports, peer).await?;
                if let Err(refusal) = &opened {
                    tracing::info!(peer, export = question.name(), why = %refusal, "NBD refused");
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
        peer: &str,
    ) -> Result<Result<ExportInfo, Refusal>, NegotiationError> {
        let begun = Instant::now();
        let mut open = std::pin::pin!(exports.open(question.name(), peer));
        let opened = loop {
            // What a client sends before it is answered is kept, up to a bound.
            let listen = self.input.len() < OPTION_DATA_MAX;
            tokio::select! {
                biased;
                opened = &mut open => break opened,
                read = self.stream.read_buf(&mut self.input), if listen => {
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
        let read = timeout_at(self.deadline, self.stream.read_buf(&mut self.input)).await;
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
        let send = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
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
