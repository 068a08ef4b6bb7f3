//! The negotiation as a function: bytes of the client in, bytes for the client and a [`Turn`] out.
//! It reads no socket, knows no clock and waits for nothing; [`crate::negotiate()`] drives it.
//!
//! ```text
//!            greeting sent                           option, answered
//!                 │                                     ┌──────┐
//!                 ▼                                     ▼      │
//!          ┌─────────────┐  4 bytes of flags  ┌──────────────────┐  GO, EXPORT_NAME   ┌──────┐
//!          │ ClientFlags │ ─────────────────► │     Options      │ ─────────────────► │ Done │
//!          └─────────────┘                    └──────────────────┘   export opened    └──────┘
//!                 │ unknown flags                 │ ABORT, bad magic, data too long, too many
//!                 ▼                               ▼ options, EXPORT_NAME refused
//!               Close                           Close
//! ```
//!
//! What concerns exports is not decided here: the turn holds a question, and the question takes
//! the answer. An option that is wrong in itself gets an error and leaves the stream in step,
//! because its data has been consumed by its own length and not by what is in it.

mod answer;
mod option;

pub use answer::{FindQuestion, ListQuestion, OpenQuestion};

use crate::export::ExportInfo;
use crate::proto::{
    Greeting, NBD_MAGIC, OPTION_MAGIC, OptionHeader, handshake, option as number, reply,
};
use bytes::{Buf, Bytes, BytesMut};
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

/// The longest data of one option. More closes the connection: only a client that means harm
/// sends it, and reading it to its end would be the harm.
pub const OPTION_DATA_MAX: usize = 64 << 10;
/// The most options in one negotiation. Each LIST costs more to answer than to ask.
pub const OPTIONS_MAX: u32 = 128;
/// The longest name of an export that is looked at, in bytes; the specification's limit.
pub const NAME_MAX: usize = 4096;
/// The longest text in a reply. The whole payload of a reply stays below 4096 bytes, because
/// nbd-client loses step on longer ones.
pub(crate) const TEXT_MAX: usize = 4000;

/// Where the negotiation stands. See the [module](self).
#[derive(Debug)]
pub struct Negotiation {
    phase: Phase,
    /// Options heard so far.
    options: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The greeting is sent; the client's flags are awaited.
    ClientFlags,
    /// The next option is awaited.
    Options(ClientFlags),
}

#[derive(Clone, Copy, Debug)]
struct ClientFlags {
    /// Without it, the client knows EXPORT_NAME only, and takes no reply to anything else.
    fixed_newstyle: bool,
    /// The client takes the answer to EXPORT_NAME without its padding.
    no_zeroes: bool,
}

/// What comes next. Whatever the output holds is to be sent first.
#[derive(Debug)]
pub enum Turn {
    /// Nothing goes on without more bytes of the client.
    NeedInput,
    /// An option was answered; ask again.
    Answered,
    /// The exports must be asked.
    Ask(Question),
    /// The transmission phase begins. What is left of the input belongs to it.
    Done(ExportInfo),
    /// The connection ends.
    Close(NegotiationError),
}

/// A question about exports.
#[derive(Debug)]
pub enum Question {
    /// Which exports are there?
    List(ListQuestion),
    /// What is this export like?
    Find(FindQuestion),
    /// May this export be used, now?
    Open(OpenQuestion),
}

/// Why no transmission phase follows.
#[derive(Debug, thiserror::Error)]
pub enum NegotiationError {
    /// The client said that it goes.
    #[error("the client has aborted the negotiation")]
    Aborted,
    /// The client went without a word.
    #[error("the client has hung up during the negotiation")]
    HungUp,
    /// The client took too long.
    #[error("the client has not finished the negotiation within {0:?}")]
    TimedOut(Duration),
    /// The client broke the protocol in a way that leaves nothing to answer.
    #[error("the client has broken the protocol: {0}")]
    Protocol(String),
    /// An export was refused by closing the connection, as EXPORT_NAME cannot report an error.
    #[error("EXPORT_NAME {name:?} is refused: {why}")]
    Refused {
        /// What the client asked for.
        name: String,
        /// Why it is not given.
        why: String,
    },
    /// The socket failed.
    #[error("the connection failed during the negotiation")]
    Io(#[from] std::io::Error),
}

impl NegotiationError {
    /// Whether the client ended it as clients do that only look around, or that are killed:
    /// nothing that an operator needs to hear of.
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Self::Aborted | Self::HungUp)
    }
}

impl Negotiation {
    /// Begins: puts the greeting into `output`.
    pub fn begin(output: &mut BytesMut) -> Self {
        let greeting = Greeting {
            nbd_magic: NBD_MAGIC.into(),
            option_magic: OPTION_MAGIC.into(),
            flags: (handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).into(),
        };
        output.extend_from_slice(greeting.as_bytes());
        Self { phase: Phase::ClientFlags, options: 0 }
    }

    /// Takes at most one option from the beginning of `input`, and puts what it answers at the
    /// end of `output`. `input` never has to hold more than one option.
    pub fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Turn {
        let turn = match self.phase {
            Phase::ClientFlags => self.client_flags(input),
            Phase::Options(flags) => self.option(flags, input, output),
        };
        turn.unwrap_or_else(|why| Turn::Close(NegotiationError::Protocol(why)))
    }

    fn client_flags(&mut self, input: &mut BytesMut) -> Result<Turn, String> {
        const KNOWN: u32 = (handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES) as u32;
        let Ok(flags) = input.try_get_u32() else { return Ok(Turn::NeedInput) };
        if flags & !KNOWN != 0 {
            return Err(format!("client flags 0x{flags:x}; known are 0x{KNOWN:x}"));
        }
        self.phase = Phase::Options(ClientFlags {
            fixed_newstyle: flags & u32::from(handshake::FIXED_NEWSTYLE) != 0,
            no_zeroes: flags & u32::from(handshake::NO_ZEROES) != 0,
        });
        Ok(Turn::Answered)
    }

    fn option(
        &mut self,
        flags: ClientFlags,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<Turn, String> {
        let Some((number, data)) = take_option(input)? else { return Ok(Turn::NeedInput) };
        self.options += 1;
        if self.options > OPTIONS_MAX {
            return Err(format!("more than {OPTIONS_MAX} options"));
        }
        if !flags.fixed_newstyle && number != number::EXPORT_NAME {
            let name = number::name(number);
            return Err(format!("{name} ({number}) by a client that has not said FIXED_NEWSTYLE"));
        }
        Ok(hear(number, data, flags, output))
    }
}

/// One whole option from the beginning of `input`, if it is there: its number and its data.
fn take_option(input: &mut BytesMut) -> Result<Option<(u32, Bytes)>, String> {
    let Ok((header, _)) = OptionHeader::read_from_prefix(input) else { return Ok(None) };
    if header.magic.get() != OPTION_MAGIC {
        return Err(format!("an option begins with 0x{:016x}", header.magic.get()));
    }
    let (number, len) = (header.option.get(), header.len.get() as usize);
    if len > OPTION_DATA_MAX {
        let name = number::name(number);
        return Err(format!("{name} ({number}) with {len} bytes, over {OPTION_DATA_MAX}"));
    }
    if input.len() - size_of::<OptionHeader>() < len {
        return Ok(None);
    }
    input.advance(size_of::<OptionHeader>());
    Ok(Some((number, input.split_to(len).freeze())))
}

/// Answers an option, or asks what it needs to be answered.
fn hear(number: u32, data: Bytes, flags: ClientFlags, output: &mut BytesMut) -> Turn {
    let question = match number {
        number::EXPORT_NAME => match option::name(&data) {
            Ok(name) => Question::Open(OpenQuestion::by_export_name(name, flags.no_zeroes)),
            Err(why) => {
                let name = String::from_utf8_lossy(&data[..data.len().min(64)]).into_owned();
                return Turn::Close(NegotiationError::Refused { name, why });
            }
        },
        number::ABORT => {
            answer::put(output, number, reply::ACK, &[]);
            return Turn::Close(NegotiationError::Aborted);
        }
        number::LIST if data.is_empty() => Question::List(ListQuestion),
        number::LIST => {
            let why = format!("LIST takes no data, {} bytes came with it", data.len());
            answer::put_error(output, number, reply::ERR_INVALID, &why);
            return Turn::Answered;
        }
        number::INFO | number::GO => match option::info_request(&data) {
            Ok((name, wanted)) if number == number::GO => {
                Question::Open(OpenQuestion::by_go(name, wanted))
            }
            Ok((name, wanted)) => Question::Find(FindQuestion { name, wanted }),
            Err(why) => {
                answer::put_error(output, number, reply::ERR_INVALID, &why);
                return Turn::Answered;
            }
        },
        _ => {
            let why = format!("{} ({number}) is not supported here", number::name(number));
            answer::put_error(output, number, reply::ERR_UNSUP, &why);
            return Turn::Answered;
        }
    };
    Turn::Ask(question)
}

#[cfg(test)]
mod tests;
