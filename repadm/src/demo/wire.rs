//! The demo's network cable: what connects to one port is led to another, at a bounded rate.
//!
//! It is a process of its own, so that the cable is cut by stopping it: nothing gets through then,
//! and nobody is told, as with a real one.

use crate::outcome::{Exit, Failure, Outcome};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are led on in one go: small, so that a slow cable is slow evenly.
const PIECE: usize = 64 << 10;

/// One direction of connecting: from a port to a port, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Where somebody connects.
    pub(super) from: u16,
    /// Where it leads.
    pub(super) to: u16,
}

impl Link {
    /// `FROM=TO`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('=')?;
        Some(Self { from: from.parse().ok()?, to: to.parse().ok()? })
    }
}

/// Lead on, until this process is ended.
///
/// # Errors
/// If it cannot listen.
pub(super) fn run(links: &[Link], rate: Option<u64>) -> Outcome {
    let mut threads = Vec::new();
    for &link in links {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, link.from)).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot listen on port {}: {error}", link.from))
        })?;
        threads.push(thread::spawn(move || lead(&listener, link.to, rate)));
    }
    for thread in threads {
        // It does not end while the listener works.
        let _ = thread.join();
    }
    Ok(())
}

fn lead(listener: &TcpListener, to: u16, rate: Option<u64>) {
    for near in listener.incoming() {
        let joined = near.and_then(|near| {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
            join(&near, &far, rate)
        });
        if let Err(error) = joined {
            // The node at the other end is down, as nodes are: whoever connected sees it close.
            crate::context::note(&format!("to port {to}: {error}"));
        }
    }
}

/// Both directions of one connection, each in a thread.
fn join(near: &TcpStream, far: &TcpStream, rate: Option<u64>) -> io::Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        from.set_nodelay(true)?;
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            // An end that breaks ends both.
            let _ = copy(&from, &to, rate);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the cable is a driver: it is slow in real time")]
fn copy(mut from: &TcpStream, mut to: &TcpStream, rate: Option<u64>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let start = Instant::now();
    let mut pace = rate.map(Pace::new);
    loop {
        let len = from.read(&mut piece)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(&piece[..len])?;
        if let Some(pace) = &mut pace {
            thread::sleep(pace.pause(start.elapsed(), len));
        }
    }
}

/// Keeps a rate without paying back idle time.
struct Pace {
    rate: u64,
    free_at: Duration,
}

impl Pace {
    const fn new(rate: u64) -> Self {
        Self { rate: if rate == 0 { 1 } else { rate }, free_at: Duration::ZERO }
    }

    /// How long to pause after so many bytes that went at `now`, a time since some start.
    fn pause(&mut self, now: Duration, len: usize) -> Duration {
        let takes = Duration::from_nanos((len as u64).saturating_mul(1_000_000_000) / self.rate);
        self.free_at = self.free_at.max(now) + takes;
        self.free_at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_parsed() {
        assert_eq!(Link::parse("1=65535"), Some(Link { from: 1, to: 65535 }));
        for bad in ["", "1", "1=", "=1", "1=65536", "a=b"] {
            assert_eq!(Link::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_go_both_ways_and_an_end_ends_both() {
        let far_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (near, to) =
            (near_listener.local_addr().unwrap(), far_listener.local_addr().unwrap().port());
        thread::spawn(move || lead(&near_listener, to, Some(1 << 30)));
        let mut client = TcpStream::connect(near).unwrap();
        let (mut server, _) = far_listener.accept().unwrap();
        client.write_all(b"there").unwrap();
        let mut five = [0; 5];
        server.read_exact(&mut five).unwrap();
        assert_eq!(&five, b"there");
        server.write_all(b"back!").unwrap();
        client.read_exact(&mut five).unwrap();
        assert_eq!(&five, b"back!");
        drop(server);
        assert_eq!(client.read(&mut five).unwrap(), 0);
    }

    #[test]
    fn a_pace_asks_for_the_time_that_bytes_take_and_pays_no_idle_time_back() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(1000);
        assert_eq!(pace.pause(ms(0), 500), ms(500));
        assert_eq!(pace.pause(ms(100), 500), ms(900));
        assert_eq!(pace.pause(ms(5000), 100), ms(100));
        assert!(Pace::new(0).pause(ms(0), 1) > ms(0));
    }
}
