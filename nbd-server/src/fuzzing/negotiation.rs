//! The negotiation, fed with a client's bytes.

use super::{exports, find};
use crate::negotiate::{Negotiation, NegotiationError, OPTIONS_MAX, Question, Tls, Turn};
use bytes::BytesMut;

/// The negotiation, fed with `bytes`: it ends the same way and answers the same, whether the
/// bytes come at once or one by one, and its answers are bounded.
///
/// # Panics
/// If not.
pub fn fuzz_negotiation(bytes: &[u8]) {
    for tls in [Tls::Off, Tls::Allowed, Tls::Required] {
        let (output, end) = negotiation(bytes, bytes.len().max(1), tls);
        let bound = (OPTIONS_MAX as usize + 2) * 4096 * (exports().len() + 1);
        assert!(output.len() <= bound, "{} bytes in answer to {}", output.len(), bytes.len());
        // What comes behind STARTTLS in one piece is refused, and one by one it is not there yet.
        if !end.contains("behind STARTTLS") {
            let pieces = negotiation(bytes, 1, tls);
            assert_eq!((output, end), pieces, "how the bytes were cut has changed the answers");
        }
    }
}

/// What was sent, and how it ended.
fn negotiation(bytes: &[u8], piece: usize, tls: Tls) -> (BytesMut, String) {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut machine = Negotiation::begin(tls, &mut output);
    let mut pieces = bytes.chunks(piece);
    let mut is_tls = false;
    loop {
        let turn = machine.advance(&mut input, &mut output);
        match answer(turn, &mut machine, &mut output) {
            Turn::NeedInput => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => return (output, NegotiationError::HungUp.to_string()),
            },
            Turn::Answered | Turn::Ask(_) => {}
            Turn::StartTls => {
                assert!(input.is_empty(), "what was said in the clear is taken for said in TLS");
                assert!(!is_tls, "TLS begins within TLS");
                is_tls = true;
                machine.tls_begun();
            }
            Turn::Done(terms) => {
                assert!(is_tls || tls != Tls::Required, "served in the clear");
                return (output, format!("{terms:?}"));
            }
            Turn::Close(error) => return (output, error.to_string()),
        }
    }
}

/// Answers a question, if it is one.
pub(super) fn answer(turn: Turn, machine: &mut Negotiation, output: &mut BytesMut) -> Turn {
    match turn {
        Turn::Ask(Question::List(question)) => question.answer(&exports(), output),
        Turn::Ask(Question::Find(question)) => {
            let found = find(question.name());
            question.answer(found, output);
        }
        Turn::Ask(Question::Contexts(question)) => {
            let found = find(question.name());
            question.answer(found, machine, output);
        }
        Turn::Ask(Question::Open(question)) => {
            let opened = find(question.name());
            return question.answer(opened, output);
        }
        turn => return turn,
    }
    Turn::Answered
}
