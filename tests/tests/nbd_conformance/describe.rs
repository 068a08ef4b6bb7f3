//! What INFO and GO say of an export.

use super::{STYLES, served};
use tests::conformance::{agree, run};
use tests::nbd_client::{ClientError, Style, Wire, name_and_requests};

const INFO: u32 = 6;
const GO: u32 = 7;
const HAS_FLAGS: u16 = 1 << 0;
const READ_ONLY: u16 = 1 << 1;
const SEND_FLUSH: u16 = 1 << 2;
const SEND_FUA: u16 = 1 << 3;
const SEND_TRIM: u16 = 1 << 5;
const SEND_WRITE_ZEROES: u16 = 1 << 6;
const SEND_DF: u16 = 1 << 7;
const CAN_MULTI_CONN: u16 = 1 << 8;
const SEND_CACHE: u16 = 1 << 10;
const SEND_FAST_ZERO: u16 = 1 << 11;

/// As the Linux client does: it asks for nothing, and gets what it needs.
/// [Z5, O13, O14, O16, P4, A2, A7]
#[test]
fn without_requests_size_and_flags_are_told() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        let info = handshake.info_with("r0", &[]).await.unwrap();
        assert_eq!(info.kinds, [0], "nothing that was not asked for");
        assert!(info.size > 0);
        let mut client = handshake.go_with("r0", &[]).await.unwrap();
        assert_eq!(client.export(), &info);
        client.read(0, 512).await.unwrap();
    });
}

/// Each of them alone, and all together.
/// [O12, O14, P3, P6]
#[test]
fn what_is_asked_for_is_told_once() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        for requests in [&[0][..], &[1], &[2], &[3], &[3, 1], &[3, 2, 1, 0]] {
            let info = handshake.info_with("r0", requests).await.unwrap();
            let mut told = info.kinds.clone();
            told.sort_unstable();
            let mut wanted: Vec<u16> = requests.iter().copied().chain([0]).collect();
            wanted.sort_unstable();
            wanted.dedup();
            assert_eq!(told, wanted, "the answer to {requests:?}");
        }
        let info = handshake.info("r0").await.unwrap();
        assert_eq!(info.name, "r0/0");
        assert!(info.description.contains("Primary"), "{:?}", info.description);
    });
}

/// What a client of tomorrow asks, and what a careless one asks twice.
/// [O11, P3]
#[test]
fn requests_that_are_not_known_are_ignored() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        let all: Vec<u16> = (0..=u16::MAX).step_by(3).collect();
        for requests in [&[4][..], &[0xffff, 3, 77], &[3, 3, 3, 0, 0], &all] {
            let info = handshake.info_with("r0", requests).await.unwrap();
            assert!(info.kinds.len() <= 4, "{:?}", info.kinds);
            assert_eq!(info.kinds.contains(&3), requests.contains(&3));
        }
        let mut client = handshake.go_with("r0", &all).await.unwrap();
        client.read(0, 512).await.unwrap();
    });
}

/// With each kind of replies.
/// [O17]
#[test]
fn info_and_go_say_the_same() {
    run(async {
        for style in STYLES {
            for requests in [&[][..], &[3], &[1, 2, 3]] {
                let mut handshake = served().negotiate().await.unwrap();
                agree(&mut handshake, style).await.unwrap();
                let info = handshake.info_with("r0", requests).await.unwrap();
                let client = handshake.go_with("r0", requests).await.unwrap();
                assert_eq!(client.export(), &info, "{style:?} {requests:?}");
            }
        }
    });
}

/// Single bytes, whole blocks, 32 MiB. (The rules of the numbers are checked with each reply.)
/// [Z1, Z3, Z7, Z8, Z9, Z11, Z17, P7]
#[test]
fn block_sizes_are_the_defaults_of_the_specification() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        let info = handshake.info_with("r0", &[3]).await.unwrap();
        let [min, preferred, max] = info.block_size.unwrap();
        assert_eq!((min, preferred), (1, 4096));
        assert!(max >= 32 << 20, "{max}");
        assert_eq!(info.size % u64::from(preferred), 0);
        assert!(info.size < 1 << 63);
    });
}

/// What is offered works: see the tests of each command.
/// [F8, F10, F11, F13, F14, F17, F18, O23]
#[test]
fn the_flags_say_what_the_export_can_do() {
    run(async {
        let always = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES;
        let always = always | CAN_MULTI_CONN | SEND_CACHE;
        for style in STYLES {
            let client = served().client(style).await.unwrap();
            let flags = client.export().flags;
            assert_eq!(flags & always, always, "{style:?}: 0x{flags:x}");
            assert_eq!(flags & READ_ONLY, 0);
            assert_eq!(flags & SEND_DF != 0, style != Style::Simple, "{style:?}: 0x{flags:x}");
            assert_ne!(flags & SEND_FAST_ZERO, 0, "{style:?}: 0x{flags:x}");
        }
        // Whether or not replies in chunks are agreed on before INFO, it says what GO will.
        let mut handshake = served().negotiate().await.unwrap();
        assert_eq!(handshake.info("r0").await.unwrap().flags & SEND_DF, 0);
        handshake.structured_replies().await.unwrap();
        assert_ne!(handshake.info("r0").await.unwrap().flags & SEND_DF, 0);
        // EXPORT_NAME says the same as GO.
        let flags = handshake.info("r0").await.unwrap().flags;
        let client = handshake.export_name("r0").await.unwrap();
        assert_eq!(client.export().flags, flags);
    });
}

/// The negotiation goes on, and nothing is left of the attempt.
/// [E3, O20]
#[test]
fn a_go_that_is_refused_leaves_the_negotiation() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        for _ in 0..3 {
            let Err((error, back)) = handshake.go("r1").await else { panic!("no such export") };
            assert_eq!(error.refused_with(), Some(ClientError::UNKNOWN));
            handshake = back;
            assert_eq!(handshake.list().await.unwrap().len(), 1);
        }
        let mut client = handshake.go("r0").await.unwrap();
        client.read(0, 1).await.unwrap();
    });
}

/// Requests may lie in the same segment as the option before them: a client may send its first
/// one with its GO only at its own risk, but the bytes are not lost.
/// [O18, O19]
#[test]
fn what_follows_go_belongs_to_the_transmission() {
    run(async {
        for address in [served().unix(), served().tcp()] {
            let mut wire = Wire::greeted(&address, 3).await.unwrap();
            let data = name_and_requests("r0", &[]);
            let len = (data.len() as u32).to_be_bytes();
            let go = [&b"IHAVEOPT"[..], &GO.to_be_bytes(), &len, &data].concat();
            let flush = b"\x25\x60\x95\x13\0\0\0\x03cookie00\0\0\0\0\0\0\0\0\0\0\0\0";
            wire.send(&[&go[..], flush].concat()).await.unwrap();
            assert_eq!(wire.option_reply(GO).await.unwrap().0, 3);
            assert_eq!(wire.option_reply(GO).await.unwrap(), (1, vec![]));
            assert_eq!(wire.receive(16).await.unwrap(), *b"\x67\x44\x66\x98\0\0\0\0cookie00");
        }
    });
}

/// An INFO is not a GO: the server still listens to options, and nobody has the device.
/// [O18, X9]
#[test]
fn info_opens_nothing() {
    run(async {
        let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
        let data = name_and_requests("r0", &[]);
        wire.send_option(INFO, data.len() as u32, &data).await.unwrap();
        assert_eq!(wire.option_reply(INFO).await.unwrap().0, 3);
        assert_eq!(wire.option_reply(INFO).await.unwrap(), (1, vec![]));
        wire.send(b"\x25\x60\x95\x13\0\0\0\x03cookie00\0\0\0\0\0\0\0\0\0\0\0\0").await.unwrap();
        wire.closed().await.unwrap();
    });
}
