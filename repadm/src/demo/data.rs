//! What the demo writes, reads back, and compares.

use super::nbd::Client;
use crate::outcome::{Exit, Failure, Outcome};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use types::Prng;

/// One MiB in bytes.
pub(super) const MIB: u64 = 1 << 20;
/// What is written at once.
const PIECE: usize = 64 << 10;

/// A part of the device, in pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where it begins.
    pub(super) offset: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// From the start of a piece to that of the next.
    pub(super) stride: u64,
}

impl Part {
    /// All of one MiB.
    pub(super) const fn mib(at_mib: u64) -> Self {
        Self { offset: at_mib * MIB, end: (at_mib + 1) * MIB, stride: PIECE as u64 }
    }

    /// A third of so many MiB, here and there.
    pub(super) const fn scattered(at_mib: u64, mib: u64) -> Self {
        Self { offset: at_mib * MIB, end: (at_mib + mib) * MIB, stride: 3 * PIECE as u64 }
    }

    fn pieces(self) -> impl Iterator<Item = u64> {
        let stride = usize::try_from(self.stride).expect("a stride is small");
        (self.offset..self.end).step_by(stride)
    }

    /// How many bytes are in its pieces.
    pub(super) fn bytes(self) -> u64 {
        self.pieces().count() as u64 * PIECE as u64
    }

    /// How many pieces it has.
    pub(super) fn count(self) -> usize {
        self.pieces().count()
    }
}

/// Write a part through the export on that socket, and make it durable.
///
/// # Errors
/// If it fails; `who` is named.
pub(super) fn write(socket: &Path, who: &str, part: Part) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("writing through {who}: {error}"))
    };
    let mut client = Client::open(socket, "r0").map_err(failed)?;
    if client.size() < part.end {
        let text = format!("the device of {who} has {} bytes only", client.size());
        return Err(Failure::new(Exit::Failed, text));
    }
    for at in part.pieces() {
        client.write(at, &pattern(at)).map_err(failed)?;
    }
    client.flush().map_err(failed)
}

/// Read a part through the export on that socket: it must be what was written.
///
/// # Errors
/// If it fails, or is not; `who` is named.
pub(super) fn verify(socket: &Path, who: &str, part: Part) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("reading through {who}: {error}"))
    };
    let mut client = Client::open(socket, "r0").map_err(failed)?;
    for at in part.pieces() {
        if client.read(at, PIECE as u32).map_err(failed)? != pattern(at) {
            let text = format!("{who} reads something else at byte {at} than was written");
            return Err(Failure::new(Exit::Failed, text));
        }
    }
    Ok(())
}

/// The bytes that belong at an offset.
fn pattern(offset: u64) -> Vec<u8> {
    let mut random = Prng::new(offset);
    let mut bytes = Vec::with_capacity(PIECE);
    while bytes.len() < PIECE {
        bytes.extend(random.next_u64().to_le_bytes());
    }
    bytes
}

/// Where the first so many bytes of two files differ first.
pub(super) fn first_difference(paths: &[PathBuf; 2], bytes: u64) -> Outcome<Option<u64>> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("a disk: {error}"));
    let open = |at: usize| File::open(&paths[at]).map_err(failed);
    let (mut one, mut other) = (BufReader::new(open(0)?), BufReader::new(open(1)?));
    let (mut piece, mut against) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from((bytes - at).min(PIECE as u64)).expect("a piece is small");
        one.read_exact(&mut piece[..len]).map_err(failed)?;
        other.read_exact(&mut against[..len]).map_err(failed)?;
        let pairs = piece[..len].iter().zip(&against[..len]);
        if let Some(differs) = pairs.into_iter().position(|(a, b)| a != b) {
            return Ok(Some(at + differs as u64));
        }
        at += len as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_they_say() {
        assert_eq!((Part::mib(8).count(), Part::mib(8).bytes()), (16, MIB));
        let scattered = Part::scattered(16, 24);
        assert_eq!((scattered.count(), scattered.bytes()), (128, 8 * MIB));
        assert_eq!(scattered.pieces().next(), Some(16 * MIB));
    }

    #[test]
    fn patterns_differ_by_place_only() {
        assert_eq!(pattern(0), pattern(0));
        assert_ne!(pattern(0), pattern(65_536));
        assert_eq!(pattern(4096).len(), PIECE);
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        let mut bytes = vec![0u8; 200_000];
        std::fs::write(&paths[0], &bytes).unwrap();
        bytes[150_000] = 1;
        std::fs::write(&paths[1], &bytes).unwrap();
        assert_eq!(first_difference(&paths, 200_000), Ok(Some(150_000)));
        assert_eq!(first_difference(&paths, 150_000), Ok(None));
        let same = [paths[0].clone(), paths[0].clone()];
        assert!(first_difference(&same, 200_001).is_err(), "it is shorter than that");
    }
}
