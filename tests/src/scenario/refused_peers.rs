//! Who may connect: wrong peers are refused and logged, and learn nothing.

use super::{MIB, Report, Scale};
use crate::clock::until;
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use anyhow::Context;
use bytes::Bytes;
use replicator::wire::{Auth, HEADER_BYTES, Header, Hello, Message, PROTOCOL_VERSION, decode};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use tokio::net::TcpSocket;

const DISK_BYTES: u64 = 16 * MIB;

/// Two real daemons with different secrets.
pub(super) fn wrong_secret(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut other = Setup::new(DISK_BYTES);
    other.secret = Some("not the same secret".to_owned());
    let cluster = never_connected(&other)?;
    for node in cluster.nodes() {
        let status = node.wait_for("a refusal", |status| !status.last_refusal().is_empty())?;
        let expected = "the shared secrets differ";
        anyhow::ensure!(status.last_refusal().contains(expected), "{}", status.brief());
        logged(node, expected)?;
        let log = node.log();
        anyhow::ensure!(
            !log.contains("a secret of the tests") && !log.contains("not the same secret"),
            "{}'s log tells the secret",
            node.name()
        );
        ignorant(node, "r0")?;
    }
    report.line("wrong shared secret: refused, logged on both sides, nothing known of the peer");
    let mut none = Setup::new(DISK_BYTES);
    none.secret = None;
    cluster.configure(&cluster.beta, &none)?;
    cluster.beta.repadm(&["down", "r0"])?;
    cluster.beta.repadm(&["up", "r0"])?;
    for node in cluster.nodes() {
        logged(node, "shared-secret is set at")?;
        ignorant(node, "r0")?;
    }
    report.line("no shared secret on one side: refused, logged on both sides");
    cluster.configure(&cluster.beta, cluster.setup())?;
    cluster.beta.repadm(&["down", "r0"])?;
    cluster.beta.repadm(&["up", "r0"])?;
    for node in cluster.nodes() {
        node.repadm(&["wait-connect", "--wfc-timeout", "30", "r0"])?;
    }
    report.line("the right one on both: connected");
    cluster.finish()
}

/// Two real daemons at each other's address with different resources.
pub(super) fn other_resource(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut other = Setup::new(DISK_BYTES);
    other.resource = "r1".to_owned();
    let cluster = never_connected(&other)?;
    logged(&cluster.alpha, "resource `r0` here, `r1` at the peer")?;
    // Whoever compares first says so to the other, in its own words.
    logged(&cluster.beta, "refuse")?;
    logged(&cluster.beta, "resource `r")?;
    ignorant(&cluster.alpha, "r0")?;
    ignorant(&cluster.beta, "r1")?;
    report.line("another resource name: refused, logged on both sides");
    cluster.finish()
}

/// Whoever speaks the protocol, or does not, from the peer's address and from another one.
pub(super) fn strangers(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    let alpha = &mut cluster.alpha;
    alpha.start()?;
    alpha.repadm(&["create-md", "r0"])?;
    alpha.repadm(&["up", "r0"])?;
    alpha.repadm(&["primary", "--force", "r0"])?;
    let alpha = &cluster.alpha;
    let port = cluster.listen_ports()[0];

    let heard = converse(port, |hello| {
        vec![with(hello, |h| {
            (h.version_min, h.version_max) = (PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 9);
        })]
    })?;
    refused(alpha, &heard, "protocol versions do not meet")?;
    report.line("another protocol version: refused, told to the peer, logged");

    let heard = converse(port, |hello| vec![with(hello, |h| "r9".clone_into(&mut h.resource))])?;
    refused(alpha, &heard, "resource `r0` here, `r9` at the peer")?;

    let heard = converse(port, |hello| vec![with(hello, |h| h.authenticate = false)])?;
    refused(alpha, &heard, "shared-secret is set at here")?;

    let wrong = Message::Auth(Auth { proof: [7; 32] });
    let heard = converse(port, |hello| vec![with(hello, |_| {}), wrong.clone()])?;
    refused(alpha, &heard, "the shared secrets differ")?;
    report.line("a made-up proof: refused, told to the peer, logged");

    // The proof that came from there, sent back.
    let heard = reflect(port)?;
    refused(alpha, &heard, "the shared secrets differ")?;
    report.line("its own proof sent back: refused");

    let heard = converse(port, |_| vec![Message::Ping])?;
    anyhow::ensure!(only_greetings(&heard), "a peer without a hello heard {heard:?}");
    let heard = talk(dial(port)?, &[0x55; 4096])?;
    anyhow::ensure!(only_greetings(&heard), "nonsense heard {heard:?}");
    report.line("no hello, and nonsense: closed, nothing told");

    let before = alpha.status()?.strangers_refused();
    let mut stranger = crate::load::runtime()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?.into_std()
    })?;
    stranger.set_nonblocking(false)?;
    stranger.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0];
    match stranger.read(&mut byte) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        heard => anyhow::bail!("a stranger heard {heard:?} {byte:?}"),
    }
    alpha.wait_for("a stranger counted", |status| status.strangers_refused() > before)?;
    logged(alpha, "only the peer's address 127.0.0.1 may connect")?;
    report.line("from another address: closed without a byte, counted, logged");
    let status = alpha.status()?;
    anyhow::ensure!(
        (status.role(), status.disk()) == ("Primary", "UpToDate"),
        "after all that: {}",
        status.brief()
    );
    ignorant(alpha, "r0")?;
    cluster.finish()
}

/// Both nodes up, where beta has another configuration.
fn never_connected(other: &Setup) -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new(Setup::new(DISK_BYTES))?;
    cluster.configure(&cluster.beta, other)?;
    for node in cluster.nodes_mut() {
        node.start()?;
        node.repadm(&["create-md", "all"])?;
        node.repadm(&["up", "all"])?;
    }
    Ok(cluster)
}

fn logged(node: &Node, text: &str) -> anyhow::Result<()> {
    let look = || Ok(node.log().contains(text).then_some(()));
    until(&format!("«{text}» in {}'s log", node.name()), PATIENCE, look).map(drop)
}

/// The node is not connected, and knows nothing of its peer.
fn ignorant(node: &Node, resource: &str) -> anyhow::Result<()> {
    let text = node.repadm(&["--json", "status", resource])?;
    let status = crate::cluster::Status::parse(&text)?;
    anyhow::ensure!(
        status.connection() != "Connected"
            && status.peer_role() == "Unknown"
            && status.peer_disk() == "DUnknown",
        "{} knows of its peer: {}",
        node.name(),
        status.brief()
    );
    Ok(())
}

/// What was heard tells nothing about data, and the reason of the refusal, which is logged, too.
fn refused(node: &Node, heard: &[Message], why: &str) -> anyhow::Result<()> {
    anyhow::ensure!(only_greetings(heard), "heard {heard:?}");
    let told = heard.iter().any(|message| match message {
        Message::Refuse { text, .. } => text.contains(why),
        _ => false,
    });
    anyhow::ensure!(told, "«{why}» was not told: heard {heard:?}");
    logged(node, why)
}

/// Nothing that tells of data: who is there, and why not.
fn only_greetings(heard: &[Message]) -> bool {
    heard.iter().all(|message| {
        use Message::{Auth, Bye, Hello, Pong, Refuse};
        matches!(message, Hello(_) | Auth(_) | Refuse { .. } | Bye | Pong)
    })
}

/// The hello of alpha made beta's, with something changed.
fn with(hello: &Hello, change: impl FnOnce(&mut Hello)) -> Message {
    let mut ours = hello.clone();
    (ours.node, ours.name) = (1, "beta".to_owned());
    ours.incarnation ^= 1;
    ours.nonce[0] ^= 1;
    change(&mut ours);
    Message::Hello(Box::new(ours))
}

fn dial(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Hears the hello, says something, and hears what comes until the connection is closed.
fn converse(port: u16, say: impl FnOnce(&Hello) -> Vec<Message>) -> anyhow::Result<Vec<Message>> {
    let mut stream = dial(port)?;
    let hello = hear_hello(&mut stream)?;
    let bytes: Vec<u8> = say(&hello).iter().flat_map(encoded).collect();
    talk(stream, &bytes)
}

fn reflect(port: u16) -> anyhow::Result<Vec<Message>> {
    let mut stream = dial(port)?;
    let hello = hear_hello(&mut stream)?;
    stream.write_all(&encoded(&with(&hello, |_| {})))?;
    let proof = match hear(&mut stream)? {
        Some(proof @ Message::Auth(_)) => proof,
        other => anyhow::bail!("no proof but {other:?}"),
    };
    talk(stream, &encoded(&proof))
}

fn hear_hello(stream: &mut TcpStream) -> anyhow::Result<Hello> {
    match hear(stream)? {
        Some(Message::Hello(hello)) => Ok(*hello),
        other => anyhow::bail!("no hello but {other:?}"),
    }
}

fn talk(mut stream: TcpStream, bytes: &[u8]) -> anyhow::Result<Vec<Message>> {
    // It may be closed before all of it is taken.
    let _ = stream.write_all(bytes);
    let mut heard = Vec::new();
    while let Some(message) = hear(&mut stream)? {
        heard.push(message);
    }
    Ok(heard)
}

fn encoded(message: &Message) -> Vec<u8> {
    let encoded = message.encode();
    [&encoded.header[..], &encoded.payload].concat()
}

/// The next message; nothing when the connection is closed.
fn hear(stream: &mut TcpStream) -> anyhow::Result<Option<Message>> {
    let mut header = [0; HEADER_BYTES];
    match stream.read_exact(&mut header) {
        Ok(()) => {}
        Err(error)
            if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error).context("the connection is neither used nor closed"),
    }
    let header = Header::parse(&header)?;
    let mut payload = vec![0; header.payload_len()];
    stream.read_exact(&mut payload)?;
    Ok(Some(decode(&header, Bytes::from(payload))?))
}
