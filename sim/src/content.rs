//! What a sector holds, kept small: the data of simulated clients is one number repeated.

use bytes::Bytes;
use types::{SECTOR_BYTES, StatusMap};

/// Bytes of a sector, as an index.
pub(crate) const SECTOR: usize = SECTOR_BYTES as usize;
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// The content of one sector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Content {
    /// Zeros.
    #[default]
    Zero,
    /// This number, little endian, 64 times.
    Tag(u64),
    /// Anything else: metadata.
    Raw(Bytes),
}

impl Content {
    /// The content of one sector, given as a slice of its own.
    fn of(sector: &Bytes) -> Self {
        let Some(first) = word(sector) else { return Self::Raw(sector.clone()) };
        // Every word equal to the one before it: one comparison of overlapping slices.
        if sector[8..] != sector[..SECTOR - 8] {
            return Self::Raw(sector.clone());
        }
        if first == 0 { Self::Zero } else { Self::Tag(first) }
    }

    /// The number that clients wrote, or zero; `None` for anything else.
    pub(crate) const fn tag(&self) -> Option<u64> {
        match self {
            Self::Zero => Some(0),
            Self::Tag(tag) => Some(*tag),
            Self::Raw(_) => None,
        }
    }

    fn write_to(&self, out: &mut [u8]) {
        match self {
            Self::Zero => out.fill(0),
            Self::Tag(tag) => out.as_chunks_mut::<8>().0.fill(tag.to_le_bytes()),
            Self::Raw(bytes) => out.copy_from_slice(bytes),
        }
    }
}

fn word(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

/// The sectors of a buffer, which is a whole number of them.
pub(crate) fn sectors_of(data: &Bytes) -> impl Iterator<Item = Content> + '_ {
    assert!(data.len().is_multiple_of(SECTOR), "{} bytes are no whole sectors", data.len());
    (0..data.len() / SECTOR).map(|i| Content::of(&data.slice(i * SECTOR..(i + 1) * SECTOR)))
}

/// A buffer of these sectors.
pub(crate) fn bytes_of<'a>(sectors: impl ExactSizeIterator<Item = &'a Content>) -> Bytes {
    let mut out = vec![0; sectors.len() * SECTOR];
    for (content, chunk) in sectors.zip(out.chunks_exact_mut(SECTOR)) {
        content.write_to(chunk);
    }
    Bytes::from(out)
}

/// A buffer of one number repeated: what a client writes.
pub(crate) fn bytes_of_tag(tag: u64, len: u64) -> Bytes {
    let mut out = vec![0; usize::try_from(len).expect("a simulated request is small")];
    out.as_chunks_mut::<8>().0.fill(tag.to_le_bytes());
    Bytes::from(out)
}

/// A buffer of zeros, shared where that is possible.
pub(crate) fn bytes_of_zeros(len: u64) -> Bytes {
    let len = usize::try_from(len).expect("a simulated request is small");
    if len <= ZEROS.len() { Bytes::from_static(&ZEROS[..len]) } else { vec![0; len].into() }
}

/// The number in each sector of what a client read; `None` where a sector is torn.
pub(crate) fn tags_of(data: &Bytes) -> impl Iterator<Item = Option<u64>> + '_ {
    sectors_of(data).map(|content| content.tag())
}

/// What a disk says when asked which sectors of these read as zeros.
pub(crate) fn map_of(data: &Bytes, zeros: u32) -> StatusMap {
    let mut map = StatusMap::new();
    for content in sectors_of(data) {
        let flags = if content == Content::Zero { zeros } else { StatusMap::DATA };
        if !map.push(SECTOR_BYTES, flags) {
            break;
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_back_from_bytes() {
        let mut raw = vec![1; SECTOR];
        raw[500] = 9;
        let contents = [Content::Zero, Content::Tag(77), Content::Raw(raw.into())];
        let bytes = bytes_of(contents.iter());
        assert_eq!(sectors_of(&bytes).collect::<Vec<_>>(), contents);
        assert_eq!(tags_of(&bytes).collect::<Vec<_>>(), [Some(0), Some(77), None]);
        assert!(tags_of(&bytes_of_tag(5, 1024)).all(|tag| tag == Some(5)));
        assert!(tags_of(&bytes_of_zeros(2048)).all(|tag| tag == Some(0)));
    }
}
