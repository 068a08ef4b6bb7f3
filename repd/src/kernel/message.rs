//! Messages of generic netlink, as bytes: a header, a command, and attributes in the machine's byte
//! order, each padded to four bytes. Facts: `linux/netlink.h`, `linux/genetlink.h`.

use std::io;

/// What every message begins with.
const HEADER: usize = 16;
/// The command that follows: number, version, and two bytes of nothing.
const COMMAND: usize = 4;
/// What every attribute begins with: its length, with this, and its type.
const ATTRIBUTE: usize = 4;
/// A bit of an attribute's type: it holds attributes.
const NESTED: u16 = 0x8000;
/// Bits of a type that say how it is coded.
const TYPE_BITS: u16 = 0xc000;
/// `NLM_F_REQUEST` and `NLM_F_ACK`.
const REQUEST_AND_ACK: u16 = 1 | 4;
/// `NLMSG_ERROR`: the answer to what was asked, also if there is no error.
const ERROR: u16 = 2;

/// Attributes that are being written.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A text, which ends with a zero.
    pub(super) fn text(self, kind: u16, text: &str) -> Self {
        self.bytes(kind, &[text.as_bytes(), &[0]].concat())
    }

    pub(super) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = ATTRIBUTE + value.len();
        let coded = u16::try_from(length).expect("attributes are short");
        self.0.extend(coded.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// A request to a family, which is to be acknowledged.
pub(super) fn request(family: u16, sequence: u32, command: u8, attributes: &Attributes) -> Vec<u8> {
    let length = HEADER + COMMAND + attributes.0.len();
    let coded = u32::try_from(length).expect("messages are short");
    let mut message = Vec::with_capacity(length);
    message.extend(coded.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // The port of the sender: the kernel knows it.
    message.extend([0; 4]);
    message.extend([command, 1, 0, 0]);
    message.extend(&attributes.0);
    message
}

/// What the kernel says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The request with that number is done, or not.
    Done { sequence: u32, result: Result<(), i32> },
    /// Attributes, by their type.
    Data { sequence: u32, attributes: Vec<(u16, Vec<u8>)> },
}

/// The messages of a datagram.
///
/// # Errors
/// If they are cut off.
pub(super) fn answers(mut bytes: &[u8]) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(take(bytes, 0)?) as usize;
        let kind = u16::from_ne_bytes(take(bytes, 4)?);
        let sequence = u32::from_ne_bytes(take(bytes, 8)?);
        let body = bytes.get(HEADER..length).ok_or_else(cut_off)?;
        answers.push(match kind {
            ERROR => {
                let code = i32::from_ne_bytes(take(body, 0)?);
                let result = if code == 0 { Ok(()) } else { Err(-code) };
                Answer::Done { sequence, result }
            }
            _ => {
                let rest = body.get(COMMAND..).ok_or_else(cut_off)?;
                Answer::Data { sequence, attributes: attributes(rest)? }
            }
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(answers)
}

fn attributes(mut bytes: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_ne_bytes(take(bytes, 0)?));
        let kind = u16::from_ne_bytes(take(bytes, 2)?) & !TYPE_BITS;
        found.push((kind, bytes.get(ATTRIBUTE..length).ok_or_else(cut_off)?.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// The bytes of a number.
fn take<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    let part = bytes.get(at..at + N).ok_or_else(cut_off)?;
    Ok(part.try_into().expect("so many were taken"))
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer of netlink that is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_kernel_expects() {
        let socket = Attributes::default().u32(1, 7);
        let list = Attributes::default().nested(1, &socket);
        let attributes = Attributes::default().u32(1, 3).text(10, "r0").nested(7, &list);
        let message = request(28, 5, 3, &attributes);
        let words: Vec<u16> =
            message.chunks(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect();
        if cfg!(target_endian = "little") {
            assert_eq!(words[..10], [52, 0, 28, 5, 5, 0, 0, 0, 0x0103, 0]);
            // The index; the text with its end, and a byte of padding.
            assert_eq!(words[10..18], [8, 1, 3, 0, 7, 10, 0x3072, 0]);
            assert_eq!(words[18..26], [16, 0x8007, 12, 0x8001, 8, 1, 7, 0]);
        }
        assert_eq!(message.len(), 52);
    }

    #[test]
    fn answers_are_read_and_what_is_cut_off_is_refused() {
        let data = request(28, 5, 1, &Attributes::default().u32(1, 12).text(10, "x"));
        let mut error = request(ERROR, 5, 0, &Attributes::default());
        error[HEADER..].copy_from_slice(&(-17_i32).to_ne_bytes());
        let both = [data.clone(), error].concat();
        let read = answers(&both).unwrap();
        let attributes = vec![(1, 12_u32.to_ne_bytes().to_vec()), (10, b"x\0".to_vec())];
        assert_eq!(read[0], Answer::Data { sequence: 5, attributes });
        assert_eq!(read[1], Answer::Done { sequence: 5, result: Err(17) });
        for length in 1..data.len() {
            assert!(answers(&data[..length]).is_err(), "{length} bytes");
        }
    }
}
