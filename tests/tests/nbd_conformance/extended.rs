//! The extension of extended headers. (The client checks each header: its magic, that the offset
//! is the request's, that nothing compact is among them.)

use super::limits::open;
use super::*;
use tests::conformance::{agree, run};
use tests::nbd_client::{ClientError, FLAG_NO_HOLE, FLAG_PAYLOAD_LEN, Operation, Style, Wire};

const EXPORT_NAME: u32 = 1;
const STRUCTURED_REPLY: u32 = 8;
const EXTENDED_HEADERS: u32 = 11;

/// Before structured replies, behind them, or without them.
/// [V2, V3]
#[test]
fn extended_headers_may_be_agreed_on_first_or_later() {
    run(async {
        for structured_first in [false, true] {
            let mut handshake = served().negotiate().await.unwrap();
            if structured_first {
                handshake.structured_replies().await.unwrap();
            }
            handshake.extended_headers().await.unwrap();
            handshake.info("r0").await.unwrap();
            let mut client = handshake.go("r0").await.unwrap();
            client.read(0, 4096).await.unwrap();
            client.flush().await.unwrap();
        }
    });
}

/// There is no way back to structured replies, and none to say it twice; what was agreed on stays.
/// [H14, V6]
#[test]
fn extended_headers_cannot_be_agreed_on_twice_or_undone() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        handshake.extended_headers().await.unwrap();
        let replies = handshake.ask(EXTENDED_HEADERS, b"").await.unwrap();
        assert_eq!(replies[0].kind, ClientError::INVALID);
        for data in [&b""[..], b"data"] {
            let replies = handshake.ask(STRUCTURED_REPLY, data).await.unwrap();
            let kind = replies[0].kind;
            assert!(kind == ClientError::EXT_HEADER_REQD || !data.is_empty(), "0x{kind:x}");
            assert_ne!(kind, 1);
        }
        let mut client = handshake.go("r0").await.unwrap();
        client.read(0, 4096).await.unwrap();
    });
}

/// A client that has agreed on them must not use it, and it cannot report that.
/// [E1, V7]
#[test]
fn export_name_after_extended_headers_closes() {
    run(async {
        let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
        wire.send_option(EXTENDED_HEADERS, 0, b"").await.unwrap();
        assert_eq!(wire.option_reply(EXTENDED_HEADERS).await.unwrap(), (1, vec![]));
        wire.send_option(EXPORT_NAME, 2, b"r0").await.unwrap();
        wire.closed().await.unwrap();
    });
}

/// Nobody has to use them.
/// [V24]
#[test]
fn compact_headers_are_served_as_well() {
    run(async {
        for style in [Style::Simple, Style::Structured] {
            let mut handshake = served().negotiate().await.unwrap();
            agree(&mut handshake, style).await.unwrap();
            handshake.go("r0").await.unwrap().read(0, 512).await.unwrap();
        }
    });
}

/// More than 32 bits can say: it is one request.
/// [Z14, V12]
#[test]
fn effects_of_more_than_four_gibibytes_are_done() {
    run(async {
        // Another daemon: this takes all of its disk.
        let served = Served::primary(5 << 30).unwrap();
        let mut client = served.client(Style::Extended).await.unwrap();
        let size = client.export().size;
        assert!(size > 1 << 32);
        let marks = [0, (1 << 32) - 3, size - 5];
        for (command, flags) in [(TRIM, 0), (WRITE_ZEROES, 0), (CACHE, 0)] {
            for mark in marks {
                client.write(mark, b"marks", false).await.unwrap();
            }
            // All but the first byte and the last.
            let operation = Operation::raw(command, flags, 1, size - 2);
            let got = errno(&mut client, operation).await;
            let done = command != CACHE;
            assert!(got.is_none() || (!done && [EINVAL, EOVERFLOW].contains(&got.unwrap())));
            let expected: [&[u8]; 3] = match done {
                true => [b"m\0\0\0\0", b"\0\0\0\0\0", b"\0\0\0\0s"],
                false => [b"marks"; 3],
            };
            for (mark, expected) in marks.into_iter().zip(expected) {
                let read = client.read(mark, 5).await.unwrap();
                assert_eq!(read, expected, "command {command} at {mark}");
            }
        }
        client.disconnect().await.unwrap();
        served.cluster.finish().unwrap();
    });
}

/// 64-bit lengths whose sums go around, and those that do not fit a payload.
/// [Z16, N4, N6, V13, V25, X12]
#[test]
fn lengths_near_the_end_of_all_numbers_get_their_errors() {
    run(async {
        let mut client = client_with_status(Style::Extended).await;
        let size = client.export().size;
        for command in [READ, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
            let past = if command == WRITE_ZEROES { ENOSPC } else { EINVAL };
            for (offset, len) in [
                (0, size + 1),
                (1, size),
                (0, 1 << 63),
                (0, u64::MAX),
                (1, u64::MAX),
                (512, u64::MAX - 511),
                (size, u64::MAX - size + 1),
                (u64::MAX, u64::MAX),
                (1 << 63, 1 << 63),
                (size - 1, 1 << 32 | 1),
            ] {
                let got = errno(&mut client, Operation::raw(command, 0, offset, len)).await;
                assert_eq!(got, Some(past), "{command} {offset}+{len}");
            }
        }
        // A READ of more than 32 bits of length that lies within the export.
        let got = errno(&mut client, Operation::raw(READ, 0, 0, 1 << 32 | 512)).await;
        assert!([Some(EINVAL), Some(EOVERFLOW)].contains(&got), "{got:?}");
        client.read(size - 1, 1).await.unwrap();
    });
}

/// Commands that take none: it is skipped, EINVAL, and the next request is understood.
/// [V9, V22]
#[test]
fn a_payload_where_none_belongs_is_skipped() {
    run(async {
        let mut client = client_with_status(Style::Extended).await;
        let area = served().area(1 << 20);
        client.write(area, b"before", false).await.unwrap();
        for command in [READ, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, 99] {
            for len in [1, 31, 32, 4096, 1 << 20] {
                // It looks like requests.
                let payload = b"\x21\xe4\x1c\x71".iter().copied().cycle().take(len).collect();
                let (offset, len) = (area, len as u64);
                let flags = FLAG_PAYLOAD_LEN;
                let operation = Operation::Raw { command, flags, offset, len, payload };
                assert_eq!(errno(&mut client, operation).await, Some(EINVAL), "{command} {len}");
            }
        }
        assert_eq!(client.read(area, 6).await.unwrap(), &b"before"[..]);
    });
}

/// Far over the limit, a payload is not read, whatever it belongs to.
/// [D2, X1]
#[test]
fn a_payload_far_over_the_limit_closes() {
    run(async {
        for command in [READ, WRITE, TRIM, BLOCK_STATUS, 99] {
            for len in [(128 << 20) + 1, 1 << 32, 1 << 63, u64::MAX] {
                let mut client = client_with_status(Style::Extended).await;
                client.submit(Operation::raw(command, FLAG_PAYLOAD_LEN, 0, len));
                let error = client.reply().await.unwrap_err();
                assert!(error.is_connection_lost(), "{command} {len}: {error}");
            }
        }
        served().lives().await.unwrap();
    });
}

/// The flag must be there. QEMU 10.0 leaves it out and sends the payload all the same, so it is
/// taken; whatever else is wrong, the payload is skipped.
/// [V10]
#[test]
fn a_write_without_the_payload_flag_has_its_payload() {
    run(async {
        let mut client = served().client(Style::Extended).await.unwrap();
        let area = served().area(1 << 20);
        let write = |flags, offset| {
            let payload = b"payload".to_vec().into();
            Operation::Raw { command: WRITE, flags, offset, len: 7, payload }
        };
        assert_eq!(errno(&mut client, write(0, area)).await, None);
        assert_eq!(client.read(area, 7).await.unwrap(), &b"payload"[..]);
        assert_eq!(errno(&mut client, write(FLAG_NO_HOLE, area + 7)).await, Some(EINVAL));
        let size = client.export().size;
        assert_eq!(errno(&mut client, write(0, size)).await, Some(ENOSPC));
        assert_eq!(client.read(area, 14).await.unwrap(), &b"payload\0\0\0\0\0\0\0"[..]);
    });
}

/// Byte by byte: 32 bytes of header, the request's offset, a length of 64 bits.
/// [V4, V5]
#[test]
fn extended_replies_are_laid_out_as_the_extension_says() {
    run(async {
        let area = served().area(1 << 20);
        let offset = (area + 512).to_be_bytes();
        let mut wire = open(Style::Extended).await;
        let request = |flags: u16, command: u16, len: u64| {
            let head = [flags.to_be_bytes(), command.to_be_bytes()].concat();
            [b"\x21\xe4\x1c\x71", &head[..], b"cookie01", &offset, &len.to_be_bytes()].concat()
        };
        wire.send(&[request(0x20, WRITE, 4), b"abcd".to_vec()].concat()).await.unwrap();
        let header = [b"\x6e\x8a\x27\x8c\0\x01\0\0cookie01", &offset[..], &[0; 8]].concat();
        assert_eq!(wire.receive(32).await.unwrap(), header);
        wire.send(&request(0, READ, 4)).await.unwrap();
        let len = 12_u64.to_be_bytes();
        let header = [b"\x6e\x8a\x27\x8c\0\x01\0\x01cookie01", &offset[..], &len].concat();
        assert_eq!(wire.receive(32).await.unwrap(), header);
        assert_eq!(wire.receive(12).await.unwrap(), [&offset[..], b"abcd"].concat());
        wire.send(&request(0, DISC, 0)).await.unwrap();
        wire.closed().await.unwrap();
    });
}
