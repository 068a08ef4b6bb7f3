use super::*;
use tokio::io::duplex;

/// A negotiation with a server that has greeted and then says these bytes.
async fn hears(bytes: &[u8]) -> Handshake {
    let (near, mut far) = duplex(64 << 10);
    far.write_all(b"NBDMAGICIHAVEOPT\0\x03").await.unwrap();
    far.write_all(bytes).await.unwrap();
    // The other end stays open until it is dropped with the test's runtime.
    tokio::spawn(async move { while far.read_u8().await.is_ok() {} });
    Handshake::over(Box::new(near)).await.unwrap()
}

fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u32;
    let header = [option.to_be_bytes(), kind.to_be_bytes(), len.to_be_bytes()].concat();
    [&OPTION_REPLY_MAGIC.to_be_bytes()[..], &header, data].concat()
}

fn size_and_flags(flags: u16) -> Vec<u8> {
    [&[0, 0][..], &(1_u64 << 20).to_be_bytes(), &flags.to_be_bytes()].concat()
}

fn assert_breach<T: std::fmt::Debug>(what: &str, result: Result<T, ClientError>) {
    assert!(matches!(result, Err(ClientError::Protocol(_))), "{what}: {result:?}");
}

async fn info_of(pieces: &[&[u8]]) -> Result<ExportInfo, ClientError> {
    let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| reply(INFO, 3, piece)).collect();
    bytes.extend(reply(INFO, ACK, b""));
    hears(&bytes).await.info("r0").await
}

#[tokio::test]
async fn a_description_is_understood() {
    let sizes = [&[0, 3][..], &1_u32.to_be_bytes(), &[0, 0, 16, 0], &[2, 0, 0, 0]].concat();
    let pieces = [&size_and_flags(0x56d)[..], b"\0\x01r0/0", b"\0\x02for people", &sizes];
    let info = info_of(&pieces).await.unwrap();
    assert_eq!((info.size, info.flags, &*info.name), (1 << 20, 0x56d, "r0/0"));
    assert_eq!((&*info.description, info.kinds), ("for people", vec![0, 1, 2, 3]));
    assert_eq!(info.block_size, Some([1, 4096, 32 << 20]));
}

#[tokio::test]
async fn descriptions_that_break_rules_are_breaches() {
    let good = size_and_flags(0x56d);
    assert_breach("no size", info_of(&[]).await);
    assert_breach("size twice", info_of(&[&good, &good]).await);
    assert_breach("size cut", info_of(&[&good[..11]]).await);
    assert_breach("size with more", info_of(&[&[&good[..], &[0]].concat()]).await);
    assert_breach("unknown information", info_of(&[&good, b"\0\x04x"]).await);
    assert_breach("a NUL in the name", info_of(&[&good, b"\0\x01a\0b"]).await);
    assert_breach("a description that is not UTF-8", info_of(&[&good, b"\0\x02\xff"]).await);
    let flags = [(0x56c, "no HAS_FLAGS"), (0x5ed, "DF"), (0x76d, "RESIZE"), (0xd2d, "FAST_ZERO")];
    for (flags, what) in flags.into_iter().chain([(0x156d, "payload"), (0x256d, "unknown")]) {
        assert_breach(what, info_of(&[&size_and_flags(flags)]).await);
    }
    for sizes in [[3, 4096, 1 << 25], [1 << 17, 1 << 17, 1 << 25], [1, 256, 1 << 25], [1, 512, 8]] {
        let sizes: Vec<u8> = sizes.iter().flat_map(|size: &u32| size.to_be_bytes()).collect();
        let piece = [&[0, 3][..], &sizes].concat();
        assert_breach(&format!("sizes {sizes:?}"), info_of(&[&good, &piece]).await);
    }
}

#[tokio::test]
async fn replies_that_may_not_come_are_breaches() {
    let cases = [
        ("another option's", reply(GO, ACK, b"")),
        ("an ACK with data", reply(LIST, ACK, b"x")),
        ("information for a LIST", reply(LIST, 3, &size_and_flags(0x56d))),
        ("an unknown type", reply(LIST, 5, b"")),
        ("an unknown error", reply(LIST, ERROR_BIT | 11, b"")),
        ("error zero", reply(LIST, ERROR_BIT, b"")),
        ("an error text that is not UTF-8", reply(LIST, ERROR_BIT | 1, b"\xff")),
        ("an export whose name is longer than it", reply(LIST, 2, b"\0\0\0\x03r0")),
        ("a reply that is too long", reply(LIST, ERROR_BIT | 1, &[b'x'; 4096])),
        ("another magic", [&[9][..], &reply(LIST, ACK, b"")[1..]].concat()),
    ];
    for (what, bytes) in cases {
        assert_breach(what, hears(&bytes).await.list().await);
    }
    let refused = hears(&reply(LIST, ERROR_BIT | 2, b"not here")).await.list().await.unwrap_err();
    assert_eq!(refused.refused_with(), Some(ClientError::POLICY));
}

const ERROR_BIT: u32 = 1 << 31;

#[tokio::test]
async fn contexts_with_an_id_or_a_name_twice_or_without_a_namespace_are_breaches() {
    let option = SET_META_CONTEXT;
    let answers = |contexts: &[&[u8]]| -> Vec<u8> {
        let list = contexts.iter().flat_map(|context| reply(option, 4, context));
        list.chain(reply(option, ACK, b"")).collect()
    };
    for contexts in [
        [&b"\0\0\0\x01base:allocation"[..], b"\0\0\0\x01x-repd:y"],
        [b"\0\0\0\x01base:allocation", b"\0\0\0\x02base:allocation"],
        [b"\0\0\0\x01base:allocation", b"\0\0\0\x02allocation"],
        [b"\0\0\0\x01base:allocation", b"\0\0\0\x02other:context"],
    ] {
        let selected = hears(&answers(&contexts)).await.select_contexts("r0", &["base:x"]).await;
        assert_breach(&format!("{contexts:?}"), selected);
    }
    let bytes = answers(&[b"\0\0\0\x01base:allocation", b"\0\0\0\x02x-repd:y"]);
    let selected = hears(&bytes).await.select_contexts("r0", &[]).await.unwrap();
    assert_eq!(selected.into_keys().collect::<Vec<_>>(), [1, 2]);
    let listed = [reply(LIST_META_CONTEXT, 4, b"\0\0\0\x01base:a"), reply(9, ACK, b"")].concat();
    assert_breach("an id in a list", hears(&listed).await.list_contexts("r0", &[]).await);
}
