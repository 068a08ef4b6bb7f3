//! The negotiation, driven by whole options, and a model of what must come of them.

use super::feed::Feed;
use super::negotiation::answer;
use crate::context::{Context, Contexts};
use crate::negotiate::{Negotiation, NegotiationError, OPTIONS_MAX, Tls, Turn};
use crate::proto::{OPTION_MAGIC, option, reply};
use crate::reply::Replies;
use bytes::{Buf, BufMut, BytesMut};

/// A sequence of options made of `bytes`: each is answered once and as the model says, and a client
/// gets what it has agreed on since TLS began, and nothing else.
///
/// # Panics
/// If not.
pub fn fuzz_negotiation_ops(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let tls = feed.choose(&[Tls::Off, Tls::Allowed, Tls::Required]);
    let mut session = Session::begin(tls, feed.flag());
    for _ in 0..OPTIONS_MAX {
        if feed.is_empty() || session.step(&mut feed) {
            return;
        }
    }
}

const NAMES: [&str; 7] = ["r0/0", "r1/0", "r2/0", "secondary", "leaving", "secret", "nothing"];
const NUMBERS: [u32; 12] = [
    option::GO,
    option::SET_META_CONTEXT,
    option::STRUCTURED_REPLY,
    option::EXTENDED_HEADERS,
    option::STARTTLS,
    option::INFO,
    option::LIST_META_CONTEXT,
    option::LIST,
    option::EXPORT_NAME,
    option::ABORT,
    4,
    77,
];

/// What the client knows it has agreed on.
struct Model {
    tls: Tls,
    replies: Replies,
    selected: Option<(&'static str, Contexts)>,
}

struct Session {
    machine: Negotiation,
    input: BytesMut,
    output: BytesMut,
    model: Model,
}

/// An option to be sent.
struct Asked {
    number: u32,
    name: &'static str,
    contexts: Contexts,
    /// There is data too much, or too little.
    is_malformed: bool,
    data: Vec<u8>,
}

impl Session {
    fn begin(tls: Tls, no_zeroes: bool) -> Self {
        let mut output = BytesMut::new();
        let mut machine = Negotiation::begin(tls, &mut output);
        let mut input = BytesMut::new();
        input.put_u32(1 | u32::from(no_zeroes) << 1);
        assert!(matches!(machine.advance(&mut input, &mut output), Turn::Answered));
        output.clear();
        let model = Model { tls, replies: Replies::Simple, selected: None };
        Self { machine, input, output, model }
    }

    /// One option; whether the session is over.
    fn step(&mut self, feed: &mut Feed<'_>) -> bool {
        let asked = Asked::choose(feed);
        self.input.put_u64(OPTION_MAGIC);
        self.input.put_u32(asked.number);
        self.input.put_u32(asked.data.len() as u32);
        self.input.extend_from_slice(&asked.data);
        let turn = self.machine.advance(&mut self.input, &mut self.output);
        let turn = answer(turn, &mut self.machine, &mut self.output);
        assert!(self.input.is_empty(), "{} bytes are left", self.input.len());
        let expected = self.model.hear(&asked);
        match turn {
            Turn::Answered => {
                assert_eq!(Some(self.last_reply(asked.number)), expected);
                false
            }
            Turn::StartTls => {
                assert_eq!(Some(self.last_reply(asked.number)), expected);
                assert!(self.model.tls == Tls::Active, "TLS begins");
                self.machine.tls_begun();
                false
            }
            Turn::Done(terms) => {
                assert_eq!(expected, Some(reply::ACK), "{terms:?} with {}", asked.name);
                assert_eq!(terms.export.name, asked.name);
                assert_eq!(terms.replies, self.model.replies);
                assert_eq!(terms.contexts, self.model.contexts(asked.name));
                assert!(terms.replies != Replies::Simple || terms.contexts.is_empty());
                true
            }
            Turn::Close(NegotiationError::Aborted) => {
                assert_eq!(Some(self.last_reply(asked.number)), expected);
                true
            }
            Turn::Close(error) => {
                assert_eq!(expected, None, "{error}");
                true
            }
            turn @ (Turn::NeedInput | Turn::Ask(_)) => panic!("{turn:?} after a whole option"),
        }
    }

    /// The type of the last reply, after a look at all of them.
    fn last_reply(&mut self, number: u32) -> u32 {
        let mut output = self.output.split();
        loop {
            let _magic = output.get_u64();
            assert_eq!(output.get_u32(), number, "an answer to something else");
            let (kind, len) = (output.get_u32(), output.get_u32() as usize);
            assert!(len < 4096, "a reply of {len} bytes");
            output.advance(len);
            if output.is_empty() {
                return kind;
            }
            let goes_on = [reply::SERVER, reply::INFO, reply::META_CONTEXT].contains(&kind);
            assert!(goes_on, "0x{kind:x} is not the last reply");
        }
    }
}

impl Asked {
    fn choose(feed: &mut Feed<'_>) -> Self {
        let number = feed.choose(&NUMBERS);
        let name = feed.choose(&NAMES);
        let (allocation, out_of_sync) = (feed.flag(), feed.flag());
        let contexts = Contexts::only(|context| match context {
            Context::Allocation => allocation,
            Context::OutOfSync => out_of_sync,
        });
        let mut data = Vec::new();
        match number {
            option::EXPORT_NAME => data.extend_from_slice(name.as_bytes()),
            option::GO | option::INFO => {
                put_string(&mut data, name);
                data.put_u16(2);
                data.put_u16(u16::from(feed.byte()) % 5);
                data.put_u16(3);
            }
            option::SET_META_CONTEXT | option::LIST_META_CONTEXT => {
                put_string(&mut data, name);
                data.put_u32(contexts.iter().count() as u32 + 1);
                put_string(&mut data, feed.choose(&["qemu:x", "base:", ""]));
                contexts.iter().for_each(|context| put_string(&mut data, context.name()));
            }
            _ => {}
        }
        // EXPORT_NAME takes any name, and of ABORT and of what is not known the data is not looked at.
        let judges = !matches!(number, option::EXPORT_NAME | option::ABORT | 4 | 77);
        let is_malformed = judges && feed.byte() % 8 == 7;
        if is_malformed {
            match feed.flag() && !data.is_empty() {
                true => data.truncate(data.len() - 1),
                false => data.push(0),
            }
        }
        Self { number, name, contexts, is_malformed, data }
    }
}

fn put_string(data: &mut Vec<u8>, text: &str) {
    data.put_u32(text.len() as u32);
    data.extend_from_slice(text.as_bytes());
}

impl Model {
    fn contexts(&self, name: &str) -> Contexts {
        match self.selected {
            Some((selected, contexts)) if selected == name => contexts,
            _ => Contexts::default(),
        }
    }

    /// The type of the last reply; none if the connection is closed without one.
    fn hear(&mut self, asked: &Asked) -> Option<u32> {
        let number = asked.number;
        if number == option::STARTTLS {
            return Some(match self.tls {
                _ if asked.is_malformed => reply::ERR_INVALID,
                Tls::Off => reply::ERR_POLICY,
                Tls::Active => reply::ERR_INVALID,
                Tls::Allowed | Tls::Required => {
                    *self = Self { tls: Tls::Active, replies: Replies::Simple, selected: None };
                    reply::ACK
                }
            });
        }
        if self.tls == Tls::Required && number != option::ABORT {
            return (number != option::EXPORT_NAME).then_some(reply::ERR_TLS_REQD);
        }
        match number {
            option::EXPORT_NAME => {
                let may = self.replies != Replies::Extended && found(asked.name) == reply::ACK;
                may.then_some(reply::ACK)
            }
            option::ABORT => Some(reply::ACK),
            option::LIST | option::GO | option::INFO if asked.is_malformed => {
                Some(reply::ERR_INVALID)
            }
            option::LIST => Some(reply::ACK),
            option::GO | option::INFO => Some(found(asked.name)),
            option::STRUCTURED_REPLY | option::EXTENDED_HEADERS => Some(self.agree(asked)),
            option::SET_META_CONTEXT | option::LIST_META_CONTEXT => Some(self.select(asked)),
            _ => Some(reply::ERR_UNSUP),
        }
    }

    fn agree(&mut self, asked: &Asked) -> u32 {
        let extends = asked.number == option::EXTENDED_HEADERS;
        if asked.is_malformed {
            reply::ERR_INVALID
        } else if self.replies == Replies::Extended {
            if extends { reply::ERR_INVALID } else { reply::ERR_EXT_HEADER_REQD }
        } else {
            self.replies = if extends { Replies::Extended } else { Replies::Structured };
            reply::ACK
        }
    }

    fn select(&mut self, asked: &Asked) -> u32 {
        let sets = asked.number == option::SET_META_CONTEXT;
        if sets {
            self.selected = None;
        }
        if self.replies == Replies::Simple || asked.is_malformed {
            return reply::ERR_INVALID;
        }
        let kind = match found(asked.name) {
            // That is for INFO and GO to say.
            reply::ERR_TLS_REQD => reply::ERR_UNKNOWN,
            kind => kind,
        };
        if sets && kind == reply::ACK {
            self.selected = Some((asked.name, asked.contexts));
        }
        kind
    }
}

fn found(name: &str) -> u32 {
    match name {
        "secondary" => reply::ERR_POLICY,
        "leaving" => reply::ERR_SHUTDOWN,
        "secret" => reply::ERR_TLS_REQD,
        "nothing" => reply::ERR_UNKNOWN,
        _ => reply::ACK,
    }
}
