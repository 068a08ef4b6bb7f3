//! Answers to options. All that one option is answered with is put into the output together, to
//! be sent in one piece: nbd-client reads some replies with a single call.

use super::option::Wanted;
use super::{Agreed, Negotiation, NegotiationError, TEXT_MAX, Terms, Turn};
use crate::context::Contexts;
use crate::export::{ExportInfo, Refusal, cut};
use crate::proto::{
    EXPORT_NAME_PADDING, OPTION_REPLY_MAGIC, OptionReplyHeader, info, option, reply,
};
use bytes::{BufMut, BytesMut};
use zerocopy::IntoBytes;

/// LIST: which exports are there?
#[derive(Debug)]
pub struct ListQuestion;

impl ListQuestion {
    /// Names the exports to the client.
    pub fn answer(self, exports: &[ExportInfo], output: &mut BytesMut) {
        let mut entry = BytesMut::new();
        for export in exports {
            export.assert_valid();
            entry.clear();
            entry.put_u32(export.name.len() as u32);
            entry.put_slice(export.name.as_bytes());
            let room = TEXT_MAX - export.name.len();
            entry.put_slice(cut(&export.description, room).as_bytes());
            put(output, option::LIST, reply::SERVER, &entry);
        }
        put(output, option::LIST, reply::ACK, &[]);
    }
}

/// INFO: what is this export like?
#[derive(Debug)]
pub struct FindQuestion {
    pub(super) name: String,
    pub(super) wanted: Wanted,
    pub(super) agreed: Agreed,
}

impl FindQuestion {
    /// The name that the client asks for, possibly empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Describes the export to the client, or says why not.
    pub fn answer(self, found: Result<ExportInfo, Refusal>, output: &mut BytesMut) {
        match found {
            Ok(export) => {
                let terms = self.agreed.terms(&self.name, export);
                put_export(output, option::INFO, &terms, self.wanted);
            }
            Err(refusal) => put_refusal(output, option::INFO, &self.name, &refusal),
        }
    }
}

/// GO or EXPORT_NAME: may this export be used, now?
#[derive(Debug)]
pub struct OpenQuestion {
    name: String,
    asked: Asked,
    agreed: Agreed,
}

#[derive(Debug)]
enum Asked {
    Go(Wanted),
    ExportName { no_zeroes: bool },
}

impl OpenQuestion {
    pub(super) fn by_go(name: String, wanted: Wanted, agreed: Agreed) -> Self {
        Self { name, asked: Asked::Go(wanted), agreed }
    }

    pub(super) fn by_export_name(name: String, no_zeroes: bool, agreed: Agreed) -> Self {
        Self { name, asked: Asked::ExportName { no_zeroes }, agreed }
    }

    /// The name that the client asks for, possibly empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins the transmission phase, or says why not; then a client that used GO may go on with
    /// other options.
    pub fn answer(self, opened: Result<ExportInfo, Refusal>, output: &mut BytesMut) -> Turn {
        let opened = opened.map(|export| self.agreed.terms(&self.name, export));
        match (self.asked, opened) {
            (Asked::Go(wanted), Ok(terms)) => {
                put_export(output, option::GO, &terms, wanted);
                Turn::Done(terms)
            }
            (Asked::Go(_), Err(refusal)) => {
                put_refusal(output, option::GO, &self.name, &refusal);
                Turn::Answered
            }
            (Asked::ExportName { no_zeroes }, Ok(terms)) => {
                terms.export.assert_valid();
                output.put_u64(terms.export.size);
                output.put_u16(terms.transmission_flags());
                output.put_bytes(0, if no_zeroes { 0 } else { EXPORT_NAME_PADDING });
                Turn::Done(terms)
            }
            (Asked::ExportName { .. }, Err(refusal)) => {
                Turn::Close(NegotiationError::Refused { name: self.name, why: refusal.to_string() })
            }
        }
    }
}

/// LIST_META_CONTEXT or SET_META_CONTEXT: is there this export?
#[derive(Debug)]
pub struct ContextQuestion {
    name: String,
    contexts: Contexts,
    set: bool,
}

impl ContextQuestion {
    /// A list without queries asks for every context, and a namespace for all that are in it. What
    /// is selected must be called by its whole name. What is not known is left out.
    pub(super) fn new(name: String, queries: &[String], set: bool) -> Self {
        let contexts = Contexts::only(|context| match set {
            true => queries.iter().any(|query| query == context.name()),
            false => queries.is_empty() || queries.iter().any(|query| context.is_listed_by(query)),
        });
        Self { name, contexts, set }
    }

    /// The name that the client asks for, possibly empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names the contexts to the client, and has them selected if that was asked for; or says why
    /// not.
    pub fn answer(
        self,
        found: Result<ExportInfo, Refusal>,
        negotiation: &mut Negotiation,
        output: &mut BytesMut,
    ) {
        let Self { name, contexts, set } = self;
        let option = if set { option::SET_META_CONTEXT } else { option::LIST_META_CONTEXT };
        if let Err(refusal) = found {
            // Where not every export needs TLS, nothing but INFO and GO may say that one does.
            let refusal = match refusal {
                Refusal::TlsRequired => Refusal::Unknown,
                other => other,
            };
            return put_refusal(output, option, &name, &refusal);
        }
        let mut entry = BytesMut::new();
        for context in contexts.iter() {
            entry.clear();
            // In a list the number means nothing yet, and is to be zero.
            entry.put_u32(if set { context.id() } else { 0 });
            entry.put_slice(context.name().as_bytes());
            put(output, option, reply::META_CONTEXT, &entry);
        }
        put(output, option, reply::ACK, &[]);
        if set {
            negotiation.agreed.selected = Some((name, contexts));
        }
    }
}

/// One reply to an option.
///
/// # Panics
/// If the payload reaches 4096 bytes, which nbd-client does not take.
pub(super) fn put(output: &mut BytesMut, option: u32, kind: u32, payload: &[u8]) {
    assert!(payload.len() < 4096, "a reply of {} bytes to option {option}", payload.len());
    let header = OptionReplyHeader {
        magic: OPTION_REPLY_MAGIC.into(),
        option: option.into(),
        kind: kind.into(),
        len: (payload.len() as u32).into(),
    };
    output.reserve(size_of::<OptionReplyHeader>() + payload.len());
    output.put_slice(header.as_bytes());
    output.put_slice(payload);
}

/// One error reply; the text is for people.
pub(super) fn put_error(output: &mut BytesMut, option: u32, kind: u32, why: &str) {
    put(output, option, kind, cut(why, TEXT_MAX).as_bytes());
}

fn put_refusal(output: &mut BytesMut, option: u32, name: &str, refusal: &Refusal) {
    let kind = match refusal {
        Refusal::Unknown => reply::ERR_UNKNOWN,
        Refusal::Policy(_) => reply::ERR_POLICY,
        Refusal::TlsRequired => reply::ERR_TLS_REQD,
        Refusal::Shutdown(_) => reply::ERR_SHUTDOWN,
    };
    // The client's own words come back cut and escaped: they may be long, and go to a terminal.
    let name = cut(name, ExportInfo::NAME_MAX);
    put_error(output, option, kind, &format!("export {name:?}: {refusal}"));
}

fn put_export(output: &mut BytesMut, option: u32, terms: &Terms, wanted: Wanted) {
    let export = &terms.export;
    export.assert_valid();
    let mut piece = BytesMut::new();
    let mut put_info = |kind: u16, fill: &dyn Fn(&mut BytesMut)| {
        piece.clear();
        piece.put_u16(kind);
        fill(&mut piece);
        put(output, option, reply::INFO, &piece);
    };
    put_info(info::EXPORT, &|piece| {
        piece.put_u64(export.size);
        piece.put_u16(terms.transmission_flags());
    });
    if wanted.name {
        put_info(info::NAME, &|piece| piece.put_slice(export.name.as_bytes()));
    }
    if wanted.description && !export.description.is_empty() {
        let description = cut(&export.description, TEXT_MAX);
        put_info(info::DESCRIPTION, &|piece| piece.put_slice(description.as_bytes()));
    }
    if wanted.block_size {
        put_info(info::BLOCK_SIZE, &|piece| {
            piece.put_u32(export.min_block);
            piece.put_u32(export.preferred_block);
            piece.put_u32(export.max_payload);
        });
    }
    put(output, option, reply::ACK, &[]);
}
