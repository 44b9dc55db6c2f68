//! Small numbers as Parquet writes codes and levels: runs of one number, and groups of eight that take as many bits each
//! as the greatest needs.
//!
//! Nothing is believed of what the bytes say: numbers that are not there are a damage, and no memory is asked for.

use ::parquet::errors::{ParquetError, Result};
use bytes::Bytes;
use fearless_simd::{Level, Simd, dispatch};

/// Numbers that are packed together, so that they begin with a byte.
const GROUP: usize = 8;

/// Bits of a number at most.
const WIDTH_MAX: u8 = 32;

/// A sequence of such numbers, read from the front.
#[derive(Debug)]
pub(super) struct Hybrid {
    bytes: Bytes,
    /// Where the next run begins.
    next: usize,
    /// Bits of a number.
    width: usize,
    run: Run,
    level: Level,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    /// One number, so many times.
    Same { number: u32, left: usize },
    /// Numbers packed from byte `start` on, of which some were taken.
    Packed { start: usize, taken: usize, left: usize },
}

/// What is not as it should be in a page.
pub(super) fn damage(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

impl Hybrid {
    /// Numbers of so many bits.
    pub(super) fn new(bytes: Bytes, width: u8) -> Result<Self> {
        if width > WIDTH_MAX {
            return Err(damage("codes have more than 32 bits"));
        }
        let run = Run::Same { number: 0, left: 0 };
        Ok(Self { bytes, next: 0, width: usize::from(width), run, level: Level::new() })
    }

    /// So many numbers that are packed without a run's beginning.
    pub(super) fn packed(bytes: Bytes, width: u8, count: usize) -> Result<Self> {
        let mut packed = Self::new(bytes, width)?;
        let there = packed.bytes.len().saturating_mul(8).checked_div(packed.width).unwrap_or(count);
        packed.next = packed.bytes.len();
        packed.run = Run::Packed { start: 0, taken: 0, left: count.min(there) };
        Ok(packed)
    }

    /// The next run, which is not empty.
    fn next_run(&mut self) -> Result<()> {
        loop {
            let rest = self.bytes.get(self.next..).unwrap_or_default();
            let (head, read) = varint(rest).ok_or_else(|| damage("there are fewer codes or levels than rows"))?;
            let start = self.next + read;
            let there = self.bytes.len() - start;
            let count = (head >> 1) as usize;
            if head & 1 == 1 {
                // Some writers leave the end of the last group out.
                let numbers = count.saturating_mul(GROUP);
                let numbers = (there * 8).checked_div(self.width).map_or(numbers, |there| numbers.min(there));
                self.next = start + there.min(count.saturating_mul(self.width));
                self.run = Run::Packed { start, taken: 0, left: numbers };
            } else {
                let size = self.width.div_ceil(8);
                let mut four = [0; 4];
                let number = self.bytes.get(start..start + size).ok_or_else(|| damage("a run of codes is cut off"))?;
                four[..size].copy_from_slice(number);
                self.next = start + size;
                self.run = Run::Same { number: u32::from_le_bytes(four), left: count };
            }
            if self.left() > 0 {
                return Ok(());
            }
        }
    }

    fn left(&self) -> usize {
        match self.run {
            Run::Same { left, .. } | Run::Packed { left, .. } => left,
        }
    }

    /// Whether the next `count` numbers are one run of `number`.
    pub(super) fn is_all(&mut self, count: usize, number: u32) -> Result<bool> {
        if self.left() == 0 {
            self.next_run()?;
        }
        Ok(matches!(self.run, Run::Same { number: same, left } if same == number && left >= count))
    }

    /// Passes so many numbers over.
    pub(super) fn skip(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            if self.left() == 0 {
                self.next_run()?;
            }
            let some = count.min(self.left());
            self.take(some);
            count -= some;
        }
        Ok(())
    }

    /// Fills `to` with the next numbers.
    pub(super) fn read(&mut self, mut to: &mut [u32]) -> Result<()> {
        while !to.is_empty() {
            if self.left() == 0 {
                self.next_run()?;
            }
            let some = to.len().min(self.left());
            let (now, later) = to.split_at_mut(some);
            match self.run {
                Run::Same { number, .. } => now.fill(number),
                Run::Packed { start, taken, .. } => {
                    let packed = self.bytes.get(start..).unwrap_or_default();
                    unpack(self.level, packed, self.width, taken, now);
                }
            }
            self.take(some);
            to = later;
        }
        Ok(())
    }

    /// As [`Hybrid::read`], but only those places of `to` are filled that are asked for: in order, and counted from `first`.
    pub(super) fn read_at(&mut self, to: &mut [u32], first: u32, mut asked: &[u32]) -> Result<()> {
        let place = |row: u32| row.wrapping_sub(first) as usize;
        let mut at = 0;
        while at < to.len() {
            if self.left() == 0 {
                self.next_run()?;
            }
            let some = self.left().min(to.len() - at);
            let (now, later) = asked.split_at(asked.partition_point(|row| place(*row) < at + some));
            match self.run {
                Run::Same { number, .. } => now.iter().for_each(|row| to[place(*row)] = number),
                Run::Packed { start, taken, .. } => {
                    let packed = self.bytes.get(start..).unwrap_or_default();
                    for row in now.iter().map(|row| place(*row)) {
                        to[row] = single(packed, self.width, taken + row - at);
                    }
                }
            }
            self.take(some);
            (at, asked) = (at + some, later);
        }
        Ok(())
    }

    fn take(&mut self, count: usize) {
        match &mut self.run {
            Run::Same { left, .. } => *left -= count,
            Run::Packed { taken, left, .. } => {
                *taken += count;
                *left -= count;
            }
        }
    }
}

/// A number of seven bits a byte, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok().map(|number| (number, index + 1));
        }
    }
    None
}

/// A number, wherever it lies; what lies behind the end is zero.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "higher bits are those of other numbers")]
fn single(packed: &[u8], width: usize, index: usize) -> u32 {
    let bit = index * width;
    let rest = packed.get(bit / 8..).unwrap_or_default();
    let eight = match rest.first_chunk() {
        Some(eight) => *eight,
        None => padded(rest),
    };
    (u64::from_le_bytes(eight) >> (bit % 8)) as u32 & mask(width)
}

const fn mask(width: usize) -> u32 {
    if width == 0 { 0 } else { u32::MAX >> (WIDTH_MAX as usize - width) }
}

fn padded<const BYTES: usize>(rest: &[u8]) -> [u8; BYTES] {
    let mut padded = [0; BYTES];
    padded[..rest.len().min(BYTES)].copy_from_slice(&rest[..rest.len().min(BYTES)]);
    padded
}

/// The numbers from number `first` on.
fn unpack(level: Level, packed: &[u8], width: usize, first: usize, to: &mut [u32]) {
    let before = (first.next_multiple_of(GROUP) - first).min(to.len());
    let (head, rest) = to.split_at_mut(before);
    for (index, number) in head.iter_mut().enumerate() {
        *number = single(packed, width, first + index);
    }
    let (groups, tail) = rest.as_chunks_mut::<GROUP>();
    let first = first + before;
    let bytes = packed.get(first / GROUP * width..).unwrap_or_default();
    dispatch!(level, simd => groups_of(simd, bytes, width, groups));
    let first = groups.len() * GROUP;
    for (index, number) in tail.iter_mut().enumerate() {
        *number = single(bytes, width, first + index);
    }
}

#[inline(always)]
fn groups_of<S: Simd>(simd: S, bytes: &[u8], width: usize, groups: &mut [[u32; GROUP]]) {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                $($width => simd.vectorize(#[inline(always)] || groups_of_width::<$width>(bytes, groups)),)*
                _ => groups.fill([0; GROUP]),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

/// The widest group, and as many bytes as a number is looked for in.
const ROOM: usize = WIDTH_MAX as usize + 8;

#[inline(always)]
fn groups_of_width<const WIDTH: usize>(bytes: &[u8], groups: &mut [[u32; GROUP]]) {
    let mut at = 0;
    for group in groups {
        match bytes.get(at..).and_then(|rest| rest.first_chunk::<ROOM>()) {
            Some(room) => *group = group_of_width::<WIDTH>(room),
            None => *group = group_of_width::<WIDTH>(&padded(bytes.get(at..).unwrap_or_default())),
        }
        at += WIDTH;
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "higher bits are those of other numbers")]
fn group_of_width<const WIDTH: usize>(room: &[u8; ROOM]) -> [u32; GROUP] {
    let eight = |byte: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&room[byte..byte + 8]);
        u64::from_le_bytes(eight)
    };
    let mut group = [0; GROUP];
    if WIDTH <= 16 {
        // Four numbers are in one word: the second four begin with a byte or in the middle of one.
        let words = [eight(0), eight(WIDTH / 2) >> (WIDTH % 2 * 4)];
        for (index, number) in group.iter_mut().enumerate() {
            *number = (words[index / 4] >> (index % 4 * WIDTH)) as u32 & mask(WIDTH);
        }
    } else {
        for (index, number) in group.iter_mut().enumerate() {
            *number = (eight(index * WIDTH / 8) >> (index * WIDTH % 8)) as u32 & mask(WIDTH);
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes numbers as runs of the lengths that are asked for: packed ones in groups, others one by one.
    fn written(numbers: &[u32], width: usize, runs: &[(bool, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = numbers;
        let head = |mut head: usize, bytes: &mut Vec<u8>| {
            while head >= 0x80 {
                bytes.push(u8::try_from(head & 0x7f).expect("seven bits") | 0x80);
                head >>= 7;
            }
            bytes.push(u8::try_from(head).expect("seven bits"));
        };
        for (is_packed, length) in runs {
            let (run, later) = rest.split_at(*length);
            rest = later;
            if *is_packed {
                head(((length / GROUP) << 1) | 1, &mut bytes);
                let mut bits = vec![0_u8; length / GROUP * width];
                for (index, number) in run.iter().enumerate() {
                    for bit in (0..width).filter(|bit| number >> bit & 1 == 1) {
                        let place = index * width + bit;
                        bits[place / 8] |= 1 << (place % 8);
                    }
                }
                bytes.extend(bits);
            } else {
                head(length << 1, &mut bytes);
                bytes.extend(&run[0].to_le_bytes()[..width.div_ceil(8)]);
            }
        }
        bytes
    }

    fn numbers(width: usize, count: usize, seed: u32) -> Vec<u32> {
        let number = |index: u32| index.wrapping_add(seed).wrapping_mul(0x9e37_79b9).rotate_left(7) & mask(width);
        (0..u32::try_from(count).expect("few")).map(number).collect()
    }

    #[test]
    fn numbers_of_every_width_come_back_however_they_are_read() {
        for width in 0..=32 {
            let mut all = numbers(width, 8 * 40, 1);
            let same = numbers(width, 1, 7)[0];
            all.extend(vec![same; 13]);
            all.extend(numbers(width, 8 * 3, 2));
            let runs = [(true, 8 * 40), (false, 13), (true, 8), (true, 16)];
            let bytes = Bytes::from(written(&all, width, &runs));
            for step in [1, 2, 7, 8, 9, 64, 65, 200, all.len()] {
                let width = u8::try_from(width).expect("at most 32");
                let mut hybrid = Hybrid::new(bytes.clone(), width).expect("a width");
                let mut read = Vec::new();
                while read.len() < all.len() {
                    let mut some = vec![0; step.min(all.len() - read.len())];
                    hybrid.read(&mut some).expect("numbers");
                    read.extend(some);
                }
                assert_eq!(read, all, "{width} bits, {step} at a time");
                assert!(hybrid.read(&mut [0]).is_err(), "there are no more");
                for every in [1, 3, 50] {
                    let mut hybrid = Hybrid::new(bytes.clone(), width).expect("a width");
                    let mut first = 0_u32;
                    for expected in all.chunks(step) {
                        let mut some = vec![u32::MAX; expected.len()];
                        let asked: Vec<u32> = (first..).take(some.len()).skip(1).step_by(every).collect();
                        hybrid.read_at(&mut some, first, &asked).expect("numbers");
                        for row in asked.iter().map(|row| (row - first) as usize) {
                            assert_eq!(some[row], expected[row], "{width} bits, {step} at a time, each {every}.");
                        }
                        first += u32::try_from(step).expect("few");
                    }
                    assert!(hybrid.read(&mut [0]).is_err(), "there are no more");
                }
                for from in [0, 1, 8, 319, 320, 333, 340] {
                    let mut hybrid = Hybrid::new(bytes.clone(), width).expect("a width");
                    hybrid.skip(from).expect("so many");
                    let mut some = vec![0; all.len() - from];
                    hybrid.read(&mut some).expect("numbers");
                    assert_eq!(some, all[from..], "{width} bits, from {from} on");
                }
            }
        }
    }

    #[test]
    fn a_run_of_one_number_is_known() {
        let bytes = Bytes::from(written(&[1; 24], 1, &[(false, 16), (true, 8)]));
        let mut hybrid = Hybrid::new(bytes, 1).expect("a width");
        assert!(hybrid.is_all(16, 1).expect("levels"));
        assert!(!hybrid.is_all(16, 0).expect("levels"));
        assert!(!hybrid.is_all(17, 1).expect("levels"));
        hybrid.skip(24).expect("so many");
        assert!(hybrid.is_all(1, 1).is_err());
    }

    #[test]
    fn what_is_cut_off_or_untrue_is_a_damage() {
        assert!(Hybrid::new(Bytes::new(), 33).is_err());
        let bytes = written(&numbers(5, 8 * 4, 3), 5, &[(true, 32)]);
        for end in 0..bytes.len() {
            let mut hybrid = Hybrid::new(Bytes::copy_from_slice(&bytes[..end]), 5).expect("a width");
            assert!(hybrid.read(&mut [0; 32]).is_err(), "{end} bytes");
        }
        for bytes in [&[0xff; 9][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0, 0, 0, 0]] {
            let mut hybrid = Hybrid::new(Bytes::copy_from_slice(bytes), 9).expect("a width");
            let _ = hybrid.skip(usize::MAX);
            assert!(hybrid.read(&mut [0; 4096]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_end_of_the_last_group_may_be_missing() {
        let all = numbers(3, 8, 5);
        let bytes = written(&all, 3, &[(true, 8)]);
        let mut hybrid = Hybrid::new(Bytes::copy_from_slice(&bytes[..bytes.len() - 1]), 3).expect("a width");
        let mut read = [0; 5];
        hybrid.read(&mut read).expect("numbers");
        assert_eq!(read, all[..5]);
    }
}
