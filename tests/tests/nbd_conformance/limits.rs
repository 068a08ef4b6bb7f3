//! Payloads up to the limit, over it, and far over it; clients that do not read; neighbours.

use super::*;
use tests::conformance::run;
use tests::nbd_client::{Client, ClientError, Operation, Style, Wire, name_and_requests};

const MIB: u64 = 1 << 20;

/// What every client may send and ask for without having asked for a limit.
/// [Z4, Z12, Y3]
#[test]
fn thirty_two_mebibytes_are_written_and_read() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(33 * MIB);
            let data: Vec<u8> = (0..32 * MIB).map(|at| (at / 4096 + at) as u8).collect();
            client.write(area + 1, &data, false).await.unwrap();
            let read = client.read(area + 1, data.len() as u32).await.unwrap();
            assert!(read == data, "{style:?}");
        }
    });
}

/// Over the advertised limit it is served or EINVAL, and the connection goes on either way. (That
/// no chunk is longer than the limit is checked with each reply.)
/// [Z4, Z6, Y3, Q8]
#[test]
fn longer_payloads_are_served_or_skipped() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(65 * MIB);
            for len in [32 * MIB + 1, 48 * MIB, 64 * MIB] {
                client.write(area, b"before", false).await.unwrap();
                let got = errno(&mut client, request(style, WRITE, 0, area, len)).await;
                let expected = match got {
                    None => [0x77; 6],
                    Some(EINVAL) => *b"before",
                    other => panic!("{other:?} for a WRITE of {len} bytes"),
                };
                assert_eq!(client.read(area, 6).await.unwrap(), expected[..]);
                let got = errno(&mut client, Operation::raw(READ, 0, area, len)).await;
                assert!(got.is_none() || got == Some(EINVAL), "{got:?} for a READ of {len} bytes");
            }
        }
    });
}

/// The longest payload that is read for nothing.
/// [Z12]
#[test]
fn a_write_of_128_mebibytes_is_skipped() {
    run(async {
        let mut client = served().client(Style::Structured).await.unwrap();
        let size = client.export().size;
        let got = errno(&mut client, request(Style::Structured, WRITE, 0, 0, 128 * MIB)).await;
        assert_eq!(got, Some(EINVAL));
        client.read(size - 1, 1).await.unwrap();
    });
}

/// Its payload is not read: no client sends so much.
/// [D2, Z12, X1]
#[test]
fn a_write_far_over_the_limit_closes() {
    run(async {
        for style in STYLES {
            for len in [128 * MIB + 1, 1 << 31, u64::from(u32::MAX)] {
                let mut client = served().client(style).await.unwrap();
                // Of a payload that does not come there is nothing to wait for.
                let mut operation = request(style, WRITE, 0, 0, 0);
                if let Operation::Raw { len: said, .. } = &mut operation {
                    *said = len;
                }
                client.submit(operation);
                let error = client.reply().await.unwrap_err();
                assert!(error.is_connection_lost(), "{style:?} {len}: {error}");
            }
        }
        served().lives().await.unwrap();
    });
}

/// No data is sent for them.
/// [Z6, Q8, N6]
#[test]
fn reads_far_over_the_limit_are_einval() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            for len in [64 * MIB + 1, 1 << 31, u64::from(u32::MAX)] {
                let got = errno(&mut client, Operation::raw(READ, 0, 0, len)).await;
                assert_eq!(got, Some(EINVAL), "{style:?} {len}");
            }
            client.read(0, 1).await.unwrap();
        }
    });
}

/// CVE-2005-3534 and CVE-2011-0530 were about it: a request that says more than it is.
/// [M6, D2, D6, X1]
#[test]
fn what_is_not_a_request_closes() {
    run(async {
        let reserved = [*b"\x12\x56\x09\x53", *b"\x96\x74\x46\x68", *b"\x25\x60\x95\x14"];
        let others = [[0; 4], [0xff; 4], *b"IHAV", *b"\x67\x44\x66\x98", *b"\x66\x8e\x33\xef"];
        for style in STYLES {
            let wrong_style = match style {
                Style::Extended => *b"\x25\x60\x95\x13",
                _ => *b"\x21\xe4\x1c\x71",
            };
            for magic in reserved.into_iter().chain(others).chain([wrong_style]) {
                let mut wire = open(style).await;
                wire.send(&[&magic[..], &[0; 28]].concat()).await.unwrap();
                wire.closed().await.unwrap_or_else(|error| panic!("{magic:02x?}: {error}"));
            }
        }
        served().lives().await.unwrap();
    });
}

/// A connection in its transmission phase, by hand.
pub(super) async fn open(style: Style) -> Wire {
    let mut wire = Wire::greeted(&served().unix(), 3).await.unwrap();
    let agree = match style {
        Style::Simple => None,
        Style::Structured => Some(8),
        Style::Extended => Some(11),
    };
    if let Some(option) = agree {
        wire.send_option(option, 0, b"").await.unwrap();
        assert_eq!(wire.option_reply(option).await.unwrap(), (1, vec![]));
    }
    let data = name_and_requests("r0/0", &[]);
    wire.send_option(7, data.len() as u32, &data).await.unwrap();
    assert_eq!(wire.option_reply(7).await.unwrap().0, 3);
    assert_eq!(wire.option_reply(7).await.unwrap(), (1, vec![]));
    wire
}

/// A client that asks and does not listen has only itself to wait for.
/// [D7]
#[test]
fn a_client_that_does_not_read_hinders_nobody() {
    run(async {
        let mut deaf = Vec::new();
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            for _ in 0..2000 {
                client.submit(Operation::read(0, 64 << 10));
            }
            // It sends as long as the server takes it.
            let sent = client.send();
            let _ = tokio::time::timeout(std::time::Duration::from_millis(200), sent).await;
            deaf.push(client);
        }
        served().lives().await.unwrap();
        let mut client = served().client(Style::Structured).await.unwrap();
        let area = served().area(1 << 20);
        for round in 0..50_u8 {
            client.write(area, &[round; 4096], true).await.unwrap();
            assert_eq!(client.read(area, 4096).await.unwrap(), [round; 4096][..]);
        }
        drop(deaf);
        served().lives().await.unwrap();
    });
}

/// More connections than the Linux driver makes.
/// [A10]
#[test]
fn many_connections_at_once() {
    run(async {
        let mut clients = Vec::new();
        for at in 0..100 {
            let address = if at % 2 == 0 { served().unix() } else { served().tcp() };
            clients.push(Client::connect(&address, "r0").await.unwrap());
        }
        let cookies: Vec<u64> =
            clients.iter_mut().map(|client| client.submit(Operation::read(0, 4096))).collect();
        for (client, cookie) in clients.iter_mut().zip(cookies) {
            client.wait(cookie).await.unwrap().unwrap();
        }
    });
}

/// A mistake of one connection is no other's.
/// [D7]
#[test]
fn a_broken_connection_leaves_its_neighbours() -> Result<(), ClientError> {
    let mut result = Ok(());
    run(async {
        result = async {
            let mut neighbour = served().client(Style::Extended).await?;
            let cookies: Vec<u64> =
                (0..64).map(|at| neighbour.submit(Operation::read(at * 512, 512))).collect();
            neighbour.send().await?;
            let mut wire = open(Style::Simple).await;
            wire.send(&[0xee; 64]).await?;
            wire.closed().await?;
            for cookie in cookies {
                neighbour.wait(cookie).await?.map_err(ClientError::Errno)?;
            }
            neighbour.disconnect().await.map(drop)
        }
        .await;
    });
    result
}
