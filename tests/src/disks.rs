//! The disks' files, looked at from outside.

use anyhow::Context;
use metadata::{AL_BLOCKS_DEFAULT, Layout};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are compared or hashed in one go.
const PIECE: usize = 1 << 20;

/// Bytes of a disk of that size that are data; the rest is metadata.
///
/// # Errors
/// If it is too small to have any.
pub fn data_bytes(disk_bytes: u64) -> anyhow::Result<u64> {
    Ok(Layout::internal(disk_bytes, AL_BLOCKS_DEFAULT)?.data_bytes())
}

/// The first byte among the first `len` at which two files differ.
///
/// # Errors
/// If one cannot be read so far.
pub fn first_difference(one: &Path, other: &Path, len: u64) -> anyhow::Result<Option<u64>> {
    let open = |path: &Path| File::open(path).with_context(|| path.display().to_string());
    let (one, other) = (open(one)?, open(other)?);
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < len {
        let piece = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
        one.read_exact_at(&mut ours[..piece], at)?;
        other.read_exact_at(&mut theirs[..piece], at)?;
        let differ = |(a, b): (&u8, &u8)| a != b;
        if let Some(byte) = ours[..piece].iter().zip(&theirs[..piece]).position(differ) {
            return Ok(Some(at + byte as u64));
        }
        at += piece as u64;
    }
    Ok(None)
}

/// SHA-256 of the first `len` bytes of a file, in hexadecimal.
///
/// # Errors
/// If it cannot be read so far.
pub fn sha256(path: &Path, len: u64) -> anyhow::Result<String> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?.take(len);
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut read = 0;
    loop {
        let got = file.read(&mut piece)?;
        if got == 0 {
            break;
        }
        digest.update(&piece[..got]);
        read += got as u64;
    }
    anyhow::ensure!(read == len, "{} has only {read} of {len} bytes", path.display());
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        let len = PIECE + 10;
        std::fs::write(&one, vec![7; len]).unwrap();
        let mut bytes = vec![7; len];
        bytes[PIECE + 3] = 8;
        std::fs::write(&other, bytes).unwrap();
        let found = |len| first_difference(&one, &other, len).unwrap();
        assert_eq!(found(len as u64), Some(PIECE as u64 + 3));
        assert_eq!(found(PIECE as u64 + 3), None);
        assert!(first_difference(&one, &other, len as u64 + 1).is_err());
    }

    #[test]
    fn a_digest_is_of_as_many_bytes_as_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "abcd").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path, 3).unwrap(), abc);
        assert!(sha256(&path, 5).is_err());
    }
}
