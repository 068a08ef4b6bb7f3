use super::*;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};

fn setup(local: SocketAddr, peer: SocketAddr) -> LinkSetup {
    let connect_int = Span::secs(10);
    LinkSetup { local, peer, connect_int, send_buffer: 0, receive_buffer: 0 }
}

fn address(last: u8) -> SocketAddr {
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into()
}

impl Links {
    fn local_address(&self) -> SocketAddr {
        self.listener.as_ref().unwrap().local_addr().unwrap()
    }
}

/// Two ends, and what they have said and nobody has asked for yet.
struct Pair {
    ends: [Links; 2],
    inputs: [VecDeque<Input>; 2],
}

impl Pair {
    /// Two ends that know each other's address.
    fn new() -> Self {
        let listen =
            |last| Links::listen(setup(address(last), address(1)), BufferPool::default()).unwrap();
        let mut ends = [listen(1), listen(2)];
        let addresses = [0, 1].map(|end: usize| ends[end].local_address());
        for end in [0, 1] {
            ends[end].setup = setup(addresses[end], addresses[1 - end]);
        }
        Self { ends, inputs: [VecDeque::new(), VecDeque::new()] }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        let clock = Clock::start();
        for (end, inputs) in self.ends.iter_mut().zip(&mut self.inputs) {
            end.poll_send(cx, &clock, inputs);
            end.poll(cx, &clock, inputs);
            inputs.retain(|input| !matches!(input, Input::LinkProgress { .. }));
        }
    }

    /// The next input of this end, while both are kept going.
    async fn next(&mut self, end: usize) -> Input {
        poll_fn(|cx| {
            self.poll(cx);
            self.inputs[end].pop_front().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[tokio::test]
async fn what_is_queued_before_the_close_arrives_in_order_and_then_the_end() {
    let mut pair = Pair::new();
    pair.ends[0].connect();
    let up = pair.next(0).await;
    let Input::LinkUp { epoch, initiated: true } = up else { panic!("{up:?}") };
    let up = pair.next(1).await;
    assert!(matches!(up, Input::LinkUp { initiated: false, .. }), "{up:?}");
    for message in [Message::Ping, Message::Pong, Message::Bye] {
        pair.ends[0].send(epoch, &message, Time(0));
    }
    pair.ends[0].close(epoch);
    for expected in [Message::Ping, Message::Pong, Message::Bye] {
        let input = pair.next(1).await;
        let Input::Message { message, .. } = input else { panic!("{input:?}") };
        assert_eq!(message, expected);
    }
    let end = pair.next(1).await;
    assert!(matches!(end, Input::LinkDown { cause: LinkDownCause::Closed, .. }), "{end:?}");
    poll_fn(|cx| {
        pair.poll(cx);
        if pair.ends[0].is_quiet() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let left = &pair.inputs[0];
    assert!(left.is_empty(), "a link that was closed here is not reported: {left:?}");
}

#[tokio::test]
async fn nobody_there_is_told_apart_and_garbage_is_a_protocol_error() {
    use tokio::io::AsyncWriteExt;
    let mut pair = Pair::new();
    // The port was free a moment ago, and is again.
    let gone = TcpListener::bind(address(2)).await.unwrap().local_addr().unwrap();
    pair.ends[0].setup.peer = gone;
    pair.ends[0].connect();
    let failed = pair.next(0).await;
    assert!(matches!(failed, Input::ConnectFailed { refused: true }), "{failed:?}");

    let target = pair.ends[1].setup.local;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address(1)).unwrap();
    let mut stream = socket.connect(target).await.unwrap();
    stream.write_all(&[0x55; 64]).await.unwrap();
    let up = pair.next(1).await;
    assert!(matches!(up, Input::LinkUp { .. }), "{up:?}");
    let down = pair.next(1).await;
    assert!(matches!(down, Input::LinkDown { cause: LinkDownCause::Protocol, .. }), "{down:?}");
}

#[tokio::test]
async fn a_stranger_is_refused_and_counted() {
    let mut pair = Pair::new();
    let target = pair.ends[1].setup.local;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address(3)).unwrap();
    let stranger = socket.connect(target).await.unwrap();
    // The peer itself comes after it, and is the first that is let in.
    pair.ends[0].connect();
    let up = pair.next(0).await;
    assert!(matches!(up, Input::LinkUp { .. }), "{up:?}");
    let up = pair.next(1).await;
    assert!(matches!(up, Input::LinkUp { epoch: LinkEpoch(1), .. }), "{up:?}");
    assert_eq!(pair.ends[1].strangers(), 1);
    let mut byte = [0];
    let end = tokio::io::AsyncReadExt::read(&mut { stranger }, &mut byte).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}
