//! Whole connections over a pipe, byte by byte as a client sees them.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod memory;

use memory::Memory;
use nbd_server::{
    Answer, Errno, ExportInfo, Exports, Failure, Negotiated, NegotiationError, Refusal,
    ReplyWriter, RequestReader, Session, Terms, Ticket, TlsOffer, VecBuffers, negotiate,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const SIZE: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The client's end of a pipe.
struct Client(DuplexStream);

impl Client {
    async fn greeted(stream: DuplexStream) -> Self {
        let mut client = Self(stream);
        assert_eq!(client.take(18).await, b"NBDMAGICIHAVEOPT\0\x03");
        client.send(&[0, 0, 0, 3]).await;
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// All that comes until the server closes.
    async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    async fn option(&mut self, option: u32, data: &[u8]) {
        let len = data.len() as u32;
        let option = option.to_be_bytes();
        self.send(&[b"IHAVEOPT", &option[..], &len.to_be_bytes(), data].concat()).await;
    }

    async fn option_reply(&mut self) -> (u32, Vec<u8>) {
        let header = self.take(20).await;
        assert_eq!(header[..8], [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9]);
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        (number(12), self.take(number(16) as usize).await)
    }

    async fn go(&mut self) {
        self.option(7, &go_data("r0")).await;
        assert_eq!(self.option_reply().await.0, 3);
        assert_eq!(self.option_reply().await, (1, vec![]));
    }

    async fn request(&mut self, command: u16, flags: u16, cookie: u64, offset: u64, len: u32) {
        self.send(&request(command, flags, cookie, offset, len)).await;
    }

    /// The header of a simple reply: error and cookie.
    async fn reply(&mut self) -> (u32, u64) {
        let header = self.take(16).await;
        assert_eq!(header[..4], [0x67, 0x44, 0x66, 0x98]);
        (
            u32::from_be_bytes(header[4..8].try_into().unwrap()),
            u64::from_be_bytes(header[8..].try_into().unwrap()),
        )
    }
}

fn go_data(name: &str) -> Vec<u8> {
    [&(name.len() as u32).to_be_bytes()[..], name.as_bytes(), &[0, 0]].concat()
}

fn request(command: u16, flags: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    let mut bytes = vec![0x25, 0x60, 0x95, 0x13];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

/// Runs a client against a server of memory, and gives what the server made of it.
async fn against_memory(script: impl AsyncFnOnce(Client)) -> Result<(), String> {
    let memory = Memory::new("r0", SIZE);
    let (near, far) = duplex(1 << 20);
    let serve = async { memory.serve(far, "test").await.map_err(|error| error.to_string()) };
    let script = async { script(Client::greeted(near).await).await };
    tokio::join!(serve, script).0
}

#[tokio::test]
async fn a_life_from_the_greeting_to_disc() {
    let ended = against_memory(async |mut client| {
        client.option(5, b"").await;
        assert_eq!(client.option_reply().await.0, 0x8000_0002, "STARTTLS");
        client.go().await;
        client.request(1, 1, 11, 4096, 5).await;
        client.send(b"hello").await;
        assert_eq!(client.reply().await, (0, 11));
        client.request(0, 0, 12, 4095, 7).await;
        assert_eq!(client.reply().await, (0, 12));
        assert_eq!(client.take(7).await, b"\0hello\0");
        client.request(4, 0, 13, 4097, 2).await;
        assert_eq!(client.reply().await, (0, 13));
        client.request(0, 0, 14, 4096, 5).await;
        assert_eq!(client.reply().await, (0, 14));
        assert_eq!(client.take(5).await, b"h\0\0lo", "trimmed bytes are zeros");
        client.request(3, 0, 15, 0, 0).await;
        assert_eq!(client.reply().await, (0, 15));
        client.request(2, 0, 16, 0, 0).await;
        assert!(client.rest().await.is_empty(), "DISC has no reply");
    });
    assert_eq!(ended.await, Ok(()));
}

#[tokio::test]
async fn everything_in_flight_is_answered_before_disc_closes() {
    let ended = against_memory(async |mut client| {
        client.go().await;
        let mut bytes = Vec::new();
        for cookie in 0..8 {
            bytes.extend(request(0, 0, cookie, 0, 512));
        }
        bytes.extend(request(2, 0, 8, 0, 0));
        client.send(&bytes).await;
        assert_eq!(client.rest().await.len(), 8 * (16 + 512));
    });
    assert_eq!(ended.await, Ok(()));
}

#[tokio::test]
async fn requests_may_follow_go_in_the_same_segment() {
    let ended = against_memory(async |mut client| {
        let data = go_data("r0");
        let option = [b"IHAVEOPT", &7u32.to_be_bytes()[..], &(data.len() as u32).to_be_bytes()];
        let bytes = [&option.concat(), &data, &request(0, 0, 5, 0, 10), &request(2, 0, 6, 0, 0)];
        client.send(&bytes.map(|part| &part[..]).concat()).await;
        assert_eq!(client.option_reply().await.0, 3);
        assert_eq!(client.option_reply().await.0, 1);
        assert_eq!(client.reply().await, (0, 5));
        assert_eq!(client.rest().await.len(), 10);
    });
    assert_eq!(ended.await, Ok(()));
}

#[tokio::test]
async fn errors_are_told_and_the_connection_goes_on() {
    let ended = against_memory(async |mut client| {
        client.go().await;
        for (command, flags, offset, len, error) in [
            (0, 0, SIZE, 1, 22),
            (0, 0, u64::MAX - 511, 512, 22),
            (0, 2, 0, 512, 22),
            (0, 0, 0, 0, 0),
            (1, 0, SIZE - 1, 2, 28),
            (4, 0, SIZE - 1, 2, 22),
            (6, 0, SIZE - 1, 2, 28),
            (6, 2, 0, 512, 0),
            (6, 16, 0, 512, 0),
            (6, 4, 0, 512, 22),
            (7, 0, 0, 512, 22),
            (8, 0, 0, 512, 22),
            (3, 1, 9, 9, 0),
            (5, 0, 0, 512, 0),
        ] {
            client.request(command, flags, 99, offset, len).await;
            if command == 1 {
                client.send(&vec![0; len as usize]).await;
            }
            let reply = client.reply().await;
            assert_eq!(reply, (error, 99), "command {command} flags {flags} {offset}+{len}");
        }
        client.request(2, 0, 0, 0, 0).await;
    });
    assert_eq!(ended.await, Ok(()));
}

#[tokio::test]
async fn a_read_only_export_refuses_writes() {
    let ended = against_memory(async |mut client| {
        client.option(7, &go_data("r0-ro")).await;
        let (_, info) = client.option_reply().await;
        assert_eq!(info[10..], 0x50f_u16.to_be_bytes());
        client.option_reply().await;
        client.request(1, 0, 1, 0, 3).await;
        client.send(b"abc").await;
        assert_eq!(client.reply().await, (1, 1));
        client.request(4, 0, 2, 0, 3).await;
        assert_eq!(client.reply().await, (1, 2));
        client.request(2, 0, 3, 0, 0).await;
    });
    assert_eq!(ended.await, Ok(()));
}

#[tokio::test]
async fn a_bad_request_closes_after_the_replies_before_it() {
    let ended = against_memory(async |mut client| {
        client.go().await;
        client.request(3, 0, 1, 0, 0).await;
        assert_eq!(client.reply().await, (0, 1));
        client.send(&[0xff; 28]).await;
        assert!(client.rest().await.is_empty());
    });
    let error = ended.await.unwrap_err();
    assert!(error.contains("0xffffffff"), "{error}");
}

#[tokio::test]
async fn clients_may_vanish_at_any_byte() {
    let mut bytes = vec![0, 0, 0, 3];
    for (option, data) in [(3, vec![]), (6, go_data("r0")), (7, go_data("r0"))] {
        bytes.extend(b"IHAVEOPT");
        bytes.extend(u32::to_be_bytes(option));
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
    }
    let negotiation = bytes.len();
    bytes.extend(request(1, 0, 1, 0, 40));
    bytes.extend([7; 40]);
    bytes.extend(request(0, 0, 1, 0, 4096));
    let whole_requests = [negotiation, negotiation + 68, bytes.len()];
    for cut in 0..=bytes.len() {
        let memory = Memory::new("r0", SIZE);
        let (mut near, far) = duplex(1 << 20);
        near.write_all(&bytes[..cut]).await.unwrap();
        // The replies are thrown away, as a reset does.
        drop(near);
        let ended = memory.serve(far, "test").await;
        assert!(cut == negotiation || ended.is_err(), "{cut}: {ended:?}");
        let memory = Memory::new("r0", SIZE);
        let (mut near, far) = duplex(1 << 20);
        near.write_all(&bytes[..cut]).await.unwrap();
        // The replies are listened for; only sending has ended.
        near.shutdown().await.unwrap();
        let ended = memory.serve(far, "test").await;
        assert_eq!(ended.is_ok(), whole_requests.contains(&cut), "{cut}: {ended:?}");
    }
}

#[tokio::test]
async fn export_name_refused_is_a_closed_connection() {
    let ended = against_memory(async |mut client| {
        client.option(1, b"secondary").await;
        assert!(client.rest().await.is_empty());
    });
    let error = ended.await.unwrap_err();
    assert!(error.contains("this node is Secondary"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_negotiate_is_dropped() {
    // One that says nothing, and one that sends a byte every second: in ten seconds the flags
    // and the beginning of an option.
    for slow_loris in [false, true] {
        let memory = Memory::new("r0", SIZE);
        let (mut near, mut far) = duplex(1 << 20);
        let drip = async {
            while slow_loris && near.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await
        };
        let begun = tokio::time::Instant::now();
        let error = tokio::select! {
            negotiated = negotiate(&mut far, &memory, &TlsOffer::Off, "test", TIMEOUT) => negotiated.unwrap_err(),
            () = drip => unreachable!("it never ends"),
        };
        assert!(matches!(error, NegotiationError::TimedOut(TIMEOUT)), "{error:?}");
        assert_eq!(begun.elapsed(), TIMEOUT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_replies_is_dropped() {
    let memory = Memory::new("r0", SIZE);
    let (mut near, mut far) = duplex(18);
    near.write_all(&[0, 0, 0, 3]).await.unwrap();
    let error = tokio::select! {
        negotiated = negotiate(&mut far, &memory, &TlsOffer::Off, "test", TIMEOUT) => negotiated.unwrap_err(),
        () = async {
            near.write_all(&[b"IHAVEOPT", &3u32.to_be_bytes()[..], &[0; 4]].concat()).await.unwrap();
            std::future::pending().await
        } => unreachable!("it never ends"),
    };
    assert!(matches!(error, NegotiationError::TimedOut(_)), "{error:?}");
}

/// An export that opens after a minute.
struct Restoring;

impl Exports for Restoring {
    fn list(&self, _: Session<'_>) -> Vec<ExportInfo> {
        vec![]
    }

    fn find(&self, name: &str, _: Session<'_>) -> Result<ExportInfo, Refusal> {
        Ok(ExportInfo::new(name, SIZE))
    }

    async fn open(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal> {
        tokio::time::sleep(6 * TIMEOUT).await;
        self.find(name, session)
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_daemon_is_not_held_against_the_client() {
    let (near, mut far) = duplex(1 << 20);
    let client = async {
        let mut client = Client::greeted(near).await;
        client.go().await;
        client
    };
    let (negotiated, _client) =
        tokio::join!(negotiate(&mut far, &Restoring, &TlsOffer::Off, "test", TIMEOUT), client);
    assert_eq!(negotiated.unwrap().terms.export.name, "r0");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_while_the_daemon_waits_is_noticed_at_once() {
    let (near, mut far) = duplex(1 << 20);
    let begun = tokio::time::Instant::now();
    let client = async {
        let mut client = Client::greeted(near).await;
        client.option(7, &go_data("r0")).await;
    };
    let (negotiated, ()) =
        tokio::join!(negotiate(&mut far, &Restoring, &TlsOffer::Off, "test", TIMEOUT), client);
    assert!(matches!(negotiated, Err(NegotiationError::HungUp)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn replies_may_come_in_any_order() {
    let (near, far) = duplex(1 << 20);
    let serve = async {
        let memory = Memory::new("r0", SIZE);
        let negotiated = negotiate(far, &memory, &TlsOffer::Off, "test", TIMEOUT).await.unwrap();
        let Negotiated { stream, terms, leftover } = negotiated;
        assert_eq!(terms, Terms::simple(terms.export.clone()));
        assert_eq!(terms.transmission_flags(), 0xd6d);
        let (read, write) = tokio::io::split(stream);
        let mut writer = ReplyWriter::new(write, terms.replies);
        let mut reader = RequestReader::new(read, terms, leftover, VecBuffers);
        for _ in 0..3 {
            reader.next().await.unwrap();
        }
        let ticket = |cookie| Ticket { cookie, offset: 0 };
        writer.push(ticket(3), Err(Failure::new(Errno::Io, "no")));
        writer.push(ticket(1), Ok(Answer::Data(vec![vec![5; 2000].into()])));
        writer.push(ticket(2), Ok(Answer::Data(vec![vec![6; 20].into()])));
        writer.flush().await.unwrap();
    };
    let client = async {
        let mut client = Client::greeted(near).await;
        client.go().await;
        client.request(0, 0, 1, 0, 2000).await;
        client.request(0, 0, 2, 0, 20).await;
        client.request(3, 0, 3, 0, 0).await;
        assert_eq!(client.reply().await, (5, 3));
        assert_eq!(client.reply().await, (0, 1));
        assert_eq!(client.take(2000).await, [5; 2000]);
        assert_eq!(client.reply().await, (0, 2));
        assert_eq!(client.rest().await, [6; 20]);
    };
    tokio::join!(serve, client);
}
