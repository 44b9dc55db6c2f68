//! Where marks stand in bytes: delimiters and line ends, or what ends a plain piece of a JSON string. By vectors that
//! every machine of its kind has, 64 or 16 bytes at a time: wider ones gain nothing here, since what is done with each
//! mark costs more than finding it.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x16};

/// Bytes looked at in one step.
const WINDOW_BYTES: usize = 64;

/// A bit for each byte of the window that is one of three marks.
#[inline(always)]
fn marked(window: &[u8; WINDOW_BYTES], marks: [u8; 3]) -> u64 {
    #[inline(always)]
    fn within<S: Simd>(simd: S, window: &[u8; WINDOW_BYTES], marks: [u8; 3]) -> u64 {
        let [first, second, third] = marks.map(|mark| u8x16::splat(simd, mark));
        let mut bits = 0;
        for (index, part) in window.as_chunks::<16>().0.iter().enumerate() {
            let bytes = u8x16::from_slice(simd, part);
            let hits = bytes.simd_eq(first) | bytes.simd_eq(second) | bytes.simd_eq(third);
            bits |= hits.to_bitmask() << (16 * index);
        }
        bits
    }
    dispatch!(Level::baseline(), simd => within(simd, window, marks))
}

/// The places of marks, in order.
pub(super) struct Marked<'a> {
    bytes: &'a [u8],
    marks: [u8; 3],
    /// Where the window in work begins, and its marks that are not given yet.
    window: usize,
    bits: u64,
    /// Where the next window begins.
    next: usize,
}

impl<'a> Marked<'a> {
    /// Of three marks; who needs fewer repeats one.
    pub(super) fn new(bytes: &'a [u8], marks: [u8; 3]) -> Self {
        Self { bytes, marks, window: 0, bits: 0, next: 0 }
    }

    #[cold]
    fn last_window(&self) -> u64 {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        let mut window = [0; WINDOW_BYTES];
        window[..rest.len()].copy_from_slice(rest);
        // What was filled up is not there.
        marked(&window, self.marks) & ((1 << rest.len()) - 1)
    }
}

impl Iterator for Marked<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            if self.next >= self.bytes.len() {
                return None;
            }
            self.bits = match self.bytes[self.next..].first_chunk() {
                Some(window) => marked(window, self.marks),
                None => self.last_window(),
            };
            self.window = self.next;
            self.next += WINDOW_BYTES;
        }
        let place = self.window + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(place)
    }
}

/// How many bytes at the front are neither quote, backslash nor control character.
#[inline(always)]
pub(super) fn plain_run(text: &[u8]) -> usize {
    #[inline(always)]
    fn specials<S: Simd>(simd: S, part: &[u8; 16]) -> u64 {
        let bytes = u8x16::from_slice(simd, part);
        let quotes = bytes.simd_eq(u8x16::splat(simd, b'"')) | bytes.simd_eq(u8x16::splat(simd, b'\\'));
        (quotes | bytes.simd_lt(u8x16::splat(simd, 0x20))).to_bitmask()
    }
    let (parts, rest) = text.as_chunks::<16>();
    for (index, part) in parts.iter().enumerate() {
        let hits = dispatch!(Level::baseline(), simd => specials(simd, part));
        if hits != 0 {
            return 16 * index + hits.trailing_zeros() as usize;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    text.len() - rest.len() + rest.iter().position(special).unwrap_or(rest.len())
}

/// How long the line at the front is, with its end if that is there; nothing if this name, in its quotes and without a line
/// end, stands in it, or a backslash, with which it might be written otherwise.
#[inline(always)]
pub(super) fn line_without(bytes: &[u8], name: &[u8]) -> Option<usize> {
    /// Bits of what ends the search, and of where the name may begin: where three of its bytes are.
    #[inline(always)]
    fn found<S: Simd>(simd: S, parts: [&[u8; 16]; 3], name: [u8; 3]) -> (u64, u64) {
        let [first, near_last, last] = parts.map(|part| u8x16::from_slice(simd, part));
        let ends = first.simd_eq(u8x16::splat(simd, b'\n')) | first.simd_eq(u8x16::splat(simd, b'\\'));
        let begins = first.simd_eq(u8x16::splat(simd, name[0]))
            & near_last.simd_eq(u8x16::splat(simd, name[1]))
            & last.simd_eq(u8x16::splat(simd, name[2]));
        (ends.to_bitmask(), begins.to_bitmask())
    }
    let last = name.len().checked_sub(1).filter(|last| *last > 0)?;
    // Names of one length often differ near their ends, and hardly ever in the quotes.
    let near_last = last - last.min(2);
    let marks = [name[0], name[near_last], name[last]];
    let part = |at: usize| bytes.get(at..)?.first_chunk::<16>();
    let mut at = 0;
    while let (Some(first), Some(second), Some(third)) = (part(at), part(at + near_last), part(at + last)) {
        let (ends, begins) = dispatch!(Level::baseline(), simd => found(simd, [first, second, third], marks));
        // Only those before the first end.
        let mut begins = begins & ends.wrapping_sub(1) & !ends;
        while begins != 0 {
            if bytes[at + begins.trailing_zeros() as usize..].starts_with(name) {
                return None;
            }
            begins &= begins - 1;
        }
        if ends != 0 {
            let end = at + ends.trailing_zeros() as usize;
            return (bytes[end] == b'\n').then_some(end + 1);
        }
        at += first.len();
    }
    let rest = &bytes[at..];
    let length = match memchr::memchr2(b'\n', b'\\', rest) {
        Some(end) if rest[end] == b'\\' => return None,
        Some(end) => end + 1,
        None => rest.len(),
    };
    (!rest[..length].windows(name.len()).any(|window| window == name)).then_some(at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_its_line_alone() {
        for name in ["\"\"", "\"n\"", "\"name\"", "\"a name of many bytes, more than a vector has\""] {
            for length in 0..70 {
                let blank = "x".repeat(length);
                let after = format!("\n{name}\\{name}");
                for (line, behind) in [(blank.clone(), ""), (blank.clone(), after.as_str())] {
                    let whole = format!("{line}{behind}");
                    let expected = line.len() + usize::from(!behind.is_empty());
                    assert_eq!(line_without(whole.as_bytes(), name.as_bytes()), Some(expected), "{whole}");
                    for place in 0..=length {
                        let (left, right) = line.split_at(place);
                        for (put, is_there) in
                            [(name, true), (&name[..name.len() - 1], false), (&name[1..], false), ("\\", true)]
                        {
                            let whole = format!("{left}{put}{right}{behind}");
                            let expected = (!is_there).then_some(expected + put.len());
                            assert_eq!(line_without(whole.as_bytes(), name.as_bytes()), expected, "{whole}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn plain_runs_end_at_every_special_byte_in_every_position() {
        for length in 0..40 {
            for special in 0..=255u8 {
                let mut text = vec![b'x'; 40];
                text[length] = special;
                let expected = if matches!(special, b'"' | b'\\' | 0..0x20) { length } else { 40 };
                assert_eq!(plain_run(&text), expected, "{special} at {length}");
            }
        }
    }

    #[test]
    fn marks_are_found_at_every_place_and_none_behind_the_end() {
        for length in [0, 1, 15, 16, 63, 64, 65, 127, 128, 129, 200] {
            // Every third byte is a mark, of each kind in turn; the zeros that fill the last window up must not count.
            let bytes: Vec<u8> = (0..length).map(|at| if at % 3 == 0 { b";\n\0"[at / 3 % 3] } else { b'x' }).collect();
            let expected: Vec<usize> = (0..length).filter(|at| at % 3 == 0).collect();
            assert_eq!(Marked::new(&bytes, [b';', b'\n', 0]).collect::<Vec<_>>(), expected, "{length}");
            let none = Marked::new(&bytes, [b'q'; 3]).collect::<Vec<_>>();
            assert_eq!(none, Vec::<usize>::new(), "{length}");
            let line_ends: Vec<usize> = (0..length).filter(|at| at % 9 == 3).collect();
            assert_eq!(Marked::new(&bytes, [b'\n'; 3]).collect::<Vec<_>>(), line_ends, "{length}");
        }
    }
}
