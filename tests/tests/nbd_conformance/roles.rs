//! What becomes of clients when the node is Secondary, changes its role, or ends; of a read-only
//! resource, and of one that asks for TLS. Each test has a daemon of its own.

use super::*;
use std::fs;
use tests::certificates::Authority;
use tests::conformance::{Served, run};
use tests::nbd_client::{
    ClientError, FLAG_FAST_ZERO, Handshake, Operation, Style, Wire, name_and_requests,
    name_and_strings,
};

const SMALL: u64 = 16 << 20;

/// It says what there is, and who would serve it; GO may be tried again in the same negotiation.
/// [H9, O1, O20, P11]
#[test]
fn a_secondary_describes_and_does_not_serve() {
    run(async {
        let served = Served::secondary(SMALL).unwrap();
        let mut handshake = served.negotiate().await.unwrap();
        let listed = handshake.list().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert!(listed[0].1.contains("Secondary"), "{listed:?}");
        let info = handshake.info("r0").await.unwrap();
        assert_eq!(info.name, "r0/0");
        let Err((error, handshake)) = handshake.go("r0").await else {
            panic!("a Secondary serves")
        };
        let ClientError::Refused { kind, text } = error else { panic!("{error:?}") };
        assert_eq!(kind, ClientError::POLICY);
        assert!(text.contains("Secondary") && text.contains("repadm primary"), "{text}");
        let mut wire = Wire::greeted(&served.unix(), 3).await.unwrap();
        wire.send_option(1, 2, b"r0").await.unwrap();
        wire.closed().await.unwrap();
        served.cluster.alpha.repadm(&["primary", "--force", "r0"]).unwrap();
        let mut client = handshake.go("r0").await.unwrap();
        client.read(0, 512).await.unwrap();
        client.disconnect().await.unwrap();
        served.cluster.finish().unwrap();
    });
}

/// Brings up another resource, r1, with these lines in its section, and makes it Primary.
fn second_resource(served: &Served, lines: &str) {
    let cluster = &served.cluster;
    let alpha = &cluster.alpha;
    let disk = cluster.directory().join("second");
    fs::File::create(&disk).unwrap().set_len(SMALL).unwrap();
    let [here, there] = cluster.ports_of_cables();
    let host = |name: &str, port: u16| {
        format!(
            "on {name} {{ device /dev/drbd2; disk \"{}\"; address 127.0.0.1:{port}; \
             meta-disk internal; }}\n",
            disk.display()
        )
    };
    let hosts = host("alpha", here) + &host("beta", there);
    let first = fs::read_to_string(alpha.config()).unwrap();
    fs::write(alpha.config(), format!("{first}resource r1 {{\n{hosts}{lines}}}\n")).unwrap();
    for words in [&["create-md"][..], &["up"], &["primary", "--force"]] {
        alpha.repadm(&[words, &["r1"]].concat()).unwrap();
    }
}

/// The empty name means the only resource, so with two of them it means none.
/// [O2, O6]
#[test]
fn with_two_resources_there_is_no_default_export() {
    run(async {
        let served = Served::primary(SMALL).unwrap();
        second_resource(&served, "");
        let mut handshake = served.negotiate().await.unwrap();
        let listed = handshake.list().await.unwrap();
        let names: Vec<&str> = listed.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["r0/0", "r1/0"]);
        let error = handshake.info("").await.unwrap_err();
        assert_eq!(error.refused_with(), Some(ClientError::UNKNOWN));
        let Err((error, handshake)) = handshake.go("").await else { panic!("which of the two?") };
        assert_eq!(error.refused_with(), Some(ClientError::UNKNOWN));
        let mut wire = Wire::greeted(&served.unix(), 3).await.unwrap();
        wire.send_option(1, 0, b"").await.unwrap();
        wire.closed().await.unwrap();
        // They are two devices.
        let mut one = handshake.go("r1").await.unwrap();
        let mut other = served.client(Style::Simple).await.unwrap();
        one.write(0, b"one", false).await.unwrap();
        other.write(0, b"two", false).await.unwrap();
        assert_eq!(one.read(0, 3).await.unwrap(), &b"one"[..]);
        drop((one, other));
        served.cluster.finish().unwrap();
    });
}

/// What comes to an export that is taken away is told so, or finds the connection closed: never
/// another error, which a file system might take for one of the disk.
/// [D4]
#[test]
fn an_export_that_is_taken_away_says_shutdown() {
    run(async {
        for command in ["secondary", "down"] {
            let served = Served::primary(SMALL).unwrap();
            let mut clients = Vec::new();
            for style in STYLES {
                let mut client = served.client(style).await.unwrap();
                client.write(0, b"kept", true).await.unwrap();
                clients.push(client);
            }
            served.cluster.alpha.repadm(&[command, "--force", "r0"]).unwrap();
            for mut client in clients {
                client.submit(Operation::read(0, 4));
                client.submit(Operation::write(0, &b"lost"[..]));
                // What is left to hear, up to the end.
                let _ = client.send().await;
                match client.rest().await {
                    Ok(replies) => assert!(
                        replies.iter().all(|reply| reply.result == Err(ESHUTDOWN)),
                        "{command}: {replies:?}"
                    ),
                    Err(error) => assert!(error.is_connection_lost(), "{command}: {error}"),
                }
            }
            served.cluster.finish().unwrap();
        }
    });
}

/// What is in flight when the daemon ends in order is done and answered, or told that it is not.
/// [D3, D4]
#[test]
fn a_daemon_that_ends_answers_what_is_in_flight() {
    run(async {
        for style in STYLES {
            let mut served = Served::primary(SMALL).unwrap();
            let mut client = served.client(style).await.unwrap();
            let mut sent = Vec::new();
            for at in 0..200_u64 {
                let data = vec![at as u8; 4096];
                sent.push((at, client.submit(Operation::write(at * 4096, data))));
            }
            client.send().await.unwrap();
            // One answer: the daemon is at it.
            let first = client.reply().await.unwrap();
            assert_eq!(first.result.as_deref(), Ok(&b""[..]));
            let ended = std::thread::scope(|scope| {
                let alpha = &mut served.cluster.alpha;
                let end = scope.spawn(move || alpha.terminate());
                end.join().unwrap()
            });
            ended.unwrap();
            let mut replies = vec![first];
            while let Ok(reply) = client.reply().await {
                assert!(reply.result.is_ok() || reply.result == Err(ESHUTDOWN), "{reply:?}");
                replies.push(reply);
            }
            // What was answered as done is on the disk.
            let disk = fs::read(served.cluster.alpha.disk()).unwrap();
            for reply in replies.iter().filter(|reply| reply.result.is_ok()) {
                let (at, _) = sent.iter().find(|(_, cookie)| *cookie == reply.cookie).unwrap();
                let begin = *at as usize * 4096;
                assert!(disk[begin..begin + 4096] == [*at as u8; 4096], "{style:?}: block {at}");
            }
            served.cluster.finish().unwrap();
        }
    });
}

/// CVE-2024-7409, too: who negotiates when the daemon ends keeps it from nothing.
/// [E7, P15, X8]
#[test]
fn clients_in_negotiation_do_not_hold_up_the_end() {
    run(async {
        let served = Served::primary(SMALL).unwrap();
        let mut waiting: Vec<Handshake> = Vec::new();
        for _ in 0..20 {
            waiting.push(served.negotiate().await.unwrap());
        }
        let silent = Wire::connect(&served.tcp()).await.unwrap();
        served.cluster.finish().unwrap();
        for mut handshake in waiting {
            let error = handshake.list().await.unwrap_err();
            let told = error.refused_with() == Some(ClientError::SHUTDOWN);
            assert!(told || error.is_connection_lost(), "{error:?}");
        }
        drop(silent);
    });
}

/// The flag says so, and every kind of write is EPERM, whatever else is wrong with its range.
/// [F9, N5]
#[test]
fn a_read_only_resource_refuses_every_write() {
    run(async {
        let served = Served::primary_with(SMALL, &["read-only yes".to_owned()]).unwrap();
        for style in STYLES {
            let mut client = served.client(style).await.unwrap();
            let flags = client.export().flags;
            assert!(client.export().is_read_only(), "0x{flags:x}");
            // Neither TRIM, WRITE_ZEROES nor FAST_ZERO.
            assert_eq!(flags & (1 << 5 | 1 << 6 | 1 << 11), 0, "0x{flags:x}");
            let size = client.export().size;
            for command in [WRITE, TRIM, WRITE_ZEROES] {
                for (offset, len) in [(0, 4096), (0, 0), (size, 512), (1, 100_000)] {
                    let got = errno(&mut client, request(style, command, 0, offset, len)).await;
                    assert_eq!(got, Some(EPERM), "{style:?} {command} {offset}+{len}");
                }
            }
            let fast = Operation::raw(WRITE_ZEROES, FLAG_FAST_ZERO, 0, 4096);
            let got = errno(&mut client, fast).await;
            assert!([Some(EPERM), Some(EINVAL)].contains(&got), "{got:?}");
            assert_eq!(client.read(0, 4096).await.unwrap(), vec![0; 4096]);
            client.flush().await.unwrap();
        }
        served.cluster.finish().unwrap();
    });
}

/// FORCEDTLS: in the clear every option is answered with «TLS first», whatever it names, and what
/// cannot be answered closes.
/// [L2, L8, L10, L11, L12]
#[test]
fn where_tls_is_required_a_daemon_says_nothing_in_the_clear() {
    run(async {
        let papers = tempfile::tempdir().unwrap();
        let authority = Authority::new("an authority of the tests").unwrap();
        authority.write_server(papers.path(), "a server").unwrap();
        let directory = format!("tls-certificates \"{}\"", papers.path().display());
        let served = Served::primary_with(SMALL, &["tls require".to_owned(), directory]).unwrap();
        let mut handshake = served.negotiate().await.unwrap();
        for name in ["r0", "nobody", ""] {
            for option in [3, 4, 6, 7, 8, 9, 10, 11, 99] {
                let data = name_and_requests(name, &[]);
                let replies = handshake.ask(option, &data).await.unwrap();
                let kinds: Vec<u32> = replies.iter().map(|reply| reply.kind).collect();
                assert_eq!(kinds, [ClientError::TLS_REQD], "option {option}");
                let text = String::from_utf8_lossy(&replies[0].data);
                assert!(name.is_empty() || !text.contains(name), "{text}");
            }
        }
        let replies = handshake.ask(5, b"data").await.unwrap();
        assert_eq!(replies[0].kind, ClientError::INVALID);
        handshake.abort().await.unwrap();
        let mut wire = Wire::greeted(&served.tcp(), 3).await.unwrap();
        wire.send_option(1, 2, b"r0").await.unwrap();
        wire.closed().await.unwrap();
        // What is no TLS handshake behind the ACK ends the session: there is no way back.
        let mut wire = Wire::greeted(&served.tcp(), 3).await.unwrap();
        wire.send_option(5, 0, b"").await.unwrap();
        assert_eq!(wire.option_reply(5).await.unwrap(), (1, vec![]));
        wire.send(b"IHAVEOPT\0\0\0\x03\0\0\0\0").await.unwrap();
        let alert = wire.rest().await.unwrap();
        assert!(!alert.starts_with(&[0, 3, 0xe8, 0x89]), "no option is answered: {alert:02x?}");
        served.cluster.finish().unwrap();
    });
}

/// SELECTIVETLS: in the clear INFO and GO of what needs TLS, and of what does not exist, say «TLS
/// first», so that no name can be guessed; other options do not say that, and the other resource is
/// served.
/// [L6, L14, L15]
#[test]
fn a_resource_that_requires_tls_is_hidden_in_the_clear() {
    run(async {
        let papers = tempfile::tempdir().unwrap();
        let authority = Authority::new("an authority of the tests").unwrap();
        authority.write_server(papers.path(), "a server").unwrap();
        let served = Served::primary(SMALL).unwrap();
        let directory = papers.path().display();
        let lines = format!("nbd {{ tls require; tls-certificates \"{directory}\"; }}\n");
        second_resource(&served, &lines);
        let mut handshake = served.negotiate().await.unwrap();
        let listed = handshake.list().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].0, "r0/0");
        handshake.structured_replies().await.unwrap();
        for name in ["r1", "r1/0", "nobody"] {
            for option in [6, 7] {
                let replies = handshake.ask(option, &name_and_requests(name, &[1, 2, 3])).await;
                let kinds: Vec<u32> = replies.unwrap().iter().map(|reply| reply.kind).collect();
                assert_eq!(kinds, [ClientError::TLS_REQD], "{option} {name}");
            }
            for option in [9, 10] {
                let replies = handshake.ask(option, &name_and_strings(name, &[])).await.unwrap();
                let kinds: Vec<u32> = replies.iter().map(|reply| reply.kind).collect();
                assert_eq!(kinds, [ClientError::UNKNOWN], "{option} {name}");
            }
            let mut wire = Wire::greeted(&served.unix(), 3).await.unwrap();
            wire.send_option(1, name.len() as u32, name.as_bytes()).await.unwrap();
            wire.closed().await.unwrap();
        }
        let mut client = handshake.go("r0").await.unwrap();
        client.read(0, 512).await.unwrap();
        client.disconnect().await.unwrap();
        let mut wire = Wire::greeted(&served.tcp(), 3).await.unwrap();
        wire.send_option(5, 0, b"").await.unwrap();
        assert_eq!(wire.option_reply(5).await.unwrap(), (1, vec![]), "TLS may begin");
        drop(wire);
        served.cluster.finish().unwrap();
    });
}
