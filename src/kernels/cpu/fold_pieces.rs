//! The values of windows by closures, in columns: in the order of their batches, so that a window leaves them behind from the
//! front.

use std::collections::VecDeque;

use arrow_array::UInt32Array;
use arrow_select::concat::concat;

use super::key_groups::taken;
use crate::columnar::ArrayRef;
use crate::error::Result;

/// Pieces are put together up to this many values: columns of few take more than what is in them.
const VALUES_TOGETHER: usize = 4_096;

/// Some values, a row each.
#[derive(Clone, Default)]
pub(super) struct Piece {
    /// Of which key.
    pub(super) slots: Vec<u32>,
    /// Tells the key from others in its slot.
    pub(super) lives: Vec<u64>,
    /// Rising.
    pub(super) numbers: Vec<u64>,
    /// The times of the batches, rising.
    pub(super) times: Vec<i64>,
    pub(super) columns: Vec<ArrayRef>,
}

impl Piece {
    /// These rows.
    pub(super) fn chosen(&self, rows: &[u32]) -> Result<Self> {
        let at = |row: &u32| *row as usize;
        Ok(Self {
            slots: rows.iter().map(|row| self.slots[at(row)]).collect(),
            lives: rows.iter().map(|row| self.lives[at(row)]).collect(),
            numbers: rows.iter().map(|row| self.numbers[at(row)]).collect(),
            times: rows.iter().map(|row| self.times[at(row)]).collect(),
            columns: taken(&self.columns, &UInt32Array::from(rows.to_vec()))?,
        })
    }

    /// Takes the first rows out.
    fn split_front(&mut self, rows: usize) -> Self {
        let front = self.columns.iter().map(|column| column.slice(0, rows)).collect();
        self.columns.iter_mut().for_each(|column| *column = column.slice(rows, column.len() - rows));
        Self {
            slots: self.slots.drain(..rows).collect(),
            lives: self.lives.drain(..rows).collect(),
            numbers: self.numbers.drain(..rows).collect(),
            times: self.times.drain(..rows).collect(),
            columns: front,
        }
    }

    fn append(&mut self, later: Self) -> Result<()> {
        let both = self.columns.iter().zip(&later.columns);
        self.columns = both.map(|(a, b)| concat(&[a.as_ref(), b.as_ref()])).collect::<Result<_, _>>()?;
        self.slots.extend(later.slots);
        self.lives.extend(later.lives);
        self.numbers.extend(later.numbers);
        self.times.extend(later.times);
        Ok(())
    }
}

/// Values in the order in which they came.
#[derive(Default)]
pub(super) struct Pieces(VecDeque<Piece>);

impl Pieces {
    /// Adds values that are later than all that are there.
    pub(super) fn push(&mut self, mut piece: Piece) -> Result<()> {
        if piece.slots.is_empty() {
            return Ok(());
        }
        // Each value is moved a few times at most: what it is put to is no more than twice as large.
        while let Some(mut before) = self.0.pop_back() {
            let (have, come) = (before.slots.len(), piece.slots.len());
            if have >= 2 * come || have + come > VALUES_TOGETHER {
                self.0.push_back(before);
                break;
            }
            before.append(piece)?;
            piece = before;
        }
        self.0.push_back(piece);
        Ok(())
    }

    /// Takes the values out whose batches were before this time.
    pub(super) fn leave(&mut self, before: i64) -> Vec<Piece> {
        let mut over = Vec::new();
        while let Some(first) = self.0.front_mut() {
            let rows = first.times.partition_point(|&time| time < before);
            if rows < first.times.len() {
                over.extend((rows > 0).then(|| first.split_front(rows)));
                break;
            }
            over.extend(self.0.pop_front());
        }
        over
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Piece> {
        self.0.iter()
    }

    /// When the first value came.
    pub(super) fn first_time(&self) -> Option<i64> {
        self.0.front()?.times.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    use super::*;

    #[test]
    fn values_leave_in_their_order_however_they_were_put_together() {
        let mut pieces = Pieces::default();
        let mut number = 0_u32;
        for (time, rows) in (0..300_i64).zip([0_u32, 1, 3, 40, 700].into_iter().cycle()) {
            let slots = (number..number + rows).collect::<Vec<_>>();
            let numbers = slots.iter().map(|&slot| u64::from(slot)).collect::<Vec<_>>();
            let values: ArrayRef = Arc::new(slots.iter().map(|&slot| Some(i64::from(slot))).collect::<Int64Array>());
            let (lives, times) = (numbers.clone(), vec![time; numbers.len()]);
            let piece = Piece { slots, lives, numbers, times, columns: vec![values] };
            pieces.push(piece).unwrap();
            number += rows;
            if time % 7 != 3 {
                continue;
            }
            let over = time - 20;
            let mut left = pieces.leave(over).into_iter().flat_map(|piece| piece.times).collect::<Vec<_>>();
            left.dedup();
            assert!(left.is_sorted() && left.last().is_none_or(|&last| last < over));
            assert!(pieces.first_time().is_none_or(|first| first >= over));
        }
        let mut last = None;
        for piece in pieces.all() {
            let values = piece.columns[0].as_primitive::<Int64Type>().values();
            for ((&value, &n), &slot) in values.iter().zip(&piece.numbers).zip(&piece.slots) {
                assert_eq!((value, n), (i64::from(slot), u64::from(slot)));
                assert!(last.is_none_or(|last| last + 1 == slot));
                last = Some(slot);
            }
        }
        assert_eq!(last, Some(number - 1));
        assert!(pieces.all().count() < 20, "small pieces are put together");
    }
}
