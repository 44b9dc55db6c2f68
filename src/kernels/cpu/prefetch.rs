//! Asking for memory before it is needed.
//!
//! A pass over several columns reads a few hundred rows of one, computes, reads the next: the machine's own
//! look-ahead, made for one long stream, is late after each turn and stops at each page. Naming the rows that come next
//! while the present ones are computed hides that.

/// Bytes that come at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for the memory of these values. Says nothing about them, and reads nothing; without effect where there is no
/// such instruction.
#[inline(always)]
pub(super) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(values)).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = values.as_ptr().cast::<i8>().wrapping_add(line);
        // SAFETY: the instruction is part of SSE, which every x86_64 has, and never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Asks for the memory of `rows` values from `from` on, counted from the first one, for a cache further away. There need not be so many: what
/// lies behind a piece of a column is mostly more of the column.
#[inline(always)]
pub(super) fn prefetch_behind<T>(values: &[T], from: usize, rows: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..rows * size_of::<T>()).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let address = values.as_ptr().wrapping_add(from).cast::<i8>().wrapping_add(line);
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, from, rows);
}

/// Asks for the `rows` values from `from` on, or for as many as there are.
#[inline(always)]
pub(super) fn prefetch_rows<T>(values: &[T], from: usize, rows: usize) {
    let end = values.len().min(from + rows);
    if let Some(next) = values.get(from..end) {
        prefetch(next);
    }
}
