//! Batches as a table that people can read, for the print sink, error reports and tests.
//!
//! ```
//! use std::sync::Arc;
//! use pelton::columnar::{ArrayRef, RecordBatch, pretty};
//! use arrow_array::{Int64Array, StringArray};
//!
//! let batch = RecordBatch::try_from_iter([
//!     ("city", Arc::new(StringArray::from(vec![Some("Oslo"), None, Some("Rome")])) as ArrayRef),
//!     ("people", Arc::new(Int64Array::from(vec![709, 12, 2755]))),
//! ])?;
//! assert_eq!(pretty::table(&[batch], 2), "\
//! city │ people
//! ─────┼───────
//! Oslo │    709
//! null │     12
//! … 1 more row
//! ");
//! # Ok::<(), arrow_schema::ArrowError>(())
//! ```
//!
//! Text is measured in characters, so wide scripts may stand out; control characters are escaped, so that a row is a
//! line. It does not write anywhere: the caller gets a string.

use arrow_cast::display::{ArrayFormatter, DurationFormat, FormatOptions};

use super::{DataType, RecordBatch, Schema, data_type};

/// How much a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows shown; those left out are counted in the last line.
    pub rows_max: usize,
    /// Characters shown of a value; a longer one ends in `…`.
    pub width_max: usize,
    /// Whether a second line names the type of each column.
    pub types: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { rows_max: 20, width_max: 60, types: false }
    }
}

/// The first rows of these batches as a table under one header; empty without batches.
pub fn table(batches: &[RecordBatch], rows_max: usize) -> String {
    match batches.first() {
        Some(first) => table_with(first.schema_ref(), batches, &Layout { rows_max, ..Layout::default() }),
        None => String::new(),
    }
}

/// The same with a header even if there are no batches, and with a layout of one's own.
pub fn table_with<'a>(schema: &Schema, batches: impl IntoIterator<Item = &'a RecordBatch>, layout: &Layout) -> String {
    let columns = schema.fields().iter().map(|field| Column::new(field.name(), field.data_type(), layout));
    let mut columns: Vec<Column> = columns.collect();
    let (mut shown, mut total) = (0, 0);
    for batch in batches {
        total += batch.num_rows();
        let rows = batch.num_rows().min(layout.rows_max - shown);
        for (column, values) in columns.iter_mut().zip(batch.columns()) {
            column.push(values, rows, layout.width_max);
        }
        shown += rows;
    }
    let mut text = String::new();
    let header_lines = 1 + usize::from(layout.types);
    for line in 0..header_lines + shown {
        if line == header_lines {
            push_rule(&mut text, &columns);
        }
        push_line(&mut text, &columns, line);
    }
    if shown == 0 {
        push_rule(&mut text, &columns);
    }
    match total - shown {
        0 if total == 0 => text.push_str("no rows\n"),
        0 => {}
        1 => text.push_str("… 1 more row\n"),
        more => text.push_str(&format!("… {more} more rows\n")),
    }
    text
}

/// The cells of one column, header first.
struct Column {
    cells: Vec<String>,
    width: usize,
    right_aligned: bool,
}

impl Column {
    fn new(name: &str, data_type: &DataType, layout: &Layout) -> Self {
        let right_aligned = data_type::is_number(data_type);
        let mut column = Self { cells: Vec::new(), width: 0, right_aligned };
        column.push_cell(name, layout.width_max);
        if layout.types {
            column.push_cell(&data_type.to_string(), layout.width_max);
        }
        column
    }

    fn push(&mut self, values: &dyn arrow_array::Array, rows: usize, width_max: usize) {
        let options = FormatOptions::new()
            .with_null("null")
            .with_display_error(true)
            .with_duration_format(DurationFormat::ISO8601)
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));
        match ArrayFormatter::try_new(values, &options) {
            Ok(formatter) => (0..rows).for_each(|row| self.push_cell(&formatter.value(row).to_string(), width_max)),
            Err(error) => (0..rows).for_each(|_| self.push_cell(&format!("cannot be shown: {error}"), width_max)),
        }
    }

    fn push_cell(&mut self, value: &str, width_max: usize) {
        let cell = one_line(value, width_max);
        self.width = self.width.max(cell.chars().count());
        self.cells.push(cell);
    }
}

/// The value without control characters, cut to a width.
fn one_line(value: &str, width_max: usize) -> String {
    let escaped = value.chars().flat_map(|character| {
        let control = character.is_control().then(|| character.escape_default());
        let plain = (!character.is_control()).then_some(character);
        control.into_iter().flatten().chain(plain)
    });
    let mut cell: String = escaped.clone().take(width_max).collect();
    if escaped.count() > width_max {
        cell.pop();
        cell.push('…');
    }
    cell
}

fn push_line(text: &mut String, columns: &[Column], line: usize) {
    let start = text.len();
    for (index, column) in columns.iter().enumerate() {
        let cell = &column.cells[line];
        let padding = column.width - cell.chars().count();
        text.push_str(if index == 0 { "" } else { " │ " });
        if column.right_aligned {
            text.extend(std::iter::repeat_n(' ', padding));
            text.push_str(cell);
        } else {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', padding));
        }
    }
    text.truncate(start + text[start..].trim_end_matches(' ').len());
    text.push('\n');
}

fn push_rule(text: &mut String, columns: &[Column]) {
    for (index, column) in columns.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "─┼─" });
        text.extend(std::iter::repeat_n('─', column.width));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{
        ArrayRef, BooleanArray, Decimal128Array, DurationMillisecondArray, Float64Array, Int64Array, ListArray,
        StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        let batch = batch(vec![
            ("name", Arc::new(StringArray::from(vec!["a", "longer"])) as ArrayRef),
            ("share", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
            ("ok", Arc::new(BooleanArray::from(vec![true, false]))),
        ]);
        let expected = "\
name   │ share │ ok
───────┼───────┼──────
a      │   0.5 │ true
longer │  null │ false
";
        assert_eq!(table(&[batch], 10), expected);
    }

    #[test]
    fn times_lists_and_decimals_are_readable() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
        let batch = batch(vec![
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000])) as ArrayRef),
            ("zoned", Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("+02:00"))),
            ("took", Arc::new(DurationMillisecondArray::from(vec![1500]))),
            ("price", Arc::new(Decimal128Array::from(vec![1250]).with_precision_and_scale(10, 2).unwrap())),
            ("all", Arc::new(list)),
        ]);
        let expected = "\
at                      │ zoned                     │ took   │ price │ all
────────────────────────┼───────────────────────────┼────────┼───────┼──────────
1970-01-01 00:00:01.500 │ 1970-01-01 02:00:00+02:00 │ PT1.5S │ 12.50 │ [1, null]
";
        assert_eq!(table(&[batch], 10), expected);
    }

    #[test]
    fn rows_left_out_are_counted_over_all_batches() {
        let batch = batch(vec![("n", Arc::new(Int64Array::from(vec![1, 22, 3])) as ArrayRef)]);
        let expected = " n\n──\n 1\n22\n 3\n 1\n… 5 more rows\n";
        assert_eq!(table(&[batch.clone(), batch.clone(), batch], 4), expected);
    }

    #[test]
    fn long_text_is_cut_and_control_characters_are_escaped() {
        let values = StringArray::from(vec!["12345678", "123456789", "a\nb\tc"]);
        let batch = batch(vec![("text", Arc::new(values) as ArrayRef)]);
        let layout = Layout { width_max: 8, ..Layout::default() };
        let expected = "\
text
────────
12345678
1234567…
a\\nb\\tc
";
        assert_eq!(table_with(batch.schema_ref(), [&batch], &layout), expected);
    }

    #[test]
    fn types_stand_below_names_and_no_rows_are_said() {
        let batch = batch(vec![("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let layout = Layout { types: true, ..Layout::default() };
        assert_eq!(table_with(batch.schema_ref(), [], &layout), "    n\nInt64\n─────\nno rows\n");
        assert_eq!(table(&[], 5), "");
    }
}
