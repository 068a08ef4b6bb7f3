//! Frames: a length and as many bytes of JSON.

use serde::Serialize;
use std::io::{self, Read, Write};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest frame in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// The bytes of a frame.
///
/// # Errors
/// If it does not encode, or is longer than [`MAX_BYTES`].
pub fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let len = frame.len() - 4;
    let len = u32::try_from(check(len)?).expect("a frame is far shorter than 4 GiB");
    frame[..4].copy_from_slice(&len.to_le_bytes());
    Ok(frame)
}

/// Writes one frame.
///
/// # Errors
/// As [`encode`], and those of the stream.
pub fn write<T: Serialize>(stream: &mut impl Write, value: &T) -> io::Result<()> {
    stream.write_all(&encode(value)?)?;
    stream.flush()
}

/// Reads one frame; `None` if the stream ends before it begins.
///
/// # Errors
/// If it is too long, or ends in the middle, and those of the stream.
pub fn read(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let mut filled = 0;
    while filled < len.len() {
        match stream.read(&mut len[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut frame = vec![0; check(u32::from_le_bytes(len) as usize)?];
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// As [`read`], for the daemon. Not cancel-safe.
///
/// # Errors
/// As [`read`].
pub async fn read_async<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let first = stream.read(&mut len).await?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut len[first..]).await?;
    let mut frame = vec![0; check(u32::from_le_bytes(len) as usize)?];
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

fn check(len: usize) -> io::Result<usize> {
    if len <= MAX_BYTES {
        return Ok(len);
    }
    let text = format!("a frame of {len} bytes; at most {MAX_BYTES} are allowed");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Failure, Reply, Request};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back_one_after_the_other(texts in prop::collection::vec(".*", 0..5)) {
            let replies: Vec<Reply> = texts.into_iter().map(Reply::Note).collect();
            let mut bytes = Vec::new();
            for reply in &replies {
                write(&mut bytes, reply).unwrap();
            }
            let mut rest = &bytes[..];
            for reply in &replies {
                let frame = read(&mut rest).unwrap().unwrap();
                prop_assert_eq!(&serde_json::from_slice::<Reply>(&frame).unwrap(), reply);
            }
            prop_assert!(read(&mut rest).unwrap().is_none());
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(frame)) = read(&mut &bytes[..]) {
                let _ = Request::decode(&frame);
            }
        }
    }

    #[test]
    fn a_cut_frame_and_a_long_one_are_errors() {
        let whole = encode(&Reply::Failed(Failure::failed("x"))).unwrap();
        for cut in 1..whole.len() {
            assert!(read(&mut &whole[..cut]).is_err(), "cut at {cut}");
        }
        let long = u32::try_from(MAX_BYTES + 1).unwrap().to_le_bytes();
        assert_eq!(read(&mut &long[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(encode(&"x".repeat(MAX_BYTES)).is_err());
    }

    #[test]
    fn both_readers_read_the_same() {
        let request = Request::new(Command::Status { resource: None });
        let bytes = encode(&request).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let frame = runtime.block_on(read_async(&mut &bytes[..])).unwrap().unwrap();
        assert_eq!(Some(frame), read(&mut &bytes[..]).unwrap());
        assert!(runtime.block_on(read_async(&mut &bytes[..3])).is_err());
    }
}
