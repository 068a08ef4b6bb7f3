//! Ports for the demo's nodes.

use crate::outcome::{Exit, Failure, Outcome};
use std::net::{Ipv4Addr, TcpListener};

/// Four ports that nobody listens on, ascending. Below those that the system gives to outgoing
/// connections: a node that seeks its peer there while nobody listens must not meet itself.
pub(super) fn free_ports() -> Outcome<[u16; 4]> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    // Demos that run at once have different process ids, and so do not race for ports.
    let start = (std::process::id() % u32::from(COUNT / 4)) as u16 * 4;
    let mut free = (0..COUNT)
        .map(|at| FIRST + (start + at) % COUNT)
        .filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    let mut ports = [0; 4];
    for port in &mut ports {
        *port = free.next().ok_or_else(|| {
            Failure::new(Exit::Failed, "no free TCP port between 20000 and 30000 on 127.0.0.1")
        })?;
    }
    ports.sort_unstable();
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_four_and_ascending() {
        let ports = free_ports().expect("some are free");
        assert!(ports.is_sorted_by(|one, other| one < other), "{ports:?}");
    }
}
