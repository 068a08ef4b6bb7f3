//! BLOCK_STATUS. (The client checks each chunk: that there is one for each context and none for
//! another, that extents are not empty, not more than asked for, and lie within the export.)

use super::*;
use rustix::fs::SeekFrom;
use std::fs::File;
use tests::conformance::run;
use tests::nbd_client::{Chunk, Client, Extent, FLAG_FUA, FLAG_REQ_ONE, Operation, Style};

const HOLE: u64 = 1;
const ZERO: u64 = 2;
const OUT: u64 = 1;
const CHUNKED: [Style; 2] = [Style::Structured, Style::Extended];

/// The extents of both contexts.
async fn status(client: &mut Client, offset: u64, len: u64, flags: u16) -> [Vec<Extent>; 2] {
    let reply = client.ask(Operation::block_status(offset, len, flags)).await.unwrap();
    assert!(reply.result.is_ok(), "{offset}+{len}: {reply:?}");
    [ALLOCATION, OUT_OF_SYNC]
        .map(|name| reply.detail.extents[&client.context(name).unwrap()].clone())
}

/// The flags of each 4 KiB of a range, asked for until all of it is covered.
async fn map(client: &mut Client, begin: u64, len: u64, context: usize) -> Vec<u64> {
    let (mut flags, mut at) = (Vec::new(), begin);
    while at < begin + len {
        let extents = status(client, at, begin + len - at, 0).await[context].clone();
        for extent in extents {
            assert_eq!(extent.len % 512, 0, "{extent:?}");
            let blocks = (extent.len / 4096).min((begin + len - at) / 4096);
            flags.extend(std::iter::repeat_n(extent.flags, blocks as usize));
            at += extent.len;
        }
    }
    flags
}

/// One chunk for each context, in the form of the style, the last of them the last of all.
/// [R2, R5, B1, B6, Y1, Y7, Y8, Q35, V15, V16, V17]
#[test]
fn each_context_gets_one_chunk() {
    run(async {
        for style in CHUNKED {
            for contexts in [&[ALLOCATION][..], &[OUT_OF_SYNC], &[ALLOCATION, OUT_OF_SYNC]] {
                let mut client = served().client_with(style, contexts).await.unwrap();
                let reply = client.ask(Operation::block_status(0, 1 << 20, 0)).await.unwrap();
                let wide = style == Style::Extended;
                let mut chunks = reply.detail.chunks;
                chunks.retain(|chunk| *chunk != Chunk::None);
                let expected: Vec<Chunk> = contexts
                    .iter()
                    .map(|name| Chunk::Status { context: client.context(name).unwrap(), wide })
                    .collect();
                assert_eq!(chunks, expected, "{style:?}");
            }
        }
    });
}

/// One extent each, which is no longer than what was asked for.
/// [B3, K5, Y10]
#[test]
fn req_one_gets_one_extent() {
    run(async {
        for style in CHUNKED {
            let mut client = client_with_status(style).await;
            let area = served().area(1 << 20);
            client.write(area + 4096, &[1; 4096], false).await.unwrap();
            for flags in [FLAG_REQ_ONE, FLAG_REQ_ONE | FLAG_FUA] {
                for (offset, len) in [(0, 1), (0, 4096), (0, 1 << 20), (4095, 2), (4096, 512)] {
                    let extents = status(&mut client, area + offset, len, flags).await;
                    for extents in extents {
                        assert!(extents.len() == 1 && extents[0].len <= len, "{extents:?}");
                    }
                }
            }
        }
    });
}

/// Nothing is said to be zero that is not, whatever was done to it.
/// [B9, B16, B17, Y13, Q38, V18]
#[test]
fn what_is_said_to_be_zero_reads_as_zero() {
    run(async {
        for style in CHUNKED {
            let mut client = client_with_status(style).await;
            let len = 1 << 20;
            let area = served().area(len);
            client.write(area, &vec![7; len as usize / 2], false).await.unwrap();
            client.write_zeroes(area + 65_536, 65_536, true).await.unwrap();
            client.write_zeroes(area + 131_072, 65_536, false).await.unwrap();
            client.trim(area + 262_144, 65_536).await.unwrap();
            client.flush().await.unwrap();
            let flags = map(&mut client, area, len, 0).await;
            assert_eq!(flags.len() as u64, len / 4096);
            let data = client.read(area, len as u32).await.unwrap();
            for (block, flags) in data.chunks(4096).zip(flags) {
                assert_eq!(flags & !(HOLE | ZERO), 0, "bits that nobody has defined");
                let is_zero = block.iter().all(|byte| *byte == 0);
                assert!(is_zero || flags == 0, "data is said to be 0x{flags:x}");
            }
        }
    });
}

/// Where the file system below tells holes, so does BLOCK_STATUS: what was never written, and what
/// was trimmed.
/// [B16, Q29, Q39]
#[test]
fn holes_of_the_disk_are_told() {
    run(async {
        let mut client = client_with_status(Style::Structured).await;
        let area = served().area(2 << 20);
        let written = area + (1 << 20);
        client.write(written, &[1; 65_536], true).await.unwrap();
        let disk = File::open(served().cluster.alpha.disk()).unwrap();
        if rustix::fs::seek(&disk, SeekFrom::Hole(area)) != Ok(area) {
            println!("skipped: the file system of the temporary directory tells no holes");
            return;
        }
        let at = async |client: &mut Client, offset| {
            status(client, offset, 4096, FLAG_REQ_ONE).await[0][0].flags
        };
        assert_eq!(at(&mut client, area).await, HOLE | ZERO);
        assert_eq!(at(&mut client, written).await, 0);
        let extents = status(&mut client, area, 2 << 20, 0).await[0].clone();
        assert_eq!(extents[0], Extent { len: 1 << 20, flags: HOLE | ZERO }, "all that is alike");
        client.trim(written, 65_536).await.unwrap();
        assert_eq!(at(&mut client, written).await, HOLE | ZERO);
        client.write_zeroes(written, 65_536, true).await.unwrap();
        assert_eq!(at(&mut client, written).await & HOLE, 0, "NO_HOLE");
    });
}

/// A write is seen at once, on each connection.
/// [B16, Q39]
#[test]
fn what_was_written_is_no_hole() {
    run(async {
        let mut writer = served().client(Style::Simple).await.unwrap();
        let mut clients = Vec::new();
        for style in CHUNKED {
            clients.push(client_with_status(style).await);
        }
        let area = served().area(1 << 20);
        for block in [0, 3, 100, 255] {
            writer.write(area + block * 4096, &[1; 4096], false).await.unwrap();
            for client in &mut clients {
                let extents = status(client, area + block * 4096, 4096, FLAG_REQ_ONE).await;
                assert_eq!(extents[0][0].flags, 0, "block {block}");
            }
        }
    });
}

/// This node has never met its peer, which lacks everything.
/// [B9]
#[test]
fn without_a_peer_everything_is_out_of_sync() {
    run(async {
        for style in CHUNKED {
            let mut client = client_with_status(style).await;
            let size = client.export().size;
            let area = served().area(1 << 20);
            client.write(area, &[1; 4096], false).await.unwrap();
            for begin in [0, area, size - (1 << 20)] {
                let flags = map(&mut client, begin, 1 << 20, 1).await;
                assert!(flags.iter().all(|flags| *flags == OUT), "{style:?} {begin}");
            }
        }
    });
}

/// Any byte may be asked for.
/// [B2, Y9, Y11, Y12, Y13, Q36, X12]
#[test]
fn status_of_any_alignment_begins_where_it_was_asked() {
    run(async {
        for style in CHUNKED {
            let mut client = client_with_status(style).await;
            let size = client.export().size;
            let cases = [(1, 1), (511, 513), (4095, 2), (size - 1, 1), (size - 4097, 4097)];
            for (offset, len) in cases.into_iter().chain([(0, 1 << 31), (3, u64::from(u32::MAX))]) {
                for extents in status(&mut client, offset, len, 0).await {
                    let sum: u64 = extents.iter().map(|extent| extent.len).sum();
                    assert!(sum > 0 && offset + sum <= size, "{offset}+{len}: {extents:?}");
                }
            }
        }
    });
}

/// All of a disk of more than 4 GiB in one request.
/// [Q37, V12, V17]
#[test]
fn lengths_of_more_than_32_bits_are_asked_and_told() {
    run(async {
        let mut client = client_with_status(Style::Extended).await;
        let size = client.export().size;
        for flags in [0, FLAG_REQ_ONE] {
            let extents = status(&mut client, 0, size, flags).await;
            // Everything is alike in this context, so one extent can tell it.
            assert_eq!(extents[1], [Extent { len: size, flags: OUT }], "{flags}");
        }
    });
}

/// Neither is one that says nothing: without a selection there is nothing to tell.
/// [B4]
#[test]
fn status_without_a_selection_is_einval() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            for len in [0, 512, 1 << 31] {
                let got = errno(&mut client, Operation::block_status(0, len, 0)).await;
                assert_eq!(got, Some(EINVAL), "{style:?} {len}");
            }
            client.read(0, 1).await.unwrap();
        }
    });
}

/// Only what the payload names is told; what it must not name is EINVAL.
/// [V21, V22]
#[test]
fn a_payload_of_block_status_filters_contexts() {
    run(async {
        let mut client = client_with_status(Style::Extended).await;
        assert_ne!(client.export().flags & 1 << 12, 0, "BLOCK_STATUS_PAYLOAD");
        let ids = [ALLOCATION, OUT_OF_SYNC].map(|name| client.context(name).unwrap());
        for named in [&ids[..1], &ids[1..], &ids[..], &[ids[1], ids[0]]] {
            for flags in [0, FLAG_REQ_ONE] {
                let operation = Operation::filtered_status(4096, 1 << 20, flags, named);
                let reply = client.ask(operation).await.unwrap();
                assert!(reply.result.is_ok(), "{reply:?}");
                assert_eq!(reply.detail.extents.len(), named.len());
            }
        }
        let size = client.export().size;
        for (offset, len, named) in [
            (0, 4096, &[ids[0], ids[0]][..]),
            (0, 4096, &[77]),
            (0, 4096, &[ids[0], 0]),
            (0, 0, &ids),
            (0, u64::MAX, &ids),
            (size, 1, &ids),
            (0, 4096, &[ids[0]; 100]),
        ] {
            let operation = Operation::filtered_status(offset, len, 0, named);
            assert_eq!(
                errno(&mut client, operation).await,
                Some(EINVAL),
                "{offset} {len} {named:?}"
            );
        }
        // Lengths that no list of numbers has.
        for len in [1, 7, 9, 11, 13] {
            let payload = vec![0; len].into();
            let (command, flags) = (BLOCK_STATUS, FLAG_PAYLOAD_LEN);
            let operation = Operation::Raw { command, flags, offset: 0, len: len as u64, payload };
            assert_eq!(errno(&mut client, operation).await, Some(EINVAL), "{len}");
        }
        client.read(0, 1).await.unwrap();
    });
}

/// The payload form is offered to clients that can use it.
/// [V20]
#[test]
fn the_payload_form_is_offered_with_extended_headers_and_contexts() {
    run(async {
        for style in STYLES {
            let client = served().client(style).await.unwrap();
            assert_eq!(client.export().flags & 1 << 12, 0, "{style:?} without contexts");
        }
        let client = client_with_status(Style::Structured).await;
        assert_eq!(client.export().flags & 1 << 12, 0);
        let client = client_with_status(Style::Extended).await;
        assert_ne!(client.export().flags & 1 << 12, 0);
    });
}
