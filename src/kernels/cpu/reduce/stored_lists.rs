//! Values that belong to groups as lists, one a group: how states that keep values are stored.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeListArray, UInt64Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;

use crate::error::Result;
use crate::kernels::stored;

/// A list for each group: those of the values that belong to it, in order. `of` is the group of each value.
pub(super) fn column(groups: usize, of: impl Iterator<Item = u32> + Clone, values: &ArrayRef) -> Result<ArrayRef> {
    let mut lengths = vec![0_usize; groups];
    of.clone().for_each(|group| lengths[group as usize] += 1);
    let mut next: Vec<usize> = lengths.iter().scan(0, |end, len| Some(std::mem::replace(end, *end + len))).collect();
    let mut order = vec![0_u64; values.len()];
    for (value, group) in of.enumerate() {
        let place = &mut next[group as usize];
        order[*place] = value as u64;
        *place += 1;
    }
    let items = arrow_select::take::take(values, &UInt64Array::from(order), None)?;
    lists(OffsetBuffer::from_lengths(lengths), &items)
}

/// The same of values that lie group by group, ending there.
pub(super) fn of_ends(ends: &[usize], values: &ArrayRef) -> Result<ArrayRef> {
    lists(OffsetBuffer::from_lengths(ends.windows(2).map(|ends| ends[1] - ends[0])), values)
}

fn lists(offsets: OffsetBuffer<i64>, items: &ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(Arc::new(LargeListArray::try_new(field, offsets, Arc::clone(items), None)?))
}

/// The items of all lists, and the group of each.
pub(super) fn items(column: &ArrayRef) -> Result<(ArrayRef, Vec<u32>)> {
    let lists = column.as_list_opt::<i64>().ok_or_else(|| stored::corrupt("lists are of another type"))?;
    if lists.null_count() > 0 {
        return Err(stored::corrupt("a list is null"));
    }
    let offsets = lists.offsets();
    let (start, end) = (offsets[0], offsets[lists.len()]);
    let length = |from: i64, to: i64| usize::try_from(to - from).unwrap_or(0);
    let items = lists.values().slice(length(0, start), length(start, end));
    if items.null_count() > 0 {
        return Err(stored::corrupt("an item of a list is null"));
    }
    let groups = offsets.windows(2).enumerate();
    let groups = groups.flat_map(|(group, ends)| std::iter::repeat_n(group as u32, length(ends[0], ends[1])));
    Ok((items, groups.collect()))
}
