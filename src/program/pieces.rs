//! Where an input is cut for the threads that take it.
//!
//! A piece is a run of rows in order, and pieces are as many as there are threads: groups that occur in several pieces
//! have to be merged. Cuts lie at whole tiles of a batch, so that what a stage takes at once, and with it the row that
//! an error names, is the same however many threads there are.

use crate::columnar::RecordBatch;
use crate::limits::{ROWS_PER_READ_MAX, ROWS_PER_THREAD_MIN};

/// The rows of all batches.
pub(super) fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// How many pieces these rows are worth on the threads of the current pool, which is not touched for a single one.
pub(super) fn worth(rows: usize) -> usize {
    match rows.div_ceil(ROWS_PER_THREAD_MIN) {
        0 | 1 => 1,
        pieces => pieces.min(rayon::current_num_threads()),
    }
}

/// Cuts batches after so many rows and then after every so many, wherever batches end: the cuts hang on nothing but the rows
/// before them.
pub(super) fn cut_every(batches: &[RecordBatch], first: usize, rows: usize) -> Vec<Vec<RecordBatch>> {
    let mut cut = Vec::new();
    let (mut piece, mut room) = (Vec::new(), first);
    for batch in batches {
        let mut start = 0;
        while start < batch.num_rows() {
            let len = room.min(batch.num_rows() - start);
            piece.push(batch.slice(start, len));
            (start, room) = (start + len, room - len);
            if room == 0 {
                cut.push(std::mem::take(&mut piece));
                room = rows;
            }
        }
    }
    if !piece.is_empty() {
        cut.push(piece);
    }
    cut
}

/// Cuts batches into about equally large pieces; some may be left out when batches are small and odd.
pub(super) fn cut(batches: &[RecordBatch], pieces: usize) -> Vec<Vec<RecordBatch>> {
    let all = rows(batches);
    // Where a piece ends among the rows of all batches; the last one takes what is left.
    let end_of = |piece: usize| if piece + 1 < pieces { all / pieces * (piece + 1) } else { usize::MAX };
    let mut cut = vec![Vec::new(); pieces];
    let (mut piece, mut before) = (0, 0);
    for batch in batches {
        let len = batch.num_rows();
        let mut start = 0;
        while start < len {
            let wanted = end_of(piece).saturating_sub(before);
            let end = if wanted < len { wanted / ROWS_PER_READ_MAX * ROWS_PER_READ_MAX } else { len };
            if end > start {
                cut[piece].push(batch.slice(start, end - start));
                start = end;
            }
            if start < len {
                piece += 1;
            }
        }
        before += len;
    }
    cut.retain(|piece| !piece.is_empty());
    cut
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    const TILE: usize = ROWS_PER_READ_MAX;

    /// Batches of these lengths that count their rows.
    fn counting(lengths: &[usize]) -> Vec<RecordBatch> {
        let mut next = 0;
        let batch = |&len: &usize| {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(next..next + i64::try_from(len).unwrap()));
            next += i64::try_from(len).unwrap();
            RecordBatch::try_from_iter([("n", numbers)]).unwrap()
        };
        lengths.iter().map(batch).collect()
    }

    #[test]
    fn every_row_is_in_one_piece_in_order_and_cuts_lie_at_whole_tiles() {
        let shapes: [&[usize]; 7] = [
            &[],
            &[0, 0],
            &[1, 1, 1],
            &[10 * TILE],
            &[10 * TILE + 1, 0, TILE - 1, 3],
            &[5, TILE, 7 * TILE + 9, 1, 1, 3 * TILE],
            &[TILE - 1; 30],
        ];
        for lengths in shapes {
            let batches = counting(lengths);
            for pieces in [1, 2, 3, 8, 100] {
                let cut = cut(&batches, pieces);
                assert!(cut.len() <= pieces);
                let mut next = 0;
                for batch in cut.iter().flatten() {
                    for &number in batch.column(0).as_primitive::<Int64Type>().values() {
                        assert_eq!(number, next);
                        next += 1;
                    }
                    let ends_a_batch = lengths
                        .iter()
                        .scan(0, |sum, len| {
                            *sum += len;
                            Some(*sum)
                        })
                        .any(|end| i64::try_from(end) == Ok(next));
                    assert!(ends_a_batch || batch.num_rows() % TILE == 0, "a cut inside a tile");
                }
                assert_eq!(next, i64::try_from(rows(&batches)).unwrap());
            }
        }
    }

    #[test]
    fn cuts_after_so_many_rows_do_not_hang_on_batches() {
        let lengths_of = |first: usize, lengths: &[usize]| {
            let cut = cut_every(&counting(lengths), first, 100);
            cut.iter().map(|piece| rows(piece)).collect::<Vec<_>>()
        };
        assert_eq!(lengths_of(100, &[250]), [100, 100, 50]);
        assert_eq!(lengths_of(100, &[1, 0, 99, 30, 120]), [100, 100, 50]);
        assert_eq!(lengths_of(100, &[100]), [100]);
        assert_eq!(lengths_of(30, &[1, 0, 99, 30, 120]), [30, 100, 100, 20]);
        assert_eq!(lengths_of(30, &[30]), [30]);
        assert!(lengths_of(100, &[0, 0]).is_empty());
    }

    #[test]
    fn pieces_of_a_large_batch_are_about_equally_large() {
        let batches = counting(&[100 * TILE + 77]);
        for pieces in [2, 3, 8] {
            for piece in cut(&batches, pieces) {
                let (len, fair) = (rows(&piece), (100 * TILE + 77) / pieces);
                assert!(len.abs_diff(fair) <= pieces * TILE, "{len} rows of {fair}");
            }
        }
    }
}
