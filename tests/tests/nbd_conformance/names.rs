//! Names of exports, as every option that has one takes them.

use super::served;
use tests::conformance::run;
use tests::nbd_client::{ClientError, Handshake, name_and_requests, name_and_strings};

const INFO: u32 = 6;
const GO: u32 = 7;
const LIST_META_CONTEXT: u32 = 9;
const SET_META_CONTEXT: u32 = 10;
const NAMED: [u32; 4] = [INFO, GO, LIST_META_CONTEXT, SET_META_CONTEXT];

/// Where contexts may be asked for.
async fn negotiate() -> Handshake {
    let mut handshake = served().negotiate().await.unwrap();
    handshake.structured_replies().await.unwrap();
    handshake
}

/// What follows the name: no requests, or no queries.
fn nothing_asked(option: u32) -> &'static [u8] {
    if option == INFO || option == GO { &[0; 2] } else { &[0; 4] }
}

fn data(option: u32, name: &[u8]) -> Vec<u8> {
    let len = (name.len() as u32).to_be_bytes();
    [&len[..], name, nothing_asked(option)].concat()
}

/// The types of the replies, and the last one's text.
async fn answer(handshake: &mut Handshake, option: u32, data: &[u8]) -> (Vec<u32>, String) {
    let replies = handshake.ask(option, data).await.unwrap();
    let text = replies.last().map(|reply| String::from_utf8_lossy(&reply.data).into_owned());
    (replies.iter().map(|reply| reply.kind).collect(), text.unwrap_or_default())
}

/// The canonical one, the resource's, and the default.
/// [O2, P5]
#[test]
fn three_names_mean_the_export() {
    run(async {
        let mut handshake = negotiate().await;
        let size = handshake.info("r0/0").await.unwrap().size;
        for name in ["r0/0", "r0", ""] {
            let info = handshake.info(name).await.unwrap();
            assert_eq!((info.size, &*info.name), (size, "r0/0"), "{name:?}: its canonical name");
            for option in [LIST_META_CONTEXT, SET_META_CONTEXT] {
                let (kinds, _) = answer(&mut handshake, option, &name_and_strings(name, &[])).await;
                assert_eq!(kinds.last(), Some(&1), "{name:?}");
            }
            let mut client = negotiate().await.go(name).await.unwrap();
            client.read(size - 1, 1).await.unwrap();
            let mut client = served().negotiate().await.unwrap().export_name(name).await.unwrap();
            assert_eq!(client.export().size, size);
            client.read(size - 1, 1).await.unwrap();
        }
    });
}

/// And nothing is said of them but that.
/// [C5, O15, O39, P9, P14]
#[test]
fn names_of_nothing_are_unknown() {
    run(async {
        let mut handshake = negotiate().await;
        let longest = "x".repeat(4096);
        let names = ["r1", "r0/1", "r0/", "r0/00", "r0/0/0", "R0", "/", " r0", "r0 ", "../r0"];
        for name in names.into_iter().chain(["*", "%", "ä", &longest]) {
            for option in NAMED {
                let (kinds, text) =
                    answer(&mut handshake, option, &data(option, name.as_bytes())).await;
                assert_eq!(kinds, [ClientError::UNKNOWN], "option {option}: {name:.20}");
                assert!(!text.is_empty());
            }
        }
    });
}

/// CVE-2020-10761: the client's own words make no reply longer than any client takes. (That is
/// checked with every reply.) What they do to a terminal is escaped.
/// [C1, X7]
#[test]
fn an_error_text_holds_the_name_cut_and_escaped() {
    run(async {
        let mut handshake = negotiate().await;
        let ugly = format!("\x1b[2J\n{}", "ä".repeat(2000));
        for option in NAMED {
            let (kinds, text) =
                answer(&mut handshake, option, &data(option, ugly.as_bytes())).await;
            assert_eq!(kinds, [ClientError::UNKNOWN]);
            assert!(text.len() < 1024, "{} bytes", text.len());
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    });
}

/// Too long, with a NUL, or not UTF-8.
/// [C2, C3, C4]
#[test]
fn names_that_are_no_strings_are_invalid() {
    run(async {
        let mut handshake = negotiate().await;
        let (long, longest) = (vec![b'r'; 4097], vec![b'r'; 60_000]);
        let bad =
            [&long[..], &longest, b"r0\0", b"\0", b"r\0\0", b"\xff", b"r0\xc3", b"\xed\xa0\x80"];
        for name in bad {
            for option in NAMED {
                let (kinds, _) = answer(&mut handshake, option, &data(option, name)).await;
                assert_eq!(kinds, [ClientError::INVALID], "option {option}: {name:02x?}");
            }
        }
        assert_eq!(handshake.list().await.unwrap().len(), 1);
    });
}

/// CVE-2022-26495, CVE-2022-26496, CVE-2017-15118: what is said of a length is not believed.
/// [O10, O25, X5]
#[test]
fn name_lengths_that_lie_are_invalid() {
    run(async {
        let mut handshake = negotiate().await;
        for len in [3_u32, 4, 8, 9, 4096, 1 << 31, u32::MAX - 5, u32::MAX - 3, u32::MAX] {
            for option in NAMED {
                let lying = [&len.to_be_bytes()[..], b"r0", nothing_asked(option)].concat();
                // With a name that takes in what should follow it, too little is left.
                let (kinds, _) = answer(&mut handshake, option, &lying).await;
                assert_eq!(kinds, [ClientError::INVALID], "option {option}: {len}");
            }
        }
        handshake.go("r0").await.unwrap();
    });
}

/// Whatever is cut off or goes on behind the end.
/// [E3, O10, O25, P12, X13]
#[test]
fn data_that_ends_elsewhere_is_invalid() {
    run(async {
        let mut handshake = negotiate().await;
        for option in NAMED {
            let whole = match option {
                INFO | GO => name_and_requests("r0", &[3, 1]),
                _ => name_and_strings("r0", &["base:allocation", "x-repd:"]),
            };
            let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
            let longer = [1, 2, 4, 100].map(|more| [&whole[..], &vec![0; more]].concat());
            for data in cut.chain(longer) {
                let (kinds, _) = answer(&mut handshake, option, &data).await;
                assert_eq!(kinds, [ClientError::INVALID], "option {option}: {data:02x?}");
                // Options are counted: a new connection now and then.
                handshake = negotiate().await;
            }
        }
    });
}
