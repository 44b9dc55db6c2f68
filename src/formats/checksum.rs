//! Checksums of what was read, to notice input that is another one when it is read again.

use serde::{Deserialize, Serialize};

/// The CRC-32 of some bytes, and how many they are. Checksums of neighbouring pieces make that of the whole, however it
/// was cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// How many bytes.
    pub bytes: u64,
    /// Their CRC-32.
    pub crc: u32,
}

impl Checksum {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, crc: crc32fast::hash(bytes) }
    }

    /// That of these bytes and those that follow them.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let mut whole = crc32fast::Hasher::new_with_initial_len(self.crc, self.bytes);
        whole.combine(&crc32fast::Hasher::new_with_initial_len(next.crc, next.bytes));
        Self { bytes: self.bytes + next.bytes, crc: whole.finalize() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_checksum_of_the_whole() {
        let bytes = b"one, two, three".as_slice();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]].map(Checksum::of);
                let whole = pieces.into_iter().fold(Checksum::default(), Checksum::then);
                assert_eq!(whole, Checksum::of(bytes));
            }
        }
        assert_ne!(Checksum::of(b"one, two, threE"), Checksum::of(bytes));
    }
}
