//! Options that are not known, too long, too many; ABORT, LIST, STARTTLS; and what is left of a
//! negotiation after errors.

use super::served;
use tests::conformance::run;
use tests::nbd_client::{ClientError, OptionReply, Style, Wire, name_and_requests};

const ABORT: u32 = 2;
const LIST: u32 = 3;
const PEEK_EXPORT: u32 = 4;
const STARTTLS: u32 = 5;
const INFO: u32 = 6;
const GO: u32 = 7;
/// The longest data that an option may have.
const DATA_MAX: usize = 64 << 10;
/// As many options are heard.
const OPTIONS_MAX: usize = 128;

fn kinds(replies: &[OptionReply]) -> Vec<u32> {
    replies.iter().map(|reply| reply.kind).collect()
}

/// Also PEEK_EXPORT, which was withdrawn. The data is skipped, whatever is in it.
/// [H7, O8, P9, P10, A3]
#[test]
fn unknown_options_are_unsupported_and_skipped() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        let like_an_option = b"IHAVEOPT\0\0\0\x02\0\0\0\0".to_vec();
        for option in [0, PEEK_EXPORT, 12, 0x7fff_ffff, u32::MAX] {
            for data in [vec![], vec![0], like_an_option.clone(), vec![0xff; DATA_MAX]] {
                let replies = handshake.ask(option, &data).await.unwrap();
                assert_eq!(kinds(&replies), [ClientError::UNSUP], "option {option}");
                assert!(!replies[0].data.is_empty(), "a text for people");
            }
        }
        handshake.go("r0").await.unwrap().flush().await.unwrap();
    });
}

/// CVE-2017-15119: nothing is read for nothing. The data need not even come.
/// [E4, X6]
#[test]
fn option_data_that_is_too_long_closes() {
    run(async {
        for option in [1, ABORT, LIST, STARTTLS, INFO, GO, 8, 9, 10, 11, 77] {
            for len in [DATA_MAX as u32 + 1, 1 << 31, u32::MAX] {
                let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
                wire.send_option(option, len, b"").await.unwrap();
                wire.closed().await.unwrap_or_else(|error| panic!("{option}, {len}: {error}"));
            }
        }
    });
}

/// A flood of options is a denial of service; LIST, which answers more than it asks, first.
/// [E5]
#[test]
fn too_many_options_close() {
    run(async {
        for option in [LIST, INFO, 77] {
            let mut handshake = served().negotiate().await.unwrap();
            let data = if option == INFO { name_and_requests("r0", &[1, 2, 3]) } else { vec![] };
            let mut heard = 0;
            for at in 0..OPTIONS_MAX {
                let replies = handshake.ask(option, &data).await;
                let replies = replies.unwrap_or_else(|error| panic!("option {at}: {error}"));
                heard += replies.iter().map(|reply| 20 + reply.data.len()).sum::<usize>();
            }
            // All that one connection can have the server say.
            assert!(heard < 64 << 10, "{heard} bytes for option {option}");
            let error = handshake.ask(option, &data).await.unwrap_err();
            assert!(error.is_connection_lost(), "{error:?}");
        }
    });
}

/// Every error there is, one after the other on one connection, and then GO.
/// [H11, E3]
#[test]
fn errors_leave_the_negotiation_in_step() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        let lying = b"\xff\xff\xff\xffr0\0\0".to_vec();
        let cases = [
            (LIST, b"data".to_vec(), ClientError::INVALID),
            (INFO, lying.clone(), ClientError::INVALID),
            (GO, lying.clone(), ClientError::INVALID),
            (GO, name_and_requests("nobody", &[]), ClientError::UNKNOWN),
            (9, lying.clone(), ClientError::INVALID),
            (10, lying, ClientError::INVALID),
            (8, b"data".to_vec(), ClientError::INVALID),
            (11, b"data".to_vec(), ClientError::INVALID),
            (PEEK_EXPORT, b"r0".to_vec(), ClientError::UNSUP),
        ];
        for (option, data, kind) in cases {
            let replies = handshake.ask(option, &data).await.unwrap();
            assert_eq!(kinds(&replies), [kind], "option {option} {data:?}");
        }
        handshake.go("r0").await.unwrap().read(0, 1).await.unwrap();
    });
}

/// With data or without: it is acknowledged, and the server hangs up.
/// [H12, O3, O4, P1, A4]
#[test]
fn abort_is_acknowledged_and_ends_the_session() {
    run(async {
        served().negotiate().await.unwrap().abort().await.unwrap();
        for data in [&b""[..], b"ignored"] {
            let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
            wire.send_option(ABORT, data.len() as u32, data).await.unwrap();
            assert_eq!(wire.option_reply(ABORT).await.unwrap(), (1, vec![]));
            wire.closed().await.unwrap();
        }
    });
}

/// The client need not wait for the answer.
/// [E8, O5]
#[test]
fn a_client_may_leave_right_behind_its_abort() {
    run(async {
        for _ in 0..20 {
            let mut wire = Wire::greeted(&served().tcp(), 3).await.unwrap();
            wire.send_option(ABORT, 0, b"").await.unwrap();
        }
        served().lives().await.unwrap();
    });
}

/// By its canonical name only, with a description.
/// [C1, O6, P2, P6, A4]
#[test]
fn list_names_each_volume_once() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        let listed = handshake.list().await.unwrap();
        let names: Vec<&str> = listed.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["r0/0"]);
        let info = handshake.info("r0/0").await.unwrap();
        assert_eq!(listed[0].1, info.description, "the same as INFO says");
    });
}

/// And the next option is understood.
/// [O7]
#[test]
fn list_with_data_is_invalid() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        for data in [&b"\0"[..], b"\0\0\0\x02r0", &[b'x'; DATA_MAX]] {
            let replies = handshake.ask(LIST, data).await.unwrap();
            assert_eq!(kinds(&replies), [ClientError::INVALID]);
        }
        assert_eq!(handshake.list().await.unwrap().len(), 1);
    });
}

/// A listener without TLS never says that TLS is needed, and goes on without it.
/// [L1, L4, L5, O9, A6]
#[test]
fn starttls_without_tls_is_refused() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        for data in [&b""[..], b"data"] {
            let replies = handshake.ask(STARTTLS, data).await.unwrap();
            let kind = replies[0].kind;
            let allowed = [ClientError::UNSUP, ClientError::POLICY, ClientError::INVALID];
            assert!(replies.len() == 1 && allowed.contains(&kind), "0x{kind:x}");
            assert!(kind != ClientError::INVALID || !data.is_empty());
        }
        assert_eq!(handshake.list().await.unwrap().len(), 1);
        handshake.go("r0").await.unwrap().flush().await.unwrap();
    });
}

/// Nothing that is said without TLS speaks of it.
/// [L2, L5]
#[test]
fn nothing_asks_for_tls_where_there_is_none() {
    run(async {
        for option in (0..16).filter(|option| ![1, ABORT, GO].contains(option)) {
            let mut handshake = served().negotiate().await.unwrap();
            let replies = handshake.ask(option, &name_and_requests("r0", &[])).await.unwrap();
            assert!(!kinds(&replies).contains(&ClientError::TLS_REQD), "option {option}");
        }
    });
}

/// An option that ends the session or changes nothing may be said again.
/// [H14]
#[test]
fn an_option_may_be_said_again() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        for _ in 0..2 {
            handshake.structured_replies().await.unwrap();
            handshake.list().await.unwrap();
            handshake.info("r0").await.unwrap();
        }
        drop(handshake);
        served().client(Style::Structured).await.unwrap().read(0, 10).await.unwrap();
    });
}
