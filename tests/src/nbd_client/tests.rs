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
    assert_eq!(client.reply().await.unwrap(), Reply { cookie: write, result: Err(28) });
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
