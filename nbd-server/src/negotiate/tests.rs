use super::*;
use crate::export::Refusal;
use crate::fuzzing::fuzz_negotiation;
use crate::proto::{EXPORT_NAME_PADDING, OPTION_REPLY_MAGIC, info};
use bytes::BufMut;
use proptest::prelude::*;

const FIXED: u32 = 1;
const NO_ZEROES: u32 = 2;
const SIZE: u64 = 1 << 30;
const FLAGS: u16 = 0xd6d;

/// A reply as a client reads it.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    option: u32,
    kind: u32,
    data: Vec<u8>,
}

/// A negotiation with a client that has sent its flags.
struct Session {
    machine: Negotiation,
    input: BytesMut,
    output: BytesMut,
}

fn export() -> ExportInfo {
    ExportInfo { description: "Primary of r0".to_owned(), ..ExportInfo::new("r0/0", SIZE) }
}

fn found(name: &str) -> Result<ExportInfo, Refusal> {
    match name {
        "r0" | "r0/0" | "" => Ok(export()),
        "secondary" => Err(Refusal::Policy("Secondary; run 'repadm primary r0'".to_owned())),
        "leaving" => Err(Refusal::Shutdown("going down".to_owned())),
        _ => Err(Refusal::Unknown),
    }
}

impl Session {
    fn new(client_flags: u32) -> Self {
        Self::with_tls(client_flags, Tls::Off)
    }

    fn with_tls(client_flags: u32, tls: Tls) -> Self {
        let mut output = BytesMut::new();
        let machine = Negotiation::begin(tls, &mut output);
        let mut session = Self { machine, input: BytesMut::new(), output };
        assert_eq!(session.output.split()[..], *b"NBDMAGICIHAVEOPT\0\x03");
        session.input.put_u32(client_flags);
        assert!(matches!(session.advance(), Turn::Answered));
        session
    }

    fn advance(&mut self) -> Turn {
        match self.machine.advance(&mut self.input, &mut self.output) {
            Turn::Ask(Question::List(question)) => {
                let second = ExportInfo::new("r1/0", SIZE);
                question.answer(&[export(), second], &mut self.output);
                Turn::Answered
            }
            Turn::Ask(Question::Find(question)) => {
                let found = found(question.name());
                question.answer(found, &mut self.output);
                Turn::Answered
            }
            Turn::Ask(Question::Contexts(question)) => {
                let found = found(question.name());
                question.answer(found, &mut self.machine, &mut self.output);
                Turn::Answered
            }
            Turn::Ask(Question::Open(question)) => {
                let found = found(question.name());
                question.answer(found, &mut self.output)
            }
            turn => turn,
        }
    }

    fn send(&mut self, option: u32, data: &[u8]) -> Turn {
        self.input.extend_from_slice(&option_bytes(option, data));
        self.advance()
    }

    fn replies(&mut self) -> Vec<Reply> {
        let mut output = self.output.split();
        let mut replies = Vec::new();
        while !output.is_empty() {
            assert_eq!(output.get_u64(), OPTION_REPLY_MAGIC);
            let (option, kind) = (output.get_u32(), output.get_u32());
            let len = output.get_u32() as usize;
            replies.push(Reply { option, kind, data: output.split_to(len).to_vec() });
        }
        replies
    }

    /// Sends an option and expects one reply of `kind`, after which the session goes on.
    fn refused(&mut self, option: u32, data: &[u8], kind: u32) -> String {
        let turn = self.send(option, data);
        assert!(matches!(turn, Turn::Answered), "{turn:?}");
        let mut replies = self.replies();
        let reply = replies.pop().expect("a reply");
        assert!(replies.is_empty());
        assert_eq!((reply.option, reply.kind), (option, kind), "{:?}", reply.data);
        assert!(reply.data.len() < 4096);
        String::from_utf8(reply.data).expect("text")
    }

    /// Whether the session still is in step.
    fn assert_in_step(&mut self) {
        assert!(matches!(self.send(number::LIST, b""), Turn::Answered));
        assert_eq!(self.replies().last().map(|reply| reply.kind), Some(reply::ACK));
    }
}

fn option_bytes(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u64(OPTION_MAGIC);
    bytes.put_u32(option);
    bytes.put_u32(data.len() as u32);
    bytes.extend_from_slice(data);
    bytes
}

fn info_data(name: &[u8], wanted: &[u16]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_u32(name.len() as u32);
    data.extend_from_slice(name);
    data.put_u16(wanted.len() as u16);
    wanted.iter().for_each(|kind| data.put_u16(*kind));
    data
}

fn closes(turn: Turn) -> NegotiationError {
    match turn {
        Turn::Close(error) => error,
        turn => panic!("goes on: {turn:?}"),
    }
}

#[test]
fn info_and_go_say_the_same() {
    let wanted = [info::NAME, info::DESCRIPTION, info::BLOCK_SIZE, 0x1234];
    let mut session = Session::new(FIXED | NO_ZEROES);
    assert!(matches!(session.send(number::INFO, &info_data(b"r0", &wanted)), Turn::Answered));
    let by_info = session.replies();
    let turn = session.send(number::GO, &info_data(b"r0", &wanted));
    assert!(matches!(turn, Turn::Done(given) if given == Terms::simple(export())));
    let by_go = session.replies();

    let data = |reply: &Reply| reply.data.clone();
    assert_eq!(
        by_info.iter().map(data).collect::<Vec<_>>(),
        by_go.iter().map(data).collect::<Vec<_>>()
    );
    assert!(by_info.iter().all(|reply| reply.option == number::INFO));
    let expected = [
        [&[0, 0][..], &SIZE.to_be_bytes(), &FLAGS.to_be_bytes()].concat(),
        b"\0\x01r0/0".to_vec(),
        b"\0\x02Primary of r0".to_vec(),
        b"\0\x03\0\0\0\x01\0\0\x10\0\x02\0\0\0".to_vec(),
        vec![],
    ];
    for (reply, expected) in by_go.iter().zip(expected) {
        let kind = if expected.is_empty() { reply::ACK } else { reply::INFO };
        assert_eq!((reply.option, reply.kind, &reply.data), (number::GO, kind, &expected));
    }
    assert_eq!(by_go.len(), 5);
}

#[test]
fn size_and_flags_come_unasked_and_nothing_else_does() {
    let mut session = Session::new(FIXED);
    assert!(matches!(session.send(number::GO, &info_data(b"", &[])), Turn::Done(_)));
    let replies = session.replies();
    assert_eq!(replies.len(), 2, "EXPORT and ACK, no padding");
    assert_eq!(replies[0].data[..2], info::EXPORT.to_be_bytes());
}

#[test]
fn list_names_every_export_once() {
    let mut session = Session::new(FIXED);
    assert!(matches!(session.send(number::LIST, b""), Turn::Answered));
    let replies = session.replies();
    let data: Vec<_> = replies.iter().map(|reply| &reply.data[..]).collect();
    assert_eq!(data, [&b"\0\0\0\x04r0/0Primary of r0"[..], b"\0\0\0\x04r1/0", b""]);
    let kinds: Vec<_> = replies.iter().map(|reply| reply.kind).collect();
    assert_eq!(kinds, [reply::SERVER, reply::SERVER, reply::ACK]);
}

#[test]
fn export_name_is_padded_unless_declined() {
    for (flags, padding) in [(FIXED, EXPORT_NAME_PADDING), (FIXED | NO_ZEROES, 0), (0, 124)] {
        let mut session = Session::new(flags);
        assert!(matches!(session.send(number::EXPORT_NAME, b"r0/0"), Turn::Done(_)));
        let expected = [&SIZE.to_be_bytes()[..], &FLAGS.to_be_bytes(), &vec![0; padding]].concat();
        assert_eq!(session.output[..], expected);
    }
}

#[test]
fn export_name_refuses_by_closing() {
    for name in [&b"nothing"[..], b"secondary", b"leaving", b"a\0b", b"\xff", &[b'x'; 4097]] {
        let mut session = Session::new(FIXED);
        let error = closes(session.send(number::EXPORT_NAME, name));
        assert!(matches!(error, NegotiationError::Refused { .. }), "{error}");
        assert!(session.output.is_empty());
    }
}

#[test]
fn refusals_say_why_and_leave_the_choice() {
    let mut session = Session::new(FIXED);
    for option in [number::INFO, number::GO] {
        let text = session.refused(option, &info_data(b"nothing", &[]), reply::ERR_UNKNOWN);
        assert!(text.contains("\"nothing\""), "{text}");
        let text = session.refused(option, &info_data(b"secondary", &[]), reply::ERR_POLICY);
        assert!(text.contains("repadm primary r0"), "{text}");
        session.refused(option, &info_data(b"leaving", &[]), reply::ERR_SHUTDOWN);
    }
    assert!(matches!(session.send(number::GO, &info_data(b"r0", &[])), Turn::Done(_)));
}

#[test]
fn malformed_info_and_go_are_invalid_and_stay_in_step() {
    let over_name = info_data(&[b'x'; NAME_MAX + 1], &[]);
    let trailing = [info_data(b"r0", &[info::NAME]), vec![0]].concat();
    let mut fewer = info_data(b"r0", &[info::NAME, info::BLOCK_SIZE]);
    fewer.truncate(fewer.len() - 2);
    let mut huge_name = info_data(b"r0", &[]);
    huge_name[..4].fill(0xff);
    let mut name_to_the_end = info_data(b"r0", &[]);
    name_to_the_end[3] = 4;
    for data in [
        &b""[..],
        b"\0\0",
        b"\0\0\0\0",
        b"\0\0\0\0\0",
        b"\0\0\0\0\xff\xff",
        b"\0\0\0\x01a\0",
        &over_name,
        &trailing,
        &fewer,
        &huge_name,
        &name_to_the_end,
        &info_data(b"a\0b", &[]),
        &info_data(b"\xc3\x28", &[]),
    ] {
        let mut session = Session::new(FIXED);
        for option in [number::INFO, number::GO] {
            session.refused(option, data, reply::ERR_INVALID);
        }
        session.assert_in_step();
    }
}

#[test]
fn the_longest_name_is_looked_for_and_its_echo_is_cut() {
    let mut session = Session::new(FIXED);
    let name = "\u{1}".repeat(NAME_MAX);
    let text = session.refused(number::GO, &info_data(name.as_bytes(), &[]), reply::ERR_UNKNOWN);
    assert!(text.len() < 4096, "{}", text.len());
    assert!(!text.contains('\u{1}'), "the client's bytes do not reach a terminal raw");
    session.assert_in_step();
}

#[test]
fn everything_else_is_unsupported_and_consumed_exactly() {
    let mut session = Session::new(FIXED);
    for option in [0, 4, 12, 1 << 31, u32::MAX] {
        for data in [&b""[..], b"x", &[0x49; 5000], &[0; OPTION_DATA_MAX]] {
            session.refused(option, data, reply::ERR_UNSUP);
        }
    }
    session.assert_in_step();
}

#[test]
fn list_with_data_is_invalid() {
    let mut session = Session::new(FIXED);
    session.refused(number::LIST, b"r0", reply::ERR_INVALID);
    session.assert_in_step();
}

#[test]
fn abort_is_acknowledged_and_its_data_ignored() {
    for data in [&b""[..], b"bye"] {
        let mut session = Session::new(FIXED);
        let error = closes(session.send(number::ABORT, data));
        assert!(matches!(error, NegotiationError::Aborted) && error.is_ordinary());
        let ack = Reply { option: number::ABORT, kind: reply::ACK, data: vec![] };
        assert_eq!(session.replies(), [ack]);
    }
}

#[test]
fn strange_clients_are_left() {
    let mut output = BytesMut::new();
    let mut machine = Negotiation::begin(Tls::Off, &mut output);
    let mut input = BytesMut::from(&[0, 0, 0, 5][..]);
    let error = closes(machine.advance(&mut input, &mut output));
    assert!(error.to_string().contains("client flags 0x5"), "{error}");

    let mut session = Session::new(FIXED);
    session.input.extend_from_slice(b"IHAVEOPS\0\0\0\x03\0\0\0\0");
    assert!(matches!(closes(session.advance()), NegotiationError::Protocol(_)));

    // Without FIXED_NEWSTYLE, a client does not know that options can be answered.
    for option in [number::LIST, number::GO, number::ABORT, 77] {
        let mut session = Session::new(0);
        assert!(matches!(closes(session.send(option, b"")), NegotiationError::Protocol(_)));
        assert!(session.output.is_empty());
    }
}

#[test]
fn too_much_data_closes_before_it_is_received() {
    for option in [number::GO, number::LIST, number::EXPORT_NAME, 99] {
        let mut session = Session::new(FIXED);
        session.input.put_u64(OPTION_MAGIC);
        session.input.put_u32(option);
        session.input.put_u32(OPTION_DATA_MAX as u32 + 1);
        assert!(matches!(closes(session.advance()), NegotiationError::Protocol(_)));
    }
}

#[test]
fn options_are_counted() {
    let mut session = Session::new(FIXED);
    for _ in 0..OPTIONS_MAX {
        session.refused(99, b"", reply::ERR_UNSUP);
    }
    assert!(matches!(closes(session.send(99, b"")), NegotiationError::Protocol(_)));
}

#[test]
fn what_follows_go_is_left() {
    let mut session = Session::new(FIXED);
    session.input.extend_from_slice(&option_bytes(number::GO, &info_data(b"r0", &[])));
    session.input.extend_from_slice(b"the first request");
    assert!(matches!(session.advance(), Turn::Done(_)));
    assert_eq!(session.input[..], *b"the first request");
}

#[test]
fn a_long_description_is_cut_and_every_reply_stays_short() {
    let long = ExportInfo { description: "ä".repeat(5000), ..ExportInfo::new("r0/0", SIZE) };
    let mut session = Session::new(FIXED);
    ListQuestion.answer(std::slice::from_ref(&long), &mut session.output);
    let find = FindQuestion {
        name: String::new(),
        wanted: option::info_request(&info_data(b"", &[info::DESCRIPTION])).unwrap().1,
        agreed: Agreed::default(),
    };
    find.answer(Ok(long.clone()), &mut session.output);
    let policy = OpenQuestion::by_go("r0".to_owned(), option::Wanted::default(), Agreed::default());
    policy.answer(Err(Refusal::Policy(long.description)), &mut session.output);
    let replies = session.replies();
    assert_eq!(replies.len(), 6);
    assert!(replies.iter().all(|reply| reply.data.len() < 4096));
    let is_text = |reply: &Reply| String::from_utf8(reply.data.clone()).is_ok();
    assert!(is_text(&replies[5]));
}

/// Bytes that look enough like a negotiation to get somewhere.
fn client_bytes() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just(b"r0/0".to_vec()),
        Just(b"secondary".to_vec()),
        Just(vec![]),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let info = (name, proptest::collection::vec(0u16..6, 0..4))
        .prop_map(|(name, wanted)| info_data(&name, &wanted));
    let data = prop_oneof![3 => info, 1 => proptest::collection::vec(any::<u8>(), 0..60)];
    let whole = (0u32..13, data).prop_map(|(option, data)| option_bytes(option, &data));
    let garbage = proptest::collection::vec(any::<u8>(), 0..30);
    let part = prop_oneof![9 => whole, 1 => garbage];
    (0u32..5, proptest::collection::vec(part, 0..8))
        .prop_map(|(flags, parts)| [&flags.to_be_bytes()[..], &parts.concat()].concat())
}

proptest! {
    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_negotiation(&bytes);
    }

    #[test]
    fn how_the_bytes_are_cut_changes_nothing(bytes in client_bytes()) {
        fuzz_negotiation(&bytes);
    }
}
