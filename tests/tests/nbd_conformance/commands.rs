//! Every command, with every kind of replies.

use super::*;
use std::collections::BTreeSet;
use tests::conformance::run;
use tests::nbd_client::{
    Chunk, FLAG_FAST_ZERO, FLAG_FUA, FLAG_NO_HOLE, FLAG_PAYLOAD_LEN, Operation, Style,
};

/// Bytes that differ from place to place.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at) as u8 ^ seed).collect()
}

/// At any alignment, since the least block is one byte.
/// [Z2, Q1, Q9, Q15, A5]
#[test]
fn what_is_written_is_read() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            let mut model = client.read(area, 100_000).await.unwrap().to_vec();
            for (offset, len) in [(0, 1), (1, 1), (511, 2), (512, 512), (4095, 4098), (1, 70_000)] {
                let data = pattern(len, offset as u8);
                client.write(area + offset as u64, &data, len == 512).await.unwrap();
                model[offset..offset + len].copy_from_slice(&data);
                for (at, len) in [(0, 100_000), (offset, len), (offset / 2, 1)] {
                    let read = client.read(area + at as u64, len as u32).await.unwrap();
                    assert_eq!(read, model[at..at + len], "{style:?} at {at}+{len}");
                }
            }
        }
    });
}

/// All values, in no order, and used again when they are free.
/// [M3, V5]
#[test]
fn cookies_come_back_as_they_are() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let cookies = [0, u64::MAX, 1 << 63, 1, 0x0102_0304_0506_0708, u64::MAX - 1];
            for _ in 0..2 {
                let mut sent = BTreeSet::new();
                for cookie in cookies {
                    client.set_cookie(cookie);
                    sent.insert(client.submit(Operation::read(0, 16)));
                }
                for _ in cookies {
                    let reply = client.reply().await.unwrap();
                    assert!(reply.result.is_ok() && sent.remove(&reply.cookie), "{reply:?}");
                }
            }
        }
    });
}

/// What a success is in each style: a simple reply, or the fewest chunks.
/// [M7, M8, R6, F10, Y4, Q1, V4]
#[test]
fn successes_have_the_shape_that_was_agreed_on() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            for command in [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES] {
                let (offset, len) = if command == FLUSH { (0, 0) } else { (area, 4096) };
                let reply = client.ask(request(style, command, 0, offset, len)).await.unwrap();
                assert!(reply.result.is_ok(), "{style:?} {command}");
                let chunks = match (style, command) {
                    (Style::Simple, _) => vec![],
                    (_, READ) => vec![Chunk::Data { offset, len }],
                    _ => vec![Chunk::None],
                };
                assert_eq!(reply.detail.chunks, chunks, "{style:?} {command}");
            }
        }
    });
}

/// The specification leaves the answer open, but the connection stays.
/// [Q2, Q16, Q23, Q27, Q34]
#[test]
fn requests_of_length_zero_keep_the_connection() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let size = client.export().size;
            for command in [READ, WRITE, TRIM, CACHE, WRITE_ZEROES] {
                for offset in [0, 1, size] {
                    let got = errno(&mut client, request(style, command, 0, offset, 0)).await;
                    // A payload of length zero is none: with extended headers it may be refused.
                    let refused = style == Style::Extended && command == WRITE;
                    assert!(
                        got.is_none() || (refused && got == Some(EINVAL)),
                        "{style:?} {command}"
                    );
                }
            }
            let status = errno(&mut client, Operation::block_status(0, 0, 0)).await;
            assert_eq!(status, Some(EINVAL));
            client.read(0, 1).await.unwrap();
        }
    });
}

/// The last byte, one more, and wherever the sum of offset and length is beyond all numbers.
/// [R3, Z16, Q3, Q24, Q33, Q40, Q41, N2, N4, X12]
#[test]
fn ranges_past_the_end_get_their_errors() {
    run(async {
        for style in STYLES {
            let mut client = client_with_status(style).await;
            let size = client.export().size;
            let commands = [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS];
            for command in
                commands.into_iter().filter(|&c| c != BLOCK_STATUS || style != Style::Simple)
            {
                let past = if [WRITE, WRITE_ZEROES].contains(&command) { ENOSPC } else { EINVAL };
                let cases = [
                    (size, 1),
                    (size - 1, 2),
                    (size - 512, 1024),
                    (size + 1, 1),
                    (1 << 63, 512),
                    ((1 << 63) - 1, 2),
                    (u64::MAX - 511, 512),
                    (u64::MAX - 511, 4096),
                    (u64::MAX, 1),
                ];
                for (offset, len) in &cases {
                    let got = errno(&mut client, request(style, command, 0, *offset, *len)).await;
                    assert_eq!(got, Some(past), "{style:?} {command} {offset}+{len}");
                }
                if command != WRITE && command != READ {
                    // Lengths near 2^32 that end past the end: CVE-2025-47711 and -47712.
                    for len in [u32::MAX, u32::MAX - 511, 1 << 31] {
                        let offset = size - u64::from(len) + 512;
                        let operation = request(style, command, 0, offset, len.into());
                        let got = errno(&mut client, operation).await;
                        assert_eq!(got, Some(past), "{style:?} {command} {offset}+{len}");
                    }
                }
            }
            client.read(size - 1, 1).await.unwrap();
        }
    });
}

/// What would be written past the end is written nowhere.
/// [Q17, Q33]
#[test]
fn a_write_past_the_end_changes_nothing() {
    run(async {
        let mut client = served().client(Style::Simple).await.unwrap();
        let size = client.export().size;
        let before = client.read(size - 4096, 4096).await.unwrap();
        for command in [WRITE, WRITE_ZEROES] {
            let operation = request(Style::Simple, command, 0, size - 4096, 8192);
            assert_eq!(errno(&mut client, operation).await, Some(ENOSPC));
        }
        assert_eq!(client.read(size - 4096, 4096).await.unwrap(), before);
    });
}

/// Numbers that no command has.
/// [D5, Q42, N8]
#[test]
fn unknown_commands_are_einval() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            for command in [8, 9, 10, 100, 0x7fff, 0xffff] {
                for len in [0, 4096] {
                    let got = errno(&mut client, Operation::raw(command, 0, 0, len)).await;
                    assert_eq!(got, Some(EINVAL), "{style:?} {command}");
                }
            }
            client.read(0, 1).await.unwrap();
        }
    });
}

/// TRIM and WRITE_ZEROES, at any alignment: zeros here, and the neighbours as they were.
/// [Z2, K3, Q22, Q26, Q28]
#[test]
fn what_was_zeroed_reads_as_zeros_and_its_neighbours_stay() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            let cases = [(TRIM, 0), (WRITE_ZEROES, 0), (WRITE_ZEROES, FLAG_NO_HOLE)];
            for (command, flags) in cases.into_iter().chain([(WRITE_ZEROES, FLAG_FUA)]) {
                for (offset, len) in [(0, 65_536), (1, 1), (511, 2), (4095, 8194), (5, 65_531)] {
                    let data = pattern(65_536, 1);
                    client.write(area, &data, false).await.unwrap();
                    let operation = Operation::raw(command, flags, area + offset, len as u64);
                    assert_eq!(errno(&mut client, operation).await, None);
                    let mut model = data;
                    model[offset as usize..][..len].fill(0);
                    let read = client.read(area, 65_536).await.unwrap();
                    assert_eq!(read, model, "{style:?} {command} {flags} {offset}+{len}");
                }
            }
        }
    });
}

/// No payload goes over the wire, so the limit for payloads is none for them.
/// [Z14, Q28]
#[test]
fn zeroing_more_than_a_payload_holds_works() {
    run(async {
        let mut client = served().client(Style::Simple).await.unwrap();
        let area = served().area(96 << 20);
        for command in [TRIM, WRITE_ZEROES, CACHE] {
            client.write(area, b"begin", false).await.unwrap();
            client.write(area + (96 << 20) - 3, b"end", false).await.unwrap();
            let operation = Operation::raw(command, 0, area, 96 << 20);
            assert_eq!(errno(&mut client, operation).await, None, "{command}");
            let expected = if command == CACHE { &b"begin"[..] } else { &[0; 5] };
            assert_eq!(client.read(area, 5).await.unwrap(), expected);
            let end = client.read(area + (96 << 20) - 3, 3).await.unwrap();
            assert_eq!(end, if command == CACHE { &b"end"[..] } else { &[0; 3] });
        }
    });
}

/// Either it is done, or ENOTSUP says at once that nothing was.
/// [F17, K6, Q30, Q31, N7]
#[test]
fn a_fast_zero_is_done_or_changes_nothing() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(8 << 20);
            for flags in [FLAG_FAST_ZERO, FLAG_FAST_ZERO | FLAG_NO_HOLE, FLAG_FAST_ZERO | FLAG_FUA]
            {
                for (offset, len) in [(0, 4096), (1, 5), (0, 8 << 20)] {
                    let data = pattern(8192, 3);
                    client.write(area, &data, false).await.unwrap();
                    let operation = Operation::raw(WRITE_ZEROES, flags, area + offset, len);
                    let got = errno(&mut client, operation).await;
                    let read = client.read(area, 8192).await.unwrap();
                    match got {
                        Some(ENOTSUP) => assert_eq!(read, data, "{style:?} {flags} {len}"),
                        None => {
                            let zeroed = &read[offset as usize..][..len.min(4096) as usize];
                            assert!(
                                zeroed.iter().all(|byte| *byte == 0),
                                "{style:?} {flags} {len}"
                            );
                        }
                        other => panic!("{other:?} for {style:?} {flags} {len}"),
                    }
                }
            }
            // Without the flag it is never an error that it is slow. (The client sees to that.)
            client.write_zeroes(area, 4096, false).await.unwrap();
        }
    });
}

/// Nothing but time may tell whether it was sent.
/// [F16, Q24]
#[test]
fn cache_changes_nothing() {
    run(async {
        let mut client = served().client(Style::Structured).await.unwrap();
        let area = served().area(1 << 20);
        let data = pattern(65_536, 9);
        client.write(area, &data, false).await.unwrap();
        for (offset, len) in [(0, 65_536), (1, 5), (0, 0)] {
            let operation = Operation::raw(CACHE, 0, area + offset, len);
            assert_eq!(errno(&mut client, operation).await, None);
        }
        assert_eq!(client.read(area, 65_536).await.unwrap(), data);
        client.write(area, b"new", false).await.unwrap();
        assert_eq!(client.read(area, 3).await.unwrap(), &b"new"[..]);
    });
}

/// Offset and length of a FLUSH are reserved: clients that set them mean no harm.
/// [Q21]
#[test]
fn flush_with_reserved_fields_set_is_answered() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            for (offset, len) in [(0, 0), (1, 0), (0, 1), (u64::MAX, u64::from(u32::MAX))] {
                let got = errno(&mut client, Operation::raw(FLUSH, 0, offset, len)).await;
                assert!(got.is_none() || got == Some(EINVAL), "{style:?} {offset} {len}");
            }
            client.flush().await.unwrap();
        }
    });
}

/// Writes on one connection are seen on all, and a flush on any covers them.
/// [F15]
#[test]
fn all_connections_are_one_device() {
    run(async {
        let mut clients = Vec::new();
        for style in STYLES {
            clients.push(served().client(style).await.unwrap());
        }
        let area = served().area(1 << 20);
        for round in 0..12_usize {
            let data = pattern(4096, round as u8);
            let writer = round % 3;
            clients[writer].write(area, &data, round % 2 == 0).await.unwrap();
            for client in &mut clients {
                assert_eq!(client.read(area, 4096).await.unwrap(), data);
                client.flush().await.unwrap();
            }
        }
    });
}

/// Many in flight, of every kind and to the same places, are each answered once.
/// [M2]
#[test]
fn many_requests_in_flight_are_each_answered_once() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            let commands = [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, 77];
            let mut sent = BTreeSet::new();
            for at in 0..1500_usize {
                let (command, offset) = (commands[at % 7], area + (at as u64 * 517) % 65_536);
                let len = if command == FLUSH { 0 } else { 1 + (at as u64 % 9000) };
                sent.insert((client.submit(request(style, command, 0, offset, len)), command));
            }
            for (cookie, command) in sent {
                let result = client.wait(cookie).await.unwrap();
                assert_eq!(result.err(), (command == 77).then_some(EINVAL), "{style:?} {command}");
            }
            assert!(client.in_flight().is_empty());
        }
    });
}

/// With the compact header only WRITE has a payload, and the flag for others is not agreed on.
/// [N9, V11]
#[test]
fn payload_flags_without_extended_headers_are_einval() {
    run(async {
        for style in [Style::Simple, Style::Structured] {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            for command in [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
                let operation = request(style, command, FLAG_PAYLOAD_LEN, area, 512);
                assert_eq!(
                    errno(&mut client, operation).await,
                    Some(EINVAL),
                    "{style:?} {command}"
                );
            }
            client.read(0, 1).await.unwrap();
        }
    });
}

/// A client whose write is refused has still sent its payload: the next request is understood.
/// [D5, Q17, V9]
#[test]
fn the_payload_of_a_refused_write_is_skipped() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let size = client.export().size;
            for len in [1, 27, 28, 100_000, 1 << 20] {
                let write = client.submit(request(style, WRITE, 0, size, len));
                let read = client.submit(Operation::read(0, 16));
                assert_eq!(client.wait(write).await.unwrap(), Err(ENOSPC), "{style:?} {len}");
                client.wait(read).await.unwrap().unwrap();
            }
        }
    });
}
