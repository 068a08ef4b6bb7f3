use super::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as Stream};

/// A cable, and both ends of a connection through it.
fn joined() -> (Proxy, u16, Stream, Stream, StdListener) {
    let ports = crate::ports::Ports::take().unwrap();
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, ports.ports[0])).unwrap();
    let proxy = Proxy::start(ports.ports[1], ports.ports[0]).unwrap();
    let near = Stream::connect((Ipv4Addr::LOCALHOST, ports.ports[1])).unwrap();
    let (far, _) = listener.accept().unwrap();
    (proxy, ports.ports[1], near, far, listener)
}

fn arrives(from: &mut Stream, to: &mut Stream, text: &[u8]) {
    from.write_all(text).unwrap();
    let mut got = vec![0; text.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, text);
}

#[test]
fn bytes_and_ends_go_both_ways() {
    let (proxy, _, mut near, mut far, _listener) = joined();
    arrives(&mut near, &mut far, b"there");
    arrives(&mut far, &mut near, b"back!");
    assert_eq!(proxy.carried(), 10);
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap(), 0);
    arrives(&mut far, &mut near, b"half open");
}

#[test]
fn a_reset_is_seen_as_one_at_both_ends_and_the_next_connection_works() {
    let (proxy, port, mut near, mut far, listener) = joined();
    // Before, the cable may still be on its way to the other end.
    arrives(&mut near, &mut far, b"joined");
    proxy.reset();
    for end in [&mut near, &mut far] {
        assert_eq!(end.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let mut near = Stream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    arrives(&mut near, &mut far, b"again");
}

#[test]
fn a_cut_cable_refuses_until_it_is_mended() {
    let (proxy, port, _near, _far, listener) = joined();
    proxy.cut();
    let mut refused = Stream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert!(
        matches!(refused.read(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
    );
    proxy.mend();
    let mut near = Stream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    arrives(&mut near, &mut far, b"again");
}

#[test]
fn in_silence_nothing_comes_and_nobody_is_told() {
    let (proxy, _, mut near, mut far, _listener) = joined();
    arrives(&mut near, &mut far, b"before");
    proxy.silence();
    near.write_all(b"lost").unwrap();
    far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    far.set_read_timeout(None).unwrap();
    proxy.mend();
    assert_eq!(far.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_cable_that_is_silent_one_way_lets_the_other_through() {
    let (proxy, _, mut near, mut far, _listener) = joined();
    arrives(&mut near, &mut far, b"before");
    proxy.silence_one_way(Silence::There);
    near.write_all(b"lost").unwrap();
    arrives(&mut far, &mut near, b"heard");
    far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_far_and_slow_cable_keeps_the_order() {
    let (proxy, _, mut near, mut far, _listener) = joined();
    proxy.delay(Duration::from_millis(5));
    proxy.throttle(Some(10 << 20));
    let sent: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let expected = sent.clone();
    let writer = thread::spawn(move || {
        near.write_all(&sent).unwrap();
        near
    });
    let mut got = vec![0; expected.len()];
    far.read_exact(&mut got).unwrap();
    assert!(got == expected);
    writer.join().unwrap();
}

#[test]
fn a_half_open_connection_is_gone_for_one_end_until_the_next_reset() {
    for half in [Half::Near, Half::Far] {
        let (proxy, port, mut near, mut far, listener) = joined();
        arrives(&mut near, &mut far, b"joined");
        proxy.half_open(half);
        let (told, other) = match half {
            Half::Near => (&mut near, &mut far),
            Half::Far => (&mut far, &mut near),
        };
        assert_eq!(told.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut near = Stream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        arrives(&mut near, &mut far, b"again");
        other.set_nonblocking(true).unwrap();
        other.write_all(b"into the void").unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        other.set_nonblocking(false).unwrap();
        proxy.reset();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
