//! Which row groups and pages of a Parquet file can hold rows within some bounds, by the statistics in the file. Feature
//! `parquet`.
//!
//! What the file does not say, or says in a way that older writers got wrong, is read.

use std::ops::Range;

use ::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use ::parquet::errors::ParquetError;
use arrow_buffer::BooleanBuffer;

use crate::columnar::Schema;
use crate::formats::Bound;

/// What is to be read of some row groups.
pub(super) struct Kept {
    pub(super) groups: Vec<KeptGroup>,
    /// Rows of all groups that are not read.
    pub(super) pruned: u64,
}

/// What is to be read of a row group.
#[derive(Debug, Clone)]
pub(super) struct KeptGroup {
    pub(super) index: usize,
    /// Rows that it has.
    pub(super) rows: usize,
    /// Those that are read, in order; there are some.
    pub(super) ranges: Vec<Range<usize>>,
}

impl Kept {
    /// What may hold rows that keep all bounds, of columns of a wished schema.
    ///
    /// # Errors
    /// Statistics that cannot be compared.
    pub(super) fn of(
        groups: &[usize],
        footer: &ArrowReaderMetadata,
        wished: &Schema,
        bounds: &[Bound],
    ) -> Result<Self, ParquetError> {
        let mut kept = Self { groups: Vec::new(), pruned: 0 };
        for &group in groups {
            let rows = usize::try_from(footer.metadata().row_group(group).num_rows()).unwrap_or_default();
            let mut of_group: Vec<Range<usize>> = std::iter::once(0..rows).collect();
            for bound in bounds {
                if !of_group.is_empty() {
                    of_group = common(&of_group, &within(group, rows, footer, wished, bound)?);
                }
            }
            let of_group: Vec<_> = of_group.into_iter().filter(|range| !range.is_empty()).collect();
            let read: usize = of_group.iter().map(ExactSizeIterator::len).sum();
            kept.pruned += (rows - read) as u64;
            if read > 0 {
                kept.groups.push(KeptGroup { index: group, rows, ranges: of_group });
            }
        }
        Ok(kept)
    }

    /// The rows of all groups that are read; nothing if it is all.
    pub(super) fn rows(&self) -> Option<RowSelection> {
        let (mut ranges, mut before) = (Vec::new(), 0);
        for group in &self.groups {
            ranges.extend(group.ranges.iter().map(|range| before + range.start..before + range.end));
            before += group.rows;
        }
        let read = ranges.iter().map(ExactSizeIterator::len).sum::<usize>();
        (read < before).then(|| RowSelection::from_consecutive_ranges(ranges.into_iter(), before))
    }
}

/// The rows of a group that may keep a bound, in order.
fn within(
    group: usize,
    rows: usize,
    footer: &ArrowReaderMetadata,
    wished: &Schema,
    bound: &Bound,
) -> Result<Vec<Range<usize>>, ParquetError> {
    let all = || Ok(std::iter::once(0..rows).collect());
    let metadata = footer.metadata();
    let name = wished.field(bound.column).name();
    // Of a column that lies within another, or is not there, nothing is known.
    let Ok(statistics) = StatisticsConverter::try_new(name, footer.schema(), footer.parquet_schema()) else {
        return all();
    };
    let Some(column) = statistics.parquet_column_index() else { return all() };
    let of_group = metadata.row_group(group);
    // Older writers ordered texts and unsigned numbers as if they were signed.
    let known = of_group.columns().get(column).and_then(|column| column.statistics());
    if known.is_none_or(|known| known.is_min_max_deprecated()) {
        return all();
    }
    let (least, most) = (statistics.row_group_mins([of_group])?, statistics.row_group_maxes([of_group])?);
    if !holds(bound, &least, &most)?.value(0) {
        return Ok(Vec::new());
    }
    let (Some(pages), Some(places)) = (metadata.column_index(), metadata.offset_index()) else { return all() };
    let is_told = |len: usize| group < len;
    if !is_told(pages.len()) || !is_told(places.len()) {
        return all();
    }
    let starts: Option<Vec<usize>> = places[group].get(column).and_then(|places| {
        let starts = places.page_locations().iter().map(|page| usize::try_from(page.first_row_index).ok());
        starts.collect()
    });
    let Some(mut starts) = starts.filter(|starts| starts.first() == Some(&0) && starts.is_sorted()) else {
        return all();
    };
    starts.push(rows);
    let least = statistics.data_page_mins(pages, places, [&group])?;
    let most = statistics.data_page_maxes(pages, places, [&group])?;
    let hold = holds(bound, &least, &most)?;
    if hold.len() + 1 != starts.len() || !starts.is_sorted() {
        return all();
    }
    let pages = starts.windows(2).zip(&hold).filter(|(_, holds)| *holds);
    Ok(pages.map(|(ends, _)| ends[0]..ends[1]).collect())
}

fn holds(
    bound: &Bound,
    least: &arrow_array::ArrayRef,
    most: &arrow_array::ArrayRef,
) -> Result<BooleanBuffer, ParquetError> {
    bound.may_hold(least, most).map_err(|error| ParquetError::General(error.message().to_owned()))
}

/// What is in both of two lists of ranges in order.
fn common(one: &[Range<usize>], other: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let range = a.start.max(b.start)..a.end.min(b.end);
        let is_left_done = a.end <= b.end;
        if !range.is_empty() {
            both.push(range);
        }
        if is_left_done {
            left.next();
        } else {
            right.next();
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ranges_hold_what_both_lists_hold() {
        let lists: [&[Range<usize>]; 5] = [&[], &[0..9, 9..20], &[0..5, 5..9], &[3..4, 7..12, 15..20], &[1..2, 8..16]];
        for one in lists {
            for other in lists {
                let holds = |list: &[Range<usize>], row: usize| list.iter().any(|range| range.contains(&row));
                let both = common(one, other);
                for row in 0..21 {
                    assert_eq!(holds(&both, row), holds(one, row) && holds(other, row), "{one:?} {other:?} {row}");
                }
            }
        }
    }
}
