//! Encodes replies of the transmission phase.

use crate::errno::Errno;
use crate::proto::{SIMPLE_REPLY_MAGIC, SimpleReplyHeader};
use zerocopy::IntoBytes;

/// The header of a simple reply; the data of a successful READ goes behind it.
pub(crate) fn simple_header(cookie: u64, error: Option<Errno>) -> [u8; 16] {
    let header = SimpleReplyHeader {
        magic: SIMPLE_REPLY_MAGIC.into(),
        error: error.map_or(0, Errno::code).into(),
        cookie: cookie.into(),
    };
    let mut bytes = [0; size_of::<SimpleReplyHeader>()];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_comes_back_byte_by_byte() {
        let cookie = u64::from_be_bytes(*b"\x01\x02\x03\x04abcd");
        assert_eq!(
            simple_header(cookie, Some(Errno::NoSpc)),
            *b"\x67\x44\x66\x98\0\0\0\x1c\x01\x02\x03\x04abcd"
        );
        assert_eq!(simple_header(cookie, None)[4..8], [0; 4]);
    }
}
