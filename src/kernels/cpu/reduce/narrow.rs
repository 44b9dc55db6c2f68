//! The loops of `plain` for groups that have one lane or two, of whole numbers alone.

use fearless_simd::{Avx2, SimdBase, i64x4};

use super::few::padded;
use super::fours::{ask_for_lanes, behind};
use super::lanes::AT_ONCE;
use super::plain::{Four, VALUES_AHEAD, bits};
use crate::kernels::cpu::prefetch::prefetch_behind;

fearless_simd::kernel!(
    /// Adds one lane or two of whole numbers; if they are not what they should be, says false, and nothing is done.
    pub(super) fn add_narrow(
        avx2: Avx2,
        place: (&mut [i64], usize),
        ids: &[u32],
        rows: (usize, bool),
        four: &Four<'_>,
    ) -> bool {
        let (slots, width) = place;
        match (width, four.alike) {
            (1, _) => narrow::<1, 0>(avx2, slots.as_chunks_mut().0, ids, rows, four),
            (_, 3..) => narrow::<2, 1>(avx2, slots.as_chunks_mut().0, ids, rows, four),
            _ => narrow::<2, 0>(avx2, slots.as_chunks_mut().0, ids, rows, four),
        }
    }
);

/// Row by row; the last `ALIKE` lanes get the same from each.
#[inline(always)]
fn narrow<const WIDTH: usize, const ALIKE: usize>(
    avx2: Avx2,
    slots: &mut [[i64; WIDTH]],
    ids: &[u32],
    (rows, is_far): (usize, bool),
    four: &Four<'_>,
) -> bool {
    let mut seen = [i64x4::splat(avx2, 0); WIDTH];
    let mut numbers = [(&[][..], &[][..]); WIDTH];
    for (numbers, (all, _)) in numbers.iter_mut().zip(four.numbers) {
        *numbers = all[..rows].as_chunks::<AT_ONCE>();
    }
    let (whole, rest) = ids[..rows].as_chunks::<AT_ONCE>();
    let behind = behind(ids);
    for (quad, here) in whole.iter().enumerate() {
        if is_far {
            ask_for_lanes(slots.as_flattened(), (WIDTH, 0), behind.get(quad));
        }
        let mut values = [[0; AT_ONCE]; WIDTH];
        let lanes = values.iter_mut().zip(&mut seen).zip(&numbers).enumerate();
        for (lane, ((values, seen), (numbers, _))) in lanes {
            if lane < WIDTH - ALIKE {
                *values = numbers[quad];
                prefetch_behind(&numbers[quad], VALUES_AHEAD, 1);
                *seen |= bits(avx2, i64x4::load_array_ref(avx2, values));
            } else {
                *values = [four.same[lane]; AT_ONCE];
            }
        }
        put_narrow::<WIDTH, false>(slots, here, &values);
    }
    let last = numbers.map(|(_, rest)| padded(rest));
    put_narrow::<WIDTH, false>(slots, rest, &last);
    let fits = |(seen, (last, (_, bits))): (i64x4<Avx2>, (&[i64; AT_ONCE], &(_, u64)))| {
        let unseen = |seen: i64| seen.cast_unsigned() & !bits == 0;
        let of_last = |&number: &i64| unseen(number ^ (number >> 63));
        seen.to_array().into_iter().all(unseen) && last.iter().all(of_last)
    };
    if seen.into_iter().zip(last.iter().zip(&four.numbers)).all(fits) {
        return true;
    }
    for (quad, here) in whole.iter().enumerate() {
        put_narrow::<WIDTH, true>(slots, here, &numbers.map(|(numbers, _)| numbers[quad]));
    }
    put_narrow::<WIDTH, true>(slots, rest, &last);
    false
}

/// Adds up to four rows to the lanes of their groups, or takes them off. Number by number: two as one vector took twice as long, since
/// both have to be brought together first.
#[inline(always)]
fn put_narrow<const WIDTH: usize, const TAKES_OFF: bool>(
    slots: &mut [[i64; WIDTH]],
    ids: &[u32],
    values: &[[i64; AT_ONCE]; WIDTH],
) {
    for (row, &id) in ids.iter().enumerate().take(AT_ONCE) {
        for (lane, values) in slots[id as usize].iter_mut().zip(values) {
            let number = values[row];
            *lane = if TAKES_OFF { lane.wrapping_sub(number) } else { lane.wrapping_add(number) };
        }
    }
}
