//! Flags of commands: which each command takes.

use super::*;
use tests::conformance::run;
use tests::nbd_client::{
    FLAG_DF, FLAG_FAST_ZERO, FLAG_FUA, FLAG_NO_HOLE, FLAG_REQ_ONE, Operation, Style,
};

/// The flags that a command takes in that style.
fn allowed(style: Style, command: u16) -> u16 {
    FLAG_FUA
        | match command {
            READ if style != Style::Simple => FLAG_DF,
            WRITE_ZEROES => FLAG_NO_HOLE | FLAG_FAST_ZERO,
            BLOCK_STATUS => FLAG_REQ_ONE,
            // Any other command with a payload is another test.
            _ => 0,
        }
}

/// Each command with each bit: what is not documented for it is EINVAL, the connection goes on,
/// and the payload of a WRITE is skipped.
/// [D5, Q25, N9]
#[test]
fn flags_that_a_command_does_not_take_are_einval() {
    run(async {
        for style in STYLES {
            let mut client = client_with_status(style).await;
            let area = served().area(1 << 20);
            client.write(area, b"before", false).await.unwrap();
            for command in [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
                if command == BLOCK_STATUS && style == Style::Simple {
                    continue;
                }
                let bits = (0..16).map(|bit| 1_u16 << bit).filter(|bit| *bit != FLAG_PAYLOAD_LEN);
                for bit in bits.filter(|bit| allowed(style, command) & bit == 0) {
                    let (offset, len) = if command == FLUSH { (0, 0) } else { (area, 512) };
                    let operation = request(style, command, bit, offset, len);
                    let got = errno(&mut client, operation).await;
                    assert_eq!(got, Some(EINVAL), "{style:?} command {command} flag 0x{bit:x}");
                }
            }
            let read = client.read(area, 6).await.unwrap();
            assert_eq!(read, &b"before"[..], "what is refused is not done");
        }
    });
}

/// It must be taken everywhere, even where it means nothing: clients are known to send it.
/// [K1, A9]
#[test]
fn fua_is_taken_with_every_command() {
    run(async {
        for style in STYLES {
            let mut client = client_with_status(style).await;
            let area = served().area(1 << 20);
            for command in [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
                if command == BLOCK_STATUS && style == Style::Simple {
                    continue;
                }
                let (offset, len) = if command == FLUSH { (0, 0) } else { (area, 512) };
                let operation = request(style, command, FLAG_FUA, offset, len);
                assert_eq!(errno(&mut client, operation).await, None, "{style:?} {command}");
            }
        }
    });
}

/// Every combination of those that a command takes.
/// [F10, K3]
#[test]
fn flags_may_be_combined() {
    run(async {
        for style in STYLES {
            let mut client = client_with_status(style).await;
            let area = served().area(1 << 20);
            for command in [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
                if command == BLOCK_STATUS && style == Style::Simple {
                    continue;
                }
                let allowed = allowed(style, command);
                for flags in (0..32).filter(|flags| flags & !allowed == 0) {
                    let got = errno(&mut client, request(style, command, flags, area, 4096)).await;
                    let slow = got == Some(ENOTSUP) && flags & FLAG_FAST_ZERO != 0;
                    assert!(got.is_none() || slow, "{style:?} {command} 0x{flags:x}: {got:?}");
                }
            }
        }
    });
}

/// DF comes with replies in chunks only.
/// [F14, N9]
#[test]
fn df_without_chunks_is_einval() {
    run(async {
        let mut client = served().client(Style::Simple).await.unwrap();
        let got = errno(&mut client, Operation::raw(READ, FLAG_DF, 0, 512)).await;
        assert_eq!(got, Some(EINVAL));
        client.read(0, 512).await.unwrap();
    });
}

/// Flags are looked at before the range, and unknown commands before both.
/// [D5]
#[test]
fn several_mistakes_are_one_error() {
    run(async {
        for style in STYLES {
            let mut client = served().client(style).await.unwrap();
            let size = client.export().size;
            let operation = request(style, WRITE, FLAG_DF, size, 512);
            assert_eq!(errno(&mut client, operation).await, Some(EINVAL));
            let operation = Operation::raw(99, 0xff00, size, 512);
            assert_eq!(errno(&mut client, operation).await, Some(EINVAL));
            client.read(0, 1).await.unwrap();
        }
    });
}
