//! The negotiation as a function: bytes of the client in, bytes for the client and a [`Turn`] out.
//! It reads no socket, knows no clock and waits for nothing; [`crate::negotiate()`] drives it.
//!
//! ```text
//!            greeting sent                          option, answered
//!                 │                                    ┌──────┐
//!                 ▼                                    ▼      │
//!          ┌─────────────┐  4 bytes of flags  ┌─────────────────┐  GO, EXPORT_NAME   ┌──────┐
//!          │ ClientFlags │ ─────────────────► │     Options     │ ─────────────────► │ Done │
//!          └─────────────┘                    └─────────────────┘   export opened    └──────┘
//!                 │ unknown flags                │ ABORT, bad magic, data too long, too many
//!                 ▼                              ▼ options, EXPORT_NAME refused
//!               Close                          Close
//! ```
//!
//! What concerns exports is not decided here: the turn holds a question, and the question takes
//! the answer. An option that is wrong in itself gets an error and leaves the stream in step,
//! because its data has been consumed by its own length and not by what is in it.
//!
//! STARTTLS leads from Options back to Options, over [`Turn::StartTls`]: everything that was agreed
//! on before is forgotten, and bytes that are already there behind it end the connection, since
//! somebody between the two could have put them there in the clear.

mod answer;
mod hear;
mod option;

pub use answer::{ContextQuestion, FindQuestion, ListQuestion, OpenQuestion};

use crate::context::Contexts;
use crate::export::{ExportInfo, Refusal};
use crate::proto::{
    Greeting, NBD_MAGIC, OPTION_MAGIC, OptionHeader, handshake, option as number, reply,
};
use crate::reply::Replies;
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
    tls: Tls,
    agreed: Agreed,
}

/// Whether the client is within TLS, and if not, whether it may or must go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// In the clear, and there is no other way.
    Off,
    /// In the clear, and it may begin TLS.
    Allowed,
    /// In the clear, and it must begin TLS before anything else.
    Required,
    /// Within TLS.
    Active,
}

/// What the client and the server have agreed on besides an export.
#[derive(Clone, Debug, Default)]
struct Agreed {
    replies: Replies,
    /// The contexts that were selected last, and the name of the export for which.
    selected: Option<(String, Contexts)>,
}

impl Agreed {
    /// The terms for this export, which the client calls `name`: what was selected counts only for the
    /// name that it was selected with.
    fn terms(&self, name: &str, export: ExportInfo) -> Terms {
        let contexts = match &self.selected {
            Some((selected, contexts)) if selected == name => *contexts,
            _ => Contexts::default(),
        };
        Terms { export, replies: self.replies, contexts }
    }
}

/// What the transmission phase goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The export, as the client was told of it.
    pub export: ExportInfo,
    /// The form of replies, and of requests.
    pub replies: Replies,
    /// What BLOCK_STATUS tells; if nothing, there is no BLOCK_STATUS.
    pub contexts: Contexts,
}

impl Terms {
    /// The terms of a client that has agreed on nothing: simple replies, no BLOCK_STATUS.
    pub fn simple(export: ExportInfo) -> Self {
        Self { export, replies: Replies::Simple, contexts: Contexts::default() }
    }

    /// The flags that the client is told.
    pub fn transmission_flags(&self) -> u16 {
        self.export.transmission_flags(self.replies, self.contexts)
    }
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
    /// TLS begins, and [`Negotiation::tls_begun`] goes on within it. The input is empty.
    StartTls,
    /// The transmission phase begins. What is left of the input belongs to it.
    Done(Terms),
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
    /// Is there this export, so that its contexts can be listed or selected?
    Contexts(ContextQuestion),
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
    /// The handshake of TLS failed: the client does not trust this server, or this server does
    /// not trust the client, or what the client spoke was no TLS.
    #[error("TLS with the client failed: {0}")]
    Tls(std::io::Error),
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
    pub fn begin(tls: Tls, output: &mut BytesMut) -> Self {
        let greeting = Greeting {
            nbd_magic: NBD_MAGIC.into(),
            option_magic: OPTION_MAGIC.into(),
            flags: (handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).into(),
        };
        output.extend_from_slice(greeting.as_bytes());
        Self { phase: Phase::ClientFlags, options: 0, tls, agreed: Agreed::default() }
    }

    /// The client is within TLS from now on. What it said before may have been anybody's.
    ///
    /// # Panics
    /// If it was not [`Turn::StartTls`] that came last.
    pub fn tls_begun(&mut self) {
        assert!(
            matches!(self.tls, Tls::Allowed | Tls::Required),
            "TLS begins while {:?}",
            self.tls
        );
        self.tls = Tls::Active;
        self.agreed = Agreed::default();
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
        if number == number::STARTTLS {
            return self.start_tls(&data, input, output);
        }
        if self.tls == Tls::Required && number != number::ABORT {
            return Ok(demand_tls(number, output));
        }
        Ok(self.hear(number, data, flags, output))
    }

    /// Where it is offered, TLS begins; and nothing may be there already that would be taken for
    /// the client's although it came in the clear.
    fn start_tls(
        &self,
        data: &[u8],
        input: &BytesMut,
        output: &mut BytesMut,
    ) -> Result<Turn, String> {
        let (kind, why) = match self.tls {
            _ if !data.is_empty() => {
                (reply::ERR_INVALID, format!("STARTTLS takes no data, {} bytes came", data.len()))
            }
            Tls::Off => (reply::ERR_POLICY, "TLS is not set up at this server".to_owned()),
            Tls::Active => (reply::ERR_INVALID, "this is within TLS already".to_owned()),
            Tls::Allowed | Tls::Required if !input.is_empty() => {
                return Err(format!("{} bytes in the clear behind STARTTLS", input.len()));
            }
            Tls::Allowed | Tls::Required => {
                answer::put(output, number::STARTTLS, reply::ACK, &[]);
                return Ok(Turn::StartTls);
            }
        };
        answer::put_error(output, number::STARTTLS, kind, &why);
        Ok(Turn::Answered)
    }
}

/// The answer to anything that must not be said in the clear.
fn demand_tls(number: u32, output: &mut BytesMut) -> Turn {
    if number == number::EXPORT_NAME {
        let (name, why) = (String::new(), Refusal::TlsRequired.to_string());
        return Turn::Close(NegotiationError::Refused { name, why });
    }
    answer::put_error(output, number, reply::ERR_TLS_REQD, &Refusal::TlsRequired.to_string());
    Turn::Answered
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

#[cfg(test)]
mod tests;
