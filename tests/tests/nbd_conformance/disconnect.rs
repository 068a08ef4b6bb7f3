//! Ends of the transmission phase: DISC, clients that vanish, daemons that end.

use super::limits::open;
use super::*;
use tests::conformance::run;
use tests::nbd_client::{Operation, Style};

/// Everything that was asked before is answered, then the connection ends; the DISC is not
/// answered.
/// [D1, Q18, A5, X14]
#[test]
fn disc_finishes_what_is_in_flight() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            for at in 0..64 {
                client.submit(Operation::read(at * 4096, 4096));
                client.submit(Operation::write(area + at * 512, vec![1; 512]));
                client.submit(Operation::Flush);
            }
            let replies = client.disconnect().await.unwrap();
            assert_eq!(replies.len(), 192, "{style:?}");
            assert!(replies.iter().all(|reply| reply.result.is_ok()));
        }
    });
}

/// Whatever its other fields say: the client goes.
/// [D1, Q19]
#[test]
fn disc_ends_the_connection_whatever_its_fields_say() {
    run(async {
        for (flags, offset, len) in [(0, 0, 0), (1, 0, 0), (0xffff, 5, 512), (0, u64::MAX, 1)] {
            for style in STYLES {
                // A payload that DISC does not have would have to be waited for.
                let flags = if style == Style::Extended { flags & !0x20 } else { flags };
                let mut client = served().client(style).await.unwrap();
                client.submit(Operation::raw(DISC, flags, offset, len));
                client.send().await.unwrap();
                assert_eq!(client.rest().await.unwrap(), [], "{style:?}");
            }
        }
    });
}

/// Nothing that comes behind it is done.
/// [Q18]
#[test]
fn what_follows_disc_is_not_heard() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let area = served().area(1 << 20);
            client.write(area, b"before", false).await.unwrap();
            client.submit(Operation::raw(DISC, 0, 0, 0));
            client.submit(Operation::write(area, &b"behind"[..]));
            // The server may have hung up before all of it was sent.
            let _ = client.send().await;
            assert_eq!(client.rest().await.unwrap_or_default(), [], "{style:?}");
            let mut client = served().client(style).await.unwrap();
            assert_eq!(client.read(area, 6).await.unwrap(), &b"before"[..]);
        }
    });
}

/// nbdkit of 2023 died of it: a client that is gone while its READs are answered.
/// [D7, X11]
#[test]
fn a_client_may_vanish_in_the_middle_of_replies() {
    run(async {
        for style in STYLES {
            for received in [0, 1, 16, 20, 33, 4096, 100_000] {
                let mut wire = open(style).await;
                for _ in 0..16 {
                    wire.send(&read_header(style, 1 << 20)).await.unwrap();
                }
                wire.receive(received).await.unwrap();
            }
        }
        served().lives().await.unwrap();
    });
}

/// At each byte of a header, and in its payload: what was not wholly sent is not done.
/// [D7]
#[test]
fn a_client_may_vanish_in_the_middle_of_a_request() {
    run(async {
        for style in STYLES {
            let area = served().area(1 << 20);
            let mut client = served().client(style).await.unwrap();
            client.write(area, b"before", false).await.unwrap();
            let whole = [write_header(style, area, 4096), vec![0x55; 4096]].concat();
            let header = whole.len() - 4096;
            for len in (0..=header).chain([header + 1, header + 512, whole.len() - 1]) {
                let mut wire = open(style).await;
                wire.send(&whole[..len]).await.unwrap();
                wire.shut_down().await.unwrap();
                wire.closed().await.unwrap_or_else(|error| panic!("{style:?} {len}: {error}"));
            }
            assert_eq!(client.read(area, 6).await.unwrap(), &b"before"[..], "{style:?}");
        }
    });
}

/// Whoever shuts down its side without a DISC is taken for gone, at once: what it had in flight it
/// may be sending again over another connection already.
/// [D7]
#[test]
fn a_half_closed_connection_is_closed() {
    run(async {
        for style in STYLES {
            for requests in [0, 1, 16] {
                let mut wire = open(style).await;
                for _ in 0..requests {
                    wire.send(&read_header(style, 4096)).await.unwrap();
                }
                wire.shut_down().await.unwrap();
                wire.rest().await.unwrap();
            }
        }
        served().lives().await.unwrap();
    });
}

/// The header of a READ at the beginning.
fn read_header(style: Style, len: u64) -> Vec<u8> {
    header(style, 0, 0, 0, len)
}

/// The header of a WRITE.
fn write_header(style: Style, offset: u64, len: u64) -> Vec<u8> {
    let flags = if style == Style::Extended { 0x20 } else { 0 };
    header(style, flags, 1, offset, len)
}

fn header(style: Style, flags: u16, command: u16, offset: u64, len: u64) -> Vec<u8> {
    let mut header = match style {
        Style::Extended => b"\x21\xe4\x1c\x71".to_vec(),
        _ => b"\x25\x60\x95\x13".to_vec(),
    };
    header.extend([flags.to_be_bytes(), command.to_be_bytes()].concat());
    header.extend(b"cookie00");
    header.extend(offset.to_be_bytes());
    match style {
        Style::Extended => header.extend(len.to_be_bytes()),
        _ => header.extend((len as u32).to_be_bytes()),
    }
    header
}
