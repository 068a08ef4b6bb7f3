//! What each option is answered with, or which question it needs to be answered.

use super::answer::{self, ContextQuestion, FindQuestion, ListQuestion, OpenQuestion};
use super::{ClientFlags, Negotiation, NegotiationError, Question, Turn, option};
use crate::proto::{option as number, reply};
use crate::reply::Replies;
use bytes::{Bytes, BytesMut};

/// Why an option is not taken: the type of the reply, and a text for people.
type Refused = (u32, String);

impl Negotiation {
    /// Answers an option, or asks what it needs to be answered.
    pub(super) fn hear(
        &mut self,
        number: u32,
        data: Bytes,
        flags: ClientFlags,
        output: &mut BytesMut,
    ) -> Turn {
        let question = match number {
            number::EXPORT_NAME => match self.by_export_name(&data, flags) {
                Ok(question) => Ok(question),
                Err(error) => return Turn::Close(error),
            },
            number::ABORT => {
                answer::put(output, number, reply::ACK, &[]);
                return Turn::Close(NegotiationError::Aborted);
            }
            number::LIST => without_data(number, &data).map(|()| Question::List(ListQuestion)),
            number::INFO | number::GO => self.info_or_go(number, &data),
            number::STRUCTURED_REPLY | number::EXTENDED_HEADERS => {
                match self.agree_on_replies(number, &data) {
                    Ok(()) => {
                        answer::put(output, number, reply::ACK, &[]);
                        return Turn::Answered;
                    }
                    Err(refused) => Err(refused),
                }
            }
            number::LIST_META_CONTEXT | number::SET_META_CONTEXT => self.contexts(number, &data),
            _ => {
                let why = format!("{} ({number}) is not supported here", number::name(number));
                Err((reply::ERR_UNSUP, why))
            }
        };
        match question {
            Ok(question) => Turn::Ask(question),
            Err((kind, why)) => {
                answer::put_error(output, number, kind, &why);
                Turn::Answered
            }
        }
    }

    fn by_export_name(
        &self,
        data: &[u8],
        flags: ClientFlags,
    ) -> Result<Question, NegotiationError> {
        let refused = |why| {
            let name = String::from_utf8_lossy(&data[..data.len().min(64)]).into_owned();
            NegotiationError::Refused { name, why }
        };
        let name = option::name(data).map_err(refused)?;
        if self.agreed.replies == Replies::Extended {
            return Err(refused("extended headers were agreed on, which ask for GO".to_owned()));
        }
        let agreed = self.agreed.clone();
        Ok(Question::Open(OpenQuestion::by_export_name(name, flags.no_zeroes, agreed)))
    }

    fn info_or_go(&self, number: u32, data: &[u8]) -> Result<Question, Refused> {
        let (name, wanted) = option::info_request(data).map_err(invalid)?;
        let agreed = self.agreed.clone();
        Ok(match number {
            number::GO => Question::Open(OpenQuestion::by_go(name, wanted, agreed)),
            _ => Question::Find(FindQuestion { name, wanted, agreed }),
        })
    }

    /// STRUCTURED_REPLY and EXTENDED_HEADERS. The latter includes the former and cannot be taken
    /// back.
    fn agree_on_replies(&mut self, number: u32, data: &[u8]) -> Result<(), Refused> {
        without_data(number, data)?;
        self.agreed.replies = match (number, self.agreed.replies) {
            (number::STRUCTURED_REPLY, Replies::Extended) => {
                let why = "extended headers were agreed on, which are more than this";
                return Err((reply::ERR_EXT_HEADER_REQD, why.to_owned()));
            }
            (number::STRUCTURED_REPLY, _) => Replies::Structured,
            (_, Replies::Extended) => {
                return Err(invalid("extended headers were agreed on already".to_owned()));
            }
            (_, _) => Replies::Extended,
        };
        Ok(())
    }

    /// LIST_META_CONTEXT and SET_META_CONTEXT. The latter forgets what was selected before,
    /// whatever comes of it.
    fn contexts(&mut self, number: u32, data: &[u8]) -> Result<Question, Refused> {
        let set = number == number::SET_META_CONTEXT;
        if set {
            self.agreed.selected = None;
        }
        if self.agreed.replies == Replies::Simple {
            let name = number::name(number);
            return Err(invalid(format!(
                "{name} needs STRUCTURED_REPLY or EXTENDED_HEADERS first"
            )));
        }
        let (name, queries) = option::context_request(data).map_err(invalid)?;
        Ok(Question::Contexts(ContextQuestion::new(name, &queries, set)))
    }
}

fn without_data(number: u32, data: &[u8]) -> Result<(), Refused> {
    let name = number::name(number);
    match data.len() {
        0 => Ok(()),
        len => Err(invalid(format!("{name} takes no data, {len} bytes came with it"))),
    }
}

fn invalid(why: String) -> Refused {
    (reply::ERR_INVALID, why)
}
