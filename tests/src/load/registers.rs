//! What a history is kept in: every sector is two registers.
//!
//! The border between the two is at another byte in each sector, so that requests that begin or
//! end there have every alignment. A write fills its registers with a number; a register that is
//! not full of one number is torn, or a mixture of two writes.

use bytes::Bytes;
use sim::history::BlockId;
use std::ops::Range;
use types::SECTOR_BYTES;

/// Registers of one sector.
pub const PER_SECTOR: u64 = 2;

/// The first byte of a register, whose number counts from the start of the disk.
pub fn start(register: u64) -> u64 {
    let sector = register / PER_SECTOR;
    // Each half has room for a number; the multiplier makes neighbours differ.
    let border = 8 + sector * 97 % (SECTOR_BYTES - 15);
    sector * SECTOR_BYTES + if register.is_multiple_of(PER_SECTOR) { 0 } else { border }
}

/// How a history calls it.
pub const fn name(register: u64) -> BlockId {
    BlockId { volume: 0, number: register }
}

/// First byte and length of some registers in a row.
pub fn bytes(registers: &Range<u64>) -> (u64, u32) {
    let (first, end) = (start(registers.start), start(registers.end));
    (first, u32::try_from(end - first).expect("requests are small"))
}

/// Registers full of a number.
pub fn filled(registers: &Range<u64>, value: u64) -> Bytes {
    let (first, len) = bytes(registers);
    let mut pattern = value.to_le_bytes();
    pattern.rotate_left((first % 8) as usize);
    let mut filled = pattern.repeat((len as usize).div_ceil(8));
    filled.truncate(len as usize);
    filled.into()
}

/// The numbers in registers of which these are the bytes.
///
/// # Errors
/// If one is not full of one number.
pub fn values(registers: &Range<u64>, data: &[u8]) -> anyhow::Result<Vec<u64>> {
    let (first, len) = bytes(registers);
    anyhow::ensure!(data.len() == len as usize, "{} bytes instead of {len}", data.len());
    registers
        .clone()
        .map(|register| {
            let (from, to) = (start(register), start(register + 1));
            let piece = &data[(from - first) as usize..(to - first) as usize];
            let (head, rest) = piece.split_first_chunk::<8>().expect("a register has a number");
            let is_full = rest.chunks(8).all(|chunk| *chunk == head[..chunk.len()]);
            anyhow::ensure!(is_full, "the bytes from {from} to {to} are torn");
            let mut value = *head;
            value.rotate_right((from % 8) as usize);
            Ok(u64::from_le_bytes(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_in_a_row_and_have_room_for_a_number() {
        for register in 0..5000 {
            let len = start(register + 1) - start(register);
            assert!((8..=SECTOR_BYTES - 8).contains(&len), "register {register} has {len} bytes");
        }
        assert_eq!(start(2 * 8), 4096);
    }

    #[test]
    fn what_is_filled_is_found_and_what_is_torn_is_told() {
        for registers in [0..16, 3..4, 5..31] {
            let mut data = filled(&registers, 0x0102_0304_0506_0708).to_vec();
            let found = values(&registers, &data).unwrap();
            assert!(found.iter().all(|&value| value == 0x0102_0304_0506_0708));
            assert_eq!(found.len() as u64, registers.end - registers.start);
            let last = data.len() - 1;
            data[last] ^= 1;
            assert!(values(&registers, &data).unwrap_err().to_string().contains("torn"));
            assert!(values(&registers, &data[1..]).is_err());
        }
    }

    #[test]
    fn two_writes_side_by_side_are_two_numbers() {
        let data = [filled(&(0..5), 7), filled(&(5..8), 9)].concat();
        assert_eq!(values(&(0..8), &data).unwrap(), [7, 7, 7, 7, 7, 9, 9, 9]);
    }
}
