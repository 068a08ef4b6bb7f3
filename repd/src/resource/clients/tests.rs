use super::*;
use crate::budget::Budget;
use replicator::ClientOp;
use std::future::poll_fn;
use std::ops::Range;
use storage::BufferPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use types::{ByteRange, Span, StatusMap};

fn clients(limit: usize) -> Clients {
    clients_by(limit, 1 << 20)
}

fn clients_by(limit: usize, requests: usize) -> Clients {
    let payloads = Payloads { pool: BufferPool::default(), budget: Budget::new(limit) };
    Clients::new(payloads, Budget::new(limit), Budget::new(requests), Clock::start())
}

/// A client that has agreed on nothing.
fn join(clients: &mut Clients) -> UnixStream {
    join_by(clients, Terms::simple(nbd_server::ExportInfo::new("r0/0", 1 << 40)))
}

fn join_by(clients: &mut Clients, terms: Terms) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    let new = NewClient {
        stream: MaybeTls::Plain(Stream::Unix(near)),
        leftover: BytesMut::new(),
        terms,
        volume: VolumeId(0),
        peer: "test".into(),
        gone: None,
    };
    let mut inputs = VecDeque::new();
    clients.insert(new, Time(0), &mut inputs);
    let first = inputs.pop_front();
    assert!(matches!(first, Some(Input::ClientOpened { .. })) && inputs.is_empty());
    far
}

fn request(command: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend(0_u16.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

async fn next(clients: &mut Clients) -> Input {
    let mut inputs = VecDeque::new();
    poll_fn(|cx| {
        clients.poll(cx, &Disks::default(), &mut inputs);
        clients.poll_send(cx, &mut inputs);
        inputs.pop_front().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

#[tokio::test]
async fn requests_are_answered_and_a_good_bye_waits_for_the_answers() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    far.write_all(&request(0, 11, 4096, 512)).await.unwrap();
    let read = next(&mut clients).await;
    let Input::Request { id, op: ClientOp::Read(range), .. } = read else { panic!("{read:?}") };
    assert_eq!(range, ByteRange::new(4096, 512));
    far.write_all(&request(2, 0, 0, 0)).await.unwrap();
    let mut inputs = VecDeque::new();
    poll_fn(|cx| {
        clients.poll(cx, &Disks::default(), &mut inputs);
        let leaving = clients.clients.values().all(|client| client.leaving);
        if leaving { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    clients.complete(id, Ok(vec![9; 512].into()), &mut inputs);
    let closed = next(&mut clients).await;
    assert!(matches!(closed, Input::ClientClosed { .. }), "{closed:?}");
    let mut reply = Vec::new();
    far.read_to_end(&mut reply).await.unwrap();
    assert_eq!((reply.len(), &reply[8..16]), (16 + 512, &11_u64.to_be_bytes()[..]));
    assert!(clients.requests.is_empty() && clients.len() == 0);
}

#[tokio::test]
async fn the_answer_to_a_client_that_hung_up_goes_nowhere() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    far.write_all(&request(3, 1, 0, 0)).await.unwrap();
    let flush = next(&mut clients).await;
    let Input::Request { id, .. } = flush else { panic!("{flush:?}") };
    drop(far);
    let closed = next(&mut clients).await;
    assert!(matches!(closed, Input::ClientClosed { .. }), "{closed:?}");
    clients.complete(id, Ok(Bytes::new()), &mut VecDeque::new());
    assert_eq!(clients.len(), 0);
}

#[tokio::test]
async fn when_the_budget_is_used_up_nothing_more_is_read_until_something_is_answered() {
    let mut clients = clients(1024);
    let (mut one, mut other) = (join(&mut clients), join(&mut clients));
    one.write_all(&request(0, 1, 0, 4096)).await.unwrap();
    let first = next(&mut clients).await;
    let Input::Request { id, .. } = first else { panic!("{first:?}") };
    other.write_all(&request(0, 2, 0, 512)).await.unwrap();
    let mut inputs = VecDeque::new();
    poll_fn(|cx| {
        clients.poll(cx, &Disks::default(), &mut inputs);
        Poll::Ready(())
    })
    .await;
    assert!(inputs.is_empty(), "{inputs:?}");
    clients.complete(id, Err(IoError::Io), &mut inputs);
    let second = next(&mut clients).await;
    assert!(matches!(second, Input::Request { .. }), "{second:?}");
}

/// Takes what has come in, and sends what can be sent.
async fn turn(clients: &mut Clients, inputs: &mut VecDeque<Input>) {
    poll_fn(|cx| {
        clients.poll(cx, &Disks::default(), inputs);
        clients.poll_send(cx, inputs);
        Poll::Ready(())
    })
    .await;
    // Readiness comes with a turn of the runtime.
    tokio::task::yield_now().await;
}

/// Looks for clients that stand still, once in each of these seconds.
fn look(clients: &mut Clients, seconds: Range<u64>, inputs: &mut VecDeque<Input>) {
    for second in seconds {
        clients.look(Time(0) + Span::secs(second), inputs);
    }
}

async fn simple_reply(far: &mut UnixStream) -> (u32, u64) {
    let mut header = [0; 16];
    far.read_exact(&mut header).await.unwrap();
    let error = u32::from_be_bytes(header[4..8].try_into().unwrap());
    (error, u64::from_be_bytes(header[8..].try_into().unwrap()))
}

#[tokio::test]
async fn an_answer_counts_until_it_is_taken() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    far.write_all(&request(0, 1, 0, 4 << 20)).await.unwrap();
    let read = next(&mut clients).await;
    let Input::Request { id, .. } = read else { panic!("{read:?}") };
    let mut inputs = VecDeque::new();
    clients.complete(id, Ok(vec![5; 4 << 20].into()), &mut inputs);
    turn(&mut clients, &mut inputs).await;
    // The socket has taken a part, and the budget is used up by the rest.
    far.write_all(&request(0, 2, 0, 512)).await.unwrap();
    for _ in 0..10 {
        turn(&mut clients, &mut inputs).await;
    }
    assert!(inputs.is_empty(), "{inputs:?}");
    let mut taken = vec![0; 16 + (4 << 20)];
    let take = far.read_exact(&mut taken);
    let serve = async {
        loop {
            turn(&mut clients, &mut inputs).await;
            if let Some(second) = inputs.pop_front() {
                return second;
            }
        }
    };
    let (_, second) = tokio::join!(take, serve);
    assert!(matches!(second, Input::Request { .. }), "{second:?}");
}

#[tokio::test]
async fn who_stands_still_with_what_others_wait_for_is_closed() {
    let at = |secs| Time(0) + Span::secs(secs);
    let mut clients = clients(1 << 20);
    let mut inputs = VecDeque::new();
    // One begins a long WRITE and stops; one wants to write a little.
    let mut stalled = join(&mut clients);
    let write = [request(1, 1, 0, 2 << 20), vec![7; 100_000]].concat();
    stalled.write_all(&write).await.unwrap();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    assert_eq!(clients.next_look(), Some(at(1)), "a buffer is held");
    look(&mut clients, 1..20, &mut inputs);
    assert_eq!(clients.len(), 1, "nobody is in want");
    let mut other = join(&mut clients);
    other.write_all(&[request(1, 2, 0, 512), vec![8; 512]].concat()).await.unwrap();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    assert!(inputs.is_empty(), "there is no room: {inputs:?}");
    // It has sent something since it was last looked at.
    for _ in 0..11 {
        stalled.write_all(&[7; 100_000]).await.unwrap();
        for _ in 0..5 {
            turn(&mut clients, &mut inputs).await;
        }
    }
    // One look finds that; then this daemon stands still, which counts as one look, too.
    look(&mut clients, 20..21, &mut inputs);
    look(&mut clients, 1000..1004, &mut inputs);
    assert_eq!(clients.len(), 2);
    // A little, now and then, is no progress.
    stalled.write_all(&[7; 10]).await.unwrap();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    look(&mut clients, 1004..1005, &mut inputs);
    assert!(matches!(inputs.pop_front(), Some(Input::ClientClosed { .. })));
    let write = next(&mut clients).await;
    assert!(matches!(write, Input::Request { op: ClientOp::Write { .. }, .. }), "{write:?}");
}

#[tokio::test]
async fn answers_that_nobody_takes_keep_nobody_from_writing() {
    let mut clients = clients(1 << 20);
    let mut inputs = VecDeque::new();
    let (mut far, mut reader, mut writer) =
        (join(&mut clients), join(&mut clients), join(&mut clients));
    far.write_all(&request(0, 1, 0, 4 << 20)).await.unwrap();
    let read = next(&mut clients).await;
    let Input::Request { id, .. } = read else { panic!("{read:?}") };
    clients.complete(id, Ok(vec![5; 4 << 20].into()), &mut inputs);
    // In the order of the clients: the one that has to wait comes first.
    reader.write_all(&request(0, 2, 0, 512)).await.unwrap();
    writer.write_all(&[request(1, 3, 0, 512), vec![8; 512]].concat()).await.unwrap();
    let write = next(&mut clients).await;
    assert!(matches!(write, Input::Request { op: ClientOp::Write { .. }, .. }), "{write:?}");
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    assert!(inputs.is_empty(), "there is no room for an answer: {inputs:?}");
    drop(far);
    assert!(matches!(next(&mut clients).await, Input::ClientClosed { .. }));
    let read = next(&mut clients).await;
    assert!(matches!(read, Input::Request { op: ClientOp::Read(_), .. }), "{read:?}");
}

#[tokio::test]
async fn who_is_not_read_from_does_not_stand_still() {
    let mut clients = clients_by(1 << 20, 4 * REQUEST_BYTES);
    let mut inputs = VecDeque::new();
    let (mut far, mut other, mut busy) =
        (join(&mut clients), join(&mut clients), join(&mut clients));
    let (begin, rest) = (vec![7; 100_000], vec![7; (2 << 20) - 100_000]);
    far.write_all(&[request(1, 1, 0, 2 << 20), begin].concat()).await.unwrap();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    other.write_all(&[request(1, 2, 0, 512), vec![8; 512]].concat()).await.unwrap();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    // With so many requests in flight nobody is read from.
    busy.write_all(&(0..4).flat_map(|cookie| request(3, cookie, 0, 0)).collect::<Vec<_>>())
        .await
        .unwrap();
    while inputs.len() < 4 {
        turn(&mut clients, &mut inputs).await;
    }
    for second in 1..20 {
        look(&mut clients, second..second + 1, &mut inputs);
        turn(&mut clients, &mut inputs).await;
    }
    assert_eq!((clients.len(), inputs.len()), (3, 4), "it would send, and is not read from");
    for flush in std::mem::take(&mut inputs) {
        let Input::Request { id, .. } = flush else { panic!("{flush:?}") };
        clients.complete(id, Ok(Bytes::new()), &mut inputs);
    }
    let serve = async {
        loop {
            turn(&mut clients, &mut inputs).await;
            if let Some(write) = inputs.pop_front() {
                return write;
            }
        }
    };
    let (sent, write) = tokio::join!(far.write_all(&rest), serve);
    sent.unwrap();
    assert!(matches!(write, Input::Request { op: ClientOp::Write { .. }, .. }), "{write:?}");
}

#[tokio::test]
async fn a_write_that_is_only_announced_holds_nothing() {
    let mut clients = clients(1 << 20);
    let mut stalled: Vec<UnixStream> = (0..20).map(|_| join(&mut clients)).collect();
    for far in &mut stalled {
        far.write_all(&[request(1, 1, 0, 32 << 20), vec![7; 1000]].concat()).await.unwrap();
    }
    let mut far = join(&mut clients);
    far.write_all(&[request(1, 2, 0, 512), vec![8; 512]].concat()).await.unwrap();
    let write = next(&mut clients).await;
    assert!(matches!(write, Input::Request { op: ClientOp::Write { .. }, .. }), "{write:?}");
    assert_eq!(clients.next_look(), None);
}

#[tokio::test]
async fn what_comes_late_to_a_device_that_is_taken_away_is_refused() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    far.write_all(&request(3, 1, 0, 0)).await.unwrap();
    let flush = next(&mut clients).await;
    let Input::Request { id, .. } = flush else { panic!("{flush:?}") };
    clients.take_away();
    far.write_all(&[request(0, 2, 0, 512), request(3, 3, 0, 0)].concat()).await.unwrap();
    let mut inputs = VecDeque::new();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    assert_eq!(simple_reply(&mut far).await, (108, 2));
    assert_eq!(simple_reply(&mut far).await, (108, 3));
    assert!(inputs.is_empty() && clients.len() == 1, "what is in flight is still answered");
    clients.complete(id, Ok(Bytes::new()), &mut inputs);
    assert!(matches!(next(&mut clients).await, Input::ClientClosed { .. }));
    assert_eq!(simple_reply(&mut far).await, (0, 1));
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_never_ends_is_refused_when_the_device_has_to_go() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    far.write_all(&request(3, 1, 0, 0)).await.unwrap();
    next(&mut clients).await;
    clients.take_away();
    let mut inputs = VecDeque::new();
    poll_fn(|cx| {
        clients.drop_all(cx, &mut inputs);
        Poll::Ready(())
    })
    .await;
    assert!(matches!(inputs.pop_front(), Some(Input::ClientClosed { .. })));
    assert_eq!(simple_reply(&mut far).await, (108, 1));
    clients.serve_again();
}

#[tokio::test]
async fn a_daemon_that_ends_leaves_what_comes_late_to_the_next() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    far.write_all(&[request(3, 1, 0, 0), request(3, 2, 0, 0)].concat()).await.unwrap();
    let mut inputs = VecDeque::new();
    while inputs.len() < 2 {
        turn(&mut clients, &mut inputs).await;
    }
    let mut ids = inputs.drain(..).map(|input| match input {
        Input::Request { id, .. } => id,
        other => panic!("{other:?}"),
    });
    let (first, second) = (ids.next().unwrap(), ids.next().unwrap());
    drop(ids);
    clients.pause();
    far.write_all(&request(0, 3, 0, 512)).await.unwrap();
    turn(&mut clients, &mut inputs).await;
    clients.complete(first, Ok(Bytes::new()), &mut inputs);
    clients.complete(second, Err(IoError::Shutdown), &mut inputs);
    assert!(matches!(next(&mut clients).await, Input::ClientClosed { .. }));
    let mut answered = Vec::new();
    far.read_to_end(&mut answered).await.unwrap();
    assert_eq!(answered.len(), 16, "the first, and no error for the others");
    assert_eq!(answered[4..16], [[0; 4], [0; 4], [0, 0, 0, 1]].concat());
}

#[tokio::test]
async fn a_status_is_asked_of_the_engine_in_each_context() {
    let mut clients = clients(1 << 20);
    let terms = Terms {
        replies: nbd_server::Replies::Structured,
        contexts: nbd_server::Contexts::ALL,
        ..Terms::simple(nbd_server::ExportInfo::new("r0/0", 1 << 30))
    };
    let mut far = join_by(&mut clients, terms);
    far.write_all(&request(7, 1, 0, 8192)).await.unwrap();
    let asked = next(&mut clients).await;
    let Input::Request { id, op: ClientOp::Allocation(_), .. } = asked else { panic!("{asked:?}") };
    let mut inputs = VecDeque::new();
    clients.complete(id, Ok(StatusMap::of(8192, 3).encode().into()), &mut inputs);
    let asked = inputs.pop_front();
    let Some(Input::Request { id, op: ClientOp::OutOfSync(_), .. }) = asked else {
        panic!("{asked:?}")
    };
    clients.complete(id, Ok(StatusMap::of(8192, 1).encode().into()), &mut inputs);
    turn(&mut clients, &mut inputs).await;
    let mut chunks = [0; 2 * 32];
    far.read_exact(&mut chunks).await.unwrap();
    assert_eq!(chunks[20..32], [[0, 0, 0, 1], [0, 0, 32, 0], [0, 0, 0, 3]].concat());
    assert_eq!(chunks[52..64], [[0, 0, 0, 2], [0, 0, 32, 0], [0, 0, 0, 1]].concat());
}

#[tokio::test]
async fn what_a_client_left_unread_is_not_begun_when_it_is_gone() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    let many: Vec<u8> = (0..300).flat_map(|cookie| request(3, cookie, 0, 0)).collect();
    far.write_all(&many).await.unwrap();
    let mut inputs = VecDeque::new();
    for _ in 0..10 {
        turn(&mut clients, &mut inputs).await;
    }
    assert_eq!(inputs.len(), REQUESTS_IN_FLIGHT, "it is full");
    drop(far);
    turn(&mut clients, &mut inputs).await;
    assert_eq!(clients.len(), 1, "it may still listen for what was begun");
    for request in std::mem::take(&mut inputs) {
        let Input::Request { id, .. } = request else { panic!("{request:?}") };
        clients.complete(id, Ok(Bytes::new()), &mut inputs);
    }
    turn(&mut clients, &mut inputs).await;
    assert_eq!((clients.len(), inputs.len()), (0, 1), "{inputs:?}");
    assert!(matches!(inputs.pop_back(), Some(Input::ClientClosed { .. })));
}

#[tokio::test]
async fn who_has_sent_all_and_listens_gets_what_was_begun() {
    let mut clients = clients(1 << 20);
    let mut far = join(&mut clients);
    let many: Vec<u8> = (0..300).flat_map(|cookie| request(3, cookie, 0, 0)).collect();
    far.write_all(&many).await.unwrap();
    far.shutdown().await.unwrap();
    let mut inputs = VecDeque::new();
    for _ in 0..10 {
        turn(&mut clients, &mut inputs).await;
    }
    for request in std::mem::take(&mut inputs) {
        let Input::Request { id, .. } = request else { panic!("{request:?}") };
        clients.complete(id, Ok(Bytes::new()), &mut inputs);
    }
    turn(&mut clients, &mut inputs).await;
    let mut answered = Vec::new();
    far.read_to_end(&mut answered).await.unwrap();
    assert_eq!((answered.len(), clients.len()), (16 * REQUESTS_IN_FLIGHT, 0));
}

#[tokio::test]
async fn a_write_that_waits_for_memory_is_not_begun_when_its_client_is_gone() {
    let mut clients = clients(100_000);
    let (mut first, mut second) = (join(&mut clients), join(&mut clients));
    first.write_all(&[request(1, 1, 0, 100_000), vec![7; 100_000]].concat()).await.unwrap();
    let mut inputs = VecDeque::new();
    while inputs.is_empty() {
        turn(&mut clients, &mut inputs).await;
    }
    // Its data is in memory as long as this is.
    let begun = inputs.pop_front();
    let Some(Input::Request { id, .. }) = begun else { panic!("{begun:?}") };
    second.write_all(&[request(1, 2, 0, 512), vec![8; 512]].concat()).await.unwrap();
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    drop((second, begun));
    clients.complete(id, Ok(Bytes::new()), &mut inputs);
    for _ in 0..5 {
        turn(&mut clients, &mut inputs).await;
    }
    let is_write = |input: &Input| matches!(input, Input::Request { .. });
    assert!(!inputs.iter().any(is_write), "{inputs:?}");
    assert_eq!(clients.len(), 1);
}

#[tokio::test]
async fn who_goes_short_is_asked_first() {
    let mut clients = clients(1 << 20);
    let mut far: Vec<UnixStream> = (0..4).map(|_| join(&mut clients)).collect();
    let write = |cookie| [request(1, cookie, 0, 1 << 20), vec![7; 1 << 20]].concat();
    let mut inputs = VecDeque::new();
    let mut served = Vec::new();
    let send = async {
        for round in 0..3 {
            for (index, far) in far.iter_mut().enumerate() {
                far.write_all(&write(round * 10 + index as u64)).await.unwrap();
            }
        }
    };
    let serve = async {
        while served.len() < 12 {
            turn(&mut clients, &mut inputs).await;
            for input in std::mem::take(&mut inputs) {
                let Input::Request { id, client, .. } = input else { panic!("{input:?}") };
                served.push(client.0);
                clients.complete(id, Ok(Bytes::new()), &mut inputs);
            }
        }
    };
    tokio::join!(send, serve);
    for client in 1..=4 {
        assert!(served[..8].contains(&client), "{client} is not among the first: {served:?}");
    }
}

#[tokio::test]
async fn maps_that_nobody_takes_are_counted() {
    let mut clients = clients_by(1 << 20, 3 * MAP_BYTES);
    let terms = Terms {
        replies: nbd_server::Replies::Extended,
        contexts: nbd_server::Contexts::ALL,
        ..Terms::simple(nbd_server::ExportInfo::new("r0/0", 1 << 30))
    };
    let mut far = join_by(&mut clients, terms);
    for cookie in 0..10_u64 {
        let mut status = 0x21e4_1c71_u32.to_be_bytes().to_vec();
        status.extend([0, 0, 0, 7]);
        status.extend(cookie.to_be_bytes());
        status.extend(0_u64.to_be_bytes());
        status.extend((1_u64 << 30).to_be_bytes());
        far.write_all(&status).await.unwrap();
    }
    let mut inputs = VecDeque::new();
    for _ in 0..10 {
        turn(&mut clients, &mut inputs).await;
    }
    assert_eq!(inputs.len(), 2, "two maps each, and there is room for three and one request more");
}
