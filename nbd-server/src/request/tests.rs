use super::*;
use crate::export::ExportInfo;
use command::{CACHE, DISC, FLUSH, READ, TRIM, WRITE, WRITE_ZEROES};

const FUA: u16 = command_flag::FUA;
const NO_HOLE: u16 = command_flag::NO_HOLE;
const DF: u16 = command_flag::DF;
const REQ_ONE: u16 = command_flag::REQ_ONE;
const FAST_ZERO: u16 = command_flag::FAST_ZERO;
const PAYLOAD_LEN: u16 = command_flag::PAYLOAD_LEN;
const SIZE: u64 = 1 << 30;

fn export() -> ExportInfo {
    ExportInfo::new("r0/0", SIZE)
}

fn simple() -> Terms {
    Terms::simple(export())
}

fn structured() -> Terms {
    Terms { replies: Replies::Structured, contexts: Contexts::ALL, ..simple() }
}

fn extended() -> Terms {
    Terms { replies: Replies::Extended, contexts: Contexts::ALL, ..simple() }
}

fn fields(command: u16, flags: u16, offset: u64, len: u64, terms: &Terms) -> Fields {
    let payload = match terms.replies {
        Replies::Extended => command == WRITE || flags & PAYLOAD_LEN != 0,
        Replies::Simple | Replies::Structured => command == WRITE,
    };
    let payload = if payload { len } else { 0 };
    Fields { flags, command, ticket: Ticket { cookie: 7, offset }, len, payload }
}

fn ask(command: u16, flags: u16, offset: u64, len: u64) -> Result<Command, Errno> {
    ask_by(&simple(), command, flags, offset, len)
}

fn ask_of(
    export: &ExportInfo,
    command: u16,
    flags: u16,
    offset: u64,
    len: u64,
) -> Result<Command, Errno> {
    ask_by(&Terms::simple(export.clone()), command, flags, offset, len)
}

fn ask_by(
    terms: &Terms,
    command: u16,
    flags: u16,
    offset: u64,
    len: u64,
) -> Result<Command, Errno> {
    let fields = fields(command, flags, offset, len, terms);
    match judge(&fields, &[], terms).expect("not broken") {
        Header::Ready(Request { ticket, command }) => {
            assert_eq!(ticket, fields.ticket);
            Ok(command)
        }
        Header::Write { ticket, range, fua } => {
            assert_eq!(ticket, fields.ticket);
            Ok(Command::Write { range, data: Bytes::new(), fua })
        }
        Header::Refused { ticket, failure, payload } => {
            assert!(!failure.why.is_empty());
            assert_eq!((ticket, payload), (fields.ticket, fields.payload));
            Err(failure.errno)
        }
        other => panic!("{other:?}"),
    }
}

fn write(offset: u64, len: u64, fua: bool) -> Command {
    Command::Write { range: ByteRange::new(offset, len), data: Bytes::new(), fua }
}

fn zero(offset: u64, len: u64, unmap: bool, fua: bool) -> Command {
    Command::Zero { range: ByteRange::new(offset, len), unmap, fua, fast: false }
}

#[test]
fn commands_become_what_they_mean() {
    let range = ByteRange::new(4096, 512);
    assert_eq!(ask(READ, 0, 4096, 512), Ok(Command::Read(range)));
    assert_eq!(ask(WRITE, 0, 4096, 512), Ok(write(4096, 512, false)));
    assert_eq!(ask(WRITE, FUA, 4096, 512), Ok(write(4096, 512, true)));
    assert_eq!(ask(TRIM, 0, 4096, 512), Ok(zero(4096, 512, true, false)));
    assert_eq!(ask(TRIM, FUA, 4096, 512), Ok(zero(4096, 512, true, true)));
    assert_eq!(ask(WRITE_ZEROES, 0, 4096, 512), Ok(zero(4096, 512, true, false)));
    assert_eq!(ask(WRITE_ZEROES, NO_HOLE | FUA, 4096, 512), Ok(zero(4096, 512, false, true)));
    assert_eq!(ask(CACHE, 0, 4096, 512), Ok(Command::Cache(range)));
    assert_eq!(ask(FLUSH, 0, 0, 0), Ok(Command::Flush));
    assert_eq!(ask(FLUSH, 0, 99, 99), Ok(Command::Flush), "reserved fields are not looked at");
    let disconnect = fields(DISC, 0xffff, u64::MAX, 9, &simple());
    assert_eq!(judge(&disconnect, &[], &simple()), Ok(Header::Disconnect));
}

#[test]
fn fua_is_allowed_on_every_command() {
    for command in [READ, FLUSH, CACHE] {
        assert!(ask(command, FUA, 0, 512).is_ok(), "{}", command::name(command));
    }
}

#[test]
fn flags_that_were_not_agreed_are_invalid() {
    for command in [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES] {
        for flag in [DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN, 1 << 15] {
            let name = command::name(command);
            let is_agreed = command == WRITE_ZEROES && flag == FAST_ZERO;
            assert_eq!(ask(command, flag, 0, 512).is_ok(), is_agreed, "{name} 0x{flag:x}");
        }
        if command != WRITE_ZEROES {
            assert_eq!(ask(command, NO_HOLE, 0, 512), Err(Errno::Inval));
        }
    }
}

#[test]
fn commands_that_are_not_served_are_invalid() {
    for command in [command::BLOCK_STATUS, 8, 9, 255, u16::MAX] {
        assert_eq!(ask(command, 0, 0, 512), Err(Errno::Inval));
    }
}

#[test]
fn the_last_byte_is_in_and_the_next_is_out() {
    for (command, past_end) in [
        (READ, Errno::Inval),
        (TRIM, Errno::Inval),
        (CACHE, Errno::Inval),
        (WRITE, Errno::NoSpc),
        (WRITE_ZEROES, Errno::NoSpc),
    ] {
        let name = command::name(command);
        assert!(ask(command, 0, SIZE - 512, 512).is_ok(), "{name}");
        assert_eq!(ask(command, 0, SIZE - 512, 513), Err(past_end), "{name}");
        assert_eq!(ask(command, 0, SIZE, 1), Err(past_end), "{name}");
        assert!(ask(command, 0, SIZE, 0).is_ok(), "{name} of nothing at the end");
        assert_eq!(ask(command, 0, SIZE + 1, 0), Err(past_end), "{name}");
        assert_eq!(ask(command, 0, u64::MAX - 511, 512), Err(past_end), "{name}: wraps to 0");
        assert_eq!(ask(command, 0, u64::MAX, 4096), Err(past_end), "{name}: wraps to 4095");
    }
}

#[test]
fn payloads_are_limited_and_zeros_are_not() {
    const MAX: u64 = SERVED_MAX_BYTES;
    for command in [READ, WRITE] {
        assert!(ask(command, 0, 0, MAX).is_ok());
        assert_eq!(ask(command, 0, 0, MAX + 1), Err(Errno::Inval));
    }
    for terms in [structured(), extended()] {
        let told = u64::from(terms.export.max_payload);
        assert!(ask_by(&terms, READ, 0, 0, told).is_ok());
        assert_eq!(ask_by(&terms, READ, 0, 0, told + 1), Err(Errno::Inval), "one chunk");
    }
    let large = ExportInfo::new("r0/0", 1 << 40);
    for command in [TRIM, WRITE_ZEROES, CACHE] {
        assert!(
            ask_of(&large, command, 0, 0, u32::MAX.into()).is_ok(),
            "{}",
            command::name(command)
        );
        let whole = Terms { export: large.clone(), ..extended() };
        assert!(ask_by(&whole, command, 0, 0, 1 << 40).is_ok(), "{}", command::name(command));
    }
}

#[test]
fn a_refused_payload_is_drained_up_to_a_bound() {
    let at = |terms: &Terms, command, flags, len| {
        judge(&fields(command, flags, 0, len, terms), &[], terms)
    };
    let max = DRAIN_MAX_BYTES;
    let drained = at(&simple(), WRITE, 0, max);
    assert!(matches!(drained, Ok(Header::Refused { payload: DRAIN_MAX_BYTES, .. })));
    let broken = Err(BrokenRequest::Payload(max + 1, max));
    assert_eq!(at(&simple(), WRITE, 0, max + 1), broken);
    // No payload follows any other command, however long it says to be.
    let read = at(&simple(), READ, 0, u32::MAX.into());
    assert!(matches!(read, Ok(Header::Refused { payload: 0, .. })));
    // With extended headers any command may have one.
    let drained = at(&extended(), READ, PAYLOAD_LEN, 5000);
    assert!(matches!(drained, Ok(Header::Refused { payload: 5000, .. })));
    let max = SERVED_MAX_BYTES;
    for command in [READ, WRITE, command::BLOCK_STATUS, 77] {
        let broken = Err(BrokenRequest::Payload(max + 1, max));
        assert_eq!(at(&extended(), command, PAYLOAD_LEN, max + 1), broken);
    }
}

#[test]
fn a_write_has_a_payload_whether_it_says_so_or_not() {
    assert_eq!(ask_by(&extended(), WRITE, PAYLOAD_LEN | FUA, 0, 5), Ok(write(0, 5, true)));
    // As QEMU 10.0 sends it.
    assert_eq!(ask_by(&extended(), WRITE, 0, 0, 5), Ok(write(0, 5, false)));
    let wire =
        b"\x21\xe4\x1c\x71\0\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\x10\0";
    let (fields, _) = Fields::read(wire, Replies::Extended).unwrap().unwrap();
    assert_eq!((fields.len, fields.payload), (4096, 4096));
    assert_eq!(ask_by(&structured(), WRITE, PAYLOAD_LEN, 0, 5), Err(Errno::Inval));
}

#[test]
fn a_read_in_one_piece_can_be_asked_for_where_pieces_were_agreed_on() {
    let range = ByteRange::new(0, 512);
    assert_eq!(ask_by(&structured(), READ, DF, 0, 512), Ok(Command::Read(range)));
    assert_eq!(ask_by(&extended(), READ, DF, 0, 512), Ok(Command::Read(range)));
    assert_eq!(ask_by(&structured(), WRITE, DF, 0, 512), Err(Errno::Inval));
}

#[test]
fn zeros_may_have_to_be_fast() {
    let range = ByteRange::new(0, 512);
    let fast = Command::Zero { range, unmap: false, fua: false, fast: true };
    assert_eq!(ask(WRITE_ZEROES, FAST_ZERO | NO_HOLE, 0, 512), Ok(fast));
}

#[test]
fn a_status_is_told_in_the_contexts_that_were_selected() {
    let status = |one, contexts| Command::Status { range: ByteRange::new(512, 9), contexts, one };
    let asked = |terms: &Terms, flags| ask_by(terms, command::BLOCK_STATUS, flags, 512, 9);
    for terms in [structured(), extended()] {
        assert_eq!(asked(&terms, 0), Ok(status(false, Contexts::ALL)));
        assert_eq!(asked(&terms, REQ_ONE | FUA), Ok(status(true, Contexts::ALL)));
        assert_eq!(asked(&terms, DF), Err(Errno::Inval));
        let none = Terms { contexts: Contexts::default(), ..terms.clone() };
        assert_eq!(asked(&none, 0), Err(Errno::Inval));
        let past_end = ask_by(&terms, command::BLOCK_STATUS, 0, SIZE - 8, 9);
        assert_eq!(past_end, Err(Errno::Inval));
        let nothing = ask_by(&terms, command::BLOCK_STATUS, 0, 0, 0);
        assert_eq!(nothing, Err(Errno::Inval));
    }
    assert_eq!(asked(&structured(), PAYLOAD_LEN), Err(Errno::Inval));
}

#[test]
fn a_payload_of_a_status_names_contexts() {
    let ask = |terms: &Terms, payload: &[u8]| {
        let len = payload.len() as u64;
        let fields = fields(command::BLOCK_STATUS, PAYLOAD_LEN, 512, len, terms);
        assert_eq!(fields.filter_bytes(), payload.len());
        match judge(&fields, payload, terms).expect("not broken") {
            Header::Ready(Request { command, .. }) => Ok(command),
            Header::Refused { failure, payload: 0, .. } => Err(failure.errno),
            other => panic!("{other:?}"),
        }
    };
    let range = ByteRange::new(512, 1 << 20);
    let only = |context| Contexts::only(|known| known == context);
    let holes = Command::Status { range, contexts: only(Context::Allocation), one: false };
    let both = Command::Status { range, contexts: Contexts::ALL, one: false };
    let len = b"\0\0\0\0\0\x10\0\0";
    assert_eq!(ask(&extended(), &[len, &b"\0\0\0\x01"[..]].concat()), Ok(holes));
    assert_eq!(ask(&extended(), &[len, &b"\0\0\0\x02\0\0\0\x01"[..]].concat()), Ok(both));
    for wrong in [
        &b""[..],
        b"\0\0\0\0",
        len,
        &[len, &b"\0\0\0"[..]].concat(),
        &[len, &b"\0\0\0\x03"[..]].concat(),
        &[len, &b"\0\0\0\x01\0\0\0\x01"[..]].concat(),
        &[&[0; 8], &b"\0\0\0\x01"[..]].concat(),
        &[&[0xff; 8], &b"\0\0\0\x01"[..]].concat(),
    ] {
        assert_eq!(ask(&extended(), wrong), Err(Errno::Inval), "{wrong:?}");
    }
    let terms = Terms { contexts: only(Context::OutOfSync), ..extended() };
    let unselected = ask(&terms, &[len, &b"\0\0\0\x01"[..]].concat());
    assert_eq!(unselected, Err(Errno::Inval));
    // One that is too long to be any list of contexts is thrown away unread.
    let long = fields(command::BLOCK_STATUS, PAYLOAD_LEN, 0, 1000, &extended());
    assert_eq!(long.filter_bytes(), 0);
    let refused = judge(&long, &[], &extended());
    assert!(matches!(refused, Ok(Header::Refused { payload: 1000, .. })), "{refused:?}");
}

#[test]
fn a_read_only_export_is_read_only() {
    let export = ExportInfo { read_only: true, ..export() };
    for command in [WRITE, TRIM, WRITE_ZEROES] {
        assert_eq!(ask_of(&export, command, 0, 0, 512), Err(Errno::Perm));
        assert_eq!(ask_of(&export, command, 0, SIZE, 512), Err(Errno::Perm), "before the end");
        assert_eq!(ask_of(&export, command, DF, 0, 512), Err(Errno::Inval), "after the flags");
    }
    for command in [READ, FLUSH, CACHE] {
        assert!(ask_of(&export, command, 0, 0, 512).is_ok());
    }
}

#[test]
fn a_minimum_block_is_asked_of_offset_and_length() {
    let export = ExportInfo { min_block: 4096, ..export() };
    for command in [READ, WRITE, TRIM, WRITE_ZEROES] {
        assert!(ask_of(&export, command, 0, 4096, 8192).is_ok());
        assert_eq!(ask_of(&export, command, 0, 512, 4096), Err(Errno::Inval));
        assert_eq!(ask_of(&export, command, 0, 4096, 512), Err(Errno::Inval));
    }
    assert!(ask_of(&export, FLUSH, 0, 1, 1).is_ok());
}

#[test]
fn another_magic_is_broken() {
    let read = |magic: u32, replies| {
        let bytes = [&magic.to_be_bytes()[..], &[0; 28]].concat();
        Fields::read(&bytes, replies)
    };
    for replies in [Replies::Simple, Replies::Structured] {
        assert!(matches!(read(REQUEST_MAGIC, replies), Ok(Some((_, 28)))));
        let broken = BrokenRequest::Magic(0x2560_9514, REQUEST_MAGIC);
        assert_eq!(read(0x2560_9514, replies).unwrap_err(), broken);
        assert!(read(EXTENDED_REQUEST_MAGIC, replies).is_err(), "not agreed on");
    }
    assert!(matches!(read(EXTENDED_REQUEST_MAGIC, Replies::Extended), Ok(Some((_, 32)))));
    assert!(read(REQUEST_MAGIC, Replies::Extended).is_err());
}

#[test]
fn a_header_is_read_when_it_is_all_there() {
    let wire = b"\x21\xe4\x1c\x71\0\x21\0\x01abcdefgh\0\0\0\0\0\0\x10\0\0\0\0\x01\0\0\0\x05rest";
    for len in 0..32 {
        assert!(matches!(Fields::read(&wire[..len], Replies::Extended), Ok(None)), "{len}");
    }
    let (fields, len) = Fields::read(wire, Replies::Extended).unwrap().unwrap();
    assert_eq!((len, fields.command, fields.flags), (32, WRITE, FUA | PAYLOAD_LEN));
    assert_eq!((fields.len, fields.payload), (0x1_0000_0005, 0x1_0000_0005));
    let cookie = u64::from_be_bytes(*b"abcdefgh");
    assert_eq!(fields.ticket, Ticket { cookie, offset: 0x1000 });
}

#[test]
fn a_request_of_no_byte_says_so() {
    let request = |command| Request { ticket: Ticket { cookie: 0, offset: 0 }, command };
    assert!(request(Command::Read(ByteRange::new(5, 0))).is_empty());
    assert!(request(zero(5, 0, true, true)).is_empty());
    assert!(!request(zero(5, 1, true, true)).is_empty());
    assert!(!request(Command::Flush).is_empty());
}
