//! How many rows a piece may have so that all that it needs fits the device: its columns, what is written of each row, and the
//! table of its groups.
//!
//! What does not fit is cut in two halves, which run one after the other and are put together as any pieces are. That they
//! did not fit is found out at some cost, so pieces that come later are as small from the start, and twice as large again
//! after some time: many groups, and memory that others have taken, may have been a matter of one batch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;

/// Rows of a piece that is not cut any further: a device is not worth it for much less, and it goes to the CPU.
pub(super) const ROWS_MIN: usize = 1 << 16;

/// Pieces of about as many rows as fit after which twice as many are tried again.
const PIECES_BEFORE_MORE: u32 = 64;

/// What is known of the pieces of a stage.
#[derive(Debug)]
pub(super) struct Fit(Mutex<Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Rows that fit; more have not been tried lately. All that there can be if nothing is known.
    rows: usize,
    /// How many pieces of about as many rows have fitted since.
    pieces: u32,
}

impl Default for Fit {
    fn default() -> Self {
        Self(Mutex::new(Known { rows: usize::MAX, pieces: 0 }))
    }
}

impl Fit {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows that a piece may have; `usize::MAX` if no piece was ever too large.
    pub(super) fn rows(&self) -> usize {
        self.lock().rows
    }

    /// A piece of so many rows was too large.
    pub(super) fn was_too_large(&self, rows: usize) {
        let mut known = self.lock();
        *known = Known { rows: known.rows.min(rows.div_ceil(2)), pieces: 0 };
    }

    /// One of so many rows fitted.
    pub(super) fn fitted(&self, rows: usize) {
        let mut known = self.lock();
        if rows <= known.rows / 2 || known.rows == usize::MAX {
            return;
        }
        known.pieces += 1;
        if known.pieces >= PIECES_BEFORE_MORE {
            *known = Known { rows: known.rows.saturating_mul(2), pieces: 0 };
        }
    }
}

/// The first and the second half of rows that are too many, unless they are so few that halves would be fewer than `least`.
pub(super) fn halves(pieces: &[RecordBatch], least: usize) -> Option<[Vec<RecordBatch>; 2]> {
    let rows = pieces.iter().map(RecordBatch::num_rows).sum::<usize>();
    if rows < 2 || rows / 2 < least {
        return None;
    }
    let (mut first, mut second, mut left) = (Vec::new(), Vec::new(), rows.div_ceil(2));
    for piece in pieces {
        let here = left.min(piece.num_rows());
        left -= here;
        first.extend((here > 0).then(|| piece.slice(0, here)));
        second.extend((here < piece.num_rows()).then(|| piece.slice(here, piece.num_rows() - here)));
    }
    Some([first, second])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    fn piece(from: i64, rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new((from..from + rows).collect::<Int64Array>());
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    #[test]
    fn halves_have_all_rows_in_their_order() {
        for lens in [vec![2], vec![1, 1], vec![5, 0, 6], vec![1, 1, 9], vec![7, 2, 1]] {
            let mut from = 0;
            let pieces = lens.iter().map(|&rows| (piece(from, rows), from += rows).0).collect::<Vec<_>>();
            let [first, second] = halves(&pieces, 1).unwrap();
            let count = |pieces: &[RecordBatch]| pieces.iter().map(RecordBatch::num_rows).sum::<usize>();
            assert!(count(&first) - count(&second) <= 1, "{lens:?}");
            let all = first.iter().chain(&second).collect::<Vec<_>>();
            let all = arrow_select::concat::concat_batches(&pieces[0].schema(), all).unwrap();
            assert_eq!(all, piece(0, from));
        }
        assert!(halves(&[piece(0, 1)], 0).is_none() && halves(&[piece(0, 19)], 10).is_none());
        assert!(halves(&[piece(0, 20)], 10).is_some());
    }

    #[test]
    fn pieces_are_as_small_as_fits_and_larger_again_after_some_time() {
        let fit = Fit::default();
        fit.fitted(1000);
        assert_eq!(fit.rows(), usize::MAX);
        fit.was_too_large(1001);
        assert_eq!(fit.rows(), 501);
        // One that set off before.
        fit.was_too_large(1001);
        assert_eq!(fit.rows(), 501);
        (0..PIECES_BEFORE_MORE - 1).for_each(|_| fit.fitted(501));
        // So few say nothing.
        (0..1000).for_each(|_| fit.fitted(250));
        assert_eq!(fit.rows(), 501);
        fit.fitted(400);
        assert_eq!(fit.rows(), 1002);
        fit.was_too_large(1002);
        assert_eq!(fit.rows(), 501);
    }
}
