//! `lineitem` of TPC-H, made by the `tpchgen` crate, which gives the same rows as the council's own program.
//!
//! Its rows come in order within a part. Parts can be made independently; all parts in order are the table.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Date32Builder, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder};
use tpchgen::decimal::TPCHDecimal;
use tpchgen::generators::{LineItem, LineItemGenerator, LineItemGeneratorIterator};

use super::text::write_all;
use super::{batch_of, schema_of};
use crate::columnar::{ArrayRef, DataType, RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::ROWS_PER_READ_MAX;

/// Money and shares, as TPC-H says.
const PRECISION: u8 = 15;
const SCALE: i8 = 2;

/// The schema of `lineitem`.
pub fn schema() -> SchemaRef {
    let decimal = DataType::Decimal128(PRECISION, SCALE);
    schema_of(&[
        ("l_orderkey", DataType::Int64),
        ("l_partkey", DataType::Int64),
        ("l_suppkey", DataType::Int64),
        ("l_linenumber", DataType::Int32),
        ("l_quantity", decimal.clone()),
        ("l_extendedprice", decimal.clone()),
        ("l_discount", decimal.clone()),
        ("l_tax", decimal),
        ("l_returnflag", DataType::Utf8),
        ("l_linestatus", DataType::Utf8),
        ("l_shipdate", DataType::Date32),
        ("l_commitdate", DataType::Date32),
        ("l_receiptdate", DataType::Date32),
        ("l_shipinstruct", DataType::Utf8),
        ("l_shipmode", DataType::Utf8),
        ("l_comment", DataType::Utf8),
    ])
}

/// The rows of a part (from 1 to `parts`) of `lineitem`, in batches. Scale factor 1 is about six million rows.
///
/// # Errors
/// `InvalidOption` for a scale factor that is not a positive number or a part outside `1 ..= parts`. Each batch can
/// fail only by a fault of this crate.
pub fn lineitem(scale_factor: f64, part: u32, parts: u32) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let mut items = items(scale_factor, part, parts)?;
    let schema = schema();
    Ok(std::iter::from_fn(move || {
        let mut columns = Columns::new();
        let rows = items.by_ref().take(ROWS_PER_READ_MAX).map(|item| columns.add(&item)).count();
        (rows > 0).then(|| columns.finish(&schema))
    }))
}

/// Writes a part of `lineitem` as text with `|` after every column; gives the number of bytes written.
///
/// # Errors
/// As for [`lineitem`], and what the writer says.
pub fn write_lineitem(scale_factor: f64, part: u32, parts: u32, out: &mut dyn Write) -> Result<u64> {
    let mut bytes = 0;
    let mut text = Vec::new();
    let mut items = items(scale_factor, part, parts)?;
    loop {
        text.clear();
        for item in items.by_ref().take(ROWS_PER_READ_MAX) {
            let written = writeln!(text, "{item}");
            debug_assert!(written.is_ok(), "writing to a vector cannot fail");
        }
        if text.is_empty() {
            return Ok(bytes);
        }
        write_all(out, &text)?;
        bytes += text.len() as u64;
    }
}

fn items(scale_factor: f64, part: u32, parts: u32) -> Result<LineItemGeneratorIterator<'static>> {
    // Beyond, the keys of orders leave the range that TPC-H's own program was made for.
    const SCALE_FACTOR_MAX: f64 = 100_000.0;
    if !(scale_factor > 0.0 && scale_factor <= SCALE_FACTOR_MAX) {
        return Err(Error::new(ErrorKind::InvalidOption, format!("lineitem has no scale factor {scale_factor}"))
            .advice(format!("take a number above 0 and up to {SCALE_FACTOR_MAX}; 1 is about six million rows")));
    }
    match (i32::try_from(part), i32::try_from(parts)) {
        (Ok(part), Ok(parts)) if (1..=parts).contains(&part) => {
            Ok(LineItemGenerator::new(scale_factor, part, parts).iter())
        }
        _ => Err(Error::new(ErrorKind::InvalidOption, format!("lineitem has no part {part} of {parts}"))
            .advice("parts are counted from 1")),
    }
}

struct Columns {
    keys: [Int64Builder; 3],
    line_number: Int32Builder,
    decimals: [Decimal128Builder; 4],
    flags: [StringBuilder; 2],
    dates: [Date32Builder; 3],
    texts: [StringBuilder; 3],
}

impl Columns {
    fn new() -> Self {
        let decimal = |_| Decimal128Builder::with_capacity(ROWS_PER_READ_MAX);
        let text = |_| StringBuilder::with_capacity(ROWS_PER_READ_MAX, 16 * ROWS_PER_READ_MAX);
        Self {
            keys: [(); 3].map(|()| Int64Builder::with_capacity(ROWS_PER_READ_MAX)),
            line_number: Int32Builder::with_capacity(ROWS_PER_READ_MAX),
            decimals: [(); 4].map(decimal),
            flags: [(); 2].map(text),
            dates: [(); 3].map(|()| Date32Builder::with_capacity(ROWS_PER_READ_MAX)),
            texts: [(); 3].map(text),
        }
    }

    fn add(&mut self, item: &LineItem<'_>) {
        let keys = [item.l_orderkey, item.l_partkey, item.l_suppkey];
        self.keys.iter_mut().zip(keys).for_each(|(column, key)| column.append_value(key));
        self.line_number.append_value(item.l_linenumber);
        let hundredths = |value: TPCHDecimal| i128::from(value.into_inner());
        let decimals = [
            i128::from(item.l_quantity) * 100,
            hundredths(item.l_extendedprice),
            hundredths(item.l_discount),
            hundredths(item.l_tax),
        ];
        self.decimals.iter_mut().zip(decimals).for_each(|(column, value)| column.append_value(value));
        let flags = [item.l_returnflag, item.l_linestatus];
        self.flags.iter_mut().zip(flags).for_each(|(column, flag)| column.append_value(flag));
        let dates = [item.l_shipdate, item.l_commitdate, item.l_receiptdate];
        self.dates.iter_mut().zip(dates).for_each(|(column, date)| column.append_value(date.to_unix_epoch()));
        let texts = [item.l_shipinstruct, item.l_shipmode, item.l_comment];
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.append_value(text));
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let misfit = |error| Error::internal("lineitem's numbers do not fit their type").because(error);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        columns.extend(self.keys.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.line_number.finish()));
        for column in &mut self.decimals {
            let typed = column.finish().with_precision_and_scale(PRECISION, SCALE).map_err(misfit)?;
            columns.push(Arc::new(typed));
        }
        columns.extend(self.flags.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.dates.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        batch_of(schema, columns)
    }
}
