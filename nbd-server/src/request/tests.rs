use super::*;
use command::{CACHE, DISC, FLUSH, READ, TRIM, WRITE, WRITE_ZEROES};

const FUA: u16 = command_flag::FUA;
const NO_HOLE: u16 = command_flag::NO_HOLE;
const DF: u16 = 1 << 2;
const REQ_ONE: u16 = 1 << 3;
const FAST_ZERO: u16 = 1 << 4;
const SIZE: u64 = 1 << 30;
const MAX: u32 = 32 << 20;

fn export() -> ExportInfo {
    ExportInfo::new("r0/0", SIZE)
}

fn header(command: u16, flags: u16, offset: u64, len: u32) -> RequestHeader {
    RequestHeader {
        magic: REQUEST_MAGIC.into(),
        flags: flags.into(),
        command: command.into(),
        cookie: 7.into(),
        offset: offset.into(),
        len: len.into(),
    }
}

fn ask(command: u16, flags: u16, offset: u64, len: u32) -> Result<Command, Errno> {
    ask_of(&export(), command, flags, offset, len)
}

fn ask_of(
    export: &ExportInfo,
    command: u16,
    flags: u16,
    offset: u64,
    len: u32,
) -> Result<Command, Errno> {
    let header = parse(&header(command, flags, offset, len), export).expect("not broken");
    match header {
        Header::Ready(Request { cookie: 7, command }) => Ok(command),
        Header::Write { cookie: 7, range, fua } => {
            Ok(Command::Write { range, data: Bytes::new(), fua })
        }
        Header::Refused { cookie: 7, errno, why, payload } => {
            assert!(!why.is_empty());
            assert_eq!(payload, if command == WRITE { len } else { 0 });
            Err(errno)
        }
        other => panic!("{other:?}"),
    }
}

fn write(offset: u64, len: u64, fua: bool) -> Command {
    Command::Write { range: ByteRange::new(offset, len), data: Bytes::new(), fua }
}

fn zero(offset: u64, len: u64, unmap: bool, fua: bool) -> Command {
    Command::Zero { range: ByteRange::new(offset, len), unmap, fua }
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
    let disconnect = parse(&header(DISC, 0xffff, u64::MAX, 9), &export());
    assert_eq!(disconnect, Ok(Header::Disconnect));
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
        for flag in [DF, REQ_ONE, FAST_ZERO, 1 << 5, 1 << 15] {
            let name = command::name(command);
            assert_eq!(ask(command, flag, 0, 512), Err(Errno::Inval), "{name} 0x{flag:x}");
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
    assert!(ask(READ, 0, 0, MAX).is_ok());
    assert_eq!(ask(READ, 0, 0, MAX + 1), Err(Errno::Inval));
    assert!(ask(WRITE, 0, 0, MAX).is_ok());
    assert_eq!(ask(WRITE, 0, 0, MAX + 1), Err(Errno::Inval));
    let large = ExportInfo::new("r0/0", 1 << 40);
    for command in [TRIM, WRITE_ZEROES, CACHE] {
        assert!(ask_of(&large, command, 0, 0, u32::MAX).is_ok(), "{}", command::name(command));
    }
}

#[test]
fn a_refused_payload_is_drained_up_to_a_bound() {
    let at = |len| parse(&header(WRITE, 0, 0, len), &export());
    assert!(
        matches!(at(DRAIN_MAX_BYTES), Ok(Header::Refused { payload: DRAIN_MAX_BYTES, .. })),
        "thrown away"
    );
    assert_eq!(at(DRAIN_MAX_BYTES + 1), Err(BrokenRequest::Payload(DRAIN_MAX_BYTES + 1)));
    assert_eq!(at(u32::MAX), Err(BrokenRequest::Payload(u32::MAX)));
    // No payload follows any other command, however long it says to be.
    let read = parse(&header(READ, 0, 0, u32::MAX), &export());
    assert!(matches!(read, Ok(Header::Refused { payload: 0, .. })));
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
    let mut strange = header(READ, 0, 0, 512);
    strange.magic = 0x2560_9514.into();
    assert_eq!(parse(&strange, &export()), Err(BrokenRequest::Magic(0x2560_9514)));
    // The magic of extended headers, which were not agreed.
    strange.magic = 0x21e4_1c71.into();
    assert!(parse(&strange, &export()).is_err());
}

#[test]
fn a_request_of_no_byte_says_so() {
    let request = |command| Request { cookie: 0, command };
    assert!(request(Command::Read(ByteRange::new(5, 0))).is_empty());
    assert!(request(zero(5, 0, true, true)).is_empty());
    assert!(!request(zero(5, 1, true, true)).is_empty());
    assert!(!request(Command::Flush).is_empty());
}
