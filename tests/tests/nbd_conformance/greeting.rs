//! The first bytes of both sides, and EXPORT_NAME, which is as old.

use super::served;
use tests::conformance::run;
use tests::nbd_client::{Client, Handshake, Style, Wire, name_and_requests};

const EXPORT_NAME: u32 = 1;
const LIST: u32 = 3;
const GO: u32 = 7;

/// On every listener.
/// [H2, H4, F1, F3, A1]
#[test]
fn the_greeting_is_fixed_newstyle() {
    run(async {
        for address in [served().unix(), served().tcp()] {
            let mut wire = Wire::connect(&address).await.unwrap();
            assert_eq!(wire.receive(18).await.unwrap(), *b"NBDMAGICIHAVEOPT\0\x03");
        }
    });
}

/// Each bit alone, and all together.
/// [H5, F7]
#[test]
fn client_flags_that_are_not_known_close() {
    run(async {
        let strange = (2..32).map(|bit| 1_u32 << bit | 3).chain([u32::MAX, !3]);
        for flags in strange {
            let mut wire = Wire::greeted(&served().unix(), flags).await.unwrap();
            wire.closed().await.unwrap_or_else(|error| panic!("flags {flags:x}: {error}"));
        }
        for flags in [0, 1, 2, 3] {
            let handshake = Handshake::connect_with(&served().unix(), flags).await.unwrap();
            let mut client = handshake.export_name("r0").await.unwrap();
            client.read(0, 1).await.unwrap();
        }
    });
}

/// Without FIXED_NEWSTYLE a client takes no reply to an option, so there is none.
/// [H10, L3, F4, F6]
#[test]
fn without_fixed_newstyle_only_export_name_is_heard() {
    run(async {
        for flags in [0, 2] {
            for option in [2, 3, 5, 6, 7, 8, 9, 10, 11, 99] {
                let mut wire = Wire::greeted(&served().unix(), flags).await.unwrap();
                wire.send_option(option, 0, b"").await.unwrap();
                wire.closed().await.unwrap_or_else(|error| panic!("option {option}: {error}"));
            }
        }
    });
}

/// Size and flags, and what INFO says is the same.
/// [H8, F2, F4]
#[test]
fn export_name_gives_size_flags_and_zeros() {
    run(async {
        let info = served().negotiate().await.unwrap().info("r0").await.unwrap();
        let said = [&info.size.to_be_bytes()[..], &info.flags.to_be_bytes()].concat();
        for (flags, zeros) in [(0, 124), (1, 124), (2, 0), (3, 0)] {
            let mut wire = Wire::greeted(&served().unix(), flags).await.unwrap();
            wire.send_option(EXPORT_NAME, 2, b"r0").await.unwrap();
            assert_eq!(wire.receive(10).await.unwrap(), said, "flags {flags}");
            assert_eq!(wire.receive(zeros).await.unwrap(), vec![0; zeros]);
            // Nothing comes between them and the first reply.
            wire.send(b"\x25\x60\x95\x13\0\0\0\x03cookie00\0\0\0\0\0\0\0\0\0\0\0\0").await.unwrap();
            let reply = wire.receive(16).await.unwrap();
            assert_eq!(reply, *b"\x67\x44\x66\x98\0\0\0\0cookie00", "flags {flags}");
        }
    });
}

/// It cannot report an error: the server hangs up without a byte.
/// [C2, C3, C4, H9, E2, O1]
#[test]
fn export_name_that_cannot_be_satisfied_closes() {
    run(async {
        let long = "x".repeat(4097);
        for name in [b"r1", &b"r0/1"[..], b"r0\0", b"\xff\xfe", b"R0", long.as_bytes()] {
            let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
            wire.send_option(EXPORT_NAME, name.len() as u32, name).await.unwrap();
            wire.closed().await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        }
    });
}

/// What does not begin as an option is none.
/// [H6, E1]
#[test]
fn an_option_with_another_magic_closes() {
    run(async {
        for magic in [b"IHAVEOPX", b"NBDMAGIC", &[0; 8], b"\0\x03\xe8\x89\x04\x55\x65\xa9"] {
            let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
            wire.send(&[&magic[..], b"\0\0\0\x03\0\0\0\0"].concat()).await.unwrap();
            wire.closed().await.unwrap_or_else(|error| panic!("{magic:?}: {error}"));
        }
    });
}

/// A whole negotiation and the first requests, as a client sends them.
fn session() -> Vec<u8> {
    let option = |number: u32, data: &[u8]| {
        let len = data.len() as u32;
        [&b"IHAVEOPT"[..], &number.to_be_bytes(), &len.to_be_bytes(), data].concat()
    };
    let mut session = vec![0, 0, 0, 3];
    session.extend(option(8, b""));
    session.extend(option(LIST, b""));
    session.extend(option(GO, &name_and_requests("r0/0", &[1, 2, 3])));
    session.extend(b"\x25\x60\x95\x13\0\0\0\0cookie00\0\0\0\0\0\0\0\0\0\0\x20\0");
    session.extend(b"\x25\x60\x95\x13\0\0\0\x01cookie01\0\0\0\0\0\0\0\0\0\0\0\x02ab");
    session
}

/// CVE-2011-1925, CVE-2013-7441, CVE-2017-9524 and others: servers that die with a client that
/// leaves. After each byte, in order and by force, reading or not.
/// [E8, X2]
#[test]
fn a_client_may_vanish_after_each_byte_of_the_session() {
    run(async {
        // Where the WRITE goes is nobody else's.
        let session = session();
        let begin = session.len() - 14;
        let area = served().area(1).to_be_bytes();
        let session = [&session[..begin], &area, &session[begin + 8..]].concat();
        for len in 0..=session.len() {
            for half in [false, true] {
                let mut wire = Wire::connect(&served().unix()).await.unwrap();
                wire.send(&session[..len]).await.unwrap();
                if half {
                    wire.shut_down().await.unwrap();
                    wire.rest().await.unwrap();
                }
            }
        }
        served().lives().await.unwrap();
    });
}

/// Segments may break anywhere.
/// [H13]
#[test]
fn a_client_may_send_byte_by_byte() {
    run(async {
        let mut wire = Wire::connect(&served().tcp()).await.unwrap();
        let session = session();
        let len = session.len() - 30;
        for byte in &session[..len] {
            wire.send(&[*byte]).await.unwrap();
        }
        wire.receive(18).await.unwrap();
        assert_eq!(wire.option_reply(8).await.unwrap(), (1, vec![]));
        for (option, replies) in [(LIST, 2), (GO, 5)] {
            for _ in 1..replies {
                assert!(matches!(wire.option_reply(option).await.unwrap().0, 2 | 3));
            }
            assert_eq!(wire.option_reply(option).await.unwrap(), (1, vec![]));
        }
        let header = b"\x66\x8e\x33\xef\0\x01\0\x01cookie00\0\0\x20\x08";
        assert_eq!(wire.receive(20).await.unwrap(), *header);
        wire.receive(0x2008).await.unwrap();
    });
}

/// CVE-2024-7409: who connects and does not negotiate holds nothing for long, and hinders nobody.
/// [E6, X8]
#[test]
fn clients_that_say_nothing_hinder_nobody_and_are_let_go() {
    run(async {
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(Wire::connect(&served().tcp()).await.unwrap());
        }
        let mut half = Wire::greeted(&served().tcp(), 3).await.unwrap();
        half.send(b"IHAVE").await.unwrap();
        silent.push(half);
        served().lives().await.unwrap();
        let mut client = Client::connect(&served().tcp(), "r0").await.unwrap();
        client.read(0, 4096).await.unwrap();
        for wire in &mut silent {
            wire.rest().await.unwrap();
        }
        // One that has negotiated stays.
        client.read(0, 4096).await.unwrap();
    });
}

/// The flags of the greeting are an offer: without NO_ZEROES from the client there are zeros, and
/// whatever was agreed on later, GO has none.
/// [O19]
#[test]
fn go_has_no_zeros_behind_it() {
    run(async {
        for flags in [1, 3] {
            let handshake = Handshake::connect_with(&served().unix(), flags).await.unwrap();
            let mut client = handshake.go("r0").await.map_err(|(error, _)| error).unwrap();
            client.flush().await.unwrap();
            client.disconnect().await.unwrap();
        }
        let mut client = served().client(Style::Simple).await.unwrap();
        client.flush().await.unwrap();
    });
}
