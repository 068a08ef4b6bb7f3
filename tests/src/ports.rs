//! Ports on 127.0.0.1 that belong to one cluster, among many tests that run at once.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system gives to outgoing connections: a node that seeks its peer where
/// nobody listens must not meet itself.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 1_000;
const BLOCK: u16 = 6;

/// Five ports, ascending, for as long as this lives.
#[derive(Debug)]
pub struct Ports {
    /// Listens on the block's first port: who has that one has the others.
    _guard: TcpListener,
    /// The ports.
    pub ports: [u16; 5],
}

impl Ports {
    /// Five that nobody uses.
    ///
    /// # Errors
    /// If there are none.
    pub fn take() -> anyhow::Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        for _ in 0..BLOCKS {
            let spread = (std::process::id() % u32::from(BLOCKS)) as u16;
            let block = (spread + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCKS) % BLOCKS;
            let base = FIRST + block * BLOCK;
            let Ok(guard) = TcpListener::bind((Ipv4Addr::LOCALHOST, base)) else { continue };
            let ports = [1, 2, 3, 4, 5].map(|at| base + at);
            let free = |&port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if ports.iter().all(free) {
                return Ok(Self { _guard: guard, ports });
            }
        }
        anyhow::bail!("no five free ports in a row on 127.0.0.1 from {FIRST}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_taken_twice_are_different() {
        let (one, other) = (Ports::take().unwrap(), Ports::take().unwrap());
        assert!(one.ports.is_sorted_by(|a, b| a < b));
        assert!(one.ports.iter().all(|port| !other.ports.contains(port)));
    }
}
