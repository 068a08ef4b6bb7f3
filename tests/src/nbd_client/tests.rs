use super::*;
use tokio::io::{DuplexStream, duplex};

/// A server's end of a pipe, played by hand.
async fn pair() -> (Client, DuplexStream) {
    let (near, mut far) = duplex(4096);
    far.write_all(b"NBDMAGICIHAVEOPT\0\x03").await.unwrap();
    let greeted = Handshake::over(Box::new(near)).await.unwrap();
    let answer = async {
        // Client flags, one option with a name of two bytes.
        let mut asked = [0; 4 + 16 + 2];
        far.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked[..], *b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x02r0");
        far.write_all(b"\0\0\0\0\0\x10\0\0\x05\x6d").await.unwrap();
        far
    };
    let (client, far) = tokio::join!(greeted.export_name("r0"), answer);
    (client.unwrap(), far)
}

fn reply(cookie: u64, error: u32, data: &[u8]) -> Vec<u8> {
    let magic = SIMPLE_REPLY_MAGIC.to_be_bytes();
    [&magic[..], &error.to_be_bytes(), &cookie.to_be_bytes(), data].concat()
}

#[tokio::test]
async fn replies_are_matched_whatever_their_order() {
    let (mut client, mut far) = pair().await;
    assert_eq!((client.export().size, client.export().flags), (1 << 20, 0x56d));
    let read = client.submit(Operation::read(0, 3));
    let write = client.submit(Operation::write(8, &b"abc"[..]));
    let flush = client.submit(Operation::Flush);
    assert_eq!(client.in_flight().len(), 3);
    far.write_all(&[reply(write, 28, b""), reply(flush, 0, b""), reply(read, 0, b"xyz")].concat())
        .await
        .unwrap();
    assert_eq!(client.wait(read).await.unwrap(), Ok(Bytes::from("xyz")));
    let detail = Detail::default();
    let refused = Reply { cookie: write, result: Err(28), detail };
    assert_eq!(client.reply().await.unwrap(), refused);
    assert_eq!(client.wait(flush).await.unwrap(), Ok(Bytes::new()));
    assert!(client.in_flight().is_empty());
}

#[tokio::test]
async fn requests_are_on_the_wire_as_the_protocol_says() {
    let (mut client, mut far) = pair().await;
    client.submit(Operation::Write { offset: 0x1_0000_0002, data: "ab".into(), fua: true });
    client.submit(Operation::WriteZeroes { offset: 4, len: 5, no_hole: true, fua: false });
    client.send().await.unwrap();
    let mut sent = vec![0; 58];
    far.read_exact(&mut sent).await.unwrap();
    let write = b"\x25\x60\x95\x13\0\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x02ab";
    let zeroes = b"\x25\x60\x95\x13\0\x02\0\x06\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x04\0\0\0\x05";
    assert_eq!(sent, [&write[..], zeroes].concat());
}

#[tokio::test]
async fn a_server_that_hangs_up_leaves_what_is_in_flight() {
    let (mut client, far) = pair().await;
    let cookie = client.submit(Operation::Flush);
    drop(far);
    let error = client.wait(cookie).await.unwrap_err();
    assert!(error.is_connection_lost(), "{error:?}");
    assert!(client.in_flight().contains_key(&cookie));
}

#[tokio::test]
async fn a_reply_to_nothing_is_a_broken_protocol() {
    let (mut client, mut far) = pair().await;
    client.submit(Operation::Flush);
    far.write_all(&reply(77, 0, b"")).await.unwrap();
    assert!(matches!(client.reply().await, Err(ClientError::Protocol(_))));
}

#[tokio::test]
async fn more_than_the_pipe_holds_goes_both_ways() {
    let (mut client, mut far) = pair().await;
    let cookies: Vec<u64> = (0..100).map(|_| client.submit(Operation::read(0, 500))).collect();
    let write = client.submit(Operation::write(0, vec![1; 100_000]));
    let serve = async {
        // Answers before it has read everything, so that both directions are full.
        for cookie in cookies {
            far.write_all(&reply(cookie, 0, &[7; 500])).await.unwrap();
        }
        let mut sent = vec![0; 101 * 28 + 100_000];
        far.read_exact(&mut sent).await.unwrap();
        far.write_all(&reply(write, 0, b"")).await.unwrap();
    };
    let wait = async { assert_eq!(client.wait(write).await.unwrap(), Ok(Bytes::new())) };
    tokio::join!(serve, wait);
    assert!(client.in_flight().is_empty());
}

/// A client that has agreed on that style, and a server's end played by hand.
fn agreed(style: Style) -> (Client, DuplexStream) {
    let (near, far) = duplex(4096);
    let contexts = [(1, "base:allocation".to_owned())].into();
    let agreed = Agreed { style, contexts, export_bytes: 1 << 40, payload_max: 1 << 20 };
    (Client::new(Box::new(near), ExportInfo::default(), agreed), far)
}

fn structured(cookie: u64, flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let (flags, kind) = (flags.to_be_bytes(), kind.to_be_bytes());
    let len = (payload.len() as u32).to_be_bytes();
    [b"\x66\x8e\x33\xef", &flags[..], &kind, &cookie.to_be_bytes(), &len, payload].concat()
}

fn extended(cookie: u64, offset: u64, flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let (flags, kind) = (flags.to_be_bytes(), kind.to_be_bytes());
    let numbers = [cookie, offset, payload.len() as u64].map(u64::to_be_bytes).concat();
    [b"\x6e\x8a\x27\x8c", &flags[..], &kind, &numbers, payload].concat()
}

#[tokio::test]
async fn chunks_of_several_requests_may_be_mixed() {
    let (mut client, mut far) = agreed(Style::Structured);
    let (one, other) = (client.submit(Operation::read(8, 4)), client.submit(Operation::read(0, 2)));
    let flush = client.submit(Operation::Flush);
    let sent = [
        structured(one, 0, 1, b"\0\0\0\0\0\0\0\x0acd"),
        structured(other, 1, 1, b"\0\0\0\0\0\0\0\0xy"),
        reply(flush, 0, b""),
        structured(one, 0, 1, b"\0\0\0\0\0\0\0\x08ab"),
        structured(one, 1, 0, b""),
    ];
    far.write_all(&sent.concat()).await.unwrap();
    assert_eq!(client.wait(one).await.unwrap(), Ok("abcd".into()));
    assert_eq!(client.wait(other).await.unwrap(), Ok("xy".into()));
    assert_eq!(client.wait(flush).await.unwrap(), Ok(Bytes::new()));
}

#[tokio::test]
async fn extended_headers_are_on_the_wire_as_the_extension_says() {
    let (mut client, mut far) = agreed(Style::Extended);
    let write = client.submit(Operation::write(0x1_0000_0002, &b"ab"[..]));
    let status = client.submit(Operation::block_status(4, 1 << 33, FLAG_REQ_ONE));
    client.send().await.unwrap();
    let mut sent = vec![0; 66];
    far.read_exact(&mut sent).await.unwrap();
    let first =
        b"\x21\xe4\x1c\x71\0\x20\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x02ab";
    let second =
        b"\x21\xe4\x1c\x71\0\x08\0\x07\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x04\0\0\0\x02\0\0\0\0";
    assert_eq!(sent, [&first[..], second].concat());
    let extent = b"\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x03";
    let answers =
        [extended(status, 4, 1, 6, extent), extended(write, 0x1_0000_0002, 1, 0, b"")].concat();
    far.write_all(&answers).await.unwrap();
    assert_eq!(client.wait(write).await.unwrap(), Ok(Bytes::new()));
    let reply = client.wait_reply(status).await.unwrap();
    assert_eq!(reply.detail.extents[&1], [Extent { len: 1 << 33, flags: 3 }]);
}

#[tokio::test]
async fn replies_of_another_kind_than_agreed_on_are_a_broken_protocol() {
    let cases = [
        (Style::Simple, structured(1, 1, 0, b"")),
        (Style::Simple, extended(1, 0, 1, 0, b"")),
        (Style::Structured, extended(1, 0, 1, 0, b"")),
        (Style::Extended, structured(1, 1, 0, b"")),
        (Style::Extended, reply(1, 0, b"")),
        (Style::Structured, structured(2, 1, 0, b"")),
        (
            Style::Structured,
            [structured(1, 0, 0x8001, b"\0\0\0\x05\0\0"), reply(1, 0, b"")].concat(),
        ),
        (Style::Structured, structured(1, 1, 0, b"")[..16].iter().copied().chain([9; 4]).collect()),
    ];
    for (style, bytes) in cases {
        let (mut client, mut far) = agreed(style);
        client.submit(Operation::Flush);
        far.write_all(&bytes).await.unwrap();
        let result = client.reply().await;
        assert!(
            matches!(result, Err(ClientError::Protocol(_))),
            "{style:?} {bytes:02x?} {result:?}"
        );
    }
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_reply_is_an_error() {
    let (mut client, mut far) = agreed(Style::Structured);
    let read = client.submit(Operation::read(0, 4));
    far.write_all(&structured(read, 0, 1, b"\0\0\0\0\0\0\0\0ab")).await.unwrap();
    drop(far);
    assert!(client.rest().await.unwrap_err().is_connection_lost());
}
