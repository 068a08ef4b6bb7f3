//! LIST_META_CONTEXT and SET_META_CONTEXT.

use super::*;
use tests::conformance::{agree, run};
use tests::nbd_client::{ClientError, Handshake, Operation, Style, name_and_strings};

const LIST: u32 = 9;
const SET: u32 = 10;
const CHUNKED: [Style; 2] = [Style::Structured, Style::Extended];

async fn negotiate(style: Style) -> Handshake {
    let mut handshake = served().negotiate().await.unwrap();
    agree(&mut handshake, style).await.unwrap();
    handshake
}

async fn selected(handshake: &mut Handshake, queries: &[&str]) -> Vec<String> {
    let contexts = handshake.select_contexts("r0/0", queries).await.unwrap();
    contexts.into_values().collect()
}

/// Neither works before replies in chunks are agreed on, and both do behind them.
/// [B6, O23, O24, O35, V23]
#[test]
fn contexts_need_replies_in_chunks() {
    run(async {
        let mut handshake = served().negotiate().await.unwrap();
        for option in [LIST, SET] {
            for queries in [&[][..], &[ALLOCATION]] {
                let replies =
                    handshake.ask(option, &name_and_strings("r0", queries)).await.unwrap();
                assert_eq!(replies.len(), 1);
                assert_eq!(replies[0].kind, ClientError::INVALID, "option {option}");
            }
        }
        handshake.structured_replies().await.unwrap();
        assert_eq!(selected(&mut handshake, &[ALLOCATION]).await, [ALLOCATION]);
    });
}

/// Without queries everything that may be selected, by whole names.
/// [B7, O29, O30, O32, O33, P8]
#[test]
fn a_list_without_queries_has_everything() {
    run(async {
        for style in CHUNKED {
            let mut handshake = negotiate(style).await;
            for export in ["r0/0", "r0", ""] {
                let listed = handshake.list_contexts(export, &[]).await.unwrap();
                assert_eq!(listed, [ALLOCATION, OUT_OF_SYNC], "{style:?}");
            }
            let all = handshake.list_contexts("r0/0", &[]).await.unwrap();
            let all: Vec<&str> = all.iter().map(|name| &**name).collect();
            assert_eq!(selected(&mut handshake, &all).await, all, "what is listed can be selected");
        }
    });
}

/// A name, a namespace alone, several of them, and what matches nothing.
/// [B13, B14, O27, O28, O31]
#[test]
fn a_list_has_what_its_queries_match() {
    run(async {
        let mut handshake = negotiate(Style::Structured).await;
        let cases: [(&[&str], &[&str]); 9] = [
            (&[ALLOCATION], &[ALLOCATION]),
            (&[OUT_OF_SYNC], &[OUT_OF_SYNC]),
            (&["base:"], &[ALLOCATION]),
            (&["x-repd:"], &[OUT_OF_SYNC]),
            (&["base:", "x-repd:"], &[ALLOCATION, OUT_OF_SYNC]),
            (&[ALLOCATION, ALLOCATION, "base:"], &[ALLOCATION]),
            (&["qemu:", ALLOCATION, "base:none"], &[ALLOCATION]),
            (&["qemu:dirty-bitmap:b0", "x-other:", "base:allocatio"], &[]),
            (&["base:allocation:", "base:Allocation", "nbd-server:x"], &[]),
        ];
        for (queries, expected) in cases {
            let listed = handshake.list_contexts("r0/0", queries).await.unwrap();
            assert_eq!(listed, expected, "{queries:?}");
        }
    });
}

/// Exact names only: a wildcard lists, and selects nothing. Each has an id of its own.
/// [B10, B12, B14, O27, O36, O37, O38]
#[test]
fn a_selection_has_what_its_queries_name() {
    run(async {
        for style in CHUNKED {
            let mut handshake = negotiate(style).await;
            let cases: [(&[&str], &[&str]); 8] = [
                (&[ALLOCATION], &[ALLOCATION]),
                (&[OUT_OF_SYNC], &[OUT_OF_SYNC]),
                (&[OUT_OF_SYNC, ALLOCATION], &[ALLOCATION, OUT_OF_SYNC]),
                (&[ALLOCATION, ALLOCATION], &[ALLOCATION]),
                (&["base:"], &[]),
                (&["x-repd:", "base:", "qemu:"], &[]),
                (&["base:none", "qemu:allocation-depth", ALLOCATION], &[ALLOCATION]),
                (&[], &[]),
            ];
            for (queries, expected) in cases {
                let mut names = selected(&mut handshake, queries).await;
                names.sort_unstable();
                assert_eq!(names, expected, "{style:?} {queries:?}");
            }
        }
    });
}

/// What has no colon belongs to no namespace: ignored or invalid, and the negotiation goes on.
/// [O26, O28, O38]
#[test]
fn queries_without_a_namespace_are_harmless() {
    run(async {
        let mut handshake = negotiate(Style::Structured).await;
        for option in [LIST, SET] {
            for query in ["", "nocolon", ":", ":allocation", "base", "base allocation"] {
                let data = name_and_strings("r0", &[query]);
                let replies = handshake.ask(option, &data).await.unwrap();
                assert_eq!(replies.len(), 1, "{query:?} finds nothing");
                assert!([1, ClientError::INVALID].contains(&replies[0].kind), "{query:?}");
            }
        }
        assert_eq!(selected(&mut handshake, &[ALLOCATION]).await, [ALLOCATION]);
    });
}

/// A query, too, is a string whose length may lie: CVE-2022-26495 in another place.
/// [C3, C4, O25, X5]
#[test]
fn malformed_queries_are_invalid() {
    run(async {
        for option in [LIST, SET] {
            let mut handshake = negotiate(Style::Structured).await;
            let name = b"\0\0\0\x02r0".to_vec();
            let query = |len: u32, query: &[u8]| [&len.to_be_bytes()[..], query].concat();
            let one = [0, 0, 0, 1];
            let long = vec![b'x'; 5000];
            let cases = [
                // More queries than there are bytes.
                [&name[..], &[0xff; 4]].concat(),
                [&name[..], &[0, 0, 0, 2], &query(4, b"x:yz")].concat(),
                // Lengths that go beyond the end, around all numbers, or stop short of it.
                [&name[..], &one, &query(5, b"x:yz")].concat(),
                [&name[..], &one, &query(u32::MAX, b"x:yz")].concat(),
                [&name[..], &one, &query(u32::MAX - 3, b"x:yz")].concat(),
                [&name[..], &one, &query(3, b"x:yz")].concat(),
                // No query although there is one.
                [&name[..], &[0; 4], &query(4, b"x:yz")].concat(),
                // No strings.
                [&name[..], &one, &query(4, b"x:\0z")].concat(),
                [&name[..], &one, &query(4, b"x:\xffz")].concat(),
                [&name[..], &one, &query(5000, &long)].concat(),
            ];
            for data in cases {
                let replies = handshake.ask(option, &data).await.unwrap();
                assert_eq!(replies.len(), 1, "{data:02x?}");
                assert_eq!(replies[0].kind, ClientError::INVALID, "{option} {data:02x?}");
            }
            handshake.go("r0").await.unwrap().read(0, 1).await.unwrap();
        }
    });
}

/// As many as fit.
/// [O31, O37]
#[test]
fn a_flood_of_queries_selects_each_context_once() {
    run(async {
        let mut handshake = negotiate(Style::Structured).await;
        let mut queries = vec!["x-none:"; 3000];
        queries.extend([ALLOCATION; 500]);
        for option in [LIST, SET] {
            let replies = handshake.ask(option, &name_and_strings("r0", &queries)).await.unwrap();
            let kinds: Vec<u32> = replies.iter().map(|reply| reply.kind).collect();
            assert!(kinds == [4, 1] || kinds == [ClientError::TOO_BIG], "{kinds:x?}");
        }
        handshake.go("r0").await.unwrap().read(0, 1).await.unwrap();
    });
}

/// What the last one selected counts, and if it has failed, nothing does.
/// [B4, O34, O36]
#[test]
fn each_selection_replaces_the_one_before() {
    run(async {
        let extents = async |mut handshake: Handshake, last: Option<(&str, Vec<u8>)>| {
            selected(&mut handshake, &[ALLOCATION, OUT_OF_SYNC]).await;
            if let Some((_, data)) = &last {
                handshake.ask(SET, data).await.unwrap();
            }
            let mut client = handshake.go("r0/0").await.unwrap();
            let reply = client.ask(Operation::block_status(0, 4096, 0)).await;
            reply.map(|reply| (reply.result.err(), reply.detail.extents.len()))
        };
        for style in CHUNKED {
            let got = extents(negotiate(style).await, None).await.unwrap();
            assert_eq!(got, (None, 2), "{style:?}");
            for (what, data) in [
                ("an unknown export", name_and_strings("r1", &[ALLOCATION])),
                ("no queries", name_and_strings("r0/0", &[])),
                ("no context", name_and_strings("r0/0", &["base:none"])),
                ("another name", name_and_strings("r0", &[ALLOCATION])),
                ("nonsense", vec![0xff; 9]),
            ] {
                let handshake = negotiate(style).await;
                let got = extents(handshake, Some((what, data))).await.unwrap();
                assert_eq!(got, (Some(EINVAL), 0), "{style:?}: {what}");
            }
        }
        // And the one before is replaced by one that selects less.
        let mut handshake = negotiate(Style::Structured).await;
        selected(&mut handshake, &[ALLOCATION, OUT_OF_SYNC]).await;
        selected(&mut handshake, &[OUT_OF_SYNC]).await;
        let mut client = handshake.go("r0/0").await.unwrap();
        let reply = client.ask(Operation::block_status(0, 4096, 0)).await.unwrap();
        assert_eq!(reply.detail.extents.len(), 1);
    });
}

/// A selection is for the name that GO has, also where two names mean one export. EXPORT_NAME
/// counts as GO does.
/// [B5]
#[test]
fn a_selection_is_for_the_name_that_was_used() {
    run(async {
        for (set, go, counts) in
            [("r0/0", "r0/0", true), ("r0", "r0", true), ("", "", true), ("r0", "r0/0", false)]
        {
            for by_export_name in [false, true] {
                let mut handshake = negotiate(Style::Structured).await;
                handshake.select_contexts(set, &[ALLOCATION]).await.unwrap();
                // Whatever lies between, it stays.
                handshake.list().await.unwrap();
                handshake.info(go).await.unwrap();
                handshake.list_contexts("r0", &[]).await.unwrap();
                let mut client = match by_export_name {
                    true => handshake.export_name(go).await.unwrap(),
                    false => handshake.go(go).await.unwrap(),
                };
                let got = errno(&mut client, Operation::block_status(0, 4096, 0)).await;
                assert_eq!(got, (!counts).then_some(EINVAL), "{set:?}, then {go:?}");
            }
        }
    });
}
