//! Structured replies: agreed on, and then kept to. (The client checks every chunk: its place, its
//! length, what is missing, which kind of reply may come.)

use super::*;
use tests::conformance::run;
use tests::nbd_client::{Chunk, ClientError, FLAG_DF, Operation, Style};

const STRUCTURED_REPLY: u32 = 8;
const EXTENDED_HEADERS: u32 = 11;

/// With data it is refused, and then nothing is agreed on.
/// [R1, O21, V1]
#[test]
fn structured_reply_with_data_is_invalid() {
    run(async {
        for option in [STRUCTURED_REPLY, EXTENDED_HEADERS] {
            let mut handshake = served().negotiate().await.unwrap();
            for data in [&b"\0"[..], &[1; 1000]] {
                let replies = handshake.ask(option, data).await.unwrap();
                assert_eq!(replies.len(), 1);
                assert_eq!(replies[0].kind, ClientError::INVALID, "option {option}");
            }
            // The client has noted no chunks, and would not take any.
            let mut client = handshake.go("r0").await.unwrap();
            client.read(0, 4096).await.unwrap();
            assert_eq!(errno(&mut client, Operation::read(u64::MAX, 1)).await, Some(EINVAL));
        }
    });
}

/// Whoever says it twice is told yes twice.
/// [H14]
#[test]
fn structured_reply_twice_is_acknowledged() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        handshake.structured_replies().await.unwrap();
        handshake.structured_replies().await.unwrap();
        let mut client = handshake.go("r0").await.unwrap();
        let reply = client.ask(Operation::read(0, 512)).await.unwrap();
        assert_eq!(reply.detail.chunks, [Chunk::Data { offset: 0, len: 512 }]);
    });
}

/// EXPORT_NAME, too, begins a transmission with what was agreed on.
/// [O22]
#[test]
fn structured_replies_work_with_export_name() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        handshake.structured_replies().await.unwrap();
        let mut client = handshake.export_name("r0").await.unwrap();
        let reply = client.ask(Operation::read(0, 512)).await.unwrap();
        assert_eq!(reply.detail.chunks, [Chunk::Data { offset: 0, len: 512 }]);
        let reply = client.ask(Operation::raw(READ, 0x8000, 0, 512)).await.unwrap();
        assert_eq!(reply.result, Err(EINVAL));
        assert_eq!(reply.detail.chunks, [Chunk::Error(EINVAL)]);
    });
}

/// Without the option there are simple replies and nothing else. (The client takes no others.)
/// [M1, M7, R1]
#[test]
fn without_agreement_every_reply_is_simple() {
    run(async {
        let mut client = served().client(Style::Simple).await.unwrap();
        let area = served().area(1 << 20);
        for command in [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES] {
            let (offset, len) = if command == FLUSH { (0, 0) } else { (area, 4096) };
            let reply = client.ask(request(Style::Simple, command, 0, offset, len)).await.unwrap();
            assert!(reply.result.is_ok() && reply.detail.chunks.is_empty(), "{command}");
        }
        for operation in [
            Operation::read(u64::MAX, 1),
            Operation::raw(READ, FLAG_DF, 0, 1),
            Operation::block_status(0, 4096, 0),
            Operation::raw(99, 0, 0, 0),
        ] {
            let reply = client.ask(operation.clone()).await.unwrap();
            assert_eq!(reply.result, Err(EINVAL), "{operation:?}");
            assert!(reply.detail.chunks.is_empty());
        }
    });
}

/// One chunk with everything, whatever the length and the flag DF say; holes are sent as zeros.
/// [R2, R5, Z13, O22, K4, Y1, Y5, Q5, Q6, Q7, Q9, Q10, Q13, Q14, V14]
#[test]
fn a_read_is_one_chunk() {
    run(async {
        for style in [Style::Structured, Style::Extended] {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(33 << 20);
            client.write(area + 8192, &[5; 4096], false).await.unwrap();
            for flags in [0, FLAG_DF] {
                for len in [1, 511, 4096, 12_288, 65_536, 1 << 20, 32 << 20] {
                    let reply = client.ask(Operation::raw(READ, flags, area, len)).await.unwrap();
                    assert_eq!(reply.result.unwrap().len() as u64, len);
                    let whole = Chunk::Data { offset: area, len };
                    assert_eq!(reply.detail.chunks, [whole], "{style:?} {flags} {len}");
                }
            }
        }
    });
}

/// An empty READ has no content: a chunk of no bytes must not be sent.
/// [Y4, Q2, Q6]
#[test]
fn an_empty_read_is_the_chunk_of_nothing() {
    run(async {
        for style in [Style::Structured, Style::Extended] {
            let mut client = served().client(style).await.unwrap();
            for offset in [0, 7, client.export().size] {
                let reply = client.ask(Operation::read(offset, 0)).await.unwrap();
                assert_eq!(reply.result.as_deref(), Ok(&b""[..]));
                assert_eq!(reply.detail.chunks, [Chunk::None], "{style:?} {offset}");
            }
        }
    });
}

/// nbd-server 3.27 answers early errors of READ with simple replies. They are chunks, each with a
/// text for people that names what is wrong.
/// [C1, R3, R4, Y14, Y15, Q11, Q12]
#[test]
fn errors_are_chunks_with_a_text() {
    run(async {
        for style in [Style::Structured, Style::Extended] {
            let mut client = served().client(style).await.unwrap();
            let size = client.export().size;
            let cases = [
                (request(style, READ, 0, size, 1), EINVAL),
                (request(style, READ, 0x4000, 0, 1), EINVAL),
                (request(style, READ, 0, 0, 1 << 31), EINVAL),
                (request(style, WRITE, 0, size, 1), ENOSPC),
                (request(style, WRITE, 0x4000, 0, 1), EINVAL),
                (request(style, WRITE_ZEROES, 0, size, 1), ENOSPC),
                (request(style, TRIM, 0, size, 1), EINVAL),
                (request(style, CACHE, 0, size, 1), EINVAL),
                (request(style, FLUSH, 0x4000, 0, 0), EINVAL),
                (request(style, BLOCK_STATUS, 0, 0, 512), EINVAL),
                (request(style, 99, 0, 0, 512), EINVAL),
            ];
            for (operation, expected) in cases {
                let reply = client.ask(operation.clone()).await.unwrap();
                assert_eq!(reply.result, Err(expected), "{operation:?}");
                assert_eq!(reply.detail.chunks, [Chunk::Error(expected)], "{operation:?}");
                let text = &reply.detail.texts[0];
                assert!(!text.is_empty() && text.len() < 1024, "{operation:?}: {text}");
            }
            client.read(0, 1).await.unwrap();
        }
    });
}

/// Replies of several requests, large and small, in any order: none is mixed up.
/// [M2, Y2]
#[test]
fn replies_in_chunks_are_not_mixed_up() {
    run(async {
        for style in [Style::Structured, Style::Extended] {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(4 << 20);
            for at in 0..64_u64 {
                client.write(area + (at << 16), &[at as u8 + 1; 65_536], false).await.unwrap();
            }
            let mut sent = Vec::new();
            for at in 0..64_u64 {
                let len = 1 + (at * 4001) % 65_536;
                let cookie = client.submit(Operation::read(area + (at << 16), len as u32));
                sent.push((cookie, vec![at as u8 + 1; len as usize]));
                client.submit(Operation::Flush);
                client.submit(Operation::read(u64::MAX, 1));
            }
            for (cookie, expected) in sent {
                assert!(client.wait(cookie).await.unwrap().unwrap() == expected);
            }
        }
    });
}
